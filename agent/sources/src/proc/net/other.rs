//! The tables `unix`, `packet` and `netlink` of `/proc/PID/net`, and the names of interfaces that
//! other tables there give.

use super::Socket;
use crate::proc::fields::{hex, number, words};
use cleanroom_evidence::RawBytes;

/// `__SO_ACCEPTCON` of the kernel's `include/uapi/linux/net.h`: the socket listens.
const ACCEPTS: u64 = 1 << 16;

fn kind(code: u64) -> Option<&'static str> {
    Some(match code {
        1 => "stream",
        2 => "dgram",
        3 => "raw",
        5 => "seqpacket",
        _ => return None,
    })
}

/// `Num: RefCount Protocol Flags Type St Inode Path`. The kernel writes a path's bytes as they
/// are, line ends too: a line that is no entry may be the rest of the path before it.
pub fn unix(line: &[u8]) -> Option<Socket> {
    let mut fields = line.splitn(7, |&b| b == b' ');
    let slot = fields.next()?.strip_suffix(b":")?;
    let (_slot, _references, _protocol) = (hex(slot)?, hex(fields.next()?)?, hex(fields.next()?)?);
    let flags = hex(fields.next()?)?;
    let type_code = hex(fields.next()?)?;
    let code = hex(fields.next()?)?;
    // The inode is padded to five columns; one blank stands between it and a path.
    let rest = fields.next()?.trim_ascii_start();
    let end = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
    let inode = number::<u64>(rest.get(..end)?)?;
    let path = rest.get(end + 1..).filter(|path| !path.is_empty());
    let state = match code {
        _ if flags & ACCEPTS != 0 => "LISTEN".to_owned(),
        1 => "UNCONNECTED".to_owned(),
        2 => "CONNECTING".to_owned(),
        3 => "CONNECTED".to_owned(),
        4 => "DISCONNECTING".to_owned(),
        other => format!("0x{other:02x}"),
    };
    Some(Socket {
        state: Some(state),
        path: path.map(RawBytes::from),
        inode: (inode != 0).then_some(inode),
        kind: kind(type_code),
        ..Socket::default()
    })
}

/// `sk RefCnt Type Proto Iface R Rmem User Inode`.
pub fn packet(line: &[u8]) -> Option<Socket> {
    let mut fields = words(line);
    let type_code = fields.nth(2).and_then(number::<u64>)?;
    let protocol = hex(fields.next()?)?;
    let interface = number::<u32>(fields.next()?)?;
    let running = number::<u8>(fields.next()?)?;
    let queued = number(fields.next()?)?;
    let uid = number(fields.next()?)?;
    let inode = number::<u64>(fields.next()?)?;
    Some(Socket {
        state: Some(if running == 0 { "IDLE" } else { "RECEIVING" }.to_owned()),
        inode: (inode != 0).then_some(inode),
        uid: Some(uid),
        interface_index: Some(interface),
        protocol: Some(format!("0x{protocol:04x}")),
        kind: kind(type_code),
        receive_queue_bytes: Some(queued),
        ..Socket::default()
    })
}

/// `sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode`.
pub fn netlink(line: &[u8]) -> Option<Socket> {
    let mut fields = words(line);
    let family = fields.nth(1).and_then(number::<u32>)?;
    let port = number::<u32>(fields.next()?)?;
    let _groups = hex(fields.next()?)?;
    let received = number(fields.next()?)?;
    let sent = number(fields.next()?)?;
    let inode = number::<u64>(fields.nth(3)?)?;
    Some(Socket {
        inode: (inode != 0).then_some(inode),
        protocol: Some(netlink_family(family)),
        netlink_port: Some(port),
        receive_queue_bytes: Some(received),
        send_queue_bytes: Some(sent),
        ..Socket::default()
    })
}

/// Names of netlink(7).
fn netlink_family(number: u32) -> String {
    let name = match number {
        0 => "route",
        2 => "usersock",
        4 => "sock_diag",
        5 => "nflog",
        6 => "xfrm",
        7 => "selinux",
        8 => "iscsi",
        9 => "audit",
        10 => "fib_lookup",
        11 => "connector",
        12 => "netfilter",
        15 => "kobject_uevent",
        16 => "generic",
        18 => "scsitransport",
        20 => "rdma",
        21 => "crypto",
        _ => return number.to_string(),
    };
    name.to_owned()
}

/// An interface's number and name from a line of `igmp` (`1  lo  : 1 V3`, inside one namespace).
pub fn igmp_interface(line: &[u8]) -> Option<(u32, RawBytes)> {
    if line.first().is_none_or(u8::is_ascii_whitespace) {
        return None;
    }
    let mut fields = words(line);
    let index = number(fields.next()?)?;
    let name = fields.next()?;
    Some((index, name.strip_suffix(b":").unwrap_or(name).into()))
}

/// An interface's number and name from a line of `if_inet6`.
pub fn inet6_interface(line: &[u8]) -> Option<(u32, RawBytes)> {
    let mut fields = words(line);
    let index = hex(fields.nth(1)?).and_then(|n| u32::try_from(n).ok())?;
    Some((index, fields.nth(3)?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_sockets() {
        let listening =
            unix(b"0000000000000000: 00000002 00000000 00010000 0001 01 12345 /run/a b.sock")
                .unwrap();
        assert_eq!(listening.state.as_deref(), Some("LISTEN"));
        assert_eq!(listening.path, Some("/run/a b.sock".into()));
        assert_eq!((listening.inode, listening.kind), (Some(12_345), Some("stream")));
        let short = unix(b"ffff0: 00000003 00000000 00000000 0002 03   321").unwrap();
        assert_eq!(short.state.as_deref(), Some("CONNECTED"));
        assert_eq!((short.inode, short.path), (Some(321), None));
        let abstract_name = unix(b"0: 2 0 0 5 01 1 @\xff x ").unwrap();
        assert_eq!(abstract_name.path, Some(RawBytes(b"@\xff x ".to_vec())));
        assert_eq!(unix(b"Num       RefCount Protocol Flags    Type St Inode Path"), None);
        assert_eq!(unix(b"rest of a path"), None);
    }

    #[test]
    fn packet_and_netlink_sockets() {
        let sniffer =
            packet(b"0000000000000000 3      3    0003   2     1 0      0      9876").unwrap();
        assert_eq!((sniffer.inode, sniffer.interface_index), (Some(9876), Some(2)));
        assert_eq!((sniffer.protocol.as_deref(), sniffer.kind), (Some("0x0003"), Some("raw")));
        assert_eq!(packet(b"sk       RefCnt Type Proto  Iface R Rmem   User   Inode"), None);
        let audit =
            netlink(b"0000000000000000 9   812        00000001 0        0        0     2        0        555").unwrap();
        assert_eq!(audit.protocol.as_deref(), Some("audit"));
        assert_eq!((audit.netlink_port, audit.inode), (Some(812), Some(555)));
        assert_eq!(netlink(b"sk               Eth Pid        Groups   Rmem     Wmem"), None);
    }

    #[test]
    fn interface_names() {
        assert_eq!(igmp_interface(b"2\teth0      :     1      V3"), Some((2, "eth0".into())));
        assert_eq!(igmp_interface(b"\t\t\t\t010000E0     1 0:00000000\t\t0"), None);
        let line = b"fe800000000000000000000000000001 0c 40 20 80   veth1";
        assert_eq!(inet6_interface(line), Some((12, "veth1".into())));
    }
}

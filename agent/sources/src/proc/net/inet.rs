//! The tables `tcp`, `tcp6`, `udp`, `udp6`, `raw`, `raw6`, `icmp`, `icmp6` (proc_pid_net(5)).

use super::{Family, Socket};
use crate::proc::fields::{hex, number, words};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names of `enum` in the kernel's `include/net/tcp_states.h`.
fn state(family: Family, code: u64) -> String {
    let tcp = matches!(family, Family::Tcp | Family::Tcp6);
    let name = match (tcp, code) {
        (false, 7) => "UNCONNECTED",
        (_, 1) => "ESTABLISHED",
        (true, 2) => "SYN_SENT",
        (true, 3) => "SYN_RECV",
        (true, 4) => "FIN_WAIT1",
        (true, 5) => "FIN_WAIT2",
        (true, 6) => "TIME_WAIT",
        (true, 7) => "CLOSE",
        (true, 8) => "CLOSE_WAIT",
        (true, 9) => "LAST_ACK",
        (true, 10) => "LISTEN",
        (true, 11) => "CLOSING",
        (true, 12) => "NEW_SYN_RECV",
        (true, 13) => "BOUND_INACTIVE",
        _ => return format!("0x{code:02x}"),
    };
    name.to_owned()
}

/// `ADDRESS:PORT`. The kernel prints each 32-bit word of the address as a number of its own byte
/// order, so the bytes of that number in memory are the address as it goes over the wire.
fn address(field: &[u8]) -> Option<(IpAddr, u16)> {
    let colon = field.iter().position(|&b| b == b':')?;
    let port = u16::try_from(hex(field.get(colon + 1..)?)?).ok()?;
    let mut bytes = [0u8; 16];
    let digits = field.get(..colon)?;
    if !matches!(digits.len(), 8 | 32) {
        return None;
    }
    for (place, word) in bytes.chunks_mut(4).zip(digits.chunks(8)) {
        place.copy_from_slice(&u32::try_from(hex(word)?).ok()?.to_ne_bytes());
    }
    let [a, b, c, d, ..] = bytes;
    let address = match digits.len() {
        8 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => IpAddr::V6(Ipv6Addr::from(bytes)),
    };
    Some((address, port))
}

fn ip_protocol(number: u16) -> String {
    let name = match number {
        1 => "icmp",
        2 => "igmp",
        6 => "tcp",
        17 => "udp",
        47 => "gre",
        58 => "ipv6-icmp",
        89 => "ospf",
        112 => "vrrp",
        255 => "raw",
        _ => return number.to_string(),
    };
    name.to_owned()
}

/// One line of one of these tables.
pub fn parse(family: Family, line: &[u8]) -> Option<Socket> {
    let mut fields = words(line);
    fields.next().filter(|slot| slot.ends_with(b":"))?;
    let (local, local_port) = address(fields.next()?)?;
    let (remote, remote_port) = address(fields.next()?)?;
    let code = hex(fields.next()?)?;
    let queues = fields.next()?;
    let colon = queues.iter().position(|&b| b == b':')?;
    let uid = number(fields.nth(2)?)?;
    let inode = number::<u64>(fields.nth(1)?)?;
    // Raw sockets have no ports: the kernel prints the protocol's number in that place.
    let raw = matches!(family, Family::Raw | Family::Raw6);
    Some(Socket {
        state: Some(state(family, code)),
        local_address: Some(local.to_string()),
        local_port: (!raw).then_some(local_port),
        remote_address: Some(remote.to_string()),
        remote_port: (!raw).then_some(remote_port),
        inode: (inode != 0).then_some(inode),
        uid: Some(uid),
        protocol: raw.then(|| ip_protocol(local_port)),
        send_queue_bytes: queues.get(..colon).and_then(hex),
        receive_queue_bytes: queues.get(colon + 1..).and_then(hex),
        ..Socket::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the kernel prints it, on a machine of either byte order.
    fn printed(address: IpAddr) -> String {
        let words = |bytes: &[u8]| {
            bytes
                .as_chunks::<4>()
                .0
                .iter()
                .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
                .collect::<String>()
        };
        match address {
            IpAddr::V4(v4) => words(&v4.octets()),
            IpAddr::V6(v6) => words(&v6.octets()),
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_a_real_host() {
        let line = b"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000005 00:00000000 00000000  1000        0 16423 1 0000000000000000 100 0 0 10 0";
        let socket = parse(Family::Tcp, line).unwrap();
        assert_eq!(socket.state.as_deref(), Some("LISTEN"));
        assert_eq!(socket.local_address.as_deref(), Some("127.0.0.1"));
        assert_eq!((socket.local_port, socket.remote_port), (Some(8080), Some(0)));
        assert_eq!((socket.uid, socket.inode), (Some(1000), Some(16_423)));
        assert_eq!(socket.receive_queue_bytes, Some(5));
        let line = b"  12: 0000000000000000FFFF00000100007F:0016 0000000000000000FFFF00000200000A:C350 06 00000000:00000000 03:00000F2E 00000000     0        0 0 3 0000000000000000";
        let socket = parse(Family::Tcp6, line).unwrap();
        assert_eq!(socket.state.as_deref(), Some("TIME_WAIT"));
        assert_eq!(socket.local_address.as_deref(), Some("::ffff:127.0.0.1"));
        assert_eq!(socket.remote_address.as_deref(), Some("::ffff:10.0.0.2"));
        assert_eq!((socket.remote_port, socket.inode), (Some(50_000), None));
        let line = b"  1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 0000000000000000 0";
        let socket = parse(Family::Raw, line).unwrap();
        assert_eq!(socket.protocol.as_deref(), Some("icmp"));
        assert_eq!(socket.state.as_deref(), Some("UNCONNECTED"));
        assert_eq!(socket.local_port, None);
    }

    #[test]
    fn a_heading_is_no_socket() {
        let heading =
            b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid";
        assert_eq!(parse(Family::Tcp, heading), None);
        assert_eq!(parse(Family::Tcp, b""), None);
    }

    proptest! {
        #[test]
        fn addresses_round_trip(v6 in any::<[u8; 16]>(), v4 in any::<[u8; 4]>(), port in any::<u16>()) {
            for address_in in [IpAddr::from(v6), IpAddr::from(v4)] {
                let field = format!("{}:{port:04X}", printed(address_in));
                prop_assert_eq!(address(field.as_bytes()), Some((address_in, port)));
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for family in super::super::FAMILIES {
                family.parse(&bytes);
            }
        }
    }
}

//! Which socket a packet belongs to: asked from the kernel over NETLINK_SOCK_DIAG (sock_diag(7)),
//! or read from /proc/thread-self/net. The first use of sock_diag may make the kernel load its
//! own `udp_diag` and `tcp_diag` modules, as ss(8) does.

use nix::sys::{
    socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
        sockopt,
    },
    time::{TimeVal, TimeValLike},
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd as _, OwnedFd},
};

const BY_FAMILY: u16 = 20; // SOCK_DIAG_BY_FAMILY
const REQUEST: u16 = 1; // NLM_F_REQUEST
const DUMP: u16 = 0x300; // NLM_F_DUMP
/// Sockets of one dump looked at most.
const DUMPED: usize = 65_536;

/// The two ends of a packet, from the sender's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// TCP rather than UDP.
    pub tcp: bool,
    /// Our end.
    pub local: SocketAddr,
    /// The other.
    pub remote: SocketAddr,
    /// Interface index: a socket may be bound to one.
    pub interface: u32,
}

/// A socket as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its inode; 0 when no descriptor holds it any more.
    pub inode: u64,
    /// Local address that it is bound to.
    pub local: IpAddr,
    /// Local port.
    pub port: u16,
}

/// A netlink socket for the questions.
#[derive(Debug)]
pub struct SockDiag {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl SockDiag {
    /// Opens it and asks once, so that what the kernel has to load is loaded before it matters.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let protocol = SockProtocol::NetlinkSockDiag;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50))?;
        let mut this = Self { fd, sequence: 0, buffer: vec![0; 32 * 1024] };
        for tcp in [false, true] {
            let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            let ends = Ends { tcp, local: nowhere, remote: nowhere, interface: 0 };
            match this.exact(&ends) {
                Err(error) if error.raw_os_error() != Some(libc::ENOENT) => return Err(error),
                _ => {}
            }
        }
        Ok(this)
    }

    /// The socket that would receive an answer to this packet. ENOENT: there is none (any more).
    pub fn exact(&mut self, ends: &Ends) -> io::Result<Found> {
        // For UDP the kernel takes the two ends in the view of an arriving packet.
        let (source, destination) = match ends.tcp {
            true => (ends.local, ends.remote),
            false => (ends.remote, ends.local),
        };
        let request = Request { tcp: ends.tcp, source, destination, interface: ends.interface };
        let mut found = None;
        self.ask(&request, REQUEST, |socket| found = Some(socket))?;
        found.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    /// All sockets with that local port. An IPv4 packet may come from an IPv6 socket too.
    pub fn on_port(&mut self, ends: &Ends) -> io::Result<Vec<Found>> {
        let mut all = self.dump(ends, Ipv6Addr::UNSPECIFIED.into())?;
        if ends.local.is_ipv4() {
            all.extend(self.dump(ends, Ipv4Addr::UNSPECIFIED.into())?);
        }
        Ok(all)
    }

    fn dump(&mut self, ends: &Ends, any: IpAddr) -> io::Result<Vec<Found>> {
        let request = Request {
            tcp: ends.tcp,
            source: SocketAddr::new(any, ends.local.port()),
            destination: SocketAddr::new(any, 0),
            interface: 0,
        };
        let mut all = Vec::new();
        self.ask(&request, REQUEST | DUMP, |socket| {
            if socket.port == ends.local.port() && all.len() < DUMPED {
                all.push(socket);
            }
        })?;
        Ok(all)
    }

    fn ask(
        &mut self,
        request: &Request,
        flags: u16,
        mut each: impl FnMut(Found),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.bytes(flags, self.sequence);
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
        loop {
            let length = recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty())?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            let mut over = flags & DUMP == 0;
            while let Some((message, after)) = Reply::read(rest) {
                rest = after;
                // An answer to an earlier question that timed out.
                if message.sequence != self.sequence {
                    over = false;
                    continue;
                }
                match message.kind {
                    Kind::Socket(socket) => each(socket),
                    Kind::Done => return Ok(()),
                    Kind::Error(0) => over = true,
                    Kind::Error(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    Kind::Other => {}
                }
            }
            if over {
                return Ok(());
            }
        }
    }
}

struct Request {
    tcp: bool,
    source: SocketAddr,
    destination: SocketAddr,
    interface: u32,
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
    }
}

impl Request {
    /// `struct nlmsghdr` and `struct inet_diag_req_v2`.
    fn bytes(&self, flags: u16, sequence: u32) -> Vec<u8> {
        let family = if self.source.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let protocol = if self.tcp { libc::IPPROTO_TCP } else { libc::IPPROTO_UDP };
        let mut out = Vec::with_capacity(72);
        out.extend(72u32.to_ne_bytes());
        out.extend(BY_FAMILY.to_ne_bytes());
        out.extend(flags.to_ne_bytes());
        out.extend(sequence.to_ne_bytes());
        out.extend(0u32.to_ne_bytes());
        out.extend([family as u8, protocol as u8, 0, 0]);
        out.extend(u32::MAX.to_ne_bytes());
        out.extend(self.source.port().to_be_bytes());
        out.extend(self.destination.port().to_be_bytes());
        out.extend(octets(self.source.ip()));
        out.extend(octets(self.destination.ip()));
        out.extend(self.interface.to_ne_bytes());
        out.extend([0xff; 8]); // INET_DIAG_NOCOOKIE
        out
    }
}

struct Reply {
    sequence: u32,
    kind: Kind,
}

enum Kind {
    Socket(Found),
    Done,
    Error(i32),
    Other,
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

impl Reply {
    /// One message and what follows it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let length = usize::try_from(word(bytes, 0)?).ok()?;
        let message = bytes.get(..length).filter(|m| m.len() >= 16)?;
        let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = match u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?) {
            BY_FAMILY => socket_of(message).map_or(Kind::Other, Kind::Socket),
            3 => Kind::Done,
            2 => Kind::Error(word(message, 16)?.cast_signed().wrapping_neg()),
            _ => Kind::Other,
        };
        Some((Self { sequence: word(message, 8)?, kind }, after))
    }
}

/// `struct inet_diag_msg` behind the header.
fn socket_of(message: &[u8]) -> Option<Found> {
    let address: [u8; 16] = message.get(24..40)?.try_into().ok()?;
    let [a, b, c, d, ..] = address;
    let local = match i32::from(*message.get(16)?) {
        libc::AF_INET => IpAddr::from(Ipv4Addr::new(a, b, c, d)),
        _ => Ipv6Addr::from(address).to_canonical(),
    };
    Some(Found {
        inode: u64::from(word(message, 84)?),
        local,
        port: u16::from_be_bytes(message.get(20..22)?.try_into().ok()?),
    })
}

/// The sockets in a table of /proc/net (udp, udp6, tcp, tcp6) with that local port. The addresses
/// are written as 32-bit words in the machine's byte order.
pub fn in_table(table: &[u8], port: u16) -> Vec<Found> {
    let row = |line: &[u8]| {
        let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
        let (address, local_port) = fields.nth(1)?.split_once(':')?;
        if u16::from_str_radix(local_port, 16).ok()? != port {
            return None;
        }
        let word = |at: usize| {
            let digits = address.get(at * 8..at * 8 + 8)?;
            Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
        };
        let local = if address.len() == 8 {
            IpAddr::from(Ipv4Addr::from(word(0)?))
        } else {
            let bytes: Vec<u8> = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()
        };
        Some(Found { inode: fields.nth(7)?.parse().ok()?, local, port })
    };
    table.split(|&b| b == b'\n').skip(1).filter_map(row).take(DUMPED).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::UdpSocket;

    fn inode(fd: i32) -> u64 {
        let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        let digits: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    #[test]
    fn the_kernel_knows_connected_unconnected_and_dual_stack_sockets() {
        let mut diag = SockDiag::open().unwrap();
        for (bind, send_from, to) in [
            ("127.0.0.1:0", "127.0.0.1", "127.0.0.1:53"),
            ("0.0.0.0:0", "127.0.0.1", "127.0.0.1:53"),
            ("[::1]:0", "::1", "[::1]:53"),
            ("[::]:0", "127.0.0.1", "127.0.0.1:53"),
        ] {
            let socket = UdpSocket::bind(bind).unwrap();
            let port = socket.local_addr().unwrap().port();
            let local = SocketAddr::new(send_from.parse().unwrap(), port);
            let ends = Ends { tcp: false, local, remote: to.parse().unwrap(), interface: 1 };
            let wanted = inode(socket.as_raw_fd());
            assert_eq!(diag.exact(&ends).unwrap().inode, wanted, "{bind}");
            let table =
                |name: &str| std::fs::read(format!("/proc/thread-self/net/{name}")).unwrap();
            let rows = [in_table(&table("udp"), port), in_table(&table("udp6"), port)].concat();
            assert_eq!(rows.iter().map(|r| r.inode).collect::<Vec<_>>(), [wanted], "{bind}");
            assert_eq!(rows[0].local, socket.local_addr().unwrap().ip());
            drop(socket);
            assert_eq!(diag.exact(&ends).unwrap_err().raw_os_error(), Some(libc::ENOENT));
        }
    }

    #[test]
    fn tcp_and_dump() {
        let mut diag = SockDiag::open().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (local, remote) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let ends = Ends { tcp: true, local, remote, interface: 1 };
        assert_eq!(diag.exact(&ends).unwrap().inode, inode(client.as_raw_fd()));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let local = socket.local_addr().unwrap();
        let all = diag.on_port(&Ends { tcp: false, local, remote: local, interface: 0 }).unwrap();
        assert!(all.iter().any(|found| found.inode == inode(socket.as_raw_fd())), "{all:?}");
    }

    proptest! {
        #[test]
        fn parsers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), port: u16) {
            let mut rest = &bytes[..];
            while let Some((_, after)) = Reply::read(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
            let _ = in_table(&bytes, port);
        }
    }
}

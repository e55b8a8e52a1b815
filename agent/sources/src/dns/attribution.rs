//! Which process sent a packet of this host, asked at once while the process still lives. Where
//! the answer is not certain there is none: a guess has no place in evidence.

use super::{
    owner::{Owner, Owners},
    record::Attribution,
    sock_diag::{Ends, Found, SockDiag, in_table},
};
use std::{
    collections::HashSet,
    io::Read as _,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// Bytes of a /proc/net table read at most.
const TABLE_BYTES: u64 = 16 * 1024 * 1024;
/// The addresses of this namespace are read again at most this often.
const ADDRESSES_AGE: Duration = Duration::from_secs(1);

/// Gives the process behind a packet that this host sends.
pub trait Attribute {
    /// The process that holds the socket with these ends.
    fn attribute(&mut self, ends: &Ends) -> Attribution;
}

/// The real one, of this thread's network namespace and this process's PID namespace.
#[derive(Debug)]
pub struct Kernel {
    diag: Option<SockDiag>,
    /// Why sock_diag is not used.
    pub without_diag: Option<String>,
    owners: Option<Owners>,
    addresses: HashSet<IpAddr>,
    addresses_read: Option<Instant>,
}

impl Kernel {
    /// Opens what it needs. What cannot be opened is recorded, with each attribution.
    pub fn open() -> Self {
        let (diag, without_diag) = match SockDiag::open() {
            Ok(diag) => (Some(diag), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self {
            diag,
            without_diag,
            owners: Owners::open().ok(),
            addresses: HashSet::new(),
            addresses_read: None,
        }
    }

    /// True for an address of this network namespace. A forwarded packet carries another, and a
    /// socket of ours that happens to have the same port must not be blamed for it.
    fn is_ours(&mut self, address: IpAddr) -> bool {
        if address.is_loopback() || self.addresses.contains(&address) {
            return true;
        }
        if self.addresses_read.is_some_and(|read| read.elapsed() < ADDRESSES_AGE) {
            return false;
        }
        self.addresses_read = Some(Instant::now());
        let Ok(all) = nix::ifaddrs::getifaddrs() else {
            return false;
        };
        self.addresses = all
            .filter_map(|interface| {
                let address = interface.address?;
                let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
            })
            .collect();
        self.addresses.contains(&address)
    }

    fn socket(&mut self, ends: &Ends) -> Result<(u64, &'static str), String> {
        let shared = !ends.tcp && ends.local.port() == 5353;
        let Some(diag) = &mut self.diag else {
            return one_of(&tables(ends), ends).map(|inode| (inode, "proc-net"));
        };
        if !shared {
            match diag.exact(ends) {
                Ok(found) => return held(found.inode).map(|inode| (inode, "sock_diag")),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) && ends.tcp => {
                    return Err(CLOSED.to_owned());
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) => {
                    return one_of(&tables(ends), ends)
                        .map(|inode| (inode, "proc-net"))
                        .map_err(|why| format!("sock_diag: {error}; {why}"));
                }
            }
        }
        match diag.on_port(ends) {
            Ok(all) => one_of(&all, ends).map(|inode| (inode, "sock_diag")),
            Err(error) => Err(format!("sock_diag: {error}")),
        }
    }
}

const CLOSED: &str = "the socket was closed before it could be looked up";

fn held(inode: u64) -> Result<u64, String> {
    match inode {
        0 => Err(CLOSED.to_owned()),
        inode => Ok(inode),
    }
}

/// The one socket among several with the right port that this packet can come from.
fn one_of(all: &[Found], ends: &Ends) -> Result<u64, String> {
    let local = ends.local.ip();
    let fits = |found: &&Found| found.local == local || found.local.is_unspecified();
    let inodes: HashSet<u64> =
        all.iter().filter(fits).map(|f| f.inode).filter(|i| *i != 0).collect();
    let mut inodes = inodes.into_iter();
    match (inodes.next(), inodes.len()) {
        (None, _) => Err(CLOSED.to_owned()),
        (Some(inode), 0) => Ok(inode),
        (Some(_), more) => Err(format!("{} sockets share port {}", more + 1, ends.local.port())),
    }
}

fn tables(ends: &Ends) -> Vec<Found> {
    let names: &[&str] = match (ends.tcp, ends.local.is_ipv4()) {
        (true, true) => &["tcp", "tcp6"],
        (true, false) => &["tcp6"],
        (false, true) => &["udp", "udp6"],
        (false, false) => &["udp6"],
    };
    let mut all = Vec::new();
    for name in names {
        let mut table = Vec::new();
        // This thread's namespace, which need not be that of the process.
        if let Ok(file) = std::fs::File::open(format!("/proc/thread-self/net/{name}")) {
            let _ = file.take(TABLE_BYTES).read_to_end(&mut table);
        }
        all.extend(in_table(&table, ends.local.port()));
    }
    all
}

impl Attribute for Kernel {
    fn attribute(&mut self, ends: &Ends) -> Attribution {
        // The socket first: it is the first thing to go.
        let socket = self.socket(ends);
        if !self.is_ours(ends.local.ip()) {
            return Attribution::none(
                "forwarded: the sender is no address of this network namespace",
            );
        }
        let (inode, method) = match socket {
            Ok(found) => found,
            Err(why) => return Attribution::none(why),
        };
        match self.owners.as_mut().map(|owners| owners.find(inode)) {
            Some(Owner::Process(process, why)) => {
                Attribution { process: Some(process), method, why }
            }
            Some(Owner::None(why)) => Attribution::none(why),
            None => Attribution::none("/proc could not be opened"),
        }
    }
}

/// The ends of a query, from the client's side.
pub fn ends(tcp: bool, client: SocketAddr, server: SocketAddr, interface: u32) -> Ends {
    Ends { tcp, local: client, remote: server, interface }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(inode: u64, local: &str) -> Found {
        Found { inode, local: local.parse().unwrap(), port: 9 }
    }

    #[test]
    fn one_certain_socket_or_none() {
        let ends = ends(false, "10.0.0.2:9".parse().unwrap(), "10.0.0.1:53".parse().unwrap(), 1);
        assert_eq!(one_of(&[found(7, "10.0.0.2"), found(8, "10.0.0.3")], &ends).unwrap(), 7);
        assert_eq!(one_of(&[found(7, "0.0.0.0"), found(7, "::")], &ends).unwrap(), 7);
        assert!(
            one_of(&[found(7, "0.0.0.0"), found(8, "10.0.0.2")], &ends)
                .unwrap_err()
                .contains("2 sockets")
        );
        assert!(one_of(&[found(0, "10.0.0.2")], &ends).is_err());
    }

    #[test]
    fn a_foreign_sender_is_nobody_of_ours() {
        let mine = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = mine.local_addr().unwrap().port();
        let mut kernel = Kernel::open();
        let server = "203.0.113.1:53".parse().unwrap();
        let foreign = SocketAddr::new("203.0.113.9".parse().unwrap(), port);
        let got = kernel.attribute(&ends(false, foreign, server, 1));
        assert!(got.process.is_none() && got.why.unwrap().starts_with("forwarded"));
        let ours = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
        let got = kernel.attribute(&ends(false, ours, server, 1));
        assert_eq!(got.process.unwrap().pid, std::process::id() as i32);
        kernel.diag = None;
        let got = kernel.attribute(&ends(false, ours, server, 1));
        assert_eq!((got.method, got.process.unwrap().pid), ("proc-net", std::process::id() as i32));
    }
}

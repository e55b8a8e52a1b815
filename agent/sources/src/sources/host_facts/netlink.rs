//! Asks the kernel for its tables over rtnetlink(7): one dump at a time, with a time limit.
//! It only ever sends the requests that read.

use super::rtnl::{self, Message};
use nix::{
    errno::Errno,
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt,
            socket, sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike},
    },
};
use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

/// Room for one datagram of a dump: the kernel fills at most 32 KiB.
const BUFFER_BYTES: usize = 64 * 1024;
/// Messages of one dump at most: a router with a full Internet table stays bounded.
const MAX_MESSAGES: usize = 200_000;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;

/// A table that can be dumped.
#[derive(Clone, Copy, Debug)]
pub enum Table {
    /// Interfaces.
    Links,
    /// Their addresses.
    Addresses,
    /// Routes of every table.
    Routes,
    /// The ARP and neighbour-discovery caches.
    Neighbours,
}

impl Table {
    /// Type of the request and length of the header that follows it.
    fn request(self) -> (u16, u16) {
        match self {
            Self::Links => (libc::RTM_GETLINK, 16),
            Self::Addresses => (libc::RTM_GETADDR, 8),
            Self::Routes => (libc::RTM_GETROUTE, 12),
            Self::Neighbours => (libc::RTM_GETNEIGH, 12),
        }
    }
}

/// Calls `each` with every message of the table. Each dump has a socket of its own, so what one
/// leaves unread cannot reach the next.
pub fn dump(table: Table, mut each: impl FnMut(&Message<'_>)) -> io::Result<()> {
    let socket = open()?;
    let (kind, header) = table.request();
    let length = 16 + header;
    let mut request = Vec::with_capacity(length.into());
    request.extend(u32::from(length).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend(DUMP.to_ne_bytes());
    request.resize(length.into(), 0);
    send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut count, mut interrupted) = (0, false);
    loop {
        let read = match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for message in rtnl::messages(buffer.get(..read).unwrap_or_default()) {
            interrupted |= message.interrupted;
            match i32::from(message.kind) {
                libc::NLMSG_DONE if interrupted => {
                    return Err(io::Error::other("the table changed while it was read"));
                }
                libc::NLMSG_DONE => return Ok(()),
                libc::NLMSG_ERROR => return Err(message.error()),
                _ if count >= MAX_MESSAGES => {
                    let reason = format!("more than {MAX_MESSAGES} entries");
                    return Err(io::Error::other(reason));
                }
                _ => each(&message),
            }
            count += 1;
        }
    }
}

/// A socket to the routing part of the kernel that waits two seconds at most.
fn open() -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(2))?;
    Ok(socket)
}

//! The socket tables of `/proc/PID/net`: lines to sockets. It reads no file and knows no process.

pub mod inet;
pub mod other;

use cleanroom_evidence::RawBytes;
use serde::Serialize;

/// The tables that are read, in this order; each name is the file's and the record's family.
pub const FAMILIES: [Family; 11] = [
    Family::Tcp,
    Family::Tcp6,
    Family::Udp,
    Family::Udp6,
    Family::Raw,
    Family::Raw6,
    Family::Icmp,
    Family::Icmp6,
    Family::Unix,
    Family::Packet,
    Family::Netlink,
];

/// A socket table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names of the kernel's files say it")]
pub enum Family {
    Tcp,
    Tcp6,
    Udp,
    Udp6,
    Raw,
    Raw6,
    Icmp,
    Icmp6,
    Unix,
    Packet,
    Netlink,
}

impl Family {
    /// The file under `/proc/PID/net`.
    pub fn file(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tcp6 => "tcp6",
            Self::Udp => "udp",
            Self::Udp6 => "udp6",
            Self::Raw => "raw",
            Self::Raw6 => "raw6",
            Self::Icmp => "icmp",
            Self::Icmp6 => "icmp6",
            Self::Unix => "unix",
            Self::Packet => "packet",
            Self::Netlink => "netlink",
        }
    }

    /// One line of the table; `None` for its heading and for what is no entry.
    pub fn parse(self, line: &[u8]) -> Option<Socket> {
        match self {
            Self::Unix => other::unix(line),
            Self::Packet => other::packet(line),
            Self::Netlink => other::netlink(line),
            _ => inet::parse(self, line),
        }
    }
}

/// One socket as its table shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Socket {
    /// E.g. `ESTABLISHED`, `LISTEN`; of udp and raw `UNCONNECTED` or `ESTABLISHED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Local address as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_address: Option<String>,
    /// Local port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_port: Option<u16>,
    /// Remote address as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<String>,
    /// Remote port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<u16>,
    /// Of a unix socket; an abstract name begins with `@`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<RawBytes>,
    /// Inode of the socket; absent where no file holds it any more (TIME_WAIT, …).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// Owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Of packet sockets: the interface's number, 0 for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_index: Option<u32>,
    /// Protocol by name or number: of raw sockets that of IP, of packet sockets the Ethernet type
    /// (`0x0003` is every frame), of netlink the family of messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// `stream`, `dgram`, `seqpacket`, `raw`: of unix and packet sockets.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// Of netlink: the port id, often the process id of who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netlink_port: Option<u32>,
    /// Bytes that wait to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send_queue_bytes: Option<u64>,
    /// Bytes that wait to be read (connections to accept, of a TCP listener).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receive_queue_bytes: Option<u64>,
}

//! The records of a live capture, as they are written.

use super::message::{Answer, Question};
use cleanroom_evidence::{RawBytes, Timestamp};
use serde::{Serialize, Serializer};
use std::{net::IpAddr, sync::Arc};

/// The process that asked, as it was when its packet was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Process id (of the thread group), in this PID namespace.
    pub pid: i32,
    /// Name of the main thread.
    pub comm: Option<RawBytes>,
    /// Where `/proc/PID/exe` points.
    pub exe: Option<RawBytes>,
    /// Arguments.
    pub cmdline: Vec<RawBytes>,
    /// Bytes of the arguments, where `cmdline` is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmdline_total_bytes: Option<u64>,
    /// Real user id.
    pub uid: Option<u32>,
    /// Start, in clock ticks since boot (field 22 of proc_pid_stat(5)).
    pub start_ticks: Option<u64>,
}

/// How the process of a packet was found, or why not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution {
    /// The process, where it was found.
    pub process: Option<Arc<Process>>,
    /// `sock_diag`, `proc-net` or `none`.
    pub method: &'static str,
    /// Why there is none, or what is missing of it.
    pub why: Option<String>,
}

impl Attribution {
    /// No process, and why.
    pub fn none(why: impl Into<String>) -> Self {
        Self { process: None, method: "none", why: Some(why.into()) }
    }
}

/// A DNS message that was seen, or bytes on a DNS port that are none.
#[derive(Clone, Debug, Serialize)]
pub struct DnsRecord {
    /// When the kernel saw the packet (of a message in several segments: the last).
    pub time: Timestamp,
    /// `query` or `answer` (the QR bit).
    pub direction: &'static str,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// The DNS port: 53 or 5353.
    pub port: u16,
    /// Who asks: the sender of a query, the receiver of an answer (a group, in multicast DNS).
    pub client_address: IpAddr,
    /// Its port.
    pub client_port: u16,
    /// Who is asked.
    pub server_address: IpAddr,
    /// Its port.
    pub server_port: u16,
    /// Interface where the packet was seen first.
    pub interface: Option<RawBytes>,
    /// Further interfaces that showed the same packet (a VLAN and its parent, a bridge).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seen_again_on: Vec<RawBytes>,
    /// VLAN id.
    pub vlan: Option<u16>,
    /// Message id.
    pub id: u16,
    /// Name of the first question; of the first answer where there is no question.
    pub name: Option<RawBytes>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its class.
    pub class: Option<String>,
    /// Questions after the first (multicast DNS).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub more_questions: Vec<Question>,
    /// Questions announced, where not all are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub questions_total: Option<u16>,
    /// Operation, where it is not a standard query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opcode: Option<u8>,
    /// Response code of an answer, e.g. `NXDOMAIN`.
    pub rcode: Option<String>,
    /// The answer section.
    pub answers: Vec<Answer>,
    /// Answers announced, where not all are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers_total: Option<u16>,
    /// Records announced in the authority section.
    pub authority_total: u16,
    /// Records announced in the additional section.
    pub additional_total: u16,
    /// An OPT record is there.
    pub edns: bool,
    /// TC bit.
    pub truncated: bool,
    /// The process that asked.
    #[serde(serialize_with = "shared")]
    pub process: Option<Arc<Process>>,
    /// How it was found.
    pub attribution: &'static str,
    /// Why it was not found, or what is missing.
    pub attribution_why: Option<String>,
    /// What is wrong with the message.
    pub malformed: Option<String>,
    /// The first bytes of a malformed message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawBytes>,
    /// Bytes of the message on the wire.
    pub message_bytes: usize,
    /// Bytes after the end of the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trailing_bytes: Option<usize>,
}

fn shared<S: Serializer>(process: &Option<Arc<Process>>, serializer: S) -> Result<S::Ok, S::Error> {
    process.as_deref().serialize(serializer)
}

impl DnsRecord {
    /// About how much memory it takes, in bytes: never less than a third of it.
    pub fn weight_bytes(&self) -> usize {
        let answers: usize =
            self.answers.iter().map(|a| 128 + a.name.0.len() + a.data.0.len()).sum();
        let questions: usize = self.more_questions.iter().map(|q| 96 + q.name.0.len()).sum();
        let process = self.process.as_ref().map_or(0, |process| {
            let arguments: usize = process.cmdline.iter().map(|a| 24 + a.0.len()).sum();
            256 + arguments
        });
        size_of::<Self>()
            + self.name.as_ref().map_or(0, |name| name.0.len())
            + self.raw.as_ref().map_or(0, |raw| raw.0.len())
            + answers
            + questions
            + process
    }
}

/// What a capture saw in all.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How long it ran.
    pub seconds: f64,
    /// Packets that passed the kernel's filter (each sighting counts).
    pub packets: u64,
    /// Queries recorded.
    pub queries: u64,
    /// Answers recorded.
    pub answers: u64,
    /// Queries with a process.
    pub attributed: u64,
    /// Queries that this host itself sent.
    pub queries_sent: u64,
    /// Messages with an OPT record.
    pub edns: u64,
    /// Packets that the kernel lost for want of room in the socket.
    pub drops_kernel: u64,
    /// Messages that were lost for want of room in our queue.
    pub drops_memory: u64,
    /// Malformed messages and packets.
    pub malformed: u64,
    /// Sightings of a packet on a further interface, not recorded again.
    pub seen_again: u64,
    /// Packets that were cut because they are larger than the buffer.
    pub cut: u64,
    /// Longest time from a packet's kernel time to the end of its attribution.
    pub slowest_attribution_ns: u64,
    /// Inode of the network namespace.
    pub netns: Option<u64>,
    /// Why sockets were not looked up over sock_diag, where they were not.
    pub sock_diag_unavailable: Option<String>,
}

//! From packets to records: joins answers with the process that asked, puts TCP in order, notices
//! the same packet on a second interface. It asks the kernel nothing itself; whoever sent a packet
//! comes from an [`Attribute`].

use super::{
    attribution::{Attribute, ends},
    message::{self, ANSWERS, Message, QUESTIONS},
    names,
    packet::{self, Packet, Transport, is_dns},
    queue::Queue,
    record::{Attribution, DnsRecord},
    tcp::{Event, Flows, Segment},
};
use cleanroom_evidence::{RawBytes, Timestamp};
use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher as _},
    net::SocketAddr,
};

/// Bytes of a malformed message that are kept.
const RAW_BYTES: usize = 512;
/// Queries, connections and packets remembered at most (each).
const REMEMBERED: usize = 4096;
/// The same bytes on another interface within this time are the same packet on its way.
const SAME_PACKET_NS: i128 = 100_000_000;

/// A packet as the socket gave it.
#[derive(Clone, Debug, Default)]
pub struct Sighting<'a> {
    /// Kernel time.
    pub time: Timestamp,
    /// Interface index.
    pub interface: u32,
    /// Interface name, where it is known.
    pub interface_name: Option<RawBytes>,
    /// VLAN id of a tag that the kernel took off.
    pub vlan: Option<u16>,
    /// This host sends it.
    pub outgoing: bool,
    /// The interface is a loopback.
    pub loopback: bool,
    /// EtherType.
    pub ether_type: u16,
    /// From the network header on.
    pub bytes: &'a [u8],
}

/// A map that forgets its oldest entries.
#[derive(Debug)]
struct Recent<K, V> {
    map: HashMap<K, V>,
    order: VecDeque<K>,
}

impl<K: Hash + Eq + Clone, V> Recent<K, V> {
    fn new() -> Self {
        Self { map: HashMap::new(), order: VecDeque::new() }
    }

    fn insert(&mut self, key: K, value: V) {
        if self.map.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.map.remove(&oldest);
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    tcp: bool,
    client: SocketAddr,
    server: SocketAddr,
    id: u16,
}

/// What it remembers between packets.
#[derive(Debug)]
pub struct Tracker {
    asked: Recent<Asked, Attribution>,
    connections: Recent<(SocketAddr, SocketAddr), Attribution>,
    seen: Recent<u64, (Timestamp, u32, bool)>,
    flows: Flows,
}

impl Default for Tracker {
    fn default() -> Self {
        Self {
            asked: Recent::new(),
            connections: Recent::new(),
            seen: Recent::new(),
            flows: Flows::default(),
        }
    }
}

impl Tracker {
    /// Takes one packet; its records go to `queue`. True when the kernel was asked for a process.
    pub fn packet(
        &mut self,
        sighting: &Sighting<'_>,
        kernel: &mut dyn Attribute,
        queue: &mut dyn FnMut(Output),
    ) -> bool {
        // On a loopback each packet comes as sent and as received: the first is the earlier one.
        if sighting.loopback && !sighting.outgoing {
            return false;
        }
        let mut packet = match packet::parse(sighting.ether_type, sighting.bytes) {
            Ok(Some(packet)) => packet,
            Ok(None) => return false,
            Err(_) => {
                queue(Output::Unreadable);
                return false;
            }
        };
        packet.vlan = sighting.vlan.or(packet.vlan);
        let fingerprint = fingerprint(&packet);
        if self.is_seen_again(fingerprint, sighting) {
            let interface = sighting.interface_name.clone();
            queue(Output::SeenAgain { fingerprint, interface, vlan: packet.vlan });
            return false;
        }
        let source = SocketAddr::new(packet.source, packet.source_port);
        let destination = SocketAddr::new(packet.destination, packet.destination_port);
        let mut context = Context { sighting, packet: &packet, source, destination };
        match packet.transport {
            Transport::Udp => {
                // The process first: parsing can wait, a process that is about to end cannot.
                let sent = is_query(packet.payload).then(|| context.sender(kernel)).flatten();
                let asked = sent.is_some();
                let multicast = packet.source_port == 5353 || packet.destination_port == 5353;
                let message = message::parse(packet.payload, multicast);
                let record = self.record(&context, message, packet.payload, sent);
                queue(Output::Record(fingerprint, Box::new(record)));
                asked
            }
            Transport::Tcp { sequence, syn, fin, reset } => {
                let mut asked = false;
                if sighting.outgoing
                    && is_dns(packet.destination_port)
                    && (syn || !packet.payload.is_empty())
                    && (syn || !self.connections.map.contains_key(&(source, destination)))
                    && let Some(attribution) = context.sender(kernel)
                {
                    asked = true;
                    self.connections.insert((source, destination), attribution);
                }
                let segment = Segment { sequence, syn, fin, reset, payload: packet.payload };
                for event in self.flows.push((source, destination), segment) {
                    let record = match event {
                        Event::Message(bytes) => {
                            let sent = (is_query(&bytes) && sighting.outgoing)
                                .then(|| self.connections.map.get(&(source, destination)).cloned())
                                .flatten();
                            self.record(&context, message::parse(&bytes, false), &bytes, sent)
                        }
                        Event::Lost(direction, why) => {
                            (context.source, context.destination) = direction;
                            let malformed = Some(why.to_owned());
                            let answer = is_dns(direction.0.port()) && !is_dns(direction.1.port());
                            let message = Message { malformed, answer, ..Message::default() };
                            let record = self.record(&context, message, &[], None);
                            (context.source, context.destination) = (source, destination);
                            record
                        }
                    };
                    queue(Output::Record(fingerprint, Box::new(record)));
                }
                asked
            }
        }
    }

    fn is_seen_again(&mut self, fingerprint: u64, sighting: &Sighting<'_>) -> bool {
        let here = (sighting.interface, sighting.outgoing);
        let first = self.seen.map.get(&fingerprint).copied();
        if let Some((time, interface, outgoing)) = first {
            let apart = sighting.time.unix_nanoseconds() - time.unix_nanoseconds();
            if (interface, outgoing) != here && apart.abs() < SAME_PACKET_NS {
                return true;
            }
        }
        self.seen.insert(fingerprint, (sighting.time, here.0, here.1));
        false
    }

    fn record(
        &mut self,
        context: &Context<'_>,
        message: Message,
        bytes: &[u8],
        sent: Option<Attribution>,
    ) -> DnsRecord {
        let tcp = context.packet.transport != Transport::Udp;
        let (client, server) = match message.answer {
            true => (context.destination, context.source),
            false => (context.source, context.destination),
        };
        let key = Asked { tcp, client, server, id: message.id };
        let attribution = match (message.answer, sent) {
            (true, _) => self
                .asked
                .map
                .get(&key)
                .cloned()
                .unwrap_or_else(|| Attribution::none("no query that it answers was seen")),
            (false, Some(attribution)) => {
                self.asked.insert(key, attribution.clone());
                attribution
            }
            (false, None) if context.sighting.outgoing => {
                Attribution::none("the beginning of the connection was not seen")
            }
            (false, None) => {
                let why = "it came in from outside this network namespace";
                let attribution = Attribution::none(why);
                self.asked.insert(key, attribution.clone());
                attribution
            }
        };
        let malformed = match (context.packet.partial, message.malformed) {
            (Some(partial), Some(why)) => Some(format!("{partial}; {why}")),
            (Some(partial), None) => Some(partial.to_owned()),
            (None, why) => why,
        };
        let raw =
            malformed.as_ref().map(|_| RawBytes::from(bytes.get(..RAW_BYTES).unwrap_or(bytes)));
        let mut questions = message.questions.into_iter();
        let first = questions.next();
        let (name, kind, class) = match (first, message.answers.first()) {
            (Some(q), _) => (Some(q.name), Some(q.kind), Some(q.class)),
            (None, Some(a)) => (Some(a.name.clone()), Some(a.kind.clone()), None),
            (None, None) => (None, None, None),
        };
        DnsRecord {
            time: context.sighting.time,
            direction: if message.answer { "answer" } else { "query" },
            transport: if tcp { "tcp" } else { "udp" },
            port: if is_dns(server.port()) { server.port() } else { client.port() },
            client_address: client.ip(),
            client_port: client.port(),
            server_address: server.ip(),
            server_port: server.port(),
            interface: context.sighting.interface_name.clone(),
            seen_again_on: Vec::new(),
            vlan: context.packet.vlan,
            id: message.id,
            name,
            kind,
            class,
            more_questions: questions.collect(),
            questions_total: (usize::from(message.questions_total) > QUESTIONS)
                .then_some(message.questions_total),
            opcode: (message.opcode != 0).then_some(message.opcode),
            rcode: message.answer.then(|| names::rcode_name(message.rcode)),
            answers: message.answers,
            answers_total: (usize::from(message.answers_total) > ANSWERS)
                .then_some(message.answers_total),
            authority_total: message.authority_total,
            additional_total: message.additional_total,
            edns: message.edns,
            truncated: message.truncated,
            process: attribution.process,
            attribution: attribution.method,
            attribution_why: attribution.why,
            malformed,
            raw,
            message_bytes: bytes.len(),
            trailing_bytes: (message.trailing_bytes > 0).then_some(message.trailing_bytes),
        }
    }
}

/// What a packet gives.
#[derive(Debug)]
pub enum Output {
    /// A record, with the fingerprint of its packet.
    Record(u64, Box<DnsRecord>),
    /// A packet that was recorded before, seen on another interface.
    SeenAgain {
        /// Of the packet.
        fingerprint: u64,
        /// The other interface.
        interface: Option<RawBytes>,
        /// The VLAN id that it shows there.
        vlan: Option<u16>,
    },
    /// A packet whose headers are broken.
    Unreadable,
}

impl Output {
    /// Counts it and puts it into the queue.
    pub fn deliver(self, sent: bool, queue: &mut Queue) {
        let summary = &mut queue.summary;
        match self {
            Self::SeenAgain { fingerprint, interface, vlan } => {
                queue.seen_again(fingerprint, interface, vlan);
            }
            Self::Unreadable => summary.malformed += 1,
            Self::Record(fingerprint, record) => {
                summary.malformed += u64::from(record.malformed.is_some());
                summary.edns += u64::from(record.edns);
                if record.direction == "query" {
                    summary.queries += 1;
                    summary.queries_sent += u64::from(sent);
                    summary.attributed += u64::from(record.process.is_some());
                } else {
                    summary.answers += 1;
                }
                queue.push(fingerprint, *record);
            }
        }
    }
}

struct Context<'a> {
    sighting: &'a Sighting<'a>,
    packet: &'a Packet<'a>,
    source: SocketAddr,
    destination: SocketAddr,
}

impl Context<'_> {
    /// The process behind a packet that this host sends.
    fn sender(&self, kernel: &mut dyn Attribute) -> Option<Attribution> {
        let tcp = self.packet.transport != Transport::Udp;
        self.sighting.outgoing.then(|| {
            kernel.attribute(&ends(tcp, self.source, self.destination, self.sighting.interface))
        })
    }
}

/// True unless the QR bit says that it is an answer.
fn is_query(message: &[u8]) -> bool {
    message.get(2).is_none_or(|flags| flags & 0x80 == 0)
}

fn fingerprint(packet: &Packet<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (packet.source, packet.source_port, packet.destination, packet.destination_port)
        .hash(&mut hasher);
    match packet.transport {
        Transport::Udp => 0u32.hash(&mut hasher),
        Transport::Tcp { sequence, syn, fin, reset } => {
            (1u32, sequence, syn, fin, reset).hash(&mut hasher);
        }
    }
    packet.payload.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;

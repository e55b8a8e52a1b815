//! DNS over TCP: the bytes of each direction put in order and cut at their two-byte lengths
//! (RFC 7766, section 8). Bounded in flows and bytes; what it has to give up is reported, never
//! passed off as a message. It keeps no state of the connection beyond that.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
};

/// Directions followed at once at most; beyond, the oldest is given up.
const FLOWS: usize = 1024;
/// Bytes kept for one direction at most: one message of the largest size and a segment.
const FLOW_BYTES: usize = 128 * 1024;
/// Bytes kept for all directions at most.
const ALL_BYTES: usize = 2 * 1024 * 1024;

const UNFINISHED: &str = "a TCP direction ended, or was given up, inside a message";

/// One direction of a connection: sender, receiver.
pub type Direction = (SocketAddr, SocketAddr);

/// What a segment brought to light.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message, without its length.
    Message(Vec<u8>),
    /// Bytes of that direction that could not be read as messages, and why.
    Lost(Direction, &'static str),
}

/// A segment's place in its direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Segment<'a> {
    /// Sequence number of the first payload byte, or of SYN.
    pub sequence: u32,
    /// Opens the direction.
    pub syn: bool,
    /// Ends the direction after its payload.
    pub fin: bool,
    /// Ends the connection.
    pub reset: bool,
    /// The bytes.
    pub payload: &'a [u8],
}

#[derive(Debug, Default)]
struct Flow {
    /// Sequence number of the next byte in order.
    next: u32,
    ordered: Vec<u8>,
    /// Segments that came early, by sequence number.
    early: BTreeMap<u32, Vec<u8>>,
    early_bytes: usize,
    end: Option<u32>,
}

/// All directions that are followed.
#[derive(Debug, Default)]
pub struct Flows {
    flows: HashMap<Direction, Flow>,
    order: VecDeque<Direction>,
    bytes: usize,
}

impl Flows {
    /// Takes a segment and gives what is complete now. A direction whose SYN was not seen starts
    /// at the first bytes that come.
    pub fn push(&mut self, direction: Direction, segment: Segment<'_>) -> Vec<Event> {
        let mut events = Vec::new();
        if segment.syn || segment.reset {
            self.forget(&direction, &mut events);
        }
        if segment.reset {
            return events;
        }
        let first = segment.sequence.wrapping_add(u32::from(segment.syn));
        if !self.flows.contains_key(&direction) {
            if segment.payload.is_empty() && !segment.syn {
                return events;
            }
            self.make_room(&mut events);
            self.flows.insert(direction, Flow { next: first, ..Flow::default() });
            self.order.push_back(direction);
        }
        let Some(flow) = self.flows.get_mut(&direction) else {
            return events;
        };
        if segment.fin {
            flow.end = Some(first.wrapping_add(u32::try_from(segment.payload.len()).unwrap_or(0)));
        }
        let before = flow.bytes();
        flow.take(first, segment.payload);
        flow.cut(&mut events);
        let (after, over) = (flow.bytes(), flow.end == Some(flow.next));
        self.bytes = (self.bytes + after).saturating_sub(before);
        if over || after > FLOW_BYTES {
            self.forget(&direction, &mut events);
        }
        while self.bytes > ALL_BYTES {
            let Some(oldest) = self.order.front().copied() else {
                break;
            };
            self.forget(&oldest, &mut events);
        }
        events
    }

    fn make_room(&mut self, events: &mut Vec<Event>) {
        if self.flows.len() >= FLOWS
            && let Some(oldest) = self.order.front().copied()
        {
            self.forget(&oldest, events);
        }
    }

    fn forget(&mut self, direction: &Direction, events: &mut Vec<Event>) {
        let Some(flow) = self.flows.remove(direction) else {
            return;
        };
        self.order.retain(|known| known != direction);
        self.bytes = self.bytes.saturating_sub(flow.bytes());
        if flow.bytes() > 0 {
            events.push(Event::Lost(*direction, UNFINISHED));
        }
    }
}

impl Flow {
    fn bytes(&self) -> usize {
        self.ordered.len() + self.early_bytes
    }

    /// Bytes that are new and in order go to `ordered`, early ones wait, old ones are dropped.
    fn take(&mut self, first: u32, payload: &[u8]) {
        if payload.is_empty() {
            return;
        }
        // Distances wrap with the 32-bit sequence space: beyond half of it is behind us.
        let distance = first.wrapping_sub(self.next);
        if distance != 0 && distance < 1 << 31 {
            self.early_bytes += payload.len();
            if let Some(old) = self.early.insert(first, payload.to_vec()) {
                self.early_bytes = self.early_bytes.saturating_sub(old.len());
            }
            return;
        }
        self.append(first, payload);
        // An early segment may fit now; each round takes at least one away.
        while let Some(first) = self.fitting() {
            if let Some(payload) = self.early.remove(&first) {
                self.early_bytes = self.early_bytes.saturating_sub(payload.len());
                self.append(first, &payload);
            }
        }
    }

    fn fitting(&self) -> Option<u32> {
        let behind = |first: &&u32| self.next.wrapping_sub(**first) < 1 << 31;
        self.early.keys().find(behind).copied()
    }

    fn append(&mut self, first: u32, payload: &[u8]) {
        let known = usize::try_from(self.next.wrapping_sub(first)).unwrap_or(usize::MAX);
        let new = payload.get(known..).unwrap_or_default();
        self.ordered.extend_from_slice(new);
        self.next = self.next.wrapping_add(u32::try_from(new.len()).unwrap_or(0));
    }

    fn cut(&mut self, events: &mut Vec<Event>) {
        let mut used = 0;
        while let Some([high, low, rest @ ..]) = self.ordered.get(used..) {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(message) = rest.get(..length) else {
                break;
            };
            events.push(Event::Message(message.to_vec()));
            used += 2 + length;
        }
        self.ordered.drain(..used.min(self.ordered.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn direction(port: u16) -> Direction {
        (SocketAddr::from(([10, 0, 0, 2], port)), SocketAddr::from(([10, 0, 0, 1], 53)))
    }

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        messages.iter().flat_map(|m| [&(m.len() as u16).to_be_bytes()[..], m].concat()).collect()
    }

    fn messages(events: Vec<Event>) -> Vec<Vec<u8>> {
        events
            .into_iter()
            .map(|event| match event {
                Event::Message(bytes) => bytes,
                Event::Lost(_, why) => panic!("{why}"),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn any_cutting_order_and_repetition_gives_the_messages(
            wanted in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 1..5),
            start: u32,
            sizes in proptest::collection::vec(1usize..30, 1..20),
            swaps in proptest::collection::vec((0usize..20, 0usize..20), 0..12),
            repeat in 0usize..20,
        ) {
            let bytes = framed(&wanted);
            let (mut pieces, mut at) = (Vec::new(), 0);
            for size in sizes.iter().cycle() {
                if at >= bytes.len() { break; }
                let end = (at + size).min(bytes.len());
                pieces.push((at, bytes[at..end].to_vec()));
                at = end;
            }
            let n = pieces.len();
            for (a, b) in swaps { pieces.swap(a % n, b % n); }
            let again = pieces[repeat % n].clone();
            pieces.push(again);
            let mut flows = Flows::default();
            let syn = Segment { sequence: start, syn: true, ..Segment::default() };
            let mut got = messages(flows.push(direction(1), syn));
            for (at, payload) in &pieces {
                let sequence = start.wrapping_add(1).wrapping_add(*at as u32);
                got.extend(messages(flows.push(direction(1), Segment { sequence, payload, ..Segment::default() })));
            }
            prop_assert_eq!(got, wanted);
            prop_assert_eq!(flows.bytes, 0);
        }

        #[test]
        fn never_panics_and_stays_bounded(segments in proptest::collection::vec((0u16..4, any::<u32>(), any::<[bool; 3]>(), 0usize..3000), 0..60)) {
            let mut flows = Flows::default();
            for (port, sequence, [syn, fin, reset], size) in segments {
                let payload = vec![0xff; size];
                flows.push(direction(port), Segment { sequence, syn, fin, reset, payload: &payload });
            }
            let real: usize = flows.flows.values().map(Flow::bytes).sum();
            prop_assert_eq!(real, flows.bytes);
            prop_assert_eq!(flows.flows.len(), flows.order.len());
        }
    }

    #[test]
    fn what_is_given_up_is_said() {
        let mut flows = Flows::default();
        let some = Segment { sequence: 5, payload: &[0, 200, 1], ..Segment::default() };
        assert_eq!(flows.push(direction(1), some), []);
        let end = Segment { sequence: 8, fin: true, ..Segment::default() };
        assert!(matches!(flows.push(direction(1), end)[..], [Event::Lost(..)]));
        for port in 0..3000 {
            flows.push(direction(port), some);
            assert!(flows.flows.len() <= FLOWS);
        }
    }
}

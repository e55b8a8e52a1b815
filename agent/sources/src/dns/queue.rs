//! The queue between the capture thread and the run: bounded in bytes, drops counted.

use super::record::{DnsRecord, Summary};
use cleanroom_evidence::RawBytes;
use std::collections::VecDeque;

/// Bytes of waiting records at most.
pub const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Waiting records that a further sighting is looked for in.
const LOOK_BACK: usize = 64;

/// What the capture thread and the run share.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<(u64, DnsRecord)>,
    bytes: usize,
    /// The counts so far.
    pub summary: Summary,
    /// Why the capture ended early, where it did.
    pub failed: Option<String>,
}

impl Queue {
    /// Adds a record of the packet with that fingerprint, or counts a drop.
    pub fn push(&mut self, fingerprint: u64, record: DnsRecord) {
        let weight = record.weight_bytes();
        if self.bytes + weight > QUEUE_BYTES {
            self.summary.drops_memory += 1;
            return;
        }
        self.bytes += weight;
        self.waiting.push_back((fingerprint, record));
    }

    /// Notes that a packet was seen again on another interface, with what that one adds.
    pub fn seen_again(&mut self, fingerprint: u64, interface: Option<RawBytes>, vlan: Option<u16>) {
        self.summary.seen_again += 1;
        let last = self.waiting.iter_mut().rev().take(LOOK_BACK);
        for (_, record) in last.filter(|(known, _)| *known == fingerprint) {
            record.vlan = record.vlan.or(vlan);
            if record.seen_again_on.len() < 8 {
                record.seen_again_on.extend(interface.clone());
            }
        }
    }

    /// Takes all that waits, at most `limit` records, oldest first.
    pub fn take(&mut self, limit: usize) -> Vec<DnsRecord> {
        let count = limit.min(self.waiting.len());
        let taken: Vec<DnsRecord> = self.waiting.drain(..count).map(|(_, record)| record).collect();
        let weight: usize = taken.iter().map(DnsRecord::weight_bytes).sum();
        self.bytes = self.bytes.saturating_sub(weight);
        taken
    }
}

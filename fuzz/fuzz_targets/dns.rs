//! Everything that reads DNS from the network or from files of the host. The first byte says which
//! reader gets the rest; packets go through the whole path up to the record.

#![no_main]

use cleanroom_sources::dns::{
    attribution::Attribute,
    cache,
    config::{self, Format},
    message,
    queue::Queue,
    record::Attribution,
    sock_diag::{self, Ends},
    tracker::{Sighting, Tracker},
};
use libfuzzer_sys::fuzz_target;

struct Nobody;

impl Attribute for Nobody {
    fn attribute(&mut self, _: &Ends) -> Attribution {
        Attribution::none("fuzzing")
    }
}

/// Packets one after the other, each behind its length and its kind.
fn packets(mut bytes: &[u8]) {
    let (mut tracker, mut queue) = (Tracker::default(), Queue::default());
    while let [kind, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (packet, after) = rest.split_at(length);
        bytes = after;
        let sighting = Sighting {
            interface: u32::from(kind >> 6),
            outgoing: kind & 1 != 0,
            loopback: kind & 2 != 0,
            ether_type: [0x0800, 0x86dd, 0x8100, 0x88a8][usize::from(kind >> 2 & 3)],
            bytes: packet,
            ..Sighting::default()
        };
        tracker.packet(&sighting, &mut Nobody, &mut |output| {
            output.deliver(sighting.outgoing, &mut queue);
        });
    }
    for record in queue.take(usize::MAX) {
        serde_json::to_vec(&record).expect("a record is always JSON");
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else {
        return;
    };
    match kind % 6 {
        0 | 1 => packets(bytes),
        2 => {
            let _ = message::parse(bytes, kind & 0x80 != 0);
        }
        3 => {
            let _ = message::single(bytes);
        }
        4 => {
            let _ = cache::parse(bytes);
        }
        _ => {
            for format in [
                Format::Words,
                Format::Colon,
                Format::Equals,
                Format::Sections,
                Format::Raw,
            ] {
                let _ = (
                    config::parse(bytes, format),
                    config::log_paths(bytes, format),
                );
            }
            let _ = sock_diag::in_table(bytes, u16::from(*kind));
        }
    }
});

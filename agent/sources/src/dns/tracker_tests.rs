//! What the tracker makes of packets, with a stand-in for the kernel.

use super::*;
use crate::dns::{
    message::tests::{answer_to, query},
    packet::tests::{tcp4, udp4},
    queue::QUEUE_BYTES,
    record::Process,
    sock_diag::Ends,
};
use proptest::prelude::*;
use std::sync::Arc;

/// Says that the process with the client's port as its pid sent it.
struct ByPort(u32);

impl Attribute for ByPort {
    fn attribute(&mut self, ends: &Ends) -> Attribution {
        self.0 += 1;
        let process = Process { pid: i32::from(ends.local.port()), ..Process::default() };
        Attribution { process: Some(Arc::new(process)), method: "sock_diag", why: None }
    }
}

#[derive(Default)]
struct Scene {
    tracker: Tracker,
    queue: Queue,
    kernel_asked: u32,
}

impl Scene {
    fn see(&mut self, sighting: Sighting<'_>) {
        let mut kernel = ByPort(0);
        let mut outputs = Vec::new();
        self.tracker.packet(&sighting, &mut kernel, &mut |output| outputs.push(output));
        self.kernel_asked += kernel.0;
        for output in outputs {
            output.deliver(sighting.outgoing, &mut self.queue);
        }
    }
}

fn on(interface: u32, outgoing: bool, bytes: &[u8]) -> Sighting<'_> {
    Sighting {
        interface,
        interface_name: Some(RawBytes::from(format!("if{interface}").as_str())),
        outgoing,
        ether_type: 0x0800,
        bytes,
        ..Sighting::default()
    }
}

/// The same packet with its ends exchanged.
fn back(mut packet: Vec<u8>) -> Vec<u8> {
    let (source, destination) = (packet[12..16].to_vec(), packet[16..20].to_vec());
    packet[12..16].copy_from_slice(&destination);
    packet[16..20].copy_from_slice(&source);
    packet
}

#[test]
fn an_answer_gets_the_process_of_its_query_and_only_of_its() {
    let mut scene = Scene::default();
    let question = query(5, &[b"pool", b"example"], 1);
    scene.see(on(2, true, &udp4(4000, 53, &question)));
    for id in [5, 6] {
        let mut answer = answer_to(&question, [198, 51, 100, 1]);
        answer[1] = id;
        scene.see(on(2, false, &back(udp4(53, 4000, &answer))));
    }
    let records = scene.queue.take(10);
    let pids: Vec<_> = records.iter().map(|r| r.process.as_ref().map(|p| p.pid)).collect();
    assert_eq!(pids, [Some(4000), Some(4000), None]);
    assert_eq!(records[1].direction, "answer");
    assert_eq!(records[1].client_address, records[0].client_address);
    assert_eq!((records[1].client_port, records[1].server_port, records[1].port), (4000, 53, 53));
    assert_eq!(records[1].rcode.as_deref(), Some("NOERROR"));
    assert!(records[2].attribution_why.is_some());
    assert_eq!(scene.kernel_asked, 1);
}

#[test]
fn one_record_for_a_packet_that_is_seen_twice_and_two_for_a_repetition() {
    let mut scene = Scene::default();
    let packet = udp4(4000, 53, &query(5, &[b"a"], 1));
    scene.see(on(7, true, &packet));
    scene.see(Sighting { vlan: Some(12), ..on(2, true, &packet) });
    let records = scene.queue.take(10);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].vlan, records[0].seen_again_on.len()), (Some(12), 1));
    assert_eq!(records[0].interface, Some("if7".into()));
    scene.see(on(7, true, &packet));
    assert_eq!(scene.queue.take(10).len(), 1);
    for outgoing in [true, false] {
        scene.see(Sighting { loopback: true, ..on(1, outgoing, &udp4(4001, 53, b"x")) });
    }
    assert_eq!(scene.queue.take(10).len(), 1);
    assert_eq!(scene.queue.summary.seen_again, 1);
}

#[test]
fn tcp_is_attributed_at_its_beginning_and_cut_into_messages() {
    let mut scene = Scene::default();
    let question = query(9, &[b"x"], 16);
    let framed = [&(question.len() as u16).to_be_bytes()[..], &question].concat();
    scene.see(on(2, true, &tcp4(4000, 53, 100, 2, b"")));
    scene.see(on(2, true, &tcp4(4000, 53, 101, 16, &framed[..5])));
    scene.see(on(2, true, &tcp4(4000, 53, 106, 16, &framed[5..])));
    let answer = answer_to(&question, [1, 2, 3, 4]);
    let framed = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
    scene.see(on(2, false, &back(tcp4(53, 4000, 7, 16, &framed))));
    let records = scene.queue.take(10);
    assert_eq!(records.len(), 2);
    for record in &records {
        assert_eq!((record.transport, record.process.as_ref().unwrap().pid), ("tcp", 4000));
    }
    assert_eq!(scene.kernel_asked, 1);
}

#[test]
fn what_is_no_dns_is_kept_as_malformed_and_foreign_queries_are_not_blamed_on_us() {
    let mut scene = Scene::default();
    scene.see(on(2, true, &udp4(4000, 53, b"\x01tunnel")));
    scene.see(on(2, false, &back(udp4(4000, 53, &query(1, &[b"y"], 1)))));
    let records = scene.queue.take(10);
    assert_eq!(records[0].raw.as_ref().unwrap().0, b"\x01tunnel");
    assert!(records[0].malformed.is_some() && records[0].process.is_some());
    assert!(records[1].process.is_none() && records[1].attribution == "none");
    let summary = &scene.queue.summary;
    assert_eq!((summary.malformed, summary.queries, summary.attributed), (1, 2, 1));
}

#[test]
fn a_flood_is_bounded_and_counted() {
    let mut scene = Scene::default();
    for n in 0..40_000u32 {
        let label = format!("{n:060}");
        let packet = udp4(n as u16 | 1024, 53, &query(n as u16, &[label.as_bytes()], 1));
        scene.see(on(2, true, &packet));
    }
    let dropped = scene.queue.summary.drops_memory;
    let records = scene.queue.take(usize::MAX);
    let bytes: usize = records.iter().map(DnsRecord::weight_bytes).sum();
    assert!(dropped > 0 && bytes <= QUEUE_BYTES, "{dropped} {bytes}");
    assert_eq!(records.len() as u64 + dropped, 40_000);
    scene.see(on(2, true, &udp4(4000, 53, b"again")));
    assert_eq!(scene.queue.take(usize::MAX).len(), 1);
}

proptest! {
    #[test]
    fn never_panics(packets in proptest::collection::vec((any::<bool>(), any::<u16>(), proptest::collection::vec(any::<u8>(), 0..120), 0u8..6), 0..20)) {
        let mut scene = Scene::default();
        for (outgoing, port, payload, kind) in packets {
            let bytes = match kind {
                0 => udp4(port, 53, &payload),
                1 => udp4(5353, port, &payload),
                2 => tcp4(port, 53, u32::from(port), payload.first().copied().unwrap_or(2), &payload),
                3 => tcp4(53, port, u32::from(port), 16, &payload),
                _ => payload,
            };
            scene.see(on(2, outgoing, &bytes));
        }
        for record in scene.queue.take(usize::MAX) {
            serde_json::to_vec(&record).unwrap();
        }
    }
}

//! Runs detections over a few lines, for tests.

use super::{ALL, Engine, Finding, Session};
use cleanroom_evidence::{Clock, ItemHeader, ItemKind};

/// A header for tests.
pub fn header(kind: ItemKind, name: &[u8]) -> ItemHeader {
    ItemHeader {
        source: "test".into(),
        kind,
        name: name.into(),
        file: None,
        read_at: Clock::default(),
        labels: Default::default(),
    }
}

/// All findings: records are of item 1 with their line, texts are items from 2.
pub fn findings(lines: &[(&str, &str)], texts: &[&[u8]]) -> Vec<Finding> {
    let session = Session { agent_pid: Some(4242), agent_sha256: "aa".repeat(32) };
    let mut engine = Engine::new(session);
    for (number, (set, line)) in (1u64..).zip(lines) {
        engine.record(set, 1, number, line.as_bytes());
    }
    for (seq, text) in (2u64..).zip(texts) {
        let name = format!("user-data//var/lib/cloud/instance/user-data.txt#{seq}");
        engine.text(seq, &header(ItemKind::Raw, name.as_bytes()), text);
    }
    engine.finish(&"h".parse().unwrap(), &"s".parse().unwrap())
}

/// The findings of one detection.
pub fn of(id: &str, lines: &[(&str, &str)], texts: &[&[u8]]) -> Vec<Finding> {
    assert!(ALL.iter().any(|detection| detection.about().id == id), "no such detection: {id}");
    findings(lines, texts).into_iter().filter(|finding| finding.detection == id).collect()
}

//! What the store's tests share: a case in a temporary folder, items, and a check of the whole.
#![allow(dead_code)]

use cleanroom_evidence::{
    CaseId, Clock, Hasher, HostId, ItemHeader, ItemKind, ItemStatus, Outcome, Seal, SessionId,
    Sha256Digest, SourceOutcome,
};
use cleanroom_store::{Case, CaseDraft, CaseReader, Entry, Session, SessionOpen, Store, Tool};
use std::{collections::BTreeMap, fs, io::Read, path::Path};

pub fn tool() -> Tool {
    Tool { name: "cleanroom".into(), version: "0".into(), sha256: Sha256Digest::of(b"tool") }
}

pub fn id() -> CaseId {
    "c-1".parse().unwrap()
}

pub fn draft(quota_bytes: Option<u64>) -> CaseDraft {
    CaseDraft {
        id: id(),
        title: "a case".into(),
        examiner: "e. xaminer".into(),
        authority: "warrant 7".into(),
        tool: tool(),
        quota_bytes,
    }
}

pub fn case(root: &Path) -> Case {
    Store::open(root).unwrap().create_case(draft(None)).unwrap()
}

pub fn reopen(root: &Path) -> Case {
    Store::open(root).unwrap().open_case(&id(), tool()).unwrap()
}

pub fn opening(host: &str, incarnation: &str) -> SessionOpen {
    SessionOpen {
        host: host.parse::<HostId>().unwrap(),
        session: "s-1".parse::<SessionId>().unwrap(),
        incarnation: incarnation.into(),
        agent: Tool { name: "cleanroom-agent".into(), ..tool() },
        host_facts: serde_json::Map::new(),
        peer: format!("spiffe://cleanroom/{host}"),
    }
}

pub fn session(case: &Case, incarnation: &str) -> Session {
    case.open_session(opening("i-1", incarnation)).unwrap()
}

pub fn header(name: &[u8]) -> ItemHeader {
    ItemHeader {
        source: "files".into(),
        kind: ItemKind::File,
        name: name.into(),
        file: None,
        read_at: Clock::default(),
        labels: BTreeMap::new(),
    }
}

pub fn seal(bytes: &[u8]) -> Seal {
    Seal {
        sha256: Sha256Digest::of(bytes),
        length_bytes: bytes.len() as u64,
        status: ItemStatus::Whole,
        read_end: Clock::default(),
    }
}

pub fn outcome(source: &str) -> SourceOutcome {
    SourceOutcome {
        source: source.into(),
        outcome: Outcome::Complete,
        started: Clock::default(),
        ended: Clock::default(),
        items: 1,
        bytes: 2,
    }
}

pub fn put(session: &mut Session, seq: u64, name: &[u8], bytes: &[u8]) {
    session.begin(seq, header(name)).unwrap();
    let mut offset = 0;
    for chunk in bytes.chunks(256 * 1024) {
        session.chunk(seq, offset, chunk).unwrap();
        offset += chunk.len() as u64;
    }
    session.seal(seq, seal(bytes)).unwrap();
}

/// Every listed item's name and bytes, in order: hashed again, and its custody entry says so.
pub fn verified(reader: &CaseReader) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = entries(reader);
    let mut items = Vec::new();
    for session in reader.sessions().unwrap() {
        let mut last = 0;
        for item in reader.items(&session).unwrap() {
            let item = item.unwrap();
            assert!(item.seq > last);
            last = item.seq;
            let mut bytes = Vec::new();
            reader.open_blob(&item.seal.sha256).unwrap().read_to_end(&mut bytes).unwrap();
            let mut hasher = Hasher::default();
            hasher.update(&bytes);
            assert_eq!(hasher.finish(), item.seal.sha256);
            assert_eq!(bytes.len() as u64, item.seal.length_bytes);
            let entry = &entries[usize::try_from(item.custody_index).unwrap()];
            assert_eq!(entry.kind, "item.received");
            assert_eq!(entry.subject["seq"], item.seq);
            assert_eq!(entry.subject["sha256"], item.seal.sha256.to_string());
            assert_eq!(entry.session.as_ref(), Some(&session.session));
            items.push((item.header.name.0, bytes));
        }
    }
    let received = entries.iter().filter(|entry| entry.kind == "item.received").count();
    assert_eq!(received, items.len(), "each item.received stands for one listed item");
    items
}

/// The custody entries, checked against the checkpoint and for their indices.
pub fn entries(reader: &CaseReader) -> Vec<Entry> {
    let custody = reader.custody().unwrap();
    let entries: Vec<Entry> = custody
        .entries()
        .unwrap()
        .map(|entry| serde_json::from_slice(&entry.unwrap()).unwrap())
        .collect();
    assert_eq!(entries.len() as u64, custody.head.size);
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry.index, index as u64);
    }
    entries
}

pub fn kinds(reader: &CaseReader) -> Vec<String> {
    entries(reader).into_iter().map(|entry| entry.kind).collect()
}

/// A copy of a folder as a crash would leave it.
pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            let _ = fs::remove_file(&target);
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

pub fn session_dir(root: &Path) -> std::path::PathBuf {
    root.join("cases/c-1/sessions/i-1/s-1")
}

pub fn custody_dir(root: &Path) -> std::path::PathBuf {
    root.join("cases/c-1/custody")
}

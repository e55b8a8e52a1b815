//! A small real case for tests: store, session, items of every kind, hostile names.

use crate::{BundleError, Exported, Options, export};
use cleanroom_evidence::{
    Clock, FileKind, FileMeta, ItemHeader, ItemKind, ItemStatus, Outcome, Seal, Sha256Digest,
    SourceOutcome, Timestamp,
};
use cleanroom_store::{Actor, Case, CaseDraft, SessionOpen, Store, Tool};
use std::{fs, path::PathBuf};

pub struct Scene {
    pub dir: tempfile::TempDir,
    pub case: Case,
    pub items: u64,
}

pub type Given = (ItemKind, &'static [u8], Option<FileMeta>, Vec<u8>, ItemStatus);

pub fn meta(kind: FileKind, size: usize) -> FileMeta {
    FileMeta {
        kind,
        mode: 0o640,
        uid: 1000,
        gid: 50,
        size_bytes: size as u64,
        inode: 77,
        modified: Timestamp::new(1_600_000_000, 5),
        accessed: Timestamp::new(1_600_000_100, 0),
        changed: Timestamp::new(1_600_000_000, 5),
        ..FileMeta::default()
    }
}

pub fn file(name: &'static [u8], bytes: &[u8]) -> Given {
    let meta = meta(FileKind::Regular, bytes.len());
    (ItemKind::File, name, Some(meta), bytes.to_vec(), ItemStatus::Whole)
}

pub fn records(set: &'static [u8], text: &str) -> Given {
    (ItemKind::Records, set, None, text.as_bytes().to_vec(), ItemStatus::Whole)
}

pub fn raw(name: &'static [u8], bytes: &[u8]) -> Given {
    (ItemKind::Raw, name, None, bytes.to_vec(), ItemStatus::Whole)
}

/// Items of every kind and the names that must do no harm.
pub fn items() -> Vec<Given> {
    let mut link = meta(FileKind::Symlink, 0);
    link.link_target = Some("/etc/passwd".into());
    let denied = ItemStatus::Partial("open: EACCES: Permission denied".into());
    vec![
        records(
            b"processes",
            "{\"pid\":1,\"ppid\":0,\"comm\":\"init\",\"start_time\":\"2026-01-01T00:00:00Z\",\"cmdline\":[\"/sbin/init\"]}\n{\"pid",
        ),
        file(b"/etc/passwd", b"root:x:0:0:root:/root:/bin/bash\n"),
        file(b"/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
        file(b"/../../escape", b"trick"),
        file(b"/tmp/\xff new\nline | pipe", b"bytes"),
        (ItemKind::File, b"/etc/link", Some(link), Vec::new(), ItemStatus::Whole),
        file(b"/etc/link/below", b"through the link"),
        (
            ItemKind::File,
            b"/run/pipe",
            Some(meta(FileKind::Fifo, 0)),
            Vec::new(),
            ItemStatus::Whole,
        ),
        (ItemKind::File, b"/etc/shadow", Some(meta(FileKind::Regular, 900)), Vec::new(), denied),
        records(b"processes", "{\"pid\":2,\"start_time\":\"2026-01-01T00:00:01Z\"}\n"),
        records(b"../../set", "{}\n"),
        raw(b"imds:/latest/user-data", b"#cloud-config\n"),
        raw(b"volume-blocks:/dev/nvme0n1", b"0 0 524288 00\n"),
        raw(b"volume-blocks:/dev/nvme0n1", b"0 0 524288 01\n"),
        raw(b"empty", b""),
    ]
}

impl Scene {
    pub fn new() -> Self {
        Self::with(items())
    }

    pub fn with(items: Vec<Given>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let tool = Tool {
            name: "cleanroom".into(),
            version: "0".into(),
            sha256: Sha256Digest::of(b"tool"),
        };
        let draft = CaseDraft {
            id: "case-1".parse().unwrap(),
            title: "A case\nwith two lines".into(),
            examiner: "E. Xaminer".into(),
            authority: "test".into(),
            tool: tool.clone(),
            quota_bytes: None,
        };
        let case = store.create_case(draft).unwrap();
        let mut session = case
            .open_session(SessionOpen {
                host: "i-0abc".parse().unwrap(),
                session: "s1".parse().unwrap(),
                incarnation: "r1".into(),
                agent: tool,
                host_facts: Default::default(),
                peer: "test".into(),
            })
            .unwrap();
        let mut seq = 0;
        let count = items.len() as u64;
        for (kind, name, file, bytes, status) in items {
            seq += 1;
            let header = ItemHeader {
                source: "test".into(),
                kind,
                name: name.into(),
                file,
                read_at: Clock::default(),
                labels: Default::default(),
            };
            session.begin(seq, header).unwrap();
            let mut offset = 0u64;
            for chunk in bytes.chunks(65_536) {
                session.chunk(seq, offset, chunk).unwrap();
                offset += chunk.len() as u64;
            }
            let seal = Seal {
                sha256: Sha256Digest::of(&bytes),
                length_bytes: bytes.len() as u64,
                status,
                read_end: Clock::default(),
            };
            session.seal(seq, seal).unwrap();
        }
        let outcome = SourceOutcome {
            source: "test".into(),
            outcome: Outcome::Complete,
            started: Clock::default(),
            ended: Clock::default(),
            items: count,
            bytes: 0,
        };
        session.end_source(seq + 1, outcome).unwrap();
        session.note(seq + 2, "footprint", serde_json::json!({"pid": 1})).unwrap();
        session.commit().unwrap();
        session.close("done").unwrap();
        Self { dir, case, items: count }
    }

    pub fn export(&self, name: &str, folder: bool) -> Result<Exported, BundleError> {
        let options = Options {
            actor: Actor::collector("test"),
            certificates: vec![("ca.pem".into(), b"-----BEGIN CERTIFICATE-----\n".to_vec())],
            folder,
            organization: "ACME".into(),
        };
        export(&self.case, &self.path(name), &options)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn tar(&self) -> Vec<u8> {
        fs::read(self.export("scene.tar", false).unwrap().path).unwrap()
    }
}

pub fn flipped(bytes: &[u8], at: usize, mask: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= mask;
    bytes
}

//! Crashes: every prefix of what a commit writes is a state from which the case opens, keeps what
//! was acknowledged, and takes the rest again.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod common;

use cleanroom_store::{Actor, Event, StoreError};
use common::*;
use std::{
    fs,
    path::{Path, PathBuf},
};

const COUNT: u64 = 6;
const ACKNOWLEDGED: u64 = 3;

fn content(seq: u64) -> Vec<u8> {
    format!("content of {seq}").repeat(seq as usize).into_bytes()
}

/// A store with 3 entries acknowledged, and the same with 6.
fn two_states(dir: &Path) -> (PathBuf, PathBuf) {
    let (before, after) = (dir.join("before"), dir.join("after"));
    let case = case(&after);
    let mut s = session(&case, "a");
    for seq in 1..=COUNT {
        if seq == ACKNOWLEDGED + 1 {
            s.commit().unwrap();
            copy_dir(&after, &before);
        }
        put(&mut s, seq, format!("name {seq}").as_bytes(), &content(seq));
    }
    s.commit().unwrap();
    (before, after)
}

/// Opens, checks, finishes; gives how many entries survived.
fn recovers(root: &Path) -> u64 {
    let case = reopen(root);
    verified(case.reader());
    let mut s = session(&case, "a");
    let durable = s.resume().durable_seq;
    assert!(durable >= ACKNOWLEDGED);
    for seq in durable + 1..=COUNT {
        put(&mut s, seq, format!("name {seq}").as_bytes(), &content(seq));
    }
    assert_eq!(s.commit().unwrap().seq, COUNT);
    drop((s, case));
    let case = reopen(root);
    let items = verified(case.reader());
    let expected: Vec<_> =
        (1..=COUNT).map(|seq| (format!("name {seq}").into_bytes(), content(seq))).collect();
    assert_eq!(items, expected);
    durable
}

fn whole_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

/// Each list is written after the one before it is whole: cut each at (nearly) every byte.
#[test]
fn torn_at_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = two_states(dir.path());
    let read = |root: &Path, list: &str| fs::read(root.join("cases/c-1").join(list)).unwrap();
    let (items, log) = ("sessions/i-1/s-1/items.jsonl", "custody/entries.log");
    let (old_items, new_items) = (read(&before, items), read(&after, items));
    let (old_log, new_log) = (read(&before, log), read(&after, log));
    assert!(new_items.starts_with(&old_items) && new_log.starts_with(&old_log));
    let scene = dir.path().join("scene");
    let build = |items_bytes: &[u8], log_bytes: &[u8]| {
        let _ = fs::remove_dir_all(&scene);
        copy_dir(&before, &scene);
        copy_dir(&after.join("cases/c-1/blobs"), &scene.join("cases/c-1/blobs"));
        fs::write(scene.join("cases/c-1").join(items), items_bytes).unwrap();
        fs::write(scene.join("cases/c-1").join(log), log_bytes).unwrap();
    };
    let interesting = |all: &[u8], at: usize| {
        at.is_multiple_of(41) || at == all.len() || all[at] == b'\n' || all[at - 1] == b'\n'
    };
    for length in old_items.len()..=new_items.len() {
        if interesting(&new_items, length) {
            build(&new_items[..length], &old_log);
            assert_eq!(recovers(&scene), whole_lines(&new_items[..length]), "list at {length}");
        }
    }
    for length in old_log.len()..=new_log.len() {
        if interesting(&new_log, length) {
            build(&new_items, &new_log[..length]);
            assert_eq!(recovers(&scene), COUNT, "custody log at {length}");
        }
    }
    // A torn write may also leave zeros, or a later block without an earlier one.
    for junk in [b"\0\0\0\0".as_slice(), b"\0\0\n", b"{}\n{\"index\":1}\n"] {
        build(&[&old_items, junk].concat(), &[&old_log, junk].concat());
        assert_eq!(recovers(&scene), ACKNOWLEDGED);
    }
}

/// A line whose blob never came to the disk was not acknowledged: it goes.
#[test]
fn a_line_without_its_blob_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = two_states(dir.path());
    let items = "cases/c-1/sessions/i-1/s-1/items.jsonl";
    fs::copy(after.join(items), before.join(items)).unwrap();
    assert_eq!(recovers(&before), ACKNOWLEDGED);
}

#[test]
fn a_recovery_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = two_states(dir.path());
    for list in ["sessions/i-1/s-1/items.jsonl", "blobs"] {
        let (from, to) = (after.join("cases/c-1").join(list), before.join("cases/c-1").join(list));
        if from.is_dir() {
            copy_dir(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
    drop(reopen(&before));
    let case = reopen(&before);
    let entries = entries(case.reader());
    let said: Vec<_> = entries.iter().filter(|e| e.kind == "case.recovered").collect();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].subject["lines_given_their_entry"], COUNT - ACKNOWLEDGED);
    assert_eq!(verified(case.reader()).len() as u64, COUNT);
}

/// The disk as it stands after each single call, copied while the case is open.
#[test]
fn killed_after_every_call() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("live");
    let case = case(&root);
    let mut s = session(&case, "a");
    let big: Vec<u8> = (0..3_500_000u32).map(|n| (n >> 3) as u8).collect();
    let (mut acknowledged, mut acknowledged_bytes, mut scenes) = (0, 0u64, 0);
    let mut check = |acknowledged: u64, partial: u64| {
        let scene = dir.path().join(format!("scene-{scenes}"));
        scenes += 1;
        copy_dir(&root, &scene);
        let case = reopen(&scene);
        assert_eq!(verified(case.reader()).len() as u64, acknowledged);
        let s = session(&case, "b");
        assert_eq!(s.resume().durable_seq, acknowledged);
        assert_eq!(s.resume().partial.map_or(0, |partial| partial.offset), partial);
        let kept = fs::read_dir(session_dir(&scene).join("incoming")).unwrap().count();
        assert_eq!(kept, if partial > 0 { 2 } else { 0 }, "only what can be resumed stays");
        fs::remove_dir_all(&scene).unwrap();
    };
    check(0, 0);
    for seq in 1..=3 {
        let bytes = if seq == 2 { big.clone() } else { content(seq) };
        s.begin(seq, header(b"n")).unwrap();
        check(acknowledged, acknowledged_bytes);
        for (n, chunk) in bytes.chunks(700_000).enumerate() {
            s.chunk(seq, n as u64 * 700_000, chunk).unwrap();
            check(acknowledged, acknowledged_bytes);
            if n % 2 == 1 {
                acknowledged_bytes = s.commit().unwrap().partial.map_or(0, |(_, bytes)| bytes);
                check(acknowledged, acknowledged_bytes);
            }
        }
        s.seal(seq, seal(&bytes)).unwrap();
        check(acknowledged, acknowledged_bytes);
        acknowledged = s.commit().unwrap().seq;
        acknowledged_bytes = 0;
        assert_eq!(acknowledged, seq);
        check(acknowledged, 0);
    }
}

#[test]
fn a_half_made_session_or_case_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let case_ = case(dir.path());
    fs::create_dir_all(dir.path().join("cases/c-1/sessions/i-1/s-1")).unwrap();
    fs::create_dir_all(dir.path().join("cases/.new-c-2-77/custody")).unwrap();
    drop(case_);
    let case = reopen(dir.path());
    assert!(case.reader().sessions().unwrap().is_empty());
    let mut s = session(&case, "a");
    put(&mut s, 1, b"n", b"x");
    s.commit().unwrap();
    assert_eq!(verified(case.reader()).len(), 1);
}

/// The custody log cannot be signed: the commit fails as a whole, and another event may take the
/// index that its lines had named.
#[test]
fn a_failed_commit_leaves_no_line_behind() {
    let dir = tempfile::tempdir().unwrap();
    let case = case(dir.path());
    let mut s = session(&case, "a");
    put(&mut s, 1, b"n1", b"one");
    s.commit().unwrap();
    let items = session_dir(dir.path()).join("items.jsonl");
    let log = custody_dir(dir.path()).join("entries.log");
    let (items_before, log_before) = (fs::read(&items).unwrap(), fs::read(&log).unwrap());
    put(&mut s, 2, b"n2", b"two");
    let obstacle = custody_dir(dir.path()).join(".checkpoint.new");
    fs::create_dir(&obstacle).unwrap();
    assert!(matches!(s.commit(), Err(StoreError::Io { .. })));
    assert!(matches!(s.commit(), Err(StoreError::SessionBroken)));
    assert_eq!(fs::read(&items).unwrap(), items_before);
    assert_eq!(fs::read(&log).unwrap(), log_before);
    fs::remove_dir(&obstacle).unwrap();
    case.record(Event::new("x", Actor::collector("test"), serde_json::Value::Null)).unwrap();
    assert_eq!(verified(case.reader()).len(), 1);
    let mut s = session(&case, "a");
    assert_eq!(s.resume().durable_seq, 1);
    put(&mut s, 2, b"n2", b"two");
    assert_eq!(s.commit().unwrap().seq, 2);
    assert_eq!(verified(case.reader()).len(), 2);
}

//! Tampering with a case on disk is seen when it is opened or read.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod common;

use cleanroom_store::{Store, StoreError};
use common::*;
use std::{fs, path::Path};

fn made(root: &Path) {
    let case = case(root);
    let mut s = session(&case, "a");
    for seq in 1..=4 {
        put(&mut s, seq, format!("n{seq}").as_bytes(), format!("{seq}").as_bytes());
    }
    s.close("done").unwrap();
}

fn open(root: &Path) -> Result<(), StoreError> {
    Store::open(root)?.open_case(&id(), tool()).map(drop)
}

#[test]
fn any_byte_of_the_custody_log() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let path = custody_dir(dir.path()).join("entries.log");
    let good = fs::read(&path).unwrap();
    for at in (0..good.len()).filter(|at| at % 7 == 0 || *at + 3 > good.len()) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::CustodyBroken { .. }), "byte {at}: {error}");
        let reader = Store::open(dir.path()).unwrap().read_case(&id()).unwrap();
        let custody = reader.custody().unwrap();
        assert!(custody.entries().unwrap().any(|entry| entry.is_err()), "byte {at}");
    }
    for length in (0..good.len()).step_by(97) {
        fs::write(&path, &good[..length]).unwrap();
        assert!(matches!(open(dir.path()), Err(StoreError::CustodyBroken { .. })));
    }
    fs::write(&path, &good).unwrap();
    open(dir.path()).unwrap();
}

#[test]
fn entries_swapped_or_named_by_index() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let path = custody_dir(dir.path()).join("entries.log");
    let good = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = good.split_inclusive('\n').collect();
    lines.swap(2, 3);
    fs::write(&path, lines.concat()).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::CustodyBroken { index: 2, .. })));
    fs::write(&path, good.replacen("item.received", "item.refused!", 1)).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::CustodyBroken { .. })));
}

#[test]
fn the_checkpoint_and_the_key() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let path = custody_dir(dir.path()).join("checkpoint");
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert!(matches!(open(dir.path()), Err(StoreError::BadFile { .. })), "byte {at}");
    }
    fs::write(&path, &good).unwrap();
    // Another store's key does not open this case.
    let other = tempfile::tempdir().unwrap();
    Store::open(other.path()).unwrap();
    let key = "keys/custody.pk8";
    fs::copy(other.path().join(key), dir.path().join(key)).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::BadFile { .. })));
}

#[test]
fn lines_removed_changed_or_a_session_gone() {
    let dir = tempfile::tempdir().unwrap();
    made(dir.path());
    let path = session_dir(dir.path()).join("items.jsonl");
    let good = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = good.split_inclusive('\n').collect();
    let broken = |text: String| {
        fs::write(&path, text).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::ItemsBroken { .. }), "{error}");
    };
    broken(lines[..3].concat());
    broken(lines[1..].concat());
    broken([lines[0], lines[2], lines[1], lines[3]].concat());
    broken(good.replacen("\"seq\":2", "\"seq\":9", 1));
    broken(format!("{}junk\n{}", lines[0], lines[1..].concat()));
    fs::write(&path, &good).unwrap();
    open(dir.path()).unwrap();
    fs::remove_dir_all(session_dir(dir.path())).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::ItemsBroken { .. })));
}

#[test]
fn a_blob_of_the_wrong_length_is_never_taken_for_the_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let case = case(dir.path());
    let blob = case.reader().blob_path(&cleanroom_evidence::Sha256Digest::of(b"evidence"));
    fs::create_dir_all(blob.parent().unwrap()).unwrap();
    fs::write(&blob, "planted").unwrap();
    let mut s = session(&case, "a");
    s.begin(1, header(b"n")).unwrap();
    s.chunk(1, 0, b"evidence").unwrap();
    assert!(matches!(s.seal(1, seal(b"evidence")), Err(StoreError::BlobBroken { .. })));
    assert!(matches!(s.commit(), Err(StoreError::SessionBroken)));
    assert_eq!(fs::read(&blob).unwrap(), b"planted");
    let mut s = session(&case, "a");
    put(&mut s, 1, b"n", b"other");
    s.commit().unwrap();
}

//! Go's transparency-log code accepts what this crate writes, and refuses what is changed.
//! Needs Debian's golang-go and golang-golang-x-mod-dev; without them the test says that it was
//! skipped.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod common;

use cleanroom_store::{Actor, Event, custody};
use common::*;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const GOPATH: &str = "/usr/share/gocode";

/// Builds tests/tools/tlogverify; none where Go or its library is not installed.
fn verifier(dir: &Path) -> Option<PathBuf> {
    let library = Path::new(GOPATH).join("src/golang.org/x/mod/sumdb/tlog");
    let version = Command::new("go").arg("version").output();
    if !library.is_dir() || !version.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED independent: golang-go or golang-golang-x-mod-dev is not installed");
        return None;
    }
    let binary = dir.join("tlogverify");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tools/tlogverify");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(source)
        .env("GO111MODULE", "off")
        .env("GOPATH", GOPATH)
        .env("GOFLAGS", "")
        .env("GOCACHE", dir.join("cache"))
        .status()
        .unwrap();
    assert!(built.success());
    Some(binary)
}

fn run(binary: &Path, custody: &Path) -> Result<String, String> {
    let output = Command::new(binary).arg(custody).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn go_accepts_the_log_and_refuses_a_changed_one() {
    let dir = tempfile::tempdir().unwrap();
    let Some(binary) = verifier(dir.path()) else {
        return;
    };
    let root = dir.path().join("store");
    let case = case(&root);
    let mut s = session(&case, "a");
    for seq in 1..=600 {
        put(&mut s, seq, format!("n\u{1}\"{seq}").as_bytes(), format!("{seq}").as_bytes());
    }
    s.commit().unwrap();
    for n in 0..5 {
        let subject = serde_json::Value::from(n);
        case.record(Event::new("x", Actor::collector("test"), subject)).unwrap();
        let custody = case.reader().custody().unwrap();
        let export = dir.path().join(format!("export-{n}"));
        custody::write_tiles(&export, custody.entries().unwrap()).unwrap();
        fs::write(export.join("checkpoint"), &custody.checkpoint).unwrap();
        fs::write(export.join("key.pub"), &custody.vkey).unwrap();
        let said = run(&binary, &export).unwrap();
        let size = custody.head.size;
        assert!(said.contains(&format!("ok: {size} entries, {size} inclusion proofs")), "{said}");
    }
    // The live folder verifies as it lies there, with the key beside it.
    let live = custody_dir(&root);
    fs::write(live.join("key.pub"), case.reader().custody().unwrap().vkey).unwrap();
    run(&binary, &live).unwrap();

    let export = dir.path().join("export-4");
    for file in
        ["checkpoint", "tile/entries/000", "tile/entries/002.p/95", "tile/0/001", "tile/1/000.p/2"]
    {
        let path = export.join(file);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&path, bad).unwrap();
        assert!(run(&binary, &export).is_err(), "{file}");
        fs::write(&path, good).unwrap();
    }
    run(&binary, &export).unwrap();
}

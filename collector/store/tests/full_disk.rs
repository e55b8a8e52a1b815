//! A full disk: clear errors, nothing acknowledged is lost, and the store goes on afterwards.
//! Needs root for a small tmpfs; without it the test says that it was skipped.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod common;

use cleanroom_store::{Actor, Case, Event, Session, Store, StoreError};
use common::*;
use nix::mount::{MsFlags, umount};
use std::{fs, path::Path};

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = umount(self.0);
    }
}

/// Fills the file system up to about `leave` bytes.
fn fill(dir: &Path, leave: u64) {
    let stat = nix::sys::statvfs::statvfs(dir).unwrap();
    let free = stat.blocks_available() * stat.fragment_size();
    fs::write(dir.join("ballast"), vec![0; (free - leave) as usize]).unwrap();
}

fn free(dir: &Path) {
    fs::remove_file(dir.join("ballast")).unwrap();
}

/// Sends entries from where the session stands, committing each; gives the first error.
fn send(case: &Case, until: u64, size: usize) -> Result<(), StoreError> {
    let mut s: Session = case.open_session(opening("i-1", "a"))?;
    for seq in s.resume().durable_seq + 1..=until {
        let bytes = vec![seq as u8; size + seq as usize];
        s.begin(seq, header(format!("n{seq}").as_bytes()))?;
        s.chunk(seq, 0, &bytes)?;
        s.seal(seq, seal(&bytes))?;
        assert_eq!(s.commit()?.seq, seq);
    }
    Ok(())
}

#[test]
fn fills_up_anywhere_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mounted =
        nix::mount::mount(Some("tmpfs"), dir.path(), Some("tmpfs"), flags, Some("size=6m"));
    if let Err(error) = mounted {
        eprintln!("SKIPPED full_disk: cannot mount a tmpfs: {error}");
        return;
    }
    let _mounted = Mounted(dir.path());
    let root = dir.path().join("store");
    let case_ = case(&root);
    send(&case_, 3, 100).unwrap();
    let mut sent = 3;
    let mut failures = 0;
    // From nothing left to plenty: each step fails at another place of a commit.
    for leave in (0..60).map(|pages| pages * 4096) {
        fill(dir.path(), leave);
        let result = send(&case_, sent + 4, 20_000);
        let listed = verified(case_.reader()).len() as u64;
        assert!(listed >= sent, "nothing acknowledged is lost");
        if let Err(error) = result {
            failures += 1;
            assert!(matches!(error, StoreError::NoSpace { .. }), "{leave}: {error:?}");
            let event = Event::new("x", Actor::collector("test"), serde_json::Value::Null);
            let recorded = case_.record(event);
            assert!(matches!(recorded, Ok(_) | Err(StoreError::NoSpace { .. })), "{recorded:?}");
        }
        free(dir.path());
        sent = listed;
        if listed > 60 {
            break;
        }
    }
    assert!(failures > 10, "the disk was never full");
    send(&case_, sent + 3, 20_000).unwrap();
    // A large item that does not fit frees its space when it fails.
    let mut s = session(&case_, "a");
    let (seq, chunk) = (s.resume().durable_seq + 1, vec![1; 256 * 1024]);
    s.begin(seq, header(b"large")).unwrap();
    let error = (0..100).find_map(|n| s.chunk(seq, n * 262_144, &chunk).err()).unwrap();
    assert!(matches!(error, StoreError::NoSpace { .. }), "{error:?}");
    assert!(matches!(s.commit(), Err(StoreError::SessionBroken)));
    send(&case_, seq + 1, 20_000).unwrap();
    drop((s, case_));
    assert_eq!(verified(reopen(&root).reader()).len() as u64, seq + 1);
    Store::open(&root).unwrap();
}

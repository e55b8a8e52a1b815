//! Sessions as the ingest uses them: order, re-sends, resume, take-over, refusals, quota.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail")]

mod common;

use cleanroom_evidence::{ClockOffset, Sha256Digest};
use cleanroom_store::{Actor, Event, Store, StoreError};
use common::*;
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt, thread};

#[test]
fn what_is_committed_is_there_and_private() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let case = case(&root);
    let mut s = session(&case, "a");
    s.set_clock_offset(ClockOffset { host_minus_collector_ns: -5, round_trip_ns: 9 });
    put(&mut s, 1, b"/etc/../\xff\n", b"one");
    put(&mut s, 2, b"/empty", b"");
    put(&mut s, 3, b"/same", b"one");
    s.end_source(4, outcome("files")).unwrap();
    s.note(5, "footprint", json!({"pids": [1]})).unwrap();
    assert!(verified(case.reader()).is_empty(), "nothing is listed before the commit");
    let durable = s.commit().unwrap();
    assert_eq!((durable.seq, durable.partial), (5, None));
    let items = verified(case.reader());
    assert_eq!(items.len(), 3);
    assert_eq!(items[0], (b"/etc/../\xff\n".to_vec(), b"one".to_vec()));
    let info = &case.reader().sessions().unwrap()[0];
    assert_eq!(case.reader().outcomes(info).unwrap(), [outcome("files")]);
    assert_eq!(case.reader().notes(info).unwrap()[0].body, json!({"pids": [1]}));
    s.close("done").unwrap();
    let index =
        case.record(Event::new("bundle.exported", Actor::collector("test"), json!({}))).unwrap();
    let entries = entries(case.reader());
    assert_eq!(entries[index as usize].kind, "bundle.exported");
    assert_eq!(entries[2].clock_offset.unwrap().round_trip_ns, 9);
    assert_eq!(
        kinds(case.reader()),
        [
            "case.created",
            "session.opened",
            "item.received",
            "item.received",
            "item.received",
            "source.ended",
            "session.note",
            "session.closed",
            "bundle.exported"
        ]
    );
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("keys/custody.pk8"), mode("cases/c-1")), (0o700, 0o600, 0o700));
    let blob = case.reader().blob_path(&Sha256Digest::of(b"one"));
    assert_eq!(fs::metadata(blob).unwrap().permissions().mode() & 0o777, 0o400);
    assert_eq!(fs::read_dir(session_dir(&root).join("incoming")).unwrap().count(), 0);
}

#[test]
fn a_case_is_locked_never_replaced_and_closes() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let case = store.create_case(draft(None)).unwrap();
    assert!(matches!(store.open_case(&id(), tool()), Err(StoreError::CaseBusy(_))));
    assert!(matches!(store.create_case(draft(None)), Err(StoreError::CaseExists(_))));
    assert_eq!(store.read_case(&id()).unwrap().info().authority, "warrant 7");
    assert_eq!(store.case_ids().unwrap(), [id()]);
    let missing = "c-2".parse().unwrap();
    assert!(matches!(store.open_case(&missing, tool()), Err(StoreError::CaseMissing(_))));
    let s = session(&case, "a");
    case.close("over").unwrap();
    assert!(matches!(case.open_session(opening("i-2", "a")), Err(StoreError::CaseClosed(_))));
    drop(case);
    assert!(matches!(store.open_case(&id(), tool()), Err(StoreError::CaseBusy(_))));
    drop(s);
    let case = store.open_case(&id(), tool()).unwrap();
    assert_eq!(case.reader().info().closed.as_ref().unwrap().why, "over");
    assert!(matches!(case.open_session(opening("i-2", "a")), Err(StoreError::CaseClosed(_))));
    case.record(Event::new("bundle.exported", Actor::collector("test"), json!({}))).unwrap();
    assert!(matches!(case.close("again"), Err(StoreError::CaseClosed(_))));
}

#[test]
fn a_resend_is_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let case = case(dir.path());
    let mut s = session(&case, "a");
    put(&mut s, 1, b"a", b"first");
    put(&mut s, 2, b"b", b"second");
    s.commit().unwrap();
    // Again on the same handle and on a new one, even with other bytes: ignored as a whole.
    put(&mut s, 2, b"b", b"other");
    let mut s = session(&case, "a");
    assert_eq!(s.resume().durable_seq, 2);
    put(&mut s, 1, b"a", b"other");
    s.end_source(2, outcome("x")).unwrap();
    put(&mut s, 3, b"c", b"third");
    assert_eq!(s.commit().unwrap().seq, 3);
    let names: Vec<_> = verified(case.reader()).into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(names, [b"first".to_vec(), b"second".to_vec(), b"third".to_vec()]);
}

#[test]
fn order_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let case = case(dir.path());
    let mut s = session(&case, "a");
    let wrong =
        |result| assert!(matches!(result, Err(StoreError::OutOfOrder { .. })), "{result:?}");
    wrong(s.begin(2, header(b"x")));
    wrong(s.begin(0, header(b"x")).and(s.chunk(1, 0, b"x")));
    s.begin(1, header(b"x")).unwrap();
    wrong(s.begin(2, header(b"x")));
    wrong(s.chunk(1, 1, b"x"));
    wrong(s.chunk(2, 0, b"x"));
    wrong(s.seal(2, seal(b"")));
    wrong(s.end_source(2, outcome("x")));
    s.chunk(1, 0, b"abc").unwrap();
    s.chunk(1, 0, b"abc").unwrap();
    s.chunk(1, 2, b"cd").unwrap();
    s.seal(1, seal(b"abcd")).unwrap();
    s.commit().unwrap();
    assert_eq!(verified(case.reader())[0].1, b"abcd");
}

#[test]
fn a_lying_seal_is_refused_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let case = case(dir.path());
    let mut s = session(&case, "a");
    put(&mut s, 1, b"good", b"good");
    s.begin(2, header(b"bad")).unwrap();
    s.chunk(2, 0, &[7; 3_000_000]).unwrap();
    let error = s.seal(2, seal(b"other")).unwrap_err();
    assert!(matches!(&error, StoreError::DigestMismatch { claimed, computed }
        if *claimed == Sha256Digest::of(b"other") && *computed == Sha256Digest::of(&[7; 3_000_000])));
    s.begin(2, header(b"bad")).unwrap();
    s.chunk(2, 0, b"xyz").unwrap();
    let mut lie = seal(b"xyz");
    lie.length_bytes = 2;
    assert!(matches!(s.seal(2, lie), Err(StoreError::LengthMismatch { claimed: 2, computed: 3 })));
    put(&mut s, 2, b"bad", b"now right");
    assert_eq!(s.commit().unwrap().seq, 2);
    assert_eq!(verified(case.reader()).len(), 2);
    let entries = entries(case.reader());
    let refused: Vec<_> = entries.iter().filter(|e| e.kind == "item.refused").collect();
    assert_eq!(refused.len(), 2);
    assert_eq!(refused[0].subject["name"], "bad");
    assert_eq!(fs::read_dir(session_dir(dir.path()).join("incoming")).unwrap().count(), 0);
}

#[test]
fn bounds_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let case = case(dir.path());
    let mut s = session(&case, "a");
    let long = header(&[b'x'; 9000]);
    assert!(matches!(s.begin(1, long), Err(StoreError::TooLarge { .. })));
    assert!(matches!(s.note(1, &"k".repeat(99), json!(1)), Err(StoreError::TooLarge { .. })));
    // The worst name that is allowed still makes a custody entry, cut and marked.
    put(&mut s, 1, &[1; 8192], b"x");
    let mut partial = seal(b"y");
    partial.status = cleanroom_evidence::ItemStatus::Partial("\u{1}".repeat(60_000));
    s.begin(2, header(b"y")).unwrap();
    s.chunk(2, 0, b"y").unwrap();
    s.seal(2, partial).unwrap();
    s.commit().unwrap();
    assert_eq!(verified(case.reader()).len(), 2);
    assert!(entries(case.reader()).last().unwrap().cut.is_some());
    let mut open = opening("i-2", "a");
    open.peer = "x".repeat(5000);
    assert!(matches!(case.open_session(open), Err(StoreError::TooLarge { .. })));
}

#[test]
fn the_newest_handle_wins() {
    let dir = tempfile::tempdir().unwrap();
    let case = case(dir.path());
    let mut old = session(&case, "a");
    put(&mut old, 1, b"a", b"whole but not committed");
    old.begin(2, header(b"big")).unwrap();
    let big: Vec<u8> = (0..5_000_000u32).map(|n| n as u8).collect();
    old.chunk(2, 0, &big[..4_000_000]).unwrap();
    let mut new = session(&case, "a");
    let resume = new.resume();
    assert_eq!(resume.durable_seq, 1, "what the old handle had whole is kept");
    let partial = resume.partial.unwrap();
    assert_eq!((partial.seq, partial.offset), (2, 4_000_000));
    assert_eq!(partial.sha256_so_far, Sha256Digest::of(&big[..4_000_000]));
    for result in [
        old.chunk(2, 4_000_000, b"x"),
        old.commit().map(drop),
        old.begin(3, header(b"c")),
        old.close("x"),
    ] {
        assert!(matches!(result, Err(StoreError::TakenOver)), "{result:?}");
    }
    // The same incarnation goes on, from wherever it likes.
    new.begin(2, header(b"big")).unwrap();
    new.chunk(2, 3_900_000, &big[3_900_000..]).unwrap();
    new.seal(2, seal(&big)).unwrap();
    assert_eq!(new.commit().unwrap().seq, 2);
    assert_eq!(verified(case.reader())[1].1, big);
}

#[test]
fn a_killed_agents_item_is_adopted_over_a_killed_collector() {
    let dir = tempfile::tempdir().unwrap();
    let big: Vec<u8> = (0..6_000_000u32).map(|n| (n / 3) as u8).collect();
    let case_ = case(dir.path());
    let mut s = session(&case_, "a");
    s.begin(1, header(b"big")).unwrap();
    s.chunk(1, 0, &big[..5_000_000]).unwrap();
    let durable = s.commit().unwrap();
    assert_eq!((durable.seq, durable.partial), (0, Some((1, 5_000_000))));
    drop((s, case_));
    let case = reopen(dir.path());
    let mut s = session(&case, "b");
    let partial = s.resume().partial.unwrap();
    assert_eq!((partial.incarnation.as_str(), partial.offset), ("a", 5_000_000));
    // Another object first; the partial one waits.
    put(&mut s, 1, b"small", b"s");
    s.commit().unwrap();
    let digest = Sha256Digest::of(&big[..5_000_000]);
    let resume = |s: &mut cleanroom_store::Session, name: &[u8], offset, digest| {
        s.begin_resumed(2, header(name), offset, digest)
    };
    for (name, offset, digest) in [
        (b"other".as_slice(), 5_000_000, digest),
        (b"big", 4_999_999, digest),
        (b"big", 5_000_000, Sha256Digest::of(b"changed since")),
    ] {
        let refused = resume(&mut s, name, offset, digest);
        assert!(matches!(refused, Err(StoreError::ResumeMismatch(_))));
    }
    resume(&mut s, b"big", 5_000_000, digest).unwrap();
    s.chunk(2, 5_000_000, &big[5_000_000..]).unwrap();
    // Killed once more, just before the seal is committed.
    s.commit().unwrap();
    s.seal(2, seal(&big)).unwrap();
    drop((s, case));
    let case = reopen(dir.path());
    let mut s = session(&case, "c");
    let partial = s.resume().partial.unwrap();
    assert_eq!((partial.seq, partial.offset), (2, 6_000_000));
    resume(&mut s, b"big", 6_000_000, Sha256Digest::of(&big)).unwrap();
    s.seal(2, seal(&big)).unwrap();
    s.commit().unwrap();
    assert_eq!(verified(case.reader())[1].1, big);
    let info = &case.reader().sessions().unwrap()[0];
    assert_eq!((info.openings, info.incarnation.as_str()), (3, "c"));
    let item = case.reader().items(info).unwrap().last().unwrap().unwrap();
    assert_eq!(item.resumed.unwrap().from_incarnation, "b");
    assert_eq!(fs::read_dir(session_dir(dir.path()).join("incoming")).unwrap().count(), 0);
}

#[test]
fn a_partial_item_that_is_begun_anew_is_dropped_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let case = case(dir.path());
    let mut s = session(&case, "a");
    s.begin(1, header(b"big")).unwrap();
    s.chunk(1, 0, &[1; 2_000_000]).unwrap();
    s.commit().unwrap();
    let before = case.usage().used_bytes;
    let mut s = session(&case, "b");
    put(&mut s, 1, b"big", b"it has changed");
    s.commit().unwrap();
    assert!(case.usage().used_bytes < before - 1_900_000);
    assert!(kinds(case.reader()).contains(&"item.discarded".to_owned()));
    assert_eq!(verified(case.reader()).len(), 1);
    assert!(session(&case, "b").resume().partial.is_none());
}

#[test]
fn the_quota_holds_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let case = store.create_case(draft(Some(1_000_000))).unwrap();
    let mut s = session(&case, "a");
    put(&mut s, 1, b"a", &[1; 600_000]);
    put(&mut s, 2, b"again", &[1; 300_000]);
    s.begin(3, header(b"b")).unwrap();
    let error = s.chunk(3, 0, &[2; 300_000]).unwrap_err();
    assert!(matches!(error, StoreError::QuotaExceeded { quota_bytes: 1_000_000, .. }), "{error}");
    assert_eq!(s.commit().unwrap().seq, 2);
    drop((s, case));
    let case = store.open_case(&id(), tool()).unwrap();
    let mut s = session(&case, "a");
    s.begin(3, header(b"b")).unwrap();
    assert!(matches!(s.chunk(3, 0, &[2; 300_000]), Err(StoreError::QuotaExceeded { .. })));
    s.chunk(3, 0, b"small").unwrap();
    s.seal(3, seal(b"small")).unwrap();
    // Bytes that are held already cost only their entry: the charge is given back.
    let before = s.quota().used_bytes;
    put(&mut s, 4, b"copy", b"small");
    s.commit().unwrap();
    assert!(s.quota().used_bytes < before + 2000);
    // Entries without bytes meet the quota too.
    let end = (5..).find(|seq| s.note(*seq, "n", json!(0)).is_err()).unwrap();
    assert!(end < 200);
}

#[test]
fn many_sessions_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let case = case(dir.path());
    thread::scope(|scope| {
        for host in 0..6 {
            let case = case.clone();
            scope.spawn(move || {
                let mut s = case.open_session(opening(&format!("i-{host}"), "a")).unwrap();
                for seq in 1..=40 {
                    let bytes = format!("shared {}", seq % 7);
                    put(&mut s, seq, format!("{host}/{seq}").as_bytes(), bytes.as_bytes());
                    if seq % 3 == 0 {
                        s.commit().unwrap();
                    }
                }
                s.close("done").unwrap();
            });
        }
    });
    assert_eq!(verified(case.reader()).len(), 240);
    drop(case);
    assert_eq!(verified(reopen(dir.path()).reader()).len(), 240);
}

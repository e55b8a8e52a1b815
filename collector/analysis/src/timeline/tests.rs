//! What every kind must keep, and what each finds in a record as the agent writes it.

use super::*;
use cleanroom_evidence::{Clock, FileMeta};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn header(kind: ItemKind, name: &str, file: Option<FileMeta>) -> ItemHeader {
    ItemHeader {
        source: "test".into(),
        kind,
        name: name.into(),
        file,
        read_at: Clock::default(),
        labels: BTreeMap::new(),
    }
}

fn events(header: &ItemHeader, lines: &[&[u8]]) -> Vec<Event> {
    let mut all = Vec::new();
    let host = "i-0abc".parse().unwrap();
    events_from_item(&host, 7, header, lines, &mut |event| all.push(event));
    all
}

fn of_set(set: &str, line: &str) -> Vec<Event> {
    events(&header(ItemKind::Records, set, None), &[b"junk", line.as_bytes()])
}

#[test]
fn every_kind_is_named_once_and_says_what_its_times_mean() {
    let mut names = BTreeSet::new();
    for kind in ALL {
        let name = kind.name();
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
        assert!(names.insert(name), "{name} twice");
        assert!(!kind.descriptions().is_empty(), "{name}");
        assert!(kind.descriptions().iter().all(|text| !text.is_empty()), "{name}");
        if let Some(set) = kind.record_set() {
            assert!(reads_lines(&header(ItemKind::Records, set, None)));
            assert!(!reads_lines(&header(ItemKind::File, set, None)));
        }
    }
}

#[test]
fn equal_file_times_are_one_event() {
    let (old, new) = (Timestamp::new(1_600_000_000, 1), Timestamp::new(1_700_000_000, 0));
    let meta = FileMeta {
        mode: 0o4755,
        modified: old,
        accessed: new,
        changed: new,
        born: Some(old),
        ..FileMeta::default()
    };
    let got = events(&header(ItemKind::File, "/tmp/a\nb", Some(meta)), &[]);
    let short: Vec<_> = got.iter().map(|e| (e.time, e.description)).collect();
    let want = [(old, "File Modified, Born"), (new, "File Accessed, Changed")];
    assert_eq!(short, want);
    assert_eq!(got[0].message, "/tmp/a\\x0ab (file, mode 4755, owner 0:0, 0 bytes, inode 0)");
    assert_eq!((got[0].item_seq, got[0].line), (7, None));
}

#[test]
fn a_process_start() {
    let got = of_set(
        "processes",
        r#"{"pid":42,"ppid":1,"comm":"x","start_time":"2021-07-29T01:44:57.5Z",
            "exe":{"path":"/tmp/x","deleted":true},"cmdline":["./x","-o","pool"]}"#
            .replace('\n', "")
            .as_str(),
    );
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].message, "process 42 (parent 1) /tmp/x (deleted): ./x -o pool");
    assert_eq!((got[0].line, got[0].source), (Some(2), "process"));
}

#[test]
fn dns_in_both_directions() {
    let query = of_set(
        "dns",
        r#"{"time":"2026-01-01T00:00:00Z","direction":"query","name":"xmr.pool","type":"A","process":{"pid":9,"comm":"dig"}}"#,
    );
    assert_eq!(query[0].message, "A xmr.pool asked (process 9 dig)");
    let answer = of_set(
        "dns",
        r#"{"time":"2026-01-01T00:00:00Z","direction":"answer","name":"xmr.pool","type":"A","rcode":"NOERROR","answers":[{"name":"xmr.pool","type":"A","ttl_seconds":5,"data":"198.51.100.7"}],"process":null}"#,
    );
    assert_eq!(answer[0].message, "A xmr.pool answered: 198.51.100.7");
    assert_eq!(answer[0].description, "DNS Answer");
}

#[test]
fn a_boot_and_nothing_from_records_without_times() {
    let boot = of_set("host", r#"{"boot_time":"2026-01-01T00:00:00Z","kernel_release":"6.1"}"#);
    assert_eq!(boot[0].message, "the host booted, kernel 6.1");
    for set in ["host", "processes", "dns", "sockets"] {
        assert_eq!(of_set(set, r#"{"pid":"x","time":5,"exe":7}"#), []);
    }
}

#[test]
fn timesketch_gets_its_three_columns_and_a_reference() {
    let mut event = of_set("host", r#"{"boot_time":"2026-01-01T00:00:00Z"}"#).remove(0);
    let line = event.to_timesketch("s-1").unwrap();
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["datetime"], "2026-01-01T00:00:00.000000000Z");
    assert_eq!(value["timestamp_desc"], "Boot Time");
    assert_eq!(
        (&value["host"], &value["session"], &value["item"], &value["line"]),
        (&"i-0abc".into(), &"s-1".into(), &7.into(), &2.into())
    );
    event.time = Timestamp::new(i64::MAX, 0);
    assert_eq!(event.to_timesketch("s-1"), None);
}

#[test]
fn a_message_is_bounded() {
    let long = "x".repeat(5_000_000);
    let line = format!(r#"{{"pid":1,"start_time":"2026-01-01T00:00:00Z","cmdline":["{long}"]}}"#);
    let got = of_set("processes", &line);
    assert!(got[0].message.len() < 4200 && got[0].message.ends_with('…'));
}

proptest! {
    #[test]
    fn never_panics_and_stays_on_one_line(
        line in proptest::collection::vec(any::<u8>(), 0..300), set in 0usize..4,
    ) {
        let set = ["host", "processes", "dns", "x"][set];
        for event in events(&header(ItemKind::Records, set, None), &[&line]) {
            prop_assert!(!event.message.chars().any(char::is_control));
        }
    }

    #[test]
    fn any_file_times_become_events_with_known_names(times in any::<[i64; 4]>(), name in ".{0,40}") {
        let [modified, accessed, changed, born] = times.map(|t| Timestamp::new(t, 0));
        let meta = FileMeta { modified, accessed, changed, born: Some(born), ..FileMeta::default() };
        let got = events(&header(ItemKind::File, &name, Some(meta)), &[]);
        prop_assert!((1..=4).contains(&got.len()));
        for event in got {
            prop_assert!(files::Files.descriptions().contains(&event.description));
            event.to_timesketch("s");
        }
    }
}

//! The source on trees of a Debian and an Amazon Linux host, on hostile ones too.

use super::*;
use crate::testing::Captured;
use cleanroom_evidence::{ItemKind, ItemStatus};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
};

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        tree.put("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n");
        tree
    }

    fn debian() -> Self {
        let tree = Self::new();
        tree.put("usr/lib/os-release", 0o644, b"ID=debian\nVERSION_ID=\"12\"\n");
        tree.put("usr/sbin/cron", 0o755, b"x");
        tree.put("usr/lib/systemd/system/cron.service", 0o644, b"[Service]\n");
        tree.link(
            "/usr/lib/systemd/system/cron.service",
            "etc/systemd/system/multi-user.target.wants/cron.service",
        );
        tree
    }

    fn amazon() -> Self {
        let tree = Self::new();
        tree.put("etc/os-release", 0o644, b"ID=\"amzn\"\nID_LIKE=\"centos rhel fedora\"\n");
        tree.put("usr/sbin/crond", 0o755, b"x");
        tree.put("usr/lib/systemd/system/crond.service", 0o644, b"[Service]\n");
        tree.link(
            "/usr/lib/systemd/system/crond.service",
            "etc/systemd/system/multi-user.target.wants/crond.service",
        );
        tree
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn put(&self, path: impl AsRef<Path>, mode: u32, bytes: &[u8]) {
        let path = self.path(path);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn link(&self, target: &str, path: &str) {
        symlink(target, self.path(path)).unwrap();
    }

    fn collect(&self) -> (Captured, Outcome) {
        self.collect_up_to(64 << 20)
    }

    fn collect_up_to(&self, max_file_bytes: u64) -> (Captured, Outcome) {
        let host = Host::at(self.0.path()).unwrap();
        let options = Options { max_file_bytes, ..Options::default() };
        let mut captured = Captured::default();
        let mut out = Emitter::new("crontabs", &mut captured);
        let outcome = Crontabs.collect(&host, &options, &mut out).unwrap();
        (captured, outcome)
    }

    fn records(&self) -> Vec<Value> {
        self.collect().0.records(SET)
    }
}

fn of<'v>(records: &'v [Value], path: &str) -> &'v Value {
    records.iter().find(|record| record["path"] == path).unwrap_or_else(|| panic!("{path}"))
}

fn verdict<'v>(record: &'v Value, layout: &str) -> &'v Value {
    let verdicts = record["verdicts"].as_array().unwrap();
    verdicts.iter().find(|verdict| verdict["layout"] == layout).unwrap()
}

const SEED: &[u8] = b"*/15 * * * * /usr/cryptokit/persist.sh\n";

#[test]
fn the_same_line_in_var_spool_cron_is_dead_on_debian_and_live_on_amazon_linux() {
    for (tree, live) in [(Tree::debian(), false), (Tree::amazon(), true)] {
        tree.put("var/spool/cron/root", 0o600, SEED);
        let (captured, outcome) = tree.collect();
        assert_eq!(outcome, Outcome::Complete);
        let records = captured.records(SET);
        assert_eq!(records.len(), 1);
        let record = &records[0];
        assert_eq!(record["path"], "/var/spool/cron/root");
        assert_eq!(record["place"], "user-crontab");
        assert_eq!(record["kind"], "job");
        assert_eq!(record["line"], 1);
        assert_eq!(record["user"], "root");
        assert_eq!(record["schedule"], "*/15 * * * *");
        assert_eq!(record["schedule_fields"]["minute"], "*/15");
        assert_eq!(record["command"], "/usr/cryptokit/persist.sh");
        assert_eq!(record["would_run"], live);
        assert_eq!(record["runs_on"], "amazon-linux");
        assert_eq!(verdict(record, "debian")["would_run"], false);
        let why = verdict(record, "debian")["why"].as_str().unwrap();
        assert!(why.contains("reads only /var/spool/cron/crontabs"), "{why}");
        assert_eq!(verdict(record, "amazon-linux")["would_run"], true);
        assert_eq!(record["next_run"].is_string(), live);
        let next: Timestamp = record["next_match"].as_str().unwrap().parse().unwrap();
        let ahead = next.unix_seconds - sys::file::clock().utc.unix_seconds;
        assert!((-60..=900).contains(&ahead) && next.unix_seconds % 900 == 0, "{ahead}");
        let (header, bytes, _) = &captured.items[0];
        assert_eq!((header.kind, bytes.as_slice()), (ItemKind::File, SEED));
    }
}

#[test]
fn debians_own_spool_and_its_neighbours() {
    let tree = Tree::debian();
    tree.put("var/spool/cron/crontabs/root", 0o600, b"A=1\n@reboot x%in\n0 0 30 2 * never\n");
    tree.put("var/spool/cron/crontabs/web", 0o644, SEED);
    tree.put("var/spool/cron/atjobs/.SEQ", 0o600, b"2");
    tree.put(
        "var/spool/cron/atjobs/a0000201b2c3d4",
        0o700,
        b"#!/bin/sh\n# atrun uid=0 gid=0\n# mail root 0\ncd /tmp || {\n exit 1\n}\ncurl x | sh\n",
    );
    let records = tree.records();
    let paths: Vec<_> = records.iter().map(|record| record["path"].as_str().unwrap()).collect();
    let root = "/var/spool/cron/crontabs/root";
    let at = "/var/spool/cron/atjobs/a0000201b2c3d4";
    assert_eq!(paths, [root, root, root, "/var/spool/cron/crontabs/web", at]);
    assert_eq!(records[0]["kind"], "environment");
    assert_eq!(records[1]["kind"], "reboot");
    assert_eq!(records[1]["environment"][0]["name"], "A");
    assert_eq!(records[1]["standard_input"], "in");
    assert_eq!(records[1]["would_run"], true);
    assert!(records[1]["why"].as_str().unwrap().contains("multi-user.target.wants"));
    assert_eq!(records[1]["runs_on"], "debian");
    assert_eq!(records[2]["next_run"], Value::Null);
    assert!(records[3]["why"].as_str().unwrap().contains("0644"));
    assert_eq!(records[4]["kind"], "at-job");
    assert_eq!(records[4]["command"], "curl x | sh\n");
    assert_eq!(records[4]["would_run"], false, "no atd here");
    assert_eq!(verdict(&records[4], "debian")["would_run"], true);
    let due = Timestamp::new(0x01b2_c3d4 * 60, 0).to_string();
    assert_eq!(records[4]["next_match"], due);
}

#[test]
fn periodic_scripts_follow_the_line_that_starts_them() {
    let crontab = b"SHELL=/bin/sh\n17 * * * * root cd / && run-parts --report /etc/cron.hourly\n\
        25 6 * * * root test -x /usr/sbin/anacron || run-parts /etc/cron.daily\n";
    let tree = Tree::debian();
    tree.put("etc/crontab", 0o644, crontab);
    tree.put("etc/cron.hourly/good", 0o755, b"#!/bin/sh\n");
    tree.put("etc/cron.hourly/backup.sh", 0o755, b"#!/bin/sh\n");
    tree.put("etc/cron.daily/good", 0o755, b"#!/bin/sh\n");
    tree.put("etc/cron.weekly/good", 0o755, b"#!/bin/sh\n");
    let records = tree.records();
    let hourly = of(&records, "/etc/cron.hourly/good");
    assert_eq!(hourly["kind"], "script");
    assert_eq!(hourly["why"], "cron, by line 2 of /etc/crontab");
    assert_eq!(hourly["next_run"], records[1]["next_run"]);
    let dotted = of(&records, "/etc/cron.hourly/backup.sh");
    assert_eq!((&dotted["would_run"], &dotted["runs_on"]), (&false.into(), &"amazon-linux".into()));
    assert_eq!(of(&records, "/etc/cron.daily/good")["would_run"], true);
    assert_eq!(of(&records, "/etc/cron.weekly/good")["would_run"], false);
    // With anacron the line stands back and the anacrontab decides.
    tree.put("usr/sbin/anacron", 0o755, b"x");
    assert_eq!(of(&tree.records(), "/etc/cron.daily/good")["would_run"], false);
    tree.put("etc/anacrontab", 0o644, b"1 5 cron.daily run-parts /etc/cron.daily\nbad\n");
    let records = tree.records();
    assert_eq!(
        of(&records, "/etc/cron.daily/good")["why"],
        "anacron, by line 1 of /etc/anacrontab"
    );
    assert_eq!(records.iter().filter(|record| record["kind"] == "invalid").count(), 1);
}

#[test]
fn a_daemon_that_is_not_started_runs_nothing() {
    let tree = Tree::debian();
    tree.put("etc/cron.d/a", 0o644, b"* * * * * root x\n");
    assert_eq!(tree.records()[0]["would_run"], true);
    let wants = "etc/systemd/system/multi-user.target.wants/cron.service";
    fs::remove_file(tree.path(wants)).unwrap();
    assert!(tree.records()[0]["why"].as_str().unwrap().contains("not enabled"));
    tree.put("run/crond.pid", 0o644, b"1\n");
    assert_eq!(tree.records()[0]["would_run"], true, "started by hand");
    fs::remove_file(tree.path("run/crond.pid")).unwrap();
    tree.link("/dev/null", "etc/systemd/system/cron.service");
    assert!(tree.records()[0]["why"].as_str().unwrap().contains("masked"));
    fs::remove_file(tree.path("usr/sbin/cron")).unwrap();
    let records = tree.records();
    assert!(records[0]["why"].as_str().unwrap().contains("no cron daemon"));
    assert_eq!(verdict(&records[0], "debian")["would_run"], true);
}

#[test]
fn what_only_one_daemon_takes() {
    let text = b"MAILTO=\n10~20 * * * * root x\n* * * * * root y\n1 1 1 1 1 root end";
    for (tree, runs) in [(Tree::debian(), 0), (Tree::amazon(), 3)] {
        tree.put("etc/cron.d/a", 0o644, text);
        let records = tree.records();
        assert_eq!(records.len(), 4);
        assert_eq!(records.iter().filter(|record| record["would_run"] == true).count(), runs);
        assert_eq!(records[3]["kind"], "invalid");
        assert_eq!(records[3]["text"], "1 1 1 1 1 root end");
        assert_eq!(records[1]["next_run"], Value::Null);
        assert!(verdict(&records[2], "debian")["why"].as_str().unwrap().contains("whole file"));
    }
}

#[test]
fn the_hosts_zone_and_cron_tz() {
    let tree = Tree::amazon();
    // A zone file of one rule, as zic writes it for a zone without history: version 2, POSIX tail.
    let tzif = |rule: &str| {
        let head = |version: u8| {
            let mut head = b"TZif".to_vec();
            head.push(version);
            head.extend([0; 15]);
            for count in [0u32, 0, 0, 0, 1, 4] {
                head.extend(count.to_be_bytes());
            }
            head.extend([0, 0, 0, 0, 0, 0, b'X', b'S', b'T', 0]);
            head
        };
        [head(b'2'), head(b'2'), format!("\n{rule}\n").into_bytes()].concat()
    };
    tree.put("usr/share/zoneinfo/Here", 0o644, &tzif("XST0"));
    tree.put("usr/share/zoneinfo/Area/There", 0o644, &tzif("XST0"));
    tree.link("/usr/share/zoneinfo/Here", "etc/localtime");
    tree.put("etc/cron.d/a", 0o644, b"0 0 * * * root a\nCRON_TZ=Area/There\n0 0 * * * root b\n");
    let records = tree.records();
    assert_eq!(records[0]["time_zone"], "Here");
    assert_eq!(records[2]["time_zone"], "Area/There");
    assert!(records[2]["next_run_local"].as_str().unwrap().ends_with("T00:00:00+00:00"));
    assert_eq!(records[2]["notes"][0], "CRON_TZ=Area/There");
}

#[test]
fn hostile_files_are_recorded_and_never_opened() {
    let tree = Tree::debian();
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&tree.path("etc/cron.d/fifo"), mode).unwrap();
    tree.link("loop", "etc/cron.d/loop");
    tree.link("/etc/shadow-elsewhere", "etc/cron.d/dangling");
    tree.link("/opt/real", "etc/cron.d/linked");
    tree.put("opt/real", 0o644, b"* * * * * root x\n");
    let odd = OsStr::from_bytes(b"a\xff\n\x1b[31m");
    tree.put(Path::new("etc/cron.d").join(odd), 0o644, b"* * * * * root \xfe\x00\n\x80\n");
    let (captured, outcome) = tree.collect();
    let Outcome::Partial(gaps) = outcome else { panic!("{outcome:?}") };
    assert!(gaps.iter().any(|gap| gap.operation == "follow link"));
    assert!(gaps.iter().any(|gap| gap.reason.contains("not a regular file")));
    let records = captured.records(SET);
    assert_eq!(of(&records, "/etc/cron.d/fifo")["kind"], "invalid");
    assert_eq!(of(&records, "/etc/cron.d/loop")["kind"], "invalid");
    assert_eq!(of(&records, "/etc/cron.d/dangling")["would_run"], false);
    let linked = of(&records, "/etc/cron.d/linked");
    assert_eq!((&linked["would_run"], &linked["link_target"]), (&true.into(), &"/opt/real".into()));
    let odd = of(&records, "/etc/cron.d/a\\xff\n\u{1b}[31m");
    assert_eq!(odd["command"], "\\xfe");
    let raw = captured.items.iter().any(|(header, bytes, _)| {
        header.name.as_bytes() == b"/opt/real" && bytes == b"* * * * * root x\n"
    });
    assert!(raw, "the link's target is there raw");
}

#[test]
fn a_huge_crontab_is_cut_and_says_so() {
    let tree = Tree::amazon();
    let line = b"* * * * * /bin/true ###############################################\n";
    tree.put("var/spool/cron/root", 0o600, &line.repeat((50 << 20) / line.len()));
    let (captured, outcome) = tree.collect_up_to(8 << 20);
    let Outcome::Partial(gaps) = outcome else { panic!("{outcome:?}") };
    for reason in ["larger than the limit", "first 4 MiB", "more than 10000 lines"] {
        assert!(gaps.iter().any(|gap| gap.reason.contains(reason)), "{reason}: {gaps:?}");
    }
    let (_, raw, status) = &captured.items[0];
    assert_eq!(raw.len(), 8 << 20);
    assert!(matches!(status, ItemStatus::Partial(_)));
    assert_eq!(captured.records(SET).len(), MAX_LINES);
}

#[test]
fn raw_places_and_labels() {
    let tree = Tree::debian();
    for path in [
        "etc/cron.deny",
        "etc/default/cron",
        "var/log/cron-20210101",
        "var/log/syslog.1",
        "var/spool/anacron/cron.daily",
    ] {
        tree.put(path, 0o644, b"x\n");
    }
    let (captured, _) = tree.collect();
    let names: Vec<_> = captured
        .items
        .iter()
        .map(|(h, _, _)| (h.name.to_string(), h.labels["place"].clone()))
        .collect();
    for (name, place) in [
        ("/etc/cron.deny", "cron-access"),
        ("/etc/default/cron", "cron-settings"),
        ("/var/spool/anacron/cron.daily", "anacron-stamp"),
        ("/var/log/cron-20210101", "cron-log"),
        ("/var/log/syslog.1", "cron-log"),
    ] {
        assert!(names.contains(&(name.to_owned(), place.to_owned())), "{name}: {names:?}");
    }
}

//! The source against processes that the tests start on the machine they run on.

use super::*;
use crate::{proc::stat, testing::Captured};
use cleanroom_evidence::{ItemKind, ItemStatus, RawBytes, Sha256Digest, unescape};
use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    resource::{Resource, getrlimit, setrlimit},
};
use serde_json::Value;
use std::{
    ffi::OsStr,
    io::Write as _,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    path::Path,
    process::{Child, Command, Stdio},
};

/// A child that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Running {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // The new program is there once it waits for something.
    let stat = format!("/proc/{}/stat", child.id());
    let waits = || stat::parse(&std::fs::read(&stat).unwrap()).is_some_and(|s| s.state == 'S');
    while !waits() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // A page fault is a wait too: once more, when the loader has had its time.
    std::thread::sleep(std::time::Duration::from_millis(20));
    Running(child)
}

/// Only these processes, or all.
fn capture(pids: &[u32]) -> Captured {
    let host = Host::live().unwrap();
    let proc = View::open(&host).unwrap();
    let mut sink = Captured::default();
    let mut out = Emitter::new("processes", &mut sink);
    let options = Options::default();
    let mut reader = snapshot::Reader::new(&host, &proc, &options);
    for pid in pids {
        reader.process(*pid, &mut out).unwrap();
    }
    out.outcome().unwrap();
    sink
}

fn record_of(child: &Running) -> Value {
    let sink = capture(&[child.0.id()]);
    let [record] = <[Value; 1]>::try_from(sink.records("processes")).unwrap();
    record
}

fn bytes(value: &Value) -> Vec<u8> {
    unescape(value.as_str().unwrap())
}

fn digest_of(path: &Path) -> String {
    Sha256Digest::of(&std::fs::read(path).unwrap()).to_string()
}

fn program(name: &str) -> std::path::PathBuf {
    let found = [Path::new("/bin"), Path::new("/usr/bin")];
    let path = found.iter().map(|dir| dir.join(name)).find(|p| p.exists());
    std::fs::canonicalize(path.unwrap()).unwrap()
}

#[test]
fn a_deleted_executable_is_hashed_and_said_to_be_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gone");
    std::fs::copy(program("sleep"), &path).unwrap();
    let child = start(Command::new(&path).arg("60"));
    std::fs::remove_file(&path).unwrap();
    let record = record_of(&child);
    let exe = &record["exe"];
    assert_eq!(bytes(&exe["path"]), path.as_os_str().as_bytes());
    assert_eq!(exe["deleted"], true);
    assert_eq!(exe["sha256"], digest_of(&program("sleep")));
    assert_eq!(record["exited_midway"], false);
    assert_eq!(record["kernel_thread"], false);
    assert_eq!(record["ppid"], std::process::id());
    assert_eq!(record["maps"]["deleted"][0], format!("{} (deleted)", path.display()));
}

#[test]
fn a_file_whose_name_ends_like_a_deleted_one_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x (deleted)");
    std::fs::copy(program("sleep"), &path).unwrap();
    let record = record_of(&start(Command::new(&path).arg("60")));
    assert_eq!(record["exe"]["deleted"], false);
    assert_eq!(bytes(&record["exe"]["path"]), path.as_os_str().as_bytes());
}

#[test]
fn a_memory_file_is_hashed() {
    let memory = memfd_create("kworker", MFdFlags::empty()).unwrap();
    let mut memory = std::fs::File::from(memory);
    memory.write_all(&std::fs::read(program("sleep")).unwrap()).unwrap();
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let child = start(Command::new(path).arg0("[kworker/u4:2]").arg("60"));
    let record = record_of(&child);
    assert_eq!(record["exe"]["path"], "/memfd:kworker");
    assert_eq!(record["exe"]["memfd"], true);
    assert_eq!(record["exe"]["deleted"], true);
    assert_eq!(record["exe"]["sha256"], digest_of(&program("sleep")));
    assert_eq!(record["cmdline"][0], "[kworker/u4:2]");
    assert_eq!(record["maps"]["memfd"][0], "/memfd:kworker (deleted)");
}

#[test]
fn names_and_arguments_of_any_bytes_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let name = b"a) S 1 (\n\xff";
    let path = dir.path().join(OsStr::from_bytes(name));
    std::fs::copy(program("dash"), &path).unwrap();
    let odd = OsStr::from_bytes(b"\xff\xfe\x1b[31m\\");
    let mut command = Command::new(&path);
    command.args(["-c", "read x"]).arg(odd).arg("");
    command.env_clear().env("ODD", odd);
    let child = start(&mut command);
    let record = record_of(&child);
    assert_eq!(bytes(&record["comm"]), name);
    let arguments = record["cmdline"].as_array().unwrap();
    assert_eq!(arguments.len(), 5);
    assert_eq!(bytes(&arguments[3]), odd.as_bytes());
    assert_eq!(arguments[4], "");
    let environ = record["environ"].as_array().unwrap();
    let odd_entry = [b"ODD=", odd.as_bytes()].concat();
    assert!(environ.iter().any(|entry| bytes(entry) == odd_entry));
    assert_eq!(bytes(&record["exe"]["path"]), path.as_os_str().as_bytes());
    let uid = nix::unistd::getuid().as_raw();
    assert_eq!(record["uid"]["effective"], uid);
    assert!(record["open_files_total"].as_u64().unwrap() >= 3);
}

#[test]
fn a_huge_environment_comes_whole_as_an_item_before_its_record() {
    // The kernel allows a quarter of the stack limit, at most 6 MiB.
    let (soft, hard) = getrlimit(Resource::RLIMIT_STACK).unwrap();
    setrlimit(Resource::RLIMIT_STACK, hard.min(64 << 20), hard).unwrap();
    let mut command = Command::new(program("sleep"));
    command.arg("60").env_clear();
    let value = "v".repeat(100_000);
    for n in 0..55 {
        command.env(format!("BIG{n:02}"), &value);
    }
    let child = start(&mut command);
    setrlimit(Resource::RLIMIT_STACK, soft, hard).unwrap();
    let pid = child.0.id();
    let sink = capture(&[pid]);
    let [(raw, whole, status), (records, ..)] = &sink.items[..] else {
        panic!("{} items", sink.items.len())
    };
    assert_eq!(raw.kind, ItemKind::Raw);
    assert_eq!(raw.name, RawBytes(format!("proc/{pid}/environ").into()));
    assert_eq!(records.kind, ItemKind::Records);
    assert_eq!(*status, ItemStatus::Whole);
    assert_eq!(whole.len(), 55 * (100_000 + "BIG00=".len() + 1));
    let record = &sink.records("processes")[0];
    assert_eq!(record["environ_total_bytes"], whole.len());
    assert_eq!(record["environ_raw_sha256"], Sha256Digest::of(whole).to_string());
    let inline: usize =
        record["environ"].as_array().unwrap().iter().map(|entry| bytes(entry).len()).sum();
    assert!((60_000..=area::INLINE_BYTES).contains(&inline), "{inline}");
}

#[test]
fn a_process_that_is_gone_is_recorded_and_no_gap() {
    let mut child = start(Command::new(program("sleep")).arg("60"));
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let record = record_of(&child);
    assert_eq!(record["exited_midway"], true);
    assert!(record.get("unreadable").is_none());
}

#[test]
fn a_zombie_has_neither_ended_midway_nor_an_executable() {
    let mut child = start(Command::new(program("sleep")).arg("60"));
    child.0.kill().unwrap();
    let state = loop {
        let record = record_of(&child);
        if record["state"] == "Z" {
            break record;
        }
    };
    assert_eq!(state["exited_midway"], false);
    assert!(state.get("exe").is_none() && state.get("unreadable").is_none());
}

#[test]
fn a_process_under_a_mount_is_read_and_said_to_be_covered() {
    if !nix::unistd::geteuid().is_root() || sys_detached_is_missing() {
        eprintln!("skipped: needs root and fsmount");
        return;
    }
    struct Mounted(String);
    impl Drop for Mounted {
        fn drop(&mut self) {
            nix::mount::umount(self.0.as_str()).unwrap();
        }
    }
    let empty = tempfile::tempdir().unwrap();
    let other = std::path::PathBuf::from("/proc/1");
    let child = start(Command::new(program("sleep")).arg("61"));
    for cover in [empty.path(), other.as_path()] {
        let place = format!("/proc/{}", child.0.id());
        let flags = nix::mount::MsFlags::MS_BIND;
        nix::mount::mount(Some(cover), place.as_str(), None::<&str>, flags, None::<&str>).unwrap();
        let _mounted = Mounted(place);
        let record = record_of(&child);
        assert_eq!(record["covered_by_mount"], true);
        assert_eq!(record["cmdline"][1], "61");
        assert_eq!(record["exe"]["sha256"], digest_of(&program("sleep")));
    }
    assert!(record_of(&child).get("covered_by_mount").is_none());
}

fn sys_detached_is_missing() -> bool {
    Host::live().unwrap().fresh_proc().is_err()
}

#[test]
fn the_whole_table_is_one_tree() {
    let host = Host::live().unwrap();
    let mut sink = Captured::default();
    let mut out = Emitter::new("processes", &mut sink);
    let outcome = Processes.collect(&host, &Options::default(), &mut out).unwrap();
    assert!(!matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    let records = sink.records("processes");
    let ours = records.iter().find(|r| r["pid"] == std::process::id()).unwrap();
    let own_exe = std::env::current_exe().unwrap();
    assert_eq!(ours["exe"]["sha256"], digest_of(&own_exe));
    assert!(ours["threads"].as_i64().unwrap() > 1);
    let start = ours["start_time"].as_str().unwrap();
    let start: cleanroom_evidence::Timestamp = start.parse().unwrap();
    let age = crate::sys::file::clock().utc.unix_seconds - start.unix_seconds;
    assert!((0..3600).contains(&age), "{age} s");
    if let Some(kernel) = records.iter().find(|r| r["comm"] == "kthreadd") {
        assert_eq!(kernel["kernel_thread"], true);
        assert!(kernel.get("exe").is_none() && kernel.get("unreadable").is_none());
    }
}

/// Run as another user by the test below, in a process of its own.
#[test]
#[ignore = "is started by the_source_as_an_ordinary_user"]
fn as_this_user() {
    let host = Host::live().unwrap();
    let mut sink = Captured::default();
    let mut out = Emitter::new("processes", &mut sink);
    let outcome = Processes.collect(&host, &Options::default(), &mut out).unwrap();
    let Outcome::Partial(gaps) = outcome else { panic!("{outcome:?}") };
    let has = |name: &str| gaps.iter().any(|gap| gap.operation == name);
    assert!(has("read environ") && has("read maps"), "{gaps:?}");
    // Another test may just have covered a process.
    let expected =
        |reason: &str| reason.starts_with("EACCES") || reason == "something is mounted over it";
    assert!(gaps.iter().all(|gap| expected(&gap.reason)), "{gaps:?}");
    let records = sink.records("processes");
    let first = records.iter().find(|r| r["pid"] == 1).unwrap();
    assert!(first.get("environ").is_none());
    let unreadable = first["unreadable"].as_array().unwrap();
    assert!(
        unreadable
            .iter()
            .any(|miss| miss["what"] == "environ" && miss["why"] == "EACCES: Permission denied")
    );
    let ours = records.iter().find(|r| r["pid"] == std::process::id()).unwrap();
    assert!(ours["environ"].is_array() && ours["exe"]["sha256"].is_string());
}

#[test]
fn the_source_as_an_ordinary_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root to become another user");
        return;
    }
    let run = Command::new("/proc/self/exe")
        .args(["--exact", "--ignored", "--test-threads=1"])
        .arg("sources::processes::tests::as_this_user")
        .current_dir("/")
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && text.contains("1 passed"), "{text}");
}

//! Each case runs in a process of its own, started from this test binary: a changed namespace,
//! priority or limit would leak into the other tests. Without root what needs it is skipped aloud.

use super::*;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

const CASE: &str = "CLEANROOM_TEST_QUIET_CASE";
const TREE: &str = "CLEANROOM_TEST_QUIET_TREE";

/// Runs a case of [`helper`] and gives what it said; `None` for "skipped".
fn run(case: &str, tree: &Path, wrapper: &[&str]) -> Option<Value> {
    let own = std::env::current_exe().unwrap();
    let mut words = wrapper.iter().map(OsStr::new).chain([own.as_os_str()]);
    let output = Command::new(words.next().unwrap())
        .args(words)
        .args(["--exact", "quiet::tests::helper", "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .env(TREE, tree)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = text.lines().find_map(|line| line.split_once("SAID "));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    let said: Value = serde_json::from_str(said.expect("an answer").1).unwrap();
    if let Some(why) = said.get("skipped") {
        eprintln!("SKIPPED {case}: {why}");
        return None;
    }
    Some(said)
}

/// Not a test of its own: what the others run in a fresh process.
#[test]
fn helper() {
    let (Ok(case), Ok(tree)) = (std::env::var(CASE), std::env::var(TREE)) else {
        return;
    };
    let tree = PathBuf::from(tree);
    let said = match case.as_str() {
        "read" => read_quietly(&tree),
        "each" => remount_each(),
        "follow" => follow(&tree),
        "ordinary" => json!({ "quiet": become_quiet(), "options": root_options() }),
        _ => panic!("no such case"),
    };
    println!("SAID {said}");
}

fn own_mounts() -> Vec<Mount> {
    mounts::parse_all(&fs::read("/proc/thread-self/mountinfo").unwrap())
}

fn root_options() -> Vec<String> {
    let mut mounts = own_mounts().into_iter();
    let root = mounts.rfind(|mount| mount.mount_point.as_bytes() == b"/");
    root.map(|mount| options_of(&mount)).unwrap_or_default()
}

fn options_of(mount: &Mount) -> Vec<String> {
    mount.option_list().map(|option| String::from_utf8_lossy(option).into_owned()).collect()
}

fn read_quietly(tree: &Path) -> Value {
    let started = sys::file::clock();
    let quiet = become_quiet();
    let host = Host::live().unwrap();
    let at = |name: &str| tree.join(name).into_os_string().into_encoded_bytes();
    // By the host's door, and around it: the view protects both.
    host.list(&at("dir")).unwrap();
    host.read(&at("dir/file"), 100).unwrap();
    assert_eq!(host.link_target(&at("link")).unwrap(), b"dir/file");
    host.metadata(&at("link")).unwrap();
    host.read(&at("link"), 100).unwrap();
    host.resolve(&at("through/file")).unwrap();
    fs::read_link(tree.join("link")).unwrap();
    fs::read(tree.join("dir/file")).unwrap();
    fs::read_dir(tree.join("dir")).unwrap().count();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0");
    let limits = fs::read_to_string("/proc/thread-self/limits").unwrap();
    let core = limits.lines().find(|line| line.contains("core file"));
    // The nice value is field 19 of stat, the 17th after the command's `)`.
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, after) = stat.rsplit_once(')').unwrap();
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let field = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.map(|value| value.trim().to_owned())
    };
    let footprint = footprint(&host, &quiet, started);
    drop(socket);
    json!({
        "footprint": footprint,
        "options": root_options(),
        "core": core,
        "nice": after.split_ascii_whitespace().nth(16),
        "umask": field("Umask:"),
    })
}

fn remount_each() -> Value {
    if unshare(CloneFlags::CLONE_NEWNS).is_err() || follow_mounts().is_err() {
        return json!({ "skipped": "no mount namespace" });
    }
    let flags = |mounts: Vec<Mount>| -> BTreeMap<Vec<u8>, (bool, Vec<String>)> {
        let kept = |option: &String| !option.ends_with("atime") || option == "nodiratime";
        let split = |mount: Mount| {
            let options = options_of(&mount);
            let noatime = options.iter().any(|option| option == "noatime");
            (mount.mount_point.0, (noatime, options.into_iter().filter(kept).collect()))
        };
        // The last mount at a place is the one that is seen there.
        mounts.into_iter().map(split).collect()
    };
    let before = flags(own_mounts());
    let result = noatime_each().map_err(|error| error.to_string());
    let after = flags(own_mounts());
    assert_eq!(before.len(), after.len());
    for (place, (noatime, others)) in &after {
        let place_text = String::from_utf8_lossy(place);
        assert!(noatime, "{place_text}: {result:?}");
        assert_eq!(*others, before[place].1, "{place_text}");
    }
    json!({ "error": result.err(), "mounts": after.len() })
}

/// A host of our own whose mounts are shared (as systemd makes them), and a quiet thread in it.
fn follow(tree: &Path) -> Value {
    let place = tree.join("mounted");
    fs::create_dir(&place).unwrap();
    let none = None::<&str>;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let shared = MsFlags::MS_REC | MsFlags::MS_SHARED;
    let ready = unshare(CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(none, "/", none, private, none))
        .and_then(|()| mount(none, "/", none, shared, none))
        .and_then(|()| mount(Some("none"), &place, Some("tmpfs"), MsFlags::empty(), none));
    if let Err(error) = ready {
        return json!({ "skipped": error.to_string() });
    }
    let is_mounted = || {
        let place = place.as_os_str().as_bytes();
        own_mounts().into_iter().find(|mount| mount.mount_point.as_bytes() == place)
    };
    let (to_host, from_quiet) = std::sync::mpsc::channel();
    let (to_quiet, from_host) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let is_mounted = &is_mounted;
        let quiet = scope.spawn(move || {
            let quiet = become_quiet();
            to_host.send(is_mounted()).unwrap();
            from_host.recv().unwrap();
            (quiet, is_mounted().is_some())
        });
        let copy = from_quiet.recv().unwrap().expect("copied");
        let own = is_mounted().expect("still there");
        nix::mount::umount(&place).unwrap();
        to_quiet.send(()).unwrap();
        let (quiet, still) = quiet.join().unwrap();
        // Only now: a failure while the other thread waits would never end.
        assert!(options_of(&copy).contains(&"noatime".to_owned()), "{copy:?}");
        assert!(!options_of(&own).contains(&"noatime".to_owned()), "{own:?}");
        json!({ "quiet": quiet, "still_mounted": still })
    })
}

fn times(tree: &Path, names: &[&str]) -> Vec<i64> {
    let atime = |name: &&str| fs::symlink_metadata(tree.join(name)).unwrap().atime();
    names.iter().map(atime).collect()
}

/// A tree on the disk of the build, each of its names last accessed in 2001.
fn old_tree() -> (tempfile::TempDir, [&'static str; 5]) {
    let names = ["dir/file", "dir", "link", "through", "control"];
    let directory = tempfile::tempdir_in(std::env::current_dir().unwrap()).unwrap();
    let tree = directory.path();
    fs::create_dir(tree.join("dir")).unwrap();
    fs::write(tree.join("dir/file"), b"evidence").unwrap();
    symlink("dir/file", tree.join("link")).unwrap();
    symlink("dir", tree.join("through")).unwrap();
    symlink("dir/file", tree.join("control")).unwrap();
    let old = nix::sys::time::TimeSpec::new(1_000_000_000, 0);
    for name in names {
        let flag = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
        let here = nix::fcntl::AT_FDCWD;
        nix::sys::stat::utimensat(here, &tree.join(name), &old, &old, flag).unwrap();
    }
    (directory, names)
}

fn by_mount_id() -> BTreeMap<String, String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let split = |line: &str| Some((line.split_once(' ')?.0.to_owned(), line.to_owned()));
    text.lines().filter_map(split).collect()
}

#[test]
fn reading_quietly_changes_no_access_time_and_no_mount_of_the_host() {
    let (directory, names) = old_tree();
    let tree = directory.path();
    let before = by_mount_id();
    let said = run("read", tree, &[]).unwrap();
    let footprint = &said["footprint"];
    let steps = footprint["quiet"]["steps"].as_array().unwrap();
    for step in steps {
        let for_anyone = step["step"] != "own mount namespace";
        assert!(step["ok"] == true || !for_anyone, "{step}");
    }
    assert_eq!(said["nice"], "19");
    assert_eq!(said["umask"], "0077");
    let core = said["core"].as_str().unwrap();
    let limits: Vec<_> = core.split_ascii_whitespace().skip(4).take(2).collect();
    assert_eq!(limits, ["0", "0"], "{core}");
    assert_eq!(footprint["forks"], 0);
    assert_eq!(footprint["write_bytes"], 0);
    assert_eq!(footprint["parent_pid"], std::process::id());
    assert!(footprint["peak_rss_bytes"].as_u64().unwrap() > 100_000);
    assert_eq!(footprint["sockets"].as_array().unwrap().len(), 1);
    let started = footprint["started"]["boottime_ns"].as_u64().unwrap();
    assert!(footprint["ended"]["boottime_ns"].as_u64().unwrap() > started);
    for (id, line) in by_mount_id() {
        assert!(before.get(&id).is_none_or(|old| *old == line), "{line}");
    }
    if !steps.iter().any(|s| s["step"] == "noatime view") {
        return eprintln!("SKIPPED: no mount namespace here: {footprint}");
    }
    assert!(said["options"].as_array().unwrap().contains(&json!("noatime")));
    assert_eq!(times(tree, &names), [1_000_000_000; 5]);
    // The proof that this place would have shown it.
    fs::read_link(tree.join("control")).unwrap();
    if times(tree, &["control"]) == [1_000_000_000] {
        eprintln!("SKIPPED: this file system keeps no access times");
    }
}

#[test]
fn an_older_kernel_gets_the_view_mount_by_mount_with_the_other_flags_kept() {
    let directory = tempfile::tempdir().unwrap();
    if let Some(said) = run("each", directory.path(), &[]) {
        assert!(said["mounts"].as_u64().unwrap() > 1, "{said}");
        assert_eq!(said["error"], Value::Null, "{said}");
    }
}

#[test]
fn what_the_host_unmounts_goes_from_our_view_too() {
    let directory = tempfile::tempdir().unwrap();
    if let Some(said) = run("follow", directory.path(), &[]) {
        assert_eq!(said["still_mounted"], false, "{said}");
    }
}

#[test]
fn an_ordinary_user_is_told_what_was_refused_and_runs_on() {
    let directory = tempfile::tempdir().unwrap();
    let drop_root = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let root = nix::unistd::geteuid().is_root();
    let runnable = Command::new("setpriv").arg("--version").output().is_ok();
    if root && !runnable {
        return eprintln!("SKIPPED: setpriv is not installed");
    }
    let wrapper: &[&str] = if root { &drop_root } else { &[] };
    let said = run("ordinary", directory.path(), wrapper).unwrap();
    let steps = said["quiet"]["steps"].as_array().unwrap();
    let refused: Vec<_> = steps.iter().filter(|step| step["ok"] == false).collect();
    assert_eq!(refused.len(), 1, "{steps:?}");
    assert_eq!(refused[0]["step"], "own mount namespace");
    assert!(refused[0]["why"].as_str().unwrap().contains("not permitted"));
    assert_eq!(steps.len(), 5);
}

#[test]
fn numbers_of_proc_lines() {
    let text = b"Name:\tx\nVmHWM:\t  1234 kB\nVmHWMx: 9\nrchar: 7\n";
    assert_eq!(number(text, b"VmHWM"), Some(1234));
    assert_eq!(number(text, b"rchar"), Some(7));
    assert_eq!(number(text, b"Name"), None);
    assert_eq!(number(text, b"absent"), None);
}

//! The source against the machine that the tests run on, and against a tree on disk.

use super::*;
use crate::testing::Captured;
use std::process::Command;

fn capture(host: &Host) -> (Captured, Outcome) {
    let mut sink = Captured::default();
    let mut out = Emitter::new("host", &mut sink);
    let options = Options { imds: false, ..Options::default() };
    let outcome = HostFacts.collect(host, &options, &mut out).unwrap();
    (sink, outcome)
}

fn text_of(path: &str) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

#[test]
fn the_running_machine_is_described() {
    let (sink, outcome) = capture(&Host::live().unwrap());
    assert!(!matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    let [host] = &sink.records("host")[..] else { panic!("not one record") };
    assert_eq!(host["boot_id"], text_of("/proc/sys/kernel/random/boot_id"));
    assert_eq!(host["kernel_release"], text_of("/proc/sys/kernel/osrelease"));
    assert_eq!(host["hostname"], text_of("/proc/sys/kernel/hostname"));
    assert!(host["os_release"]["id"].is_string());
    assert_eq!(host["imds_state"], "not asked: switched off");
    assert!(host["instance"].is_null());
    let uptime: f64 = text_of("/proc/uptime").split(' ').next().unwrap().parse().unwrap();
    assert!((host["uptime_seconds"].as_f64().unwrap() - uptime).abs() < 60.0);

    let interfaces = sink.records("interfaces");
    let lo = interfaces.iter().find(|r| r["name"] == "lo").unwrap();
    assert_eq!(lo["mac"], "00:00:00:00:00:00");
    assert_eq!(lo["enabled"], true);
    let addresses = lo["addresses"].as_array().unwrap();
    assert!(addresses.iter().any(|a| a == "127.0.0.1/8"), "{lo}");
    let routes = sink.records("routes");
    let local = routes.iter().find(|r| r["destination"] == "127.0.0.0/8").unwrap();
    assert_eq!(local["interface"], "lo");
    assert_eq!((&local["type"], &local["table"]), (&"local".into(), &255.into()));

    let users = sink.records("users");
    let root = users.iter().find(|r| r["name"] == "root").unwrap();
    assert_eq!((&root["uid"], &root["home"]), (&0.into(), &"/root".into()));
    assert!(!sink.records("groups").is_empty());
    let mounts = sink.records("mounts");
    let proc = mounts.iter().find(|r| r["mount_point"] == "/proc").unwrap();
    assert_eq!(proc["fs_type"], "proc");
    assert!(proc["mount_id"].is_u64() && proc["path"].is_string());
    for disk in sink.records("block-devices") {
        assert!(disk["size_bytes"].is_u64() && disk["partitions"].is_array());
    }
    assert!(
        !sink
            .items
            .iter()
            .any(|(_, bytes, _)| bytes.windows(3).any(|w| w == b"$6$" || w == b"$y$"))
    );
}

#[test]
fn interfaces_and_routes_agree_with_ip() {
    let Ok(listed) = Command::new("ip").args(["-json", "address"]).output() else {
        eprintln!("skipped: no ip(8)");
        return;
    };
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let (sink, _) = capture(&Host::live().unwrap());
    let ours = sink.records("interfaces");
    for theirs in listed.as_array().unwrap() {
        // Interfaces of other tests may come and go.
        let Some(ours) = ours.iter().find(|r| r["name"] == theirs["ifname"]) else {
            continue;
        };
        assert_eq!(ours["mtu"], theirs["mtu"]);
        assert_eq!(ours["index"], theirs["ifindex"]);
        let state = theirs["operstate"].as_str().unwrap().to_lowercase();
        assert_eq!(ours["state"].as_str().unwrap().replace('-', ""), state.replace('-', ""));
        for address in theirs["addr_info"].as_array().unwrap() {
            let bits = &address["prefixlen"];
            let text = format!("{}/{bits}", address["local"].as_str().unwrap());
            let list = ours["addresses"].as_array().unwrap();
            assert!(list.iter().any(|a| *a == *text), "{text} in {ours}");
        }
    }
}

#[test]
fn a_dead_disk_is_described_by_its_files() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("etc/hostname", "ip-10-0-0-5\n");
    write("usr/lib/os-release", "ID=\"amzn\"\nVERSION_ID=\"2023\"\n");
    write("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nbroken\n");
    write("etc/shadow", "root:!locked:1::::::\n");
    write("etc/group", "wheel:x:10:ec2-user\n");
    write("etc/machine-id", "ec2f00\n");
    write("etc/fstab", "# c\nLABEL=/ / xfs defaults,noatime 1 1\n");
    std::os::unix::fs::symlink(
        "../usr/share/zoneinfo/Europe/Berlin",
        root.path().join("etc/localtime"),
    )
    .unwrap();
    let (sink, outcome) = capture(&Host::at(root.path()).unwrap());
    assert!(matches!(&outcome, Outcome::Partial(gaps) if gaps[0].operation == "parse"));
    let host = &sink.records("host")[0];
    assert_eq!(host["hostname"], "ip-10-0-0-5");
    assert_eq!(host["os_release"]["id"], "amzn");
    assert_eq!(host["timezone"], "Europe/Berlin");
    assert_eq!(host["live"], false);
    assert!(host.get("boot_id").is_none() && host.get("clock").is_none());
    assert_eq!(sink.records("users")[0]["locked"], true);
    assert_eq!(sink.records("groups")[0]["members"][0], "ec2-user");
    let mounts = sink.records("mounts");
    assert_eq!(mounts[0]["path"], "/etc/fstab");
    assert!(mounts[0].get("mount_id").is_none());
    for set in ["interfaces", "routes", "modules", "block-devices"] {
        assert!(sink.records(set).is_empty(), "{set}");
    }
}

//! A host as cloud-init leaves it, the metadata service beside it, and hostile trees.

use super::*;
use crate::{imds, testing::Captured};
use cleanroom_evidence::{FileKind, ItemKind, ItemStatus, Sha256Digest};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use std::{
    ffi::OsStr,
    fs,
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::Path,
};

const SEED: &[u8] = include_bytes!("../../../tests/data/seed-user-data.txt");

fn write(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let at = root.path();
    let now = "var/lib/cloud/instances/i-0now";
    write(at, &format!("{now}/user-data.txt"), SEED);
    write(at, &format!("{now}/user-data.txt.i"), b"MIME-Version: 1.0\n\nprocessed");
    write(at, &format!("{now}/vendor-data.txt"), b"#include\nhttp://vendor.example/x\n");
    write(at, &format!("{now}/vendor-data.txt.i"), b"MIME-Version: 1.0\n\n#!/bin/sh\nvendor");
    write(at, &format!("{now}/obj.pkl"), b"\x80\x04cos\nsystem\n");
    write(at, &format!("{now}/boot-finished"), b"12.3 - date - v. 22.4.2\n");
    write(at, &format!("{now}/datasource"), b"DataSourceEc2Local: x\n");
    write(at, &format!("{now}/scripts/part-001"), b"#!/bin/sh\n");
    write(at, "var/lib/cloud/instances/i-0old/user-data.txt", b"#!/bin/sh\necho old\n");
    write(at, "var/lib/cloud/data/previous-instance-id", b"NO_PREVIOUS_INSTANCE_ID\n");
    write(at, "var/lib/cloud/scripts/per-boot/persist.sh", b"#!/bin/sh\n");
    write(at, "run/cloud-init/instance-data-sensitive.json", b"{}");
    write(at, "run/cloud-init/result.json", br#"{"v1":{"errors":["a failed"]}}"#);
    write(at, "etc/cloud/cloud.cfg.d/99.cfg", b"x: y\n");
    write(at, "var/log/cloud-init-output.log", b"out\n");
    write(at, "var/log/other.log", b"no\n");
    symlink("/var/lib/cloud/instances/i-0now", at.join("var/lib/cloud/instance")).unwrap();
    root
}

fn run(root: &Path) -> (Captured, Outcome) {
    let host = Host::at(root).unwrap();
    run_with(&host, Service::NotAsked("not-live"))
}

fn run_with(host: &Host, service: Service) -> (Captured, Outcome) {
    let mut sink = Captured::default();
    let mut out = Emitter::new("user-data", &mut sink);
    let outcome = collect_with(host, &Options::default(), service, &mut out).unwrap();
    drop(out);
    let statuses = sink.items.iter().map(|(_, _, status)| status);
    for status in statuses {
        assert!(!matches!(status, ItemStatus::Partial(why) if why == "not sealed"));
    }
    (sink, outcome)
}

fn item<'c>(sink: &'c Captured, kind: ItemKind, name: &str) -> Option<&'c [u8]> {
    let wanted = |header: &cleanroom_evidence::ItemHeader| {
        header.kind == kind && header.name.as_bytes() == name.as_bytes()
    };
    let mut found = sink.items.iter().filter(|(header, ..)| wanted(header));
    let first = found.next().map(|(_, bytes, _)| bytes.as_slice());
    assert!(found.next().is_none(), "{name} twice");
    first
}

fn parts_of(sink: &Captured, path: &str) -> Vec<Value> {
    let mut records = sink.records("user-data-parts");
    records.retain(|record| record["path"] == path);
    records
}

#[test]
fn a_host_as_cloud_init_leaves_it() {
    let root = tree();
    let (sink, outcome) = run(root.path());
    assert_eq!(outcome, Outcome::Complete);

    let path = "/var/lib/cloud/instances/i-0now/user-data.txt";
    assert_eq!(item(&sink, ItemKind::File, path), Some(SEED));
    let parts = parts_of(&sink, path);
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0]["type"], "cloud-config");
    assert_eq!(parts[0]["content_type"], "text/cloud-config; charset=\"us-ascii\"");
    assert_eq!(parts[1]["type"], "x-shellscript");
    assert_eq!(parts[1]["filename"], "userdata.txt");
    assert_eq!(parts[1]["notes"], serde_json::json!(["unclosed boundary"]));
    for part in &parts {
        let name = part["item_name"].as_str().unwrap();
        assert_eq!(name, format!("user-data/{path}#{}", part["part"].as_str().unwrap()));
        let bytes = item(&sink, ItemKind::Raw, name).unwrap();
        assert_eq!(part["sha256"], Sha256Digest::of(bytes).to_string());
        assert_eq!(part["size_bytes"], bytes.len());
    }

    // What cloud-init made of an include is looked into, what it made of the seed is not.
    let vendor = "/var/lib/cloud/instances/i-0now/vendor-data.txt";
    let include = &parts_of(&sink, vendor)[0];
    assert_eq!(include["urls"], serde_json::json!(["http://vendor.example/x"]));
    assert_eq!(parts_of(&sink, &format!("{vendor}.i"))[0]["type"], "x-shellscript");
    assert_eq!(parts_of(&sink, &format!("{path}.i")).len(), 0);

    let old = "/var/lib/cloud/instances/i-0old/user-data.txt";
    assert_eq!(parts_of(&sink, old)[0]["type"], "x-shellscript");
    assert!(item(&sink, ItemKind::File, "/etc/cloud/cloud.cfg.d/99.cfg").is_some());
    assert!(item(&sink, ItemKind::File, "/var/log/cloud-init-output.log").is_some());
    assert!(item(&sink, ItemKind::File, "/var/log/other.log").is_none());
    assert!(item(&sink, ItemKind::File, "/var/lib/cloud/instances/i-0now/obj.pkl").is_some());

    let [facts] = sink.records("cloud-init").try_into().unwrap();
    assert_eq!(facts["instance_id"], "i-0now");
    assert_eq!(facts["previous_instance_ids"], serde_json::json!(["i-0old"]));
    assert_eq!(facts["datasource"], "DataSourceEc2Local: x");
    assert_eq!(facts["boot_finished"], "12.3 - date - v. 22.4.2");
    assert_eq!(facts["errors"], serde_json::json!(["a failed"]));
    assert_eq!(facts["imds_state"], "not-live");
}

#[test]
fn links_directories_and_secrets_are_marked() {
    let root = tree();
    write(root.path(), "opt/evil.sh", b"#!/bin/sh\nevil\n");
    let boot = root.path().join("var/lib/cloud/scripts/per-boot");
    symlink("/opt/evil.sh", boot.join("linked")).unwrap();
    symlink("/opt/evil.sh", boot.join("linked-again")).unwrap();
    symlink("/", boot.join("up")).unwrap();
    symlink("loop", boot.join("loop")).unwrap();
    symlink("/nowhere", boot.join("dangling")).unwrap();
    nix::unistd::mkfifo(&boot.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(boot.join(OsStr::from_bytes(b"a\xff\x1b[0m")), b"odd name").unwrap();
    let (sink, outcome) = run(root.path());

    let header = |name: &[u8]| {
        let mut headers = sink.items.iter().map(|(header, ..)| header);
        headers.find(|h| h.name.as_bytes() == name).unwrap()
    };
    let kind = |name: &str| {
        let base = "/var/lib/cloud/scripts/per-boot";
        header(format!("{base}{name}").as_bytes()).file.as_ref().unwrap().kind
    };
    assert_eq!(kind(""), FileKind::Directory);
    assert_eq!(kind("/fifo"), FileKind::Fifo);
    for link in ["/linked", "/up", "/loop", "/dangling"] {
        assert_eq!(kind(link), FileKind::Symlink, "{link}");
    }
    header(b"/var/lib/cloud/scripts/per-boot/a\xff\x1b[0m");
    assert!(item(&sink, ItemKind::File, "/opt/evil.sh").is_some());
    assert_eq!(
        header(b"/opt/evil.sh").labels["linked_from"],
        "/var/lib/cloud/scripts/per-boot/linked"
    );
    let sensitive = |name: &str| header(name.as_bytes()).labels.contains_key("sensitive");
    assert!(sensitive("/run/cloud-init/instance-data-sensitive.json"));
    assert!(sensitive("/var/lib/cloud/instances/i-0now/user-data.txt"));
    assert!(!sensitive("/etc/cloud/cloud.cfg.d/99.cfg"));
    let Outcome::Partial(gaps) = outcome else { panic!("{outcome:?}") };
    let reasons: Vec<&str> = gaps.iter().map(|gap| gap.operation.as_str()).collect();
    assert_eq!(reasons, ["resolve", "follow"], "{gaps:?}");
}

#[test]
fn hostile_user_data_is_bounded_and_named() {
    let root = tempfile::tempdir().unwrap();
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![b'#'; 100 << 20]).unwrap();
    write(root.path(), "var/lib/cloud/instances/i-bomb/user-data.txt", &bomb.finish().unwrap());
    let many = format!(
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n{}",
        "--b\n\n#!/bin/sh\n".repeat(10_000)
    );
    write(root.path(), "var/lib/cloud/instances/i-many/user-data.txt", many.as_bytes());
    let (sink, outcome) = run(root.path());
    let bomb = &parts_of(&sink, "/var/lib/cloud/instances/i-bomb/user-data.txt")[0];
    assert_eq!(bomb["size_bytes"], 8 << 20);
    assert!(bomb["notes"][0].as_str().unwrap().starts_with("gzip bomb"), "{bomb}");
    let many = parts_of(&sink, "/var/lib/cloud/instances/i-many/user-data.txt");
    assert_eq!(many.len(), 1000);
    assert!(many[0]["notes"][0].as_str().unwrap().contains("more than 1000 parts"));
    let Outcome::Partial(gaps) = outcome else { panic!("{outcome:?}") };
    assert_eq!((gaps.len(), gaps[0].count), (1, 2), "{gaps:?}");
}

#[test]
fn many_instances_and_deep_directories_are_bounded() {
    let root = tempfile::tempdir().unwrap();
    for n in 0..200 {
        let path = format!("var/lib/cloud/instances/i-{n:03}/user-data.txt");
        write(root.path(), &path, b"#!/bin/sh\n");
    }
    write(root.path(), &format!("etc/cloud/{}x", "d/".repeat(40)), b"deep");
    let (sink, outcome) = run(root.path());
    assert_eq!(sink.records("user-data-parts").len(), 128);
    let Outcome::Partial(gaps) = outcome else { panic!("{outcome:?}") };
    let all: Vec<(&str, u64)> = gaps.iter().map(|g| (g.operation.as_str(), g.count)).collect();
    assert_eq!(all, [("decode", 72), ("walk", 1)]);
}

#[test]
fn a_host_without_any_of_it_is_absent() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("var/log")).unwrap();
    let (sink, outcome) = run(root.path());
    assert!(matches!(outcome, Outcome::Absent(_)), "{outcome:?}");
    assert!(sink.items.is_empty());
}

#[test]
fn silence_of_the_service_is_a_gap_only_on_ec2() {
    let root = tree();
    let silent = || Service::Silent("169.254.169.254: no answer".to_owned());
    let host = Host::at(root.path()).unwrap();
    let (sink, outcome) = run_with(&host, silent());
    assert_eq!(outcome, Outcome::Complete);
    assert_eq!(sink.records("cloud-init")[0]["imds_state"], "silent");
    write(root.path(), "sys/class/dmi/id/sys_vendor", b"Amazon EC2\n");
    let (_, outcome) = run_with(&host, silent());
    assert!(matches!(outcome, Outcome::Partial(gaps) if gaps[0].operation == "ask IMDS"));
}

#[test]
fn the_metadata_service_gives_all_but_credentials() {
    let root = tree();
    let (address, asked) = imds::tests::service(|line| {
        let path = line.split(' ').nth(1).unwrap_or_default();
        let path = path.strip_prefix("/latest/").unwrap_or_default();
        imds::tests::ok(match path {
            "api/token" => "TOKEN==",
            "user-data" => "#!/bin/sh\necho from imds\n",
            "dynamic/instance-identity/document" => "{\"instanceId\":\"i-0now\"}",
            "dynamic/instance-identity/pkcs7" => "MIA=",
            "meta-data/" => "ami-id\niam/\nlooped/\npublic-keys/\n../../etc\n",
            "meta-data/ami-id" => "ami-1",
            "meta-data/iam/" => "info\nsecurity-credentials/",
            "meta-data/iam/info" => "{}",
            "meta-data/iam/security-credentials/" => "admin-role",
            "meta-data/public-keys/" => "0=key",
            "meta-data/public-keys/0/" => "openssh-key",
            "meta-data/public-keys/0/openssh-key" => "ssh-ed25519 A",
            path if path.ends_with("looped/") => "looped/\nv",
            path if path.ends_with("/v") => "v",
            _ => return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec(),
        })
    });
    let host = Host::at(root.path()).unwrap();
    let (sink, outcome) = run_with(&host, Service::Answers(imds::tests::client(address)));
    let raw = |name: &str| item(&sink, ItemKind::Raw, name);
    assert_eq!(raw("imds:/latest/user-data"), Some(&b"#!/bin/sh\necho from imds\n"[..]));
    assert_eq!(raw("user-data/imds:/latest/user-data#0"), raw("imds:/latest/user-data"));
    assert!(raw("imds:/latest/dynamic/instance-identity/pkcs7").is_some());
    assert!(raw("imds:/latest/dynamic/instance-identity/rsa2048").is_none());
    let key = "imds:/latest/meta-data/public-keys/0/openssh-key";
    assert_eq!(raw(key), Some(&b"ssh-ed25519 A"[..]));
    assert_eq!(parts_of(&sink, "imds:/latest/user-data")[0]["type"], "x-shellscript");

    let facts = &sink.records("cloud-init")[0];
    assert_eq!(facts["imds_state"], "answered");
    let role = "imds:/latest/meta-data/iam/security-credentials/admin-role";
    assert_eq!(facts["imds_redacted"], serde_json::json!([role]));
    assert!(asked.try_iter().all(|head| !head.contains("admin-role")));
    let everything = sink.items.iter().flat_map(|(_, bytes, _)| bytes.iter());
    let everything =
        String::from_utf8_lossy(&everything.copied().collect::<Vec<u8>>()).into_owned();
    assert!(!everything.contains("TOKEN=="));

    let Outcome::Partial(gaps) = outcome else { panic!("{outcome:?}") };
    let reasons: Vec<&str> = gaps.iter().map(|gap| gap.reason.as_str()).collect();
    let expected = ["not a name of metadata", "deeper than the bound"];
    assert!(expected.iter().all(|reason| reasons.contains(reason)), "{gaps:?}");
    assert_eq!(reasons.len(), 2, "{gaps:?}");
}

#[test]
fn the_live_host_is_read_without_a_failure() {
    let host = Host::live().unwrap();
    let (_, outcome) = run_with(&host, Service::NotAsked("off"));
    assert!(!matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}

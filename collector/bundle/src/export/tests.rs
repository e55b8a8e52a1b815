//! What an export holds, read back by other means; and that a failed one leaves nothing.

use crate::{
    BundleError, ItemLine,
    testing::{self, Scene, file, records},
};
use cleanroom_evidence::Sha256Digest;
use flate2::read::GzDecoder;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

const SESSION: &str = "data/hosts/i-0abc/s1";

/// Members of a host tar as the tar crate reads them: type, mode, uid, gid, mtime, link, bytes.
type Member = (u8, u32, u64, u64, u64, Vec<u8>, Vec<u8>);

fn host_tar(folder: &Path) -> BTreeMap<Vec<u8>, Member> {
    let mut files = fs::read_dir(folder.join(SESSION)).unwrap();
    let path = files.find_map(|entry| {
        let path = entry.unwrap().path();
        path.to_str().unwrap().ends_with(".tar.gz").then_some(path)
    });
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(path.unwrap()).unwrap()));
    let mut members = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let header = entry.header().clone();
        let member = (
            header.entry_type().as_byte(),
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            header.mtime().unwrap(),
            entry.link_name_bytes().unwrap_or_default().into_owned(),
            bytes,
        );
        let name = entry.path_bytes().into_owned();
        assert!(members.insert(name.clone(), member).is_none(), "{name:?} twice");
    }
    members
}

fn lines(path: PathBuf) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_host_tar_holds_the_files_as_they_were_and_no_trick() {
    let scene = Scene::new();
    let folder = scene.export("b", true).unwrap().path;
    let tar = host_tar(&folder);
    let root: Vec<&[u8]> = tar.keys().filter_map(|name| name.strip_prefix(b"[root]/")).collect();
    let expected: [&[u8]; 7] = [
        b"\\x2e\\x2e/\\x2e\\x2e/escape",
        b"etc/link/below",
        b"etc/link~not-a-folder",
        b"etc/passwd",
        b"run/",
        b"tmp/\xff new\nline | pipe",
        b"var/",
    ];
    assert_eq!(root, expected);
    let passwd = &tar[&b"[root]/etc/passwd"[..]];
    let want = b"root:x:0:0:root:/root:/bin/sh\n".to_vec();
    assert_eq!(*passwd, (b'0', 0o640, 1000, 50, 1_600_000_000, Vec::new(), want));
    let link = &tar[&b"[root]/etc/link~not-a-folder"[..]];
    assert_eq!((link.0, link.5.as_slice()), (b'2', &b"/etc/passwd"[..]));
    assert!(tar.values().all(|member| b"025".contains(&member.0)));
    let body = String::from_utf8(tar[&b"bodyfile/bodyfile.txt"[..]].6.clone()).unwrap();
    assert!(body.contains("|/run/pipe|77|p/prw-r-----|1000|50|0|"));
    assert!(body.contains("|/etc/shadow|"));
    assert!(body.contains("|/tmp/\\xff new\\x0aline \\x7c pipe|"));
    let log = String::from_utf8(tar[&b"uac.log"[..]].6.clone()).unwrap();
    assert!(log.contains("test: 15 items"), "{log}");
    let live = &tar[&b"live_response/process/processes.jsonl"[..]].6;
    let joined = fs::read(folder.join(SESSION).join("records/processes.jsonl")).unwrap();
    assert_eq!(*live, joined);
}

#[test]
fn every_item_says_where_its_bytes_are() {
    let scene = Scene::new();
    let folder = scene.export("b", true).unwrap().path;
    let tar = host_tar(&folder);
    let text = fs::read_to_string(folder.join(SESSION).join("items.jsonl")).unwrap();
    let mut raws = 0;
    for line in text.lines() {
        let item: ItemLine = serde_json::from_str(line).unwrap();
        let length = item.seal.length_bytes as usize;
        let bytes = match (&item.place.bundle_path, &item.place.tar_member) {
            (Some(_), Some(member)) => tar[member.as_bytes()].6.clone(),
            (Some(path), None) => {
                raws += usize::from(path.contains("/raw/"));
                let offset = item.place.offset_bytes.unwrap_or(0) as usize;
                fs::read(folder.join(path)).unwrap()[offset..offset + length].to_vec()
            }
            (None, _) => Vec::new(),
        };
        assert_eq!(Sha256Digest::of(&bytes), item.seal.sha256, "{line}");
    }
    assert_eq!(text.lines().count() as u64, scene.items);
    assert_eq!(raws, 3, "the first passwd, the user data, the empty one");
    let blocks = fs::read_dir(folder.join(SESSION).join("volumes")).unwrap();
    let mut names: Vec<_> = blocks.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["dev_nvme0n1-2.blocks", "dev_nvme0n1.blocks"]);
}

#[test]
fn the_timeline_and_the_lists_are_json_lines() {
    let scene = Scene::new();
    let folder = scene.export("b", true).unwrap().path;
    let events = lines(folder.join("data/timeline/timesketch.jsonl"));
    let starts = events.iter().filter(|event| event["source"] == "process");
    assert_eq!(starts.count(), 2);
    for event in &events {
        for column in ["message", "datetime", "timestamp_desc", "host", "session", "item"] {
            assert!(!event[column].is_null(), "{column} in {event}");
        }
    }
    assert_eq!(lines(folder.join(SESSION).join("outcomes.jsonl"))[0]["source"], "test");
    assert_eq!(lines(folder.join(SESSION).join("notes.jsonl"))[0]["kind"], "footprint");
    let info = fs::read_to_string(folder.join("bag-info.txt")).unwrap();
    assert!(info.contains("External-Description: A case\\x0awith two lines\n"), "{info}");
    assert!(folder.join("data/certificates/ca.pem").is_file());
}

#[test]
fn an_existing_bundle_is_never_replaced() {
    let scene = Scene::new();
    for folder in [false, true] {
        fs::write(scene.path("there"), "mine").unwrap();
        let error = scene.export("there", folder).unwrap_err();
        assert!(matches!(error, BundleError::Exists(_)), "{error}");
        assert_eq!(fs::read_to_string(scene.path("there")).unwrap(), "mine");
    }
}

#[test]
fn a_rotten_blob_ends_the_export_and_leaves_nothing() {
    let scene = Scene::new();
    let blob = scene.case.reader().blob_path(&Sha256Digest::of(b"#cloud-config\n"));
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&blob, "#cloud-confiG\n").unwrap();
    for folder in [false, true] {
        let error = scene.export("b", folder).unwrap_err().to_string();
        assert!(error.contains("now hashes to"), "{error}");
        let mut left = fs::read_dir(scene.dir.path()).unwrap();
        assert!(left.all(|entry| entry.unwrap().file_name() == "store"));
    }
}

#[test]
fn two_certificates_of_one_name_are_refused() {
    let scene = Scene::new();
    let options = crate::Options {
        actor: cleanroom_store::Actor::collector("test"),
        certificates: vec![("a/b".into(), vec![1]), ("a b".into(), vec![2])],
        folder: false,
        organization: String::new(),
    };
    let error = crate::export(&scene.case, &scene.path("b"), &options).unwrap_err();
    assert!(error.to_string().contains("data/certificates/a_b"), "{error}");
}

#[test]
fn a_second_export_and_a_closed_case_verify_too() {
    let scene = Scene::new();
    let first = scene.export("one.tar", false).unwrap();
    scene.case.close("over").unwrap();
    let second = scene.export("two.tar", false).unwrap();
    assert_eq!(second.custody_entries, first.custody_entries + 2);
    for path in [first.path, second.path] {
        crate::verify(&path, &Default::default()).unwrap();
    }
}

#[test]
fn an_empty_case_and_a_large_file_verify() {
    let empty = Scene::with(Vec::new());
    let found = crate::verify(&empty.export("b", false).unwrap().path, &Default::default());
    assert_eq!(found.unwrap().items, 0);
    let big = vec![7u8; 3 * 1024 * 1024 + 1];
    let scene =
        Scene::with(vec![file(b"/big", &big), records(b"set", "{}"), testing::raw(b"r", &big)]);
    let found = crate::verify(&scene.export("b", false).unwrap().path, &Default::default());
    assert_eq!(found.unwrap().item_bytes, 2 * big.len() as u64 + 2);
}

//! Every byte of a small bundle is changed, and the file is cut at every place: all is refused.

use super::*;
use crate::testing::{Scene, flipped};
use proptest::prelude::*;

fn check(bytes: &[u8]) -> Result<Verified, VerifyError> {
    verify_tar(bytes, &VerifyOptions::default())
}

#[test]
fn a_bundle_verifies_and_says_what_it_is() {
    let scene = Scene::new();
    let exported = scene.export("b.tar", false).unwrap();
    let found = verify(&exported.path, &VerifyOptions::default()).unwrap();
    assert_eq!(found.case.as_str(), "case-1");
    assert_eq!((found.sessions, found.items), (1, scene.items));
    assert_eq!((found.files, found.bytes), (exported.files, exported.bytes));
    assert_eq!(found.custody_root, exported.custody_root);
    assert!(!found.key_was_expected);
    for key in [found.key.clone(), found.key_fingerprint.to_string()] {
        let options = VerifyOptions { expected_key: Some(key) };
        assert!(verify(&exported.path, &options).unwrap().key_was_expected);
    }
    let other = VerifyOptions { expected_key: Some("0".repeat(64)) };
    let error = verify(&exported.path, &other).unwrap_err();
    assert!(matches!(error, VerifyError::WrongKey { .. }), "{error}");
}

/// Places to change: every byte of the small files, every seventh of the rest. (The tar reader's own
/// test changes every byte of its headers; one run over all 67,584 bytes here passed and took two
/// minutes.)
fn places(bytes: &[u8]) -> Vec<usize> {
    let (mut places, mut at, mut tar) = (Vec::new(), 0, TarReader::new(bytes));
    while let Some(head) = tar.next().unwrap() {
        tar.content(&head, |_| ()).unwrap();
        let header = crate::tar::write::canonical_header(&head.name, 0, 0).len();
        let size = head.size as usize;
        let content = at + header..at + header + size;
        let end = content.end + crate::tar::padding(head.size);
        places.extend((at..content.start).step_by(7));
        places.extend(content.clone().step_by(if size < 1000 { 1 } else { 7 }));
        places.extend((content.end..end).step_by(7));
        at = end;
    }
    places.extend(at..bytes.len());
    places
}

#[test]
fn changed_bytes_are_refused() {
    let bytes = Scene::new().tar();
    check(&bytes).unwrap();
    for at in places(&bytes) {
        let changed = flipped(&bytes, at, 1 << (at % 8));
        assert!(check(&changed).is_err(), "byte {at} of {} is free", bytes.len());
    }
}

/// What is said must name the thing: a file in the payload, a manifest, the log, the signature.
#[test]
fn the_error_names_what_was_changed() {
    let bytes = Scene::new().tar();
    let mut tar = TarReader::new(&bytes[..]);
    let mut at = 0;
    while let Some(head) = tar.next().unwrap() {
        tar.content(&head, |_| ()).unwrap();
        let path = head.name.split_once('/').unwrap().1;
        let start = at + crate::tar::write::canonical_header(&head.name, 0, 0).len();
        at = start + head.size as usize + crate::tar::padding(head.size);
        if head.size > 0 {
            let error = check(&flipped(&bytes, start, 1)).unwrap_err().to_string();
            assert!(error.contains(path), "{path}: {error}");
        }
    }
}

/// Whoever changes a file and the manifests after it still lacks the key.
#[test]
fn a_consistent_forgery_without_the_key_is_refused() {
    let scene = Scene::new();
    let folder = scene.export("b", true).unwrap().path;
    let options = VerifyOptions::default();
    verify(&folder, &options).unwrap();
    let raw = folder.join("data/hosts/i-0abc/s1/raw/000012.bin");
    let replace = |file: &str, from: &[u8], to: &[u8]| {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let [from, to] = [from, to].map(|bytes| Sha256Digest::of(bytes).to_string());
        assert!(text.contains(&from), "{file}");
        fs::write(folder.join(file), text.replace(&from, &to)).unwrap();
    };
    let read = |file: &str| fs::read(folder.join(file)).unwrap();
    let old = fs::read(&raw).unwrap();
    let before = ["manifest-sha256.txt", "bag-info.txt"].map(read);
    fs::write(&raw, b"#cloud-confiG\n").unwrap();
    let says = |what: &str| {
        let error = verify(&folder, &options).unwrap_err().to_string();
        assert!(error.starts_with(what), "{error}");
    };
    says("data/hosts/i-0abc/s1/raw/000012.bin was changed");
    replace("manifest-sha256.txt", &old, b"#cloud-confiG\n");
    says("manifest-sha256.txt was changed");
    replace("tagmanifest-sha256.txt", &before[0], &read("manifest-sha256.txt"));
    says("tagmanifest-sha256.txt was changed");
}

#[test]
fn a_folder_is_held_to_the_same() {
    let scene = Scene::new();
    let folder = scene.export("b", true).unwrap().path;
    let options = VerifyOptions::default();
    let whole = verify(&folder, &options).unwrap();
    assert_eq!(whole.items, scene.items);
    let says = |what: &str| {
        let error = verify(&folder, &options).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    for extra in [
        "extra",
        "data/extra",
        "custody/extra",
        "custody/tile/0/extra",
        "data/hosts/i-0abc/s1/raw/extra",
    ] {
        fs::write(folder.join(extra), "").unwrap();
        says(extra);
        fs::remove_file(folder.join(extra)).unwrap();
    }
    fs::create_dir(folder.join("data/empty")).unwrap();
    says("data/empty");
    fs::remove_dir(folder.join("data/empty")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("data/link")).unwrap();
    says("data/link");
    fs::remove_file(folder.join("data/link")).unwrap();
    let mut paths = Vec::new();
    every_file(&folder, &mut paths);
    assert!(paths.len() > 20);
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap();
        let parent = path.parent().unwrap();
        // A folder that became empty is named instead.
        says(if fs::read_dir(parent).unwrap().next().is_none() {
            parent.strip_prefix(&folder).unwrap().to_str().unwrap()
        } else {
            name
        });
        fs::write(&path, bytes).unwrap();
    }
    verify(&folder, &options).unwrap();
}

#[test]
fn a_cut_log_is_called_truncated() {
    let scene = Scene::new();
    let folder = scene.export("b", true).unwrap().path;
    let log = folder.join("custody/log.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    let cut: String = text.split_inclusive('\n').take(5).collect();
    fs::write(&log, cut).unwrap();
    let error = verify(&folder, &VerifyOptions::default()).unwrap_err();
    assert!(error.to_string().contains("truncated: 5 of the"), "{error}");
}

fn every_file(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            every_file(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[test]
fn every_cut_is_refused() {
    let bytes = Scene::new().tar();
    let near_end = bytes.len() - 2000..bytes.len();
    for length in (0..bytes.len()).step_by(512).chain(near_end) {
        assert!(check(&bytes[..length]).is_err(), "cut to {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
        prop_assert!(check(&bytes).is_err());
    }

    #[test]
    fn a_spoiled_stretch_never_panics(
        at in any::<usize>(), with in proptest::collection::vec(any::<u8>(), 1..2000),
    ) {
        static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| Scene::new().tar());
        let mut bytes = BYTES.clone();
        let at = at % bytes.len();
        for (to, from) in bytes[at..].iter_mut().zip(&with) { *to = *from; }
        if bytes != *BYTES {
            prop_assert!(check(&bytes).is_err());
        }
    }
}

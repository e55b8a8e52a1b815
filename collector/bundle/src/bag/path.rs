//! Paths inside a bundle: ASCII that is safe on every file system and in every manifest, and the
//! one order that members stand in. Host names and file names never become such a path unchecked.

use std::cmp::Ordering;

/// Longest path in a bundle, in bytes.
const LONGEST: usize = 512;
/// Longest component, in bytes: what a file system takes as one name.
const LONGEST_NAME: usize = 255;

/// The version and encoding declaration.
pub const BAGIT: &str = "bagit.txt";
/// Facts about the bag.
pub const BAG_INFO: &str = "bag-info.txt";
/// Digests of everything under `data/`.
pub const MANIFEST: &str = "manifest-sha256.txt";
/// Digests of the three files above.
pub const TAG_MANIFEST: &str = "tagmanifest-sha256.txt";
/// The folder of the payload.
pub const DATA: &str = "data/";
/// The folder of the custody log, outside every manifest: the signature binds it.
pub const CUSTODY: &str = "custody/";

/// True for a relative path of `A–Z a–z 0–9 . _ - + = @ ~ ,` and single slashes, no component of
/// which begins with a dot (so neither `.` nor `..`).
pub fn is_safe(path: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+=@~,".contains(&byte);
    path.len() <= LONGEST
        && path.split('/').all(|name| {
            !name.is_empty()
                && name.len() <= LONGEST_NAME
                && !name.starts_with('.')
                && name.bytes().all(allowed)
        })
}

/// The order of members: payload, tag files, custody log, each by its bytes. So a bundle can be
/// written and verified in one pass: digests exist before the manifest that lists them, and the
/// manifest before the signature over it.
pub fn order(a: &str, b: &str) -> Ordering {
    group(a).cmp(&group(b)).then_with(|| a.cmp(b))
}

fn group(path: &str) -> u8 {
    match path {
        _ if path.starts_with(DATA) => 0,
        _ if path.starts_with(CUSTODY) => 2,
        _ => 1,
    }
}

/// A file name made of foreign bytes: harmless characters stay, every run of others becomes one
/// `_`; at most 80 bytes. Not reversible and not unique: add a number beside it.
pub fn file_name(bytes: &[u8]) -> String {
    let mut name = String::new();
    for byte in bytes.iter().take(200) {
        let keep = byte.is_ascii_alphanumeric() || b"-+=@".contains(byte);
        let dot = *byte == b'.' && !name.is_empty() && !name.ends_with('_');
        if keep || dot {
            name.push(char::from(*byte));
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
        if name.len() >= 80 {
            break;
        }
    }
    let name = name.trim_end_matches(['_', '.']);
    if name.is_empty() { "unnamed" } else { name }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_paths_that_leave_the_bundle_or_confuse_a_manifest() {
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "data/.x", "a b", "a\nb",
            "a\0", "é", "a\\b", "a:b", "a%0Ab",
        ] {
            assert!(!is_safe(bad), "{bad:?}");
        }
        assert!(!is_safe(&"a".repeat(256)) && !is_safe(&"a/".repeat(300)));
        assert!(is_safe("custody/tile/entries/x001/234.p/5"));
    }

    #[test]
    fn payload_then_tag_files_then_custody() {
        let mut paths = [
            "custody/key.pub",
            "tagmanifest-sha256.txt",
            "data/b",
            "bag-info.txt",
            "data/a/b",
            "data/a-b",
        ];
        paths.sort_by(|a, b| order(a, b));
        assert_eq!(
            paths,
            [
                "data/a-b",
                "data/a/b",
                "data/b",
                "bag-info.txt",
                "tagmanifest-sha256.txt",
                "custody/key.pub"
            ]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_become_a_safe_name(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let name = file_name(&bytes);
            prop_assert!(is_safe(&name) && !name.contains('/'), "{}", name);
        }
    }
}

//! From a path that a host claimed to a tar member's name that no extractor can be tricked with:
//! always relative, never `..`, never empty, never NUL. Everything else of the name stays as the
//! host gave it, newlines and bytes that are not UTF-8 included. Pure.

use cleanroom_evidence::Sha256Digest;

/// Longest component that a Linux file system takes, less room for a suffix of ours.
const LONGEST_NAME: usize = 240;
/// Longest path that a kernel takes (PATH_MAX is 4,096), less room for the folder it lands in.
const LONGEST_PATH: usize = 3500;

/// The member's name under `[root]/`. Different paths may give one name only where a path could
/// not exist on a host (with `..`, doubled slashes or NUL).
pub fn member(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for name in path.split(|byte| *byte == b'/') {
        if name.is_empty() || name == b"." {
            continue;
        }
        if !out.is_empty() {
            out.push(b'/');
        }
        component(&mut out, name);
    }
    if out.is_empty() {
        return b"\\x2f".to_vec();
    }
    if out.len() > LONGEST_PATH {
        return format!("\\long-names/{}", Sha256Digest::of(path)).into_bytes();
    }
    out
}

fn component(out: &mut Vec<u8>, name: &[u8]) {
    if name == b".." {
        out.extend_from_slice(b"\\x2e\\x2e");
        return;
    }
    let mut safe = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            0 => safe.extend_from_slice(b"\\x00"),
            byte => safe.push(*byte),
        }
    }
    if safe.len() <= 255 {
        out.extend_from_slice(&safe);
        return;
    }
    let digest = Sha256Digest::of(name).to_string();
    out.extend_from_slice(safe.get(..LONGEST_NAME - 1 - digest.len()).unwrap_or_default());
    out.push(b'~');
    out.extend_from_slice(digest.as_bytes());
}

/// Where a link points, as a header can hold it: without NUL. An empty target has no form.
pub fn link_target(target: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> =
        target.split(|byte| *byte == 0).fold(Vec::with_capacity(target.len()), |mut all, part| {
            if !all.is_empty() {
                all.extend_from_slice(b"\\x00");
            }
            all.extend_from_slice(part);
            all
        });
    (!text.is_empty() && text.len() <= LONGEST_PATH).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_stay() {
        assert_eq!(member(b"/etc/passwd"), b"etc/passwd");
        assert_eq!(member(b"/tmp/\xff new\nline"), b"tmp/\xff new\nline");
        assert_eq!(member(b"/a/..."), b"a/...");
    }

    #[test]
    fn tricks_become_names() {
        assert_eq!(member(b"/../../etc/shadow"), b"\\x2e\\x2e/\\x2e\\x2e/etc/shadow");
        assert_eq!(member(b"//a/./b//"), b"a/b");
        assert_eq!(member(b""), b"\\x2f");
        assert_eq!(member(b"/a\0b"), b"a\\x00b");
        assert_eq!(member(&[b"/".as_slice(), &[b'n'; 300]].concat()).len(), LONGEST_NAME);
        assert!(member(&b"/abc".repeat(2000)).starts_with(b"\\long-names/"));
        assert_eq!(link_target(b""), None);
        assert_eq!(link_target(b"../x"), Some(b"../x".to_vec()));
    }

    proptest! {
        #[test]
        fn never_leaves_its_folder(path in proptest::collection::vec(any::<u8>(), 0..600)) {
            let name = member(&path);
            prop_assert!(!name.is_empty() && !name.contains(&0));
            for part in name.split(|b| *b == b'/') {
                prop_assert!(!part.is_empty() && part != b"." && part != b".." && part.len() <= 255);
            }
        }
        #[test]
        fn dots_and_slashes(path in "[./a\\x00]{0,40}") {
            let name = member(path.as_bytes());
            prop_assert!(name.split(|b| *b == b'/').all(|p| p != b".." && p != b"." && !p.is_empty()));
        }
    }
}

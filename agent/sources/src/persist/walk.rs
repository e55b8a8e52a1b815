//! Paths that a pattern means on a host. It lists directories and reads nothing else; it follows
//! no link below the pattern's own parts, so it ends on any tree.

use crate::{Host, accounts::Accounts};
use cleanroom_evidence::FileKind;
use std::io;

/// Paths that one pattern gives at most.
pub(crate) const MAX_PATHS: usize = 5_000;
/// Directories listed for one pattern at most.
const MAX_LISTED: usize = 5_000;
/// How deep `**` goes.
const MAX_DEPTH: usize = 8;
/// Homes that `~` stands for at most.
const MAX_HOMES: usize = 1_000;

/// A path and, below a home, whose home it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub path: Vec<u8>,
    pub user: Option<Vec<u8>>,
}

/// What could not be listed: operation, path, reason.
pub(crate) type Trouble = (&'static str, Vec<u8>, String);

/// The walk of one pattern.
pub(crate) struct Walk<'h> {
    host: &'h Host,
    listed: usize,
    user: Option<Vec<u8>>,
    found: Vec<Found>,
    trouble: Vec<Trouble>,
}

/// Every path that the pattern means and that is there.
pub(crate) fn expand(
    host: &Host,
    accounts: &Accounts,
    pattern: &[u8],
) -> (Vec<Found>, Vec<Trouble>) {
    let mut walk = Walk { host, listed: 0, user: None, found: Vec::new(), trouble: Vec::new() };
    match pattern.strip_prefix(b"~/") {
        Some(rest) => {
            for account in accounts.homes().take(MAX_HOMES) {
                walk.user = Some(account.name.clone());
                let home = account.home.strip_suffix(b"/").unwrap_or(&account.home);
                walk.parts(home.to_vec(), &split(rest));
            }
        }
        None => walk.parts(Vec::new(), &split(pattern)),
    }
    if walk.full() {
        let reason = format!("more than {MAX_PATHS} paths or directories: the rest was not taken");
        walk.trouble.push(("list", pattern.to_vec(), reason));
    }
    (walk.found, walk.trouble)
}

fn split(path: &[u8]) -> Vec<&[u8]> {
    path.split(|&b| b == b'/').filter(|part| !part.is_empty()).collect()
}

impl Walk<'_> {
    fn full(&self) -> bool {
        self.found.len() >= MAX_PATHS || self.listed >= MAX_LISTED
    }

    fn parts(&mut self, base: Vec<u8>, parts: &[&[u8]]) {
        let Some((part, rest)) = parts.split_first() else {
            return;
        };
        if self.full() {
            return;
        }
        match (*part, rest.is_empty()) {
            (b"**", true) => self.below(&base, 0),
            (part, last) if part.contains(&b'*') => {
                for entry in self.list(&base) {
                    if !matches(part, &entry.0) {
                        continue;
                    }
                    let path = join(&base, &entry.0);
                    match last {
                        true if entry.1 != Some(FileKind::Directory) => self.give(path),
                        true => {}
                        false if may_hold_entries(entry.1) => self.parts(path, rest),
                        false => {}
                    }
                }
            }
            (part, true) => self.give(join(&base, part)),
            (part, false) => self.parts(join(&base, part), rest),
        }
    }

    fn below(&mut self, directory: &[u8], depth: usize) {
        for (name, kind) in self.list(directory) {
            if self.full() {
                return;
            }
            let path = join(directory, &name);
            let kind = kind.or_else(|| self.host.metadata(&path).ok().map(|meta| meta.kind));
            match kind {
                Some(FileKind::Directory) if depth >= MAX_DEPTH => {
                    let reason = format!("more than {MAX_DEPTH} levels deep");
                    self.trouble.push(("list", path, reason));
                }
                Some(FileKind::Directory) => self.below(&path, depth + 1),
                _ => self.give(path),
            }
        }
    }

    fn list(&mut self, directory: &[u8]) -> Vec<(Vec<u8>, Option<FileKind>)> {
        self.listed += 1;
        if self.full() {
            return Vec::new();
        }
        let at = if directory.is_empty() { b"/" } else { directory };
        match self.host.list(at) {
            Ok(entries) => entries.into_iter().map(|entry| (entry.name, entry.kind)).collect(),
            Err(error) => {
                let absent = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
                if !absent.contains(&error.kind()) {
                    self.trouble.push(("list", at.to_vec(), error.to_string()));
                }
                Vec::new()
            }
        }
    }

    fn give(&mut self, path: Vec<u8>) {
        if self.found.len() < MAX_PATHS {
            self.found.push(Found { path, user: self.user.clone() });
        }
    }
}

fn may_hold_entries(kind: Option<FileKind>) -> bool {
    matches!(kind, Some(FileKind::Directory | FileKind::Symlink) | None)
}

fn join(base: &[u8], part: &[u8]) -> Vec<u8> {
    [base, b"/", part].concat()
}

/// `*` stands for any run of bytes, also an empty one and one that begins with a dot: hidden files
/// are what this looks for.
pub(crate) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut pieces = pattern.split(|&b| b == b'*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let pieces: Vec<&[u8]> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else {
        return rest.is_empty();
    };
    for piece in middle.iter().filter(|piece| !piece.is_empty()) {
        match rest.windows(piece.len()).position(|window| window == *piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn patterns() {
        for (pattern, name, expect) in [
            ("*", "", true),
            ("*", ".x", true),
            ("rc*.d", "rc3.d", true),
            ("rc*.d", "rc.d", true),
            ("rc*.d", "rc3.dx", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "ac", false),
            ("ab*ba", "aba", false),
            ("plain", "plain", true),
            ("plain", "plainer", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expect, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_made_from_a_name_matches_it(name in "[ab.]{0,12}", cuts in proptest::collection::vec(0..12usize, 0..4)) {
            let mut pattern = name.clone();
            for cut in cuts {
                pattern.insert(cut.min(pattern.len()), '*');
            }
            prop_assert!(matches(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
    }

    #[test]
    fn homes_recursion_and_loops() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for path in ["home/ann/p/.git/hooks", "home/bob/.ssh", "etc/s/a.wants", "etc/s/b.d/c"] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        for path in ["home/ann/p/.git/hooks/post", "etc/s/x.service", "etc/s/b.d/c/y.conf"] {
            fs::write(root.join(path), b"x").unwrap();
        }
        symlink("/etc/s", root.join("etc/s/a.wants/loop")).unwrap();
        symlink("../x.service", root.join("etc/s/a.wants/x.service")).unwrap();
        let host = Host::at(root).unwrap();
        let accounts = Accounts::parse(b"ann:x:1:1::/home/ann/:/\nbob:x:2:2::/home/bob:/\n");
        let paths = |pattern: &str| {
            let (found, trouble) = expand(&host, &accounts, pattern.as_bytes());
            assert!(trouble.is_empty(), "{trouble:?}");
            let text = |path: Vec<u8>| String::from_utf8(path).unwrap();
            found.into_iter().map(|found| text(found.path)).collect::<Vec<_>>()
        };
        assert_eq!(
            paths("/etc/s/**"),
            [
                "/etc/s/a.wants/loop",
                "/etc/s/a.wants/x.service",
                "/etc/s/b.d/c/y.conf",
                "/etc/s/x.service"
            ]
        );
        assert_eq!(paths("~/*/.git/hooks/*"), ["/home/ann/p/.git/hooks/post"]);
        assert_eq!(paths("~/.ssh/rc"), ["/home/ann/.ssh/rc", "/home/bob/.ssh/rc"]);
        let (found, _) = expand(&host, &accounts, b"~/.ssh/rc");
        assert_eq!(found[1].user.as_deref(), Some(&b"bob"[..]));
    }

    #[test]
    fn a_flood_of_files_is_bounded_and_declared() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..MAX_PATHS + 10 {
            fs::write(dir.path().join(n.to_string()), b"").unwrap();
        }
        let host = Host::at(dir.path()).unwrap();
        let (found, trouble) = expand(&host, &Accounts::default(), b"/*");
        assert_eq!((found.len(), trouble.len()), (MAX_PATHS, 1));
    }
}

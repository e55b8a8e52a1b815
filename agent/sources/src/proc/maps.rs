//! `/proc/PID/maps` (proc_pid_maps(5)): what is worth telling of a process's memory, line by line
//! and bounded. It reads no file.

use super::fields::{number, unescape_octal, words};
use cleanroom_evidence::RawBytes;
use serde::Serialize;

/// Entries of each list at most.
const LIST: usize = 256;
const DELETED: &[u8] = b" (deleted)";

/// The summary of one process's mappings. Each list holds at most 256 entries; `..._total` counts
/// all where more were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MapsSummary {
    /// Mappings in all.
    pub total: u64,
    /// Mapped files that have been deleted, each once.
    pub deleted: Vec<RawBytes>,
    /// Mapped memory files (memfd_create), each once.
    pub memfd: Vec<RawBytes>,
    /// Mappings that are writable and executable at once: `START-END PERMS PATH`.
    pub writable_executable: Vec<RawBytes>,
    /// Files mapped for execution, each once: the executable and its libraries.
    pub libraries: Vec<RawBytes>,
    /// Executable mappings that no file backs (not those of the kernel: vdso, vsyscall).
    pub anonymous_executable_total: u64,
    /// All writable and executable mappings.
    #[serde(skip_serializing_if = "is_zero")]
    pub writable_executable_total: u64,
    /// Paths that found no room in a list.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_listed_total: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl MapsSummary {
    /// Adds one line: `start-end perms offset device inode   path`. The kernel writes a line end in
    /// a path as `\012`, so a path cannot add lines.
    pub fn add(&mut self, line: &[u8]) {
        let mut fields = words(line);
        let (Some(range), Some(perms)) = (fields.next(), fields.next()) else {
            return;
        };
        if perms.len() < 4 {
            return;
        }
        self.total += 1;
        let file_backed = fields.nth(2).and_then(number::<u64>).is_some_and(|inode| inode != 0);
        let executable = perms.get(2) == Some(&b'x');
        let writable = perms.get(1) == Some(&b'w');
        if !file_backed && !executable {
            return;
        }
        let path = after_fields(line, 5);
        if executable && writable {
            self.writable_executable_total += 1;
            if self.writable_executable.len() < LIST {
                let text = [range, b" ", perms, b" ", path].concat();
                self.writable_executable.push(RawBytes(text.trim_ascii_end().to_vec()));
            }
        }
        if !file_backed {
            let kernels = matches!(path, b"[vdso]" | b"[vsyscall]" | b"[uprobes]");
            self.anonymous_executable_total += u64::from(!kernels);
            return;
        }
        if path.starts_with(b"/memfd:") {
            self.not_listed_total += push(&mut self.memfd, path);
        } else if path.ends_with(DELETED) {
            self.not_listed_total += push(&mut self.deleted, path);
        }
        if executable {
            self.not_listed_total += push(&mut self.libraries, path);
        }
    }
}

/// What follows the first `count` fields, with the blanks that pad the column taken off.
fn after_fields(line: &[u8], count: usize) -> &[u8] {
    let mut rest = line;
    for _ in 0..count {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(|&b| b == b' ').unwrap_or(rest.len());
        rest = rest.get(end..).unwrap_or_default();
    }
    let text = rest.iter().position(|&b| b != b' ').unwrap_or(rest.len());
    rest.get(text..).unwrap_or_default()
}

/// Adds a path once; 1 where there was no room.
fn push(list: &mut Vec<RawBytes>, path: &[u8]) -> u64 {
    let path = match path.contains(&b'\\') {
        true => &unescape_octal(path),
        false => path,
    };
    // The mappings of one file follow each other, so the last is the likely one.
    if list.iter().rev().any(|known| known.0 == path) {
        return 0;
    }
    if list.len() >= LIST {
        return 1;
    }
    list.push(path.into());
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn summary(text: &str) -> MapsSummary {
        let mut maps = MapsSummary::default();
        text.lines().for_each(|line| maps.add(line.as_bytes()));
        maps
    }

    #[test]
    fn tells_apart_what_matters() {
        let maps = summary(
            "55d0-55d1 r-xp 00000000 fe:01 123                        /usr/bin/a b\n\
             55d1-55d2 r--p 00000000 fe:01 123                        /usr/bin/a b\n\
             6000-6001 r-xp 00000000 fe:01 77                         /tmp/x\\012y (deleted)\n\
             6001-6002 rw-p 00000000 fe:01 77                         /tmp/x\\012y (deleted)\n\
             7000-7001 rwxp 00000000 00:00 0 \n\
             7001-7002 rwxs 00000000 00:01 2048                       /memfd:jit (deleted)\n\
             7f00-7f01 rw-p 00000000 00:00 0                          [heap]\n\
             7fff-8000 r-xp 00000000 00:00 0                          [vdso]\n",
        );
        assert_eq!(maps.total, 8);
        assert_eq!(maps.deleted, [RawBytes::from("/tmp/x\ny (deleted)")]);
        assert_eq!(maps.memfd, [RawBytes::from("/memfd:jit (deleted)")]);
        assert_eq!(
            maps.writable_executable,
            [
                RawBytes::from("7000-7001 rwxp"),
                RawBytes::from("7001-7002 rwxs /memfd:jit (deleted)")
            ]
        );
        assert_eq!(maps.libraries.len(), 3);
        assert_eq!(maps.libraries[0], RawBytes::from("/usr/bin/a b"));
        assert_eq!(maps.anonymous_executable_total, 1);
    }

    #[test]
    fn lists_are_bounded_and_counted() {
        let mut maps = MapsSummary::default();
        for n in 0..1000 {
            maps.add(format!("1-2 rwxp 0 fe:01 9 /lib/{n}.so").as_bytes());
        }
        assert_eq!((maps.total, maps.libraries.len()), (1000, LIST));
        assert_eq!(maps.not_listed_total, 1000 - LIST as u64);
        assert_eq!(maps.writable_executable_total, 1000);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            MapsSummary::default().add(&bytes);
        }
    }
}

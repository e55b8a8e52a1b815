//! The open files of a process: number, target and flags of each, bounded.

use super::Misses;
use crate::{
    Dir,
    proc::{
        fields::number,
        fs::{Scratch, each_name},
    },
};
use cleanroom_evidence::RawBytes;
use nix::{errno::Errno, fcntl::readlinkat};
use serde::Serialize;
use std::{
    ffi::OsStr,
    os::unix::ffi::{OsStrExt, OsStringExt},
};

/// Open files listed of one process at most.
const LISTED: usize = 4096;

/// One open file.
#[derive(Debug, Serialize)]
pub struct OpenFile {
    /// Its number.
    pub fd: u32,
    /// What the link says: a path, `socket:[INODE]`, `anon_inode:[eventpoll]`, …
    pub target: RawBytes,
    /// Open flags by name, e.g. `O_RDWR|O_APPEND`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<String>,
}

/// The open files in ascending order and how many there are.
pub fn read(dir: &Dir<'_>, scratch: &mut Scratch, misses: &mut Misses) -> (Vec<OpenFile>, u64) {
    let (mut files, mut total, mut refused) = (Vec::new(), 0, None);
    let result = each_name(dir, b"fd", |at, name| {
        let Some(fd) = number::<u32>(name) else {
            return;
        };
        total += 1;
        if files.len() >= LISTED {
            return;
        }
        match readlinkat(at, OsStr::from_bytes(name)) {
            Ok(target) => {
                let target = target.into_vec();
                files.push(OpenFile {
                    fd,
                    flags: flags_of(dir, name, &target, scratch),
                    target: RawBytes(target),
                });
            }
            // It was closed since the listing.
            Err(Errno::ENOENT) => {}
            // One refusal is that of all.
            Err(error) => refused = Some(error),
        }
    });
    let refused = refused.map_or(Ok(()), |error| Err(error.into()));
    misses.keep("open files", result.and(refused));
    (files, total)
}

/// The kernel builds the whole of `fdinfo` for one line of it: for an epoll or inotify descriptor
/// that may be millions of lines, so those are left out.
fn flags_of(dir: &Dir<'_>, fd: &[u8], target: &[u8], scratch: &mut Scratch) -> Option<String> {
    if target.starts_with(b"anon_inode:") {
        return None;
    }
    let info = scratch.shown(dir, &[b"fdinfo/", fd].concat(), 512).ok()?;
    let line = info.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(b"flags:"))?;
    let digits = std::str::from_utf8(line.trim_ascii()).ok()?;
    i32::from_str_radix(digits, 8).ok().map(flag_names)
}

/// Flags of open(2) by name.
fn flag_names(flags: i32) -> String {
    const NAMES: [(i32, &str); 10] = [
        (libc::O_APPEND, "O_APPEND"),
        (libc::O_NONBLOCK, "O_NONBLOCK"),
        (libc::O_SYNC, "O_SYNC"),
        (libc::O_ASYNC, "O_ASYNC"),
        (libc::O_DIRECT, "O_DIRECT"),
        (libc::O_NOATIME, "O_NOATIME"),
        (libc::O_CLOEXEC, "O_CLOEXEC"),
        (libc::O_PATH, "O_PATH"),
        (libc::O_TMPFILE, "O_TMPFILE"),
        (libc::O_DIRECTORY, "O_DIRECTORY"),
    ];
    let mut text = match flags & libc::O_ACCMODE & !libc::O_PATH {
        libc::O_RDONLY => "O_RDONLY",
        libc::O_WRONLY => "O_WRONLY",
        libc::O_RDWR => "O_RDWR",
        _ => "O_NOACCESS",
    }
    .to_owned();
    for (bit, name) in NAMES {
        if flags & bit == bit {
            text.push('|');
            text.push_str(name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_by_name() {
        assert_eq!(flag_names(0), "O_RDONLY");
        assert_eq!(
            flag_names(libc::O_RDWR | libc::O_APPEND | libc::O_CLOEXEC),
            "O_RDWR|O_APPEND|O_CLOEXEC"
        );
        assert_eq!(flag_names(libc::O_PATH), "O_RDONLY|O_PATH");
    }

    #[test]
    fn our_own_files_show() {
        let host = crate::Host::live().unwrap();
        let path = std::env::temp_dir().join(format!("cleanroom-fds-{}", std::process::id()));
        let _held = std::fs::File::create(&path).unwrap();
        let mut misses = Misses::default();
        let dir = host.dir(b"/proc/self").unwrap();
        let (files, total) = read(&dir, &mut Scratch::default(), &mut misses);
        std::fs::remove_file(&path).unwrap();
        let ours = files.iter().find(|f| f.target.0 == path.as_os_str().as_bytes()).unwrap();
        assert_eq!(ours.flags.as_deref(), Some("O_WRONLY|O_CLOEXEC"));
        assert!(total >= files.len() as u64);
        assert!(misses.list.is_empty());
    }
}

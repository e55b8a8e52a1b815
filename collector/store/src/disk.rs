//! The few ways in which the store changes the disk: durable, never overwriting evidence.
//!
//! Knows nothing of cases or items. Everything made here is private to the owner (0700, 0600,
//! blobs 0400).

use crate::error::{Context, StoreError};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    // The parent of a relative name of one part is the empty path: it means the working folder.
    let named = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(named).and_then(|dir| dir.sync_all()).context("sync folder", path)
}

/// Makes a folder unless it is there; true when it was made. Its name is not durable yet.
pub(crate) fn make_dir(path: &Path) -> Result<bool, StoreError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(error) => Err(error).context("make folder", path),
    }
}

/// As [`make_dir`]; the name of a new folder is durable afterwards.
pub(crate) fn ensure_dir(path: &Path) -> Result<(), StoreError> {
    match (make_dir(path)?, path.parent()) {
        (true, Some(parent)) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Makes a new file, open for reading and writing; fails where the name is taken.
pub(crate) fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path)
}

/// Reads a small file, at most `limit` bytes.
pub(crate) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::new();
    let file = File::open(path).context("open", path)?;
    file.take(limit + 1).read_to_end(&mut bytes).context("read", path)?;
    if bytes.len() as u64 > limit {
        return Err(crate::error::bad_file(path, format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// How far an atomic replacement came before it failed.
pub(crate) enum Replace {
    /// The old content is in place.
    Unchanged(StoreError),
    /// Either content may be found after a crash.
    Uncertain(StoreError),
}

impl From<Replace> for StoreError {
    fn from(replace: Replace) -> Self {
        match replace {
            Replace::Unchanged(error) | Replace::Uncertain(error) => error,
        }
    }
}

/// Replaces `dir/name` by a file with these bytes: a reader sees the old or the new, whole.
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Replace> {
    let temporary = dir.join(format!(".{name}.new"));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let written = write().context("write", &temporary);
    let renamed =
        written.and_then(|()| fs::rename(&temporary, dir.join(name)).context("rename", &temporary));
    if let Err(error) = renamed {
        // What stays of the temporary file would hold space on a full disk.
        let _ = fs::remove_file(&temporary);
        return Err(Replace::Unchanged(error));
    }
    sync_dir(dir).map_err(Replace::Uncertain)
}

/// Writes at the known end of a list and makes it durable. On failure the caller cuts it back.
pub(crate) fn append(file: &File, at: u64, bytes: &[u8], path: &Path) -> Result<(), StoreError> {
    file.write_all_at(bytes, at).context("append to", path)?;
    file.sync_data().context("sync", path)
}

/// Cuts a list to a length and makes that durable.
pub(crate) fn cut(file: &File, length: u64, path: &Path) -> Result<(), StoreError> {
    file.set_len(length).context("cut", path)?;
    file.sync_data().context("sync", path)
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).context("remove", path),
        _ => Ok(()),
    }
}

/// Takes the owner's write permission from a file that is final.
pub(crate) fn make_read_only(file: &File, path: &Path) -> Result<(), StoreError> {
    file.set_permissions(Permissions::from_mode(0o400)).context("protect", path)
}

/// Gives a synced file its final name. False when that name is taken: nothing is overwritten,
/// and the file stays under its old name.
pub(crate) fn publish(from: &Path, to: &Path) -> Result<bool, StoreError> {
    match rename_new(from, to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).context("publish", to),
    }
}

/// renameat2(RENAME_NOREPLACE), or link + unlink where the file system lacks it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use nix::{errno::Errno, fcntl};
    let flags = fcntl::RenameFlags::RENAME_NOREPLACE;
    match fcntl::renameat2(fcntl::AT_FDCWD, from, fcntl::AT_FDCWD, to, flags) {
        Err(Errno::EINVAL | Errno::ENOSYS) => link_new(from, to),
        other => other.map_err(io::Error::from),
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    link_new(from, to)
}

fn link_new(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

/// Asks the kernel to start writing the file's pages back and to drop those that are clean, so
/// that a later sync is short and evidence does not fill the page cache.
pub(crate) fn start_writeback(file: &File) {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    // Advice only: where it is not taken, the sync does all the work.
    let _ = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "new").unwrap();
        fs::write(&b, "old").unwrap();
        assert!(!publish(&a, &b).unwrap());
        assert_eq!(fs::read(&b).unwrap(), b"old");
        assert_eq!(link_new(&a, &b).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(publish(&a, &dir.path().join("c")).unwrap());
        assert!(!a.exists());
        link_new(&b, &a).unwrap();
        assert!(!b.exists());
    }

    #[test]
    fn replaces_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["one", "two"] {
            replace(dir.path(), "f", text.as_bytes()).map_err(StoreError::from).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join("f")).unwrap(), text);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

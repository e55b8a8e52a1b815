//! The only door to the host's files: a root and an opener that leaves no trace.
//!
//! Paths are bytes, absolute, and mean a place **inside the root**: with a mounted image every
//! link is resolved as if the image were `/`, so an absolute link cannot lead to the examiner's
//! own disk. Nothing is created, nothing is written, a FIFO or a device is never opened by
//! [`Host::open`], and access times stay as they are where the kernel lets us.

use crate::sys;
use cleanroom_evidence::{FileKind, FileMeta, RawBytes};
use nix::{
    dir::Dir as RawDir,
    fcntl::{OFlag, openat, readlinkat},
    sys::stat::Mode,
};
use std::{
    ffi::{CString, OsStr},
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Links followed in one path at most, as the kernel's own limit.
const MAX_LINKS: usize = 40;
/// Entries of one directory at most; more is an error that names the bound.
const MAX_ENTRIES: usize = 1_000_000;

/// A host as the sources see it: the running one, or the tree of a mounted image.
#[derive(Debug)]
pub struct Host {
    root: OwnedFd,
    live: bool,
    root_path: PathBuf,
    opens_with_atime: AtomicU64,
}

/// An open regular file with the metadata it had when it was opened.
#[derive(Debug)]
pub struct Opened {
    /// The file, for reading.
    pub file: File,
    /// Its metadata at that moment.
    pub meta: FileMeta,
}

/// The bytes of a small file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// At most as many as the limit that was asked for.
    pub bytes: Vec<u8>,
    /// True when the file went on after them.
    pub truncated: bool,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, as bytes, without `/`.
    pub name: Vec<u8>,
    /// What the directory says it is; some file systems do not say.
    pub kind: Option<FileKind>,
}

/// An open directory: what is read through it belongs to the same directory (the same process,
/// for `/proc/PID`) even if the name has been given to another meanwhile.
#[derive(Debug)]
pub struct Dir<'h> {
    host: &'h Host,
    fd: OwnedFd,
}

impl Host {
    /// The running host.
    pub fn live() -> io::Result<Self> {
        Self::rooted(Path::new("/"), true)
    }

    /// The tree below `root`: a mounted image, a container's file system.
    pub fn at(root: &Path) -> io::Result<Self> {
        Self::rooted(root, false)
    }

    fn rooted(root: &Path, live: bool) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self {
            root: nix::fcntl::open(root, flags, Mode::empty())?,
            live,
            root_path: root.to_owned(),
            opens_with_atime: AtomicU64::new(0),
        })
    }

    /// True for the running host, where `/proc` is that of the kernel we run on.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Where the root lies, for messages.
    pub fn root_path(&self) -> &Path {
        &self.root_path
    }

    /// How many opens could not ask the kernel to leave the access time alone (a file of another
    /// owner, without CAP_FOWNER).
    pub fn opens_with_atime(&self) -> u64 {
        self.opens_with_atime.load(Ordering::Relaxed)
    }

    /// Metadata of the path; a last link is not followed and its target is given.
    pub fn metadata(&self, path: &[u8]) -> io::Result<FileMeta> {
        let (dir, name) = self.locate(path, false)?;
        let mut meta = sys::file::metadata(dir.as_fd(), &c_string(&name)?)?;
        if meta.kind == FileKind::Symlink {
            meta.link_target = Some(RawBytes(read_link(&dir, &name)?));
        }
        Ok(meta)
    }

    /// Opens a regular file, following links inside the root. Anything else (FIFO, device,
    /// socket, directory) is refused before it is opened for reading.
    pub fn open(&self, path: &[u8]) -> io::Result<Opened> {
        let (dir, name) = self.locate(path, true)?;
        self.open_in(&dir, &name)
    }

    /// At most `limit` bytes of a file.
    pub fn read(&self, path: &[u8], limit: usize) -> io::Result<Content> {
        read_content(&self.open(path)?.file, limit)
    }

    /// Where a link points, uninterpreted.
    pub fn link_target(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let (dir, name) = self.locate(path, false)?;
        read_link(&dir, &name)
    }

    /// The names in a directory, sorted, without `.` and `..`. Links to directories are followed.
    pub fn list(&self, path: &[u8]) -> io::Result<Vec<Entry>> {
        self.dir(path)?.list()
    }

    /// Opens a directory, following links inside the root.
    pub fn dir(&self, path: &[u8]) -> io::Result<Dir<'_>> {
        let (dir, name) = self.locate(path, true)?;
        let fd = open_path(&dir, &name, OFlag::O_DIRECTORY)?;
        Ok(Dir { host: self, fd })
    }

    /// A `/proc` of our own that is attached nowhere: what somebody mounted over parts of the
    /// host's does not cover it. Needs the live host and CAP_SYS_ADMIN.
    pub fn fresh_proc(&self) -> io::Result<Dir<'_>> {
        let fd = sys::procfs::detached()?;
        Ok(Dir { host: self, fd })
    }

    /// The path with every link resolved, as an absolute path inside the root.
    pub fn resolve(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let (_, _, trail) = self.walk(path, true)?;
        Ok(join(&trail))
    }

    /// Opens a device or image file for reading (never for writing), following links. Only for
    /// what the responder named.
    pub fn open_volume(&self, path: &[u8], direct: bool) -> io::Result<Opened> {
        let (dir, name) = self.locate(path, true)?;
        let meta = sys::file::metadata(dir.as_fd(), &c_string(&name)?)?;
        if !matches!(meta.kind, FileKind::Regular | FileKind::Block) {
            return Err(unfit(meta.kind));
        }
        let extra = if direct { OFlag::O_DIRECT } else { OFlag::empty() };
        let file = self.open_quietly(&dir, &name, extra)?;
        Ok(Opened { file, meta })
    }

    /// The open directory that holds the path's last part, and that part.
    fn locate(&self, path: &[u8], follow_last: bool) -> io::Result<(OwnedFd, Vec<u8>)> {
        if self.live && !follow_last {
            return self.walk(path, false).map(|(dir, name, _)| (dir, name));
        }
        if self.live {
            // The kernel's own walk: it also knows the magic links of /proc.
            let trimmed = path.strip_prefix(b"/").unwrap_or(path);
            let name = if trimmed.is_empty() { b".".to_vec() } else { trimmed.to_vec() };
            return Ok((self.root.try_clone()?, name));
        }
        self.walk(path, follow_last).map(|(dir, name, _)| (dir, name))
    }

    /// Walks part by part from the root. `..` stops at the root, links restart or continue inside.
    fn walk(&self, path: &[u8], follow_last: bool) -> io::Result<(OwnedFd, Vec<u8>, Vec<Vec<u8>>)> {
        if path.contains(&0) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut pending: Vec<Vec<u8>> = parts(path);
        let mut fds = vec![self.root.try_clone()?];
        let mut trail: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            let dir = fds.last().ok_or(io::ErrorKind::NotFound)?;
            if name == b".." {
                if fds.len() > 1 {
                    fds.pop();
                    trail.pop();
                }
                continue;
            }
            let last = pending.is_empty();
            let target = match readlinkat(dir, OsStr::from_bytes(&name)) {
                Ok(target) if !last || follow_last => Some(target.into_vec()),
                _ => None,
            };
            if let Some(target) = target {
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::from_raw_os_error(libc::ELOOP));
                }
                if target.first() == Some(&b'/') {
                    fds.truncate(1);
                    trail.clear();
                }
                pending.extend(parts(&target));
                continue;
            }
            if last {
                let dir = fds.pop().ok_or(io::ErrorKind::NotFound)?;
                trail.push(name.clone());
                return Ok((dir, name, trail));
            }
            let next = open_path(dir, &name, OFlag::O_DIRECTORY)?;
            fds.push(next);
            trail.push(name);
        }
        let dir = fds.pop().ok_or(io::ErrorKind::NotFound)?;
        Ok((dir, b".".to_vec(), trail))
    }

    fn open_in(&self, dir: &OwnedFd, name: &[u8]) -> io::Result<Opened> {
        // First only a handle: what it is decides whether it may be opened for reading.
        let handle = match self.live {
            true => openat(
                dir,
                OsStr::from_bytes(name),
                OFlag::O_PATH | OFlag::O_CLOEXEC,
                Mode::empty(),
            )?,
            false => open_path(dir, name, OFlag::empty())?,
        };
        let meta = sys::file::metadata(handle.as_fd(), c"")?;
        if meta.kind != FileKind::Regular {
            return Err(unfit(meta.kind));
        }
        let nofollow = if self.live { OFlag::empty() } else { OFlag::O_NOFOLLOW };
        let file = self.open_quietly(dir, name, nofollow)?;
        let opened = sys::file::metadata(file.as_fd(), c"")?;
        if opened.kind != FileKind::Regular {
            return Err(unfit(opened.kind));
        }
        Ok(Opened { file, meta: opened })
    }

    /// Opens for reading with O_NOATIME; where that is not allowed, without, and counts it.
    fn open_quietly(&self, dir: &OwnedFd, name: &[u8], extra: OFlag) -> io::Result<File> {
        let flags =
            OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | extra;
        let name = OsStr::from_bytes(name);
        match openat(dir, name, flags | OFlag::O_NOATIME, Mode::empty()) {
            Err(nix::errno::Errno::EPERM) => {
                let fd = openat(dir, name, flags, Mode::empty())?;
                self.opens_with_atime.fetch_add(1, Ordering::Relaxed);
                Ok(fd.into())
            }
            other => Ok(other?.into()),
        }
    }
}

impl<'h> Dir<'h> {
    /// The names in it, sorted, without `.` and `..`.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        let mut dir = {
            let fd = self.host.open_quietly(&self.fd, b".", OFlag::O_DIRECTORY)?;
            RawDir::from_fd(fd.into())?
        };
        let mut entries = Vec::new();
        for entry in dir.iter() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            if entries.len() >= MAX_ENTRIES {
                return Err(io::Error::other(format!("more than {MAX_ENTRIES} entries")));
            }
            let kind = entry.file_type().map(kind_of_entry);
            entries.push(Entry { name: name.to_vec(), kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// At most `limit` bytes of the file `name` right in this directory.
    pub fn read(&self, name: &[u8], limit: usize) -> io::Result<Content> {
        read_content(&self.open(name)?, limit)
    }

    /// Opens `name` right in this directory for reading, following a last link (as `exe` of a
    /// process needs). For `/proc` and `/sys`, where no FIFO lies in wait.
    pub fn open(&self, name: &[u8]) -> io::Result<File> {
        self.host.open_quietly(&self.fd, name, OFlag::empty())
    }

    /// Where the link `name` points, uninterpreted.
    pub fn link_target(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        read_link(&self.fd, name)
    }

    /// The directory `name` right in this one.
    pub fn dir(&self, name: &[u8]) -> io::Result<Dir<'h>> {
        Ok(Dir { host: self.host, fd: open_path(&self.fd, name, OFlag::O_DIRECTORY)? })
    }

    /// Metadata of `name`, no link followed.
    pub fn metadata(&self, name: &[u8]) -> io::Result<FileMeta> {
        sys::file::metadata(self.fd.as_fd(), &c_string(name)?)
    }
}

fn open_path(dir: &OwnedFd, name: &[u8], extra: OFlag) -> io::Result<OwnedFd> {
    // A final link is followed only where the kernel walks for us (extra has O_DIRECTORY and the
    // name came from a resolved walk), so O_NOFOLLOW never hides a file that is really there.
    let nofollow = if name.contains(&b'/') { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | nofollow | extra;
    Ok(openat(dir, OsStr::from_bytes(name), flags, Mode::empty())?)
}

fn read_link(dir: &OwnedFd, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(readlinkat(dir, OsStr::from_bytes(name))?.into_vec())
}

fn read_content(file: &File, limit: usize) -> io::Result<Content> {
    use io::Read as _;
    let mut bytes = Vec::new();
    let ceiling = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(ceiling).read_to_end(&mut bytes)?;
    let truncated = bytes.len() > limit;
    bytes.truncate(limit);
    Ok(Content { bytes, truncated })
}

fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let is_part = |part: &&[u8]| !part.is_empty() && *part != b".";
    path.split(|&b| b == b'/').filter(is_part).map(<[u8]>::to_vec).rev().collect()
}

fn join(trail: &[Vec<u8>]) -> Vec<u8> {
    match trail.is_empty() {
        true => b"/".to_vec(),
        false => trail.iter().flat_map(|part| [b"/", part.as_slice()].concat()).collect(),
    }
}

fn c_string(name: &[u8]) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn kind_of_entry(kind: nix::dir::Type) -> FileKind {
    match kind {
        nix::dir::Type::Directory => FileKind::Directory,
        nix::dir::Type::Symlink => FileKind::Symlink,
        nix::dir::Type::Fifo => FileKind::Fifo,
        nix::dir::Type::Socket => FileKind::Socket,
        nix::dir::Type::BlockDevice => FileKind::Block,
        nix::dir::Type::CharacterDevice => FileKind::Char,
        nix::dir::Type::File => FileKind::Regular,
    }
}

fn unfit(kind: FileKind) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("not opened: it is a {kind:?}").to_lowercase(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("var/lib/cloud/instances/i-1")).unwrap();
        std::fs::write(root.join("var/lib/cloud/instances/i-1/user-data.txt"), b"inside").unwrap();
        std::fs::create_dir(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/passwd"), b"image passwd").unwrap();
        symlink("/var/lib/cloud/instances/i-1", root.join("var/lib/cloud/instance")).unwrap();
        symlink("../../../../../../etc/passwd", root.join("up")).unwrap();
        symlink("/loop", root.join("loop")).unwrap();
        nix::unistd::mkfifo(&root.join("fifo"), Mode::S_IRWXU).unwrap();
        dir
    }

    #[test]
    fn links_stay_inside_the_root() {
        let dir = tree();
        let host = Host::at(dir.path()).unwrap();
        let user_data = host.read(b"/var/lib/cloud/instance/user-data.txt", 100).unwrap();
        assert_eq!(user_data.bytes, b"inside");
        assert_eq!(host.read(b"/up", 100).unwrap().bytes, b"image passwd");
        assert_eq!(host.read(b"/../../etc/passwd", 5).unwrap().bytes, b"image");
        assert!(host.read(b"/etc/passwd", 5).unwrap().truncated);
        assert_eq!(
            host.resolve(b"/var/lib/cloud/instance/user-data.txt").unwrap(),
            b"/var/lib/cloud/instances/i-1/user-data.txt"
        );
        assert_eq!(host.open(b"/loop").unwrap_err().raw_os_error(), Some(libc::ELOOP));
        let meta = host.metadata(b"/var/lib/cloud/instance").unwrap();
        assert_eq!(meta.link_target.unwrap().0, b"/var/lib/cloud/instances/i-1");
        assert_eq!(host.list(b"/var/lib/cloud/instance").unwrap()[0].name, b"user-data.txt");
    }

    #[test]
    fn a_fifo_is_never_opened_and_names_the_kind() {
        let dir = tree();
        for host in [Host::at(dir.path()).unwrap(), Host::live().unwrap()] {
            let path = if host.is_live() { dir.path().join("fifo") } else { "/fifo".into() };
            let error = host.open(path.as_os_str().as_bytes()).unwrap_err();
            assert!(error.to_string().contains("fifo"), "{error}");
        }
    }

    #[test]
    fn the_live_host_follows_magic_links_and_keeps_access_times() {
        let host = Host::live().unwrap();
        let me = host.dir(b"/proc/self").unwrap();
        assert!(me.read(b"exe", 4).unwrap().bytes.starts_with(b"\x7fELF"));
        let dir = tree();
        let file = dir.path().join("etc/passwd");
        let old = std::time::SystemTime::UNIX_EPOCH;
        let times = std::fs::FileTimes::new().set_accessed(old).set_modified(old);
        File::options().write(true).open(&file).unwrap().set_times(times).unwrap();
        host.read(file.as_os_str().as_bytes(), 10).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().atime(), 0);
    }
}

//! The executable of a process, through `/proc/PID/exe`: it is there even when the file has been
//! deleted, replaced, or never was one (memfd). Each file is hashed once however many run it.

use super::{Misses, is_false};
use crate::{Dir, Host, proc::fields::why, sys};
use cleanroom_evidence::{FileMeta, Hasher, RawBytes, Sha256Digest, Timestamp};
use serde::Serialize;
use std::{collections::HashMap, fs::File, io, os::fd::AsFd};

/// Bytes of one read.
const BUFFER_BYTES: usize = 256 * 1024;
/// Executables beyond this size are not hashed: a sparse file of terabytes would hold us up.
const MAX_HASHED_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// File contents remembered at most.
const MAX_KNOWN: usize = 65_536;
const DELETED: &[u8] = b" (deleted)";

/// The executable as the record shows it.
#[derive(Debug, Serialize)]
pub struct Exe {
    /// Where it was started from, in the process's own root; without the kernel's ` (deleted)`.
    pub path: RawBytes,
    /// True where that path no longer leads to it.
    pub deleted: bool,
    /// True where it never was a file with a path (memfd_create).
    #[serde(skip_serializing_if = "is_false")]
    pub memfd: bool,
    /// SHA-256 of what is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Digest>,
    #[serde(flatten)]
    pub file: Option<ExeFile>,
}

/// Facts of the open file.
#[derive(Debug, Serialize)]
pub struct ExeFile {
    pub size_bytes: u64,
    pub inode: u64,
    pub device: String,
    pub mode: u32,
    pub uid: u32,
    pub modified: Timestamp,
    pub changed: Timestamp,
}

/// One content of one file: what is hashed once.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Content {
    device: String,
    inode: u64,
    size_bytes: u64,
    modified: Timestamp,
    changed: Timestamp,
}

/// The digests of the executables seen so far.
#[derive(Debug, Default)]
pub struct Executables {
    known: HashMap<Content, Sha256Digest>,
    buffer: Vec<u8>,
}

impl Executables {
    /// The executable of an open process; `None` for what has none (kernel threads, zombies).
    pub fn of(
        &mut self,
        host: &Host,
        dir: &Dir<'_>,
        hash: bool,
        misses: &mut Misses,
    ) -> Option<Exe> {
        let target = misses.keep("exe", dir.link_target(b"exe"))?;
        let opened = dir.open(b"exe").and_then(|file| {
            let meta = sys::file::metadata(file.as_fd(), c"")?;
            Ok((file, meta))
        });
        let opened = misses.keep("exe", opened);
        let memfd = target.starts_with(b"/memfd:") && target.ends_with(DELETED);
        let deleted = is_deleted(host, &target, opened.as_ref().map(|(_, meta)| meta));
        let path = match target.strip_suffix(DELETED) {
            Some(path) if deleted => path.to_vec(),
            _ => target,
        };
        let sha256 = opened
            .as_ref()
            .filter(|_| hash)
            .and_then(|(file, meta)| self.digest(file, meta, misses));
        Some(Exe {
            path: RawBytes(path),
            deleted,
            memfd,
            sha256,
            file: opened.map(|(_, meta)| ExeFile {
                size_bytes: meta.size_bytes,
                inode: meta.inode,
                device: meta.device,
                mode: meta.mode,
                uid: meta.uid,
                modified: meta.modified,
                changed: meta.changed,
            }),
        })
    }

    fn digest(
        &mut self,
        file: &File,
        meta: &FileMeta,
        misses: &mut Misses,
    ) -> Option<Sha256Digest> {
        let content = Content {
            device: meta.device.clone(),
            inode: meta.inode,
            size_bytes: meta.size_bytes,
            modified: meta.modified,
            changed: meta.changed,
        };
        if let Some(known) = self.known.get(&content) {
            return Some(*known);
        }
        if meta.size_bytes > MAX_HASHED_BYTES {
            let why = format!("not hashed: {} bytes, limit {MAX_HASHED_BYTES}", meta.size_bytes);
            misses.add("exe sha256", why);
            return None;
        }
        match self.hash(file) {
            Ok(digest) => {
                if self.known.len() < MAX_KNOWN {
                    self.known.insert(content, digest);
                }
                Some(digest)
            }
            Err(error) => {
                misses.add("exe sha256", why(&error));
                None
            }
        }
    }

    fn hash(&mut self, file: &File) -> io::Result<Sha256Digest> {
        self.buffer.resize(BUFFER_BYTES, 0);
        let (mut hasher, mut offset) = (Hasher::default(), 0u64);
        while offset <= MAX_HASHED_BYTES {
            let read = sys::file::read_at_uncached(file.as_fd(), &mut self.buffer, offset)?;
            if read == 0 {
                return Ok(hasher.finish());
            }
            hasher.update(self.buffer.get(..read).unwrap_or_default());
            offset += read as u64;
        }
        Err(io::Error::other("grew beyond the limit while it was read"))
    }
}

/// The kernel marks a deleted path by a suffix that a real name may also have.
fn is_deleted(host: &Host, target: &[u8], meta: Option<&FileMeta>) -> bool {
    if !target.ends_with(DELETED) {
        return false;
    }
    let Some(meta) = meta.filter(|meta| meta.links > 0) else {
        return true;
    };
    let same = |there: FileMeta| (there.inode, &there.device) == (meta.inode, &meta.device);
    !host.metadata(target).is_ok_and(same)
}

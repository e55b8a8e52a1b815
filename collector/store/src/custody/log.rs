//! The live log: appending in batches, each durable and signed when the call returns.
//!
//! A failed append leaves the log as it was, or says that the case must be opened again.

use super::{
    CHECKPOINT, ENTRIES, ENTRY_BYTES,
    merkle::{Tree, leaf_hash},
    note::{self, CHECKPOINT_BYTES, Checkpoint, VerifierKey},
    signer::Signer,
};
use crate::{
    disk::{self, Replace},
    error::{Context, StoreError, bad_file},
};
use cleanroom_evidence::Sha256Digest;
use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A case's custody log, open for appending. Whoever holds it holds the case's lock.
pub struct CustodyLog {
    dir: PathBuf,
    path: PathBuf,
    file: File,
    length: u64,
    tree: Tree,
    origin: String,
    signer: Arc<Signer>,
    poisoned: bool,
}

/// What opening found beyond the checkpoint.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Whole entries after the checkpoint's: written before a crash, not yet signed.
    pub(crate) adopted: u64,
    /// Bytes of a torn last line that were cut.
    pub(crate) cut_bytes: u64,
}

/// An opened log and what was found.
pub(crate) struct Opened {
    pub(crate) log: CustodyLog,
    pub(crate) tail: Tail,
}

impl CustodyLog {
    /// A new, empty log in an empty folder.
    pub(crate) fn create(
        dir: &Path,
        origin: String,
        signer: Arc<Signer>,
    ) -> Result<Self, StoreError> {
        let path = dir.join(ENTRIES);
        let file = disk::create_new(&path, 0o600).context("make", &path)?;
        let log = Self {
            dir: dir.to_owned(),
            path,
            file,
            length: 0,
            tree: Tree::default(),
            origin,
            signer,
            poisoned: false,
        };
        log.write_checkpoint(&log.tree)?;
        Ok(log)
    }

    /// Opens a log: verifies the checkpoint, then the entries against it, gives each entry to
    /// `visit` (which says whether an entry beyond the checkpoint is sound), cuts a torn tail.
    pub(crate) fn open(
        dir: &Path,
        origin: String,
        signer: Arc<Signer>,
        mut visit: impl FnMut(u64, &[u8]) -> Result<(), String>,
    ) -> Result<Opened, StoreError> {
        let key = VerifierKey { name: origin.clone(), public_key: signer.public_key() };
        let head = read_checkpoint(dir, &key)?.1;
        let path = dir.join(ENTRIES);
        let file = OpenOptions::new().read(true).write(true).open(&path).context("open", &path)?;
        let broken = |index, why: &str| StoreError::CustodyBroken { index, why: why.to_owned() };
        let mut lines = BufReader::with_capacity(1 << 20, &file);
        let (mut tree, mut length, mut line) = (Tree::default(), 0u64, Vec::new());
        check_head(&tree, &head)?;
        loop {
            line.clear();
            let read = read_line(&mut lines, &mut line).context("read", &path)?;
            let index = tree.size();
            let Some((b'\n', entry)) = line.split_last() else {
                if index < head.size {
                    return Err(broken(index, "the log is shorter than its checkpoint"));
                }
                break;
            };
            match visit(index, entry) {
                Ok(()) => {}
                Err(why) if index < head.size => return Err(broken(index, &why)),
                // Never signed, never acknowledged: the rest of a write that a crash tore.
                Err(_) => break,
            }
            tree.push(leaf_hash(entry));
            length += read;
            check_head(&tree, &head)?;
        }
        let found = file.metadata().context("stat", &path)?.len();
        let tail = Tail {
            adopted: tree.size().saturating_sub(head.size),
            cut_bytes: found.saturating_sub(length),
        };
        if tail.cut_bytes > 0 {
            disk::cut(&file, length, &path)?;
        }
        let log =
            Self { dir: dir.to_owned(), path, file, length, tree, origin, signer, poisoned: false };
        Ok(Opened { log, tail })
    }

    /// Number of entries: the index of the next one.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The Merkle root over the entries.
    pub fn root(&self) -> Sha256Digest {
        self.tree.root()
    }

    /// Appends entries (JSON without a newline, at most [`ENTRY_BYTES`] each): one write, one
    /// sync, one checkpoint. Gives the index of the first. All of them are durable and signed
    /// when it returns; on an error none is, and after [`StoreError::CasePoisoned`] or while
    /// [`is_poisoned`](Self::is_poisoned) only opening the case again can tell.
    pub fn append<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> Result<u64, StoreError> {
        if self.poisoned {
            return Err(StoreError::CasePoisoned);
        }
        let first = self.size();
        if entries.is_empty() {
            return Ok(first);
        }
        let (mut tree, mut bytes) = (self.tree.clone(), Vec::new());
        for entry in entries.iter().map(AsRef::as_ref) {
            if entry.len() > ENTRY_BYTES || entry.contains(&b'\n') {
                return Err(StoreError::TooLarge {
                    what: "a custody entry",
                    limit_bytes: ENTRY_BYTES as u64,
                });
            }
            tree.push(leaf_hash(entry));
            bytes.extend_from_slice(entry);
            bytes.push(b'\n');
        }
        let appended = disk::append(&self.file, self.length, &bytes, &self.path)
            .map_err(Replace::Unchanged)
            .and_then(|()| self.write_checkpoint(&tree));
        match appended {
            Ok(()) => {
                self.tree = tree;
                self.length += bytes.len() as u64;
                Ok(first)
            }
            Err(Replace::Unchanged(error)) => {
                self.poisoned = disk::cut(&self.file, self.length, &self.path).is_err();
                Err(error)
            }
            Err(Replace::Uncertain(error)) => {
                self.poisoned = true;
                Err(error)
            }
        }
    }

    /// True when a failure left the files in a state that only recovery can judge.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Refuses every further append.
    pub(crate) fn poison(&mut self) {
        self.poisoned = true;
    }

    fn write_checkpoint(&self, tree: &Tree) -> Result<(), Replace> {
        let head = Checkpoint { origin: self.origin.clone(), size: tree.size(), root: tree.root() };
        disk::replace(&self.dir, CHECKPOINT, note::sign(&self.signer, &head).as_bytes())
    }
}

/// The folder's checkpoint, verified, with its text.
pub(super) fn read_checkpoint(
    dir: &Path,
    key: &VerifierKey,
) -> Result<(String, Checkpoint), StoreError> {
    let path = dir.join(CHECKPOINT);
    let bytes = disk::read_small(&path, CHECKPOINT_BYTES as u64)?;
    let head = note::verify(&bytes, key).map_err(|error| bad_file(&path, error))?;
    let text = String::from_utf8(bytes).map_err(|error| bad_file(&path, error))?;
    Ok((text, head))
}

/// When the tree has come to the checkpoint's size, it must have its root.
pub(super) fn check_head(tree: &Tree, head: &Checkpoint) -> Result<(), StoreError> {
    if tree.size() == head.size && tree.root() != head.root {
        return Err(StoreError::CustodyBroken {
            index: head.size,
            why: "the entries are not those that the checkpoint signs".to_owned(),
        });
    }
    Ok(())
}

/// Reads a line with its newline, at most one entry's bytes and one more.
pub(super) fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<u64> {
    from.take(ENTRY_BYTES as u64 + 1).read_until(b'\n', line).map(|read| read as u64)
}

//! A custody log as of one checkpoint, for reading and export.

use super::{
    ENTRIES,
    log::{check_head, read_checkpoint, read_line},
    merkle::{Tree, leaf_hash},
    note::{Checkpoint, VerifierKey},
    signer::spki_pem,
};
use crate::error::{Context, StoreError};
use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

/// One signed state of the log. Entries that come later are no part of it.
#[derive(Clone, Debug)]
pub struct Custody {
    /// The signed checkpoint, as its file has it.
    pub checkpoint: String,
    /// The key that verifies it, as a note verifier key (`name+hash+key`).
    pub vkey: String,
    /// The same key as PEM SubjectPublicKeyInfo.
    pub key_pem: String,
    /// What the checkpoint says.
    pub head: Checkpoint,
    path: PathBuf,
}

impl Custody {
    pub(crate) fn read(dir: &Path, key: &VerifierKey) -> Result<Self, StoreError> {
        let (checkpoint, head) = read_checkpoint(dir, key)?;
        Ok(Self {
            checkpoint,
            vkey: key.to_string(),
            key_pem: spki_pem(&key.public_key),
            head,
            path: dir.join(ENTRIES),
        })
    }

    /// The entries that the checkpoint covers, in order, each one JSON object without a newline.
    /// After the last one the root is compared: a mismatch comes as a last item that is an error.
    pub fn entries(&self) -> Result<Entries, StoreError> {
        let file = File::open(&self.path).context("open", &self.path)?;
        Ok(Entries {
            lines: BufReader::with_capacity(1 << 18, file),
            path: self.path.clone(),
            head: self.head.clone(),
            tree: Tree::default(),
            ended: false,
        })
    }
}

/// The entries of a [`Custody`], checked against its checkpoint at the end.
pub struct Entries {
    lines: BufReader<File>,
    path: PathBuf,
    head: Checkpoint,
    tree: Tree,
    ended: bool,
}

impl Iterator for Entries {
    type Item = Result<Vec<u8>, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.tree.size() == self.head.size {
            self.ended = true;
            return check_head(&self.tree, &self.head).err().map(Err);
        }
        let mut line = Vec::new();
        let read = read_line(&mut self.lines, &mut line).context("read", &self.path);
        let why = match read {
            Ok(_) if line.pop() == Some(b'\n') => {
                self.tree.push(leaf_hash(&line));
                return Some(Ok(line));
            }
            Ok(_) => StoreError::CustodyBroken {
                index: self.tree.size(),
                why: "the log is shorter than its checkpoint".to_owned(),
            },
            Err(error) => error,
        };
        self.ended = true;
        Some(Err(why))
    }
}

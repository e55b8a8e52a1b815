//! What is wrong with a bundle: each text names the file or entry, and says what differs.

use crate::{dsse::DsseError, tar::read::TarError};
use cleanroom_evidence::Sha256Digest;
use cleanroom_store::custody::NoteError;
use std::{io, path::PathBuf};

/// The first thing wrong with a bundle. It must not be relied on: compare another copy.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The path could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The tar as such was changed or cut.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// Something that a bundle never holds.
    #[error("{path} does not belong in a bundle: {why}")]
    Foreign {
        /// What.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// A file is not what its digest says.
    #[error("{path} was changed: its SHA-256 is {found}, {by} says {expected}")]
    Changed {
        /// Which file.
        path: String,
        /// Who says what it should be.
        by: &'static str,
        /// The digest it should have.
        expected: Sha256Digest,
        /// The digest it has.
        found: Sha256Digest,
    },
    /// A file is listed and not there.
    #[error("{path} is missing: {by} lists it")]
    Missing {
        /// Which file.
        path: String,
        /// What lists it.
        by: &'static str,
    },
    /// A file is there and not listed.
    #[error("{path} is extra: {by} does not list it")]
    Extra {
        /// Which file.
        path: String,
        /// What does not list it.
        by: &'static str,
    },
    /// A file is not in the one form that cleanroom writes.
    #[error("{path} was changed or was not written by cleanroom: {why}")]
    Form {
        /// Which file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The signature does not hold.
    #[error("custody/bundle.dsse.json: the signature over the bundle is bad")]
    Signature(#[from] DsseError),
    /// The checkpoint does not hold.
    #[error("custody/checkpoint: the signed head of the custody log is bad")]
    Checkpoint(#[from] NoteError),
    /// Signed by another key than the caller demands.
    #[error("the bundle is signed by key {found}, not by the expected {expected}")]
    WrongKey {
        /// Demanded.
        expected: String,
        /// In the bundle.
        found: String,
    },
    /// The custody log is not the one that was signed.
    #[error("custody/log.jsonl: {why}")]
    Log {
        /// What is wrong.
        why: String,
    },
    /// An item's bytes, its line and its custody entry do not agree.
    #[error("{path}: item {seq}: {why}")]
    Item {
        /// The session's item list.
        path: String,
        /// The item's number.
        seq: u64,
        /// What is wrong.
        why: String,
    },
}

/// A [`VerifyError::Form`].
pub(super) fn form(path: &str, why: impl ToString) -> VerifyError {
    VerifyError::Form { path: path.to_owned(), why: why.to_string() }
}

/// Keeps the error that explains most: files before the log, the log before what both say of items.
/// (Signature and tag files are judged before any of these.)
#[derive(Debug, Default)]
pub(super) struct First(Option<(Rank, VerifyError)>);

/// In the order of what explains more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// The manifest and the payload.
    Payload,
    /// The custody log against its signed head.
    Log,
    /// The tiles against the log.
    Tiles,
    /// Items against their bytes and entries.
    Items,
}

impl First {
    pub(super) fn add(&mut self, rank: Rank, error: VerifyError) {
        if self.0.as_ref().is_none_or(|(known, _)| rank < *known) {
            self.0 = Some((rank, error));
        }
    }

    pub(super) fn note(&mut self, rank: Rank, result: Result<(), VerifyError>) {
        if let Err(error) = result {
            self.add(rank, error);
        }
    }

    pub(super) fn finish(self) -> Result<(), VerifyError> {
        self.0.map_or(Ok(()), |(_, error)| Err(error))
    }
}

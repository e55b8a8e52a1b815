//! What can go wrong in the store. Each text names the object; the edge prints the chain.

use cleanroom_evidence::{CaseId, Sha256Digest};
use std::{io, path::Path, path::PathBuf};

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk answered with an error.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The store's file system is full. Nothing that is not durable was acknowledged; after space
    /// is freed, open the session again and go on.
    #[error("no space left for {}: free space, then connect again", path.display())]
    NoSpace {
        /// The path that could not grow.
        path: PathBuf,
    },
    /// The case has reached the byte quota that it was created with.
    #[error(
        "the case's quota of {quota_bytes} bytes is reached: {used_bytes} held, {wanted_bytes} more wanted"
    )]
    QuotaExceeded {
        /// The quota in bytes.
        quota_bytes: u64,
        /// Bytes that the case holds.
        used_bytes: u64,
        /// Bytes that were to be added.
        wanted_bytes: u64,
    },
    /// There is a case of that name already; a case is never replaced.
    #[error("case {0} exists already")]
    CaseExists(CaseId),
    /// There is no such case.
    #[error("there is no case {0}")]
    CaseMissing(CaseId),
    /// Another process holds the case.
    #[error("case {0} is open in another process")]
    CaseBusy(CaseId),
    /// The case was closed; its evidence takes no more.
    #[error("case {0} is closed")]
    CaseClosed(CaseId),
    /// A file that describes the case, a session or the key does not read as such.
    #[error("{} is not usable: {why}", path.display())]
    BadFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The custody log is not what its signed checkpoint says.
    #[error("the custody log is broken at entry {index}: {why}")]
    CustodyBroken {
        /// The first entry that is wrong; where only the whole can be judged, the number of
        /// entries that the checkpoint covers.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// A session's item list is not what the custody log says.
    #[error("{} is broken at line {line}: {why}", path.display())]
    ItemsBroken {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A blob of that name has another length than the bytes that were just hashed.
    #[error("the stored blob {sha256} has {found_bytes} bytes instead of {expected_bytes}")]
    BlobBroken {
        /// The blob.
        sha256: Sha256Digest,
        /// Bytes that it should have.
        expected_bytes: u64,
        /// Bytes that it has.
        found_bytes: u64,
    },
    /// The agent's digest is not that of the bytes that arrived; the item was discarded.
    #[error("the bytes received hash to {computed}, the seal says {claimed}")]
    DigestMismatch {
        /// What the seal says.
        claimed: Sha256Digest,
        /// What the store computed.
        computed: Sha256Digest,
    },
    /// The agent's length is not that of the bytes that arrived; the item was discarded.
    #[error("{computed} bytes were received, the seal says {claimed}")]
    LengthMismatch {
        /// What the seal says, in bytes.
        claimed: u64,
        /// What arrived, in bytes.
        computed: u64,
    },
    /// A call came out of order.
    #[error("out of order: {what} (expected {expected}, got {got})")]
    OutOfOrder {
        /// What was wrong.
        what: &'static str,
        /// The number that would have been right.
        expected: u64,
        /// The number that came.
        got: u64,
    },
    /// There is no partial item with this source, name, offset and prefix digest: begin it anew.
    #[error("nothing to resume: {0}")]
    ResumeMismatch(&'static str),
    /// Something from the wire is beyond its bound.
    #[error("{what} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The bound in bytes (or in pieces, for a count).
        limit_bytes: u64,
    },
    /// The session was opened again elsewhere; this handle is void.
    #[error("the session was taken over by a newer connection")]
    TakenOver,
    /// An earlier call on this handle failed; what was not durable is dropped. Open the session
    /// again.
    #[error("the session must be opened again after an earlier failure")]
    SessionBroken,
    /// An earlier failure left the state of the files uncertain. Open the case again: recovery
    /// decides.
    #[error("the case must be opened again after an earlier failure")]
    CasePoisoned,
}

/// Adds what was tried, and where, to the system's error.
pub(crate) trait Context<T> {
    fn context(self, doing: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, doing: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::NoSpace { path: path.to_owned() }
            }
            _ => StoreError::Io { doing, path: path.to_owned(), source },
        })
    }
}

impl<T> Context<T> for nix::Result<T> {
    fn context(self, doing: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(io::Error::from).context(doing, path)
    }
}

pub(crate) fn bad_file(path: &Path, why: impl ToString) -> StoreError {
    StoreError::BadFile { path: path.to_owned(), why: why.to_string() }
}

//! What can go wrong while a bundle is written. Each text names the object and what to do; the
//! edge prints the chain.

use cleanroom_evidence::Sha256Digest;
use std::{io, path::PathBuf};

/// Why a bundle was not written. Nothing half-written is left behind.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The store refused or failed.
    #[error("the case could not be read")]
    Store(#[from] cleanroom_store::StoreError),
    /// There is something at the path already.
    #[error("{} exists already: give another path, a bundle is never replaced", .0.display())]
    Exists(PathBuf),
    /// The disk answered with an error.
    #[error("cannot {doing} {}", path.display())]
    Disk {
        /// What was tried.
        doing: &'static str,
        /// On which path.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The bundle could not be written on.
    #[error("cannot write the bundle: free space where it goes, then export again")]
    Write(#[from] io::Error),
    /// A stored blob is not what its seal says.
    #[error("the stored blob {sha256} {why}: restore the case from a copy, then export again")]
    Blob {
        /// Its name in the store.
        sha256: Sha256Digest,
        /// What is wrong.
        why: String,
    },
    /// Something does not fit the bundle's format.
    #[error("{what} cannot go into a bundle: {why}")]
    Format {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
}

impl BundleError {
    /// A disk error with what was tried.
    pub(crate) fn disk(doing: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        Self::Disk { doing, path: path.to_owned(), source }
    }
}

impl From<serde_json::Error> for BundleError {
    fn from(error: serde_json::Error) -> Self {
        Self::Write(error.into())
    }
}

//! Verifies a bundle with nothing but the bundle: no store, no network, no clock. One pass over a
//! tar or a folder, in memory that grows with the number of files and items, never with their
//! size. Stricter than BagIt: nothing unlisted, one order, one form of every byte.

mod checker;
mod error;
mod input;
mod items;
mod log;
mod walk;

pub use error::VerifyError;

use crate::{bag::path::is_safe, tar::read::TarReader};
use checker::Checker;
use cleanroom_evidence::{CaseId, Sha256Digest, Timestamp};
use error::form;
use std::{
    fs::{self, File},
    io::BufReader,
    path::Path,
};

/// What to hold a bundle against beside itself.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// The key that must have signed it: a verifier key (`name+hash+key`, as `custody/key.pub` has
    /// it) or its fingerprint (SHA-256 of the SubjectPublicKeyInfo, 64 hexadecimal digits).
    /// Without it the bundle is only shown to be consistent with the key inside it.
    pub expected_key: Option<String>,
}

/// A bundle that holds, and what it says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The case.
    pub case: CaseId,
    /// Sessions in it.
    pub sessions: u64,
    /// Items in it, each found in the custody log.
    pub items: u64,
    /// Bytes of those items.
    pub item_bytes: u64,
    /// Files of the payload.
    pub files: u64,
    /// Bytes of the payload.
    pub bytes: u64,
    /// Entries of the custody log.
    pub custody_entries: u64,
    /// Root of the custody log.
    pub custody_root: Sha256Digest,
    /// The key that signed, as a verifier key.
    pub key: String,
    /// Its fingerprint: SHA-256 of its SubjectPublicKeyInfo.
    pub key_fingerprint: Sha256Digest,
    /// True when the caller named that key beforehand.
    pub key_was_expected: bool,
    /// When the bundle was exported, by the collector's clock.
    pub exported: Timestamp,
}

/// Verifies the bundle at `path`, a tar or a folder. The error is the first thing wrong.
pub fn verify(path: &Path, options: &VerifyOptions) -> Result<Verified, VerifyError> {
    let unreadable = |source| VerifyError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(unreadable)?.is_dir() {
        return walk::verify_folder(path, options);
    }
    let file = File::open(path).map_err(unreadable)?;
    verify_tar(BufReader::with_capacity(1 << 20, file), options)
}

/// Verifies a bundle's tar from a reader.
fn verify_tar(input: impl std::io::Read, options: &VerifyOptions) -> Result<Verified, VerifyError> {
    let mut tar = TarReader::new(input);
    let mut checker = Checker::default();
    let mut folder: Option<String> = None;
    let mut time = 0;
    while let Some(head) = tar.next()? {
        let outside = || VerifyError::Foreign {
            path: head.name.escape_default().to_string(),
            why: "every member lies in one folder named after the case, under a plain name",
        };
        let (first, path) = head.name.split_once('/').ok_or_else(outside)?;
        if !is_safe(path) || !is_safe(first) || folder.get_or_insert(first.to_owned()) != first {
            return Err(outside());
        }
        time = head.mtime;
        tar.content(&head, |input| checker.file(path, input))??;
    }
    let verified = checker.finish(options)?;
    if folder.as_deref() != Some(verified.case.as_str()) {
        return Err(form("the tar's folder", "it is not named after the case"));
    }
    if verified.exported != Timestamp::new(time, 0) {
        return Err(form("the tar's headers", "their time is not the export time of bag-info.txt"));
    }
    Ok(verified)
}

#[cfg(test)]
mod tests;

//! Content-addressed blobs: `blobs/sha256/<first two digits>/<digest>`.
//!
//! A blob gets its name only after its bytes are durable, and no blob is ever overwritten.

use crate::{
    disk,
    error::{Context, StoreError},
};
use cleanroom_evidence::Sha256Digest;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Where a case keeps its blobs.
pub(crate) fn root(case_dir: &Path) -> PathBuf {
    case_dir.join("blobs").join("sha256")
}

/// Where a blob is, or would be.
pub(crate) fn path(case_dir: &Path, sha256: &Sha256Digest) -> PathBuf {
    let hex = sha256.to_string();
    root(case_dir).join(hex.get(..2).unwrap_or_default()).join(hex)
}

/// True when the blob is there; an error when it is there with another length.
pub(crate) fn holds(
    case_dir: &Path,
    sha256: &Sha256Digest,
    expected_bytes: u64,
) -> Result<bool, StoreError> {
    let path = path(case_dir, sha256);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_file() && found.len() == expected_bytes => Ok(true),
        Ok(found) => Err(StoreError::BlobBroken {
            sha256: *sha256,
            expected_bytes,
            found_bytes: found.len(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("stat", &path),
    }
}

/// Bytes that wait for their name; `file` is none where the blob was there already.
pub(crate) struct Unpublished {
    pub(crate) file: Option<PathBuf>,
    pub(crate) sha256: Sha256Digest,
    pub(crate) length: u64,
}

/// Publishes a batch: syncs the files, names them, syncs the folders. Gives the bytes that were
/// held already. When it returns, every one of these blobs is durable under its name.
pub(crate) fn publish<'a>(
    case_dir: &Path,
    batch: impl Iterator<Item = &'a Unpublished> + Clone,
) -> Result<u64, StoreError> {
    // All changes of metadata come before the first sync: a journalling file system then writes
    // its journal once for the batch, not once a file.
    let (mut dirs, mut held) = (BTreeSet::new(), 0);
    for blob in batch.clone() {
        if let Some(path) = &blob.file {
            let file = File::open(path).context("open", path)?;
            disk::make_read_only(&file, path)?;
        }
        let to = path(case_dir, &blob.sha256);
        let dir = to.parent().unwrap_or(case_dir).to_owned();
        if dirs.insert(dir.clone()) {
            disk::make_dir(&dir)?;
        }
    }
    for path in batch.clone().filter_map(|blob| blob.file.as_ref()) {
        File::open(path).and_then(|file| file.sync_all()).context("sync", path)?;
    }
    // Also where nothing was made here: another session may have made the folder just now.
    disk::sync_dir(&root(case_dir))?;
    for blob in batch {
        let to = path(case_dir, &blob.sha256);
        let published = match &blob.file {
            Some(from) => disk::publish(from, &to)?,
            None => false,
        };
        if !published {
            if !holds(case_dir, &blob.sha256, blob.length)? {
                return Err(io::Error::from(io::ErrorKind::NotFound)).context("find", &to);
            }
            if let Some(from) = &blob.file {
                disk::remove(from)?;
            }
            held += blob.length;
        }
    }
    // Also where the blob was there: another session may not have synced its folder yet.
    dirs.iter().try_for_each(|dir| disk::sync_dir(dir))?;
    Ok(held)
}

/// Bytes of all blobs.
pub(crate) fn total_bytes(case_dir: &Path) -> Result<u64, StoreError> {
    let root = root(case_dir);
    let mut total = 0u64;
    for dir in fs::read_dir(&root).context("list", &root)? {
        let dir = dir.context("list", &root)?.path();
        for blob in fs::read_dir(&dir).context("list", &dir)? {
            let meta = blob.and_then(|blob| blob.metadata()).context("list", &dir)?;
            total = total.saturating_add(meta.len());
        }
    }
    Ok(total)
}

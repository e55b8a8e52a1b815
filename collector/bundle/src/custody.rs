//! The custody folder of a bundle: the log as lines and as tiles, its signed head, the key, and the
//! signature over the bundle.

use crate::{
    BundleError,
    bag::path::TAG_MANIFEST,
    dsse::{self, Statement},
    out::{Output, beside, private_folder},
};
use cleanroom_evidence::{CaseId, Sha256Digest};
use cleanroom_store::{
    Custody, Signer,
    custody::{VerifierKey, write_tiles},
};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The signature over the bundle.
pub const DSSE: &str = "custody/bundle.dsse.json";
/// The signed head of the log.
pub const CHECKPOINT: &str = "custody/checkpoint";
/// The key as PEM SubjectPublicKeyInfo.
pub const KEY_PEM: &str = "custody/key.pem";
/// The key as a note verifier key.
pub const KEY_PUB: &str = "custody/key.pub";
/// The log, one entry a line.
pub const LOG: &str = "custody/log.jsonl";
/// The folder of the tiles.
pub const TILES: &str = "custody/tile/";

/// Writes the folder, in the bundle's order.
pub fn write(
    out: &mut Output,
    target: &Path,
    custody: &Custody,
    signer: &Signer,
    case: &CaseId,
    tag_manifest: Sha256Digest,
) -> Result<(), BundleError> {
    let head = Sha256Digest::of(custody.checkpoint.as_bytes());
    let statement = Statement::new(case, &[(TAG_MANIFEST, tag_manifest), (CHECKPOINT, head)]);
    let key: VerifierKey = custody.vkey.parse().map_err(|why| BundleError::Format {
        what: "the custody key".to_owned(),
        why: format!("{why}"),
    })?;
    if key.public_key != signer.public_key() {
        return Err(BundleError::Format {
            what: "the custody log".to_owned(),
            why: "its key is not the key that signs bundles".to_owned(),
        });
    }
    let vkey = format!("{key}\n");
    for (path, bytes) in [
        (DSSE, dsse::envelope(&statement, signer)?),
        (CHECKPOINT, custody.checkpoint.clone().into_bytes()),
        (KEY_PEM, custody.key_pem.clone().into_bytes()),
        (KEY_PUB, vkey.into_bytes()),
    ] {
        out.member(path, &mut |to| Ok(to.write_all(&bytes)?))?;
    }
    out.member(LOG, &mut |to| {
        for entry in custody.entries()? {
            to.write_all(&entry?)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    })?;
    tiles(out, target, custody)
}

/// Tiles fill at different times and are written sorted, so they wait in a folder beside the
/// bundle: they are as large as the log.
fn tiles(out: &mut Output, target: &Path, custody: &Custody) -> Result<(), BundleError> {
    let waiting = Waiting(beside(target, "tiles")?);
    private_folder(&waiting.0).map_err(|error| BundleError::disk("make", &waiting.0, error))?;
    let mut paths = Vec::new();
    for path in write_tiles(&waiting.0, custody.entries()?)? {
        let name = path.strip_prefix(&waiting.0).ok().and_then(Path::to_str);
        let name = name.map(|name| format!("custody/{name}"));
        paths.push((name.unwrap_or_default(), path));
    }
    paths.sort();
    for (name, path) in paths {
        out.member(&name, &mut |mut to| {
            let failed = |error| BundleError::disk("read", &path, error);
            let mut tile = File::open(&path).map_err(failed)?;
            io::copy(&mut tile, &mut to)?;
            Ok(())
        })?;
    }
    Ok(())
}

struct Waiting(PathBuf);

impl Drop for Waiting {
    fn drop(&mut self) {
        // A leftover is hidden and holds nothing that is not in the store.
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! Exports a case's bundle with the certificates of its transport.

use crate::{enrol::Enrolment, failure::Failure, setup};
use cleanroom_bundle::{Exported, Options};
use cleanroom_store::Case;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Writes the bundle; where no place is asked for, into the case's own folder.
pub fn export(
    store_root: &Path,
    case: &Case,
    out: Option<&Path>,
    folder: bool,
) -> Result<Exported, Failure> {
    let id = &case.reader().info().id;
    let target = match out {
        Some(path) => path.to_owned(),
        None => {
            let dir = case.reader().bundles_dir();
            fs::create_dir_all(&dir)?;
            free_name(&dir, id.as_str(), if folder { "" } else { ".tar" })
        }
    };
    let mut certificates = Vec::new();
    for name in ["ca.pem", "collector.pem"] {
        if let Ok(pem) = fs::read(store_root.join(setup::KEYS).join(name)) {
            certificates.push((name.to_owned(), pem));
        }
    }
    for (digest, enrolled) in Enrolment::open(store_root)?.issued_for(id)? {
        let short: String = digest.to_string().chars().take(8).collect();
        certificates.push((format!("{}-{short}.pem", enrolled.host), enrolled.pem.into_bytes()));
    }
    let options =
        Options { actor: setup::actor(), certificates, folder, organization: String::new() };
    Ok(cleanroom_bundle::export(case, &target, &options)?)
}

/// `<name>.tar`, or `<name>-2.tar` and so on: a bundle is never overwritten.
fn free_name(dir: &Path, name: &str, ending: &str) -> PathBuf {
    let plain = dir.join(format!("{name}{ending}"));
    let numbered = (2..u32::MAX).map(|n| dir.join(format!("{name}-{n}{ending}")));
    std::iter::once(plain.clone()).chain(numbered).find(|path| !path.exists()).unwrap_or(plain)
}

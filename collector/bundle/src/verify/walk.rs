//! A bundle that lies as a folder: every file in it, in the bundle's order, and nothing else.
//! Links and special files are refused, never followed.

use super::{Verified, VerifyError, VerifyOptions, checker::Checker};
use crate::bag::path::{is_safe, order};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

/// Deepest folder: a bundle's own need ten.
const DEPTH: usize = 16;

pub(super) fn verify_folder(root: &Path, options: &VerifyOptions) -> Result<Verified, VerifyError> {
    let mut files = Vec::new();
    list(root, "", 0, &mut files)?;
    files.sort_by(|a, b| order(a, b));
    let mut checker = Checker::default();
    for name in files {
        let path = root.join(&name);
        let mut file = File::open(&path).map_err(|source| unreadable(&path, source))?;
        checker.file(&name, &mut file)?;
    }
    checker.finish(options)
}

fn unreadable(path: &Path, source: std::io::Error) -> VerifyError {
    VerifyError::Read { path: PathBuf::from(path), source }
}

fn list(
    root: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<String>,
) -> Result<(), VerifyError> {
    let folder = root.join(prefix);
    let mut empty = true;
    for entry in fs::read_dir(&folder).map_err(|source| unreadable(&folder, source))? {
        let entry = entry.map_err(|source| unreadable(&folder, source))?;
        empty = false;
        let raw = entry.file_name();
        let foreign = |why| VerifyError::Foreign {
            path: format!("{prefix}{}", raw.to_string_lossy().escape_debug()),
            why,
        };
        let name = raw.to_str().map(|name| format!("{prefix}{name}"));
        let name = name.filter(|name| is_safe(name) && depth < DEPTH);
        let Some(name) = name else {
            return Err(foreign("no file of a bundle has such a name"));
        };
        let kind = entry.file_type().map_err(|source| unreadable(&entry.path(), source))?;
        if kind.is_dir() {
            list(root, &format!("{name}/"), depth + 1, files)?;
        } else if kind.is_file() {
            files.push(name);
        } else {
            return Err(foreign("it is neither a file nor a folder"));
        }
    }
    if empty && depth > 0 {
        return Err(VerifyError::Foreign { path: prefix.to_owned(), why: "it is an empty folder" });
    }
    Ok(())
}

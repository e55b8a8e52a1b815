//! The file or folder that a bundle becomes: written under a temporary name beside it, synced, and
//! given its name only when it is whole. Never overwrites; on any error nothing is left.

use crate::{BundleError, bag::path::is_safe, tar::write::TarWriter};
use cleanroom_evidence::{Hasher, Sha256Digest};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Bytes gathered before they are written.
const BUFFER: usize = 1024 * 1024;

/// Digest and size of what was written.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// SHA-256.
    pub sha256: Sha256Digest,
    /// Bytes.
    pub bytes: u64,
}

enum Form {
    Tar(TarWriter<BufWriter<File>>),
    Folder,
}

/// A bundle being written.
pub struct Output {
    form: Option<Form>,
    prefix: String,
    target: PathBuf,
    temporary: PathBuf,
    finished: bool,
}

impl Output {
    /// Begins a bundle at `target`; `prefix` is the folder inside the tar, `mtime` the time of its
    /// members.
    pub fn begin(
        target: &Path,
        folder: bool,
        prefix: &str,
        mtime: i64,
    ) -> Result<Self, BundleError> {
        if fs::symlink_metadata(target).is_ok() {
            return Err(BundleError::Exists(target.to_owned()));
        }
        let mut output = Self {
            form: None,
            prefix: prefix.to_owned(),
            target: target.to_owned(),
            temporary: beside(target, "partial")?,
            finished: false,
        };
        let at = output.temporary.clone();
        let made = |error| BundleError::disk("make", &at, error);
        output.form = Some(if folder {
            private_folder(&at).map_err(made)?;
            Form::Folder
        } else {
            let file = private_file(&at).map_err(made)?;
            Form::Tar(TarWriter::new(BufWriter::with_capacity(BUFFER, file), mtime))
        });
        Ok(output)
    }

    /// Writes one member with whatever `content` writes. Paths come in the bundle's order.
    pub fn member(
        &mut self,
        path: &str,
        content: &mut dyn FnMut(&mut dyn Write) -> Result<(), BundleError>,
    ) -> Result<Written, BundleError> {
        if !is_safe(path) {
            return Err(BundleError::Format {
                what: path.to_owned(),
                why: "its path has characters or a length that bundles avoid".to_owned(),
            });
        }
        let mut hasher = Hasher::default();
        let mut bytes = 0u64;
        let mut hashing = |out: &mut dyn Write| {
            let mut tee = Tee { out, hasher: &mut hasher, bytes: &mut bytes };
            content(&mut tee)
        };
        match &mut self.form {
            Some(Form::Tar(tar)) => tar.member(&format!("{}/{path}", self.prefix), &mut hashing)?,
            _ => {
                let at = self.temporary.join(path);
                if let Some(parent) = at.parent() {
                    folders(&self.temporary, parent)?;
                }
                let file =
                    private_file(&at).map_err(|error| BundleError::disk("make", &at, error))?;
                let mut out = BufWriter::with_capacity(BUFFER, file);
                hashing(&mut out)?;
                let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.sync_all()?;
            }
        }
        Ok(Written { sha256: hasher.finish(), bytes })
    }

    /// Makes the bundle durable and gives it its name.
    pub fn finish(mut self) -> Result<(), BundleError> {
        if let Some(Form::Tar(tar)) = self.form.take() {
            let out = tar.finish()?;
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
        } else {
            sync_folders(&self.temporary)?;
        }
        publish(&self.temporary, &self.target)?;
        self.finished = true;
        let parent = parent(&self.target);
        sync(parent).map_err(|error| BundleError::disk("sync", parent, error))
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.finished {
            // What failed was reported already; a leftover here is hidden and says "partial".
            self.form = None;
            let _ = fs::remove_file(&self.temporary);
            let _ = fs::remove_dir_all(&self.temporary);
        }
    }
}

/// A hidden name beside `target` that no other export uses.
pub fn beside(target: &Path, ending: &str) -> Result<PathBuf, BundleError> {
    let Some(name) = target.file_name() else {
        return Err(BundleError::Format {
            what: target.display().to_string(),
            why: "it names no file".to_owned(),
        });
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.{ending}", std::process::id()));
    Ok(target.with_file_name(hidden))
}

/// A new folder that only the owner enters.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn folders(root: &Path, folder: &Path) -> Result<(), BundleError> {
    if folder == root || folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        folders(root, parent)?;
    }
    private_folder(folder).map_err(|error| BundleError::disk("make", folder, error))
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn sync_folders(folder: &Path) -> Result<(), BundleError> {
    let failed = |error| BundleError::disk("sync", folder, error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync(folder).map_err(failed)
}

fn parent(path: &Path) -> &Path {
    let parent = path.parent().unwrap_or(Path::new("."));
    if parent.as_os_str().is_empty() { Path::new(".") } else { parent }
}

/// Renames without replacing (renameat2(2)). Some file systems cannot; there the check and the
/// rename are two steps.
fn publish(from: &Path, to: &Path) -> Result<(), BundleError> {
    use nix::errno::Errno;
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::EEXIST) => Err(BundleError::Exists(to.to_owned())),
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::ENOTSUP) => {
            if fs::symlink_metadata(to).is_ok() {
                return Err(BundleError::Exists(to.to_owned()));
            }
            fs::rename(from, to).map_err(|error| BundleError::disk("rename to", to, error))
        }
        Err(error) => Err(BundleError::disk("rename to", to, error.into())),
    }
}

struct Tee<'a> {
    out: &'a mut dyn Write,
    hasher: &'a mut Hasher,
    bytes: &'a mut u64,
}

impl Write for Tee<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        *self.bytes += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

//! What the responder asked for, as the sources see it.

use std::{path::PathBuf, time::Duration};

/// Settings of one run; a profile sets them, the command line may change them.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long live captures (DNS) run; `None`: not at all.
    pub watch: Option<Duration>,
    /// Block devices or image files to hash whole; empty: the inventory only.
    pub volumes: Vec<PathBuf>,
    /// Further files to collect whole, as absolute paths inside the root.
    pub files: Vec<Vec<u8>>,
    /// Largest file that a source (other than `files`) takes whole, in bytes; of a larger one the
    /// first so many bytes are taken and the item says so.
    pub max_file_bytes: u64,
    /// SHA-256 of the executables of running processes.
    pub hash_executables: bool,
    /// Ask the instance metadata service (IMDSv2 only).
    pub imds: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            watch: None,
            volumes: Vec::new(),
            files: Vec::new(),
            max_file_bytes: 64 * 1024 * 1024,
            hash_executables: true,
            imds: true,
        }
    }
}

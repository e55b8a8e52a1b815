//! An item: one named run of bytes with the facts about where it came from.

use crate::{Clock, RawBytes, Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What kind of bytes an item holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ItemKind {
    /// A file of the host as it lies there; `name` is its absolute path inside the root.
    File,
    /// JSON lines that the agent made; `name` is the record set, e.g. `processes`. One set may
    /// come in several parts: they follow each other in sequence order.
    Records,
    /// Other raw bytes (an IMDS answer, a decoded user-data part); `name` says which.
    Raw,
}

/// What a path is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A regular file.
    #[default]
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link; the item has no bytes, `link_target` holds where it points.
    Symlink,
    /// A named pipe: never opened.
    Fifo,
    /// A socket: never opened.
    Socket,
    /// A block device.
    Block,
    /// A character device: never opened.
    Char,
}

/// The facts about a path that `statx` gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMeta {
    /// What the path is.
    pub kind: FileKind,
    /// Permission bits with setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes when it was opened.
    pub size_bytes: u64,
    /// Number of hard links.
    pub links: u64,
    /// Inode.
    pub inode: u64,
    /// Device that holds the file, as `major:minor`.
    pub device: String,
    /// Last access.
    pub accessed: Timestamp,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last change of the inode.
    pub changed: Timestamp,
    /// Birth, where the file system keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<Timestamp>,
    /// Where a symbolic link points, uninterpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_target: Option<RawBytes>,
}

/// What an item is, sent before its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemHeader {
    /// The source that gave it, e.g. `crontabs`.
    pub source: String,
    /// What kind of bytes follow.
    pub kind: ItemKind,
    /// Path, record set or other name; raw bytes, never used as a path by the collector.
    pub name: RawBytes,
    /// The path's metadata, for a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileMeta>,
    /// The host's clocks when the read began.
    pub read_at: Clock,
    /// Short facts that the source adds, e.g. `place` = `cron.d`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// How the read of one item ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", content = "why", rename_all = "lowercase")]
pub enum ItemStatus {
    /// All bytes are there.
    Whole,
    /// The bytes stop early or could not be read, and why (a read error, a declared limit, …).
    Partial(String),
}

/// The end of an item: the digest always covers all of its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    /// SHA-256 of all bytes of the item.
    pub sha256: Sha256Digest,
    /// How many bytes.
    pub length_bytes: u64,
    /// Whole, or partial and why.
    pub status: ItemStatus,
    /// The host's clocks when the read ended.
    pub read_end: Clock,
}

/// The bounds of the wire that both sides keep. The collector refuses what goes beyond.
pub struct Limits;

impl Limits {
    /// Bytes of one chunk at most.
    pub const CHUNK_BYTES: usize = 256 * 1024;
    /// Bytes of an item's name at most (PATH_MAX is 4,096; record names are short).
    pub const NAME_BYTES: usize = 8 * 1024;
    /// Labels of an item at most, and bytes of each.
    pub const LABELS: usize = 32;
    /// Bytes of one label's value at most.
    pub const LABEL_BYTES: usize = 4 * 1024;
    /// Bytes of a source name at most.
    pub const SOURCE_BYTES: usize = 64;
}

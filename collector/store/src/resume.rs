//! What a session tells its agent: where to go on, and what may be acknowledged.
//!
//! Plain values; nothing here touches the disk.

use cleanroom_evidence::{ItemHeader, Sha256Digest};

/// Where an agent goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The last durable entry; 0 for none. Entries are numbered from 1.
    pub durable_seq: u64,
    /// An item of which a prefix is durable.
    pub partial: Option<PartialItem>,
    /// Sources whose end is durable.
    pub finished_sources: Vec<String>,
}

/// A durable prefix of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialItem {
    /// The entry's number, as the incarnation that sent it counted.
    pub seq: u64,
    /// The incarnation that sent it.
    pub incarnation: String,
    /// What it is.
    pub header: ItemHeader,
    /// Bytes held.
    pub offset: u64,
    /// Their SHA-256.
    pub sha256_so_far: Sha256Digest,
}

/// What may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    /// All entries up to this one are durable.
    pub seq: u64,
    /// Of this entry, still arriving, so many bytes are durable. Only for items from 1 MiB on.
    pub partial: Option<(u64, u64)>,
}

//! One item as the bundle sees it: what was sent, how it was sealed, where its bytes come to lie.

use cleanroom_evidence::{HostId, ItemHeader, RawBytes, Seal, SessionId, Sha256Digest};
use cleanroom_store::Resumed;
use serde::{Deserialize, Serialize};

/// A sealed item of one session.
pub type Item = cleanroom_store::StoredItem;

/// Where an item's bytes are in the bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file in the bundle; absent for an item without bytes of its own (a link, a pipe, a file
    /// that could not be opened).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle_path: Option<String>,
    /// Where in that file its bytes begin, for a part of a record set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_bytes: Option<u64>,
    /// The member of that tar that holds its bytes or stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tar_member: Option<RawBytes>,
}

/// One line of `items.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemLine {
    /// Its number in the session.
    pub seq: u64,
    /// The run of the agent that sealed it.
    pub incarnation: String,
    /// The entry of the custody log that says when it was received.
    pub custody_index: u64,
    /// What it is.
    pub header: ItemHeader,
    /// Its digest, length and status.
    pub seal: Seal,
    /// Present where a killed agent's later run went on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
    /// Where its bytes are.
    #[serde(flatten)]
    pub place: Place,
}

impl ItemLine {
    /// The line of an item that lies there.
    pub fn new(item: &Item, place: &Place) -> Self {
        Self {
            seq: item.seq,
            incarnation: item.incarnation.clone(),
            custody_index: item.custody_index,
            header: item.header.clone(),
            seal: item.seal.clone(),
            resumed: item.resumed.clone(),
            place: place.clone(),
        }
    }
}

/// What an item and its custody entry must agree on, as one digest.
pub fn identity(
    host: &HostId,
    session: &SessionId,
    seq: u64,
    sha256: &Sha256Digest,
) -> Sha256Digest {
    Sha256Digest::of(format!("{host}/{session}/{seq}/{sha256}").as_bytes())
}

#[cfg(test)]
pub(crate) mod test {
    use super::*;
    use cleanroom_evidence::{Clock, FileKind, FileMeta, ItemKind, ItemStatus, Timestamp};

    /// A file item for tests.
    pub fn file(seq: u64, path: &[u8], kind: FileKind, bytes: &[u8]) -> Item {
        let meta = FileMeta {
            kind,
            mode: 0o640,
            uid: 1000,
            gid: 50,
            size_bytes: bytes.len() as u64,
            modified: Timestamp::new(1_600_000_000, 5),
            ..FileMeta::default()
        };
        item(seq, ItemKind::File, path, Some(meta), bytes)
    }

    /// An item for tests.
    pub fn item(
        seq: u64,
        kind: ItemKind,
        name: &[u8],
        file: Option<FileMeta>,
        bytes: &[u8],
    ) -> Item {
        Item {
            seq,
            incarnation: "r1".into(),
            resumed: None,
            custody_index: 0,
            header: ItemHeader {
                source: "test".into(),
                kind,
                name: name.into(),
                file,
                read_at: Clock::default(),
                labels: Default::default(),
            },
            seal: Seal {
                sha256: Sha256Digest::of(bytes),
                length_bytes: bytes.len() as u64,
                status: ItemStatus::Whole,
                read_end: Clock::default(),
            },
        }
    }
}

//! One entry message of a session in domain terms.

use bytes::Bytes;
use cleanroom_evidence::{ItemHeader, Seal, Sha256Digest, SourceOutcome};

/// A message that carries evidence, with the number of the entry that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The entry, counted from 1 in a session.
    pub seq: u64,
    /// What it says.
    pub body: FrameBody,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq)]
pub enum FrameBody {
    /// An item begins.
    Begin {
        /// What it is.
        header: Box<ItemHeader>,
        /// Bytes that a killed agent had already sent, and their digest.
        resume: Option<(u64, Sha256Digest)>,
    },
    /// Bytes of the open item.
    Chunk {
        /// Where they stand in the item.
        offset: u64,
        /// The bytes.
        data: Bytes,
    },
    /// The item ends.
    Seal(Box<Seal>),
    /// A source ends.
    SourceEnd(Box<SourceOutcome>),
    /// A fact about the run.
    Note {
        /// What it is about.
        kind: String,
        /// A JSON object.
        json: Bytes,
    },
}

impl Frame {
    /// Memory that the frame holds, roughly, in bytes.
    pub fn weight(&self) -> usize {
        let content = match &self.body {
            FrameBody::Chunk { data, .. } => data.len(),
            FrameBody::Note { json, .. } => json.len(),
            FrameBody::Begin { header, .. } => header.name.0.len(),
            FrameBody::Seal(_) | FrameBody::SourceEnd(_) => 0,
        };
        content + 512
    }
}

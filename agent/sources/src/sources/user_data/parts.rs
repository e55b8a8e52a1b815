//! User data texts to parts: each part a raw item at once, its record at the end.

use crate::{
    Emitter, SinkClosed,
    userdata::{Bounds, decode, types::PartKind},
};
use cleanroom_evidence::{RawBytes, Sha256Digest};
use serde::Serialize;

/// Texts taken apart in one run at most: a host has a few, one per instance id.
const MAX_TEXTS: usize = 128;
/// Parts of all texts at most.
const MAX_PARTS: usize = 5000;
/// Bytes of all decoded parts at most.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of one text that are taken apart; EC2 takes 16 KiB, other clouds some MiB at most.
pub(super) const TEXT_BYTES: usize = 4 * 1024 * 1024;

/// The parts of the run so far.
#[derive(Default)]
pub(super) struct Parts {
    records: Vec<PartRecord>,
    texts: usize,
    bytes: u64,
}

#[derive(Serialize)]
struct PartRecord {
    path: RawBytes,
    part: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<RawBytes>,
    /// The media type by which cloud-init handles the part.
    handled_as: RawBytes,
    #[serde(rename = "type")]
    kind: PartKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    filename: Option<RawBytes>,
    encodings: Vec<&'static str>,
    size_bytes: u64,
    sha256: Sha256Digest,
    item_name: RawBytes,
    notes: Vec<String>,
    urls: Vec<RawBytes>,
    urls_total: u64,
}

impl Parts {
    /// How many texts were taken apart.
    pub(super) fn texts(&self) -> usize {
        self.texts
    }

    /// Takes one text apart and emits its parts. `cut` says that the text goes on beyond these
    /// bytes. True where some part stands for others (an include, an archive), so that what
    /// cloud-init made of it is worth a look.
    pub(super) fn add(
        &mut self,
        path: &[u8],
        bytes: &[u8],
        cut: bool,
        out: &mut Emitter<'_>,
    ) -> Result<bool, SinkClosed> {
        let room = MAX_BYTES.saturating_sub(self.bytes);
        let more = MAX_PARTS.saturating_sub(self.records.len());
        if self.texts >= MAX_TEXTS || room < bytes.len() as u64 || more == 0 {
            out.gap("decode", path, "too much user data: this text was not taken apart");
            return Ok(false);
        }
        self.texts += 1;
        let defaults = Bounds::default();
        let left = usize::try_from(room).unwrap_or(usize::MAX);
        let bounds = Bounds {
            output_bytes: defaults.output_bytes.min(left),
            parts: defaults.parts.min(more),
            ..defaults
        };
        let (records, mut stands_for_others) = (&mut self.records, false);
        let summary = decode(bytes, &bounds, |part| {
            let item_name = [b"user-data/", path, b"#", part.id.as_bytes()].concat();
            let labels = [("sensitive", "true"), ("part", part.id)];
            let sha256 = out.raw(&item_name, &labels, &part.bytes)?;
            stands_for_others |= matches!(part.kind, PartKind::IncludeUrl | PartKind::Archive);
            let mut notes = part.notes;
            if cut {
                notes.push(format!("only the first {} bytes were taken apart", bytes.len()));
            }
            records.push(PartRecord {
                path: path.into(),
                part: part.id.to_owned(),
                content_type: part.declared.map(RawBytes::from),
                handled_as: part.media_type.into(),
                kind: part.kind,
                filename: part.filename.map(RawBytes::from),
                encodings: part.encodings,
                size_bytes: part.bytes.len() as u64,
                sha256,
                item_name: item_name.into(),
                notes,
                urls: part.urls,
                urls_total: part.urls_total,
            });
            Ok(())
        })?;
        self.bytes += summary.part_bytes;
        if cut {
            let reason = format!("only the first {TEXT_BYTES} bytes were taken apart");
            out.gap("decode", path, &reason);
        }
        if summary.bounded {
            out.gap("decode", path, "beyond the bounds of decoding: see the notes of its parts");
        }
        Ok(stands_for_others)
    }

    /// The records of all parts.
    pub(super) fn emit_records(&self, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
        self.records.iter().try_for_each(|record| out.record("user-data-parts", record))
    }
}

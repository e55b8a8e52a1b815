//! User data as cloud-init takes it apart: outer base64 and gzip, MIME parts, their encodings,
//! and what each part is. Checked against cloud-init 22.4 (`user_data.py`, `handlers/`) on
//! Python 3.11, whose email package decides where a part begins and ends.
//!
//! Pure: it reads no file, fetches no `#include`, runs no template, loads no pickle. Where it
//! shows more than cloud-init would take, a note says so.

pub mod decode;
pub mod mime;
pub mod params;
pub mod types;

use crate::userdata::types::PartKind;
use cleanroom_evidence::RawBytes;
use std::{borrow::Cow, ops::Range};

/// How far cloud-init looks for `MIME-Version:` before it takes a text for MIME, in bytes.
const MIME_LOOK_BYTES: usize = 4096;
/// A gzip stream that grows more than so many times is worth a note.
const NOTABLE_RATIO: usize = 100;

/// What the decoding may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes that all gzip streams of one text may give together.
    pub output_bytes: usize,
    /// Parts at most.
    pub parts: usize,
    /// Containers inside each other at most.
    pub depth: usize,
    /// Encodings around the whole at most.
    pub layers: usize,
}

impl Default for Bounds {
    /// Far above what EC2 takes (16 KiB before decoding), far below what would burden a host.
    fn default() -> Self {
        Self { output_bytes: 8 * 1024 * 1024, parts: 1000, depth: 8, layers: 4 }
    }
}

/// One part, decoded.
#[derive(Clone, Debug)]
pub struct Part<'b> {
    /// Place in the tree, counted from 0: `1`, or `1.0` inside a nested multipart.
    pub id: &'b str,
    /// `Content-Type` as written; none where the text is no MIME message.
    pub declared: Option<&'b [u8]>,
    /// The media type by which cloud-init handles it.
    pub media_type: Vec<u8>,
    /// What that is.
    pub kind: PartKind,
    /// The file name that it asks for.
    pub filename: Option<&'b [u8]>,
    /// The encodings that were undone, the outermost first.
    pub encodings: Vec<&'static str>,
    /// The decoded bytes.
    pub bytes: Cow<'b, [u8]>,
    /// What is odd about it.
    pub notes: Vec<String>,
    /// URLs of an include; never fetched.
    pub urls: Vec<RawBytes>,
    /// How many URLs there are, also where the list was cut.
    pub urls_total: u64,
}

/// What the decoding of one text came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Parts given.
    pub parts: u64,
    /// Bytes of all decoded parts.
    pub part_bytes: u64,
    /// What is odd about the whole.
    pub notes: Vec<String>,
    /// True where a bound left something out.
    pub bounded: bool,
}

/// Takes user data apart and gives each part in its order. An empty text has no parts. The notes
/// about the whole are also on the first part.
pub fn decode<E>(
    bytes: &[u8],
    bounds: &Bounds,
    mut each: impl FnMut(Part<'_>) -> Result<(), E>,
) -> Result<Summary, E> {
    let mut work = Work { room: bounds.output_bytes, summary: Summary::default() };
    let (text, outer) = work.unwrap_layers(bytes, bounds.layers);
    let structure = work.structure(&text, bounds);
    for (at, leaf) in structure.leaves.iter().enumerate() {
        let payload = text.get(leaf.payload.clone()).unwrap_or_default();
        let mut part = work.part(leaf, payload, &outer);
        if at == 0 {
            part.notes = [work.summary.notes.as_slice(), &part.notes].concat();
        }
        work.summary.parts += 1;
        work.summary.part_bytes += part.bytes.len() as u64;
        each(part)?;
    }
    Ok(work.summary)
}

struct Work {
    /// Bytes that gzip streams may still give.
    room: usize,
    summary: Summary,
}

impl Work {
    fn note(&mut self, note: impl Into<String>) {
        self.summary.notes.push(note.into());
    }

    /// Undoes the encodings around the whole.
    fn unwrap_layers<'b>(
        &mut self,
        bytes: &'b [u8],
        layers: usize,
    ) -> (Cow<'b, [u8]>, Vec<&'static str>) {
        let (mut text, mut outer) = (Cow::Borrowed(bytes), Vec::new());
        loop {
            let (name, inner) = if decode::is_gzip(&text) {
                if outer.len() >= layers {
                    break;
                }
                let mut notes = Vec::new();
                let unpacked = self.unpack(&text, &mut notes);
                let failed = unpacked.is_none();
                self.summary.notes.append(&mut notes);
                if failed {
                    self.note("cloud-init takes the bytes as they are");
                    break;
                }
                ("gzip", unpacked.unwrap_or_default())
            } else {
                match decode::base64_whole(&text).filter(|inner| is_user_data(inner)) {
                    Some(inner) if outer.len() < layers => ("base64", inner),
                    _ => break,
                }
            };
            match (outer.as_slice(), name) {
                ([], "base64") => self.note(
                    "base64 around the whole: undone by Amazon Linux, and by cloud-init since 2023",
                ),
                ([], _) | (["base64"], "gzip") => {}
                _ => self.note(format!(
                    "{name} inside {}: cloud-init stops before it",
                    outer.join(" in ")
                )),
            }
            outer.push(name);
            text = Cow::Owned(inner);
        }
        if outer.len() >= layers && (decode::is_gzip(&text)) {
            self.summary.bounded = true;
            self.note(format!("more than {layers} encodings around it: the rest was left"));
        }
        (text, outer)
    }

    /// The parts of the text: of a MIME message, or the text as its only part.
    fn structure(&mut self, text: &[u8], bounds: &Bounds) -> mime::Structure {
        if has_mime_version(text) {
            if std::str::from_utf8(text).is_err() {
                self.note("not UTF-8: cloud-init refuses the whole message");
            }
            let structure = mime::parse(text, bounds.parts, bounds.depth);
            self.summary.bounded |= structure.bounded;
            self.summary.notes.extend(structure.notes.iter().cloned());
            return structure;
        }
        let lower = text.get(..64).unwrap_or(text).to_ascii_lowercase();
        if lower.trim_ascii_start().starts_with(b"content-type: multipart/") {
            self.note("multipart without MIME-Version: cloud-init does not take it apart");
        }
        let whole = mime::Leaf {
            id: "0".to_owned(),
            media_type: b"text/x-not-multipart".to_vec(),
            payload: Range { start: 0, end: text.len() },
            ..mime::Leaf::default()
        };
        mime::Structure {
            leaves: Vec::from_iter((!text.is_empty()).then_some(whole)),
            ..mime::Structure::default()
        }
    }

    fn part<'b>(
        &mut self,
        leaf: &'b mime::Leaf,
        payload: &'b [u8],
        outer: &[&'static str],
    ) -> Part<'b> {
        let (mut encodings, mut notes) = (outer.to_vec(), leaf.notes.clone());
        let mut bytes = transfer_decoded(leaf, payload, &mut encodings, &mut notes);
        let mut media_type = leaf.media_type.clone();
        if types::is_gzip_type(&media_type) {
            match self.unpack(&bytes, &mut notes) {
                Some(unpacked) => {
                    encodings.push("gzip");
                    if std::str::from_utf8(&unpacked).is_err() {
                        notes.push("not UTF-8 after gzip: cloud-init drops the part".to_owned());
                    }
                    bytes = Cow::Owned(unpacked);
                    media_type = b"text/plain".to_vec();
                }
                None => notes.push("cloud-init drops the part".to_owned()),
            }
        } else if decode::is_gzip(&bytes) {
            notes.push("a gzip stream that is not declared as one: left as it is".to_owned());
        }
        let media_type = types::effective(&media_type, &bytes);
        let kind = types::kind(&media_type);
        let (urls, urls_total) = match kind {
            PartKind::IncludeUrl => types::include_urls(&bytes),
            _ => (Vec::new(), 0),
        };
        notes.extend(kind_notes(kind, &media_type, &bytes));
        Part {
            id: &leaf.id,
            declared: leaf.declared.as_deref(),
            media_type,
            kind,
            filename: leaf.filename.as_deref(),
            encodings,
            bytes,
            notes,
            urls,
            urls_total,
        }
    }

    /// Unpacks gzip within what is left of the output; `None` and a note where it is damaged.
    fn unpack(&mut self, packed: &[u8], notes: &mut Vec<String>) -> Option<Vec<u8>> {
        let out = match decode::gunzip(packed, self.room) {
            Ok(out) => out,
            Err(why) => {
                notes.push(why);
                return None;
            }
        };
        self.room -= out.bytes.len().min(self.room);
        let ratio = out.bytes.len() / packed.len().max(1);
        if out.cut {
            self.summary.bounded = true;
            notes.push(format!(
                "gzip bomb: {} bytes give more than the bound; cut after {} bytes",
                packed.len(),
                out.bytes.len()
            ));
        } else if ratio > NOTABLE_RATIO {
            notes.push(format!("gzip ratio {ratio}:1"));
        }
        Some(out.bytes)
    }
}

/// Undoes the Content-Transfer-Encoding as `get_payload(decode=True)` does.
fn transfer_decoded<'b>(
    leaf: &mime::Leaf,
    payload: &'b [u8],
    encodings: &mut Vec<&'static str>,
    notes: &mut Vec<String>,
) -> Cow<'b, [u8]> {
    let (name, decoded) = match leaf.transfer_encoding.as_slice() {
        b"base64" => ("base64", decode::base64_mime(payload)),
        b"quoted-printable" => ("quoted-printable", Some(decode::quoted_printable(payload))),
        b"x-uuencode" | b"uuencode" | b"uue" | b"x-uue" => ("uuencode", decode::uudecode(payload)),
        other => {
            if !matches!(other, b"" | b"7bit" | b"8bit" | b"binary") {
                let name = cleanroom_evidence::printable(other.get(..64).unwrap_or(other));
                notes.push(format!("transfer encoding {name:?} is not one that cloud-init undoes"));
            }
            if !payload.is_ascii() && leaf.declared.is_some() {
                notes.push(
                    "bytes above 127 without a transfer encoding: cloud-init writes them otherwise"
                        .to_owned(),
                );
            }
            return Cow::Borrowed(payload);
        }
    };
    match decoded {
        Some(decoded) => {
            encodings.push(name);
            Cow::Owned(decoded)
        }
        None if name == "base64" => {
            notes.push("damaged base64: left as it is, without its line ends".to_owned());
            let kept = payload.iter().copied();
            Cow::Owned(kept.filter(|b| !b"\r\n".contains(b)).collect())
        }
        None => {
            notes.push(format!("damaged {name}: left as it is"));
            Cow::Borrowed(payload)
        }
    }
}

fn kind_notes(kind: PartKind, media_type: &[u8], bytes: &[u8]) -> Vec<String> {
    let mut notes = Vec::new();
    match kind {
        PartKind::Jinja => {
            let of = types::template_of(bytes).unwrap_or("nothing that cloud-init handles");
            notes.push(format!("template of {of}"));
        }
        PartKind::IncludeUrl if media_type == b"text/x-include-once-url" => {
            notes.push("fetched once, then from a cache".to_owned());
        }
        PartKind::XShellscript | PartKind::Boothook => {
            if let Some(when) = media_type.strip_prefix(b"text/x-shellscript-") {
                notes.push(format!("runs {}", String::from_utf8_lossy(when)));
            }
            let first = bytes.iter().position(|&b| b == b'\n').unwrap_or(0);
            if bytes.get(..first).is_some_and(|line| line.ends_with(b"\r")) {
                notes.push("CRLF lines: cloud-init writes the script with LF".to_owned());
            }
        }
        _ => {}
    }
    notes
}

fn has_mime_version(text: &[u8]) -> bool {
    let start = text.get(..MIME_LOOK_BYTES).unwrap_or(text);
    let wanted = b"mime-version:";
    start.windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted))
}

/// True where the bytes are something that cloud-init would act on; base64 that gives anything
/// else is just a text that happens to fit the alphabet.
fn is_user_data(bytes: &[u8]) -> bool {
    let base64_again = || decode::base64_whole(bytes.get(..256).unwrap_or(bytes));
    decode::is_gzip(bytes)
        || has_mime_version(bytes)
        || types::by_beginning(bytes).is_some()
        || base64_again().is_some_and(|inner| {
            decode::is_gzip(&inner)
                || has_mime_version(&inner)
                || types::by_beginning(&inner).is_some()
        })
}

#[cfg(test)]
mod tests;

//! Where the parts of a MIME message lie: the structure that Python's `email.feedparser` finds
//! (cloud-init runs on it), with its tolerance for unclosed boundaries and missing blank lines.
//!
//! It gives ranges of the input and decodes nothing. Depth and number of parts are bounded;
//! what lies beyond is named in a note.

use super::params::{MAX_VALUE_BYTES, essence, parameter};
use std::ops::Range;

/// A leaf of the message: one part that is not a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// Place in the tree, counted from 0: `1`, or `1.0` inside a nested multipart.
    pub id: String,
    /// `Content-Type` as written, if any.
    pub declared: Option<Vec<u8>>,
    /// The media type in lower case, with the default where there is none.
    pub media_type: Vec<u8>,
    /// `Content-Transfer-Encoding` in lower case, not trimmed (Python compares it as it stands).
    pub transfer_encoding: Vec<u8>,
    /// From `Content-Disposition: …; filename=`, or `Content-Type: …; name=`.
    pub filename: Option<Vec<u8>>,
    /// Where the encoded payload lies in the input.
    pub payload: Range<usize>,
    /// What is odd about it.
    pub notes: Vec<String>,
}

/// The leaves of a message in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    /// The leaves.
    pub leaves: Vec<Leaf>,
    /// What is odd about the whole.
    pub notes: Vec<String>,
    /// True where a bound left something out.
    pub bounded: bool,
}

/// The structure of the message. `max_parts` leaves at most, containers nested `max_depth` deep.
pub fn parse(bytes: &[u8], max_parts: usize, max_depth: usize) -> Structure {
    let mut parser = Parser {
        bytes,
        at: 0,
        enclosing: Vec::new(),
        out: Structure::default(),
        max_parts,
        max_depth,
        full: false,
    };
    parser.entity(&mut Vec::new(), b"text/plain");
    parser.out
}

struct Parser<'b> {
    bytes: &'b [u8],
    at: usize,
    /// Boundaries of the multiparts around the current place: a line that is one of them ends
    /// everything inside.
    enclosing: Vec<Vec<u8>>,
    out: Structure,
    max_parts: usize,
    max_depth: usize,
    /// Set when `max_parts` stopped the reading.
    full: bool,
}

#[derive(Default)]
struct Headers {
    content_type: Option<Vec<u8>>,
    transfer_encoding: Option<Vec<u8>>,
    disposition: Option<Vec<u8>>,
    any: bool,
    notes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Delimiter {
    Between,
    Close,
}

impl<'b> Parser<'b> {
    /// Reads one entity: headers, then the payload or the parts inside.
    fn entity(&mut self, place: &mut Vec<usize>, default_type: &[u8]) {
        let headers = self.headers();
        let media_type = media_type(headers.content_type.as_deref(), default_type);
        let nested = place.len() >= self.max_depth;
        if nested && (media_type.starts_with(b"multipart/") || media_type.starts_with(b"message/"))
        {
            let note = format!("nested {} deep: not looked into", place.len());
            self.out.bounded = true;
            return self.leaf(place, headers, media_type, Some(note));
        }
        if media_type.starts_with(b"message/") {
            place.push(0);
            self.entity(place, b"text/plain");
            place.pop();
            return;
        }
        if !media_type.starts_with(b"multipart/") {
            return self.leaf(place, headers, media_type, None);
        }
        let boundary =
            headers.content_type.as_deref().and_then(|value| parameter(value, b"boundary"));
        match boundary {
            Some(boundary) => self.multipart(place, headers, media_type, &boundary),
            None => {
                let note = "multipart without a boundary: cloud-init skips it".to_owned();
                self.leaf(place, headers, media_type, Some(note));
            }
        }
    }

    fn multipart(
        &mut self,
        place: &mut Vec<usize>,
        headers: Headers,
        media_type: Vec<u8>,
        boundary: &[u8],
    ) {
        let separator = [b"--", boundary.trim_ascii_end()].concat();
        let inner_default: &[u8] = match media_type.as_slice() {
            b"multipart/digest" => b"message/rfc822",
            _ => b"text/plain",
        };
        let start = self.at;
        let (mut index, mut closed) = (0, false);
        loop {
            let before = self.at;
            let Some(line) = self.line() else { break };
            match delimiter(line, &separator) {
                Some(Delimiter::Close) => {
                    closed = true;
                    break;
                }
                Some(Delimiter::Between) if self.out.leaves.len() >= self.max_parts => {
                    return self.too_many();
                }
                Some(Delimiter::Between) => {
                    if index == 0 {
                        self.note_hidden_text("preamble", start..before);
                    }
                    // Several delimiter lines in a row count as one; a closing one among them too.
                    while let Some(next) = self.peek()
                        && delimiter(next, &separator).is_some()
                    {
                        self.at += next.len();
                    }
                    self.enclosing.push(separator.clone());
                    place.push(index);
                    self.entity(place, inner_default);
                    place.pop();
                    self.enclosing.pop();
                    index += 1;
                }
                None => {}
            }
        }
        if index == 0 {
            let note = "the boundary never occurs: cloud-init skips it".to_owned();
            self.at = start;
            return self.leaf(place, headers, media_type, Some(note));
        }
        if !closed && !self.full {
            let note = "unclosed boundary".to_owned();
            match self.out.leaves.last_mut() {
                Some(leaf) => leaf.notes.push(note),
                None => self.out.notes.push(note),
            }
        }
        let epilogue = self.rest();
        self.note_hidden_text("epilogue", epilogue);
    }

    /// Adds a leaf whose payload runs to the next enclosing boundary or the end. The line end
    /// before a boundary belongs to the boundary (RFC 2046, section 5.1.1); Python also takes it
    /// off where the input ends without one.
    fn leaf(
        &mut self,
        place: &[usize],
        headers: Headers,
        media_type: Vec<u8>,
        note: Option<String>,
    ) {
        let mut payload = self.rest();
        if !self.enclosing.is_empty() {
            let bytes = self.bytes.get(payload.clone()).unwrap_or_default();
            payload.end -= match bytes {
                [.., b'\r', b'\n'] => 2,
                [.., b'\r' | b'\n'] => 1,
                _ => 0,
            };
        }
        if self.out.leaves.len() >= self.max_parts {
            return self.too_many();
        }
        let at_end = self.at >= self.bytes.len();
        if payload.is_empty() && !headers.any && at_end && !self.enclosing.is_empty() {
            let note = "the last delimiter opens an empty part, which cloud-init ignores";
            self.out.notes.push(note.to_owned());
            return;
        }
        let filename = headers
            .disposition
            .as_deref()
            .and_then(|value| parameter(value, b"filename"))
            .or_else(|| {
                let value = headers.content_type.as_deref()?;
                parameter(value, b"name")
            })
            .map(|name| name.trim_ascii().to_vec());
        let mut notes = headers.notes;
        notes.extend(note);
        self.out.leaves.push(Leaf {
            id: id(place),
            declared: headers.content_type,
            media_type,
            transfer_encoding: headers.transfer_encoding.unwrap_or_default().to_ascii_lowercase(),
            filename,
            payload,
            notes,
        });
    }

    /// Reads header lines: `name:`, a continuation, or `From `; the first other line ends them
    /// and, unless it is blank, belongs to the body.
    fn headers(&mut self) -> Headers {
        let mut headers = Headers::default();
        let mut current: Option<(Vec<u8>, Vec<u8>)> = None;
        let mut first = true;
        while let Some(line) = self.peek() {
            if !is_header_line(line) {
                match without_ending(line) {
                    b"" => self.at += line.len(),
                    _ => headers.notes.push("no blank line after the headers".to_owned()),
                }
                break;
            }
            self.at += line.len();
            match (line, &mut current) {
                ([b' ' | b'\t', ..], Some((_, value))) => {
                    extend_bounded(value, line, &mut headers.notes);
                }
                ([b' ' | b'\t', ..], None) => {}
                _ if line.starts_with(b"From ") => {
                    let more_follow = self.peek().is_some_and(is_header_line);
                    headers.keep(current.take());
                    if !first && !more_follow {
                        // The first line of a body that lacks its blank line, most likely.
                        self.at -= line.len();
                        break;
                    }
                }
                _ => {
                    headers.keep(current.take());
                    headers.any = true;
                    if let Some(colon) = line.iter().position(|&b| b == b':').filter(|&c| c > 0) {
                        let name = line.get(..colon).unwrap_or_default().to_ascii_lowercase();
                        let value = line.get(colon + 1..).unwrap_or_default();
                        let mut kept = Vec::new();
                        extend_bounded(&mut kept, value, &mut headers.notes);
                        current = Some((name, kept));
                    }
                }
            }
            first = false;
        }
        headers.keep(current.take());
        headers
    }

    /// The next line with its ending, unless an enclosing boundary (or the end) comes first.
    fn peek(&self) -> Option<&'b [u8]> {
        let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let end = match rest.iter().position(|&b| b == b'\n' || b == b'\r') {
            Some(at) if rest.get(at..).is_some_and(|r| r.starts_with(b"\r\n")) => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        let line = rest.get(..end)?;
        let ends = |boundary: &Vec<u8>| delimiter(line, boundary).is_some();
        (!line.starts_with(b"--") || !self.enclosing.iter().any(ends)).then_some(line)
    }

    fn line(&mut self) -> Option<&'b [u8]> {
        let line = self.peek()?;
        self.at += line.len();
        Some(line)
    }

    /// Moves to the next enclosing boundary or the end, and says what was passed.
    fn rest(&mut self) -> Range<usize> {
        let start = self.at;
        while self.line().is_some() {}
        start..self.at
    }

    fn too_many(&mut self) {
        self.at = self.bytes.len();
        if std::mem::replace(&mut self.full, true) {
            return;
        }
        self.out.bounded = true;
        let note =
            format!("more than {} parts: the others are only in the raw bytes", self.max_parts);
        self.out.notes.push(note);
    }

    fn note_hidden_text(&mut self, what: &str, range: Range<usize>) {
        let text = self.bytes.get(range).unwrap_or_default().trim_ascii();
        if !text.is_empty() && self.out.notes.len() < 32 {
            let length = text.len();
            let note = format!("{what} of {length} bytes, which no MIME reader shows");
            self.out.notes.push(note);
        }
    }
}

impl Headers {
    /// Keeps the first header of each name that matters, as `Message.get` gives the first.
    fn keep(&mut self, header: Option<(Vec<u8>, Vec<u8>)>) {
        let Some((name, value)) = header else { return };
        let place = match name.as_slice() {
            b"content-type" => &mut self.content_type,
            b"content-transfer-encoding" => &mut self.transfer_encoding,
            b"content-disposition" => &mut self.disposition,
            _ => return,
        };
        let start = value.iter().position(|b| !b" \t".contains(b));
        let end = value.iter().rposition(|b| !b"\r\n".contains(b));
        let value = match (start, end) {
            (Some(start), Some(end)) => value.get(start..=end).unwrap_or_default().to_vec(),
            _ => Vec::new(),
        };
        place.get_or_insert(value);
    }
}

fn extend_bounded(value: &mut Vec<u8>, more: &[u8], notes: &mut Vec<String>) {
    let room = MAX_VALUE_BYTES.saturating_sub(value.len());
    value.extend_from_slice(more.get(..room).unwrap_or(more));
    let note = "a header longer than 16 KiB was cut";
    if more.len() > room && notes.iter().all(|n| n != note) {
        notes.push(note.to_owned());
    }
}

fn media_type(content_type: Option<&[u8]>, default: &[u8]) -> Vec<u8> {
    let Some(value) = content_type else {
        return default.to_vec();
    };
    let essence = essence(value);
    match essence.iter().filter(|&&b| b == b'/').count() {
        1 => essence,
        _ => b"text/plain".to_vec(),
    }
}

/// `From `, a continuation, or printable characters and a colon.
fn is_header_line(line: &[u8]) -> bool {
    let is_name = |b: &u8| matches!(b, 0x21..=0x39 | 0x3b..=0x7e);
    let colon = line.iter().position(|b| !is_name(b));
    line.starts_with(b"From ")
        || matches!(line, [b' ' | b'\t', ..])
        || colon.and_then(|at| line.get(at)) == Some(&b':')
}

/// What the line is for a multipart with that separator (`--` and the boundary).
fn delimiter(line: &[u8], separator: &[u8]) -> Option<Delimiter> {
    let rest = without_ending(line.strip_prefix(separator)?);
    let (kind, rest) = match rest.strip_prefix(b"--") {
        Some(rest) => (Delimiter::Close, rest),
        None => (Delimiter::Between, rest),
    };
    rest.iter().all(|b| b" \t".contains(b)).then_some(kind)
}

fn without_ending(line: &[u8]) -> &[u8] {
    match line {
        [text @ .., b'\r', b'\n'] | [text @ .., b'\r' | b'\n'] => text,
        _ => line,
    }
}

fn id(place: &[usize]) -> String {
    match place {
        [] => "0".to_owned(),
        _ => {
            let parts: Vec<String> = place.iter().map(usize::to_string).collect();
            parts.join(".")
        }
    }
}

#[cfg(test)]
#[path = "mime_tests.rs"]
mod tests;

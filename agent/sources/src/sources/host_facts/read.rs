//! Small files of facts: what is not there is no gap, what cannot be read is one.

use crate::{Dir, Emitter, Host, proc::fields::why};
use cleanroom_evidence::RawBytes;
use std::io;

/// Bytes of a one-line file at most.
const LINE_BYTES: usize = 64 * 1024;

/// At most `limit` bytes of the file.
pub fn bytes(host: &Host, path: &[u8], limit: usize, out: &mut Emitter<'_>) -> Option<Vec<u8>> {
    match host.read(path, limit) {
        Ok(content) => {
            if content.truncated {
                let reason = format!("larger than the limit of {limit} bytes");
                out.gap("read", path, &reason);
            }
            Some(content.bytes)
        }
        Err(error) => {
            if !is_missing(&error) {
                out.gap("read", path, &why(&error));
            }
            None
        }
    }
}

/// A file of one line, without white space at its ends; `None` where that leaves nothing.
pub fn line(host: &Host, path: &str, out: &mut Emitter<'_>) -> Option<RawBytes> {
    let bytes = bytes(host, path.as_bytes(), LINE_BYTES, out)?;
    Some(bytes.trim_ascii()).filter(|text| !text.is_empty()).map(RawBytes::from)
}

/// As [`line`], right in an open directory of `/sys`; what cannot be read is taken as absent.
pub fn attribute(dir: &Dir<'_>, name: &str) -> Option<RawBytes> {
    let content = dir.read(name.as_bytes(), LINE_BYTES).ok()?;
    let text = content.bytes.trim_ascii();
    (!text.is_empty()).then(|| text.into())
}

/// True where there is no such path.
pub fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

//! Command line and environment: the start in the record, a long one whole as an item of its own.

use crate::{Dir, Emitter, SinkClosed, proc::fs::Scratch};
use cleanroom_evidence::Sha256Digest;
use std::io::{self, Read as _};

/// Bytes that a record holds at most; what is longer also comes whole as a raw item.
pub const INLINE_BYTES: usize = 64 * 1024;

/// One area of a process's memory that holds NUL-terminated strings.
#[derive(Debug, Default)]
pub struct Area<'s> {
    /// The bytes, at most [`INLINE_BYTES`].
    pub inline: &'s [u8],
    /// Where it is longer: the length and SHA-256 of the raw item that holds all of it.
    pub whole: Option<(u64, Sha256Digest)>,
    /// Why the raw item may not be all.
    pub trouble: Option<String>,
}

/// Reads `/proc/PID/<name>`; a long one is emitted as the raw item `proc/PID/<name>`, of which at
/// most `max_bytes` are held by no more than a buffer at a time. The outer error is the sink's.
pub fn read<'s>(
    dir: &Dir<'_>,
    pid: u32,
    name: &'static str,
    scratch: &'s mut Scratch,
    max_bytes: u64,
    out: &mut Emitter<'_>,
) -> Result<io::Result<Area<'s>>, SinkClosed> {
    let opened = dir.open(name.as_bytes()).and_then(|mut file| {
        let start = scratch.whole(&mut file, INLINE_BYTES + 1)?;
        Ok((start, file))
    });
    let (start, mut rest) = match opened {
        Ok(opened) => opened,
        Err(error) => return Ok(Err(error)),
    };
    let Some(inline) = start.get(..INLINE_BYTES).filter(|_| start.len() > INLINE_BYTES) else {
        return Ok(Ok(Area { inline: start, ..Area::default() }));
    };
    let item = format!("proc/{pid}/{name}");
    let labels = [("pid", &*pid.to_string())];
    let raw = out.raw_from(item.as_bytes(), &labels, &mut start.chain(&mut rest), max_bytes)?;
    Ok(Ok(Area { inline, whole: Some((raw.length_bytes, raw.sha256)), trouble: raw.trouble }))
}

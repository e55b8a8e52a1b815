//! Readers that hash on the way, and lines of bounded length. Streaming: memory does not depend on
//! what a bundle claims.

use cleanroom_evidence::{Hasher, Sha256Digest};
use std::io::{self, BufRead, BufReader, Read};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// Counts and hashes what is read through it.
pub(super) struct Hashing<'r> {
    inner: &'r mut dyn Read,
    hasher: Hasher,
    length: u64,
}

impl<'r> Hashing<'r> {
    pub(super) fn new(inner: &'r mut dyn Read) -> Self {
        Self { inner, hasher: Hasher::default(), length: 0 }
    }

    /// Reads what is left; gives digest and length of everything.
    pub(super) fn finish(mut self) -> io::Result<(Sha256Digest, u64)> {
        let mut buffer = vec![0u8; CHUNK];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return Ok((self.hasher.finish(), self.length)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        self.length += read as u64;
        Ok(read)
    }
}

/// Lines, each closed by a newline and within a bound.
pub(super) struct Lines<R> {
    input: BufReader<R>,
    limit: usize,
}

/// Why there is no next line.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineError {
    #[error("its last line is cut")]
    Open,
    #[error("a line is longer than any that cleanroom writes")]
    Long,
    #[error(transparent)]
    Read(#[from] io::Error),
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R, limit: usize) -> Self {
        Self { input: BufReader::with_capacity(CHUNK, input), limit }
    }

    /// The next line without its newline.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        let mut line = Vec::new();
        let most = self.limit as u64 + 1;
        let mut input = (&mut self.input).take(most);
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        match line.pop() {
            Some(b'\n') => Ok(Some(line)),
            _ if line.len() >= self.limit => Err(LineError::Long),
            _ => Err(LineError::Open),
        }
    }
}

/// Everything, when it is at most `limit` bytes; else its first bytes, one more than the limit.
pub(super) fn small(input: &mut dyn Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// One stretch of a file and the digest that it must have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) seq: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) sha256: Sha256Digest,
}

/// Reads a file that must consist of these segments, in order, with at most one newline between
/// two. On a mismatch: the item's number and what is wrong.
pub(super) fn segments(
    input: &mut dyn Read,
    segments: &[Segment],
) -> io::Result<Result<(), (u64, String)>> {
    let mut input = BufReader::with_capacity(CHUNK, input);
    let mut at = 0u64;
    for segment in segments {
        let bad = |why: String| Ok(Err((segment.seq, why)));
        match segment.offset.checked_sub(at) {
            Some(0) => {}
            Some(1) if next_byte(&mut input)? == Some(b'\n') => at += 1,
            _ => return bad("its place in the file does not follow the item before".to_owned()),
        }
        let mut part = (&mut input).take(segment.length);
        let (found, length) = Hashing::new(&mut part).finish()?;
        at += length;
        if length != segment.length || found != segment.sha256 {
            return bad(format!("its bytes hash to {found}, its seal says {}", segment.sha256));
        }
    }
    if next_byte(&mut input)?.is_some() {
        let last = segments.last().map_or(0, |segment| segment.seq);
        return Ok(Err((last, "there are bytes after it".to_owned())));
    }
    Ok(Ok(()))
}

fn next_byte(input: &mut impl BufRead) -> io::Result<Option<u8>> {
    let byte = input.fill_buf()?.first().copied();
    if byte.is_some() {
        input.consume(1);
    }
    Ok(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_must_cover_the_file() {
        let of = |seq, offset, bytes: &[u8]| Segment {
            seq,
            offset,
            length: bytes.len() as u64,
            sha256: Sha256Digest::of(bytes),
        };
        let check = |file: &[u8], list: &[Segment]| segments(&mut &file[..], list).unwrap();
        let list = [of(1, 0, b"ab"), of(2, 3, b"cd"), of(3, 5, b"")];
        assert_eq!(check(b"ab\ncd", &list), Ok(()));
        for bad in [&b"ab\nce"[..], b"ab cd", b"ab\ncd\n", b"ab\nc", b"", b"xb\ncd"] {
            assert!(check(bad, &list).is_err(), "{bad:?}");
        }
        assert!(check(b"abcd", &[of(1, 0, b"ab"), of(2, 1, b"b")]).is_err());
    }

    #[test]
    fn lines_are_closed_and_bounded() {
        let mut lines = Lines::new(&b"a\n\nbcd\nabcde\n"[..], 4);
        assert_eq!(lines.next().unwrap().unwrap(), b"a");
        assert_eq!(lines.next().unwrap().unwrap(), b"");
        assert_eq!(lines.next().unwrap().unwrap(), b"bcd");
        assert!(matches!(lines.next(), Err(LineError::Long)));
        assert!(matches!(Lines::new(&b"ab"[..], 4).next(), Err(LineError::Open)));
    }
}

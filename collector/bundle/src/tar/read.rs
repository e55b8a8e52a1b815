//! The strict reader of a bundle's tar: it accepts only what the canonical writer writes. Each
//! header is rebuilt from the few facts in it and compared, so that no byte of it is free; padding
//! and the end must be zeros, and nothing may follow. Reads forward only; memory does not depend
//! on what the file claims.

use super::{BLOCK, padding, write::canonical_header};
use std::io::{self, Read};

/// Longest name that a bundle holds, in bytes.
const LONGEST_NAME: u64 = 1024;

/// Why the tar is not a bundle's.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The file ends too early.
    #[error("the file is cut off at byte {at}, {within}")]
    Truncated {
        /// Where the file ends.
        at: u64,
        /// What should have gone on there.
        within: String,
    },
    /// A header differs from the only one that fits its member.
    #[error("the tar header at byte {at} was changed or was not written by cleanroom ({what})")]
    Header {
        /// Where the header begins.
        at: u64,
        /// The field or rule.
        what: &'static str,
    },
    /// Padding after a member holds something.
    #[error("the padding after {member} was changed (before byte {at})")]
    Padding {
        /// The member before it.
        member: String,
        /// Where the padding ends.
        at: u64,
    },
    /// Bytes after the end, or an end that is not zeros.
    #[error("there is something after the last member (at byte {at})")]
    Trailing {
        /// Where.
        at: u64,
    },
    /// The file could not be read.
    #[error("cannot read the bundle")]
    Io(#[from] io::Error),
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The name.
    pub name: String,
    /// Bytes of content.
    pub size: u64,
    /// The time that all members share, in seconds since 1970 UTC.
    pub mtime: i64,
}

/// Reads members one after the other.
pub struct TarReader<R> {
    input: R,
    at: u64,
    mtime: Option<i64>,
}

impl<R: Read> TarReader<R> {
    /// Reads a tar from its first byte.
    pub fn new(input: R) -> Self {
        Self { input, at: 0, mtime: None }
    }

    /// The next member's header, or `None` at a correct end. Its content must be read with
    /// [`content`](Self::content) before the next call.
    pub fn next(&mut self) -> Result<Option<Head>, TarError> {
        let start = self.at;
        let first = self.block("in a tar header")?;
        if first == [0; BLOCK] {
            return self.end().map(|()| None);
        }
        let (name, main, mut raw) = self.name(start, first)?;
        raw.extend_from_slice(&main);
        let bad = |what| TarError::Header { at: start, what };
        let size = parse_number(field(&main, 124, 12)).ok_or_else(|| bad("size"))?;
        let size = u64::try_from(size).map_err(|_| bad("size"))?;
        let mtime = parse_number(field(&main, 136, 12)).ok_or_else(|| bad("time"))?;
        let mtime = i64::try_from(mtime).map_err(|_| bad("time"))?;
        if *self.mtime.get_or_insert(mtime) != mtime {
            return Err(bad("its time differs from the other members'"));
        }
        if canonical_header(&name, size, mtime) != raw {
            return Err(bad("it is not in canonical form"));
        }
        Ok(Some(Head { name, size, mtime }))
    }

    /// Hands the member's content to `take` and checks the padding after it. `take` need not read
    /// it all.
    pub fn content<T>(
        &mut self,
        head: &Head,
        take: impl FnOnce(&mut dyn Read) -> T,
    ) -> Result<T, TarError> {
        let mut content = Counted { input: (&mut self.input).take(head.size), read: 0 };
        let result = take(&mut content);
        let drained = io::copy(&mut content.input, &mut io::sink())?;
        let read = content.read + drained;
        self.at += read;
        if read < head.size {
            return Err(TarError::Truncated { at: self.at, within: format!("in {}", head.name) });
        }
        let mut pad = [0u8; BLOCK];
        let wanted = padding(head.size);
        let pad = pad.get_mut(..wanted).unwrap_or_default();
        self.fill(pad, &format!("in the padding after {}", head.name))?;
        if pad.iter().any(|byte| *byte != 0) {
            return Err(TarError::Padding { member: head.name.clone(), at: self.at });
        }
        Ok(result)
    }

    /// The name, the main header block, and the raw blocks before it.
    fn name(
        &mut self,
        start: u64,
        first: [u8; BLOCK],
    ) -> Result<(String, [u8; BLOCK], Vec<u8>), TarError> {
        let bad = |what| TarError::Header { at: start, what };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| bad("name"));
        if field(&first, 156, 1) != b"L" {
            let mut name = until_nul(field(&first, 345, 155)).to_vec();
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend_from_slice(until_nul(field(&first, 0, 100)));
            return Ok((text(name)?, first, Vec::new()));
        }
        let size = parse_number(field(&first, 124, 12))
            .and_then(|size| u64::try_from(size).ok())
            .filter(|size| (1..=LONGEST_NAME).contains(size))
            .ok_or_else(|| bad("long name"))?;
        let mut raw = first.to_vec();
        let mut name = vec![0u8; usize::try_from(size).unwrap_or(0) + padding(size)];
        self.fill(&mut name, "in a long name")?;
        raw.extend_from_slice(&name);
        let main = self.block("in a tar header")?;
        Ok((text(until_nul(&name).to_vec())?, main, raw))
    }

    fn end(&mut self) -> Result<(), TarError> {
        let at = self.at;
        if self.block("in the closing blocks")? != [0; BLOCK] {
            return Err(TarError::Trailing { at });
        }
        let at = self.at;
        let mut one = [0u8; 1];
        match read_some(&mut self.input, &mut one)? {
            0 => Ok(()),
            _ => Err(TarError::Trailing { at }),
        }
    }

    fn block(&mut self, within: &str) -> Result<[u8; BLOCK], TarError> {
        let mut block = [0u8; BLOCK];
        self.fill(&mut block, within)?;
        Ok(block)
    }

    fn fill(&mut self, mut buffer: &mut [u8], within: &str) -> Result<(), TarError> {
        while !buffer.is_empty() {
            let read = read_some(&mut self.input, buffer)?;
            self.at += read as u64;
            if read == 0 {
                return Err(TarError::Truncated { at: self.at, within: within.to_owned() });
            }
            buffer = buffer.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }
}

struct Counted<R> {
    input: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read += read as u64;
        Ok(read)
    }
}

fn read_some(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match input.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn field(block: &[u8; BLOCK], at: usize, length: usize) -> &[u8] {
    block.get(at..at + length).unwrap_or_default()
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The value of a number field, octal or base-256; the comparison with the rebuilt header decides
/// whether it was written correctly.
fn parse_number(field: &[u8]) -> Option<i128> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 == 0 {
        let text = std::str::from_utf8(until_nul(field)).ok()?;
        return i128::from_str_radix(text, 8).ok();
    }
    // Eleven or seven bytes and seven bits: fits easily.
    let negative = first & 0x40 != 0;
    let top = i128::from(first & 0x7f) - if negative { 0x80 } else { 0 };
    Some(rest.iter().fold(top, |value, byte| value << 8 | i128::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::write::TarWriter;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn sample() -> Vec<u8> {
        let mut tar = TarWriter::new(Cursor::new(Vec::new()), 1_700_000_000);
        let long = format!("c/{}/{}", "d".repeat(120), "e".repeat(120));
        for (name, content) in [("c/a", "hello"), ("c/empty", ""), (long.as_str(), "x")] {
            tar.member::<io::Error>(name, &mut |out| out.write_all(content.as_bytes())).unwrap();
        }
        tar.finish().unwrap().into_inner()
    }

    fn read(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, TarError> {
        let mut tar = TarReader::new(bytes);
        let mut all = Vec::new();
        while let Some(head) = tar.next()? {
            let mut content = Vec::new();
            tar.content(&head, |input| input.read_to_end(&mut content))??;
            all.push((head.name, content));
        }
        Ok(all)
    }

    #[test]
    fn reads_back_and_no_changed_byte_goes_unseen() {
        let bytes = sample();
        let good = read(&bytes).unwrap();
        assert_eq!(good.len(), 3);
        assert_eq!(good[0].1, b"hello");
        for at in 0..bytes.len() {
            for flip in [1u8, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                // Names and contents are what a manifest covers.
                if let Ok(now) = read(&changed) {
                    assert!(now != good, "byte {at} is free");
                }
            }
        }
    }

    #[test]
    fn refuses_every_truncation_and_any_addition() {
        let bytes = sample();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "cut to {length}");
        }
        for extra in [&[0u8; 1][..], &[0; 512], &[1]] {
            assert!(read(&[&bytes, extra].concat()).is_err());
        }
    }

    #[test]
    fn sizes_beyond_octal_come_back() {
        for size in [0, 1, 0o77777777777, 0o100000000000, u64::MAX] {
            let header = canonical_header("a/b", size, -7);
            let block: [u8; BLOCK] = header.try_into().unwrap();
            assert_eq!(parse_number(field(&block, 124, 12)), Some(size.into()));
            assert_eq!(parse_number(field(&block, 136, 12)), Some(-7));
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let _ = read(&bytes);
        }
        #[test]
        fn never_panics_on_a_changed_bundle(at in 0usize..4096, with in proptest::collection::vec(any::<u8>(), 1..64)) {
            let mut bytes = sample();
            let at = at % bytes.len();
            for (to, from) in bytes[at..].iter_mut().zip(&with) { *to = *from; }
            let _ = read(&bytes);
        }
    }
}

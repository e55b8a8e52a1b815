//! The canonical tar of a bundle, written in one pass: a member's size is known only when its
//! content has been written, so the header is filled in afterwards. Nothing is kept in memory.

use super::{
    BLOCK,
    header::{Dialect, Kind, Member, encode},
    padding,
};
use std::io::{self, Seek, SeekFrom, Write};

/// The header of a bundle's member: every field but these three is fixed.
pub fn canonical_header(name: &str, size: u64, mtime: i64) -> Vec<u8> {
    let member = Member {
        name: name.as_bytes(),
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        mtime,
        link: b"",
    };
    encode(&member, Dialect::Ustar)
}

/// Writes members one after the other.
pub struct TarWriter<W: Write + Seek> {
    out: W,
    mtime: i64,
}

impl<W: Write + Seek> TarWriter<W> {
    /// A writer whose members all carry this time (seconds since 1970 UTC).
    pub fn new(out: W, mtime: i64) -> Self {
        Self { out, mtime }
    }

    /// Adds one member with whatever `content` writes.
    pub fn member<E: From<io::Error>>(
        &mut self,
        name: &str,
        content: &mut dyn FnMut(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.out.stream_position()?;
        let placeholder = canonical_header(name, 0, self.mtime);
        self.out.write_all(&placeholder)?;
        content(&mut self.out)?;
        let end = self.out.stream_position()?;
        let size = end - start - placeholder.len() as u64;
        self.out.write_all(zeros(padding(size)))?;
        let after = self.out.stream_position()?;
        self.out.seek(SeekFrom::Start(start))?;
        self.out.write_all(&canonical_header(name, size, self.mtime))?;
        self.out.seek(SeekFrom::Start(after))?;
        Ok(())
    }

    /// Writes the two closing blocks and gives the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

fn zeros(count: usize) -> &'static [u8] {
    static ZEROS: [u8; BLOCK] = [0; BLOCK];
    ZEROS.get(..count).unwrap_or_default()
}

//! From the store's blobs to a writer: every byte is hashed once more on its way, so that a blob
//! that rotted on disk ends the export instead of becoming evidence. Never holds a whole blob.

use crate::{BundleError, item::Item};
use cleanroom_evidence::{Hasher, Sha256Digest};
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

/// Bytes read at once.
const CHUNK: usize = 256 * 1024;

/// Opens blobs and copies them.
pub struct Copier<'a> {
    open: &'a dyn Fn(&Sha256Digest) -> Result<File, BundleError>,
}

impl<'a> Copier<'a> {
    /// A copier over whatever opens a blob by its digest.
    pub fn new(open: &'a dyn Fn(&Sha256Digest) -> Result<File, BundleError>) -> Self {
        Self { open }
    }

    /// An item's bytes, unchecked; for readers of records.
    pub fn open(&self, item: &Item) -> Result<File, BundleError> {
        (self.open)(&item.seal.sha256)
    }

    /// Copies an item's bytes; fails when they are not what its seal says.
    pub fn copy(&self, item: &Item, out: &mut dyn Write) -> Result<(), BundleError> {
        if item.seal.length_bytes == 0 {
            return Ok(());
        }
        let broken = |why: String| BundleError::Blob { sha256: item.seal.sha256, why };
        let mut file = self.open(item)?;
        let mut buffer = vec![0u8; CHUNK];
        let (mut hasher, mut length) = (Hasher::default(), 0u64);
        loop {
            let read = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(broken(format!("cannot be read: {error}"))),
            };
            let bytes = buffer.get(..read).unwrap_or_default();
            length += read as u64;
            if length > item.seal.length_bytes {
                return Err(broken(format!(
                    "is longer than the {} bytes sealed",
                    item.seal.length_bytes
                )));
            }
            hasher.update(bytes);
            out.write_all(bytes)?;
        }
        if length < item.seal.length_bytes {
            return Err(broken(format!(
                "has {length} of the {} bytes sealed",
                item.seal.length_bytes
            )));
        }
        match hasher.finish() {
            found if found == item.seal.sha256 => Ok(()),
            found => Err(broken(format!("now hashes to {found}"))),
        }
    }

    /// Where each part begins when the parts of a record set are joined, and the joined length: a
    /// part that was cut in its last line gets a newline before the next.
    pub fn offsets(&self, parts: &[&Item]) -> Result<(Vec<u64>, u64), BundleError> {
        let (mut offsets, mut end, mut open_line) = (Vec::new(), 0u64, false);
        for part in parts {
            end += u64::from(open_line);
            offsets.push(end);
            end += part.seal.length_bytes;
            open_line = self.ends_open(part)?;
        }
        Ok((offsets, end))
    }

    /// The length of the joined parts.
    pub fn joined_length(&self, parts: &[&Item]) -> Result<u64, BundleError> {
        Ok(self.offsets(parts)?.1)
    }

    /// Copies the parts of a record set one after the other, as [`offsets`](Self::offsets) says.
    pub fn join(&self, parts: &[&Item], out: &mut dyn Write) -> Result<(), BundleError> {
        let mut open_line = false;
        for part in parts {
            if open_line {
                out.write_all(b"\n")?;
            }
            self.copy(part, out)?;
            open_line = self.ends_open(part)?;
        }
        Ok(())
    }

    fn ends_open(&self, item: &Item) -> Result<bool, BundleError> {
        if item.seal.length_bytes == 0 {
            return Ok(false);
        }
        let mut last = [0u8; 1];
        let mut file = self.open(item)?;
        file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(|error| {
            BundleError::Blob { sha256: item.seal.sha256, why: format!("cannot be read: {error}") }
        })?;
        Ok(last != *b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::test::item;
    use cleanroom_evidence::ItemKind;

    fn copy_of(stored: &'static [u8], sealed: &[u8]) -> Result<Vec<u8>, BundleError> {
        let open = move |_: &Sha256Digest| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(stored).unwrap();
            file.rewind().unwrap();
            Ok(file)
        };
        let mut out = Vec::new();
        let item = item(1, ItemKind::Raw, b"x", None, sealed);
        Copier::new(&open).copy(&item, &mut out).map(|()| out)
    }

    #[test]
    fn only_the_sealed_bytes_pass() {
        assert_eq!(copy_of(b"abc", b"abc").unwrap(), b"abc");
        for (stored, says) in
            [(&b"abd"[..], "now hashes"), (b"ab", "has 2 of"), (b"abcd", "longer")]
        {
            let error = copy_of(stored, b"abc").unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_part_cut_in_its_line_does_not_spoil_the_next() {
        let parts: [&'static [u8]; 4] = [b"{\"a\":1}\n{\"b", b"{\"c\":1}\n", b"", b"{\"d\":1}"];
        let open = move |digest: &Sha256Digest| {
            let bytes = parts.iter().find(|p| Sha256Digest::of(p) == *digest).unwrap();
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            file.rewind().unwrap();
            Ok(file)
        };
        let items = parts.map(|bytes| item(0, ItemKind::Records, b"s", None, bytes));
        let refs: Vec<&Item> = items.iter().collect();
        let copier = Copier::new(&open);
        let mut out = Vec::new();
        copier.join(&refs, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out.clone()).unwrap(),
            "{\"a\":1}\n{\"b\n{\"c\":1}\n{\"d\":1}"
        );
        let (offsets, length) = copier.offsets(&refs).unwrap();
        assert_eq!(length, out.len() as u64);
        for (offset, part) in offsets.iter().zip(&parts) {
            assert!(out[*offset as usize..].starts_with(part));
        }
    }
}

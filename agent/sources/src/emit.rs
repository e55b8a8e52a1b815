//! How a source gives evidence: items with raw bytes, records as JSON lines, gaps.
//!
//! A source cannot tell whether its bytes are spooled, streamed or written to a file.

use crate::{Host, Opened, sys};
use cleanroom_evidence::{
    FileKind, FileMeta, Gaps, ItemHeader, ItemKind, ItemStatus, Limits, Outcome, RawBytes,
    Sha256Digest,
};
use serde::Serialize;
use std::{collections::BTreeMap, io, os::fd::AsFd};

/// A part of a record set is sealed beyond this size, so that it is acknowledged early.
const RECORD_PART_BYTES: u64 = 4 * 1024 * 1024;

/// The sink takes no more: the run is over (collector gone for good, disk full, …).
#[derive(Debug, thiserror::Error)]
#[error("the evidence sink is closed: {0}")]
pub struct SinkClosed(pub String);

/// Where evidence goes. Calls come in the order `begin, write*, seal`; one item at a time.
pub trait Sink {
    /// Begins an item.
    fn begin(&mut self, header: ItemHeader) -> Result<(), SinkClosed>;
    /// Adds bytes, at most [`Limits::CHUNK_BYTES`] a call; blocks while the other side is slow.
    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkClosed>;
    /// Ends the item and gives the digest of all its bytes: they are hashed once, here.
    fn seal(&mut self, status: ItemStatus) -> Result<Sha256Digest, SinkClosed>;
}

/// What became of a file that a source wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileRead {
    /// There is no such path; nothing was emitted.
    Missing,
    /// An item was emitted with metadata only: not a regular file, or not readable.
    Unread(FileMeta),
    /// An item was emitted with its bytes.
    Read {
        /// Metadata when it was opened.
        meta: FileMeta,
        /// The first bytes, as many as the caller asked to keep.
        head: Vec<u8>,
        /// SHA-256 of all bytes that were read.
        sha256: Sha256Digest,
        /// False where a limit or an error cut it.
        whole: bool,
    },
}

/// What [`Emitter::raw_from`] took from its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRead {
    /// SHA-256 of the bytes that were taken.
    pub sha256: Sha256Digest,
    /// How many bytes.
    pub length_bytes: u64,
    /// Why they may not be all.
    pub trouble: Option<String>,
}

/// A source's way to the sink.
pub struct Emitter<'s> {
    source: &'static str,
    sink: &'s mut dyn Sink,
    open_set: Option<&'static str>,
    open_bytes: u64,
    gaps: Gaps,
    items: u64,
    bytes: u64,
    buffer: Vec<u8>,
}

impl<'s> Emitter<'s> {
    /// An emitter for one source.
    pub fn new(source: &'static str, sink: &'s mut dyn Sink) -> Self {
        Self {
            source,
            sink,
            open_set: None,
            open_bytes: 0,
            gaps: Gaps::default(),
            items: 0,
            bytes: 0,
            buffer: Vec::new(),
        }
    }

    /// Records that something could not be read.
    pub fn gap(&mut self, operation: &str, subject: &[u8], reason: &str) {
        self.gaps.add(operation, subject, reason);
    }

    /// As [`gap`](Self::gap), with the system's error.
    pub fn gap_io(&mut self, operation: &str, subject: &[u8], error: &io::Error) {
        self.gaps.add(operation, subject, &error.to_string());
    }

    /// The end of the source: complete, or partial with its gaps. Seals an open record set.
    pub fn outcome(&mut self) -> Result<Outcome, SinkClosed> {
        self.close_set()?;
        Ok(std::mem::take(&mut self.gaps).into_outcome())
    }

    /// Items and bytes so far.
    pub fn totals(&self) -> (u64, u64) {
        (self.items, self.bytes)
    }

    /// Adds one JSON line to a record set. Another item in between closes the set's current part;
    /// the next record opens a further part, so emit raw files first where you can.
    pub fn record<T: Serialize>(
        &mut self,
        set: &'static str,
        record: &T,
    ) -> Result<(), SinkClosed> {
        if self.open_set != Some(set) || self.open_bytes > RECORD_PART_BYTES {
            self.close_set()?;
            self.begin(ItemKind::Records, set.into(), None, &[])?;
            self.open_set = Some(set);
        }
        let mut line = std::mem::take(&mut self.buffer);
        line.clear();
        match serde_json::to_writer(&mut line, record) {
            Ok(()) => line.push(b'\n'),
            Err(error) => {
                line.clear();
                self.gap("write record", set.as_bytes(), &error.to_string());
            }
        }
        let result = self.write(&line);
        self.buffer = line;
        self.buffer.shrink_to(RECORD_PART_BYTES as usize);
        result
    }

    /// Emits bytes that are in memory as a raw item.
    pub fn raw(
        &mut self,
        name: &[u8],
        labels: &[(&str, &str)],
        bytes: &[u8],
    ) -> Result<Sha256Digest, SinkClosed> {
        self.close_set()?;
        self.begin(ItemKind::Raw, name.into(), None, labels)?;
        self.write(bytes)?;
        self.sink.seal(ItemStatus::Whole)
    }

    /// Begins a raw item whose bytes come piece by piece, for what is too large for memory. While
    /// the stream lives nothing else can be emitted.
    pub fn raw_stream(
        &mut self,
        name: &[u8],
        labels: &[(&str, &str)],
    ) -> Result<RawStream<'_, 's>, SinkClosed> {
        self.close_set()?;
        self.begin(ItemKind::Raw, name.into(), None, labels)?;
        Ok(RawStream { out: self, open: true })
    }

    /// Emits what a reader gives as a raw item, at most `max_bytes`, without holding it in memory.
    /// A read that fails or goes on beyond the limit seals the item as partial; telling the source's
    /// outcome of it ([`gap`](Self::gap)) is up to the caller, who knows what was read.
    pub fn raw_from(
        &mut self,
        name: &[u8],
        labels: &[(&str, &str)],
        reader: &mut dyn io::Read,
        max_bytes: u64,
    ) -> Result<RawRead, SinkClosed> {
        self.close_set()?;
        self.begin(ItemKind::Raw, name.into(), None, labels)?;
        let mut buffer = vec![0u8; Limits::CHUNK_BYTES];
        let (mut length_bytes, mut trouble) = (0u64, None);
        loop {
            let room = max_bytes.saturating_sub(length_bytes);
            // One byte more than there is room for: it tells a limit from an end.
            let want =
                buffer.len().min(usize::try_from(room.saturating_add(1)).unwrap_or(usize::MAX));
            let read = match reader.read(buffer.get_mut(..want).unwrap_or_default()) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    trouble = Some(format!("read at byte {length_bytes}: {error}"));
                    break;
                }
            };
            let kept = read.min(usize::try_from(room).unwrap_or(usize::MAX));
            let bytes = buffer.get(..kept).unwrap_or_default();
            self.write(bytes)?;
            length_bytes += kept as u64;
            if kept < read {
                trouble = Some(format!("larger than the limit of {max_bytes} bytes"));
                break;
            }
        }
        let status = trouble.clone().map_or(ItemStatus::Whole, ItemStatus::Partial);
        let sha256 = self.sink.seal(status)?;
        Ok(RawRead { sha256, length_bytes, trouble })
    }

    /// Emits a path of the host: its metadata, and for a regular file its bytes, at most
    /// `max_bytes`. `keep` says how many of the first bytes the caller wants back. A link is
    /// emitted as a link; follow it with [`Host::resolve`]. What cannot be read becomes an item
    /// that says why, and a gap.
    pub fn file(
        &mut self,
        host: &Host,
        path: &[u8],
        labels: &[(&str, &str)],
        max_bytes: u64,
        keep: usize,
    ) -> Result<FileRead, SinkClosed> {
        let meta = match host.metadata(path) {
            Ok(meta) => meta,
            Err(error) if is_missing(&error) => return Ok(FileRead::Missing),
            Err(error) => {
                self.gap_io("stat", path, &error);
                return Ok(FileRead::Missing);
            }
        };
        self.close_set()?;
        if meta.kind != FileKind::Regular {
            self.begin(ItemKind::File, path.into(), Some(meta.clone()), labels)?;
            self.sink.seal(ItemStatus::Whole)?;
            return Ok(FileRead::Unread(meta));
        }
        match host.open(path) {
            Ok(opened) => self.opened(path, opened, labels, max_bytes, keep),
            Err(error) => {
                self.gap_io("open", path, &error);
                self.begin(ItemKind::File, path.into(), Some(meta.clone()), labels)?;
                self.sink.seal(ItemStatus::Partial(format!("open: {error}")))?;
                Ok(FileRead::Unread(meta))
            }
        }
    }

    /// Emits an open file. It reads what the file held when it was opened: a file that grows is
    /// cut there, and the item says so; one of unknown size (`/proc`) is read to its end.
    pub fn opened(
        &mut self,
        path: &[u8],
        opened: Opened,
        labels: &[(&str, &str)],
        max_bytes: u64,
        keep: usize,
    ) -> Result<FileRead, SinkClosed> {
        let Opened { file, meta } = opened;
        self.close_set()?;
        self.begin(ItemKind::File, path.into(), Some(meta.clone()), labels)?;
        let known = meta.size_bytes > 0;
        let end = if known { meta.size_bytes.min(max_bytes) } else { max_bytes };
        let mut buffer = vec![0u8; Limits::CHUNK_BYTES];
        let (mut offset, mut head) = (0u64, Vec::new());
        let mut trouble = None;
        while offset < end {
            let want = usize::try_from(end - offset).unwrap_or(usize::MAX).min(buffer.len());
            let Some(space) = buffer.get_mut(..want) else {
                break;
            };
            match sys::file::read_at_uncached(file.as_fd(), space, offset) {
                Ok(0) => break,
                Ok(read) => {
                    let bytes = space.get(..read).unwrap_or_default();
                    head.extend_from_slice(
                        bytes.get(..read.min(keep.saturating_sub(head.len()))).unwrap_or_default(),
                    );
                    self.write(bytes)?;
                    offset += read as u64;
                }
                Err(error) => {
                    self.gap_io("read", path, &error);
                    trouble = Some(format!("read at byte {offset}: {error}"));
                    break;
                }
            }
        }
        if trouble.is_none() {
            trouble = self.what_is_missing(&file, path, &meta, offset, max_bytes);
        }
        let whole = trouble.is_none();
        let sha256 = self.sink.seal(trouble.map_or(ItemStatus::Whole, ItemStatus::Partial))?;
        Ok(FileRead::Read { meta, head, sha256, whole })
    }

    /// Why the bytes that were read may not be the file: a limit, or a change while it was read.
    fn what_is_missing(
        &mut self,
        file: &std::fs::File,
        path: &[u8],
        before: &FileMeta,
        read: u64,
        max_bytes: u64,
    ) -> Option<String> {
        let after = match sys::file::metadata(file.as_fd(), c"") {
            Ok(after) => after,
            Err(error) => return Some(format!("stat after the read: {error}")),
        };
        if before.size_bytes > max_bytes || (before.size_bytes == 0 && read >= max_bytes) {
            let reason = format!("larger than the limit of {max_bytes} bytes");
            self.gap("read", path, &reason);
            return Some(format!("{reason}: the file has {}", before.size_bytes));
        }
        if before.size_bytes > 0
            && (after.size_bytes != before.size_bytes || after.modified != before.modified)
        {
            self.gap("read", path, "changed while it was read");
            return Some(format!(
                "changed while it was read: {} bytes at open, {read} read, {} after",
                before.size_bytes, after.size_bytes
            ));
        }
        None
    }

    fn begin(
        &mut self,
        kind: ItemKind,
        name: RawBytes,
        file: Option<FileMeta>,
        labels: &[(&str, &str)],
    ) -> Result<(), SinkClosed> {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        self.items += 1;
        self.sink.begin(ItemHeader {
            source: self.source.to_owned(),
            kind,
            name,
            file,
            read_at: sys::file::clock(),
            labels: BTreeMap::from_iter(labels),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkClosed> {
        self.bytes += bytes.len() as u64;
        self.open_bytes += bytes.len() as u64;
        bytes.chunks(Limits::CHUNK_BYTES).try_for_each(|chunk| self.sink.write(chunk))
    }

    fn close_set(&mut self) -> Result<(), SinkClosed> {
        self.open_bytes = 0;
        match self.open_set.take() {
            Some(_) => self.sink.seal(ItemStatus::Whole).map(drop),
            None => Ok(()),
        }
    }
}

/// A raw item that is being written; [`end`](Self::end) seals it. Dropped without that, it is
/// sealed as partial, so that the sink stays balanced.
pub struct RawStream<'e, 's> {
    out: &'e mut Emitter<'s>,
    open: bool,
}

impl RawStream<'_, '_> {
    /// Adds bytes to the item.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SinkClosed> {
        let result = self.out.write(bytes);
        // A closed sink is not called again.
        self.open &= result.is_ok();
        result
    }

    /// Ends the item and gives the digest of all its bytes: they are hashed once, here.
    pub fn end(mut self, status: ItemStatus) -> Result<(), SinkClosed> {
        match std::mem::take(&mut self.open) {
            true => self.out.sink.seal(status).map(drop),
            false => Ok(()),
        }
    }
}

impl Drop for RawStream<'_, '_> {
    fn drop(&mut self) {
        if std::mem::take(&mut self.open) {
            let status = ItemStatus::Partial("the source stopped before its end".to_owned());
            // A closed sink shows at the next call that can report it.
            let _ = self.out.sink.seal(status);
        }
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Captured;

    fn raw(reader: &mut dyn io::Read, max_bytes: u64) -> (RawRead, Vec<u8>, ItemStatus) {
        let mut sink = Captured::default();
        let read =
            Emitter::new("test", &mut sink).raw_from(b"name", &[], reader, max_bytes).unwrap();
        let (_, bytes, status) = sink.items.pop().unwrap();
        assert_eq!(read.sha256, Sha256Digest::of(&bytes));
        assert_eq!(read.length_bytes, bytes.len() as u64);
        (read, bytes, status)
    }

    #[test]
    fn a_reader_is_taken_whole_up_to_the_limit() {
        let long: Vec<u8> = (0..12_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
        for limit in [long.len() as u64, u64::MAX] {
            let (read, bytes, status) = raw(&mut &long[..], limit);
            assert!(bytes == long && status == ItemStatus::Whole && read.trouble.is_none());
        }
        let (_, bytes, status) = raw(&mut &long[..], 300_000);
        assert_eq!(bytes, long[..300_000]);
        let ItemStatus::Partial(why) = status else { panic!("whole") };
        assert_eq!(why, "larger than the limit of 300000 bytes");
        assert_eq!(raw(&mut io::empty(), 0).2, ItemStatus::Whole);
    }

    #[test]
    fn a_read_that_fails_keeps_what_came_before() {
        struct Failing;
        impl io::Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
        }
        let (read, bytes, status) = raw(&mut io::Read::chain(&b"start"[..], Failing), 100);
        assert_eq!(bytes, b"start");
        assert_eq!(status, ItemStatus::Partial(read.trouble.unwrap()));
    }
}

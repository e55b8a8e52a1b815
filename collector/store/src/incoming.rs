//! An item whose bytes are arriving: hashed as they come, buffered, kept over a crash.
//!
//! A small item stays in memory until its seal. A large one is a file in `incoming/` with a
//! journal beside it: the header, then a line per durable offset with the digest up to there.
//! After a crash the file is cut to the last of these offsets and hashed again.

use crate::{
    disk,
    error::{Context, StoreError},
    lines::{LINE_BYTES, Resumed},
};
use cleanroom_evidence::{Hasher, ItemHeader, Sha256Digest};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Bytes are written to the file in runs of this size.
const BUFFER_BYTES: usize = 1024 * 1024;
/// Writeback is asked for whenever so many bytes were written.
const WRITEBACK_BYTES: u64 = 8 * 1024 * 1024;

/// The journal's first line.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) seq: u64,
    pub(crate) incarnation: String,
    pub(crate) header: ItemHeader,
    pub(crate) resumed: Option<Resumed>,
}

/// The journal's further lines.
#[derive(Serialize, Deserialize)]
struct Mark {
    offset: u64,
    sha256: Sha256Digest,
}

pub(crate) struct Incoming {
    pub(crate) about: About,
    /// Bytes of the quota that this item holds.
    pub(crate) charge: u64,
    /// `incoming/<number>`, without extension.
    stem: PathBuf,
    hasher: Hasher,
    buffer: Vec<u8>,
    file: Option<File>,
    flushed: u64,
    synced: u64,
    written_back: u64,
    journal: Option<(File, u64)>,
}

/// The bytes of a sealed item: in a file, or nowhere because the blob is there already.
pub(crate) struct SealedBytes {
    pub(crate) file: Option<PathBuf>,
    pub(crate) journal: Option<PathBuf>,
}

impl Incoming {
    pub(crate) fn new(dir: &Path, number: u64, about: About) -> Self {
        Self {
            about,
            charge: 0,
            stem: dir.join(number.to_string()),
            hasher: Hasher::default(),
            buffer: Vec::new(),
            file: None,
            flushed: 0,
            synced: 0,
            written_back: 0,
            journal: None,
        }
    }

    fn part(&self) -> PathBuf {
        self.stem.with_extension("part")
    }

    fn journal_path(&self) -> PathBuf {
        self.stem.with_extension("journal")
    }

    /// Bytes received.
    pub(crate) fn offset(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    /// Bytes that are durable as a partial item.
    pub(crate) fn durable_offset(&self) -> u64 {
        self.synced
    }

    /// The digest of the bytes received.
    pub(crate) fn sha256_so_far(&self) -> Sha256Digest {
        self.hasher.so_far()
    }

    /// Adds bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hasher.update(bytes);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        let path = self.part();
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(disk::create_new(&path, 0o600).context("make", &path)?),
        };
        file.write_all_at(&self.buffer, self.flushed).context("write", &path)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        if self.flushed - self.written_back >= WRITEBACK_BYTES {
            disk::start_writeback(file);
            self.written_back = self.flushed;
        }
        Ok(())
    }

    /// Makes what was received durable, so that its offset may be acknowledged.
    pub(crate) fn make_durable(&mut self) -> Result<(), StoreError> {
        if self.offset() == self.synced && self.journal.is_some() {
            return Ok(());
        }
        self.flush()?;
        let (path, dir) = (self.journal_path(), self.dir());
        if let Some(file) = &self.file {
            file.sync_data().context("sync", &self.part())?;
        }
        let mark = Mark { offset: self.flushed, sha256: self.sha256_so_far() };
        match &mut self.journal {
            Some((file, length)) => {
                let line = json_line(&mark);
                disk::append(file, *length, &line, &path)?;
                *length += line.len() as u64;
            }
            None => {
                let lines = [json_line(&self.about), json_line(&mark)].concat();
                let file = disk::create_new(&path, 0o600).context("make", &path)?;
                disk::append(&file, 0, &lines, &path)?;
                disk::sync_dir(&dir)?;
                self.journal = Some((file, lines.len() as u64));
            }
        }
        self.synced = self.flushed;
        Ok(())
    }

    /// Continues these bytes as another entry: a later incarnation showed the same prefix.
    pub(crate) fn adopt(&mut self, about: About) -> Result<(), StoreError> {
        let (path, dir) = (self.journal_path(), self.dir());
        let mark = Mark { offset: self.offset(), sha256: self.sha256_so_far() };
        let lines = [json_line(&about), json_line(&mark)].concat();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        disk::replace(&dir, &name, &lines)?;
        let file = OpenOptions::new().write(true).open(&path).context("open", &path)?;
        self.journal = Some((file, lines.len() as u64));
        self.about = about;
        Ok(())
    }

    /// Ends the item: all bytes are in a file, and writeback has begun. Where `held` says that
    /// the blob is there already, no file stays.
    pub(crate) fn seal(mut self, held: bool) -> Result<SealedBytes, StoreError> {
        if held {
            self.discard()?;
            return Ok(SealedBytes { file: None, journal: None });
        }
        self.flush()?;
        if let Some(file) = &self.file {
            disk::start_writeback(file);
        }
        let journal = self.journal.is_some().then(|| self.journal_path());
        Ok(SealedBytes { file: Some(self.part()), journal })
    }

    /// Removes what is on the disk.
    pub(crate) fn discard(&self) -> Result<(), StoreError> {
        disk::remove(&self.part())?;
        disk::remove(&self.journal_path())
    }

    fn dir(&self) -> PathBuf {
        self.stem.parent().unwrap_or(Path::new(".")).to_owned()
    }

    /// The partial item of a journal, its file cut to the last durable offset and hashed again.
    /// `None` when there is nothing that can be continued.
    pub(crate) fn load(journal: &Path) -> Result<Option<Self>, StoreError> {
        let file = OpenOptions::new().read(true).write(true).open(journal);
        let file = file.context("open", journal)?;
        let mut lines = BufReader::new(&file);
        let (mut line, mut length) = (Vec::new(), 0u64);
        let mut next = |length: &mut u64| -> Result<Option<Vec<u8>>, StoreError> {
            line.clear();
            let read = (&mut lines).take(LINE_BYTES).read_until(b'\n', &mut line);
            *length += read.context("read", journal)? as u64;
            Ok(line.ends_with(b"\n").then(|| line.clone()))
        };
        let about = next(&mut length)?.and_then(|line| serde_json::from_slice(&line).ok());
        let Some(about) = about else { return Ok(None) };
        let (mut mark, mut marked) = (None::<Mark>, 0);
        while let Some(line) = next(&mut length)? {
            let Ok(read) = serde_json::from_slice(&line) else {
                break;
            };
            (mark, marked) = (Some(read), length);
        }
        let Some(mark) = mark else { return Ok(None) };
        let stem = journal.with_extension("");
        let part = stem.with_extension("part");
        let Ok(bytes) = OpenOptions::new().read(true).write(true).open(&part) else {
            return Ok(None);
        };
        let hasher = rehash(&bytes, mark.offset, &part)?;
        if hasher.so_far() != mark.sha256 {
            return Ok(None);
        }
        disk::cut(&bytes, mark.offset, &part)?;
        disk::cut(&file, marked, journal)?;
        Ok(Some(Self {
            about,
            charge: mark.offset,
            stem,
            hasher,
            buffer: Vec::new(),
            file: Some(bytes),
            flushed: mark.offset,
            synced: mark.offset,
            written_back: mark.offset,
            journal: Some((file, marked)),
        }))
    }
}

fn json_line(value: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}

/// The hash of a file's first bytes; of fewer where the file is shorter.
fn rehash(file: &File, length: u64, path: &Path) -> Result<Hasher, StoreError> {
    let (mut hasher, mut rest) = (Hasher::default(), file.take(length));
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match rest.read(&mut buffer).context("read", path)? {
            0 => return Ok(hasher),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cleanroom_evidence::{Clock, ItemKind};
    use std::fs;

    fn about() -> About {
        About {
            seq: 3,
            incarnation: "a".into(),
            header: ItemHeader {
                source: "volumes".into(),
                kind: ItemKind::Raw,
                name: "disk".into(),
                file: None,
                read_at: Clock::default(),
                labels: Default::default(),
            },
            resumed: None,
        }
    }

    #[test]
    fn a_torn_file_and_journal_resume_at_the_last_durable_offset() {
        let dir = tempfile::tempdir().unwrap();
        let mut item = Incoming::new(dir.path(), 1, about());
        item.push(&[1; 3_000_000]).unwrap();
        item.make_durable().unwrap();
        let (first, digest) = (item.offset(), item.sha256_so_far());
        item.push(&[2; 2_000_000]).unwrap();
        item.make_durable().unwrap();
        let (second, whole) = (item.offset(), item.sha256_so_far());
        item.push(&[3; 2_000_000]).unwrap();
        drop(item);
        let journal = dir.path().join("1.journal");
        let bytes = fs::read(&journal).unwrap();
        let first_mark = bytes.split_inclusive(|b| *b == b'\n').take(2).map(<[u8]>::len).sum();
        let header: usize = bytes.split_inclusive(|b| *b == b'\n').next().unwrap().len();
        for length in (0..=bytes.len()).rev() {
            let copy = tempfile::tempdir().unwrap();
            fs::copy(dir.path().join("1.part"), copy.path().join("1.part")).unwrap();
            let journal = copy.path().join("1.journal");
            fs::write(&journal, &bytes[..length]).unwrap();
            if length % 17 != 0 && ![header, first_mark, bytes.len()].contains(&length) {
                continue;
            }
            let loaded = Incoming::load(&journal).unwrap();
            let expected = match length {
                n if n == bytes.len() => Some((second, whole)),
                n if n >= first_mark => Some((first, digest)),
                _ => None,
            };
            assert_eq!(loaded.map(|i| (i.offset(), i.sha256_so_far())), expected, "{length}");
        }
        // Bytes that are not those of the journal are not continued.
        let part = dir.path().join("1.part");
        fs::File::options().write(true).open(&part).unwrap().write_all_at(b"x", 5).unwrap();
        assert!(Incoming::load(&journal).unwrap().is_none());
    }
}

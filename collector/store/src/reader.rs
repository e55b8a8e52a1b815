//! The reading side of a case: what the signed checkpoint covers, and nothing beyond it.

use crate::{
    blobs,
    case::CaseInfo,
    custody::{Custody, VerifierKey},
    error::{Context, StoreError},
    lines::{Body, LINE_BYTES, Line, Resumed},
    session_info::{SESSION_FILE, SessionInfo},
    slot::ITEMS_FILE,
};
use cleanroom_evidence::{HostId, ItemHeader, Seal, SessionId, Sha256Digest, SourceOutcome};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    str::FromStr,
};

/// An item that is durable, as a session lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredItem {
    /// Its number in the session.
    pub seq: u64,
    /// The incarnation of the agent that sealed it.
    pub incarnation: String,
    /// What it is.
    pub header: ItemHeader,
    /// Its digest, length and how its read ended.
    pub seal: Seal,
    /// Present where a killed agent's later incarnation went on with it.
    pub resumed: Option<Resumed>,
    /// The custody entry that covers it.
    pub custody_index: u64,
}

/// Something that an agent or the ingest noted in a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// Its number in the session.
    pub seq: u64,
    /// The incarnation of the agent that gave it.
    pub incarnation: String,
    /// What it is, e.g. `footprint`.
    pub kind: String,
    /// What it says.
    pub body: Value,
    /// The custody entry that covers it.
    pub custody_index: u64,
}

/// A case, open for reading.
#[derive(Clone, Debug)]
pub struct CaseReader {
    dir: PathBuf,
    info: CaseInfo,
    key: VerifierKey,
}

impl CaseReader {
    pub(crate) fn open(dir: &Path, key: VerifierKey) -> Result<Self, StoreError> {
        Ok(Self { dir: dir.to_owned(), info: CaseInfo::read(dir)?, key })
    }

    pub(crate) fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The case's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where finished bundles are kept.
    pub fn bundles_dir(&self) -> PathBuf {
        self.dir.join("bundles")
    }

    /// What the case is.
    pub fn info(&self) -> &CaseInfo {
        &self.info
    }

    /// The sessions, by host and session id.
    pub fn sessions(&self) -> Result<Vec<SessionInfo>, StoreError> {
        let mut sessions = Vec::new();
        let root = self.dir.join("sessions");
        for host in ids::<HostId>(&root)? {
            let dir = root.join(host.as_str());
            for session in ids::<SessionId>(&dir)? {
                let dir = dir.join(session.as_str());
                // Without the file the session was never opened to its end: nothing is in it.
                if dir.join(SESSION_FILE).is_file() {
                    sessions.push(SessionInfo::read(&dir)?);
                }
            }
        }
        Ok(sessions)
    }

    /// A session's folder.
    pub fn session_dir(&self, host: &HostId, session: &SessionId) -> PathBuf {
        self.dir.join("sessions").join(host.as_str()).join(session.as_str())
    }

    fn lines(&self, session: &SessionInfo) -> Result<Lines, StoreError> {
        let size = self.custody()?.head.size;
        let path = self.session_dir(&session.host, &session.session).join(ITEMS_FILE);
        Ok(Lines { lines: Some(RawLines::open(&path)?), size })
    }

    /// The items of a session in their order.
    pub fn items(
        &self,
        session: &SessionInfo,
    ) -> Result<impl Iterator<Item = Result<StoredItem, StoreError>> + use<>, StoreError> {
        Ok(self.lines(session)?.filter_map(|line| match line {
            Ok(Line { seq, incarnation, custody_index, body: Body::Item(item) }) => {
                Some(Ok(StoredItem {
                    seq,
                    incarnation,
                    header: item.header,
                    seal: item.seal,
                    resumed: item.resumed,
                    custody_index,
                }))
            }
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }))
    }

    /// How the sources of a session ended, in that order. A source that ran again after the agent
    /// was killed is there again.
    pub fn outcomes(&self, session: &SessionInfo) -> Result<Vec<SourceOutcome>, StoreError> {
        let outcomes = self.lines(session)?.filter_map(|line| match line {
            Ok(Line { body: Body::Outcome(outcome), .. }) => Some(Ok(outcome)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        outcomes.collect()
    }

    /// The notes of a session in their order.
    pub fn notes(&self, session: &SessionInfo) -> Result<Vec<Note>, StoreError> {
        let notes = self.lines(session)?.filter_map(|line| match line {
            Ok(Line { seq, incarnation, custody_index, body: Body::Note { kind, body } }) => {
                Some(Ok(Note { seq, incarnation, kind, body, custody_index }))
            }
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        notes.collect()
    }

    /// Where a blob is, or would be.
    pub fn blob_path(&self, sha256: &Sha256Digest) -> PathBuf {
        blobs::path(&self.dir, sha256)
    }

    /// Opens a blob. Whoever exports it hashes it again.
    pub fn open_blob(&self, sha256: &Sha256Digest) -> Result<File, StoreError> {
        let path = self.blob_path(sha256);
        File::open(&path).context("open", &path)
    }

    /// The custody log as its checkpoint signs it now; the checkpoint is verified.
    pub fn custody(&self) -> Result<Custody, StoreError> {
        Custody::read(&self.dir.join("custody"), &self.key)
    }
}

/// The names in a folder that are ids, sorted; other names are nobody's.
fn ids<Id: FromStr + Ord>(dir: &Path) -> Result<Vec<Id>, StoreError> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(dir).context("list", dir)? {
        let name = entry.context("list", dir)?.file_name();
        ids.extend(name.to_str().and_then(|name| name.parse::<Id>().ok()));
    }
    ids.sort();
    Ok(ids)
}

/// The whole lines of a list, with where each begins; a torn last line is left out.
pub(crate) struct RawLines {
    path: PathBuf,
    lines: BufReader<File>,
    number: u64,
    /// Where the next line begins, in bytes.
    pub(crate) offset: u64,
}

impl RawLines {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).context("open", path)?;
        let lines = BufReader::with_capacity(1 << 18, file);
        Ok(Self { path: path.to_owned(), lines, number: 0, offset: 0 })
    }

    /// The next line: parsed, or why it does not parse. `None` at the end or at a torn line.
    pub(crate) fn next(&mut self) -> io::Result<Option<Result<Line, String>>> {
        let mut line = Vec::new();
        let read = (&mut self.lines).take(LINE_BYTES).read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok(None);
        }
        self.number += 1;
        self.offset += read as u64;
        Ok(Some(serde_json::from_slice(&line).map_err(|error| error.to_string())))
    }

    pub(crate) fn broken(&self, why: &str) -> StoreError {
        StoreError::ItemsBroken { path: self.path.clone(), line: self.number, why: why.to_owned() }
    }
}

/// The lines that the checkpoint covers.
struct Lines {
    lines: Option<RawLines>,
    size: u64,
}

impl Iterator for Lines {
    type Item = Result<Line, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let lines = self.lines.as_mut()?;
        let next = match lines.next() {
            Ok(Some(Ok(line))) if line.custody_index < self.size => Some(Ok(line)),
            Ok(Some(Ok(_)) | None) => None,
            Ok(Some(Err(why))) => Some(Err(lines.broken(&why))),
            Err(error) => Some(Err(error).context("read", &lines.path)),
        };
        if !matches!(next, Some(Ok(_))) {
            self.lines = None;
        }
        next
    }
}

//! A case as one bundle shows it: one consistent state of the store, read once. What writes into
//! a bundle (records, report, findings, timeline) gets this and nothing else of the store.

use crate::{BundleError, copy::Copier, item::Item};
use cleanroom_evidence::{ItemKind, Sha256Digest, SourceOutcome, Timestamp};
use cleanroom_store::{CaseInfo, CaseReader, Custody, Note, SessionInfo};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
};

/// Longest record that is handed out, in bytes; a longer line is skipped.
const LINE_BYTES: u64 = 16 * 1024 * 1024;

/// One session of one host.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Who, when, with which agent.
    pub info: SessionInfo,
    /// Its items, in the order in which they came.
    pub items: Vec<Item>,
    /// How its sources ended.
    pub outcomes: Vec<SourceOutcome>,
    /// What agent and collector noted.
    pub notes: Vec<Note>,
}

/// A case at one size of its custody log.
pub struct CaseView<'a> {
    reader: &'a CaseReader,
    /// Its sessions, by host and session id.
    pub sessions: Vec<SessionView>,
    /// Custody entries that this view covers: items of later ones are not in it.
    pub entries: u64,
    /// When the export began, in whole seconds.
    pub exported: Timestamp,
}

impl<'a> CaseView<'a> {
    /// Reads a case. `exported` is cut to whole seconds.
    pub fn read(reader: &'a CaseReader, exported: Timestamp) -> Result<Self, BundleError> {
        let entries = reader.custody()?.head.size;
        let mut sessions = Vec::new();
        for info in reader.sessions()? {
            let mut items = Vec::new();
            for item in reader.items(&info)? {
                let item = item?;
                if item.custody_index < entries {
                    items.push(item);
                }
            }
            sessions.push(SessionView {
                outcomes: reader.outcomes(&info)?,
                notes: reader.notes(&info)?,
                items,
                info,
            });
        }
        Ok(Self { reader, sessions, entries, exported: Timestamp::new(exported.unix_seconds, 0) })
    }

    /// What the case is.
    pub fn info(&self) -> &CaseInfo {
        self.reader.info()
    }

    /// The signed head of the custody log, with the key that signs it.
    pub fn custody(&self) -> Result<Custody, BundleError> {
        Ok(self.reader.custody()?)
    }

    /// Opens a blob of the store by its digest.
    pub fn open(&self, sha256: &Sha256Digest) -> Result<File, BundleError> {
        Ok(self.reader.open_blob(sha256)?)
    }

    /// The first bytes of an item, unchecked.
    pub fn head(&self, item: &Item, bytes: u64) -> Result<Vec<u8>, BundleError> {
        let mut head = Vec::new();
        if item.seal.length_bytes > 0 {
            let file = self.open(&item.seal.sha256)?;
            file.take(bytes).read_to_end(&mut head).map_err(|error| BundleError::Blob {
                sha256: item.seal.sha256,
                why: format!("cannot be read: {error}"),
            })?;
        }
        Ok(head)
    }

    /// Hands out every record of a set in one session: the item that holds it, its line there
    /// (from 1) and its JSON without the newline. Bounded memory; a blob that differs from its seal
    /// is found when the item itself is exported.
    pub fn records(
        &self,
        session: &SessionView,
        set: &str,
        mut take: impl FnMut(&Item, u64, &[u8]) -> Result<(), BundleError>,
    ) -> Result<(), BundleError> {
        let wanted = |item: &&Item| {
            item.header.kind == ItemKind::Records && item.header.name.as_bytes() == set.as_bytes()
        };
        for item in session.items.iter().filter(wanted) {
            self.lines(item, |number, line| take(item, number, line))?;
        }
        Ok(())
    }

    /// Hands out the lines of one item, each with its number (from 1).
    pub fn lines(
        &self,
        item: &Item,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), BundleError>,
    ) -> Result<(), BundleError> {
        if item.seal.length_bytes == 0 {
            return Ok(());
        }
        let unreadable = |error| BundleError::Blob {
            sha256: item.seal.sha256,
            why: format!("cannot be read: {error}"),
        };
        let mut input = BufReader::with_capacity(1 << 18, self.open(&item.seal.sha256)?);
        let (mut line, mut number, mut skipping) = (Vec::new(), 1u64, false);
        loop {
            line.clear();
            let read =
                (&mut input).take(LINE_BYTES).read_until(b'\n', &mut line).map_err(unreadable)?;
            if read == 0 {
                return Ok(());
            }
            let ended = line.last() == Some(&b'\n');
            if ended {
                line.pop();
            }
            let whole = ended || (read as u64) < LINE_BYTES;
            if whole && !skipping && !line.is_empty() {
                take(number, &line)?;
            }
            skipping = !whole;
            number += u64::from(ended);
        }
    }

    /// Runs `with` over a copier of this case's blobs.
    pub(crate) fn with_copier<T>(&self, with: impl FnOnce(&Copier<'_>) -> T) -> T {
        let open = |sha256: &Sha256Digest| self.open(sha256);
        with(&Copier::new(&open))
    }
}

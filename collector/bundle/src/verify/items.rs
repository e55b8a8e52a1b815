//! Items against their bytes: what each session's `items.jsonl` says of the files that follow it,
//! and what the custody log must then confirm.

use super::{
    error::{VerifyError, form},
    input::{Lines, Segment, segments},
};
use crate::item::{ItemLine, identity};
use cleanroom_evidence::{HostId, SessionId, Sha256Digest};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
};

/// Bytes of a line of `items.jsonl` at most.
const LINE: usize = 4 * 1024 * 1024;

/// What is known of the items so far.
#[derive(Default)]
pub(super) struct Items {
    /// Sessions seen.
    pub(super) sessions: u64,
    /// Items seen.
    pub(super) count: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Items that the custody log has yet to confirm, by the entry they name.
    waiting: BTreeMap<u64, (Sha256Digest, u64)>,
    /// Highest entry that an item names.
    highest: Option<u64>,
    /// Files that must come yet, with the items in them.
    expected: BTreeMap<String, Vec<Segment>>,
    /// Tars that must come yet.
    tars: BTreeSet<String>,
    /// The custody entries of items that no list has.
    dropped: Vec<(u64, String)>,
}

impl Items {
    /// Takes a file of the payload.
    pub(super) fn file(
        &mut self,
        path: &str,
        input: &mut dyn Read,
    ) -> io::Result<Result<(), VerifyError>> {
        let Some(rest) = path.strip_prefix("data/hosts/") else {
            return Ok(Ok(()));
        };
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            [host, session, "items.jsonl"] => {
                let (Ok(host), Ok(session)) = (host.parse(), session.parse()) else {
                    return Ok(Err(form(path, "its folder is not a host and a session")));
                };
                self.list(path, &host, &session, input)
            }
            [host, session, "records" | "raw" | "volumes", _] => {
                let Some(wanted) = self.expected.remove(path) else {
                    return Ok(Err(VerifyError::Extra {
                        path: path.to_owned(),
                        by: "items.jsonl",
                    }));
                };
                let list = format!("data/hosts/{host}/{session}/items.jsonl");
                let result = segments(input, &wanted)?;
                Ok(result.map_err(|(seq, why)| VerifyError::Item {
                    path: list,
                    seq,
                    why: format!("{path}: {why}"),
                }))
            }
            _ => {
                self.tars.remove(path);
                Ok(Ok(()))
            }
        }
    }

    fn list(
        &mut self,
        path: &str,
        host: &HostId,
        session: &SessionId,
        input: &mut dyn Read,
    ) -> io::Result<Result<(), VerifyError>> {
        self.sessions += 1;
        let mut lines = Lines::new(input, LINE);
        loop {
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(form(path, error))),
            };
            let item: ItemLine = match serde_json::from_slice(&line) {
                Ok(item) => item,
                Err(error) => return Ok(Err(form(path, error))),
            };
            if let Err(error) = self.item(path, host, session, &item) {
                return Ok(Err(error));
            }
        }
    }

    fn item(
        &mut self,
        path: &str,
        host: &HostId,
        session: &SessionId,
        item: &ItemLine,
    ) -> Result<(), VerifyError> {
        let bad = |why: &str| VerifyError::Item {
            path: path.to_owned(),
            seq: item.seq,
            why: why.to_owned(),
        };
        self.count += 1;
        self.bytes = self.bytes.saturating_add(item.seal.length_bytes);
        let identity = identity(host, session, item.seq, &item.seal.sha256);
        let waiting = (identity, item.seq);
        if self.waiting.insert(item.custody_index, waiting).is_some() {
            return Err(bad("another item names the same custody entry"));
        }
        self.highest = self.highest.max(Some(item.custody_index));
        let folder = format!("data/hosts/{host}/{session}/");
        match (&item.place.bundle_path, &item.place.tar_member) {
            (Some(file), _) if !file.starts_with(&folder) || file.as_str() <= path => {
                Err(bad("its bytes are said to lie outside its session"))
            }
            (Some(tar), Some(_)) => {
                self.tars.insert(tar.clone());
                Ok(())
            }
            (Some(file), None) => {
                let segments = self.expected.entry(file.clone()).or_default();
                segments.push(Segment {
                    seq: item.seq,
                    offset: item.place.offset_bytes.unwrap_or(0),
                    length: item.seal.length_bytes,
                    sha256: item.seal.sha256,
                });
                Ok(())
            }
            (None, _) if item.seal.length_bytes > 0 => Err(bad("its bytes are nowhere")),
            (None, _) => Ok(()),
        }
    }

    /// An entry of the custody log says that this item was received.
    pub(super) fn received(
        &mut self,
        index: u64,
        host: &HostId,
        session: &SessionId,
        seq: u64,
        sha256: &Sha256Digest,
    ) -> Result<(), VerifyError> {
        let path = format!("data/hosts/{host}/{session}/items.jsonl");
        match self.waiting.remove(&index) {
            Some((known, _)) if known == identity(host, session, seq, sha256) => Ok(()),
            Some(_) => Err(VerifyError::Item {
                path,
                seq,
                why: format!("entry {index} of the custody log says something else of it"),
            }),
            None => {
                // Whether it had to be in the bundle is known when the export's entry is found.
                if self.dropped.len() < 2 {
                    self.dropped.push((index, format!("{path}: item {seq}")));
                }
                Ok(())
            }
        }
    }

    /// Judges, given how many entries of the log the bundle covers.
    pub(super) fn finish(&self, through: u64) -> Result<(), VerifyError> {
        if let Some((index, name)) = self.dropped.iter().find(|(index, _)| *index < through) {
            return Err(form(
                name,
                format!("entry {index} of the custody log received it, the bundle has dropped it"),
            ));
        }
        if let Some((index, (_, seq))) = self.waiting.first_key_value() {
            return Err(form(
                &format!("items.jsonl: item {seq}"),
                format!("the custody log never received it (entry {index})"),
            ));
        }
        if self.highest.is_some_and(|highest| highest >= through) {
            return Err(form(
                "items.jsonl",
                "it has items of after the export that the custody log records",
            ));
        }
        let file = self.expected.keys().chain(&self.tars).next();
        file.map_or(Ok(()), |path| {
            Err(VerifyError::Missing {
                path: path.clone(),
                by: "items.jsonl",
            })
        })
    }
}

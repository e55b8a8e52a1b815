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
            Err(VerifyError::Missing { path: path.clone(), by: "items.jsonl" })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{Place, test::item};
    use cleanroom_evidence::ItemKind;

    const LIST: &str = "data/hosts/h/s/items.jsonl";

    fn list(numbers: &[u64]) -> String {
        let line = |seq: &u64| {
            let mut item = item(*seq, ItemKind::Raw, b"x", None, b"bytes");
            item.custody_index = *seq + 10;
            let place = Place {
                bundle_path: Some(format!("data/hosts/h/s/raw/{seq}.bin")),
                ..Place::default()
            };
            serde_json::to_string(&ItemLine::new(&item, &place)).unwrap() + "\n"
        };
        numbers.iter().map(line).collect()
    }

    /// Items 1 and 2 in the bundle; the log received `received`; the export covers `through`.
    fn judge(received: &[(u64, u64)], through: u64, files: &[u64]) -> Result<(), String> {
        let mut items = Items::default();
        let (host, session) = ("h".parse().unwrap(), "s".parse().unwrap());
        let mut result = items.file(LIST, &mut list(&[1, 2]).as_bytes()).unwrap();
        for seq in files {
            let path = format!("data/hosts/h/s/raw/{seq}.bin");
            result = result.and(items.file(&path, &mut &b"bytes"[..]).unwrap());
        }
        for (index, seq) in received {
            let sha256 = Sha256Digest::of(b"bytes");
            result = result.and(items.received(*index, &host, &session, *seq, &sha256));
        }
        let result = result.and_then(|()| items.finish(through));
        result.map_err(|error| error.to_string())
    }

    #[test]
    fn list_log_and_files_must_agree() {
        let both = [(11, 1), (12, 2)];
        assert_eq!(judge(&both, 20, &[1, 2]), Ok(()));
        let late = [(11, 1), (12, 2), (25, 3)];
        assert_eq!(judge(&late, 20, &[1, 2]), Ok(()), "received after the export");
        let cases = [
            (judge(&late, 26, &[1, 2]), "item 3"),
            (judge(&[(11, 1)], 20, &[1, 2]), "never received it (entry 12)"),
            (judge(&[(11, 2), (12, 1)], 20, &[1, 2]), "says something else"),
            (judge(&both, 12, &[1, 2]), "of after the export"),
            (judge(&both, 20, &[1]), "raw/2.bin is missing"),
            (judge(&both, 20, &[1, 2, 3]), "raw/3.bin is extra"),
        ];
        for (found, says) in cases {
            assert!(found.as_ref().is_err_and(|why| why.contains(says)), "{says}: {found:?}");
        }
    }

    #[test]
    fn a_line_cannot_point_outside_its_session() {
        for path in ["data/case.json", "data/hosts/h/t/raw/1.bin", LIST, "data/hosts/h/s/a"] {
            let line = list(&[1]).replace("data/hosts/h/s/raw/1.bin", path);
            let result = Items::default().file(LIST, &mut line.as_bytes()).unwrap();
            assert!(result.is_err(), "{path}");
        }
        let twice = list(&[1, 1]);
        assert!(Items::default().file(LIST, &mut twice.as_bytes()).unwrap().is_err());
        let wrong = list(&[1]) + "{}\n";
        assert!(Items::default().file(LIST, &mut wrong.as_bytes()).unwrap().is_err());
    }
}

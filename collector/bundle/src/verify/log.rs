//! The custody log in a bundle: its entries, the tree over them, the tiles that they must give, and
//! what they say of items and of this export.

use super::{
    error::{VerifyError, form},
    input::{LineError, Lines},
    items::Items,
};
use crate::custody::LOG;
use cleanroom_evidence::Sha256Digest;
use cleanroom_store::{
    Entry, StoreError,
    custody::{Checkpoint, ENTRY_BYTES, for_each_tile, merkle},
};
use std::{
    cmp::Ordering,
    collections::BTreeMap,
    io::{self, Read},
};

/// What was read of the log.
#[derive(Default)]
pub(super) struct Log {
    tree: merkle::Tree,
    tiles: BTreeMap<String, Sha256Digest>,
    /// The exports that the log records: the tag manifest of each, and the entries it covers.
    exports: Vec<(Sha256Digest, u64)>,
}

impl Log {
    /// Reads every entry.
    pub(super) fn read(
        &mut self,
        input: &mut dyn Read,
        items: &mut Items,
    ) -> io::Result<Result<(), VerifyError>> {
        let mut lines = Lines::new(input, ENTRY_BYTES + 1);
        let (mut wrong, mut broken) = (None, None);
        let Self { tree, tiles, exports } = self;
        let entries = std::iter::from_fn(|| match lines.next() {
            Ok(None) => None,
            Err(LineError::Read(error)) => {
                broken = Some(error);
                None
            }
            Err(error) => {
                wrong.get_or_insert(form(LOG, error));
                None
            }
            Ok(Some(line)) => {
                let index = tree.size();
                tree.push(merkle::leaf_hash(&line));
                if wrong.is_none()
                    && let Err(error) = entry(index, &line, items, exports)
                {
                    wrong = Some(error);
                }
                Some(Ok::<_, StoreError>(line))
            }
        });
        let tiled = for_each_tile(entries, |path, bytes| {
            tiles.insert(format!("custody/{path}"), Sha256Digest::of(bytes));
            Ok(())
        });
        if let Some(error) = broken {
            return Err(error);
        }
        if let Err(error) = tiled {
            wrong.get_or_insert(form(LOG, error));
        }
        Ok(wrong.map_or(Ok(()), Err))
    }

    /// Takes a tile.
    pub(super) fn tile(&mut self, path: &str, found: Sha256Digest) -> Result<(), VerifyError> {
        match self.tiles.remove(path) {
            None => Err(VerifyError::Extra { path: path.to_owned(), by: LOG }),
            Some(expected) if expected != found => {
                Err(VerifyError::Changed { path: path.to_owned(), by: LOG, expected, found })
            }
            Some(_) => Ok(()),
        }
    }

    /// Compares with the signed head.
    pub(super) fn head(&self, head: &Checkpoint) -> Result<(), VerifyError> {
        let (size, signed) = (self.tree.size(), head.size);
        let why = match size.cmp(&signed) {
            Ordering::Less => {
                format!(
                    "it was truncated: {size} of the {signed} entries that were signed are there"
                )
            }
            Ordering::Greater => {
                format!("it was extended: {size} entries, only {signed} were signed")
            }
            Ordering::Equal if self.tree.root() != head.root => {
                "an entry was changed: its root is not the signed one".to_owned()
            }
            Ordering::Equal => return Ok(()),
        };
        Err(VerifyError::Log { why })
    }

    /// Every tile must have come.
    pub(super) fn tiles(&self) -> Result<(), VerifyError> {
        let missing = self.tiles.keys().next();
        missing.map_or(Ok(()), |path| Err(VerifyError::Missing { path: path.clone(), by: LOG }))
    }

    /// How many entries the export of the bundle with this tag manifest covers.
    pub(super) fn covered(&self, tag_manifest: Sha256Digest) -> Result<u64, VerifyError> {
        let mut exports = self.exports.iter();
        let this = exports.find(|(digest, _)| *digest == tag_manifest);
        this.map(|(_, through)| *through).ok_or_else(|| VerifyError::Log {
            why: "it does not record the export of this bundle".to_owned(),
        })
    }
}

fn entry(
    index: u64,
    line: &[u8],
    items: &mut Items,
    exports: &mut Vec<(Sha256Digest, u64)>,
) -> Result<(), VerifyError> {
    let log = |why: &str| VerifyError::Log { why: format!("entry {index}: {why}") };
    let entry: Entry = serde_json::from_slice(line).map_err(|error| log(&error.to_string()))?;
    if entry.index != index {
        return Err(log("it is numbered otherwise"));
    }
    let digest = |column: &str| -> Option<Sha256Digest> {
        entry.subject.get(column)?.as_str()?.parse().ok()
    };
    let number = |column: &str| entry.subject.get(column)?.as_u64();
    match entry.kind.as_str() {
        "item.received" => {
            let (Some(host), Some(session), Some(seq), Some(sha256)) =
                (&entry.host, &entry.session, number("seq"), digest("sha256"))
            else {
                return Err(log("it does not say which item was received"));
            };
            items.received(index, host, session, seq, &sha256)
        }
        "bundle.exported" => {
            let (Some(tags), Some(through)) = (digest("tagmanifest_sha256"), number("entries"))
            else {
                return Err(log("it does not say which bundle was exported"));
            };
            exports.push((tags, through.min(index)));
            Ok(())
        }
        _ => Ok(()),
    }
}

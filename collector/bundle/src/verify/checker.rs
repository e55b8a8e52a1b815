//! Takes the files of a bundle one by one, in their order, and judges at the end: so that the
//! error named is the one that explains most, not the one that happened to come first.

use super::{
    Verified, VerifyError, VerifyOptions,
    error::{First, Rank, form},
    input::{Hashing, Lines, small},
    items::Items,
    log::Log,
};
use crate::{
    bag::{
        info::{self, BAGIT_TXT},
        manifest,
        path::{BAG_INFO, BAGIT, CUSTODY, DATA, MANIFEST, TAG_MANIFEST, order},
    },
    custody::{CHECKPOINT, DSSE, KEY_PEM, KEY_PUB, LOG, TILES},
    dsse,
};
use cleanroom_evidence::Sha256Digest;
use cleanroom_store::custody::{VerifierKey, note, origin, spki_pem};
use std::{
    cmp::Ordering,
    collections::BTreeMap,
    io::{self, Read},
};

/// Bytes of a small file (key, checkpoint, signature, tag files) at most.
const SMALL: usize = 64 * 1024;
/// Bytes of a manifest's line at most.
const MANIFEST_LINE: usize = 1024;

/// The state of one verification.
#[derive(Default)]
pub(super) struct Checker {
    last: Option<String>,
    payload: BTreeMap<String, Sha256Digest>,
    payload_bytes: u64,
    tags: BTreeMap<&'static str, Sha256Digest>,
    small: BTreeMap<&'static str, Vec<u8>>,
    items: Items,
    log: Option<Log>,
    first: First,
}

/// Small files, and whether the tag manifest lists them.
const SMALL_FILES: [&str; 7] = [BAG_INFO, BAGIT, TAG_MANIFEST, DSSE, CHECKPOINT, KEY_PEM, KEY_PUB];

impl Checker {
    /// Takes the next file. An error here ends the verification at once: the bundle's form is
    /// broken, and what follows could not be judged.
    pub(super) fn file(&mut self, path: &str, input: &mut dyn Read) -> Result<(), VerifyError> {
        if let Some(last) = &self.last
            && order(last, path) != Ordering::Less
        {
            return Err(VerifyError::Foreign {
                path: path.to_owned(),
                why: "it comes twice or out of order",
            });
        }
        self.last = Some(path.to_owned());
        self.dispatch(path, input)
            .map_err(|source| VerifyError::Read { path: path.into(), source })?
    }

    fn dispatch(
        &mut self,
        path: &str,
        input: &mut dyn Read,
    ) -> io::Result<Result<(), VerifyError>> {
        if path.starts_with(DATA) {
            let mut hashing = Hashing::new(input);
            let said = self.items.file(path, &mut hashing)?;
            self.first.note(Rank::Items, said);
            let (sha256, bytes) = hashing.finish()?;
            self.payload_bytes += bytes;
            self.payload.insert(path.to_owned(), sha256);
        } else if let Some(known) = SMALL_FILES.iter().find(|known| **known == path) {
            let bytes = small(input, SMALL)?;
            if bytes.len() > SMALL {
                return Ok(Err(form(path, "it is far too long")));
            }
            self.tags.insert(known, Sha256Digest::of(&bytes));
            self.small.insert(known, bytes);
        } else if path == MANIFEST {
            let mut hashing = Hashing::new(input);
            let said = self.manifest(&mut hashing)?;
            self.first.note(Rank::Payload, said);
            self.tags.insert(MANIFEST, hashing.finish()?.0);
        } else if path == LOG {
            let mut log = Log::default();
            let said = log.read(input, &mut self.items)?;
            self.first.note(Rank::Log, said);
            self.log = Some(log);
        } else if path.starts_with(TILES) {
            let (sha256, _) = Hashing::new(input).finish()?;
            let said = match &mut self.log {
                Some(log) => log.tile(path, sha256),
                None => Ok(()),
            };
            self.first.note(Rank::Tiles, said);
        } else {
            let why = if path.starts_with(CUSTODY) {
                "the custody log has no such file"
            } else {
                "no manifest covers it"
            };
            return Ok(Err(VerifyError::Foreign { path: path.to_owned(), why }));
        }
        Ok(Ok(()))
    }

    /// Compares the manifest with the payload, both in the same order.
    fn manifest(&self, input: &mut dyn Read) -> io::Result<Result<(), VerifyError>> {
        let mut lines = Lines::new(input, MANIFEST_LINE);
        let mut files = self.payload.iter();
        loop {
            let line = match lines.next() {
                Ok(line) => line,
                Err(error) => return Ok(Err(form(MANIFEST, error))),
            };
            let missing = |path: &str| VerifyError::Missing { path: path.to_owned(), by: MANIFEST };
            let extra = |path: &str| VerifyError::Extra { path: path.to_owned(), by: MANIFEST };
            let (line, file) = match (line, files.next()) {
                (None, None) => return Ok(Ok(())),
                (None, Some((path, _))) => return Ok(Err(extra(path))),
                (Some(line), file) => (line, file),
            };
            let Some((expected, listed)) = manifest::parse(&line) else {
                return Ok(Err(form(MANIFEST, "a line of it is not a digest and a path")));
            };
            let error = match file {
                None => missing(listed),
                Some((path, found)) => match listed.cmp(path) {
                    Ordering::Less => missing(listed),
                    Ordering::Greater => extra(path),
                    Ordering::Equal if *found == expected => continue,
                    Ordering::Equal => VerifyError::Changed {
                        path: path.clone(),
                        by: MANIFEST,
                        expected,
                        found: *found,
                    },
                },
            };
            return Ok(Err(error));
        }
    }

    /// Judges.
    pub(super) fn finish(mut self, options: &VerifyOptions) -> Result<Verified, VerifyError> {
        let bytes = |path: &'static str| {
            self.small
                .get(path)
                .ok_or_else(|| VerifyError::Missing { path: path.to_owned(), by: "every bundle" })
        };
        let key = key(bytes(KEY_PUB)?, bytes(KEY_PEM)?)?;
        let fingerprint = dsse::key_id(&key.public_key);
        if let Some(expected) = &options.expected_key
            && *expected != key.to_string()
            && *expected != fingerprint.to_string()
        {
            return Err(VerifyError::WrongKey {
                expected: expected.clone(),
                found: fingerprint.to_string(),
            });
        }
        let statement = dsse::open(bytes(DSSE)?, &key.public_key)?;
        let head = note::verify(bytes(CHECKPOINT)?, &key)?;
        let case = statement.case().clone();
        if key.name != origin(&case) {
            return Err(form(KEY_PUB, "its name is not that of the case's log"));
        }
        let signed = |path: &'static str| {
            let expected = statement
                .digest(path)
                .ok_or_else(|| form(DSSE, format!("it does not cover {path}")))?;
            let found = Sha256Digest::of(bytes(path)?);
            same(path, DSSE, expected, found).map(|()| expected)
        };
        signed(CHECKPOINT)?;
        let tag_manifest = signed(TAG_MANIFEST)?;
        self.tag_files(bytes(TAG_MANIFEST)?)?;
        if bytes(BAGIT)?.as_slice() != BAGIT_TXT.as_bytes() {
            return Err(form(BAGIT, "it is not the declaration of BagIt 1.0"));
        }
        let info = std::str::from_utf8(bytes(BAG_INFO)?).ok();
        let (bagged, exported, oxum_bytes, oxum_files) = info
            .and_then(info::parse)
            .ok_or_else(|| form(BAG_INFO, "a line that every bundle has is missing or doubled"))?;
        let files = self.payload.len() as u64;
        if bagged != case || (oxum_bytes, oxum_files) != (self.payload_bytes, files) {
            let why = "its case or Payload-Oxum is not that of the bundle";
            self.first.add(Rank::Payload, form(BAG_INFO, why));
        }

        match &self.log {
            None => self
                .first
                .add(Rank::Log, VerifyError::Missing { path: LOG.to_owned(), by: "every bundle" }),
            Some(log) => {
                self.first.note(Rank::Log, log.head(&head));
                self.first.note(Rank::Tiles, log.tiles());
                let covered = log.covered(tag_manifest);
                let judged = covered.and_then(|through| self.items.finish(through));
                self.first.note(Rank::Items, judged);
            }
        }
        self.first.finish()?;
        Ok(Verified {
            case,
            sessions: self.items.sessions,
            items: self.items.count,
            item_bytes: self.items.bytes,
            files,
            bytes: self.payload_bytes,
            custody_entries: head.size,
            custody_root: head.root,
            key: key.to_string(),
            key_fingerprint: fingerprint,
            key_was_expected: options.expected_key.is_some(),
            exported,
        })
    }

    /// The tag manifest lists exactly the three other tag files.
    fn tag_files(&self, listed: &[u8]) -> Result<(), VerifyError> {
        let mut expected = String::new();
        for path in [BAG_INFO, BAGIT, MANIFEST] {
            let found = self
                .tags
                .get(path)
                .ok_or_else(|| VerifyError::Missing { path: path.to_owned(), by: TAG_MANIFEST })?;
            expected.push_str(&manifest::line(found, path));
        }
        let lines = listed.split_inclusive(|byte| *byte == b'\n');
        for (line, expected) in lines.zip(expected.lines()) {
            let line = line.strip_suffix(b"\n").and_then(manifest::parse);
            let ours = manifest::parse(expected.as_bytes());
            if let (Some((says, path)), Some((found, same_path))) = (line, ours)
                && path == same_path
            {
                same(path, TAG_MANIFEST, says, found)?;
            }
        }
        if listed != expected.as_bytes() {
            return Err(form(TAG_MANIFEST, "it does not list exactly the tag files"));
        }
        Ok(())
    }
}

fn same(
    path: &str,
    by: &'static str,
    expected: Sha256Digest,
    found: Sha256Digest,
) -> Result<(), VerifyError> {
    if expected == found {
        return Ok(());
    }
    Err(VerifyError::Changed { path: path.to_owned(), by, expected, found })
}

/// The key in both of its forms, each in the one way to write it.
fn key(vkey: &[u8], pem: &[u8]) -> Result<VerifierKey, VerifyError> {
    let text = std::str::from_utf8(vkey).ok();
    let key: VerifierKey = text
        .and_then(|text| text.strip_suffix('\n'))
        .ok_or_else(|| form(KEY_PUB, "it is not one line of text"))?
        .parse()
        .map_err(|error| form(KEY_PUB, error))?;
    if pem != spki_pem(&key.public_key).as_bytes() {
        return Err(form(KEY_PEM, "it is not the key of custody/key.pub"));
    }
    Ok(key)
}

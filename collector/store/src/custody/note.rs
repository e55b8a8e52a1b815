//! Checkpoints: the tree head as a C2SP tlog-checkpoint in a C2SP signed-note.
//!
//! Reading is strict: what is read must be, byte for byte, what this module would write. So one
//! signature covers exactly one text, and no flipped byte passes.

use super::signer::{Signer, verify_signature};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cleanroom_evidence::Sha256Digest;
use std::{fmt, str::FromStr};

/// The signature type byte of Ed25519 in a signed note.
const ED25519_NOTE: u8 = 1;
/// Bytes of a checkpoint at most: ours have some 250.
pub const CHECKPOINT_BYTES: usize = 4096;

/// Why a checkpoint or a key is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoteError {
    /// The text is not a checkpoint as this project writes them.
    #[error("not a checkpoint in its one canonical form: {0}")]
    Form(&'static str),
    /// The signature line names another key.
    #[error("the checkpoint is signed by another key")]
    OtherKey,
    /// The signature is not that of the key over this text.
    #[error("the checkpoint's signature is wrong")]
    BadSignature,
    /// The verifier key's text is malformed or its hash does not fit.
    #[error("not a verifier key: {0}")]
    Key(&'static str),
}

/// The head of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log; also the name of the key that signs it.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// The Merkle root over them.
    pub root: Sha256Digest,
}

impl Checkpoint {
    fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.as_bytes()))
    }
}

/// The public half of a note key, with its name. As text: `<name>+<hash>+<key>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    /// The key's name: here the log's origin.
    pub name: String,
    /// The Ed25519 public key.
    pub public_key: [u8; 32],
}

impl VerifierKey {
    /// The first four bytes of SHA-256(name, newline, type byte, key).
    pub fn hash(&self) -> [u8; 4] {
        let text = [self.name.as_bytes(), b"\n", &[ED25519_NOTE], &self.public_key].concat();
        let [a, b, c, d, ..] = *Sha256Digest::of(&text).as_bytes();
        [a, b, c, d]
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [[ED25519_NOTE].as_slice(), &self.public_key].concat();
        let hash = u32::from_be_bytes(self.hash());
        write!(f, "{}+{hash:08x}+{}", self.name, STANDARD.encode(key))
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(_), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoteError::Key("it has not three parts"));
        };
        if !is_name(name) {
            return Err(NoteError::Key("its name is empty or has a space"));
        }
        let key = STANDARD.decode(key).map_err(|_| NoteError::Key("it is not base64"))?;
        let public_key = match key.split_first() {
            Some((&ED25519_NOTE, rest)) => rest.try_into().ok(),
            _ => None,
        };
        let public_key = public_key.ok_or(NoteError::Key("it is not an Ed25519 key"))?;
        let key = Self { name: name.to_owned(), public_key };
        if key.to_string() != text {
            return Err(NoteError::Key("its hash does not fit"));
        }
        Ok(key)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c.is_whitespace() || c.is_control())
}

/// The signed checkpoint of a log, ready for its file.
pub fn sign(signer: &Signer, checkpoint: &Checkpoint) -> String {
    let key = VerifierKey { name: checkpoint.origin.clone(), public_key: signer.public_key() };
    let body = checkpoint.body();
    let signature = signer.sign(body.as_bytes());
    write_note(&body, &key, &signature)
}

fn write_note(body: &str, key: &VerifierKey, signature: &[u8]) -> String {
    let signed = [key.hash().as_slice(), signature].concat();
    format!("{body}\n\u{2014} {} {}\n", key.name, STANDARD.encode(signed))
}

/// The checkpoint in a note, when this key signed it and nothing about the text is unusual.
pub fn verify(text: &[u8], key: &VerifierKey) -> Result<Checkpoint, NoteError> {
    let form = |what| NoteError::Form(what);
    if text.len() > CHECKPOINT_BYTES {
        return Err(form("too long"));
    }
    let whole = std::str::from_utf8(text).map_err(|_| form("not UTF-8"))?;
    let mut lines = whole.lines();
    let mut line = || lines.next().ok_or(form("too short"));
    let (origin, size, root, empty, signature) = (line()?, line()?, line()?, line()?, line()?);
    let size = size.parse().map_err(|_| form("the size is not a number"))?;
    let root = STANDARD.decode(root).map_err(|_| form("the root is not base64"))?;
    let root =
        Sha256Digest::try_from(root.as_slice()).map_err(|_| form("the root has not 32 bytes"))?;
    if !empty.is_empty() || lines.next().is_some() {
        return Err(form("not exactly one signature after an empty line"));
    }
    let (name, signature) = signature
        .strip_prefix("\u{2014} ")
        .and_then(|line| line.split_once(' '))
        .ok_or(form("no signature line"))?;
    let signed = STANDARD.decode(signature).map_err(|_| form("the signature is not base64"))?;
    let (hash, signature) = signed.split_at_checked(4).ok_or(form("the signature is too short"))?;
    if name != key.name || origin != key.name || hash != key.hash() {
        return Err(NoteError::OtherKey);
    }
    let checkpoint = Checkpoint { origin: origin.to_owned(), size, root };
    let body = checkpoint.body();
    if write_note(&body, key, signature).as_bytes() != text {
        return Err(form("it would be written otherwise"));
    }
    if !verify_signature(&key.public_key, body.as_bytes(), signature) {
        return Err(NoteError::BadSignature);
    }
    Ok(checkpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn signer() -> (Signer, VerifierKey) {
        let dir = tempfile::tempdir().unwrap();
        let signer = Signer::open_or_create(&dir.path().join("k")).unwrap();
        let key =
            VerifierKey { name: "cleanroom/case/c-1".to_owned(), public_key: signer.public_key() };
        (signer, key)
    }

    fn checkpoint(size: u64) -> Checkpoint {
        Checkpoint {
            origin: "cleanroom/case/c-1".to_owned(),
            size,
            root: Sha256Digest::of(&size.to_be_bytes()),
        }
    }

    #[test]
    fn round_trips() {
        let (signer, key) = signer();
        assert_eq!(key.to_string().parse::<VerifierKey>().unwrap(), key);
        for size in [0, 1, u64::MAX] {
            let text = sign(&signer, &checkpoint(size));
            assert_eq!(verify(text.as_bytes(), &key).unwrap(), checkpoint(size));
        }
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let (signer, key) = signer();
        let text = sign(&signer, &checkpoint(123_456)).into_bytes();
        for at in 0..text.len() {
            for value in 0..=255u8 {
                let mut bad = text.clone();
                if bad[at] != value {
                    bad[at] = value;
                    assert!(verify(&bad, &key).is_err(), "byte {at} as {value:#x}");
                }
            }
            assert!(verify(&text[..at], &key).is_err(), "cut at {at}");
            for extra in [b'\n', b'\r', b' ', b'0', b'='] {
                let mut bad = text.clone();
                bad.insert(at, extra);
                assert!(verify(&bad, &key).is_err(), "{extra:#x} inserted at {at}");
            }
        }
    }

    #[test]
    fn two_signatures_another_key_and_another_case_are_refused() {
        let (signer, key) = signer();
        let text = sign(&signer, &checkpoint(1));
        let line = text.lines().last().unwrap();
        assert!(verify(format!("{text}{line}\n").as_bytes(), &key).is_err());
        let (_, other) = self::signer();
        assert_eq!(verify(text.as_bytes(), &other), Err(NoteError::OtherKey));
        let elsewhere = VerifierKey { name: "cleanroom/case/c-2".to_owned(), ..key.clone() };
        assert_eq!(verify(text.as_bytes(), &elsewhere), Err(NoteError::OtherKey));
        let wrong = key.to_string().replace("c-1", "c-2");
        assert!(wrong.parse::<VerifierKey>().is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), text in ".{0,200}") {
            let key = VerifierKey { name: "n".to_owned(), public_key: [7; 32] };
            let _ = verify(&bytes, &key);
            let _ = verify(text.as_bytes(), &key);
            let _ = text.parse::<VerifierKey>();
        }
    }
}

//! The signature over a bundle: a DSSE envelope (secure-systems-lab/dsse, v1) around an in-toto
//! Statement v1 whose subjects are the tag manifest and the checkpoint. Pure: bytes in, bytes out.
//!
//! Reading is strict: the envelope must be exactly what [`envelope`] writes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cleanroom_evidence::{CaseId, Sha256Digest};
use cleanroom_store::custody::{Signer, verify_signature};
use serde::{Deserialize, Serialize};

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "urn:cleanroom:bundle:v1";
/// Bytes of an envelope at most: ours have some 1,200.
pub const ENVELOPE_BYTES: usize = 64 * 1024;

/// What is signed: which file has which digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: Digests,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digests {
    sha256: Sha256Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Predicate {
    case: CaseId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    sig: String,
}

impl Statement {
    /// A statement over these files of a case's bundle.
    pub fn new(case: &CaseId, subjects: &[(&str, Sha256Digest)]) -> Self {
        let subject = |(name, sha256): &(&str, Sha256Digest)| Subject {
            name: (*name).to_owned(),
            digest: Digests { sha256: *sha256 },
        };
        Self {
            kind: STATEMENT_TYPE.to_owned(),
            subject: subjects.iter().map(subject).collect(),
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Predicate { case: case.clone() },
        }
    }

    /// The case that it is about.
    pub fn case(&self) -> &CaseId {
        &self.predicate.case
    }

    /// The digest that it gives for a file.
    pub fn digest(&self, name: &str) -> Option<Sha256Digest> {
        let found = self.subject.iter().find(|subject| subject.name == name)?;
        Some(found.digest.sha256)
    }
}

/// Why an envelope is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DsseError {
    /// It is not in the one form that is written.
    #[error("it is not an envelope in its canonical form ({0})")]
    Form(&'static str),
    /// It names another key.
    #[error("it is signed by another key than custody/key.pub")]
    OtherKey,
    /// The signature does not fit.
    #[error("its signature is wrong")]
    BadSignature,
}

/// The envelope around a statement, with a closing newline.
pub fn envelope(statement: &Statement, signer: &Signer) -> Result<Vec<u8>, serde_json::Error> {
    let payload = serde_json::to_vec(statement)?;
    let signature = signer.sign(&pae(&payload));
    write(&payload, &signer.public_key(), &signature)
}

fn write(payload: &[u8], key: &[u8; 32], signature: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec(&Envelope {
        payload: STANDARD.encode(payload),
        payload_type: PAYLOAD_TYPE.to_owned(),
        signatures: vec![Signature {
            keyid: key_id(key).to_string(),
            sig: STANDARD.encode(signature),
        }],
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The statement in an envelope that this key signed.
pub fn open(bytes: &[u8], key: &[u8; 32]) -> Result<Statement, DsseError> {
    if bytes.len() > ENVELOPE_BYTES {
        return Err(DsseError::Form("too long"));
    }
    let read: Envelope =
        serde_json::from_slice(bytes).map_err(|_| DsseError::Form("its JSON does not parse"))?;
    let base64 = |text: &str| STANDARD.decode(text).map_err(|_| DsseError::Form("base64"));
    let payload = base64(&read.payload)?;
    let [signature] = read.signatures.as_slice() else {
        return Err(DsseError::Form("not exactly one signature"));
    };
    if signature.keyid != key_id(key).to_string() {
        return Err(DsseError::OtherKey);
    }
    let signature = base64(&signature.sig)?;
    match write(&payload, key, &signature) {
        Ok(written) if written == bytes => {}
        _ => return Err(DsseError::Form("it would be written otherwise")),
    }
    if !verify_signature(key, &pae(&payload), &signature) {
        return Err(DsseError::BadSignature);
    }
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|_| DsseError::Form("its statement"))?;
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != PREDICATE_TYPE {
        return Err(DsseError::Form("its statement is of another type"));
    }
    Ok(statement)
}

/// The id of an Ed25519 key: SHA-256 of its SubjectPublicKeyInfo in DER (RFC 8410), as
/// `openssl pkey -pubin -outform DER | sha256sum` shows it.
pub fn key_id(key: &[u8; 32]) -> Sha256Digest {
    const PREFIX: [u8; 12] =
        [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    Sha256Digest::of(&[PREFIX.as_slice(), key].concat())
}

/// DSSE's pre-authentication encoding of the payload and its type.
fn pae(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Scene, flipped};

    #[test]
    fn opens_what_it_wrote_and_nothing_else() {
        let scene = Scene::with(Vec::new());
        let signer = scene.case.signer();
        let digest = Sha256Digest::of(b"x");
        let statement = Statement::new(&"case-1".parse().unwrap(), &[("a", digest)]);
        let bytes = envelope(&statement, signer).unwrap();
        let key = signer.public_key();
        let opened = open(&bytes, &key).unwrap();
        assert_eq!(opened, statement);
        assert_eq!((opened.digest("a"), opened.digest("b")), (Some(digest), None));
        for at in 0..bytes.len() {
            for mask in [1, 0x20, 0x80] {
                assert!(open(&flipped(&bytes, at, mask), &key).is_err(), "byte {at}");
            }
            assert!(open(&bytes[..at], &key).is_err());
        }
        let spaced = [b" ".as_slice(), &bytes].concat();
        assert_eq!(open(&spaced, &key), Err(DsseError::Form("it would be written otherwise")));
        let mut other = key;
        other[0] ^= 1;
        assert_eq!(open(&bytes, &other), Err(DsseError::OtherKey));
    }
}

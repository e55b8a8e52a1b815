//! The store's Ed25519 key: made once, kept in one file that only the owner reads.

use crate::{disk, error::Context, error::StoreError, error::bad_file};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey},
};
use std::{fs, io, io::Write, path::Path};

/// SubjectPublicKeyInfo of an Ed25519 key up to the key's 32 bytes (RFC 8410, section 4).
const SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// An Ed25519 key that signs.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// The key at `path`, made there when there is none: random, mode 0600, durable.
    pub(crate) fn open_or_create(path: &Path) -> Result<Self, StoreError> {
        match fs::symlink_metadata(path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path)?,
            Err(error) => return Err(error).context("stat", path),
        }
        let bytes = disk::read_small(path, 4096)?;
        let pair = Ed25519KeyPair::from_pkcs8(&bytes)
            .map_err(|error| bad_file(path, format!("not an Ed25519 PKCS#8 key: {error}")))?;
        Ok(Self(pair))
    }

    /// A second process may do the same at this moment: the key is written under a name of its
    /// own and published without overwriting, so that both then read the same key.
    fn create(path: &Path) -> Result<(), StoreError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| bad_file(path, "the system gave no random bytes"))?;
        let temporary = path.with_extension(format!("{}.new", std::process::id()));
        disk::remove(&temporary)?;
        let mut file = disk::create_new(&temporary, 0o600).context("make", &temporary)?;
        file.write_all(document.as_ref()).context("write", &temporary)?;
        file.sync_all().context("sync", &temporary)?;
        disk::publish(&temporary, path)?;
        disk::remove(&temporary)?;
        path.parent().map_or(Ok(()), disk::sync_dir)
    }

    /// A signature over the bytes as they are.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        for (to, from) in signature.iter_mut().zip(self.0.sign(bytes).as_ref()) {
            *to = *from;
        }
        signature
    }

    /// The public key.
    pub fn public_key(&self) -> [u8; 32] {
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(self.0.public_key().as_ref()) {
            *to = *from;
        }
        key
    }

    /// The public key as PEM SubjectPublicKeyInfo, as openssl reads it.
    pub fn spki_pem(&self) -> String {
        spki_pem(&self.public_key())
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", STANDARD.encode(self.public_key()))
    }
}

/// An Ed25519 public key as PEM SubjectPublicKeyInfo (RFC 8410).
pub fn spki_pem(public_key: &[u8; 32]) -> String {
    let der = [SPKI_PREFIX.as_slice(), public_key].concat();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

/// True when `signature` is that key's Ed25519 signature over the bytes.
pub fn verify_signature(public_key: &[u8; 32], bytes: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(bytes, signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn is_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("k.pk8");
        let first = Signer::open_or_create(&path).unwrap();
        let again = Signer::open_or_create(&path).unwrap();
        assert_eq!(first.public_key(), again.public_key());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let signature = first.sign(b"text");
        assert!(verify_signature(&again.public_key(), b"text", &signature));
        assert!(!verify_signature(&again.public_key(), b"texT", &signature));
        fs::write(&path, "junk").unwrap();
        assert!(matches!(Signer::open_or_create(&path), Err(StoreError::BadFile { .. })));
    }
}

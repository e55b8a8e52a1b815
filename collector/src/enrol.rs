//! Join tokens and issued certificates, as files under `<store>/enrolment`.
//!
//! A token is a file named by the token's digest, so the store never holds a token. Using it is
//! one atomic rename: two agents cannot both win. A certificate is known by its digest: what an
//! agent may do is looked up, never parsed from what it shows.

use crate::pki::{Authority, PkiError};
use cleanroom_evidence::{BadDigest, CaseId, HostId, Sha256Digest};
use cleanroom_store::{Actor, Event, StoreError};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A one-time join token: 32 random bytes, shown once as 64 hexadecimal digits.
pub struct Token(Sha256Digest);

/// What a token allows, and who gave it out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// The case.
    pub case: CaseId,
    /// The host.
    pub host: HostId,
    /// Who asked for the token.
    pub issued_by: String,
    /// When, seconds since 1970.
    pub issued_unix_seconds: u64,
    /// Until when it can be used.
    pub expires_unix_seconds: u64,
}

/// A client certificate that was issued, by the digest of its DER form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enrolled {
    /// The case that it is good for.
    pub case: CaseId,
    /// The host that it is good for.
    pub host: HostId,
    /// The certificate, for the bundle.
    pub pem: String,
    /// When it ends.
    pub not_after_unix_seconds: i64,
    /// The token that was traded for it, by digest.
    pub token_sha256: Sha256Digest,
    /// Who had given out the token.
    pub token_issued_by: String,
    /// When, seconds since 1970.
    pub token_issued_unix_seconds: u64,
}

/// Why an agent was not let in.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// Not 32 bytes.
    #[error("a join token has 32 bytes")]
    NotAToken(#[from] BadDigest),
    /// Nobody gave out this token.
    #[error("this join token is not known here")]
    Unknown,
    /// It was used before: either the agent was started twice, or somebody else has it.
    #[error(
        "this join token was used before: get a new one with `cleanroom token`, and find out who used it"
    )]
    Used(Box<Grant>),
    /// It is too old.
    #[error("this join token expired {0} s ago: get a new one with `cleanroom token`")]
    Expired(u64, Box<Grant>),
    /// The request is not usable.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The files cannot be read or written.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The custody log does not take the event.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The enrolment files of a store.
#[derive(Clone, Debug)]
pub struct Enrolment {
    root: PathBuf,
}

impl Enrolment {
    /// Opens (or makes) the folders.
    pub fn open(store_root: &Path) -> Result<Self, EnrolError> {
        let root = store_root.join("enrolment");
        for folder in ["tokens", "used", "issued"] {
            let path = root.join(folder);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|source| EnrolError::Io { doing: "create", path, source })?;
        }
        Ok(Self { root })
    }

    /// Gives out a token.
    pub fn grant(
        &self,
        case: &CaseId,
        host: &HostId,
        issued_by: &str,
        lifetime: Duration,
    ) -> Result<(Token, Grant), EnrolError> {
        let mut bytes = [0u8; 32];
        SystemRandom::new().fill(&mut bytes).map_err(|_| EnrolError::Io {
            doing: "read random bytes for",
            path: self.root.clone(),
            source: io::Error::other("the kernel gave none"),
        })?;
        let token = Token(Sha256Digest::from_bytes(bytes));
        let now = unix_now();
        let grant = Grant {
            case: case.clone(),
            host: host.clone(),
            issued_by: issued_by.to_owned(),
            issued_unix_seconds: now,
            expires_unix_seconds: now.saturating_add(lifetime.as_secs()),
        };
        self.write("tokens", &token.digest(), &grant)?;
        Ok((token, grant))
    }

    /// What a token would allow now; nothing is spent.
    pub fn look_up(&self, token: &[u8]) -> Result<Grant, EnrolError> {
        let digest = Token(Sha256Digest::try_from(token)?).digest();
        let Some(grant) = self.read::<Grant>("tokens", &digest)? else {
            return Err(match self.read::<Grant>("used", &digest)? {
                Some(grant) => EnrolError::Used(Box::new(grant)),
                None => EnrolError::Unknown,
            });
        };
        match unix_now().checked_sub(grant.expires_unix_seconds) {
            None => Ok(grant),
            Some(late) => Err(EnrolError::Expired(late, Box::new(grant))),
        }
    }

    /// Trades a token and a request for a certificate: once.
    pub fn redeem(
        &self,
        authority: &Authority,
        token: &[u8],
        csr: &[u8],
    ) -> Result<(Enrolled, Vec<u8>), EnrolError> {
        let grant = self.look_up(token)?;
        let digest = Token(Sha256Digest::try_from(token)?).digest();
        let issued = authority.issue(csr, &grant.case, &grant.host)?;
        let (from, to) = (self.path("tokens", &digest), self.path("used", &digest));
        match fs::rename(&from, to) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(EnrolError::Used(Box::new(grant)));
            }
            Err(source) => return Err(EnrolError::Io { doing: "use up", path: from, source }),
        }
        let enrolled = Enrolled {
            case: grant.case,
            host: grant.host,
            pem: issued.pem,
            not_after_unix_seconds: issued.not_after_unix_seconds,
            token_sha256: digest,
            token_issued_by: grant.issued_by,
            token_issued_unix_seconds: grant.issued_unix_seconds,
        };
        self.write("issued", &Sha256Digest::of(&issued.der), &enrolled)?;
        Ok((enrolled, issued.der))
    }

    /// Who shows this certificate; `None` where we never issued it or it has ended.
    pub fn identify(&self, certificate: &Sha256Digest) -> Result<Option<Enrolled>, EnrolError> {
        let now = i64::try_from(unix_now()).unwrap_or(i64::MAX);
        let enrolled: Option<Enrolled> = self.read("issued", certificate)?;
        Ok(enrolled.filter(|enrolled| enrolled.not_after_unix_seconds > now))
    }

    /// The certificates issued for a case, by digest.
    pub fn issued_for(&self, case: &CaseId) -> Result<Vec<(Sha256Digest, Enrolled)>, EnrolError> {
        let folder = self.root.join("issued");
        let failed = |source| EnrolError::Io { doing: "list", path: folder.clone(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let digest = name.to_str().and_then(|n| n.strip_suffix(".json")?.parse().ok());
            let Some(digest) = digest else { continue };
            if let Some(enrolled) = self.read::<Enrolled>("issued", &digest)?
                && enrolled.case == *case
            {
                found.push((digest, enrolled));
            }
        }
        found.sort_by_key(|(digest, _)| *digest);
        Ok(found)
    }

    fn path(&self, folder: &str, digest: &Sha256Digest) -> PathBuf {
        self.root.join(folder).join(format!("{digest}.json"))
    }

    fn read<T: DeserializeOwned>(
        &self,
        folder: &str,
        digest: &Sha256Digest,
    ) -> Result<Option<T>, EnrolError> {
        let path = self.path(folder, digest);
        let failed = |source| EnrolError::Io { doing: "read", path: path.clone(), source };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| failed(e.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn write<T: Serialize>(
        &self,
        folder: &str,
        digest: &Sha256Digest,
        value: &T,
    ) -> Result<(), EnrolError> {
        let path = self.path(folder, digest);
        let fresh = path.with_extension("new");
        let write = || {
            let mut options = fs::File::options();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&serde_json::to_vec(value)?)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            fs::File::open(self.root.join(folder))?.sync_all()
        };
        write().map_err(|source| EnrolError::Io { doing: "write", path: path.clone(), source })
    }
}

impl Token {
    /// The 64 digits that the agent is given. Show it once, to nobody but the agent.
    pub fn reveal(&self) -> String {
        self.0.to_string()
    }

    /// The digest that stands for the token everywhere else.
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.0.as_bytes())
    }
}

impl Grant {
    /// The custody event of giving out the token.
    pub fn event(&self, token_sha256: &Sha256Digest) -> Event {
        let how = "command line".to_owned();
        let mut event = Event::new(
            "token.issued",
            Actor { who: self.issued_by.clone(), how },
            serde_json::json!({
                "token_sha256": token_sha256,
                "issued_unix_seconds": self.issued_unix_seconds,
                "expires_unix_seconds": self.expires_unix_seconds,
            }),
        );
        event.host = Some(self.host.clone());
        event
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    struct Scene {
        _dir: tempfile::TempDir,
        enrolment: Enrolment,
        authority: Authority,
        csr: Vec<u8>,
    }

    fn scene() -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let enrolment = Enrolment::open(dir.path()).unwrap();
        let authority = Authority::open(dir.path()).unwrap();
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        Scene { _dir: dir, enrolment, authority, csr }
    }

    fn bytes(token: &Token) -> [u8; 32] {
        *token.0.as_bytes()
    }

    #[test]
    fn a_token_is_good_once_and_binds_case_and_host() {
        let s = scene();
        let (case, host) = ("c1".parse().unwrap(), "i-1".parse().unwrap());
        let (token, _) = s.enrolment.grant(&case, &host, "me", Duration::from_secs(60)).unwrap();
        let redeem = || s.enrolment.redeem(&s.authority, &bytes(&token), &s.csr);
        let (enrolled, der) = redeem().unwrap();
        assert_eq!((&enrolled.case, &enrolled.host), (&case, &host));
        let known = s.enrolment.identify(&Sha256Digest::of(&der)).unwrap().unwrap();
        assert_eq!(known.host, host);
        assert!(matches!(redeem(), Err(EnrolError::Used(_))));
        assert!(s.enrolment.identify(&Sha256Digest::of(b"other")).unwrap().is_none());
        assert_eq!(s.enrolment.issued_for(&case).unwrap().len(), 1);
    }

    #[test]
    fn expired_unknown_and_short_tokens_are_refused_and_a_bad_request_spends_nothing() {
        let s = scene();
        let (case, host) = ("c1".parse().unwrap(), "i-1".parse().unwrap());
        let (old, _) = s.enrolment.grant(&case, &host, "me", Duration::ZERO).unwrap();
        let try_it = |token: &[u8], csr: &[u8]| s.enrolment.redeem(&s.authority, token, csr);
        assert!(matches!(try_it(&bytes(&old), &s.csr), Err(EnrolError::Expired(..))));
        assert!(matches!(try_it(&[7; 32], &s.csr), Err(EnrolError::Unknown)));
        assert!(matches!(try_it(&[7; 31], &s.csr), Err(EnrolError::NotAToken(_))));
        let (token, _) = s.enrolment.grant(&case, &host, "me", Duration::from_secs(60)).unwrap();
        assert!(matches!(try_it(&bytes(&token), b"junk"), Err(EnrolError::Pki(_))));
        assert!(try_it(&bytes(&token), &s.csr).is_ok());
    }

    #[test]
    fn the_store_never_holds_the_token() {
        let s = scene();
        let (case, host) = ("c1".parse().unwrap(), "i-1".parse().unwrap());
        let (token, _) = s.enrolment.grant(&case, &host, "me", Duration::from_secs(60)).unwrap();
        let names = fs::read_dir(s.enrolment.root.join("tokens")).unwrap();
        for entry in names {
            let path = entry.unwrap().path();
            assert!(!path.display().to_string().contains(&token.reveal()));
            assert!(!fs::read_to_string(path).unwrap().contains(&token.reveal()));
        }
    }
}

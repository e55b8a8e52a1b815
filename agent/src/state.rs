//! What a killed agent needs to go on: its session and identity, on a tmpfs, mode 0600.
//!
//! It is written only where the responder says (`--state DIR`) or below `/run` when that is a
//! tmpfs; never on a volume of the suspect host by default. It belongs to one collector and one
//! way of collecting: another profile, root or option is another session. A lock keeps a second
//! agent out while the first runs. It is removed when the run ends well.

use crate::transport::Identity;
use cleanroom_evidence::{SessionId, Sha256Digest};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The saved session.
#[derive(Clone, Serialize, Deserialize)]
pub struct State {
    /// The session to go on with.
    pub session: SessionId,
    /// The token that was traded for the identity, by digest.
    token_sha256: Sha256Digest,
    case: String,
    host: String,
    certificate_der: Vec<u8>,
    key_der: Vec<u8>,
    not_after_unix_seconds: i64,
}

impl State {
    /// The state of a session.
    pub fn new(session: SessionId, token_sha256: Sha256Digest, identity: &Identity) -> Self {
        Self {
            session,
            token_sha256,
            case: identity.case.to_string(),
            host: identity.host.to_string(),
            certificate_der: identity.certificate_der.clone(),
            key_der: identity.key_der.clone(),
            not_after_unix_seconds: identity.not_after_unix_seconds,
        }
    }

    /// The identity, if its certificate still holds for a while and no other token was given.
    pub fn identity(&self, now_unix_seconds: i64, token: Option<Sha256Digest>) -> Option<Identity> {
        let other = token.is_some_and(|token| token != self.token_sha256);
        if other || self.not_after_unix_seconds <= now_unix_seconds + 60 {
            return None;
        }
        Some(Identity {
            case: self.case.parse().ok()?,
            host: self.host.parse().ok()?,
            certificate_der: self.certificate_der.clone(),
            key_der: self.key_der.clone(),
            not_after_unix_seconds: self.not_after_unix_seconds,
        })
    }
}

/// The place of one state, held by this process alone.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    name: String,
    _lock: Flock<File>,
}

impl Place {
    /// In the folder that was asked for, else below `/run` where that is a tmpfs that we may write
    /// to, else nowhere: then a killed agent cannot go on, and that is all. `key` stands for the
    /// collector and the way of collecting.
    pub fn choose(asked: Option<&Path>, key: &Sha256Digest) -> io::Result<Option<Self>> {
        if let Some(dir) = asked {
            return Self::hold(dir, key).map(Some);
        }
        let run = Path::new("/run");
        let on_tmpfs = nix::sys::statfs::statfs(run)
            .is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC);
        if !on_tmpfs {
            return Ok(None);
        }
        match Self::hold(&run.join("cleanroom-agent"), key) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Err(error),
            other => Ok(other.ok()),
        }
    }

    fn hold(dir: &Path, key: &Sha256Digest) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let name = format!("session-{key}");
        let mut options = File::options();
        let lock = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(dir.join(format!("{name}.lock")))?;
        let lock =
            Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(
                |(_, errno)| match errno {
                    nix::errno::Errno::EWOULDBLOCK => io::Error::new(
                        io::ErrorKind::ResourceBusy,
                        "an agent with the same collector and options is running",
                    ),
                    errno => errno.into(),
                },
            )?;
        Ok(Self { dir: dir.to_owned(), name, _lock: lock })
    }

    fn file(&self) -> PathBuf {
        self.dir.join(format!("{}.json", self.name))
    }

    /// The state that a killed agent left.
    pub fn load(&self) -> Option<State> {
        serde_json::from_slice(&fs::read(self.file()).ok()?).ok()
    }

    /// Saves atomically.
    pub fn save(&self, state: &State) -> io::Result<()> {
        let new = self.dir.join(format!("{}.new", self.name));
        let _ = fs::remove_file(&new);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        fs::rename(&new, self.file())
    }

    /// Removes the state: the run has ended.
    pub fn clear(self) {
        let _ = fs::remove_file(self.file());
        let _ = fs::remove_file(self.dir.join(format!("{}.lock", self.name)));
        let _ = fs::remove_dir(&self.dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            case: "c".parse().unwrap(),
            host: "h".parse().unwrap(),
            certificate_der: vec![1],
            key_der: vec![2],
            not_after_unix_seconds: 10_000,
        }
    }

    #[test]
    fn one_agent_at_a_time_and_only_the_same_token_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let (key, token) = (Sha256Digest::of(b"k"), Sha256Digest::of(b"t"));
        let place = Place::choose(Some(dir.path()), &key).unwrap().unwrap();
        let second = Place::choose(Some(dir.path()), &key).unwrap_err();
        assert!(second.to_string().contains("is running"), "{second}");
        assert!(Place::choose(Some(dir.path()), &token).unwrap().is_some(), "another way");

        place.save(&State::new("s".parse().unwrap(), token, &identity())).unwrap();
        let state = place.load().unwrap();
        assert!(state.identity(0, None).is_some());
        assert!(state.identity(0, Some(token)).is_some());
        assert!(state.identity(0, Some(key)).is_none(), "a new token is a new session");
        assert!(state.identity(9_950, None).is_none(), "the certificate is at its end");
        place.clear();
        assert!(Place::choose(Some(dir.path()), &key).unwrap().unwrap().load().is_none());
    }
}

//! What a killed agent needs to go on: its session and identity, on a tmpfs, mode 0600.
//!
//! It is written only where the responder says (`--state DIR`) or below `/run` when that is a
//! tmpfs; never on a volume of the suspect host by default. It is removed when the run ends well.

use crate::transport::Identity;
use cleanroom_evidence::{SessionId, Sha256Digest};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// One file per collector.
fn file_name(ca_pin: &Sha256Digest) -> String {
    format!("session-{ca_pin}.json")
}

/// The saved session.
#[derive(Clone, Serialize, Deserialize)]
pub struct State {
    /// The session to go on with.
    pub session: SessionId,
    /// The collector's CA, so that a state is never used for another collector.
    pub ca_pin: Sha256Digest,
    case: String,
    host: String,
    certificate_der: Vec<u8>,
    key_der: Vec<u8>,
    not_after_unix_seconds: i64,
}

impl State {
    /// The state of a session.
    pub fn new(session: SessionId, ca_pin: Sha256Digest, identity: &Identity) -> Self {
        Self {
            session,
            ca_pin,
            case: identity.case.to_string(),
            host: identity.host.to_string(),
            certificate_der: identity.certificate_der.clone(),
            key_der: identity.key_der.clone(),
            not_after_unix_seconds: identity.not_after_unix_seconds,
        }
    }

    /// The identity, if its certificate still holds for a while.
    pub fn identity(&self, now_unix_seconds: i64) -> Option<Identity> {
        if self.not_after_unix_seconds <= now_unix_seconds + 60 {
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

/// Where the state of an agent lies.
#[derive(Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The folder that was asked for, else `/run/cleanroom-agent` where `/run` is a tmpfs that we
    /// may write to, else nothing: then a killed agent cannot go on, and that is all.
    pub fn choose(asked: Option<&Path>) -> io::Result<Option<Self>> {
        let create = |dir: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        if let Some(dir) = asked {
            create(dir)?;
            return Ok(Some(Self(dir.to_owned())));
        }
        let run = Path::new("/run");
        let on_tmpfs = nix::sys::statfs::statfs(run)
            .is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC);
        let dir = run.join("cleanroom-agent");
        Ok((on_tmpfs && create(&dir).is_ok()).then_some(Self(dir)))
    }

    /// The state that a killed agent left, if it is for this collector.
    pub fn load(&self, ca_pin: &Sha256Digest) -> Option<State> {
        let text = fs::read(self.0.join(file_name(ca_pin))).ok()?;
        serde_json::from_slice::<State>(&text).ok().filter(|state| state.ca_pin == *ca_pin)
    }

    /// Saves atomically.
    pub fn save(&self, state: &State) -> io::Result<()> {
        let name = file_name(&state.ca_pin);
        let new = self.0.join(format!("{name}.{}", std::process::id()));
        let _ = fs::remove_file(&new);
        let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        fs::rename(&new, self.0.join(name))
    }

    /// Removes the state: the run has ended.
    pub fn clear(&self, ca_pin: &Sha256Digest) {
        let _ = fs::remove_file(self.0.join(file_name(ca_pin)));
        let _ = fs::remove_dir(&self.0);
    }
}

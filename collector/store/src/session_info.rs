//! What a session is: which agent on which host, as `session.json` keeps it.

use crate::{
    Tool, disk,
    error::{StoreError, bad_file},
};
use cleanroom_evidence::{Clock, HostId, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

/// The file's name in the session's folder.
pub(crate) const SESSION_FILE: &str = "session.json";
/// Bytes of the file, and of the facts in it, at most.
const FILE_BYTES: u64 = 1024 * 1024;
const FACTS_BYTES: usize = 256 * 1024;
const TEXT_BYTES: usize = 4096;

/// A session to open or to continue.
#[derive(Clone, Debug)]
pub struct SessionOpen {
    /// The host.
    pub host: HostId,
    /// The session.
    pub session: SessionId,
    /// Changes whenever the agent's process is started anew.
    pub incarnation: String,
    /// The agent, as it reports itself.
    pub agent: Tool,
    /// Facts that the agent gives when it connects; host-reported.
    pub host_facts: Map<String, Value>,
    /// How the other side was identified, e.g. the client certificate's name.
    pub peer: String,
}

impl SessionOpen {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let facts = serde_json::to_vec(&self.host_facts).unwrap_or_default().len();
        let texts = [&self.incarnation, &self.agent.name, &self.agent.version, &self.peer];
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        for (what, length, limit) in [
            ("the host facts of a session", facts, FACTS_BYTES),
            ("a text of a session's opening", longest, TEXT_BYTES),
        ] {
            if length > limit {
                return Err(StoreError::TooLarge { what, limit_bytes: limit as u64 });
            }
        }
        Ok(())
    }
}

/// A session on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The host.
    pub host: HostId,
    /// The session.
    pub session: SessionId,
    /// The latest incarnation of the agent.
    pub incarnation: String,
    /// The latest agent.
    pub agent: Tool,
    /// The latest facts that it gave; host-reported.
    pub host_facts: Map<String, Value>,
    /// How the latest peer was identified.
    pub peer: String,
    /// The collector's clocks when the session was first opened.
    pub opened: Clock,
    /// The collector's clocks when it was last continued; as `opened` when it never was.
    pub continued: Clock,
    /// How often it was opened, reconnections included.
    pub openings: u64,
}

impl SessionInfo {
    pub(crate) fn read(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(SESSION_FILE);
        let bytes = disk::read_small(&path, FILE_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|error| bad_file(&path, error))
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        Ok(disk::replace(dir, SESSION_FILE, &bytes)?)
    }

    /// The info after one more opening.
    pub(crate) fn opened(before: Option<Self>, open: &SessionOpen, now: Clock) -> Self {
        Self {
            host: open.host.clone(),
            session: open.session.clone(),
            incarnation: open.incarnation.clone(),
            agent: open.agent.clone(),
            host_facts: open.host_facts.clone(),
            peer: open.peer.clone(),
            opened: before.as_ref().map_or(now, |info| info.opened),
            continued: now,
            openings: before.map_or(0, |info| info.openings).saturating_add(1),
        }
    }
}

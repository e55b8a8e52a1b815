//! The state of one session while its case is open, whoever holds the handle.

use crate::{
    blobs::Unpublished,
    commit::PARTIAL_BYTES,
    disk,
    error::{Context, StoreError},
    event::Event,
    incoming::Incoming,
    lines::{Body, Line},
    quota::Quota,
};
use cleanroom_evidence::{HostId, SessionId};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// A session's list of durable entries.
pub(crate) const ITEMS_FILE: &str = "items.jsonl";
/// Names of finished sources kept: an agent has a few dozen; one that invents more repeats work.
const FINISHED_SOURCES: usize = 256;
/// The folder of items whose bytes are arriving.
const INCOMING: &str = "incoming";

pub(crate) struct Slot {
    pub(crate) dir: PathBuf,
    pub(crate) state: Mutex<State>,
}

/// What is durable of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Committed {
    /// The last durable entry; 0 for none.
    pub(crate) seq: u64,
    /// Bytes of the list.
    pub(crate) length: u64,
    pub(crate) finished_sources: Vec<String>,
}

impl Committed {
    /// Counts a line, without its length.
    pub(crate) fn add(&mut self, line: &Line) {
        self.seq = line.seq;
        if let Body::Outcome(outcome) = &line.body
            && self.finished_sources.len() < FINISHED_SOURCES
            && !self.finished_sources.contains(&outcome.source)
        {
            self.finished_sources.push(outcome.source.clone());
        }
    }
}

/// What the handle is in the middle of.
pub(crate) enum Current {
    Nothing,
    /// An entry that is durable already, sent again.
    Ignoring(u64),
    Item(Box<Incoming>),
}

/// An entry that is received whole and not yet durable.
pub(crate) struct Staged {
    /// Its line in the list, the custody index still to be given; none for a bare event.
    pub(crate) line: Option<Line>,
    pub(crate) event: Event,
    pub(crate) blob: Option<Unpublished>,
    pub(crate) journal: Option<PathBuf>,
    /// Bytes of the quota that it holds.
    pub(crate) charge: u64,
}

pub(crate) struct State {
    /// Counts the handles; only the latest may act.
    pub(crate) generation: u64,
    pub(crate) committed: Committed,
    pub(crate) staged: Vec<Staged>,
    /// The last entry that is staged or durable.
    pub(crate) last: u64,
    pub(crate) current: Current,
    /// A partial item that may be continued.
    pub(crate) waiting: Option<Box<Incoming>>,
    pub(crate) broken: bool,
    /// False until the folder of arriving items was looked at.
    pub(crate) loaded: bool,
    next_file: u64,
}

impl Slot {
    /// A session of which this much is durable.
    pub(crate) fn new(dir: PathBuf, committed: Committed) -> Self {
        let last = committed.seq;
        let state = State {
            generation: 0,
            committed,
            staged: Vec::new(),
            last,
            current: Current::Nothing,
            waiting: None,
            broken: false,
            loaded: false,
            next_file: 0,
        };
        Self { dir, state: Mutex::new(state) }
    }

    /// The folders and the empty list of a new session. Also finishes one that a crash left
    /// half made.
    pub(crate) fn create(
        case_dir: &Path,
        host: &HostId,
        session: &SessionId,
    ) -> Result<Self, StoreError> {
        let host_dir = case_dir.join("sessions").join(host.as_str());
        let dir = host_dir.join(session.as_str());
        for made in [&host_dir, &dir, &dir.join(INCOMING)] {
            disk::ensure_dir(made)?;
        }
        let items = dir.join(ITEMS_FILE);
        if !items.exists() {
            disk::create_new(&items, 0o600).context("make", &items)?;
            disk::sync_dir(&dir)?;
        }
        Ok(Self::new(dir, Committed::default()))
    }

    pub(crate) fn incoming(&self) -> PathBuf {
        self.dir.join(INCOMING)
    }

    pub(crate) fn items(&self) -> PathBuf {
        self.dir.join(ITEMS_FILE)
    }

    /// Forgets what is in memory and not durable, and looks at the disk for a partial item.
    pub(crate) fn reload(&self, state: &mut State, quota: &Quota) -> Result<(), StoreError> {
        // At the first look the charge of the files is in the quota already.
        let counted = !state.loaded;
        for staged in state.staged.drain(..) {
            quota.give(staged.charge);
        }
        let held = match std::mem::replace(&mut state.current, Current::Nothing) {
            Current::Item(item) => Some(item),
            Current::Nothing | Current::Ignoring(_) => None,
        };
        for item in held.into_iter().chain(state.waiting.take()) {
            quota.give(item.charge);
        }
        state.last = state.committed.seq;
        state.broken = true;
        let dir = self.incoming();
        let mut newest = None;
        for entry in fs::read_dir(&dir).context("list", &dir)? {
            let entry = entry.context("list", &dir)?;
            let path = entry.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            state.next_file = state.next_file.max(stem.map_or(0, |number| number + 1));
            let partial = match path.extension().and_then(|end| end.to_str()) {
                Some("journal") => Incoming::load(&path)?,
                // Looked at with its journal; without one nothing of it was acknowledged.
                Some("part") if path.with_extension("journal").exists() => continue,
                _ => None,
            };
            let part = path.with_extension("part");
            let part_bytes = fs::metadata(&part).map_or(0, |meta| meta.len());
            match partial {
                Some(item) if stem > newest => {
                    newest = stem;
                    if !counted {
                        // Bytes on the disk count, also beyond the quota.
                        let _ = quota.take(item.charge);
                    }
                    if let Some(older) = state.waiting.replace(Box::new(item)) {
                        quota.give(older.charge);
                        older.discard()?;
                    }
                }
                _ => {
                    if counted {
                        quota.give(part_bytes);
                    }
                    disk::remove(&part)?;
                    disk::remove(&path)?;
                }
            }
        }
        state.loaded = true;
        state.broken = false;
        Ok(())
    }
}

impl State {
    /// What an older handle was in the middle of becomes the partial item, if it is worth it.
    pub(crate) fn set_aside(&mut self, quota: &Quota) -> Result<(), StoreError> {
        let Current::Item(item) = std::mem::replace(&mut self.current, Current::Nothing) else {
            return Ok(());
        };
        // The newer one: its sender still lives and counts on what was acknowledged.
        let worth = item.offset() >= PARTIAL_BYTES;
        let dropped = if worth { self.waiting.replace(item) } else { Some(item) };
        if let Some(item) = dropped {
            item.discard()?;
            quota.give(item.charge);
        }
        Ok(())
    }

    /// A number for a new file in the folder of arriving items.
    pub(crate) fn next_file(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file
    }
}

/// Bytes of arriving items on the disk, for the quota.
pub(crate) fn incoming_bytes(session_dir: &Path) -> Result<u64, StoreError> {
    let dir = session_dir.join(INCOMING);
    let mut total = 0u64;
    for entry in fs::read_dir(&dir).context("list", &dir)? {
        let meta = entry.and_then(|entry| entry.metadata()).context("list", &dir)?;
        total = total.saturating_add(meta.len());
    }
    Ok(total)
}

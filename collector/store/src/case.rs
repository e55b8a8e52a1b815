//! A case that is open for writing.

use crate::{
    clock,
    custody::{CustodyLog, Signer},
    disk,
    error::{Context, StoreError, bad_file},
    event::{Actor, Event, Tool, entry_bytes},
    quota::{Quota, Usage},
    reader::CaseReader,
    recover,
    session::Session,
    session_info::SessionOpen,
    slot::Slot,
};
use cleanroom_evidence::{CaseId, Clock, HostId, SessionId};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

pub(crate) const CASE_FILE: &str = "case.json";
pub(crate) const LOCK_FILE: &str = "lock";
/// Bytes of `case.json` at most.
const CASE_FILE_BYTES: u64 = 1024 * 1024;

/// A case to make.
#[derive(Clone, Debug)]
pub struct CaseDraft {
    /// Its id.
    pub id: CaseId,
    /// What it is about.
    pub title: String,
    /// Who leads it.
    pub examiner: String,
    /// On whose authority, and why.
    pub authority: String,
    /// The program that makes it.
    pub tool: Tool,
    /// Bytes that the case may hold at most; none for no limit.
    pub quota_bytes: Option<u64>,
}

/// What `case.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseInfo {
    /// Version of the store's layout.
    pub format: u32,
    /// Its id.
    pub id: CaseId,
    /// What it is about.
    pub title: String,
    /// Who leads it.
    pub examiner: String,
    /// On whose authority, and why.
    pub authority: String,
    /// When it was made, by the collector's clocks.
    pub created: Clock,
    /// The program that made it.
    pub tool: Tool,
    /// Bytes that the case may hold at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// Present once it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

/// The end of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// When.
    pub time: Clock,
    /// Why.
    pub why: String,
}

/// The layout that this code writes and reads.
const FORMAT: u32 = 1;

impl CaseInfo {
    pub(crate) fn new(draft: CaseDraft, created: Clock) -> Self {
        Self {
            format: FORMAT,
            id: draft.id,
            title: draft.title,
            examiner: draft.examiner,
            authority: draft.authority,
            created,
            tool: draft.tool,
            quota_bytes: draft.quota_bytes,
            closed: None,
        }
    }

    pub(crate) fn read(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(CASE_FILE);
        let bytes = disk::read_small(&path, CASE_FILE_BYTES)?;
        let info: Self = serde_json::from_slice(&bytes).map_err(|error| bad_file(&path, error))?;
        if info.format != FORMAT {
            return Err(bad_file(&path, format!("layout {} is not known", info.format)));
        }
        Ok(info)
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        if bytes.len() as u64 > CASE_FILE_BYTES {
            return Err(StoreError::TooLarge {
                what: "the description of the case",
                limit_bytes: CASE_FILE_BYTES,
            });
        }
        Ok(disk::replace(dir, CASE_FILE, &bytes)?)
    }
}

/// A case, open for writing; cheap to clone, usable from many threads. The lock is released when
/// the last clone and the last session of it are dropped.
#[derive(Clone)]
pub struct Case(pub(crate) Arc<Inner>);

pub(crate) type SessionKey = (HostId, SessionId);

pub(crate) struct Inner {
    pub(crate) reader: CaseReader,
    pub(crate) tool: Tool,
    pub(crate) quota: Quota,
    signer: Arc<Signer>,
    log: Mutex<CustodyLog>,
    slots: Mutex<HashMap<SessionKey, Arc<Slot>>>,
    closed: AtomicBool,
    _lock: Flock<File>,
}

/// Locks; after a panic under the lock the state is uncertain, and the case must be opened again.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>, StoreError> {
    mutex.lock().map_err(|_| StoreError::CasePoisoned)
}

impl Inner {
    pub(crate) fn log(&self) -> Result<MutexGuard<'_, CustodyLog>, StoreError> {
        lock(&self.log)
    }

    pub(crate) fn record(&self, event: &Event) -> Result<u64, StoreError> {
        let mut log = self.log()?;
        let entry = entry_bytes(event, log.size(), &self.tool);
        log.append(&[entry])
    }

    pub(crate) fn slot(&self, open: &SessionOpen) -> Result<Arc<Slot>, StoreError> {
        let mut slots = lock(&self.slots)?;
        let key = (open.host.clone(), open.session.clone());
        if let Some(slot) = slots.get(&key) {
            return Ok(slot.clone());
        }
        let slot = Arc::new(Slot::create(self.reader.dir(), &open.host, &open.session)?);
        slots.insert(key, slot.clone());
        Ok(slot)
    }
}

pub(crate) fn open(
    reader: CaseReader,
    signer: Arc<Signer>,
    tool: Tool,
) -> Result<Case, StoreError> {
    let path = reader.dir().join(LOCK_FILE);
    let file = File::options().create(true).append(true).open(&path).context("open", &path)?;
    let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            return Err(StoreError::CaseBusy(reader.info().id.clone()));
        }
        Err((_, error)) => return Err(error).context("lock", &path),
    };
    // Read again under the lock: another process may have closed the case meanwhile.
    let reader = CaseReader::open(reader.dir(), reader.key().clone())?;
    let recovered = recover::recover(&reader, signer.clone(), &tool)?;
    Ok(Case(Arc::new(Inner {
        tool,
        quota: Quota::new(reader.info().quota_bytes, recovered.used_bytes),
        signer,
        log: Mutex::new(recovered.log),
        slots: Mutex::new(recovered.slots),
        closed: AtomicBool::new(reader.info().closed.is_some()),
        reader,
        _lock: lock,
    })))
}

impl Case {
    /// The reading side. Its `info` is as of the opening.
    pub fn reader(&self) -> &CaseReader {
        &self.0.reader
    }

    /// The key that signs the custody log, and bundles.
    pub fn signer(&self) -> &Signer {
        &self.0.signer
    }

    /// Bytes held, and the quota.
    pub fn usage(&self) -> Usage {
        self.0.quota.usage()
    }

    /// Records an event: durable and signed when it returns. Gives its index in the custody log.
    pub fn record(&self, event: Event) -> Result<u64, StoreError> {
        self.0.record(&event)
    }

    /// Opens a session, new or to be continued. An older handle of the same session is void from
    /// now on; what it had received whole is committed first.
    pub fn open_session(&self, open: SessionOpen) -> Result<Session, StoreError> {
        if self.0.closed.load(Ordering::Acquire) {
            return Err(StoreError::CaseClosed(self.reader().info().id.clone()));
        }
        Session::open(self.0.clone(), open)
    }

    /// Closes the case: no session can be opened any more; events (an export) still are recorded.
    pub fn close(&self, why: &str) -> Result<(), StoreError> {
        if self.0.closed.swap(true, Ordering::AcqRel) {
            return Err(StoreError::CaseClosed(self.reader().info().id.clone()));
        }
        let closed = Closed { time: clock::now(), why: why.to_owned() };
        let actor = Actor { who: self.reader().info().examiner.clone(), how: "case".to_owned() };
        let recorded =
            self.record(Event::new("case.closed", actor, json!({"why": why}))).and_then(|_| {
                let mut info = self.reader().info().clone();
                info.closed = Some(closed);
                info.write(self.reader().dir())
            });
        if recorded.is_err() {
            self.0.closed.store(false, Ordering::Release);
        }
        recorded
    }
}

//! Opening a case after whatever happened: verifies the custody log and the lists against each
//! other, cuts what a crash tore, and records that it did.
//!
//! Only what was never acknowledged is cut. Where the lists disagree otherwise, the case is not
//! opened: that is tampering or a failing disk, for a person to judge.

use crate::{
    blobs,
    case::SessionKey,
    clock,
    custody::{self, CustodyLog, Opened, Signer, Tail},
    disk,
    error::{Context, StoreError},
    event::{Actor, Event, Tool, entry_bytes},
    lines::{self, Body, Line, Whose},
    reader::{CaseReader, RawLines},
    session_info::SessionInfo,
    slot::{Committed, ITEMS_FILE, Slot, incoming_bytes},
};
use cleanroom_evidence::{HostId, SessionId};
use serde::Deserialize;
use serde_json::json;
use std::{collections::HashMap, fs::File, path::Path, sync::Arc};

/// A case's state after recovery.
pub(crate) struct Recovered {
    pub(crate) log: CustodyLog,
    pub(crate) slots: HashMap<SessionKey, Arc<Slot>>,
    pub(crate) used_bytes: u64,
}

/// What recovery looks at in a custody entry.
#[derive(Deserialize)]
struct Seen {
    index: u64,
    kind: String,
    host: Option<HostId>,
    session: Option<SessionId>,
}

/// What a list needs after a crash.
#[derive(Default)]
struct Repairs {
    /// Custody events of lines that have none yet.
    events: Vec<Event>,
    /// Bytes cut from lists.
    cut_bytes: u64,
}

pub(crate) fn recover(
    reader: &CaseReader,
    signer: Arc<Signer>,
    tool: &Tool,
) -> Result<Recovered, StoreError> {
    let mut counted = HashMap::<SessionKey, u64>::new();
    let origin = custody::origin(&reader.info().id);
    let dir = reader.dir().join("custody");
    let Opened { mut log, tail } = CustodyLog::open(&dir, origin, signer, |index, entry| {
        let seen: Seen = serde_json::from_slice(entry).map_err(|error| error.to_string())?;
        if seen.index != index {
            return Err(format!("it says that it is entry {}", seen.index));
        }
        if let (true, Some(host), Some(session)) =
            (lines::is_line_event(&seen.kind), seen.host, seen.session)
        {
            *counted.entry((host, session)).or_default() += 1;
        }
        Ok(())
    })?;
    let (mut slots, mut repairs) = (HashMap::new(), Repairs::default());
    let mut used_bytes = blobs::total_bytes(reader.dir())?;
    for info in reader.sessions()? {
        let key = (info.host.clone(), info.session.clone());
        let dir = reader.session_dir(&info.host, &info.session);
        let expected = counted.remove(&key).unwrap_or(0);
        let committed = list(reader, &dir, &info, expected, log.size(), &mut repairs)?;
        used_bytes = used_bytes.saturating_add(incoming_bytes(&dir)?);
        // As the running case charges: a fixed amount for each entry beside its bytes.
        used_bytes = used_bytes.saturating_add(committed.length.saturating_mul(2));
        slots.insert(key, Arc::new(Slot::new(dir, committed)));
    }
    if let Some(((host, session), lines)) = counted.into_iter().find(|(_, lines)| *lines > 0) {
        return Err(StoreError::ItemsBroken {
            path: reader.session_dir(&host, &session),
            line: 0,
            why: format!("the session is gone; the custody log has {lines} entries of it"),
        });
    }
    record(&mut log, &tail, repairs, tool)?;
    Ok(Recovered { log, slots, used_bytes })
}

/// Checks a session's list: the first `expected` lines are covered by the custody log. Lines
/// after these were written just before a crash; they are kept when they are whole, in order, and
/// their blob is there.
fn list(
    reader: &CaseReader,
    dir: &Path,
    info: &SessionInfo,
    expected: u64,
    log_size: u64,
    repairs: &mut Repairs,
) -> Result<Committed, StoreError> {
    let path = dir.join(ITEMS_FILE);
    let whose = Whose { host: &info.host, session: &info.session, peer: &info.peer };
    let mut lines = RawLines::open(&path)?;
    let (mut committed, mut index) = (Committed::default(), None);
    while let Some(next) = lines.next().context("read", &path)? {
        let covered = committed.seq < expected;
        let line = match next {
            Ok(line) => line,
            Err(why) if covered => return Err(lines.broken(&why)),
            Err(_) => break,
        };
        let in_order =
            line.seq == committed.seq + 1 && index.is_none_or(|i| line.custody_index > i);
        if covered && (!in_order || line.custody_index >= log_size) {
            return Err(lines.broken("it is out of order, or names a custody entry beyond the log"));
        }
        if !covered {
            let next_index = log_size + repairs.events.len() as u64;
            if !in_order || line.custody_index != next_index || !is_backed(reader, &line) {
                break;
            }
            repairs.events.push(whose.line_event(&line, None));
        }
        index = Some(line.custody_index);
        committed.add(&line);
        committed.length = lines.offset;
    }
    if committed.seq < expected {
        return Err(lines.broken(&format!(
            "{expected} entries are in the custody log, {} in the list",
            committed.seq
        )));
    }
    let file = File::options().write(true).open(&path).context("open", &path)?;
    let found = file.metadata().context("stat", &path)?.len();
    if found > committed.length {
        disk::cut(&file, committed.length, &path)?;
        repairs.cut_bytes += found - committed.length;
    }
    Ok(committed)
}

fn is_backed(reader: &CaseReader, line: &Line) -> bool {
    match &line.body {
        Body::Item(item) => {
            let seal = &item.seal;
            blobs::holds(reader.dir(), &seal.sha256, seal.length_bytes).unwrap_or(false)
        }
        Body::Outcome(_) | Body::Note { .. } => true,
    }
}

/// Signs what was adopted, gives each line its custody event, and says that recovery happened.
fn record(
    log: &mut CustodyLog,
    tail: &Tail,
    repairs: Repairs,
    tool: &Tool,
) -> Result<(), StoreError> {
    let Repairs { mut events, cut_bytes } = repairs;
    if *tail == Tail::default() && events.is_empty() && cut_bytes == 0 {
        return Ok(());
    }
    let subject = json!({
        "custody_entries_adopted": tail.adopted, "custody_bytes_cut": tail.cut_bytes,
        "lines_given_their_entry": events.len(), "list_bytes_cut": cut_bytes,
        "boot_id": clock::boot_id(),
    });
    events.push(Event::new("case.recovered", Actor::collector("recovery"), subject));
    let entries = (log.size()..).zip(&events).map(|(index, event)| entry_bytes(event, index, tool));
    let entries: Vec<_> = entries.collect();
    log.append(&entries).map(drop)
}

//! Making what a session has staged durable, in order: bytes, names, list, custody log.
//!
//! Nothing is acknowledged before the last of these; a failure takes the lists back.

use crate::{
    blobs,
    case::Inner,
    disk,
    error::{Context, StoreError},
    event::entry_bytes,
    resume::Durable,
    slot::{Current, Slot, State},
};
use std::fs::OpenOptions;

/// An item that is still arriving is kept as partial from this size on; a smaller one is cheaper
/// to send again.
pub(crate) const PARTIAL_BYTES: u64 = 1024 * 1024;

/// Commits; on failure what was not durable is dropped and the session must be opened again.
pub(crate) fn commit(case: &Inner, slot: &Slot, state: &mut State) -> Result<Durable, StoreError> {
    try_commit(case, slot, state).map_err(|error| fail(case, slot, state, error))
}

/// Drops what is not durable, so that its space is free at once.
pub(crate) fn fail(case: &Inner, slot: &Slot, state: &mut State, error: StoreError) -> StoreError {
    // The first error is the one to tell; opening the session looks at the disk again.
    let _ = slot.reload(state, &case.quota);
    state.broken = true;
    error
}

fn try_commit(case: &Inner, slot: &Slot, state: &mut State) -> Result<Durable, StoreError> {
    let mut partial = None;
    if let Current::Item(item) = &mut state.current
        && item.offset() >= PARTIAL_BYTES
    {
        item.make_durable()?;
        partial = Some((item.about.seq, item.durable_offset()));
    }
    if !state.staged.is_empty() {
        let batch = state.staged.iter().filter_map(|staged| staged.blob.as_ref());
        case.quota.give(blobs::publish(case.reader.dir(), batch)?);
        append(case, slot, state)?;
        for journal in state.staged.drain(..).filter_map(|staged| staged.journal) {
            // Without its bytes it says nothing; the next opening removes it otherwise.
            let _ = disk::remove(&journal);
        }
    }
    Ok(Durable { seq: state.committed.seq, partial })
}

/// Appends to the session's list and to the custody log under the log's lock: the list names
/// custody entries that do not exist yet, so nobody else may append in between.
fn append(case: &Inner, slot: &Slot, state: &mut State) -> Result<(), StoreError> {
    let mut log = case.log()?;
    if log.is_poisoned() {
        return Err(StoreError::CasePoisoned);
    }
    let (mut lines, mut entries, mut next) = (Vec::new(), Vec::new(), state.committed.clone());
    for (index, staged) in (log.size()..).zip(&mut state.staged) {
        if let Some(line) = &mut staged.line {
            line.custody_index = index;
            lines.extend_from_slice(&line.to_bytes());
            next.add(line);
        }
        entries.push(entry_bytes(&staged.event, index, &case.tool));
    }
    let (path, length) = (slot.items(), state.committed.length);
    next.length = length + lines.len() as u64;
    let file = OpenOptions::new().write(true).open(&path).context("open", &path)?;
    let appended =
        disk::append(&file, length, &lines, &path).and_then(|()| log.append(&entries).map(drop));
    if let Err(error) = appended {
        // After a poisoning only recovery knows what the log holds: the list stays for it.
        if !log.is_poisoned() && disk::cut(&file, length, &path).is_err() {
            log.poison();
        }
        return Err(error);
    }
    state.committed = next;
    Ok(())
}

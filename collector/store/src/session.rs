//! A session's handle: the entries of one agent run, in order, each idempotent.
//!
//! A re-send is harmless: an entry that is durable is ignored. The hash of an item always covers
//! all of its bytes, also after a resume.

use crate::{
    blobs::{self, Unpublished},
    case::{Inner, lock},
    clock, commit,
    error::StoreError,
    incoming::{About, Incoming},
    lines::{self, Body, ItemLine, Line, Resumed, Whose},
    quota::Usage,
    resume::{Durable, PartialItem, Resume},
    session_info::{SESSION_FILE, SessionInfo, SessionOpen},
    slot::{Current, Slot, Staged, State},
};
use cleanroom_evidence::{ClockOffset, ItemHeader, Seal, Sha256Digest, SourceOutcome};
use serde_json::{Value, json};
use std::sync::{Arc, MutexGuard};

/// What every entry is charged against the quota beside its bytes: its line, its custody entry.
const ENTRY_CHARGE: u64 = 1024;

/// An open session. Only the latest handle of a session may act; an older one gets
/// [`StoreError::TakenOver`]. After an I/O error or a full disk or quota at a commit, calls give
/// [`StoreError::SessionBroken`] until the session is opened again.
pub struct Session {
    case: Arc<Inner>,
    slot: Arc<Slot>,
    generation: u64,
    open: SessionOpen,
    resume: Resume,
    clock_offset: Option<ClockOffset>,
}

impl Session {
    pub(crate) fn open(case: Arc<Inner>, open: SessionOpen) -> Result<Self, StoreError> {
        open.check()?;
        let slot = case.slot(&open)?;
        let mut state = lock(&slot.state)?;
        // What an older handle received whole is good: commit it rather than ask for it again.
        let kept =
            state.loaded && !state.broken && commit::commit(&case, &slot, &mut state).is_ok();
        if kept {
            state.set_aside(&case.quota)?;
        } else {
            slot.reload(&mut state, &case.quota)?;
        }
        state.generation += 1;
        let generation = state.generation;
        let resume = Resume {
            durable_seq: state.committed.seq,
            partial: state.waiting.as_ref().map(|item| PartialItem {
                seq: item.about.seq,
                incarnation: item.about.incarnation.clone(),
                header: item.about.header.clone(),
                offset: item.offset(),
                sha256_so_far: item.sha256_so_far(),
            }),
            finished_sources: state.committed.finished_sources.clone(),
        };
        let before = match slot.dir.join(SESSION_FILE).exists() {
            true => Some(SessionInfo::read(&slot.dir)?),
            false => None,
        };
        let kind = if before.is_some() { "session.continued" } else { "session.opened" };
        let subject = json!({
            "incarnation": open.incarnation, "agent": open.agent, "peer": open.peer,
            "host_facts": open.host_facts, "durable_seq": resume.durable_seq,
            "partial_seq": resume.partial.as_ref().map(|partial| partial.seq),
            "partial_offset": resume.partial.as_ref().map(|partial| partial.offset),
        });
        let info = SessionInfo::opened(before, &open, clock::now());
        drop(state);
        let session = Self { case, slot, generation, open, resume, clock_offset: None };
        session.case.record(&session.whose().event(kind, subject))?;
        // Under the lock: a newer handle's file is not replaced by an older one's.
        let state = session.state()?;
        info.write(&session.slot.dir)?;
        drop(state);
        Ok(session)
    }

    fn whose(&self) -> Whose<'_> {
        Whose { host: &self.open.host, session: &self.open.session, peer: &self.open.peer }
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = lock(&self.slot.state)?;
        if state.generation != self.generation {
            return Err(StoreError::TakenOver);
        }
        if state.broken {
            return Err(StoreError::SessionBroken);
        }
        Ok(state)
    }

    /// Where the agent goes on, as of the opening.
    pub fn resume(&self) -> Resume {
        self.resume.clone()
    }

    /// Bytes that the case holds, and its quota.
    pub fn quota(&self) -> Usage {
        self.case.quota.usage()
    }

    /// The latest measured clock offset: custody entries from now on carry it.
    pub fn set_clock_offset(&mut self, offset: ClockOffset) {
        self.clock_offset = Some(offset);
    }

    /// Begins an item. `seq` is the next number; an entry that is staged or durable already is
    /// ignored up to its seal. The incarnation that left a partial item goes on with it when it
    /// begins the same entry again: bytes that are held are ignored.
    pub fn begin(&mut self, seq: u64, header: ItemHeader) -> Result<(), StoreError> {
        lines::check_header(&header)?;
        let mut state = self.state()?;
        if !self.is_new(&mut state, seq)? {
            return Ok(());
        }
        if let Some(waiting) = &state.waiting {
            let about = &waiting.about;
            let same_run = about.incarnation == self.open.incarnation;
            if same_run && about.seq == seq && about.header == header {
                state.current = state.waiting.take().map_or(Current::Nothing, Current::Item);
                return Ok(());
            }
            // Its own incarnation went past it, or a later one begins the object anew.
            if same_run || same_object(&about.header, &header) {
                self.discard_waiting(&mut state)?;
            }
        }
        let charge = ENTRY_CHARGE + header.name.0.len() as u64;
        self.case.quota.take(charge)?;
        let number = state.next_file();
        let incarnation = self.open.incarnation.clone();
        let about = About { seq, incarnation, header, resumed: None };
        let mut item = Incoming::new(&self.slot.incoming(), number, about);
        item.charge = charge;
        state.current = Current::Item(Box::new(item));
        Ok(())
    }

    /// Begins an item of which an earlier incarnation sent a prefix: the caller read the object
    /// again up to `offset` and its bytes hash to `sha256_so_far`. When that is what is held, the
    /// next chunk comes at `offset`; else [`StoreError::ResumeMismatch`], and `begin` starts it
    /// anew.
    pub fn begin_resumed(
        &mut self,
        seq: u64,
        header: ItemHeader,
        offset: u64,
        sha256_so_far: Sha256Digest,
    ) -> Result<(), StoreError> {
        lines::check_header(&header)?;
        let mut state = self.state()?;
        if !self.is_new(&mut state, seq)? {
            return Ok(());
        }
        let waiting =
            state.waiting.as_ref().ok_or(StoreError::ResumeMismatch("no partial item is held"))?;
        let about = &waiting.about;
        if !same_object(&about.header, &header) {
            return Err(StoreError::ResumeMismatch("the partial item is another one"));
        }
        if waiting.offset() != offset || waiting.sha256_so_far() != sha256_so_far {
            return Err(StoreError::ResumeMismatch("the prefix is not the one that is held"));
        }
        let same_run = about.incarnation == self.open.incarnation;
        let same = same_run && about.seq == seq && about.header == header;
        let resumed = Resumed { from_incarnation: about.incarnation.clone(), offset_bytes: offset };
        let incarnation = self.open.incarnation.clone();
        let about = About { seq, incarnation, header, resumed: Some(resumed) };
        let Some(mut item) = state.waiting.take() else {
            return Ok(());
        };
        if !same && let Err(error) = item.adopt(about) {
            return Err(commit::fail(&self.case, &self.slot, &mut state, error));
        }
        state.current = Current::Item(item);
        Ok(())
    }

    /// Adds bytes at `offset`, which is where the item stands. Bytes that are held are ignored.
    pub fn chunk(&mut self, seq: u64, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let mut state = self.state()?;
        let item = match &mut state.current {
            Current::Ignoring(ignored) if *ignored == seq => return Ok(()),
            Current::Item(item) if item.about.seq == seq => item,
            current => return Err(not_begun(current, seq)),
        };
        let at = item.offset();
        if offset > at {
            let what = "bytes of the item are missing before this chunk";
            return Err(StoreError::OutOfOrder { what, expected: at, got: offset });
        }
        let held = usize::try_from(at - offset).unwrap_or(usize::MAX);
        let Some(new) = bytes.get(held..).filter(|new| !new.is_empty()) else {
            return Ok(());
        };
        self.case.quota.take(new.len() as u64)?;
        item.charge += new.len() as u64;
        item.push(new).map_err(|error| commit::fail(&self.case, &self.slot, &mut state, error))
    }

    /// Ends an item. Digest and length must be those of the bytes received; else the item is
    /// discarded, the custody log says so, and the same `seq` may be begun again.
    pub fn seal(&mut self, seq: u64, seal: Seal) -> Result<(), StoreError> {
        lines::check_seal(&seal)?;
        let mut state = self.state()?;
        match &state.current {
            Current::Ignoring(ignored) if *ignored == seq => {
                state.current = Current::Nothing;
                return Ok(());
            }
            Current::Item(item) if item.about.seq == seq => {}
            current => return Err(not_begun(current, seq)),
        }
        let Current::Item(item) = std::mem::replace(&mut state.current, Current::Nothing) else {
            return Ok(());
        };
        let (computed, length) = (item.sha256_so_far(), item.offset());
        if seal.sha256 != computed || seal.length_bytes != length {
            self.case.quota.give(item.charge);
            self.refuse(&item, &seal, computed)?;
            return Err(match seal.sha256 == computed {
                true => StoreError::LengthMismatch { claimed: seal.length_bytes, computed: length },
                false => StoreError::DigestMismatch { claimed: seal.sha256, computed },
            });
        }
        let (about, charge) = (item.about.clone(), item.charge);
        let sealed = blobs::holds(self.case.reader.dir(), &computed, length)
            .and_then(|held| item.seal(held));
        let bytes = match sealed {
            Ok(bytes) => bytes,
            Err(error) => {
                self.case.quota.give(charge);
                return Err(commit::fail(&self.case, &self.slot, &mut state, error));
            }
        };
        let About { incarnation, header, resumed, .. } = about;
        let body = Body::Item(Box::new(ItemLine { header, seal, resumed }));
        let blob = Unpublished { file: bytes.file, sha256: computed, length };
        self.stage(&mut state, seq, incarnation, body, charge);
        if let Some(staged) = state.staged.last_mut() {
            (staged.blob, staged.journal) = (Some(blob), bytes.journal);
        }
        Ok(())
    }

    /// Records how a source ended.
    pub fn end_source(&mut self, seq: u64, outcome: SourceOutcome) -> Result<(), StoreError> {
        lines::check_outcome(&outcome)?;
        self.plain(seq, Body::Outcome(outcome))
    }

    /// Records a note: a kind of at most 64 bytes, and a body of at most 64 KiB as JSON.
    pub fn note(&mut self, seq: u64, kind: &str, body: Value) -> Result<(), StoreError> {
        lines::check_note(kind, &body)?;
        self.plain(seq, Body::Note { kind: kind.to_owned(), body })
    }

    fn plain(&mut self, seq: u64, body: Body) -> Result<(), StoreError> {
        let mut state = self.state()?;
        if !self.is_new(&mut state, seq)? {
            state.current = Current::Nothing;
            return Ok(());
        }
        self.case.quota.take(ENTRY_CHARGE)?;
        self.stage(&mut state, seq, self.open.incarnation.clone(), body, ENTRY_CHARGE);
        Ok(())
    }

    /// Makes everything that is staged durable, in order. What it gives may be acknowledged.
    pub fn commit(&mut self) -> Result<Durable, StoreError> {
        let mut state = self.state()?;
        commit::commit(&self.case, &self.slot, &mut state)
    }

    /// Commits, drops what never was sealed, and records the session's end.
    pub fn close(self, why: &str) -> Result<(), StoreError> {
        let mut state = self.state()?;
        if let Current::Item(item) = std::mem::replace(&mut state.current, Current::Nothing) {
            self.drop_item(&mut state, &item, "the session was closed")?;
        }
        self.discard_waiting(&mut state)?;
        let durable = commit::commit(&self.case, &self.slot, &mut state)?;
        let subject = json!({"why": why, "durable_seq": durable.seq});
        self.case.record(&self.whose().event("session.closed", subject))?;
        // This handle is done; a later opening continues the session.
        state.generation += 1;
        Ok(())
    }

    /// True when the entry is the next one; false, and ignored, when it was received before.
    fn is_new(&self, state: &mut State, seq: u64) -> Result<bool, StoreError> {
        if let Current::Item(item) = &state.current {
            let what = "an item is not sealed yet";
            return Err(StoreError::OutOfOrder { what, expected: item.about.seq, got: seq });
        }
        if seq <= state.last {
            state.current = Current::Ignoring(seq);
            return Ok(false);
        }
        if seq != state.last + 1 {
            let what = "an entry is missing before this one";
            return Err(StoreError::OutOfOrder { what, expected: state.last + 1, got: seq });
        }
        state.current = Current::Nothing;
        Ok(true)
    }

    fn stage(&self, state: &mut State, seq: u64, incarnation: String, body: Body, charge: u64) {
        let line = Line { seq, incarnation, custody_index: 0, body };
        let event = self.whose().line_event(&line, self.clock_offset);
        state.staged.push(Staged { line: Some(line), event, blob: None, journal: None, charge });
        state.last = seq;
    }

    fn refuse(
        &self,
        item: &Incoming,
        seal: &Seal,
        computed: Sha256Digest,
    ) -> Result<(), StoreError> {
        item.discard()?;
        let header = &item.about.header;
        let subject = json!({
            "seq": item.about.seq, "source": header.source, "name": header.name,
            "claimed_sha256": seal.sha256, "claimed_bytes": seal.length_bytes,
            "computed_sha256": computed, "received_bytes": item.offset(),
            "why": "digest or length of the seal is not that of the bytes received",
        });
        // Refusals fill the log: they count, so that a liar meets the quota.
        self.case.quota.take(ENTRY_CHARGE)?;
        let mut event = self.whose().event("item.refused", subject);
        event.host_clock = Some(seal.read_end);
        event.clock_offset = self.clock_offset;
        self.case.record(&event).map(drop)
    }

    fn discard_waiting(&self, state: &mut State) -> Result<(), StoreError> {
        match state.waiting.take() {
            Some(item) => self.drop_item(state, &item, "it was begun anew or passed over"),
            None => Ok(()),
        }
    }

    /// Drops an unsealed item; where a prefix of it was acknowledged, the custody log says so.
    fn drop_item(&self, state: &mut State, item: &Incoming, why: &str) -> Result<(), StoreError> {
        item.discard()?;
        self.case.quota.give(item.charge);
        if item.durable_offset() > 0 {
            let about = &item.about;
            let subject = json!({
                "seq": about.seq, "incarnation": about.incarnation, "why": why,
                "source": about.header.source, "name": about.header.name,
                "received_bytes": item.offset(),
            });
            let event = self.whose().event("item.discarded", subject);
            let staged = Staged { line: None, event, blob: None, journal: None, charge: 0 };
            state.staged.push(staged);
        }
        Ok(())
    }
}

/// True when both headers are of the same object of the host.
fn same_object(one: &ItemHeader, other: &ItemHeader) -> bool {
    one.source == other.source && one.kind == other.kind && one.name == other.name
}

fn not_begun(current: &Current, seq: u64) -> StoreError {
    let expected = match current {
        Current::Nothing => 0,
        Current::Ignoring(seq) => *seq,
        Current::Item(item) => item.about.seq,
    };
    StoreError::OutOfOrder { what: "this item was not begun", expected, got: seq }
}

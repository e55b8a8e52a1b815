//! The lines of a session's `items.jsonl`, one per durable entry.
//!
//! Pure; every line names the custody entry that covers it.

use crate::{
    error::StoreError,
    event::{Actor, Event},
};
use cleanroom_evidence::{
    Clock, ClockOffset, HostId, ItemHeader, ItemStatus, Limits, Seal, SessionId, SourceOutcome,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Bytes of a line at most.
pub(crate) const LINE_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of a note's kind at most.
const NOTE_KIND_BYTES: usize = 64;
/// Bytes of a note's body as JSON, and of a partial item's reason, at most.
const NOTE_BODY_BYTES: usize = 64 * 1024;

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) seq: u64,
    pub(crate) incarnation: String,
    pub(crate) custody_index: u64,
    #[serde(flatten)]
    pub(crate) body: Body,
}

/// What an entry of a session is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Body {
    Item(Box<ItemLine>),
    Outcome(SourceOutcome),
    Note { kind: String, body: Value },
}

/// An item that is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ItemLine {
    pub(crate) header: ItemHeader,
    pub(crate) seal: Seal,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resumed: Option<Resumed>,
}

/// Where an item's first bytes came from when the agent was killed and started again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// The incarnation that sent the bytes up to `offset_bytes`.
    pub from_incarnation: String,
    /// Where the later incarnation went on, in bytes.
    pub offset_bytes: u64,
}

impl Line {
    /// The line with its newline.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Whose lines they are.
pub(crate) struct Whose<'a> {
    pub(crate) host: &'a HostId,
    pub(crate) session: &'a SessionId,
    pub(crate) peer: &'a str,
}

impl Whose<'_> {
    /// An event of this session.
    pub(crate) fn event(&self, kind: &str, subject: Value) -> Event {
        let actor = Actor { who: self.peer.to_owned(), how: "agent".to_owned() };
        Event {
            session: Some(self.session.clone()),
            host: Some(self.host.clone()),
            ..Event::new(kind, actor, subject)
        }
    }

    /// The custody event that covers a line.
    pub(crate) fn line_event(&self, line: &Line, clock_offset: Option<ClockOffset>) -> Event {
        let (kind, host_clock, subject) = line.facts();
        Event { host_clock, clock_offset, ..self.event(kind, subject) }
    }
}

impl Line {
    /// Kind, host's clocks and subject of the custody event.
    fn facts(&self) -> (&'static str, Option<Clock>, Value) {
        let (seq, incarnation) = (self.seq, &self.incarnation);
        match &self.body {
            Body::Item(item) => {
                let ItemLine { header, seal, resumed } = item.as_ref();
                let subject = json!({
                    "seq": seq, "incarnation": incarnation, "source": header.source,
                    "kind": header.kind, "name": header.name, "sha256": seal.sha256,
                    "length_bytes": seal.length_bytes, "status": status(&seal.status),
                    "why": why(&seal.status), "resumed": resumed,
                });
                ("item.received", Some(seal.read_end), subject)
            }
            Body::Outcome(outcome) => {
                let subject = json!({"seq": seq, "incarnation": incarnation, "outcome": outcome});
                ("source.ended", Some(outcome.ended), subject)
            }
            Body::Note { kind, body } => {
                let subject = json!({
                    "seq": seq, "incarnation": incarnation, "kind": kind, "body": body,
                });
                ("session.note", None, subject)
            }
        }
    }
}

fn status(status: &ItemStatus) -> &'static str {
    match status {
        ItemStatus::Whole => "whole",
        ItemStatus::Partial(_) => "partial",
    }
}

fn why(status: &ItemStatus) -> Option<&str> {
    match status {
        ItemStatus::Whole => None,
        ItemStatus::Partial(why) => Some(why),
    }
}

/// True for the custody events that stand for a line.
pub(crate) fn is_line_event(kind: &str) -> bool {
    matches!(kind, "item.received" | "source.ended" | "session.note")
}

fn within(what: &'static str, length: usize, limit: usize) -> Result<(), StoreError> {
    if length > limit {
        return Err(StoreError::TooLarge { what, limit_bytes: limit as u64 });
    }
    Ok(())
}

/// Checks an item's header against the bounds of the wire.
pub(crate) fn check_header(header: &ItemHeader) -> Result<(), StoreError> {
    within("the source name", header.source.len(), Limits::SOURCE_BYTES)?;
    within("the item name", header.name.0.len(), Limits::NAME_BYTES)?;
    within("the number of labels", header.labels.len(), Limits::LABELS)?;
    if let Some(file) = &header.file {
        let target = file.link_target.as_ref().map_or(0, |target| target.0.len());
        within("the link target", target, Limits::NAME_BYTES)?;
        within("the device", file.device.len(), Limits::SOURCE_BYTES)?;
    }
    header.labels.iter().try_for_each(|(key, value)| {
        within("a label's name", key.len(), Limits::SOURCE_BYTES)?;
        within("a label", value.len(), Limits::LABEL_BYTES)
    })
}

/// Checks why an item is partial.
pub(crate) fn check_seal(seal: &Seal) -> Result<(), StoreError> {
    match &seal.status {
        ItemStatus::Partial(why) => {
            within("the reason of a partial item", why.len(), NOTE_BODY_BYTES)
        }
        ItemStatus::Whole => Ok(()),
    }
}

/// Checks an outcome: its JSON must fit a line with room to spare.
pub(crate) fn check_outcome(outcome: &SourceOutcome) -> Result<(), StoreError> {
    within("the source name", outcome.source.len(), Limits::SOURCE_BYTES)?;
    let json = serde_json::to_vec(outcome).unwrap_or_default();
    within("a source's outcome", json.len(), LINE_BYTES as usize / 2)
}

/// Checks a note.
pub(crate) fn check_note(kind: &str, body: &Value) -> Result<(), StoreError> {
    within("a note's kind", kind.len(), NOTE_KIND_BYTES)?;
    let json = serde_json::to_vec(body).unwrap_or_default();
    within("a note", json.len(), NOTE_BODY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cleanroom_evidence::{ItemKind, RawBytes, Sha256Digest};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn line(name: Vec<u8>, why: String) -> Line {
        Line {
            seq: 1,
            incarnation: "a".into(),
            custody_index: 2,
            body: Body::Item(Box::new(ItemLine {
                header: ItemHeader {
                    source: "files".into(),
                    kind: ItemKind::File,
                    name: RawBytes(name),
                    file: Some(Default::default()),
                    read_at: Clock::default(),
                    labels: BTreeMap::new(),
                },
                seal: Seal {
                    sha256: Sha256Digest::of(b""),
                    length_bytes: u64::MAX,
                    status: ItemStatus::Partial(why),
                    read_end: Clock::default(),
                },
                resumed: None,
            })),
        }
    }

    proptest! {
        #[test]
        fn round_trip(name in proptest::collection::vec(any::<u8>(), 0..300), why in ".{0,99}") {
            let line = line(name, why);
            let bytes = line.to_bytes();
            prop_assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), 1);
            prop_assert_eq!(serde_json::from_slice::<Line>(&bytes).unwrap(), line);
        }
    }

    #[test]
    fn the_largest_header_fits_a_line() {
        let mut line = line(vec![1; Limits::NAME_BYTES], "\u{1}".repeat(NOTE_BODY_BYTES));
        if let Body::Item(item) = &mut line.body {
            for n in 0..Limits::LABELS {
                item.header.labels.insert(format!("{n:064}"), "\u{1}".repeat(Limits::LABEL_BYTES));
            }
            check_header(&item.header).unwrap();
            check_seal(&item.seal).unwrap();
        }
        assert!((line.to_bytes().len() as u64) < LINE_BYTES);
    }

    #[test]
    fn refuses_what_is_beyond_the_bounds() {
        let long = line(vec![0; Limits::NAME_BYTES + 1], String::new());
        let Body::Item(item) = long.body else { panic!() };
        assert!(check_header(&item.header).is_err());
        assert!(check_note(&"k".repeat(65), &Value::Null).is_err());
        assert!(check_note("k", &Value::from("x".repeat(70_000))).is_err());
    }
}

//! What a custody entry says: who did what, when by which clocks, with which tool, to what.
//!
//! Entries are bounded: text that does not fit is cut, and the entry says so with the digest of
//! the whole.

use crate::{clock, custody::ENTRY_BYTES};
use cleanroom_evidence::{Clock, ClockOffset, HostId, SessionId, Sha256Digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A program that acts, by name, version and the digest of its binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// The program, e.g. `cleanroom`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its binary file.
    pub sha256: Sha256Digest,
}

/// Who acted, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// A person, an IAM ARN, a certificate's name, or `collector`.
    pub who: String,
    /// By what means, e.g. `agent over mTLS`, `command line`.
    pub how: String,
}

impl Actor {
    /// The collector itself.
    pub fn collector(how: &str) -> Self {
        Self { who: "collector".to_owned(), how: how.to_owned() }
    }
}

/// An event for the custody log. Index, clocks, boot id and tool are added by the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened, e.g. `item.received`, `bundle.exported`.
    pub kind: String,
    /// Who did it.
    pub actor: Actor,
    /// In which session, for an event of one.
    pub session: Option<SessionId>,
    /// On which host.
    pub host: Option<HostId>,
    /// To what, with the exact parameters.
    pub subject: Value,
    /// The host's clocks at the event, host-reported.
    pub host_clock: Option<Clock>,
    /// How far the host's wall clock was from the collector's.
    pub clock_offset: Option<ClockOffset>,
}

impl Event {
    /// An event of the case as a whole.
    pub fn new(kind: &str, actor: Actor, subject: Value) -> Self {
        Self {
            kind: kind.to_owned(),
            actor,
            session: None,
            host: None,
            subject,
            host_clock: None,
            clock_offset: None,
        }
    }
}

/// One entry of the custody log, as its JSON has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the log, from 0.
    pub index: u64,
    /// The collector's clocks when it was recorded.
    pub time: Clock,
    /// The collector's boot id: `time.boottime_ns` compares only under the same one.
    pub boot_id: String,
    /// What happened.
    pub kind: String,
    /// Who did it.
    pub actor: Actor,
    /// The program that recorded it.
    pub tool: Tool,
    /// In which session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// On which host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<HostId>,
    /// The host's clocks at the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_clock: Option<Clock>,
    /// Host minus collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset: Option<ClockOffset>,
    /// To what, with the exact parameters.
    pub subject: Value,
    /// Present where `subject` was too long and was cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
}

/// What a cut subject was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// Bytes of the whole subject as JSON.
    pub subject_bytes: u64,
    /// SHA-256 of the whole subject as JSON.
    pub subject_sha256: Sha256Digest,
}

/// Longest text outside the subject, in bytes: kinds, names and versions are short.
const FIELD_BYTES: usize = 1024;

/// The entry's bytes: JSON without a newline, at most [`ENTRY_BYTES`].
pub(crate) fn entry_bytes(event: &Event, index: u64, tool: &Tool) -> Vec<u8> {
    let mut entry = Entry {
        index,
        time: clock::now(),
        boot_id: clock::boot_id().to_owned(),
        kind: short(&event.kind, FIELD_BYTES),
        actor: Actor {
            who: short(&event.actor.who, FIELD_BYTES),
            how: short(&event.actor.how, FIELD_BYTES),
        },
        tool: Tool {
            name: short(&tool.name, FIELD_BYTES),
            version: short(&tool.version, FIELD_BYTES),
            sha256: tool.sha256,
        },
        session: event.session.clone(),
        host: event.host.clone(),
        host_clock: event.host_clock,
        clock_offset: event.clock_offset,
        subject: event.subject.clone(),
        cut: None,
    };
    let mut bytes = to_json(&entry);
    if bytes.len() <= ENTRY_BYTES {
        return bytes;
    }
    let whole = to_json(&event.subject);
    entry.cut =
        Some(Cut { subject_bytes: whole.len() as u64, subject_sha256: Sha256Digest::of(&whole) });
    for (text, pieces) in [(4096, 256), (512, 64), (64, 16), (32, 4)] {
        entry.subject = shortened(&event.subject, text, pieces, 8);
        bytes = to_json(&entry);
        if bytes.len() <= ENTRY_BYTES {
            return bytes;
        }
    }
    entry.subject = Value::Null;
    to_json(&entry)
}

/// These types always serialise: their map keys are strings and no part of them fails.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn short(text: &str, limit: usize) -> String {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}

/// The value with texts, lists and maps cut to so many bytes or members, and so deep.
fn shortened(value: &Value, text: usize, pieces: usize, depth: usize) -> Value {
    match value {
        _ if depth == 0 => Value::Null,
        Value::String(whole) => Value::String(short(whole, text)),
        Value::Array(list) => {
            let kept = list.iter().take(pieces);
            kept.map(|member| shortened(member, text, pieces, depth - 1)).collect()
        }
        Value::Object(map) => map
            .iter()
            .take(pieces)
            .map(|(key, member)| (short(key, text), shortened(member, text, pieces, depth - 1)))
            .collect(),
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn tool() -> Tool {
        Tool { name: "t".into(), version: "1".into(), sha256: Sha256Digest::of(b"") }
    }

    #[test]
    fn short_subjects_are_whole_and_long_ones_say_so() {
        let event = Event::new("x", Actor::collector("test"), json!({"a": "b\nc", "n": 3}));
        let entry: Entry = serde_json::from_slice(&entry_bytes(&event, 7, &tool())).unwrap();
        assert_eq!((entry.index, entry.subject, entry.cut), (7, event.subject, None));

        let subject = json!({"sha256": "ab".repeat(32), "name": "\u{1}".repeat(100_000)});
        let event = Event::new("x", Actor::collector("test"), subject.clone());
        let entry: Entry = serde_json::from_slice(&entry_bytes(&event, 0, &tool())).unwrap();
        assert_eq!(entry.subject["sha256"], subject["sha256"]);
        assert_eq!(
            entry.cut.unwrap().subject_sha256,
            Sha256Digest::of(subject.to_string().as_bytes())
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<u64>().prop_map(Value::from),
            ("\\PC{0,8}|[\\x00-\\x1f\\\\]{1,4}", 0usize..20_000)
                .prop_map(|(text, times)| Value::from(text.repeat(times))),
        ];
        leaf.prop_recursive(6, 40, 12, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..40).prop_map(Value::from),
                proptest::collection::hash_map(".{0,200}", inner, 0..40)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_entry_is_one_bounded_line(subject in any_json(), who in ".{0,3000}") {
            let event = Event::new("k", Actor { who, how: "h".into() }, subject);
            let bytes = entry_bytes(&event, u64::MAX, &tool());
            prop_assert!(bytes.len() <= ENTRY_BYTES && !bytes.contains(&b'\n'));
            prop_assert!(serde_json::from_slice::<Entry>(&bytes).is_ok());
        }
    }
}

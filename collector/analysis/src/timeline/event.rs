//! An event, and its line in Timesketch's JSONL (its "Import" documentation: `message`,
//! `datetime` and `timestamp_desc` are required, further columns are free).

use cleanroom_evidence::{HostId, Timestamp};
use serde::Serialize;

/// Longest message, in bytes: a command line may be megabytes.
const MESSAGE_BYTES: usize = 4096;

/// What a kind finds: when, what kind of time, and what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub time: Timestamp,
    /// What the time means, e.g. `Content Modification Time`.
    pub description: &'static str,
    /// What happened, as one line; bytes of the host stay escaped as in the record.
    pub message: String,
}

/// One event of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, by the host's clock.
    pub time: Timestamp,
    /// What the time means (`timestamp_desc`).
    pub description: &'static str,
    /// What happened, as one line without control characters, at most 4,096 bytes.
    pub message: String,
    /// The kind of evidence that states it.
    pub source: &'static str,
    /// On which host.
    pub host: HostId,
    /// The item that states it, by its number in the session.
    pub item_seq: u64,
    /// The line of the record, from 1; absent where the item's header states it.
    pub line: Option<u64>,
}

#[derive(Serialize)]
struct Timesketch<'a> {
    message: &'a str,
    datetime: Timestamp,
    timestamp_desc: &'a str,
    source: &'a str,
    host: &'a HostId,
    session: &'a str,
    item: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
}

impl Event {
    pub(super) fn new(
        moment: Moment,
        source: &'static str,
        host: &HostId,
        item_seq: u64,
        line: Option<u64>,
    ) -> Self {
        Self {
            time: moment.time,
            description: moment.description,
            message: one_line(&moment.message),
            source,
            host: host.clone(),
            item_seq,
            line,
        }
    }

    /// The event as a line of Timesketch JSONL without its newline. `None` for a time outside the
    /// years 1 to 9999, which no reader of RFC 3339 takes; it stays in the record itself.
    pub fn to_timesketch(&self, session: &str) -> Option<String> {
        if self.time.to_string().starts_with(['@', '-']) {
            return None;
        }
        serde_json::to_string(&Timesketch {
            message: &self.message,
            datetime: self.time,
            timestamp_desc: self.description,
            source: self.source,
            host: &self.host,
            session,
            item: self.item_seq,
            line: self.line,
        })
        .ok()
    }
}

/// Cuts at the bound and shows control characters (records keep them) as `\xNN`.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MESSAGE_BYTES));
    for c in text.chars() {
        if out.len() >= MESSAGE_BYTES {
            out.push('…');
            break;
        }
        match c {
            c if c.is_control() => {
                let mut utf8 = [0u8; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    out.push_str(&format!("\\x{byte:02x}"));
                }
            }
            c => out.push(c),
        }
    }
    out
}

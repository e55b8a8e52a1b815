//! The timeline: every moment that the evidence itself states, as events of one shape. A kind of
//! record is one file here and one line in [`ALL`]. Times are the host's claims: nothing here
//! corrects a clock.

mod boots;
mod dns;
mod event;
mod files;
mod processes;

pub use event::{Event, Moment};

use cleanroom_evidence::{HostId, ItemHeader, ItemKind, Timestamp};
use serde_json::{Map, Value};

/// Longest line that is read, in bytes; a longer one gives no event.
const LINE_BYTES: usize = 16 * 1024 * 1024;

/// A kind of evidence that states when something happened.
pub trait Kind: Sync {
    /// Its name, the `source` of its events: lower case, e.g. `file`.
    fn name(&self) -> &'static str;

    /// The `timestamp_desc` texts that its events carry.
    fn descriptions(&self) -> &'static [&'static str];

    /// The record set whose lines it reads; `None` when it reads only headers.
    fn record_set(&self) -> Option<&'static str> {
        None
    }

    /// Moments that an item's header states.
    fn in_header(&self, _header: &ItemHeader) -> Vec<Moment> {
        Vec::new()
    }

    /// Moments that one record states. Whatever is missing or of another type is left out.
    fn in_record(&self, _record: &Record<'_>) -> Vec<Moment> {
        Vec::new()
    }
}

/// Every kind, in the order in which events of one item come.
pub static ALL: &[&dyn Kind] = &[&files::Files, &boots::Boots, &processes::Processes, &dns::Dns];

/// The events of one item: those of its header, and for a record set those of its lines (with or
/// without their newline). Give no lines for other items. `take` gets each event as it is found.
pub fn events_from_item<L: AsRef<[u8]>>(
    host: &HostId,
    item_seq: u64,
    header: &ItemHeader,
    lines: impl IntoIterator<Item = L>,
    take: &mut dyn FnMut(Event),
) {
    for kind in ALL {
        for moment in kind.in_header(header) {
            take(Event::new(moment, kind.name(), host, item_seq, None));
        }
    }
    if reads_lines(header) {
        for (number, line) in (1u64..).zip(lines) {
            events_from_line(host, item_seq, header, number, line.as_ref(), take);
        }
    }
}

/// The events of one line of a record set, for whoever reads the lines; `number` counts from 1.
pub fn events_from_line(
    host: &HostId,
    item_seq: u64,
    header: &ItemHeader,
    number: u64,
    line: &[u8],
    take: &mut dyn FnMut(Event),
) {
    let kinds = kinds_of(header);
    if kinds.is_empty() || line.len() > LINE_BYTES {
        return;
    }
    let Ok(Value::Object(fields)) = serde_json::from_slice(line) else {
        return;
    };
    let record = Record { fields: &fields };
    for kind in kinds {
        for moment in kind.in_record(&record) {
            take(Event::new(moment, kind.name(), host, item_seq, Some(number)));
        }
    }
}

/// True when the lines of this item can hold events; else its bytes need not be read.
pub fn reads_lines(header: &ItemHeader) -> bool {
    !kinds_of(header).is_empty()
}

fn kinds_of(header: &ItemHeader) -> Vec<&'static dyn Kind> {
    if header.kind != ItemKind::Records {
        return Vec::new();
    }
    let name = header.name.as_bytes();
    let wanted = |kind: &&dyn Kind| kind.record_set().is_some_and(|set| set.as_bytes() == name);
    ALL.iter().copied().filter(wanted).collect()
}

/// One record, read leniently: an agent on a hostile host wrote it.
pub struct Record<'a> {
    fields: &'a Map<String, Value>,
}

impl<'a> Record<'a> {
    /// The time in a column.
    pub fn time(&self, column: &str) -> Option<Timestamp> {
        self.text(column)?.parse().ok()
    }

    /// The text in a column.
    pub fn text(&self, column: &str) -> Option<&'a str> {
        self.fields.get(column)?.as_str()
    }

    /// The number in a column, as text.
    pub fn number(&self, column: &str) -> Option<u64> {
        self.fields.get(column)?.as_u64()
    }

    /// The record in a column.
    pub fn record(&self, column: &str) -> Option<Record<'a>> {
        let fields = self.fields.get(column)?.as_object()?;
        Some(Record { fields })
    }

    /// The records in a list column.
    pub fn records(&self, column: &str) -> impl Iterator<Item = Record<'a>> {
        let list = self.fields.get(column).and_then(Value::as_array);
        let members = list.into_iter().flatten();
        members.filter_map(Value::as_object).map(|fields| Record { fields })
    }

    /// The texts in a list column.
    pub fn texts(&self, column: &str) -> impl Iterator<Item = &'a str> {
        let list = self.fields.get(column).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }
}

#[cfg(test)]
mod tests;

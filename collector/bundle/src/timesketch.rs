//! `data/timeline/timesketch.jsonl`: the events of every session in the order of their items.
//! Timesketch sorts on import. One item's lines are read at a time.

use crate::{BundleError, view::CaseView};
use cleanroom_analysis::timeline::{Event, events_from_item, events_from_line, reads_lines};
use std::{io::Write, iter};

/// Writes the timeline.
pub fn write(view: &CaseView<'_>, out: &mut dyn Write) -> Result<(), BundleError> {
    for session in &view.sessions {
        let host = &session.info.host;
        for item in &session.items {
            let mut result = Ok(());
            let mut take = |event: Event| {
                if result.is_ok()
                    && let Some(line) = event.to_timesketch(session.info.session.as_str())
                {
                    result = writeln!(out, "{line}");
                }
            };
            let header = &item.header;
            events_from_item(host, item.seq, header, iter::empty::<&[u8]>(), &mut take);
            if reads_lines(header) {
                view.lines(item, |number, line| {
                    events_from_line(host, item.seq, header, number, line, &mut take);
                    Ok(())
                })?;
            }
            result?;
        }
    }
    Ok(())
}

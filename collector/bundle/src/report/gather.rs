//! Leads the evidence of each session past the detections, and writes what they found as lines.

use super::scope::agent;
use crate::{
    BundleError,
    item::Item,
    view::{CaseView, SessionView},
};
use cleanroom_analysis::{
    findings::{Engine, Finding, TEXT_BYTES, is_text},
    records::Record,
};
use std::io::Write;

/// The findings of one session, the most severe first.
pub fn findings(view: &CaseView<'_>, session: &SessionView) -> Result<Vec<Finding>, BundleError> {
    let mut engine = Engine::new(agent(session));
    for item in &session.items {
        engine.item(item.seq, &item.header);
        if is_text(&item.header) && item.seal.length_bytes > 0 {
            let text = view.head(item, TEXT_BYTES)?;
            engine.text(item.seq, &item.header, &text);
        }
    }
    for set in Record::SETS {
        view.records(session, set, &mut |item: &Item, line: u64, bytes: &[u8]| {
            engine.record(set, item.seq, line, bytes);
            Ok(())
        })?;
    }
    Ok(engine.finish(&session.info.host, &session.info.session))
}

/// Writes `data/findings.jsonl`: one finding a line, by session.
pub fn write(view: &CaseView<'_>, out: &mut dyn Write) -> Result<(), BundleError> {
    for session in &view.sessions {
        for finding in findings(view, session)? {
            serde_json::to_writer(&mut *out, &finding)?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

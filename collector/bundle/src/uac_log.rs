//! The text of a host tar's `uac.log`: what made the tar, and how each source ended. Tools look
//! for the file by its name; people read it. Pure.

use crate::view::{CaseView, SessionView};
use cleanroom_evidence::{Outcome, Timestamp, printable};

/// The text.
pub fn text(view: &CaseView<'_>, session: &SessionView) -> String {
    let info = &session.info;
    let mut log = String::new();
    let mut line = |time: Timestamp, level: &str, message: &str| {
        log.push_str(&format!("{time} {level} {}\n", printable(message.as_bytes())));
    };
    let opened = info.opened.utc;
    line(
        view.exported,
        "INF",
        "this tar has the layout of UAC and was made by cleanroom; times are UTC",
    );
    line(
        opened,
        "INF",
        &format!(
            "case {}, host {}, session {}, agent {} {} (SHA-256 {})",
            view.info().id,
            info.host,
            info.session,
            info.agent.name,
            info.agent.version,
            info.agent.sha256
        ),
    );
    for outcome in &session.outcomes {
        let (level, how) = match &outcome.outcome {
            Outcome::Complete => ("INF", "complete".to_owned()),
            Outcome::Absent(why) => ("INF", format!("nothing to read: {why}")),
            Outcome::Failed(why) => ("ERR", format!("failed: {why}")),
            Outcome::Partial(gaps) => ("WRN", format!("partial, {} kinds of gaps", gaps.len())),
        };
        line(
            outcome.started.utc,
            level,
            &format!("{}: {} items, {} bytes, {how}", outcome.source, outcome.items, outcome.bytes),
        );
        if let Outcome::Partial(gaps) = &outcome.outcome {
            for gap in gaps {
                line(
                    outcome.ended.utc,
                    "WRN",
                    &format!(
                        "{}: {} × {}: {}",
                        outcome.source, gap.count, gap.operation, gap.reason
                    ),
                );
            }
        }
    }
    line(
        view.exported,
        "INF",
        "pipes, sockets, devices and files that could not be read are in bodyfile/bodyfile.txt \
         only; [root]/etc, [root]/run and [root]/var are there even where nothing in them was \
         collected",
    );
    log
}

//! How each source ended, with every reason in full, and the items that are not whole.

use super::nothing;
use crate::report::{
    html::{Done, Html},
    scope::{Ref, Scope, end_table, table},
};
use cleanroom_evidence::{Gap, ItemStatus, Outcome, RawBytes, SourceOutcome};

/// Items that are not whole, at most.
const ITEMS: usize = 200;

/// Writes them.
pub fn write(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    if scope.session.outcomes.is_empty() {
        nothing(html, "No source has ended: the session was cut short.")?;
    } else {
        table(html, &["Source", "Outcome", "Items", "Bytes", "Seconds", "Why"])?;
        for outcome in &scope.session.outcomes {
            source(outcome, html)?;
        }
        end_table(html)?;
        html.raw("<p class=\"note\">From ")?;
        scope.file(html, "outcomes.jsonl")?;
        html.raw("; all items in ")?;
        scope.file(html, "items.jsonl")?;
        html.raw("; what agent and collector noted in ")?;
        scope.file(html, "notes.jsonl")?;
        html.raw("</p>\n")?;
    }
    partial_items(scope, html)
}

fn source(outcome: &SourceOutcome, html: &mut Html<'_>) -> Done {
    html.raw("<tr>")?;
    html.within("<td class=\"k\">", "</td>", |html| html.bytes(outcome.source.as_bytes(), 64))?;
    html.within("<td class=\"k\">", "</td>", |html| match &outcome.outcome {
        Outcome::Complete => html.mark("good", "complete"),
        Outcome::Partial(_) => html.mark("medium", "partial"),
        Outcome::Absent(_) => html.mark("plain", "absent"),
        Outcome::Failed(_) => html.mark("high", "failed"),
    })?;
    html.within("<td class=\"n\">", "</td>", |html| html.number(outcome.items))?;
    html.within("<td class=\"n\">", "</td>", |html| html.size(outcome.bytes))?;
    let ns = outcome.ended.boottime_ns.saturating_sub(outcome.started.boottime_ns);
    html.within("<td class=\"n\">", "</td>", |html| html.esc(&format!("{:.2}", ns as f64 / 1e9)))?;
    html.within("<td class=\"w\">", "</td>", |html| match &outcome.outcome {
        Outcome::Complete => Ok(()),
        Outcome::Absent(why) | Outcome::Failed(why) => html.bytes(why.as_bytes(), 2000),
        Outcome::Partial(gaps) => html.within("<ul>", "</ul>", |html| {
            gaps.iter()
                .try_for_each(|gap| html.within("<li>", "</li>", |html| self::gap(gap, html)))
        }),
    })?;
    html.raw("</tr>\n")
}

fn gap(gap: &Gap, html: &mut Html<'_>) -> Done {
    html.number(gap.count)?;
    html.raw(" × ")?;
    html.bytes(gap.operation.as_bytes(), 200)?;
    html.raw(": ")?;
    html.bytes(gap.reason.as_bytes(), 1000)?;
    if gap.examples.is_empty() {
        return Ok(());
    }
    html.raw(" <span class=\"soft\">e.g. ")?;
    for (number, example) in gap.examples.iter().enumerate() {
        if number > 0 {
            html.raw(", ")?;
        }
        html.code(RawBytes::as_bytes(example), 200)?;
    }
    html.raw("</span>")
}

fn partial_items(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let mut items = scope.session.items.iter().filter_map(|item| match &item.seal.status {
        ItemStatus::Partial(why) => Some((item, why)),
        ItemStatus::Whole => None,
    });
    let total = items.clone().count();
    if total == 0 {
        return Ok(());
    }
    html.raw("<details><summary>")?;
    html.number(total as u64)?;
    html.raw(" items are not whole</summary>")?;
    table(html, &["Item", "Bytes", "Why", "Evidence"])?;
    for (item, why) in items.by_ref().take(ITEMS) {
        html.raw("<tr>")?;
        html.td(|html| html.code(item.header.name.as_bytes(), 300))?;
        html.within("<td class=\"n\">", "</td>", |html| html.size(item.seal.length_bytes))?;
        html.td(|html| html.bytes(why.as_bytes(), 500))?;
        scope.reference_cell(html, Ref { seq: item.seq, line: None })?;
        html.raw("</tr>\n")?;
    }
    end_table(html)?;
    if total > ITEMS {
        html.raw("<p class=\"note\">")?;
        html.number((total - ITEMS) as u64)?;
        html.raw(" more in ")?;
        scope.file(html, "items.jsonl")?;
        html.raw("</p>")?;
    }
    html.raw("</details>\n")
}

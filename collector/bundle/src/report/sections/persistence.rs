//! Files by which something runs again, by the kind of place.

use super::{command, nothing};
use crate::report::{
    html::{Done, Html},
    scope::{Ref, Scope, end_table, table},
};
use cleanroom_analysis::records::Persistence;
use std::collections::BTreeMap;

/// Files that are shown.
const ROWS: usize = 5_000;
/// Kinds of places that are shown.
const PLACES: usize = 200;

/// What a row shows; kept small, there are thousands.
struct Row {
    at: Ref,
    path: String,
    what: String,
    runs: String,
    facts: String,
}

/// Writes them.
pub fn write(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let mut places: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let (mut rows, mut more) = (0usize, 0u64);
    let bad = scope.each("persistence", |at, one: Persistence| {
        let place = one.place.shown(60);
        if rows >= ROWS || (places.len() >= PLACES && !places.contains_key(&place)) {
            more += 1;
            return Ok(());
        }
        rows += 1;
        places.entry(place).or_default().push(row(at, &one));
        Ok(())
    })?;
    if places.is_empty() {
        return nothing(html, "No such files were captured.");
    }
    for (place, rows) in &places {
        html.raw("<details><summary>")?;
        html.esc(place)?;
        html.raw(" (")?;
        html.number(rows.len() as u64)?;
        html.raw(")</summary>\n")?;
        table(html, &["File", "What", "Runs or leads to", "Owner and times", "Evidence"])?;
        for row in rows {
            html.raw("<tr>")?;
            html.td(|html| html.within("<code>", "</code>", |html| html.esc(&row.path)))?;
            html.td(|html| html.esc(&row.what))?;
            html.td(|html| html.within("<code>", "</code>", |html| html.esc(&row.runs)))?;
            html.td(|html| html.esc(&row.facts))?;
            scope.reference_cell(html, row.at)?;
            html.raw("</tr>\n")?;
        }
        end_table(html)?;
        html.raw("</details>\n")?;
    }
    scope.rest(html, "persistence", more, bad)
}

fn row(at: Ref, one: &Persistence) -> Row {
    let facts = one.file.0.as_ref().map_or_else(String::new, |file| {
        let modified = file.modified.time();
        let modified = modified.map_or_else(|| "?".into(), crate::report::html::second);
        format!(
            "{:04o} {}:{} {modified}",
            file.mode.0.unwrap_or(0),
            file.uid.0.unwrap_or(0),
            file.gid.0.unwrap_or(0)
        )
    });
    let runs = match one.link_target.is_empty() {
        true => command(one.runs.bytes(), 300),
        false => format!("→ {}", one.link_target.shown(200)),
    };
    let user = match one.user.is_empty() {
        true => String::new(),
        false => format!(" of {}", one.user.shown(40)),
    };
    Row {
        at,
        path: one.path.shown(300),
        what: format!("{}{user}", one.what.shown(40)),
        runs,
        facts,
    }
}

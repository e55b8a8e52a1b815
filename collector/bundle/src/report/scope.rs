//! One session as the sections of the report read it: its records, and links to where each of them
//! lies in the bundle.

use super::html::{Done, Html};
use crate::{
    BundleError,
    item::{Item, Place},
    layout::Layout,
    view::{CaseView, SessionView},
};
use cleanroom_analysis::{
    findings::Session,
    records::{lenient::Columns, parse},
};
use std::collections::HashMap;

/// Where a record stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ref {
    /// The item's number in the session.
    pub seq: u64,
    /// The line in the item, from 1.
    pub line: Option<u64>,
}

/// One session.
pub struct Scope<'a> {
    /// The case.
    pub view: &'a CaseView<'a>,
    /// The session.
    pub session: &'a SessionView,
    places: HashMap<u64, Place>,
    folder: String,
    /// What is known of the agent.
    pub agent: Session,
}

impl<'a> Scope<'a> {
    /// Lays the session out as the bundle will.
    pub fn new(view: &'a CaseView<'a>, session: &'a SessionView) -> Result<Self, BundleError> {
        let layout = view.with_copier(|blobs| Layout::new(session, blobs))?;
        let seqs = session.items.iter().map(|item| item.seq);
        Ok(Self {
            view,
            session,
            places: seqs.zip(layout.places).collect(),
            folder: layout.folder,
            agent: agent(session),
        })
    }

    /// The id of a section of this session.
    pub fn id(&self, section: &str) -> String {
        format!("{}.{}.{section}", self.session.info.host, self.session.info.session)
    }

    /// Every record of a set; gives the number of lines that were none.
    pub fn each<T: Columns>(
        &self,
        set: &str,
        mut take: impl FnMut(Ref, T) -> Done,
    ) -> Result<u64, BundleError> {
        let mut unreadable = 0;
        self.view.records(self.session, set, &mut |item: &Item, line: u64, bytes: &[u8]| {
            match parse(bytes) {
                Some(record) => take(Ref { seq: item.seq, line: Some(line) }, record)?,
                None => unreadable += 1,
            }
            Ok(())
        })?;
        Ok(unreadable)
    }

    /// The item of that name, the last one where there are several.
    pub fn item(&self, name: &[u8]) -> Option<&'a Item> {
        self.session.items.iter().rev().find(|item| item.header.name.as_bytes() == name)
    }

    /// A link to a record or an item: `seq 7 · line 3`.
    pub fn reference(&self, html: &mut Html<'_>, at: Ref) -> Done {
        let place = self.places.get(&at.seq).and_then(|place| place.bundle_path.as_deref());
        let text = match at.line {
            Some(line) => format!("seq {} · line {line}", at.seq),
            None => format!("seq {}", at.seq),
        };
        let path = place.and_then(|path| path.strip_prefix("data/"));
        match path {
            Some(path) => html.link(path, |html| html.esc(&text)),
            None => html.esc(&text),
        }
    }

    /// A cell with that link.
    pub fn reference_cell(&self, html: &mut Html<'_>, at: Ref) -> Done {
        html.within("<td class=\"ref\">", "</td>", |html| self.reference(html, at))
    }

    /// A link to a file of the session's folder.
    pub fn file(&self, html: &mut Html<'_>, name: &str) -> Done {
        let path = format!("{}{name}", self.folder);
        html.link(path.strip_prefix("data/").unwrap_or(&path), |html| html.esc(name))
    }

    /// The closing line of a table: what is not in it, and where that is.
    pub fn rest(&self, html: &mut Html<'_>, set: &str, more: u64, unreadable: u64) -> Done {
        if more > 0 {
            html.within("<p class=\"note\">", "</p>", |html| {
                html.number(more)?;
                html.raw(" more in ")?;
                self.file(html, &format!("records/{set}.jsonl"))
            })?;
        }
        if unreadable > 0 {
            html.within("<p class=\"note\">", "</p>", |html| {
                html.number(unreadable)?;
                html.raw(" lines there are no records: cut or crafted.")
            })?;
        }
        Ok(())
    }
}

/// What the session says of its agent.
pub fn agent(session: &SessionView) -> Session {
    let notes = session.notes.iter().rev();
    let pid = notes
        .filter(|note| note.kind == "footprint")
        .find_map(|note| note.body.get("pid").and_then(serde_json::Value::as_u64));
    Session { agent_pid: pid, agent_sha256: session.info.agent.sha256.to_string() }
}

/// Rows that are kept, and how many there are.
#[derive(Debug)]
pub struct Bounded<T> {
    /// The first rows.
    pub rows: Vec<T>,
    /// Rows that found no room.
    pub more: u64,
    room: usize,
}

impl<T> Bounded<T> {
    /// Room for so many.
    pub fn new(room: usize) -> Self {
        Self { rows: Vec::new(), more: 0, room }
    }

    /// Adds a row; it is only made where there is room.
    pub fn add(&mut self, row: impl FnOnce() -> T) {
        if self.rows.len() < self.room {
            self.rows.push(row());
        } else {
            self.more += 1;
        }
    }
}

/// Begins a table.
pub fn table(html: &mut Html<'_>, columns: &[&'static str]) -> Done {
    html.raw("<table><thead><tr>")?;
    for column in columns {
        html.within("<th scope=\"col\">", "</th>", |html| html.raw(column))?;
    }
    html.raw("</tr></thead><tbody>\n")
}

/// Ends a table.
pub fn end_table(html: &mut Html<'_>) -> Done {
    html.raw("</tbody></table>\n")
}

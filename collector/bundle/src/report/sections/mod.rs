//! The parts of the report, one file each.

pub mod case;
pub mod cron;
pub mod dns;
pub mod facts;
pub mod findings;
pub mod persistence;
pub mod processes;
pub mod sockets;
pub mod sources;
pub mod user_data;
pub mod volumes;

use super::{
    html::{Done, Html},
    redact,
};
use cleanroom_analysis::records::lenient::{Text, shown};

/// A row of a definition list; nothing where the value is absent.
fn fact(html: &mut Html<'_>, name: &'static str, value: &Text) -> Done {
    if value.is_empty() {
        return Ok(());
    }
    row(html, name, |html| html.bytes(value.bytes(), 400))
}

/// A row of a definition list.
fn row(html: &mut Html<'_>, name: &'static str, value: impl FnOnce(&mut Html<'_>) -> Done) -> Done {
    html.within("<dt>", "</dt>", |html| html.raw(name))?;
    html.within("<dd>", "</dd>\n", value)
}

/// A paragraph for what was not there to show.
fn nothing(html: &mut Html<'_>, text: &'static str) -> Done {
    html.within("<p class=\"note\">", "</p>\n", |html| html.raw(text))
}

/// Commands and settings: safe, cut, and without secrets. Cut last, so that a secret at the cut is
/// hidden as well.
fn command(bytes: &[u8], characters: usize) -> String {
    let hidden = redact::text(&shown(bytes, characters.saturating_mul(4)));
    match hidden.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", hidden.get(..end).unwrap_or_default()),
        None => hidden,
    }
}

/// A time of a record: to the second, or as it stands there.
fn time(html: &mut Html<'_>, text: &Text) -> Done {
    match text.time() {
        Some(time) => html.time(time),
        None => html.bytes(text.bytes(), 40),
    }
}

//! The parts of user data as cloud-init takes them, with the begin of their decoded text.

use super::{findings::lines, nothing};
use crate::report::{
    html::{Done, Html},
    scope::{Ref, Scope},
};
use cleanroom_analysis::records::{UserDataPart, lenient::Text};
use std::collections::HashMap;

/// Parts that are shown.
const ROWS: u64 = 200;
/// Bytes of one part's text, and its lines.
const PREVIEW_BYTES: u64 = 16 * 1024;
const PREVIEW_LINES: usize = 400;

/// Writes them.
pub fn write(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let mut seen = 0u64;
    let mut shown: HashMap<Vec<u8>, Ref> = HashMap::new();
    let bad = scope.each("user-data-parts", |at, part: UserDataPart| {
        seen += 1;
        if seen > ROWS {
            return Ok(());
        }
        heading(scope, html, at, &part)?;
        let digest = part.sha256.bytes().to_vec();
        match shown.get(&digest) {
            Some(before) => {
                html.raw("<p class=\"note\">The same bytes as ")?;
                scope.reference(html, *before)?;
                html.raw("</p>\n")
            }
            None => {
                shown.insert(digest, at);
                preview(scope, html, &part)
            }
        }
    })?;
    if seen == 0 {
        return nothing(html, "No user data was captured.");
    }
    scope.rest(html, "user-data-parts", seen.saturating_sub(ROWS), bad)
}

fn heading(scope: &Scope<'_>, html: &mut Html<'_>, at: Ref, part: &UserDataPart) -> Done {
    html.raw("<h4><code>")?;
    html.bytes(part.path.bytes(), 300)?;
    html.raw("</code> part ")?;
    html.bytes(part.part.bytes(), 40)?;
    html.raw(" ")?;
    html.mark("plain", &part.kind.shown(40))?;
    html.raw("</h4>\n<p>")?;
    if !part.filename.is_empty() {
        html.raw("named ")?;
        html.code(part.filename.bytes(), 120)?;
        html.raw(", ")?;
    }
    html.bytes(part.content_type.bytes(), 120)?;
    if let Some(size) = part.size_bytes.0 {
        html.raw(", ")?;
        html.size(size)?;
    }
    for encoding in part.encodings.items.iter().take(8) {
        html.raw(", ")?;
        html.bytes(encoding.bytes(), 30)?;
    }
    html.raw(" · SHA-256 <code>")?;
    html.bytes(part.sha256.bytes(), 64)?;
    html.raw("</code> · ")?;
    scope.reference(html, at)?;
    html.raw("</p>\n")?;
    list(html, "<p class=\"note\">Noted: ", &part.notes.items)?;
    list(html, "<p>Includes (never fetched): ", &part.urls.items)
}

fn list(html: &mut Html<'_>, open: &'static str, texts: &[Text]) -> Done {
    if texts.is_empty() {
        return Ok(());
    }
    html.raw(open)?;
    for (number, text) in texts.iter().take(20).enumerate() {
        if number > 0 {
            html.raw("; ")?;
        }
        html.bytes(text.bytes(), 300)?;
    }
    html.raw("</p>\n")
}

fn preview(scope: &Scope<'_>, html: &mut Html<'_>, part: &UserDataPart) -> Done {
    let Some(item) = scope.item(part.item_name.bytes()) else {
        return nothing(html, "Its bytes are not in this session.");
    };
    let head = scope.view.head(item, PREVIEW_BYTES)?;
    html.raw("<details open><summary>Decoded text</summary>")?;
    html.raw("<pre>")?;
    lines(&head, PREVIEW_LINES, html)?;
    html.raw("</pre>")?;
    if item.seal.length_bytes > head.len() as u64 {
        html.raw("<p class=\"note\">the first ")?;
        html.size(head.len() as u64)?;
        html.raw(" of ")?;
        html.size(item.seal.length_bytes)?;
        html.raw("</p>")?;
    }
    html.raw("<p class=\"note\">All of it: ")?;
    scope.reference(html, Ref { seq: item.seq, line: None })?;
    html.raw("</p></details>\n")
}

//! The head of the report: what case this is, its custody, and how to check it.

use super::row;
use crate::{
    report::html::{Done, Html},
    view::CaseView,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cleanroom_evidence::{Outcome, Sha256Digest};

/// Writes it.
pub fn write(view: &CaseView<'_>, html: &mut Html<'_>) -> Done {
    let info = view.info();
    html.raw("<header id=\"case\"><h1>")?;
    let title = if info.title.trim().is_empty() { info.id.as_str() } else { &info.title };
    html.bytes(title.as_bytes(), 300)?;
    html.raw("</h1>\n<p class=\"lead\">Host forensics report of case ")?;
    html.esc(info.id.as_str())?;
    html.raw(", exported ")?;
    html.time(view.exported)?;
    html.raw(" UTC</p>\n")?;
    figures(view, html)?;
    html.raw("<dl>")?;
    let text = |html: &mut Html<'_>, name, value: &str| {
        row(html, name, |html| match value.trim() {
            "" => html.raw("<span class=\"soft\">not stated</span>"),
            value => html.bytes(value.as_bytes(), 2000),
        })
    };
    text(html, "Examiner", &info.examiner)?;
    text(html, "Authority", &info.authority)?;
    row(html, "Opened", |html| html.time(info.created.utc))?;
    row(html, "Closed", |html| match &info.closed {
        Some(closed) => {
            html.time(closed.time.utc)?;
            html.raw(" – ")?;
            html.bytes(closed.why.as_bytes(), 300)
        }
        None => html.raw("still open"),
    })?;
    row(html, "Made with", |html| {
        html.bytes(format!("{} {}", info.tool.name, info.tool.version).as_bytes(), 100)?;
        html.within(", SHA-256 <code>", "</code>", |html| html.esc(&info.tool.sha256.to_string()))
    })?;
    for session in &view.sessions {
        let info = &session.info;
        row(html, "Host", |html| {
            html.within("<b>", "</b>", |html| html.esc(info.host.as_str()))?;
            html.raw(" – session ")?;
            html.esc(info.session.as_str())?;
            html.raw(", opened ")?;
            html.time(info.opened.utc)?;
            html.raw(", agent ")?;
            html.bytes(info.agent.version.as_bytes(), 40)?;
            html.raw(" from ")?;
            html.bytes(info.peer.as_bytes(), 100)
        })?;
    }
    custody(view, html)?;
    html.raw("</dl></header>\n")?;
    reading(view, html)
}

fn figures(view: &CaseView<'_>, html: &mut Html<'_>) -> Done {
    let items = view.sessions.iter().flat_map(|session| &session.items);
    let (count, bytes) = items
        .fold((0u64, 0u64), |(count, bytes), item| (count + 1, bytes + item.seal.length_bytes));
    let outcomes = view.sessions.iter().flat_map(|session| &session.outcomes);
    let partial = outcomes
        .filter(|outcome| matches!(outcome.outcome, Outcome::Partial(_) | Outcome::Failed(_)))
        .count();
    let mut hosts: Vec<_> = view.sessions.iter().map(|session| &session.info.host).collect();
    hosts.dedup();
    html.raw("<div class=\"figures\">")?;
    let figure = |html: &mut Html<'_>, number: u64, what: &'static str| {
        html.within("<div><b>", "</b><span>", |html| html.number(number))?;
        html.raw(what)?;
        html.raw("</span></div>")
    };
    figure(html, hosts.len() as u64, "hosts")?;
    figure(html, count, "items of evidence")?;
    html.within("<div><b>", "</b><span>of evidence</span></div>", |html| html.size(bytes))?;
    figure(html, partial as u64, "sources not complete")?;
    figure(html, view.entries, "custody entries")?;
    html.raw("</div>\n")
}

fn custody(view: &CaseView<'_>, html: &mut Html<'_>) -> Done {
    let custody = view.custody()?;
    row(html, "Custody log", |html| {
        html.number(custody.head.size)?;
        html.raw(" entries when the export began; root <code>")?;
        html.esc(&custody.head.root.to_string())?;
        html.raw("</code>")
    })?;
    row(html, "Custody key", |html| {
        html.code(custody.vkey.as_bytes(), 300)?;
        if let Some(fingerprint) = fingerprint(&custody.key_pem) {
            html.raw("<br>SHA-256 of the public key <code>")?;
            html.esc(&fingerprint.to_string())?;
            html.raw("</code>")?;
        }
        Ok(())
    })
}

/// SHA-256 of the DER SubjectPublicKeyInfo, as `openssl pkey -pubin -outform DER | sha256sum`.
fn fingerprint(pem: &str) -> Option<Sha256Digest> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(body.trim()).ok().map(|der| Sha256Digest::of(&der))
}

fn reading(view: &CaseView<'_>, html: &mut Html<'_>) -> Done {
    html.raw("<details id=\"reading\"><summary>How to read and verify this report</summary>\n")?;
    html.raw(
        "<p>Every row ends with the item of evidence that it comes from: <i>seq</i> is the item's \
         number in its session (<code>items.jsonl</code> there), <i>line</i> the line in that item. \
         Links lead to the file in the unpacked bundle; a set of records that came in several items \
         has them one after the other in its file. Bytes that are no text are shown as \
         <code>\\xNN</code>, invisible characters as <code>\\u{…}</code>, a backslash as \
         <code>\\\\</code>. Values that look like passwords, tokens or keys are redacted here, not in \
         the evidence.</p>\n",
    )?;
    html.raw("<p>To check that nothing of the bundle was changed:</p>\n<pre>cleanroom verify ")?;
    html.esc(view.info().id.as_str())?;
    html.raw(".tar\ntar -xf ")?;
    html.esc(view.info().id.as_str())?;
    html.raw(".tar &amp;&amp; cd ")?;
    html.esc(view.info().id.as_str())?;
    html.raw(
        "\nsha256sum --check --quiet manifest-sha256.txt tagmanifest-sha256.txt\n\
         bagit.py --validate .\n\
         openssl pkey -pubin -in custody/key.pem -outform DER | sha256sum</pre>\n\
         <p>The first command checks everything: files, custody log, its signed head and the \
         signature over the bundle. The others check the files without this program. Compare the \
         key's fingerprint with one that you got another way: who can replace the key can replace \
         the rest.</p></details>\n",
    )
}

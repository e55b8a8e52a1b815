//! What the detections found, with the lines that it rests on.

use crate::report::{
    gather,
    html::{Done, Html},
    redact,
    scope::{Ref, Scope},
};
use cleanroom_analysis::findings::{Evidence, Excerpt, Finding, Severity};
use cleanroom_evidence::printable;

/// Evidence shown at once; the rest unfolds.
const AT_ONCE: usize = 5;
/// Lines of an excerpt.
const LINES: usize = 200;

/// Writes them.
pub fn write(scopes: &[Scope<'_>], html: &mut Html<'_>) -> Done {
    html.raw("<section><h2 id=\"findings\">Findings</h2>\n")?;
    let mut found: Vec<(&Scope<'_>, Finding)> = Vec::new();
    for scope in scopes {
        let findings = gather::findings(scope.view, scope.session)?;
        found.extend(findings.into_iter().map(|finding| (scope, finding)));
    }
    found.sort_by_key(|(_, finding)| std::cmp::Reverse(finding.severity));
    if found.is_empty() {
        html.raw(
            "<p>No detection fired. That does not show that a host is clean: it shows that what \
             these detections look for is not in what was captured.</p>\n",
        )?;
    } else {
        html.raw("<p>")?;
        for severity in Severity::ALL {
            let count = found.iter().filter(|(_, finding)| finding.severity == severity).count();
            if count > 0 {
                html.mark(class(severity), &format!("{count} {severity}"))?;
            }
        }
        html.link("findings.jsonl", |html| html.raw("findings.jsonl"))?;
        html.raw("</p>\n")?;
    }
    for (scope, finding) in &found {
        one(scope, finding, html)?;
    }
    html.raw("</section>\n")
}

fn class(severity: Severity) -> &'static str {
    severity.name()
}

fn one(scope: &Scope<'_>, finding: &Finding, html: &mut Html<'_>) -> Done {
    html.raw("<article class=\"finding ")?;
    html.raw(class(finding.severity))?;
    html.raw("\"><h3>")?;
    html.mark(class(finding.severity), finding.severity.name())?;
    html.esc(&redact::text(&finding.title))?;
    html.raw("</h3>\n<p>")?;
    html.esc(&redact::text(&finding.text))?;
    html.raw("</p>\n")?;
    let (first, rest) = finding.evidence.split_at(finding.evidence.len().min(AT_ONCE));
    list(scope, first, html)?;
    if !rest.is_empty() {
        html.raw("<details class=\"more\"><summary>")?;
        html.number(rest.len() as u64)?;
        html.raw(" more lines of evidence</summary>\n")?;
        list(scope, rest, html)?;
        let unlisted = finding.evidence_total.saturating_sub(finding.evidence.len() as u64);
        if unlisted > 0 {
            html.raw("<p class=\"note\">and ")?;
            html.number(unlisted)?;
            html.raw(" that are not listed</p>")?;
        }
        html.raw("</details>\n")?;
    }
    if let Some(excerpt) = &finding.excerpt {
        self::excerpt(excerpt, finding.severity >= Severity::High, html)?;
    }
    html.raw("<p class=\"note\">Harmless when: ")?;
    html.esc(finding.false_positives)?;
    html.raw("<br>Host ")?;
    html.esc(finding.host.as_str())?;
    html.raw(" · detection ")?;
    html.esc(finding.detection)?;
    html.raw(" · ATT&amp;CK ")?;
    html.esc(&finding.techniques.join(", "))?;
    html.raw("</p></article>\n")
}

fn list(scope: &Scope<'_>, evidence: &[Evidence], html: &mut Html<'_>) -> Done {
    html.raw("<ul class=\"evidence\">")?;
    for piece in evidence {
        html.raw("<li><span>")?;
        scope.reference(html, Ref { seq: piece.item, line: piece.line })?;
        html.raw("</span><span>")?;
        html.esc(&redact::text(&piece.shows))?;
        html.raw(" <span class=\"soft\">(")?;
        html.esc(&piece.set)?;
        if !piece.fields.is_empty() {
            html.raw(": ")?;
            html.esc(&piece.fields.join(", "))?;
        }
        html.raw(")</span></span></li>\n")?;
    }
    html.raw("</ul>\n")
}

fn excerpt(excerpt: &Excerpt, open: bool, html: &mut Html<'_>) -> Done {
    html.raw(if open { "<details open><summary>" } else { "<details><summary>" })?;
    html.esc(&excerpt.label)?;
    html.raw(" (")?;
    html.number(excerpt.total_bytes)?;
    html.raw(" bytes)</summary><pre>")?;
    lines(excerpt.bytes.as_bytes(), LINES, html)?;
    html.raw("</pre></details>\n")
}

/// Lines of a text, each safe and without secrets.
pub fn lines(bytes: &[u8], at_most: usize, html: &mut Html<'_>) -> Done {
    let mut redactor = redact::Redactor::default();
    let text = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if number >= at_most {
            return html.raw("\n…");
        }
        if number > 0 {
            html.raw("\n")?;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        for (column, text) in line.split(|byte| *byte == b'\t').enumerate() {
            if column > 0 {
                html.raw("&#9;")?;
            }
            html.esc(&redactor.line(&printable(text)))?;
        }
    }
    Ok(())
}

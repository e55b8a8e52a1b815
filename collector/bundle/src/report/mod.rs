//! `data/report.html`: one file for people, that needs no network, no script and nothing beside it,
//! and prints. It shows records and says where each of them lies; it is no evidence itself and
//! never adds to it. Tables are cut at stated bounds, so memory is bounded whatever a host sent.

mod gather;
mod html;
mod redact;
mod scope;
mod sections;
#[cfg(test)]
mod tests;
mod tree;

pub use gather::write as write_findings;

use crate::{BundleError, view::CaseView};
use html::{Done, Html};
use scope::Scope;
use std::io::{BufWriter, Write};

/// A part of the report about one session.
pub struct Section {
    /// Its id in links: `a-z`, `-`.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Writes what follows the heading.
    pub write: fn(&Scope<'_>, &mut Html<'_>) -> Done,
}

/// The parts about each session, in order.
static SESSION: &[Section] = &[
    Section { id: "sources", title: "Sources", write: sections::sources::write },
    Section { id: "facts", title: "Host", write: sections::facts::write },
    Section { id: "processes", title: "Processes", write: sections::processes::write },
    Section { id: "sockets", title: "Sockets", write: sections::sockets::write },
    Section { id: "cron", title: "Cron", write: sections::cron::write },
    Section { id: "user-data", title: "User data", write: sections::user_data::write },
    Section { id: "dns", title: "DNS", write: sections::dns::write },
    Section { id: "volumes", title: "Volumes", write: sections::volumes::write },
    Section { id: "persistence", title: "Persistence", write: sections::persistence::write },
];

const HEAD: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n",
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ",
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<meta name=\"referrer\" content=\"no-referrer\">\n<style>\n",
    include_str!("style.css"),
    "</style>\n<title>"
);

/// Writes the report.
pub fn write(view: &CaseView<'_>, out: &mut dyn Write) -> Result<(), BundleError> {
    let mut out = BufWriter::with_capacity(64 * 1024, out);
    page(view, &mut Html::new(&mut out))?;
    Ok(out.flush()?)
}

fn page(view: &CaseView<'_>, html: &mut Html<'_>) -> Done {
    html.raw(HEAD)?;
    html.esc(&format!("Case {} – Cleanroom report", view.info().id))?;
    html.raw("</title></head>\n<body>\n")?;
    let scopes = view
        .sessions
        .iter()
        .map(|session| Scope::new(view, session))
        .collect::<Result<Vec<_>, _>>()?;
    navigation(&scopes, html)?;
    html.raw("<main>\n")?;
    sections::case::write(view, html)?;
    sections::findings::write(&scopes, html)?;
    for scope in &scopes {
        let info = &scope.session.info;
        html.raw("<section class=\"host\"><h2")?;
        html.attribute("id", &scope.id("top"))?;
        html.raw(">Host ")?;
        html.esc(info.host.as_str())?;
        html.within(" <small>session ", "</small></h2>\n", |html| html.esc(info.session.as_str()))?;
        for section in SESSION {
            html.raw("<section><h3")?;
            html.attribute("id", &scope.id(section.id))?;
            html.raw(">")?;
            html.raw(section.title)?;
            html.raw("</h3>\n")?;
            (section.write)(scope, html)?;
            html.raw("</section>\n")?;
        }
        html.raw("</section>\n")?;
    }
    html.raw("<footer><p>Made by cleanroom ")?;
    html.esc(env!("CARGO_PKG_VERSION"))?;
    html.raw(". All times are UTC and, of hosts, by their own clock. ")?;
    html.raw("What a host reports, a host that was taken over may have forged.</p></footer>\n")?;
    html.raw("</main></body></html>\n")
}

fn navigation(scopes: &[Scope<'_>], html: &mut Html<'_>) -> Done {
    html.raw("<nav aria-label=\"Contents\"><p class=\"brand\">Cleanroom</p><ul>")?;
    html.raw("<li><a href=\"#case\">Case</a></li><li><a href=\"#findings\">Findings</a></li>")?;
    html.raw("<li><a href=\"#reading\">How to read and verify</a></li></ul>\n")?;
    for scope in scopes {
        let link = |html: &mut Html<'_>, section: &str, title: &str| {
            html.link(&format!("#{}", scope.id(section)), |html| html.esc(title))
        };
        html.within("<p>", "</p><ul>", |html| link(html, "top", scope.session.info.host.as_str()))?;
        for section in SESSION {
            html.within("<li>", "</li>", |html| link(html, section.id, section.title))?;
        }
        html.raw("</ul>\n")?;
    }
    html.raw("</nav>\n")
}

//! DNS: what was asked during the watch, by domain and name; the resolver's configuration and cache.

use super::{nothing, row};
use crate::report::{
    html::{Done, Html, second},
    scope::{Bounded, Ref, Scope, end_table, table},
};
use cleanroom_analysis::records::{
    Dns, DnsCache, DnsConfig, DnsSummary,
    lenient::{Number, shown},
};
use cleanroom_evidence::Timestamp;
use std::collections::{BTreeSet, HashMap};

/// Names that are kept; more are counted.
const NAMES: usize = 5_000;
/// Names of one domain that stand in the table; more of them unfold.
const AT_ONCE: usize = 12;
/// Answers and processes of one name.
const EACH: usize = 6;
/// Lines of configuration and cache.
const LINES: usize = 200;

/// A name and a type.
struct Name {
    name: String,
    kind: String,
    domain: String,
    queries: u64,
    answers: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    data: BTreeSet<String>,
    asked_by: BTreeSet<String>,
    at: Ref,
}

/// Writes it.
pub fn write(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    scope.each("dns-watch-summary", |at, watch: DnsSummary| summary(scope, html, at, &watch))?;
    let mut names: Vec<Name> = Vec::new();
    let mut index: HashMap<(Vec<u8>, String), usize> = HashMap::new();
    let (mut left_out, mut malformed) = (0u64, 0u64);
    let bad = scope.each("dns", |at, dns: Dns| {
        malformed += u64::from(!dns.malformed.is_empty());
        let key = (dns.name.bytes().to_ascii_lowercase(), dns.kind.shown(20));
        let place = match index.get(&key) {
            Some(place) => *place,
            None if names.len() < NAMES => {
                names.push(Name::new(at, &dns, key.1.clone()));
                index.insert(key, names.len() - 1);
                names.len() - 1
            }
            None => {
                left_out += 1;
                return Ok(());
            }
        };
        if let Some(name) = names.get_mut(place) {
            name.add(&dns);
        }
        Ok(())
    })?;
    if names.is_empty() {
        nothing(html, "No DNS message was seen on the wire.")?;
    } else {
        by_domain(scope, html, names)?;
        scope.rest(html, "dns", left_out, bad)?;
    }
    if malformed > 0 {
        html.raw("<p class=\"note\">")?;
        html.number(malformed)?;
        html.raw(" malformed messages among them.</p>\n")?;
    }
    configuration(scope, html)?;
    cache(scope, html)
}

impl Name {
    fn new(at: Ref, dns: &Dns, kind: String) -> Self {
        Self {
            name: dns.name.shown(255),
            kind,
            domain: domain(&shown(dns.name.bytes(), 255).to_ascii_lowercase()),
            queries: 0,
            answers: 0,
            first: None,
            last: None,
            data: BTreeSet::new(),
            asked_by: BTreeSet::new(),
            at,
        }
    }

    fn add(&mut self, dns: &Dns) {
        match dns.direction.bytes() {
            b"query" => self.queries += 1,
            _ => self.answers += 1,
        }
        let time = dns.time.time();
        self.first = self.first.into_iter().chain(time).min();
        self.last = self.last.into_iter().chain(time).max();
        let keep = |set: &mut BTreeSet<String>, text: String| {
            if set.len() <= EACH {
                set.insert(text);
            }
        };
        let answers = dns.answers.items.iter().filter_map(|answer| answer.0.as_ref());
        for answer in answers.take(EACH + 1) {
            keep(&mut self.data, answer.data.shown(120));
        }
        if dns.answers.items.is_empty() && !dns.rcode.is_empty() {
            keep(&mut self.data, dns.rcode.shown(20));
        }
        if let Some(process) = &dns.process.0 {
            let name = process.comm.shown(40);
            let exe = process.exe.shown(120);
            let pid = process.pid.0.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
            // Scripts ask with a new process each time: the program says more than its number.
            match self.asked_by.iter().any(|known| known.starts_with(&format!("{name} "))) {
                true => {}
                false => keep(&mut self.asked_by, format!("{name} (pid {pid}, {exe})")),
            }
        }
    }
}

/// The last two labels, or three below a country's registry.
fn domain(name: &str) -> String {
    let labels: Vec<&str> = name.trim_end_matches('.').rsplit('.').take(3).collect();
    let kept = match labels.as_slice() {
        [top, second, _] if top.len() == 2 && second.len() <= 3 => 3,
        _ => 2,
    };
    let mut labels: Vec<&str> = labels.into_iter().take(kept).collect();
    labels.reverse();
    labels.join(".")
}

fn summary(scope: &Scope<'_>, html: &mut Html<'_>, at: Ref, watch: &DnsSummary) -> Done {
    html.raw("<dl>")?;
    let number = |html: &mut Html<'_>, name, number: Number| match number.0 {
        Some(number) => row(html, name, |html| html.number(number)),
        None => Ok(()),
    };
    number(html, "Queries", watch.queries)?;
    number(html, "Answers", watch.answers)?;
    number(html, "Queries with a process", watch.attributed)?;
    number(html, "Lost by the kernel", watch.drops_kernel)?;
    number(html, "Lost for want of room", watch.drops_memory)?;
    row(html, "Evidence", |html| scope.reference(html, at))?;
    html.raw("</dl>\n")
}

fn by_domain(scope: &Scope<'_>, html: &mut Html<'_>, names: Vec<Name>) -> Done {
    let mut domains: Vec<(String, Vec<Name>)> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    for name in names {
        let at = *index.entry(name.domain.clone()).or_insert_with(|| {
            domains.push((name.domain.clone(), Vec::new()));
            domains.len() - 1
        });
        if let Some((_, list)) = domains.get_mut(at) {
            list.push(name);
        }
    }
    let many = |list: &[Name]| list.len() > AT_ONCE;
    let few: Vec<&Name> =
        domains.iter().filter(|(_, list)| !many(list)).flat_map(|(_, list)| list).collect();
    if !few.is_empty() {
        rows(scope, html, &few)?;
    }
    for (domain, list) in domains.iter().filter(|(_, list)| many(list)) {
        html.raw("<details><summary><b>")?;
        html.esc(domain)?;
        html.raw("</b>: ")?;
        html.number(list.len() as u64)?;
        html.raw(" names, ")?;
        html.number(list.iter().map(|name| name.queries).sum())?;
        html.raw(" queries, first ")?;
        let first = list.iter().filter_map(|name| name.first).min();
        html.esc(&first.map_or_else(|| "?".to_owned(), second))?;
        html.raw("</summary>\n")?;
        rows(scope, html, &list.iter().collect::<Vec<_>>())?;
        html.raw("</details>\n")?;
    }
    Ok(())
}

fn rows(scope: &Scope<'_>, html: &mut Html<'_>, names: &[&Name]) -> Done {
    table(
        html,
        &[
            "Name",
            "Type",
            "Queries",
            "First and last (UTC)",
            "Answers",
            "Asked by",
            "First seen in",
        ],
    )?;
    for name in names {
        html.raw("<tr>")?;
        html.td(|html| html.within("<code>", "</code>", |html| html.esc(&name.name)))?;
        html.within("<td class=\"k\">", "</td>", |html| html.esc(&name.kind))?;
        html.within("<td class=\"n\">", "</td>", |html| html.number(name.queries))?;
        html.td(|html| {
            let time = |time: Option<Timestamp>| time.map_or_else(|| "?".to_owned(), second);
            html.within("<span class=\"t\">", "</span>", |html| html.esc(&time(name.first)))?;
            if name.last == name.first {
                return Ok(());
            }
            html.within("<br><span class=\"t\">", "</span>", |html| html.esc(&time(name.last)))
        })?;
        html.td(|html| set(html, &name.data))?;
        html.td(|html| set(html, &name.asked_by))?;
        scope.reference_cell(html, name.at)?;
        html.raw("</tr>\n")?;
    }
    end_table(html)
}

fn set(html: &mut Html<'_>, texts: &BTreeSet<String>) -> Done {
    for (number, text) in texts.iter().enumerate() {
        if number > 0 {
            html.raw("<br>")?;
        }
        if number >= EACH {
            return html.raw("…");
        }
        html.esc(text)?;
    }
    Ok(())
}

fn configuration(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let mut found = Bounded::new(LINES);
    let bad = scope.each("dns-config", |at, line: DnsConfig| {
        found.add(|| (at, line));
        Ok(())
    })?;
    if found.rows.is_empty() {
        return Ok(());
    }
    html.raw("<details><summary>Resolver configuration</summary>")?;
    table(html, &["File", "Setting", "Evidence"])?;
    for (at, line) in &found.rows {
        html.raw("<tr>")?;
        html.td(|html| html.code(line.path.bytes(), 200))?;
        html.td(|html| {
            let text = [line.key.bytes(), b" ", line.value.bytes()].concat();
            html.code(&text, 300)
        })?;
        scope.reference_cell(html, *at)?;
        html.raw("</tr>\n")?;
    }
    end_table(html)?;
    scope.rest(html, "dns-config", found.more, bad)?;
    html.raw("</details>\n")
}

fn cache(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let mut found = Bounded::new(LINES);
    let bad = scope.each("dns-cache", |at, entry: DnsCache| {
        found.add(|| (at, entry));
        Ok(())
    })?;
    if found.rows.is_empty() {
        return Ok(());
    }
    html.raw("<h4>The resolver's cache</h4>")?;
    table(html, &["Name", "Type", "Data", "Evidence"])?;
    for (at, entry) in &found.rows {
        html.raw("<tr>")?;
        html.td(|html| html.code(entry.name.bytes(), 255))?;
        html.td(|html| html.bytes(entry.kind.bytes(), 20))?;
        html.td(|html| {
            let data = if entry.data.is_empty() { &entry.result } else { &entry.data };
            html.code(data.bytes(), 200)
        })?;
        scope.reference_cell(html, *at)?;
        html.raw("</tr>\n")?;
    }
    end_table(html)?;
    scope.rest(html, "dns-cache", found.more, bad)
}

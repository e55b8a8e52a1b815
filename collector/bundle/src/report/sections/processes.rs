//! The processes as a tree, kernel threads apart.

use super::{command, nothing, time};
use crate::report::{
    html::{Done, Html},
    scope::{Bounded, Ref, Scope, end_table, table},
    tree,
};
use cleanroom_analysis::records::{
    Process, User,
    lenient::{Text, shown},
};
use std::collections::HashMap;

/// Processes that are shown.
const ROWS: usize = 5_000;
/// Characters of a command line.
const COMMAND: usize = 600;
/// Account names that are kept.
const ACCOUNTS: usize = 10_000;
/// Settings worth a look: they change what a program loads, hide a history or tell who came.
const SETTINGS: [&[u8]; 12] = [
    b"LD_PRELOAD",
    b"LD_AUDIT",
    b"LD_LIBRARY_PATH",
    b"HISTFILE",
    b"HISTSIZE",
    b"SSH_CONNECTION",
    b"SUDO_USER",
    b"SUDO_COMMAND",
    b"http_proxy",
    b"https_proxy",
    b"AWS_ACCESS_KEY_ID",
    b"AWS_SESSION_TOKEN",
];

/// What a row shows.
struct Row {
    at: Ref,
    pid: Option<u64>,
    parent: Option<u64>,
    name: String,
    uid: Option<u64>,
    started: Text,
    exe: String,
    sha256: String,
    command: String,
    settings: Vec<String>,
    marks: Vec<(&'static str, &'static str)>,
}

/// Writes them.
pub fn write(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let names = accounts(scope)?;
    let mut programs = Bounded::new(ROWS);
    let mut threads = Bounded::new(ROWS);
    let bad = scope.each("processes", |at, process: Process| {
        match process.kernel_thread.yes() {
            true => threads.add(|| row(scope, at, &process)),
            false => programs.add(|| row(scope, at, &process)),
        }
        Ok(())
    })?;
    if programs.rows.is_empty() && threads.rows.is_empty() {
        return nothing(html, "No processes were captured.");
    }
    tree(scope, html, &programs.rows, &names)?;
    scope.rest(html, "processes", programs.more, bad)?;
    if !threads.rows.is_empty() {
        html.raw("<details><summary>")?;
        html.number(threads.rows.len() as u64)?;
        html.raw(" kernel threads</summary>\n")?;
        tree(scope, html, &threads.rows, &names)?;
        scope.rest(html, "processes", threads.more, 0)?;
        html.raw("</details>\n")?;
    }
    Ok(())
}

fn accounts(scope: &Scope<'_>) -> Result<HashMap<u64, String>, crate::BundleError> {
    let mut names = HashMap::new();
    scope.each("users", |_, user: User| {
        if let Some(uid) = user.uid.0
            && names.len() < ACCOUNTS
        {
            names.entry(uid).or_insert_with(|| user.name.shown(40));
        }
        Ok(())
    })?;
    Ok(names)
}

fn row(scope: &Scope<'_>, at: Ref, process: &Process) -> Row {
    let exe = process.exe.0.as_ref();
    let words: Vec<&[u8]> = process.cmdline.items.iter().map(Text::bytes).collect();
    let wanted = |setting: &&Text| {
        let name = setting.bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        SETTINGS.contains(&name)
    };
    let settings = process.environ.items.iter().filter(wanted).take(SETTINGS.len());
    let maps = process.maps.0.as_ref();
    let first = process.cmdline.items.first().map_or(&[][..], |word| word.bytes());
    let ids = process.uid.0.as_ref();
    let flags = [
        (scope.agent.is_agent(process), "good", "responder"),
        (process.covered_by_mount.yes(), "critical", "hidden by a mount"),
        (exe.is_some_and(|exe| exe.memfd.yes()), "high", "runs from memory"),
        (exe.is_some_and(|exe| exe.deleted.yes() && !exe.memfd.yes()), "high", "deleted"),
        (
            !process.kernel_thread.yes() && first.starts_with(b"["),
            "high",
            "poses as a kernel thread",
        ),
        (
            maps.is_some_and(|maps| !maps.writable_executable.items.is_empty()),
            "medium",
            "writable code",
        ),
        (process.tracer_pid.0.is_some_and(|pid| pid > 0), "medium", "traced"),
        (ids.is_some_and(|ids| ids.real != ids.effective), "medium", "other rights than its user"),
        (process.state.bytes() == b"Z", "plain", "zombie"),
        (process.exited_midway.yes(), "plain", "ended while read"),
        (!process.unreadable.items.is_empty(), "plain", "partly unreadable"),
    ];
    Row {
        at,
        pid: process.pid.0,
        parent: process.ppid.0,
        name: process.comm.shown(40),
        uid: ids.and_then(|ids| ids.effective.0),
        started: process.start_time.clone(),
        exe: exe.map_or_else(String::new, |exe| exe.path.shown(300)),
        sha256: exe.map_or_else(String::new, |exe| exe.sha256.shown(64)),
        command: command(&words.join(&b' '), COMMAND),
        settings: settings.map(|setting| command(setting.bytes(), 200)).collect(),
        marks: flags.into_iter().filter(|flag| flag.0).map(|flag| (flag.1, flag.2)).collect(),
    }
}

fn tree(
    scope: &Scope<'_>,
    html: &mut Html<'_>,
    rows: &[Row],
    names: &HashMap<u64, String>,
) -> Done {
    let parents: Vec<_> = rows.iter().map(|row| (row.pid, row.parent)).collect();
    table(html, &["Process", "User", "Started (UTC)", "Program and command line", "Evidence"])?;
    for (at, depth) in tree::order(&parents) {
        let Some(row) = rows.get(at) else { continue };
        html.raw("<tr><td class=\"tree\"")?;
        html.attribute("style", &format!("--d:{depth}"))?;
        html.raw(if depth > 0 { "><i>└ </i>" } else { ">" })?;
        html.esc(&row.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string()))?;
        html.within(" <b>", "</b></td>", |html| html.esc(&row.name))?;
        html.td(|html| match row.uid {
            Some(uid) => match names.get(&uid) {
                Some(name) => html.esc(name),
                None => html.esc(&format!("uid {uid}")),
            },
            None => Ok(()),
        })?;
        html.td(|html| time(html, &row.started))?;
        html.raw("<td class=\"w\">")?;
        row.marks.iter().try_for_each(|(kind, text)| html.mark(kind, text))?;
        program(html, row)?;
        html.raw("</td>")?;
        scope.reference_cell(html, row.at)?;
        html.raw("</tr>\n")?;
    }
    end_table(html)
}

fn program(html: &mut Html<'_>, row: &Row) -> Done {
    let command = if row.command.is_empty() { &row.exe } else { &row.command };
    html.within("<code>", "</code>", |html| html.esc(command))?;
    let told = row.command.split(' ').next() == Some(row.exe.as_str());
    if !row.exe.is_empty() && !row.command.is_empty() && !told {
        html.raw("<br><span class=\"soft\">runs <code>")?;
        html.esc(&row.exe)?;
        html.raw("</code></span>")?;
    }
    if !row.sha256.is_empty() {
        html.raw("<br><span class=\"soft\">SHA-256 <code>")?;
        html.esc(&shown(row.sha256.as_bytes(), 64))?;
        html.raw("</code></span>")?;
    }
    for setting in &row.settings {
        html.raw("<br><span class=\"soft\">with <code>")?;
        html.esc(setting)?;
        html.raw("</code></span>")?;
    }
    Ok(())
}

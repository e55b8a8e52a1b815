//! Cron jobs, and whether this host or another layout would run them.

use super::{command, nothing};
use crate::report::{
    html::{Done, Html},
    scope::{Ref, Scope, end_table, table},
};
use cleanroom_analysis::records::{CronJob, lenient::Text};

/// Lines that are shown.
const ROWS: u64 = 2_000;

/// Writes them.
pub fn write(scope: &Scope<'_>, html: &mut Html<'_>) -> Done {
    let mut seen = 0u64;
    let bad = scope.each("cron-jobs", |at, job: CronJob| {
        if seen == 0 {
            table(html, &["Where", "User", "Schedule", "Command", "Would it run?", "Evidence"])?;
        }
        seen += 1;
        if seen <= ROWS { row(scope, html, at, &job) } else { Ok(()) }
    })?;
    if seen == 0 {
        return nothing(html, "No cron jobs were captured.");
    }
    end_table(html)?;
    scope.rest(html, "cron-jobs", seen.saturating_sub(ROWS), bad)
}

fn row(scope: &Scope<'_>, html: &mut Html<'_>, at: Ref, job: &CronJob) -> Done {
    html.raw("<tr><td>")?;
    html.code(job.path.bytes(), 200)?;
    if let Some(line) = job.line.0 {
        html.esc(&format!(" line {line}"))?;
    }
    if let Some(file) = &job.file.0 {
        html.raw("<br><span class=\"soft\">")?;
        if let (Some(mode), Some(uid)) = (file.mode.0, file.uid.0) {
            html.esc(&format!("mode {mode:04o}, uid {uid}, "))?;
        }
        html.raw("modified ")?;
        super::time(html, &file.modified)?;
        html.raw("</span>")?;
    }
    html.raw("</td>")?;
    html.within("<td class=\"k\">", "</td>", |html| html.bytes(job.user.bytes(), 40))?;
    html.td(|html| {
        match job.kind.bytes() {
            b"job" => html.code(&blanks(&job.schedule), 120),
            b"environment" | b"invalid" => html.mark("plain", &job.kind.shown(20)),
            _ => html.bytes(&blanks(&job.schedule), 60),
        }?;
        if !job.next_run.is_empty() {
            html.raw("<br><span class=\"soft\">next ")?;
            super::time(html, &job.next_run)?;
            html.raw("</span>")?;
        }
        Ok(())
    })?;
    html.td(|html| what(html, job))?;
    html.raw("<td>")?;
    verdicts(html, job)?;
    html.raw("</td>")?;
    scope.reference_cell(html, at)?;
    html.raw("</tr>\n")
}

/// The schedule with blanks between its fields, where the file may have tabs.
fn blanks(schedule: &Text) -> Vec<u8> {
    let fields = schedule.bytes().split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    fields.collect::<Vec<_>>().join(&b' ')
}

fn what(html: &mut Html<'_>, job: &CronJob) -> Done {
    if !job.command.is_empty() {
        return html
            .within("<code>", "</code>", |html| html.esc(&command(job.command.bytes(), 1000)));
    }
    if !job.text.is_empty() {
        return html.within("<code>", "</code>", |html| html.esc(&command(job.text.bytes(), 300)));
    }
    for setting in job.environment.items.iter().filter_map(|one| one.0.as_ref()).take(8) {
        let text = [setting.name.bytes(), b"=", setting.value.bytes()].concat();
        html.within("<code>", "</code> ", |html| html.esc(&command(&text, 200)))?;
    }
    Ok(())
}

fn verdicts(html: &mut Html<'_>, job: &CronJob) -> Done {
    match job.would_run.0 {
        Some(true) => html.mark("good", "this host: yes")?,
        Some(false) => html.mark("plain", "this host: no")?,
        None => {}
    }
    html.bytes(job.why.bytes(), 300)?;
    let here = job.would_run.yes();
    for verdict in job.verdicts.items.iter().filter_map(|one| one.0.as_ref()).take(4) {
        let runs = verdict.would_run.yes();
        html.raw("<br>")?;
        let kind = if runs && !here { "medium" } else { "plain" };
        let answer = if runs { "yes" } else { "no" };
        html.mark(kind, &format!("{}: {answer}", verdict.layout.shown(30)))?;
        html.within("<span class=\"soft\">", "</span>", |html| {
            html.bytes(verdict.why.bytes(), 300)
        })?;
    }
    Ok(())
}

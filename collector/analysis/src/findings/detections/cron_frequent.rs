//! Jobs that run every few minutes from places that no package uses.

use super::{BySeverity, count};
use crate::{
    findings::{
        About, At, Detection, Draft, Evidence, Session, Severity, Watch,
        paths::{Standing, paths_of, standing},
    },
    records::{CronJob, Record, lenient::shown},
};

/// See the module.
pub struct CronFrequent;

static ABOUT: About = About {
    id: "cron-frequent",
    title: "A cron job that runs every few minutes from an odd place",
    severity: Severity::High,
    finds: "Jobs that run at least every 15 minutes and name a file outside the folders of \
            packages.",
    matters: "That is how intruders stay: what was killed or removed is back within minutes.",
    false_positives: "Scripts of administrators below /opt, /usr/local, /home or /srv (medium; low \
                      where this host's cron does not run them).",
    example: "*/15 * * * * /usr/cryptokit/persist.sh",
    techniques: &["T1053.003"],
};

/// The longest time between two runs that counts, in minutes.
const MINUTES: usize = 15;

impl Detection for CronFrequent {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Watching::default())
    }
}

#[derive(Default)]
struct Watching(BySeverity);

/// The minutes that a field of crontab(5) selects; `None` for a field that is none.
fn minutes(field: &str) -> Option<[bool; 60]> {
    let mut selected = [false; 60];
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (0, 59),
            Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
            None => {
                let minute: usize = range.parse().ok()?;
                (minute, if part.contains('/') { 59 } else { minute })
            }
        };
        for minute in (first..=last.min(59)).step_by(step) {
            *selected.get_mut(minute)? = true;
        }
    }
    Some(selected)
}

/// The longest wait between two runs within the hours in which it runs, in minutes.
fn longest_wait(job: &CronJob) -> Option<usize> {
    let schedule = job.schedule.str().unwrap_or_default();
    let field = match &job.schedule_fields.0 {
        Some(fields) => fields.minute.str()?,
        None => schedule.split_whitespace().next()?,
    };
    let selected = minutes(field)?;
    let chosen: Vec<usize> =
        (0..60).filter(|minute| selected.get(*minute) == Some(&true)).collect();
    let first = *chosen.first()?;
    let next = chosen.iter().skip(1).copied().chain([first + 60]);
    chosen.iter().zip(next).map(|(minute, next)| next - minute).max()
}

impl Watch for Watching {
    fn record(&mut self, at: At<'_>, record: &Record, _: &Session) {
        let Record::Cron(job) = record else { return };
        if job.kind.bytes() != b"job" || longest_wait(job).is_none_or(|wait| wait > MINUTES) {
            return;
        }
        let worst = paths_of(job.command.bytes())
            .map(|path| (standing(path), path))
            .filter(|(standing, _)| *standing != Standing::Package)
            .max_by_key(|(standing, _)| *standing);
        let Some((standing, path)) = worst else { return };
        let runs = job.would_run.yes();
        let severity = match (standing > Standing::Local, runs) {
            (true, true) => Severity::High,
            (true, false) | (false, true) => Severity::Medium,
            (false, false) => Severity::Low,
        };
        self.0.of(severity).add(|| {
            let user = job.user.shown(40);
            let here = if runs { "runs here" } else { "does not run here" };
            let shows = format!(
                "{}: {} {user} {} – {} ({here})",
                job.path.shown(120),
                job.schedule.shown(60),
                job.command.shown(160),
                shown(path, 120)
            );
            Evidence::new(at, &["schedule", "command", "would_run"], shows)
        });
    }

    fn end(&mut self) -> Vec<Draft> {
        let draft = |(severity, found): (Severity, crate::findings::Gathered)| {
            let many = count(found.total, "cron job", "cron jobs");
            let title = format!("{many} every few minutes from outside the folders of packages");
            let text = format!("{}.", found.summary(4));
            Draft::new(severity, title, text, found)
        };
        self.0.take().map(draft).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::testing;
    use proptest::prelude::*;

    fn of(schedule: &str, command: &str, runs: bool) -> Vec<Severity> {
        let line = format!(
            r#"{{"path":"/etc/cron.d/x","kind":"job","user":"root","schedule":"{schedule}",
            "command":"{command}","would_run":{runs}}}"#
        );
        let found = testing::of("cron-frequent", &[("cron-jobs", &line)], &[]);
        found.iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn how_often_from_where_and_whether_here() {
        assert_eq!(of("*/15 * * * *", "/usr/cryptokit/persist.sh", true), [Severity::High]);
        assert_eq!(of("*/15 * * * *", "/usr/cryptokit/persist.sh", false), [Severity::Medium]);
        assert_eq!(of("0-59/10 8-18 * * 1-5", "cd / && /opt/app/poll", true), [Severity::Medium]);
        assert_eq!(of("* * * * *", "/tmp/x > /dev/null", true), [Severity::High]);
        assert_eq!(of("*/15 * * * *", "/opt/app/poll", false), [Severity::Low]);
    }

    #[test]
    fn packages_and_rare_jobs_are_silent() {
        assert_eq!(
            of("5-55/10 * * * *", "command -v debian-sa1 > /dev/null && debian-sa1 1 1", true),
            []
        );
        assert_eq!(
            of("*/5 * * * *", "if [ -x /usr/bin/munin-cron ]; then /usr/bin/munin-cron; fi", true),
            []
        );
        assert_eq!(of("*/20 * * * *", "/usr/cryptokit/persist.sh", true), []);
        assert_eq!(of("17 3 * * *", "/tmp/x", true), []);
        assert_eq!(of("bad", "/tmp/x", true), []);
    }

    #[test]
    fn minutes_of_fields() {
        let wait = |field: &str| {
            let line = format!(r#"{{"schedule":"{field} * * * *"}}"#);
            longest_wait(&crate::records::parse(line.as_bytes()).unwrap())
        };
        assert_eq!(wait("*"), Some(1));
        assert_eq!(wait("*/7"), Some(7));
        assert_eq!(wait("0,15,30,45"), Some(15));
        assert_eq!(wait("5"), Some(60));
        assert_eq!(wait("7/20"), Some(20));
        assert_eq!(wait("0-5"), Some(55));
        for bad in ["*/0", "99", "a-b", "1-", ","] {
            assert_eq!(wait(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(field in "[0-9*,/-]{0,30}") {
            minutes(&field);
        }
    }
}

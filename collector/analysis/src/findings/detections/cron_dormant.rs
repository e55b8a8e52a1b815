//! Jobs that this host's cron passes over and another one would run.

use super::{BySeverity, count};
use crate::{
    findings::{About, At, Detection, Draft, Evidence, Session, Severity, Watch},
    records::{CronJob, Record},
};

/// See the module.
pub struct CronDormant;

static ABOUT: About = About {
    id: "cron-dormant",
    title: "A cron job that only another system would run",
    severity: Severity::Medium,
    finds: "Jobs in places, or under names or modes, that this host's cron passes over while that \
            of another distribution would run them.",
    matters: "Whoever wrote it expected it to run: a script made for another system, or a \
              backup of a job that once ran. Moved to such a system it runs.",
    false_positives: "Scripts with a dot in their name, and leftovers of package upgrades, in the \
                      periodic folders (low and info).",
    example: "/var/spool/cron/root on Debian, whose cron reads only /var/spool/cron/crontabs",
    techniques: &["T1053.003"],
};

impl Detection for CronDormant {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Watching::default())
    }
}

#[derive(Default)]
struct Watching(BySeverity);

fn severity(job: &CronJob) -> Severity {
    let leftover = [".dpkg-", ".rpmnew", ".rpmsave", ".rpmorig", ".ucf-"]
        .iter()
        .any(|ending| job.path.bytes().windows(ending.len()).any(|w| w == ending.as_bytes()));
    match job.place.bytes() {
        _ if leftover => Severity::Info,
        b"periodic" => Severity::Low,
        _ => Severity::Medium,
    }
}

impl Watch for Watching {
    fn record(&mut self, at: At<'_>, record: &Record, _: &Session) {
        let Record::Cron(job) = record else { return };
        let verdicts = || job.verdicts.items.iter().filter_map(|verdict| verdict.0.as_ref());
        let elsewhere: Vec<String> = verdicts()
            .filter(|verdict| verdict.would_run.yes())
            .map(|verdict| verdict.layout.shown(30))
            .collect();
        // Where every layout agrees, the host merely has no cron.
        let differs = verdicts().any(|verdict| !verdict.would_run.yes());
        let job_like = !matches!(job.kind.bytes(), b"environment" | b"invalid");
        if !job_like || job.would_run.0 != Some(false) || elsewhere.is_empty() || !differs {
            return;
        }
        self.0.of(severity(job)).add(|| {
            let line = job.line.0.map_or_else(String::new, |line| format!(" line {line}"));
            let shows = format!(
                "{}{line}: {} {} – not here ({}), but on {}",
                job.path.shown(120),
                job.schedule.shown(60),
                job.command.shown(160),
                job.why.shown(160),
                elsewhere.join(", ")
            );
            Evidence::new(at, &["path", "would_run", "why", "verdicts"], shows)
        });
    }

    fn end(&mut self) -> Vec<Draft> {
        let draft = |(severity, found): (Severity, crate::findings::Gathered)| {
            let many = count(found.total, "cron job that", "cron jobs that");
            let title = format!("{many} only another system's cron would run");
            let text = format!("{}.", found.summary(4));
            Draft::new(severity, title, text, found)
        };
        self.0.take().map(draft).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::{Severity, testing};

    fn of(line: &str) -> Vec<(Severity, String)> {
        let found = testing::of("cron-dormant", &[("cron-jobs", line)], &[]);
        found.into_iter().map(|finding| (finding.severity, finding.text)).collect()
    }

    #[test]
    fn the_seeds_line_on_debian() {
        let found =
            of(r#"{"path":"/var/spool/cron/root","place":"user-crontab","line":1,"kind":"job",
            "schedule":"*/15 * * * *","command":"/usr/cryptokit/persist.sh","would_run":false,
            "why":"Debian's cron reads only /var/spool/cron/crontabs","verdicts":[
            {"layout":"debian","would_run":false,"why":"x"},
            {"layout":"amazon-linux","would_run":true,"why":"y"}]}"#);
        assert_eq!(found[0].0, Severity::Medium);
        assert!(found[0].1.contains("persist.sh") && found[0].1.contains("but on amazon-linux"));
    }

    #[test]
    fn less_for_scripts_and_leftovers() {
        let line = |path: &str| {
            format!(
                r#"{{"path":"{path}","place":"periodic","kind":"script","would_run":false,"verdicts":[
            {{"layout":"debian","would_run":false}},{{"layout":"amazon-linux","would_run":true}}]}}"#
            )
        };
        assert_eq!(of(&line("/etc/cron.daily/backup.sh"))[0].0, Severity::Low);
        assert_eq!(of(&line("/etc/cron.daily/apt.dpkg-dist"))[0].0, Severity::Info);
    }

    #[test]
    fn what_runs_here_or_nowhere_is_silent() {
        let line = |here: bool, debian: bool, amazon: bool| {
            format!(
                r#"{{"path":"/etc/cron.d/x","kind":"job","would_run":{here},"verdicts":[
            {{"layout":"debian","would_run":{debian}}},{{"layout":"amazon-linux","would_run":{amazon}}}]}}"#
            )
        };
        assert!(of(&line(true, true, false)).is_empty());
        assert!(of(&line(false, false, false)).is_empty());
        assert!(of(&line(false, true, true)).is_empty(), "no cron at all on this host");
    }
}

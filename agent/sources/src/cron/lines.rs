//! From one crontab that was read to its records: verdicts, environment, next runs.

use super::{
    Layout,
    daemon::Schedulers,
    layout::{self, FileFacts, Place, Verdict},
    parse::{Entry, Form, Job, Line, Table, split_input},
    record::{CronJob, FieldTexts, cut},
    schedule::When,
    zone::Zone,
};
use crate::{Host, accounts::Accounts};
use cleanroom_evidence::{FileMeta, RawBytes, Timestamp, printable};
use jiff::Timestamp as Instant;

/// Settings that are followed through one file at most.
const MAX_SETTINGS: usize = 256;

/// A crontab, script or job file whose raw bytes were already given.
pub(crate) struct Loaded {
    pub path: Vec<u8>,
    pub place: Place,
    /// The link, where the path is one.
    pub link: Option<FileMeta>,
    /// What is read in the end.
    pub meta: FileMeta,
    /// The first bytes.
    pub head: Vec<u8>,
    /// False where `head` is only the beginning.
    pub whole: bool,
}

impl Loaded {
    /// The name without its directory.
    pub fn name(&self) -> &[u8] {
        self.path.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }

    pub fn facts(&self) -> FileFacts<'_> {
        FileFacts {
            place: self.place,
            name: self.name(),
            link: self.link.as_ref(),
            meta: &self.meta,
        }
    }

    pub fn link_target(&self) -> Option<RawBytes> {
        self.link.as_ref().and_then(|link| link.link_target.clone())
    }
}

/// What is known of the host when the records are made.
pub(crate) struct Scene<'h> {
    pub host: &'h Host,
    pub accounts: Accounts,
    pub schedulers: Schedulers,
    pub zone: Zone,
    pub now: Instant,
}

/// One layout's answers about a whole file.
struct FileAnswer {
    layout: Layout,
    answer: Result<(), String>,
}

impl Scene<'_> {
    /// Gives each line's record to `give`, at most as many as the table holds.
    pub fn crontab<E>(
        &self,
        loaded: &Loaded,
        table: &Table<'_>,
        mut give: impl FnMut(CronJob, Option<&Job<'_>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (form, owner) = match loaded.place {
            Place::UserCrontab(_) => (Form::User, Some(loaded.name())),
            _ => (Form::System, None),
        };
        let answers = Layout::ALL.map(|layout| FileAnswer {
            layout,
            answer: layout::file(layout, &loaded.facts(), &self.accounts, self.schedulers.settings)
                .and_then(|()| layout::table(layout, table, form, &self.accounts)),
        });
        let mut settings: Vec<(&[u8], &[u8])> = Vec::new();
        for line in &table.lines {
            let (record, job) = self.line(loaded, line, form, owner, &answers, &settings);
            give(record, job)?;
            if let Ok(Entry::Environment { name, value }) = self.reading(line) {
                settings.retain(|(known, _)| known != name);
                if settings.len() < MAX_SETTINGS {
                    settings.push((name, value));
                }
            }
        }
        Ok(())
    }

    /// The line as the host's own cron reads it; where that refuses it, as the other does.
    fn reading<'t, 'a>(&self, line: &'t Line<'a>) -> &'t Result<Entry<'a>, super::parse::Problem> {
        let own = line.by(self.schedulers.layout);
        if own.is_ok() { own } else { line.by(self.schedulers.layout.other()) }
    }

    fn line<'t, 'a>(
        &self,
        loaded: &Loaded,
        line: &'t Line<'a>,
        form: Form,
        owner: Option<&[u8]>,
        answers: &[FileAnswer],
        settings: &[(&'a [u8], &'a [u8])],
    ) -> (CronJob, Option<&'t Job<'a>>) {
        let verdicts = answers.iter().map(|file| {
            let itself = layout::line_itself(file.layout, line, form, &self.accounts, owner);
            // The line's own fault is said before the file's.
            let answer = itself.and_then(|()| file.answer.clone());
            Verdict::new(file.layout, answer.map(|()| "its cron reads this line".to_owned()))
        });
        let verdicts: Vec<Verdict> = verdicts.collect();
        let here = self.on_this_host(&verdicts, self.schedulers.cron.runs("cron daemon"));
        let reading = self.reading(line);
        let kind = match reading {
            Err(_) => "invalid",
            Ok(Entry::Environment { .. }) => "environment",
            Ok(Entry::Job(Job { when: When::Reboot, .. })) => "reboot",
            Ok(Entry::Job(_)) => "job",
        };
        let mut record =
            CronJob::new(&loaded.path, loaded.place.name(), kind, &loaded.meta, verdicts, here);
        record.line = Some(line.number);
        record.link_target = loaded.link_target();
        record.user = owner.map(RawBytes::from);
        match reading {
            Err(_) => {
                record.text = Some(cut(line.text).into());
                (record, None)
            }
            Ok(Entry::Environment { name, value }) => {
                (record.with_environment([(*name, *value)].into_iter()), None)
            }
            Ok(Entry::Job(job)) => (self.job(record, job, settings), Some(job)),
        }
    }

    fn job(&self, record: CronJob, job: &Job<'_>, settings: &[(&[u8], &[u8])]) -> CronJob {
        let mut record =
            record.with_command(job.command).with_environment(settings.iter().copied());
        record.schedule = Some(cut(job.schedule).into());
        record.schedule_fields = job.fields.map(|[minute, hour, day, month, weekday]| FieldTexts {
            minute: cut(minute).into(),
            hour: cut(hour).into(),
            day_of_month: cut(day).into(),
            month: cut(month).into(),
            day_of_week: cut(weekday).into(),
        });
        if let Some(user) = job.user {
            record.user = Some(cut(user).into());
        }
        record.standard_input = split_input(job.command).1.map(|input| cut(input).into());
        if job.quiet {
            record.notes.push("begins with -: cronie does not log its runs".to_owned());
        }
        let cronie = self.schedulers.layout == Layout::AmazonLinux;
        let setting = |name: &[u8]| settings.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let mut zone = None;
        for name in ["CRON_TZ", "RANDOM_DELAY"] {
            let Some(value) = setting(name.as_bytes()).filter(|value| !value.is_empty()) else {
                continue;
            };
            let shown = printable(cut(value));
            record.notes.push(match (cronie, name) {
                (false, _) => format!("{name}={shown}: means nothing to Debian's cron"),
                (true, "RANDOM_DELAY") => {
                    format!("RANDOM_DELAY={shown}: up to so many minutes later")
                }
                (true, _) => {
                    zone = std::str::from_utf8(value).ok().and_then(|n| Zone::named(self.host, n));
                    let known =
                        if zone.is_some() { "" } else { " (no such zone on this host: UTC)" };
                    zone.get_or_insert_with(Zone::utc);
                    format!("CRON_TZ={shown}{known}")
                }
            });
        }
        if let When::At(schedule) = &job.when {
            let zone = zone.as_ref().unwrap_or(&self.zone);
            if schedule.is_random() {
                record
                    .notes
                    .push("~: a minute drawn at random when the daemon loads it".to_owned());
            }
            let next = schedule.next_run(self.now, &zone.zone);
            set_next(&mut record, next, zone);
        }
        record
    }

    /// The host's own answer: its layout's verdict and whether the daemon is started.
    pub fn on_this_host(
        &self,
        verdicts: &[Verdict],
        daemon: Result<String, String>,
    ) -> Result<String, String> {
        let own = verdicts.iter().find(|v| v.layout == self.schedulers.layout.name());
        match (own, daemon) {
            (Some(own), Err(why)) if !own.would_run => Err(format!("{}; {why}", own.why)),
            (Some(own), _) if !own.would_run => Err(own.why.clone()),
            (_, daemon) => daemon,
        }
    }
}

/// Sets the next time; as the next run only where this host runs it.
pub(crate) fn set_next(record: &mut CronJob, next: Option<Instant>, zone: &Zone) {
    let Some(next) = next else { return };
    let stamp = Timestamp::new(next.as_second(), 0);
    record.next_match = Some(stamp);
    record.time_zone = Some(zone.name.clone());
    if record.would_run {
        record.next_run = Some(stamp);
        let local = next.to_zoned(zone.zone.clone());
        record.next_run_local = Some(local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
    }
}

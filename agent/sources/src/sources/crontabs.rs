//! Everything that runs by the clock through cron, anacron or at: each file raw, then each line as
//! a record with a verdict: would this host's own cron run it, and why not.
//!
//! It never starts a job, never asks the daemon, and never reads beyond its bounds: 10,000 files
//! of a directory, 4 MiB and 10,000 lines of one file are parsed (the raw file has the rest).

use crate::{
    Emitter, Host, Options, SinkClosed, Source, Volatility,
    accounts::Accounts,
    cron::{
        Layout,
        anacron::{self, AnacronLine},
        at, contains,
        daemon::Schedulers,
        layout::{self, Place, Verdict},
        lines::{Loaded, Scene, set_next},
        parse::{Form, Job, Table},
        record::{CronJob, cut},
        zone::Zone,
    },
    sys,
};
use cleanroom_evidence::{FileKind, Outcome, Timestamp, printable};
use jiff::Timestamp as Instant;

/// Files taken from one directory at most.
const MAX_FILES: usize = 10_000;
/// Bytes of one file that are parsed at most.
const HEAD_BYTES: usize = 4 * 1024 * 1024;
/// Bytes that wait for their records at most, over all files.
const PENDING_BYTES: usize = 8 * 1024 * 1024;
/// Lines of one file that become records at most; Debian's cron itself reads no more.
const MAX_LINES: usize = 10_000;

const SET: &str = "cron-jobs";

const PERIODIC: [&str; 4] =
    ["/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly"];

/// What is read, in the order in which its records come: what starts others comes before them.
const PLACES: [(&str, Place); 12] = [
    ("/etc/crontab", Place::EtcCrontab),
    ("/etc/cron.d/", Place::CronD),
    ("/var/spool/cron/crontabs/", Place::UserCrontab(Some(Layout::Debian))),
    ("/var/spool/cron/", Place::UserCrontab(Some(Layout::AmazonLinux))),
    ("/var/spool/cron/tabs/", Place::UserCrontab(None)),
    ("/etc/anacrontab", Place::Anacrontab),
    ("/etc/cron.hourly/", Place::Periodic),
    ("/etc/cron.daily/", Place::Periodic),
    ("/etc/cron.weekly/", Place::Periodic),
    ("/etc/cron.monthly/", Place::Periodic),
    ("/var/spool/cron/atjobs/", Place::AtJob(Layout::Debian)),
    ("/var/spool/at/", Place::AtJob(Layout::AmazonLinux)),
];

/// What is taken raw and not parsed; a path that ends in `/` is a directory, one that ends in `*`
/// every file of its directory with that beginning.
const RAW: [(&str, &str); 14] = [
    ("/etc/cron.allow", "cron-access"),
    ("/etc/cron.deny", "cron-access"),
    ("/etc/at.allow", "at-access"),
    ("/etc/at.deny", "at-access"),
    ("/etc/default/cron", "cron-settings"),
    ("/etc/default/anacron", "cron-settings"),
    ("/etc/default/atd", "cron-settings"),
    ("/etc/sysconfig/crond", "cron-settings"),
    ("/etc/sysconfig/atd", "cron-settings"),
    ("/etc/sysconfig/run-parts", "cron-settings"),
    ("/var/spool/anacron/", "anacron-stamp"),
    ("/var/spool/cron/atspool/", "at-output"),
    ("/var/spool/at/spool/", "at-output"),
    ("/var/log/cron*", "cron-log"),
];

/// The `crontabs` source.
pub struct Crontabs;

impl Source for Crontabs {
    fn name(&self) -> &'static str {
        "crontabs"
    }

    fn about(&self) -> &'static str {
        "cron, anacron and at: raw files, parsed jobs, would this host run them and when"
    }

    fn volatility(&self) -> Volatility {
        Volatility::Disk
    }

    fn collect(
        &self,
        host: &Host,
        options: &Options,
        out: &mut Emitter<'_>,
    ) -> Result<Outcome, SinkClosed> {
        let passwd = host.read(b"/etc/passwd", HEAD_BYTES).unwrap_or_default();
        let now = sys::file::clock().utc;
        let mut run = Run {
            scene: Scene {
                host,
                accounts: Accounts::parse(&passwd.bytes),
                schedulers: Schedulers::of_host(host),
                zone: Zone::of_host(host, out),
                now: Instant::new(now.unix_seconds, 0).unwrap_or_default(),
            },
            max_bytes: options.max_file_bytes,
            out,
            pending: Vec::new(),
            pending_bytes: 0,
            starters: Vec::new(),
        };
        for (place, label) in RAW {
            run.raw(place, label)?;
        }
        run.raw("/var/log/syslog*", "cron-log")?;
        for (path, place) in PLACES {
            run.place(path, place)?;
        }
        run.flush()?;
        run.out.outcome()
    }
}

/// A line that runs the scripts of a periodic directory.
struct Starter {
    directory: &'static str,
    /// e.g. `line 17 of /etc/crontab`.
    from: String,
    would_run: bool,
    next: Option<Timestamp>,
    /// The line stands back where anacron is installed.
    unless_anacron: bool,
    is_anacron: bool,
}

struct Run<'r, 'h, 's> {
    scene: Scene<'h>,
    max_bytes: u64,
    out: &'r mut Emitter<'s>,
    pending: Vec<Loaded>,
    pending_bytes: usize,
    starters: Vec<Starter>,
}

impl Run<'_, '_, '_> {
    fn flush(&mut self) -> Result<(), SinkClosed> {
        self.pending_bytes = 0;
        for loaded in std::mem::take(&mut self.pending) {
            match loaded.place {
                _ if loaded.meta.kind != FileKind::Regular => self.unfit(&loaded)?,
                Place::Periodic => self.script(&loaded)?,
                Place::Anacrontab => self.anacrontab(&loaded)?,
                Place::AtJob(_) => self.at_job(&loaded)?,
                _ => self.crontab(&loaded)?,
            }
        }
        Ok(())
    }

    fn verdicts(&self, loaded: &Loaded, well: &str) -> Vec<Verdict> {
        let scene = &self.scene;
        let verdict = |layout| {
            let facts = loaded.facts();
            let answer = layout::file(layout, &facts, &scene.accounts, scene.schedulers.settings);
            Verdict::new(layout, answer.map(|()| well.to_owned()))
        };
        Layout::ALL.map(verdict).into()
    }

    /// What lies where a crontab is expected and is none: a FIFO, a device, a link to nothing.
    fn unfit(&mut self, loaded: &Loaded) -> Result<(), SinkClosed> {
        let mut verdicts = self.verdicts(loaded, "");
        let kind = format!("{:?}", loaded.meta.kind).to_lowercase();
        for verdict in verdicts.iter_mut().filter(|verdict| verdict.would_run) {
            verdict.would_run = false;
            verdict.why = format!("it is no regular file but a {kind}");
        }
        let here = self.scene.on_this_host(&verdicts, Err("nothing to read".to_owned()));
        let place = loaded.place.name();
        let mut record = CronJob::new(&loaded.path, place, "invalid", &loaded.meta, verdicts, here);
        record.link_target = loaded.link_target();
        self.out.record(SET, &record)
    }

    fn crontab(&mut self, loaded: &Loaded) -> Result<(), SinkClosed> {
        let form = match loaded.place {
            Place::UserCrontab(_) => Form::User,
            _ => Form::System,
        };
        let table = Table::parse(&loaded.head, form, MAX_LINES, loaded.whole);
        if table.cut {
            let reason = format!("more than {MAX_LINES} lines: the rest has no records");
            self.out.gap("parse", &loaded.path, &reason);
        }
        let (out, starters) = (&mut *self.out, &mut self.starters);
        self.scene.crontab(loaded, &table, |record, job| {
            if let Some(job) = job {
                starters.extend(starter(&record, job));
            }
            out.record(SET, &record)
        })
    }

    fn anacrontab(&mut self, loaded: &Loaded) -> Result<(), SinkClosed> {
        let anacron = self.scene.schedulers.anacron;
        let installed = || match anacron {
            true => Ok("anacron runs it when the period is over and it is started".to_owned()),
            false => Err("anacron is not installed".to_owned()),
        };
        let mut settings: Vec<(&[u8], &[u8])> = Vec::new();
        for (number, text, line) in anacron::lines(&loaded.head, MAX_LINES) {
            let mut verdicts = self.verdicts(loaded, "anacron reads this line");
            if let AnacronLine::Invalid(why) = line {
                verdicts = Layout::ALL.map(|l| Verdict::new(l, Err(why.to_owned()))).into();
            }
            let here = self.scene.on_this_host(&verdicts, installed());
            let kind = match line {
                AnacronLine::Environment { .. } => "environment",
                AnacronLine::Job { .. } => "job",
                AnacronLine::Invalid(_) => "invalid",
            };
            let place = loaded.place.name();
            let mut record = CronJob::new(&loaded.path, place, kind, &loaded.meta, verdicts, here);
            record.line = Some(number);
            record.link_target = loaded.link_target();
            match line {
                AnacronLine::Environment { name, value } => {
                    if settings.len() < 256 {
                        settings.push((name, value));
                    }
                    record = record.with_environment([(name, value)].into_iter());
                }
                AnacronLine::Invalid(_) => record.text = Some(cut(text).into()),
                AnacronLine::Job { schedule, period, name, command } => {
                    record =
                        record.with_command(command).with_environment(settings.iter().copied());
                    record.schedule = Some(cut(schedule).into());
                    record.user = Some("root".into());
                    let (period, name) = (printable(cut(period)), printable(cut(name)));
                    record.notes.push(format!(
                        "every {period} (days); the last run is in /var/spool/anacron/{name}"
                    ));
                    let runs = PERIODIC.iter().find(|d| contains(command, d.as_bytes()));
                    self.starters.extend(runs.map(|directory| Starter {
                        directory,
                        from: format!("line {number} of {}", printable(&loaded.path)),
                        would_run: record.would_run,
                        next: None,
                        unless_anacron: false,
                        is_anacron: true,
                    }));
                }
            }
            self.out.record(SET, &record)?;
        }
        Ok(())
    }

    fn script(&mut self, loaded: &Loaded) -> Result<(), SinkClosed> {
        let verdicts = self.verdicts(loaded, "run-parts runs it");
        let directory = PERIODIC.iter().find(|d| {
            loaded.path.strip_prefix(d.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
        });
        let anacron = self.scene.schedulers.anacron;
        let mut of_this = self.starters.iter().filter(|s| Some(&s.directory) == directory);
        let active = of_this.find(|s| s.would_run && !(s.unless_anacron && anacron));
        let started = match active {
            Some(starter) if starter.is_anacron => Ok(format!("anacron, by {}", starter.from)),
            Some(starter) => Ok(format!("cron, by {}", starter.from)),
            None => Err("nothing that runs on this host starts its directory".to_owned()),
        };
        let next = active.and_then(|starter| starter.next);
        let here = self.scene.on_this_host(&verdicts, started);
        let place = loaded.place.name();
        let record = CronJob::new(&loaded.path, place, "script", &loaded.meta, verdicts, here);
        let mut record = record.with_command(&loaded.path);
        record.link_target = loaded.link_target();
        record.user = Some("root".into());
        let name = directory.and_then(|directory| directory.rsplit('.').next());
        record.schedule = name.map(|name| name.into());
        let next = next.and_then(|next| Instant::new(next.unix_seconds, 0).ok());
        set_next(&mut record, next, &self.scene.zone);
        self.out.record(SET, &record)
    }

    fn at_job(&mut self, loaded: &Loaded) -> Result<(), SinkClosed> {
        // `.SEQ` and what else is no job is there as a raw file.
        let Some(name) = at::name(loaded.name()) else {
            return Ok(());
        };
        let script = at::script(&loaded.head);
        let mut verdicts = self.verdicts(loaded, "its atd reads this job");
        let fault = match (name.queue, script.uid) {
            (b'=', _) => Some("it is marked as running".to_owned()),
            (queue, _) if !queue.is_ascii_alphabetic() => Some("no such queue".to_owned()),
            (_, Some(uid)) if uid == loaded.meta.uid => None,
            (_, uid) => Some(format!(
                "its head names uid {}, its owner is {}",
                uid.map_or("none".to_owned(), |uid| uid.to_string()),
                loaded.meta.uid
            )),
        };
        if let Some(fault) = fault {
            for verdict in verdicts.iter_mut().filter(|verdict| verdict.would_run) {
                verdict.would_run = false;
                verdict.why = fault.clone();
            }
        }
        let here = self.scene.on_this_host(&verdicts, self.scene.schedulers.at.runs("at daemon"));
        let place = loaded.place.name();
        let record = CronJob::new(&loaded.path, place, "at-job", &loaded.meta, verdicts, here);
        let mut record = record.with_command(script.body);
        record.link_target = loaded.link_target();
        let owner = self.scene.accounts.by_uid(loaded.meta.uid);
        record.user = owner.map(|account| account.name.as_slice().into());
        record.schedule = Some(Timestamp::new(name.due_seconds, 0).to_string().as_str().into());
        record.notes.push(format!("queue {}, job {}", printable(&[name.queue]), name.number));
        if let Some(directory) = script.directory {
            record.notes.push(format!("in {}", printable(cut(directory))));
        }
        if let Some(mail) = script.mail_to {
            record.notes.push(format!("mail to {}", printable(cut(mail))));
        }
        let due = Instant::new(name.due_seconds, 0).ok();
        if due.is_some_and(|due| due <= self.scene.now) {
            record.notes.push("due already".to_owned());
        }
        set_next(&mut record, due, &self.scene.zone);
        self.out.record(SET, &record)
    }
}

/// What a job line starts, where its command names one of the periodic directories.
fn starter(record: &CronJob, job: &Job<'_>) -> Option<Starter> {
    let directory = PERIODIC.iter().find(|d| contains(job.command, d.as_bytes()))?;
    let line = record.line.unwrap_or_default();
    Some(Starter {
        directory,
        from: format!("line {line} of {}", printable(record.path.as_bytes())),
        would_run: record.would_run,
        next: record.next_run,
        unless_anacron: contains(job.command, b"-x /usr/sbin/anacron"),
        is_anacron: false,
    })
}

mod read;
#[cfg(test)]
mod tests;

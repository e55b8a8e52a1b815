//! Would a cron of that layout run it, and why not. Pure: from metadata, accounts and lines.
//!
//! Rules of Debian: cron(8) and cron 3.0pl1-162; of Amazon Linux: cronie 1.4–1.5, and run-parts of
//! the crontabs package. `cron.allow` and `cron.deny` play no part: they only bind crontab(1).

use super::{
    Layout,
    parse::{Entry, Form, Job, Line, Table},
};
use crate::accounts::Accounts;
use cleanroom_evidence::{FileKind, FileMeta, printable};
use serde::Serialize;

/// Debian's cron ignores a crontab of more lines than this (three header lines of slack).
const DEBIAN_MAX_LINES: u64 = 10_003;

/// Where a schedule lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    EtcCrontab,
    CronD,
    /// A user's crontab, in the spool of that layout; `None`: a spool of neither.
    UserCrontab(Option<Layout>),
    /// A script in `/etc/cron.{hourly,daily,weekly,monthly}`.
    Periodic,
    Anacrontab,
    /// A job of at(1), in the spool of that layout.
    AtJob(Layout),
}

impl Place {
    /// The name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::EtcCrontab => "etc-crontab",
            Self::CronD => "cron.d",
            Self::UserCrontab(_) => "user-crontab",
            Self::Periodic => "periodic",
            Self::Anacrontab => "anacrontab",
            Self::AtJob(_) => "at",
        }
    }
}

/// The file in question.
pub(crate) struct FileFacts<'a> {
    pub place: Place,
    /// Its name without the directory.
    pub name: &'a [u8],
    /// The link, where the name is one.
    pub link: Option<&'a FileMeta>,
    /// What is read in the end.
    pub meta: &'a FileMeta,
}

/// Settings of the host's daemon that change the rules.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Settings {
    /// Debian's `-l`: names of the Linux Standard Base in `/etc/cron.d`.
    pub lsb_names: bool,
    /// cronie's `-p`: any mode, owner and kind of crontab.
    pub permit_any: bool,
}

/// One layout's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    pub layout: &'static str,
    pub would_run: bool,
    pub why: String,
}

impl Verdict {
    pub fn new(layout: Layout, answer: Result<String, String>) -> Self {
        let would_run = answer.is_ok();
        Self { layout: layout.name(), would_run, why: answer.unwrap_or_else(|why| why) }
    }
}

type Check = Result<(), String>;

fn refuse(wrong: bool, why: impl FnOnce() -> String) -> Check {
    if wrong { Err(why()) } else { Ok(()) }
}

/// Does the daemon take this file at all?
pub(crate) fn file(
    layout: Layout,
    facts: &FileFacts<'_>,
    accounts: &Accounts,
    settings: Settings,
) -> Check {
    let meta = facts.meta;
    match facts.place {
        Place::UserCrontab(spool) => user_crontab(layout, spool, facts, accounts, settings),
        Place::EtcCrontab | Place::CronD => {
            if facts.place == Place::CronD {
                name(layout, facts.name, settings)?;
            }
            if layout == Layout::AmazonLinux && settings.permit_any {
                return Ok(());
            }
            regular(meta)?;
            refuse(meta.uid != 0, || format!("its owner is uid {}, not root", meta.uid))?;
            if layout == Layout::AmazonLinux {
                return cronie_mode(meta);
            }
            let link_owner = facts.link.map_or(0, |link| link.uid);
            refuse(link_owner != 0, || format!("the link's owner is uid {link_owner}, not root"))?;
            refuse(meta.mode & 0o022 != 0, || {
                format!("mode {:04o}: group or others may write it", meta.mode)
            })?;
            single_link(meta)
        }
        Place::Periodic => {
            run_parts_name(layout, facts.name)?;
            regular(meta)?;
            refuse(meta.mode & 0o111 == 0, || {
                format!("mode {:04o}: not executable, run-parts passes over it", meta.mode)
            })
        }
        Place::Anacrontab => Ok(()),
        Place::AtJob(spool) => {
            refuse(spool != layout, || {
                let own = if layout == Layout::Debian {
                    "/var/spool/cron/atjobs"
                } else {
                    "/var/spool/at"
                };
                format!("its atd reads only {own}")
            })?;
            regular(meta)?;
            refuse(meta.mode & 0o100 == 0, || {
                format!("mode {:04o}: atd runs only what its owner may execute", meta.mode)
            })?;
            single_link(meta)?;
            refuse(accounts.by_uid(meta.uid).is_none(), || {
                format!("no account in /etc/passwd has uid {}", meta.uid)
            })
        }
    }
}

fn user_crontab(
    layout: Layout,
    spool: Option<Layout>,
    facts: &FileFacts<'_>,
    accounts: &Accounts,
    settings: Settings,
) -> Check {
    refuse(spool != Some(layout), || match layout {
        Layout::Debian => "Debian's cron reads only /var/spool/cron/crontabs".to_owned(),
        Layout::AmazonLinux => "cronie reads only files right in /var/spool/cron".to_owned(),
    })?;
    match layout {
        Layout::Debian => {
            refuse(facts.name.starts_with(b"."), || "its name begins with a dot".into())?
        }
        Layout::AmazonLinux => name(layout, facts.name, settings)?,
    }
    let account = accounts
        .by_name(facts.name)
        .ok_or_else(|| format!("no account {} in /etc/passwd", printable(facts.name)))?;
    let meta = facts.meta;
    let owner = || {
        refuse(meta.uid != account.uid && meta.uid != 0, || {
            format!("its owner is uid {}, neither {} nor root", meta.uid, printable(facts.name))
        })
    };
    if layout == Layout::AmazonLinux {
        if settings.permit_any {
            return Ok(());
        }
        regular(meta)?;
        cronie_mode(meta)?;
        owner()?;
        return single_link(meta);
    }
    refuse(facts.link.is_some(), || {
        "it is a symbolic link, which cron does not follow here".into()
    })?;
    regular(meta)?;
    owner()?;
    refuse(meta.mode != 0o600, || format!("mode {:04o}, and cron wants 0600", meta.mode))?;
    single_link(meta)
}

fn regular(meta: &FileMeta) -> Check {
    refuse(meta.kind != FileKind::Regular, || {
        format!("it is no regular file but a {}", format!("{:?}", meta.kind).to_lowercase())
    })
}

fn single_link(meta: &FileMeta) -> Check {
    refuse(meta.links != 1, || format!("it has {} hard links", meta.links))
}

/// cronie: readable by its owner, not executable, written by nobody else, no set-id bits.
fn cronie_mode(meta: &FileMeta) -> Check {
    refuse(meta.mode & 0o7533 != 0o400, || {
        format!("mode {:04o}: executable, or others may write it", meta.mode)
    })
}

/// Which names count in `/etc/cron.d` (and, for cronie, in the spool).
fn name(layout: Layout, name: &[u8], settings: Settings) -> Check {
    let fits = match layout {
        Layout::Debian if settings.lsb_names => lsb_name(name),
        Layout::Debian => !name.is_empty() && name.iter().all(|&b| plain(b)),
        Layout::AmazonLinux => {
            let skipped: [&[u8]; 4] = [b"~", b".rpmsave", b".rpmorig", b".rpmnew"];
            !matches!(name.first(), None | Some(b'.' | b'#'))
                && !skipped.iter().any(|end| name.ends_with(end))
        }
    };
    refuse(!fits, || match layout {
        Layout::Debian => "its name has other signs than letters, digits, _ and -".into(),
        Layout::AmazonLinux => {
            "its name is one that cronie passes over (.x, #x, x~, x.rpm…)".into()
        }
    })
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// run-parts(8), `--lsbsysinit`, as Debian's cron applies it: `[a-z0-9][a-z0-9-]*`, or dotted words
/// joined by `-`, and no leftovers of dpkg.
fn lsb_name(name: &[u8]) -> bool {
    let low = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let simple = name.first().is_some_and(|&b| low(b)) && name.iter().all(|&b| low(b) || b == b'-');
    let words: Vec<&[u8]> = name.split(|&b| b == b'-').collect();
    let [heads @ .., tail] = words.as_slice() else {
        return simple;
    };
    let hierarchical = !heads.is_empty()
        && heads.iter().all(|w| !w.is_empty() && w.iter().all(|&b| low(b) || b"_.".contains(&b)))
        && !tail.is_empty()
        && tail.iter().all(|&b| low(b));
    let leftover = name.ends_with(b"dpkg-old") || name.ends_with(b"dpkg-dist");
    (hierarchical && !leftover) || (simple && !hierarchical)
}

fn run_parts_name(layout: Layout, name: &[u8]) -> Check {
    let fits = match layout {
        Layout::Debian => !name.is_empty() && name.iter().all(|&b| plain(b)),
        Layout::AmazonLinux => {
            let skipped: [&[u8]; 8] =
                [b"~", b",", b".rpmsave", b".rpmorig", b".rpmnew", b".swp", b",v", b".cfsaved"];
            !name.starts_with(b".")
                && !name.iter().any(u8::is_ascii_whitespace)
                && !skipped.iter().any(|end| name.ends_with(end))
                && !matches!(name, b"jobs.deny" | b"jobs.allow")
        }
    };
    refuse(!fits, || match layout {
        Layout::Debian => {
            "run-parts passes over its name (only letters, digits, _ and - count)".into()
        }
        Layout::AmazonLinux => "run-parts passes over its name".into(),
    })
}

/// Does one bad line spoil the whole file? With Debian's cron it does.
pub(crate) fn table(layout: Layout, table: &Table<'_>, form: Form, accounts: &Accounts) -> Check {
    if layout == Layout::AmazonLinux {
        return Ok(());
    }
    let bad = table.lines.iter().find_map(|line| {
        line_itself(layout, line, form, accounts, None).err().map(|why| (line.number, why))
    });
    if let Some((number, why)) = bad {
        return Err(format!("line {number}: {why}; then cron ignores the whole file"));
    }
    refuse(table.newlines > DEBIAN_MAX_LINES, || {
        format!("{} lines: cron ignores a file of more than 10000", table.newlines)
    })
}

/// Does the daemon take this line? `owner` is the account of a user's crontab.
pub(crate) fn line_itself(
    layout: Layout,
    line: &Line<'_>,
    form: Form,
    accounts: &Accounts,
    owner: Option<&[u8]>,
) -> Check {
    match line.by(layout) {
        Err(problem) => Err(problem.to_string()),
        Ok(Entry::Environment { .. }) => Ok(()),
        Ok(Entry::Job(job)) => job_itself(job, form, accounts, owner),
    }
}

fn job_itself(job: &Job<'_>, form: Form, accounts: &Accounts, owner: Option<&[u8]>) -> Check {
    if let (Form::System, Some(user)) = (form, job.user) {
        refuse(accounts.by_name(user).is_none(), || {
            format!("no account {} in /etc/passwd", printable(user))
        })?;
    }
    let root = owner.is_none_or(|name| accounts.by_name(name).is_some_and(|a| a.uid == 0));
    refuse(job.quiet && !root, || "only root may begin a line with -".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Layout::{AmazonLinux, Debian};

    fn accounts() -> Accounts {
        Accounts::parse(b"root:x:0:0::/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\n")
    }

    fn meta(mode: u32, uid: u32) -> FileMeta {
        FileMeta { mode, uid, links: 1, ..FileMeta::default() }
    }

    fn check(layout: Layout, place: Place, name: &[u8], meta: &FileMeta) -> Check {
        let facts = FileFacts { place, name, link: None, meta };
        file(layout, &facts, &accounts(), Settings::default())
    }

    #[test]
    fn the_spool_decides_who_reads_it() {
        let meta = meta(0o600, 0);
        let amazon = Place::UserCrontab(Some(AmazonLinux));
        let why = check(Debian, amazon, b"root", &meta).unwrap_err();
        assert!(why.contains("/var/spool/cron/crontabs"), "{why}");
        assert!(check(AmazonLinux, amazon, b"root", &meta).is_ok());
        let debian = Place::UserCrontab(Some(Debian));
        assert!(check(Debian, debian, b"root", &meta).is_ok());
        assert!(check(AmazonLinux, debian, b"root", &meta).is_err());
        for layout in Layout::ALL {
            assert!(check(layout, Place::UserCrontab(None), b"root", &meta).is_err());
        }
    }

    #[test]
    fn owner_mode_links_and_account() {
        let place = |layout| Place::UserCrontab(Some(layout));
        for layout in Layout::ALL {
            let ok =
                |name: &[u8], meta: &FileMeta| check(layout, place(layout), name, meta).is_ok();
            assert!(ok(b"web", &meta(0o600, 33)) && ok(b"web", &meta(0o600, 0)));
            assert!(!ok(b"web", &meta(0o600, 5)), "another owner");
            assert!(!ok(b"ghost", &meta(0o600, 0)), "no such account");
            assert!(!ok(b"web", &meta(0o620, 33)) && !ok(b"web", &meta(0o700, 33)));
            assert!(!ok(b"web", &FileMeta { links: 2, ..meta(0o600, 33) }));
            assert!(!ok(b"web", &FileMeta { kind: FileKind::Fifo, ..meta(0o600, 33) }));
            assert_eq!(ok(b"web", &meta(0o644, 33)), layout == AmazonLinux, "Debian wants 0600");
            let cron_d =
                |name: &[u8], meta: &FileMeta| check(layout, Place::CronD, name, meta).is_ok();
            assert!(cron_d(b"php", &meta(0o644, 0)) && !cron_d(b"php", &meta(0o644, 33)));
            assert!(!cron_d(b"php", &meta(0o664, 0)));
            assert_eq!(cron_d(b"php", &meta(0o755, 0)), layout == Debian);
            assert_eq!(cron_d(b"php.sh", &meta(0o644, 0)), layout == AmazonLinux);
            assert!(!cron_d(b"x~", &meta(0o644, 0)) && !cron_d(b".x", &meta(0o644, 0)));
            let script =
                |name: &[u8], mode| check(layout, Place::Periodic, name, &meta(mode, 0)).is_ok();
            assert!(script(b"logrotate", 0o755) && !script(b"logrotate", 0o644));
            assert_eq!(script(b"backup.sh", 0o755), layout == AmazonLinux);
            assert!(!script(b"x.rpmsave", 0o755) && !script(b".hidden", 0o755));
        }
    }

    #[test]
    fn links_and_daemon_options() {
        let target = meta(0o644, 0);
        let link = meta(0o777, 33);
        let facts = |place, name| FileFacts { place, name, link: Some(&link), meta: &target };
        let with = |layout, facts: &FileFacts<'_>, settings| {
            file(layout, facts, &accounts(), settings).is_ok()
        };
        let plain = Settings::default();
        assert!(!with(Debian, &facts(Place::CronD, b"a"), plain), "the link is not root's");
        assert!(with(AmazonLinux, &facts(Place::CronD, b"a"), plain));
        let user = |layout| facts(Place::UserCrontab(Some(layout)), b"root");
        assert!(
            !with(Debian, &user(Debian), plain) && with(AmazonLinux, &user(AmazonLinux), plain)
        );
        let bad = meta(0o666, 5);
        let facts = FileFacts { place: Place::CronD, name: b"a.b-c", link: None, meta: &bad };
        assert!(with(AmazonLinux, &facts, Settings { permit_any: true, ..plain }));
        assert!(lsb_name(b"a.b-c") && lsb_name(b"abc-d") && !lsb_name(b"a.b") && !lsb_name(b"A"));
        assert!(!lsb_name(b"x.dpkg-old"));
    }

    #[test]
    fn one_bad_line_spoils_the_file_for_debian_only() {
        let text = b"* * * * * root ok\n* * * * * ghost no\n";
        let parsed = Table::parse(text, Form::System, 10, true);
        let why = table(Debian, &parsed, Form::System, &accounts()).unwrap_err();
        assert!(why.starts_with("line 2: no account ghost"), "{why}");
        assert!(table(AmazonLinux, &parsed, Form::System, &accounts()).is_ok());
        let long = b"\n".repeat(10_004);
        let parsed = Table::parse(&long, Form::User, 10, true);
        assert!(table(Debian, &parsed, Form::User, &accounts()).is_err());
        let unended = Table::parse(b"* * * * * a\n* * * * * b", Form::User, 10, true);
        assert!(
            table(Debian, &unended, Form::User, &accounts()).unwrap_err().contains("no newline")
        );
    }
}

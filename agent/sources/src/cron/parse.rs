//! A crontab's bytes as lines: jobs, environment settings, and lines that a daemon refuses.
//!
//! Each line is read by the rules of both daemons, because what one runs the other may refuse.
//! It never fails: what is no job is a [`Problem`], and the bytes stay as they are.

use super::{
    Layout, field,
    schedule::{Schedule, When},
    trim_start,
};

/// Debian's limit for a command, in bytes: `MAX_COMMAND` less two, a longer one is a syntax error.
const DEBIAN_COMMAND_BYTES: usize = 998;

/// Whether lines name the account that runs the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A user's own crontab: five fields, command.
    User,
    /// `/etc/crontab` and `/etc/cron.d/*`: five fields, user, command.
    System,
}

/// Why a line is no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum Problem {
    #[error("bad minute field")]
    Minute,
    #[error("bad hour field")]
    Hour,
    #[error("bad day-of-month field")]
    DayOfMonth,
    #[error("bad month field")]
    Month,
    #[error("bad day-of-week field")]
    DayOfWeek,
    #[error("unknown @ name")]
    Nickname,
    #[error("no user name")]
    NoUser,
    #[error("no command")]
    NoCommand,
    #[error("the command begins with * (a field too many)")]
    StarCommand,
    #[error("the command is longer than 998 bytes")]
    LongCommand,
    #[error("the last line has no newline")]
    NoNewline,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// `NAME=value`, for the lines after it.
    Environment {
        /// Name, without quotes.
        name: &'a [u8],
        /// Value, without quotes.
        value: &'a [u8],
    },
    /// A job.
    Job(Job<'a>),
}

/// One job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job<'a> {
    /// The five fields or the @ name, as they stand there.
    pub schedule: &'a [u8],
    /// The five fields one by one; `None` for an @ name.
    pub fields: Option<[&'a [u8]; 5]>,
    /// When it runs.
    pub when: When,
    /// The account named on the line, in the system form.
    pub user: Option<&'a [u8]>,
    /// The command as it stands there, `%` included.
    pub command: &'a [u8],
    /// cronie's leading `-`: the run is not logged.
    pub quiet: bool,
}

/// One line that is neither blank nor a comment.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Counted from 1.
    pub number: u64,
    /// The whole line.
    pub text: &'a [u8],
    /// As Debian's cron reads it.
    pub debian: Result<Entry<'a>, Problem>,
    /// As cronie reads it.
    pub cronie: Result<Entry<'a>, Problem>,
}

impl<'a> Line<'a> {
    /// As the daemon of that layout reads it.
    pub fn by(&self, layout: Layout) -> &Result<Entry<'a>, Problem> {
        match layout {
            Layout::Debian => &self.debian,
            Layout::AmazonLinux => &self.cronie,
        }
    }
}

/// The lines of one crontab.
#[derive(Clone, Debug, Default)]
pub struct Table<'a> {
    /// At most as many as asked for, in order.
    pub lines: Vec<Line<'a>>,
    /// Newlines in the bytes, blank lines and comments included.
    pub newlines: u64,
    /// True where there were more lines than asked for.
    pub cut: bool,
}

impl<'a> Table<'a> {
    /// Reads at most `max_lines` lines that say something. `whole` is false where `bytes` are only
    /// the beginning of the file: then a last line without a newline is left out.
    pub fn parse(bytes: &'a [u8], form: Form, max_lines: usize, whole: bool) -> Self {
        let mut table = Self::default();
        let (mut rest, mut number) = (bytes, 1u64);
        while !rest.is_empty() {
            let blank = trim_start(rest);
            let comment = matches!(blank.first(), Some(b'#' | b'\n') | None);
            // A NUL ends a line for the daemons (their strings are C strings), but no comment.
            let end = blank.iter().position(|&b| b == b'\n' || (b == 0 && !comment));
            let text = blank.get(..end.unwrap_or(blank.len())).unwrap_or_default();
            let ended = end.is_some();
            if !comment && (ended || whole) {
                if table.lines.len() >= max_lines {
                    table.cut = true;
                    break;
                }
                table.lines.push(Line {
                    number,
                    text,
                    debian: if ended {
                        entry(text, form, Layout::Debian)
                    } else {
                        Err(Problem::NoNewline)
                    },
                    cronie: if ended {
                        entry(text, form, Layout::AmazonLinux)
                    } else {
                        Err(Problem::NoNewline)
                    },
                });
            }
            let newline = end.and_then(|end| blank.get(end)) == Some(&b'\n');
            number += u64::from(newline);
            rest = end.and_then(|end| blank.get(end + 1..)).unwrap_or_default();
        }
        table.newlines = bytes.iter().map(|&b| u64::from(b == b'\n')).sum();
        table
    }
}

/// One line, without its newline.
pub fn entry(line: &[u8], form: Form, layout: Layout) -> Result<Entry<'_>, Problem> {
    if let Some((name, value)) = environment(line, layout) {
        return Ok(Entry::Environment { name, value });
    }
    job(trim_start(line), form, layout).map(Entry::Job)
}

/// The command's own part and, after its first unescaped `%`, what it gets as standard input
/// (crontab(5)); both still with their `\%` and further `%` as they stand there.
pub fn split_input(command: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut escaped = false;
    for (at, &byte) in command.iter().enumerate() {
        if byte == b'%' && !escaped {
            let (program, input) = command.split_at_checked(at).unwrap_or((command, b""));
            return (program, Some(input.get(1..).unwrap_or_default()));
        }
        escaped = byte == b'\\' && !escaped;
    }
    (command, None)
}

fn job(line: &[u8], form: Form, layout: Layout) -> Result<Job<'_>, Problem> {
    let cronie = layout == Layout::AmazonLinux;
    let (quiet, text) = match line.strip_prefix(b"-") {
        Some(rest) if cronie => (true, rest),
        _ => (false, line),
    };
    let (schedule, fields, when, rest) = if text.first() == Some(&b'@') {
        let (name, rest) = word(text);
        let when = Schedule::nickname(name).ok_or(Problem::Nickname)?;
        (name, None, when, trim_start(rest))
    } else {
        let (fields, schedule, rest) = five(text, layout)?;
        let length = text.len() - rest.len();
        let whole = text.get(..length).unwrap_or_default().trim_ascii_end();
        (whole, Some(fields), When::At(schedule), rest)
    };
    if cronie && rest.is_empty() {
        return Err(Problem::NoCommand);
    }
    // A time field too many is a common slip that both catch: cronie always, Debian's cron in
    // users' crontabs (elsewhere it takes the `*` for the account).
    if rest.first() == Some(&b'*') && (cronie || form == Form::User) {
        return Err(Problem::StarCommand);
    }
    let (user, command) = match form {
        Form::User => (None, rest),
        Form::System => {
            let (user, command) = word(rest);
            if user.is_empty() {
                return Err(Problem::NoUser);
            }
            if command.is_empty() {
                return Err(Problem::NoCommand);
            }
            (Some(user), trim_start(command))
        }
    };
    if !cronie && command.len() > DEBIAN_COMMAND_BYTES {
        return Err(Problem::LongCommand);
    }
    Ok(Job { schedule, fields, when, user, command, quiet })
}

type Fields<'a> = ([&'a [u8]; 5], Schedule, &'a [u8]);

fn five(text: &[u8], layout: Layout) -> Result<Fields<'_>, Problem> {
    use Problem::{DayOfMonth, DayOfWeek, Hour, Minute, Month};
    let [minute, hour, day, month, weekday] = &field::FIELDS;
    let (minutes, a, rest) = field::read(text, minute, layout).ok_or(Minute)?;
    let (hours, b, rest) = field::read(rest, hour, layout).ok_or(Hour)?;
    let (days, c, rest) = field::read(rest, day, layout).ok_or(DayOfMonth)?;
    let (months, d, rest) = field::read(rest, month, layout).ok_or(Month)?;
    let (weekdays, e, rest) = field::read(rest, weekday, layout).ok_or(DayOfWeek)?;
    let schedule = Schedule::from_fields([minutes, hours, days, months, weekdays]);
    Ok(([a, b, c, d, e], schedule, rest))
}

fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&b| field::is_blank(b)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, b""))
}

/// `NAME = value` with optional quotes around either (crontab(5)). An unquoted empty value is a
/// setting for cronie only; for Debian's cron it is a syntax error. Debian's cron also takes off
/// blanks at the end inside the quotes and then a second pair of quotes.
fn environment(line: &[u8], layout: Layout) -> Option<(&[u8], &[u8])> {
    let (name, rest) = match line.first() {
        Some(quote @ (b'"' | b'\'')) => {
            let (name, rest) = until(line.get(1..)?, |b| b == quote)?;
            (!name.contains(&b'=')).then_some((name, rest.get(1..)?))?
        }
        _ => until(line, |b| is_space(b) || *b == b'=')?,
    };
    let (gap, rest) = until(rest, |b| *b == b'=')?;
    if !gap.iter().all(is_space) {
        return None;
    }
    let rest = rest.get(1..)?;
    let start = rest.iter().position(|b| !is_space(b));
    let value = start.and_then(|at| rest.get(at..)).unwrap_or_default();
    let value = match value.first() {
        None => return (layout == Layout::AmazonLinux).then_some((name, value)),
        Some(quote @ (b'"' | b'\'')) => {
            let (value, after) = until(value.get(1..)?, |b| b == quote)?;
            after.get(1..)?.iter().all(is_space).then_some(value)?
        }
        Some(_) => trim_end(value),
    };
    if layout == Layout::AmazonLinux {
        return Some((name, value));
    }
    match trim_end(value) {
        [first @ (b'"' | b'\''), inner @ .., last] if first == last => Some((name, inner)),
        value => Some((name, value)),
    }
}

fn trim_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|b| !is_space(b));
    end.and_then(|end| text.get(..=end)).unwrap_or_default()
}

/// isspace(3) of the C locale: vertical tab too.
fn is_space(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || *byte == 0x0b
}

fn until(text: &[u8], stop: impl Fn(&u8) -> bool) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(stop)?;
    text.split_at_checked(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(line: &str, form: Form, layout: Layout) -> Result<Job<'_>, Problem> {
        match entry(line.as_bytes(), form, layout)? {
            Entry::Job(job) => Ok(job),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_job_in_both_forms() {
        for layout in Layout::ALL {
            let job = one("*/15 * * * * /usr/cryptokit/persist.sh", Form::User, layout).unwrap();
            assert_eq!(job.command, b"/usr/cryptokit/persist.sh");
            assert_eq!(job.schedule, b"*/15 * * * *");
            assert_eq!(job.fields.unwrap()[0], b"*/15");
            let job = one("17 *\t* * mon-fri root  cd / && x %in", Form::System, layout).unwrap();
            assert_eq!((job.user.unwrap(), job.command), (&b"root"[..], &b"cd / && x %in"[..]));
            assert_eq!(one("@reboot web x", Form::System, layout).unwrap().when, When::Reboot);
            assert_eq!(one("@fortnightly x", Form::User, layout), Err(Problem::Nickname));
            for slip in ["* * * * * * x", "@reboot\t* x"] {
                assert_eq!(one(slip, Form::User, layout), Err(Problem::StarCommand));
            }
            assert!(one("* * * * *", Form::System, layout).is_err());
            assert_eq!(one("* * * * * root", Form::System, layout), Err(Problem::NoCommand));
            assert_eq!(one("* 25 * * * x", Form::User, layout), Err(Problem::Hour));
            assert_eq!(one("hello world", Form::User, layout), Err(Problem::Minute));
        }
        assert!(one("-* * * * * x", Form::User, Layout::AmazonLinux).unwrap().quiet);
        assert_eq!(one("-* * * * * x", Form::User, Layout::Debian), Err(Problem::Minute));
        let long = format!("* * * * * {}", "x".repeat(999));
        assert_eq!(one(&long, Form::User, Layout::Debian), Err(Problem::LongCommand));
        assert!(one(&long, Form::User, Layout::AmazonLinux).is_ok());
    }

    #[test]
    fn environment_lines() {
        let read = |line: &'static str| environment(line.as_bytes(), Layout::Debian);
        assert_eq!(read("PATH=/bin:/usr/bin  "), Some((&b"PATH"[..], &b"/bin:/usr/bin"[..])));
        assert_eq!(read("A = \" b \" "), Some((&b"A"[..], &b" b"[..])));
        assert_eq!(read("'A B'='x=y'"), Some((&b"A B"[..], &b"x=y"[..])));
        assert_eq!(read("MAILTO=\"\""), Some((&b"MAILTO"[..], &b""[..])));
        for no in ["MAILTO=", "* * * * * A=b x", "A=\"open", "A='x' y", "'A=B'=c", "A", ""] {
            assert_eq!(read(no), None, "{no}");
        }
        assert!(environment(b"MAILTO=", Layout::AmazonLinux).is_some());
        assert_eq!(read("A='\"x\"'").unwrap().1, b"x");
        let cronie = environment(b"A =\x0b' b '", Layout::AmazonLinux);
        assert_eq!(cronie, Some((&b"A"[..], &b" b "[..])));
    }

    #[test]
    fn percent_splits_off_standard_input() {
        assert_eq!(split_input(b"mail joe%Hi%there"), (&b"mail joe"[..], Some(&b"Hi%there"[..])));
        assert_eq!(split_input(b"date +\\%F"), (&b"date +\\%F"[..], None));
    }

    #[test]
    fn lines_are_numbered_and_hidden_ones_are_found() {
        let text = b"# c\0* * * * * no\n\n  * * * * * a\0@daily b\nX=1\n1 1 1 1 1 last";
        let table = Table::parse(text, Form::User, 10, true);
        let seen: Vec<_> = table.lines.iter().map(|l| (l.number, l.text)).collect();
        assert_eq!(
            seen,
            [(3, &b"* * * * * a"[..]), (3, b"@daily b"), (4, b"X=1"), (5, b"1 1 1 1 1 last"),]
        );
        assert_eq!(table.lines[3].debian, Err(Problem::NoNewline));
        assert_eq!(Table::parse(text, Form::User, 10, false).lines.len(), 3);
        assert!(Table::parse(text, Form::User, 2, true).cut);
    }

    proptest! {
        #[test]
        fn never_panics_and_every_part_is_of_the_line(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), proptest::sample::select(&b"*/,-~ \t\n@#=\"'%0159abmon"[..])],
                0..200),
            system in any::<bool>(),
        ) {
            let form = if system { Form::System } else { Form::User };
            let table = Table::parse(&bytes, form, 1000, true);
            for line in &table.lines {
                for layout in Layout::ALL {
                    if let Ok(Entry::Job(job)) = line.by(layout) {
                        let start = if job.quiet { b"-" } else { job.schedule };
                        prop_assert!(line.text.starts_with(start));
                        prop_assert!(line.text.ends_with(job.command));
                        let (program, input) = split_input(job.command);
                        let input = input.map_or(0, |input| input.len() + 1);
                        prop_assert_eq!(program.len() + input, job.command.len());
                    }
                }
            }
        }
    }
}

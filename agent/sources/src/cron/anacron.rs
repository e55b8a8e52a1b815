//! `anacrontab` lines: period in days, delay in minutes, name, command (anacrontab(5)).
//! It never computes a next run: anacron decides by its stamp files when it is started.

use super::trim_start;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnacronLine<'a> {
    /// `NAME=value`.
    Environment { name: &'a [u8], value: &'a [u8] },
    /// A job; `schedule` is the period and the delay as they stand there.
    Job { schedule: &'a [u8], period: &'a [u8], name: &'a [u8], command: &'a [u8] },
    /// Neither, and why.
    Invalid(&'static str),
}

/// The lines that say something, with their numbers from 1; at most `max_lines`.
pub(crate) fn lines(bytes: &[u8], max_lines: usize) -> Vec<(u64, &[u8], AnacronLine<'_>)> {
    let numbered = (1u64..).zip(bytes.split(|&b| b == b'\n'));
    numbered
        .map(|(number, line)| (number, trim_start(line)))
        .filter(|(_, line)| !matches!(line.trim_ascii().first(), None | Some(b'#')))
        .map(|(number, line)| (number, line, read(line)))
        .take(max_lines)
        .collect()
}

fn read(line: &[u8]) -> AnacronLine<'_> {
    if let Some((name, value)) = assignment(line) {
        return AnacronLine::Environment { name, value };
    }
    let (period, rest) = word(line);
    let (delay, rest) = word(rest);
    let (name, command) = word(rest);
    let number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let named = matches!(period, b"@daily" | b"@weekly" | b"@monthly" | b"@yearly" | b"@annually");
    if !named && !number(period) {
        return AnacronLine::Invalid("bad period");
    }
    if !number(delay) {
        return AnacronLine::Invalid("bad delay");
    }
    if name.is_empty() || name.contains(&b'/') {
        return AnacronLine::Invalid("bad job identifier");
    }
    if command.is_empty() {
        return AnacronLine::Invalid("no command");
    }
    let length = line.len() - rest.len();
    let schedule = line.get(..length).unwrap_or_default().trim_ascii_end();
    AnacronLine::Job { schedule, period, name, command }
}

/// A variable's name has neither blanks nor signs in it, so a command with `=` is none.
fn assignment(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|&b| b == b'=')?;
    let (name, value) = line.split_at_checked(at)?;
    let name = name.trim_ascii_end();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let fits = !name.is_empty() && name.iter().all(plain);
    fits.then(|| (name, value.get(1..).unwrap_or_default().trim_ascii()))
}

fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, b""));
    (word, trim_start(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn jobs_settings_and_slips() {
        let text =
            b"# c\nSTART_HOURS_RANGE=3-22\n1\t5\tcron.daily\tnice run-parts /etc/cron.daily\n\
                     @monthly 45 m x=1\n@fortnightly 1 a b\n1 x a b\n1 1 a";
        let read = lines(text, 100);
        assert_eq!(read.len(), 6);
        assert_eq!(read[0].0, 2);
        let AnacronLine::Job { schedule, name, command, .. } = &read[1].2 else { panic!() };
        assert_eq!((*schedule, *name), (&b"1\t5"[..], &b"cron.daily"[..]));
        assert_eq!(*command, b"nice run-parts /etc/cron.daily");
        assert!(matches!(read[2].2, AnacronLine::Job { command: b"x=1", .. }));
        assert_eq!(read[3].2, AnacronLine::Invalid("bad period"));
        assert_eq!(read[4].2, AnacronLine::Invalid("bad delay"));
        assert_eq!(read[5].2, AnacronLine::Invalid("no command"));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(lines(&bytes, 5).len() <= 5);
        }
    }
}

//! One time field of a crontab line, by the grammar of either daemon.
//!
//! The two differ in what they let pass: Debian's accepts `5-3` (and never runs it), cronie takes
//! `5~30` (a random minute of that range); both ignore what follows a complete range up to the
//! next blank, so `*junk` means `*`.

use super::Layout;

/// A field's bounds and names.
pub(super) struct Field {
    pub low: u32,
    pub high: u32,
    pub names: &'static [&'static str],
}

const MONTHS: &[&str] =
    &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Minute, hour, day of month, month, day of week (crontab(5)).
pub(super) const FIELDS: [Field; 5] = [
    Field { low: 0, high: 59, names: &[] },
    Field { low: 0, high: 23, names: &[] },
    Field { low: 1, high: 31, names: &[] },
    Field { low: 1, high: 12, names: MONTHS },
    Field { low: 0, high: 7, names: DAYS },
];

/// What one field allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Bit N: the value N.
    pub bits: u64,
    /// The field's text begins with `*`, also in `*/2`: the mark behind the either-day rule.
    pub star: bool,
    /// One value of a range is drawn at random when the daemon loads the file.
    pub random: bool,
}

/// Reads one field from the start of `text`; gives the rest after it and its blanks.
pub(super) fn read<'a>(
    text: &'a [u8],
    field: &Field,
    layout: Layout,
) -> Option<(Allowed, &'a [u8], &'a [u8])> {
    let mut at = Cursor(text);
    let mut allowed = Allowed { star: text.first() == Some(&b'*'), ..Allowed::default() };
    loop {
        range(&mut at, field, layout, &mut allowed)?;
        if !at.eat(b',') {
            break;
        }
    }
    // Debian's cron on x86 passes bytes through a signed `char`: 0xff looks like the end of file.
    let end_of_file = |at: &Cursor<'_>| layout == Layout::Debian && at.peek() == Some(0xff);
    let mut ends = end_of_file(&at);
    at.skip(|b| !is_blank(b));
    let length = text.len() - at.0.len();
    at.skip(is_blank);
    ends |= end_of_file(&at);
    if ends {
        return None;
    }
    Some((allowed, text.get(..length)?, at.0))
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.0.split_first() {
            Some((&first, rest)) if first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn skip(&mut self, which: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|&b| !which(b)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at_checked(end).unwrap_or((self.0, b""));
        self.0 = rest;
        taken
    }

    /// True at the end of the line or before one of the bytes: cronie checks what ends a number.
    fn ends_with(&self, terminators: &[u8]) -> bool {
        self.peek().is_none_or(|b| terminators.contains(&b))
    }
}

fn range(at: &mut Cursor, field: &Field, layout: Layout, allowed: &mut Allowed) -> Option<()> {
    let cronie = layout == Layout::AmazonLinux;
    let (first, last) = if at.eat(b'*') {
        (field.low, field.high)
    } else if cronie && at.peek() == Some(b'~') {
        return random(at, field, field.low, allowed);
    } else {
        let first = number(at, field.names, field.low, cronie)?;
        if cronie && at.peek() == Some(b'~') {
            return random(at, field, first, allowed);
        }
        if !at.eat(b'-') {
            let terminated = !cronie || at.ends_with(b", \t");
            // `5/10`: a step needs a range before it.
            return (terminated && at.peek() != Some(b'/'))
                .then(|| set(allowed, field, first))
                .flatten();
        }
        let last = number(at, field.names, field.low, cronie)?;
        if cronie && (first > last || !at.ends_with(b"/, \t")) {
            return None;
        }
        (first, last)
    };
    let step = if at.eat(b'/') {
        let step = number(at, &[], 0, cronie)?;
        if step == 0 || (cronie && !at.ends_with(b", \t")) {
            return None;
        }
        step
    } else {
        1
    };
    let outside = |value| value < field.low || value > field.high;
    if outside(first) || (!cronie && outside(last)) {
        return None;
    }
    // A last value out of bounds is fine for cronie as long as no step lands there; the first
    // such step is at most one step above the highest value.
    (first..=last.min(field.high.saturating_add(step)))
        .step_by(usize::try_from(step).unwrap_or(usize::MAX))
        .try_for_each(|value| set(allowed, field, value))
}

/// cronie: `low~high`, either end may be left out; one value is drawn when the file is loaded.
fn random(at: &mut Cursor, field: &Field, first: u32, allowed: &mut Allowed) -> Option<()> {
    at.eat(b'~');
    let last = match at.ends_with(b", \t") {
        true => field.high,
        false => number(at, field.names, field.low, true)?,
    };
    if first < field.low || last > field.high || first > last || !at.ends_with(b", \t") {
        return None;
    }
    allowed.random = true;
    (first..=last).try_for_each(|value| set(allowed, field, value))
}

fn set(allowed: &mut Allowed, field: &Field, value: u32) -> Option<()> {
    if value < field.low || value > field.high {
        return None;
    }
    allowed.bits |= 1u64.checked_shl(value)?;
    Some(())
}

fn number(at: &mut Cursor, names: &[&str], low: u32, cronie: bool) -> Option<u32> {
    let text = match cronie {
        // cronie reads either digits or letters, Debian's both mixed and then looks at them.
        true if at.peek().is_some_and(|b| b.is_ascii_digit()) => at.skip(|b| b.is_ascii_digit()),
        true => at.skip(|b| b.is_ascii_alphabetic()),
        false => at.skip(|b| b.is_ascii_alphanumeric()),
    };
    let text = std::str::from_utf8(text).ok()?;
    if let Some(index) = names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
        return u32::try_from(index).ok().map(|index| index + low);
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(which: usize, text: &str, layout: Layout) -> Option<u64> {
        read(text.as_bytes(), &FIELDS[which], layout).map(|(allowed, _, _)| allowed.bits)
    }

    fn of(values: &[u32]) -> Option<u64> {
        Some(values.iter().fold(0, |bits, value| bits | 1 << value))
    }

    #[test]
    fn lists_ranges_steps_and_names() {
        for layout in Layout::ALL {
            assert_eq!(bits(0, "*/15 x", layout), of(&[0, 15, 30, 45]));
            assert_eq!(bits(0, "1,5-7,50-59/4", layout), of(&[1, 5, 6, 7, 50, 54, 58]));
            assert_eq!(bits(3, "JAN-mar", layout), of(&[1, 2, 3]));
            assert_eq!(bits(4, "Fri,7", layout), of(&[5, 7]));
            assert_eq!(bits(2, "*/100", layout), of(&[1]));
            assert_eq!(bits(1, "*junk 5", layout), Some((1 << 24) - 1));
            for bad in ["", "60", "-5", "5-", "5/10", "*/0", "x", "5,", "1-2-x/", "999999999999"] {
                let expect = (bad == "1-2-x/" && layout == Layout::Debian).then_some(0b110);
                assert_eq!(bits(0, bad, layout), expect, "{bad} {layout:?}");
            }
            assert_eq!(bits(2, "0", layout), None);
        }
    }

    #[test]
    fn the_two_daemons_differ() {
        use Layout::{AmazonLinux, Debian};
        assert_eq!(bits(0, "5-3", Debian), Some(0));
        assert_eq!(bits(0, "5-3", AmazonLinux), None);
        assert_eq!(bits(0, "5? x", Debian), of(&[5]));
        assert_eq!(bits(0, "5? x", AmazonLinux), None);
        assert_eq!(bits(0, "5-64/30", Debian), None);
        assert_eq!(bits(0, "5-64/30", AmazonLinux), of(&[5, 35]));
        assert_eq!(bits(0, "5-200/150", AmazonLinux), None);
        assert_eq!(bits(0, "5~7", Debian), of(&[5]), "what follows the number is passed over");
        assert_eq!(read(b"5\xff *", &FIELDS[0], Debian), None);
        let (allowed, _, _) = read(b"5~7 *", &FIELDS[0], AmazonLinux).unwrap();
        assert_eq!((allowed.bits, allowed.random), (0b1110_0000, true));
    }
}

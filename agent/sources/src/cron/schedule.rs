//! When a job runs next, in the host's time zone, as the daemons count it.
//!
//! Both daemons share the rules: a day matches either day field when both are restricted, else
//! both; a job with `*` in its minute or hour follows the wall clock; any other job that falls into
//! a skipped hour runs right after it, and does not run twice in a repeated one (cron(8), "Special
//! considerations exist when the clock is changed by less than 3 hours").

use super::{Layout, field::Allowed};
use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};

/// Years searched: 29 February on one day of the week comes again within 40 years, also across
/// 2100.
const YEARS: i16 = 41;
/// A longer jump of the clock is a correction: what lay in it is not run (cron(8)).
const LONGEST_CATCH_UP: SignedDuration = SignedDuration::from_hours(3);

/// When a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Once when the daemon starts after a boot.
    Reboot,
    /// By the calendar.
    At(Schedule),
}

/// The five fields as sets. Bit N stands for the value N.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
    wild: bool,
    random: bool,
}

impl Schedule {
    pub(super) fn from_fields(fields: [Allowed; 5]) -> Self {
        let [minutes, hours, days, months, weekdays] = fields;
        let sunday = weekdays.bits | weekdays.bits >> 7;
        Self {
            minutes: minutes.bits,
            hours: hours.bits,
            days: days.bits,
            months: months.bits,
            weekdays: sunday & 0x7f,
            either_day: !days.star && !weekdays.star,
            wild: minutes.star || hours.star,
            random: fields.iter().any(|field| field.random),
        }
    }

    /// The @ names that both daemons know (crontab(5)). `name` begins with `@`.
    pub(super) fn nickname(name: &[u8]) -> Option<When> {
        let text: &[u8] = match name {
            b"@reboot" => return Some(When::Reboot),
            b"@yearly" | b"@annually" => b"0 0 1 1 *",
            b"@monthly" => b"0 0 1 * *",
            b"@weekly" => b"0 0 * * 0",
            b"@daily" | b"@midnight" => b"0 0 * * *",
            b"@hourly" => b"0 * * * *",
            _ => return None,
        };
        let mut rest = text;
        let mut fields = [Allowed::default(); 5];
        for (allowed, field) in fields.iter_mut().zip(&super::field::FIELDS) {
            (*allowed, _, rest) = super::field::read(rest, field, Layout::Debian)?;
        }
        Some(When::At(Self::from_fields(fields)))
    }

    /// True where a value is drawn at random when the daemon loads the file (cronie's `~`).
    pub fn is_random(&self) -> bool {
        self.random
    }

    /// True where the local time, to the minute, is one of the schedule's.
    pub fn matches(&self, time: DateTime) -> bool {
        self.matches_day(time.date())
            && has(self.hours, time.hour())
            && has(self.minutes, time.minute())
    }

    fn matches_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let fits = if self.either_day { day || weekday } else { day && weekday };
        fits && has(self.months, date.month())
    }

    /// The first run after that instant; `None` where no date of the next decades fits (30
    /// February) or the minute is drawn at random.
    pub fn next_run(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        if self.random || self.minutes == 0 || self.hours == 0 {
            return None;
        }
        // A clock set back at midnight brings back the day before: begin one day early.
        let first = zone.to_datetime(after).date().yesterday().ok()?;
        let last_year = first.year().saturating_add(YEARS);
        let mut date = first;
        while date.year() <= last_year {
            if !has(self.months, date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
                continue;
            }
            let next = date.tomorrow().ok()?;
            if self.matches_day(date)
                && let Some(found) = self.first_on(date, after, zone)
            {
                // Where a repeated hour crosses midnight, the next day may begin before this
                // day's second pass.
                let rival = self.matches_day(next).then(|| self.first_on(next, after, zone));
                return Some(rival.flatten().map_or(found, |rival| rival.min(found)));
            }
            date = next;
        }
        None
    }

    /// The earliest run after `after` among the minutes of one local day.
    fn first_on(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let minutes = (0..24i8)
            .filter(|&hour| has(self.hours, hour))
            .flat_map(|hour| (0..60i8).map(move |minute| (hour, minute)))
            .filter(|&(_, minute)| has(self.minutes, minute))
            .map(|(hour, minute)| date.at(hour, minute, 0, 0));
        if let Some(offset) = steady_offset(date, zone) {
            let instants = minutes.filter_map(|time| offset.to_timestamp(time).ok());
            return instants.into_iter().find(|&instant| instant > after);
        }
        minutes
            .flat_map(|time| self.instants(time, zone))
            .flatten()
            .filter(|&instant| instant > after)
            .min()
    }

    /// When one local minute comes: once, twice, or (skipped) right after the jump or never.
    fn instants(&self, time: DateTime, zone: &TimeZone) -> [Option<Timestamp>; 2] {
        let at = |offset: jiff::tz::Offset| offset.to_timestamp(time).ok();
        match zone.to_ambiguous_timestamp(time).offset() {
            AmbiguousOffset::Unambiguous { offset } => [at(offset), None],
            AmbiguousOffset::Fold { before, after } if self.wild => [at(before), at(after)],
            AmbiguousOffset::Fold { before, .. } => [at(before), None],
            AmbiguousOffset::Gap { .. } if self.wild => [None, None],
            AmbiguousOffset::Gap { before, after } => {
                let jump = before.duration_until(after);
                // The minute, read with the offset after the jump, lies before the jump.
                let jumped = at(after).and_then(|earlier| zone.following(earlier).next());
                let run = jumped.map(|transition| transition.timestamp());
                [run.filter(|_| jump <= LONGEST_CATCH_UP), None]
            }
        }
    }
}

/// The day's offset from UTC where the clock does not jump near it: the common, fast case.
fn steady_offset(date: Date, zone: &TimeZone) -> Option<jiff::tz::Offset> {
    let midnight = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
    let start = midnight.checked_sub(30.hours()).ok()?;
    let end = midnight.checked_add(54.hours()).ok()?;
    let quiet = zone.following(start).next().is_none_or(|transition| transition.timestamp() > end);
    quiet.then(|| zone.to_offset(start))
}

fn has(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| bits.checked_shr(value).unwrap_or(0) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cron::parse::{Entry, Form, entry};
    use proptest::prelude::*;

    fn schedule(text: &str) -> Schedule {
        let line = format!("{text} x");
        match entry(line.as_bytes(), Form::User, Layout::Debian).unwrap() {
            Entry::Job(job) => match job.when {
                When::At(schedule) => schedule,
                When::Reboot => panic!("reboot"),
            },
            Entry::Environment { .. } => panic!("environment"),
        }
    }

    fn next(text: &str, after: &str, zone: &str) -> Option<String> {
        let zone = TimeZone::posix(zone).unwrap();
        let found = schedule(text).next_run(after.parse().unwrap(), &zone)?;
        Some(found.to_string())
    }

    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    #[test]
    fn known_answers() {
        let at = |text| next(text, "2021-07-29T01:44:57Z", "UTC0").unwrap();
        assert_eq!(at("*/15 * * * *"), "2021-07-29T01:45:00Z");
        assert_eq!(at("45 1 * * *"), "2021-07-29T01:45:00Z");
        assert_eq!(at("44 1 * * *"), "2021-07-30T01:44:00Z");
        assert_eq!(at("0 0 29 2 *"), "2024-02-29T00:00:00Z");
        assert_eq!(at("30 4 1,15 * 5"), "2021-07-30T04:30:00Z", "either day field");
        assert_eq!(at("30 4 1,15 * *"), "2021-08-01T04:30:00Z");
        assert_eq!(at("30 4 */2 * 7"), "2021-08-01T04:30:00Z", "a star in one: both must fit");
        assert_eq!(at("@weekly"), "2021-08-01T00:00:00Z");
        assert_eq!(at("@yearly"), "2022-01-01T00:00:00Z");
        assert_eq!(next("0 0 30 2 *", "2021-07-29T01:44:57Z", "UTC0"), None);
        assert_eq!(next("5-3 * * * *", "2021-07-29T01:44:57Z", "UTC0"), None);
        assert_eq!(
            next("* * * * *", "2021-07-29T01:45:00Z", "UTC0").unwrap(),
            "2021-07-29T01:46:00Z"
        );
    }

    #[test]
    fn clock_changes() {
        // 2024-03-31 02:00 CET jumps to 03:00 CEST; 2024-10-27 03:00 CEST goes back to 02:00.
        let spring = "2024-03-31T00:30:00Z";
        assert_eq!(next("30 2 * * *", spring, BERLIN).unwrap(), "2024-03-31T01:00:00Z");
        assert_eq!(next("30 * * * *", spring, BERLIN).unwrap(), "2024-03-31T01:30:00Z");
        assert_eq!(next("*/30 2 * * *", spring, BERLIN).unwrap(), "2024-04-01T00:00:00Z");
        assert_eq!(
            next("30 2 * * *", "2024-10-27T00:00:00Z", BERLIN).unwrap(),
            "2024-10-27T00:30:00Z"
        );
        assert_eq!(
            next("30 2 * * *", "2024-10-27T00:30:00Z", BERLIN).unwrap(),
            "2024-10-28T01:30:00Z"
        );
        assert_eq!(
            next("*/30 2 * * *", "2024-10-27T00:30:00Z", BERLIN).unwrap(),
            "2024-10-27T01:00:00Z"
        );
    }

    /// What the daemons do in one minute, told from the instant's side.
    fn runs_at(schedule: &Schedule, instant: Timestamp, zone: &TimeZone) -> bool {
        let time = zone.to_datetime(instant);
        let before = zone.to_datetime(instant - 1.minute());
        let first_pass = zone.to_ambiguous_timestamp(time).earlier().unwrap() == instant;
        if schedule.matches(time) && (schedule.wild || first_pass) {
            return true;
        }
        let mut skipped = before + 1.minute();
        while !schedule.wild && skipped < time {
            if schedule.matches(skipped) {
                return true;
            }
            skipped += 1.minute();
        }
        false
    }

    fn field(low: u8, high: u8) -> impl Strategy<Value = String> {
        prop_oneof![
            Just("*".to_owned()),
            (2..9u8).prop_map(|step| format!("*/{step}")),
            (low..=high).prop_map(|value| value.to_string()),
            (low..=high, low..=high).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(150))]
        #[test]
        fn the_next_run_is_the_first_minute_that_matches(
            fields in (field(0, 59), field(0, 23), field(1, 31), field(3, 11), field(0, 7)),
            start in prop_oneof![
                1_711_750_000i64..1_711_900_000, // around the spring change of 2024
                1_729_900_000i64..1_730_050_000, // around the autumn change
                1_600_000_000i64..1_900_000_000,
            ],
            zone in proptest::sample::select(vec![
                BERLIN, "UTC0", "LHST-10:30LHDT-11,M10.1.0,M4.1.0", "XST3XDT,M3.5.0/0,M10.5.0/0",
            ]),
        ) {
            let (a, b, c, d, e) = fields;
            let schedule = schedule(&format!("{a} {b} {c} {d} {e}"));
            let zone = TimeZone::posix(zone).unwrap();
            let after = Timestamp::from_second(start).unwrap();
            let found = schedule.next_run(after, &zone);
            // Brute force, minute by minute, for ten days.
            let mut minute = Timestamp::from_second(start - start % 60).unwrap();
            let mut expect = None;
            for _ in 0..14_400 {
                minute += 1.minute();
                if runs_at(&schedule, minute, &zone) {
                    expect = Some(minute);
                    break;
                }
            }
            match expect {
                Some(_) => prop_assert_eq!(found, expect),
                None => prop_assert!(found.is_none_or(|found| found > minute)),
            }
            if let Some(found) = found {
                prop_assert!(runs_at(&schedule, found, &zone), "{found} is no run");
            }
        }

        #[test]
        fn any_time_and_zone_ends(start in any::<i32>(), bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let after = Timestamp::from_second(i64::from(start) * 60).unwrap_or(Timestamp::MAX);
            let zone = TimeZone::tzif("x", &bytes).unwrap_or(TimeZone::UTC);
            let _ = schedule("* * 29 2 */7").next_run(after, &zone);
            let _ = schedule("* * * * *").next_run(Timestamp::MAX, &zone);
        }
    }
}

//! Times: UTC to the nanosecond beside the monotonic clock, so that a set-back wall clock shows.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// A UTC instant in nanosecond steps. In JSON: RFC 3339 with `Z`; an instant outside the years
/// that RFC 3339 can write (a crafted file time) becomes `@SECONDS.NANOSECONDS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 UTC.
    pub unix_seconds: i64,
    /// Nanoseconds after that second, 0–999,999,999.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// From whole seconds and nanoseconds; nanoseconds above the range are cut to it.
    pub fn new(unix_seconds: i64, nanoseconds: u32) -> Self {
        Self { unix_seconds, nanoseconds: nanoseconds.min(999_999_999) }
    }

    /// Nanoseconds since 1970-01-01 UTC.
    pub fn unix_nanoseconds(self) -> i128 {
        i128::from(self.unix_seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }

    /// From nanoseconds since 1970-01-01 UTC, cut to what 64-bit seconds hold.
    pub fn from_unix_nanoseconds(nanoseconds: i128) -> Self {
        let seconds = nanoseconds.div_euclid(1_000_000_000);
        let seconds = seconds.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        let rest = nanoseconds.rem_euclid(1_000_000_000);
        Self::new(seconds as i64, rest as u32)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // jiff counts negative times toward zero; the second below keeps nanoseconds positive.
        let civil = jiff::Timestamp::new(self.unix_seconds, 0)
            .ok()
            .filter(|_| (-62_135_596_800..=253_402_207_200).contains(&self.unix_seconds));
        match civil {
            Some(time) => {
                let text = time.to_string();
                write!(f, "{}.{:09}Z", text.trim_end_matches('Z'), self.nanoseconds)
            }
            None => write!(f, "@{}.{:09}", self.unix_seconds, self.nanoseconds),
        }
    }
}

impl FromStr for Timestamp {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad =
            || format!("not an RFC 3339 time: {:?}", text.chars().take(40).collect::<String>());
        if let Some(raw) = text.strip_prefix('@') {
            let (seconds, nanos) = raw.split_once('.').unwrap_or((raw, "0"));
            let seconds = seconds.parse().map_err(|_| bad())?;
            return Ok(Self::new(seconds, nanos.parse().map_err(|_| bad())?));
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| bad())?;
        Ok(Self::from_unix_nanoseconds(time.as_nanosecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// One reading of both clocks of one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// The wall clock (CLOCK_REALTIME).
    pub utc: Timestamp,
    /// CLOCK_BOOTTIME: nanoseconds since boot, suspended time included.
    pub boottime_ns: u64,
}

/// How far a host's wall clock is from the collector's, as one exchange over the wire showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// Host minus collector, in nanoseconds: positive when the host's clock is ahead.
    pub host_minus_collector_ns: i64,
    /// Round trip of the exchange, in nanoseconds: the offset is certain to half of it.
    pub round_trip_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_rfc_3339_and_keeps_what_it_cannot_write() {
        assert_eq!(Timestamp::new(0, 5).to_string(), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(Timestamp::new(-1, 999_999_999).to_string(), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(Timestamp::new(i64::MAX, 1).to_string(), "@9223372036854775807.000000001");
    }

    proptest! {
        #[test]
        fn round_trip(seconds in any::<i64>(), nanos in 0u32..1_000_000_000) {
            let time = Timestamp::new(seconds, nanos);
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
        #[test]
        fn round_trip_near(seconds in -70_000_000_000i64..260_000_000_000, nanos in 0u32..1_000_000_000) {
            let time = Timestamp::new(seconds, nanos);
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
    }
}

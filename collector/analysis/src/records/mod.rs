//! The record sets as analysis and report read them: of each record only the columns that they
//! need, read leniently (see [`lenient`]). The agent's sources say what each column means.

pub mod lenient;
mod sets;

pub use sets::*;

use lenient::Columns;

/// Longest line that is read, in bytes.
pub const LINE_BYTES: usize = 16 * 1024 * 1024;

/// One record; `None` for a line that is no JSON object.
pub fn parse<T: Columns>(line: &[u8]) -> Option<T> {
    let object = line.trim_ascii_start().first() == Some(&b'{');
    if !object || line.len() > LINE_BYTES {
        return None;
    }
    serde_json::from_slice(line).ok()
}

/// The sets that detections look at, each parsed.
#[derive(Debug)]
pub enum Record {
    /// `processes`.
    Process(Box<Process>),
    /// `cron-jobs`.
    Cron(Box<CronJob>),
    /// `persistence`.
    Persistence(Box<Persistence>),
    /// `dns`.
    Dns(Box<Dns>),
    /// `dns-cache`.
    DnsCache(Box<DnsCache>),
}

impl Record {
    /// The sets that it knows.
    pub const SETS: [&'static str; 5] =
        ["processes", "cron-jobs", "persistence", "dns", "dns-cache"];

    /// Reads a line of one of [`Self::SETS`].
    pub fn parse(set: &str, line: &[u8]) -> Option<Self> {
        Some(match set {
            "processes" => Self::Process(parse(line)?),
            "cron-jobs" => Self::Cron(parse(line)?),
            "persistence" => Self::Persistence(parse(line)?),
            "dns" => Self::Dns(parse(line)?),
            "dns-cache" => Self::DnsCache(parse(line)?),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_objects_are_records() {
        assert!(parse::<Process>(b"[1,2]").is_none());
        assert!(parse::<Process>(b"\"x\"").is_none() && parse::<Process>(b"").is_none());
        assert!(parse::<Process>(b"{\"pid\":1,\"pid\":2}").is_none(), "said twice");
        assert_eq!(parse::<Process>(b" {\"pid\":1,\"x\":{}}").unwrap().pid.0, Some(1));
        for set in Record::SETS {
            assert!(Record::parse(set, b"{}").is_some(), "{set}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for set in Record::SETS {
                let _ = Record::parse(set, &bytes);
            }
        }
    }
}

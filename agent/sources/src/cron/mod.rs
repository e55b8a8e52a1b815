//! What a host's crontabs mean: pure parsers, the calendar, and the rules by which the two cron
//! daemons of EC2 hosts accept a file. Only `daemon` and `zone` look at the host (which cron it
//! has, its time zone); the crontabs themselves are read by `sources::crontabs`.
//!
//! Facts come from the manual pages and the behaviour of cron 3.0pl1-162 (Debian), cronie 1.5
//! (Amazon Linux, RHEL), at 3.2.5 and run-parts(8).

pub(crate) mod anacron;
pub(crate) mod at;
pub(crate) mod daemon;
mod field;
pub(crate) mod layout;
pub(crate) mod lines;
pub mod parse;
pub(crate) mod record;
pub mod schedule;
pub(crate) mod zone;

/// Which cron's rules a file is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Debian and Ubuntu: Vixie cron 3.0 with Debian's changes; spool `/var/spool/cron/crontabs`.
    Debian,
    /// Amazon Linux and RHEL: cronie; spool `/var/spool/cron`.
    AmazonLinux,
}

impl Layout {
    /// Both, in the order in which records list them.
    pub const ALL: [Self; 2] = [Self::Debian, Self::AmazonLinux];

    /// The name in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::AmazonLinux => "amazon-linux",
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Debian => Self::AmazonLinux,
            Self::AmazonLinux => Self::Debian,
        }
    }
}

/// Without leading blanks, as cron skips them.
pub(crate) fn trim_start(bytes: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let from = bytes.iter().position(|b| !blank(b)).unwrap_or(bytes.len());
    bytes.get(from..).unwrap_or_default()
}

/// True where `needle` occurs in `hay`.
pub(crate) fn contains(hay: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && hay.windows(needle.len()).any(|window| window == needle)
}

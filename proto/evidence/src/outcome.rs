//! How a source ended. A source that fails says why; the run goes on.

use crate::{Clock, RawBytes};
use serde::{Deserialize, Serialize};

/// Examples kept per kind of gap: enough to see the pattern, bounded on a hostile host.
const EXAMPLES: usize = 5;
/// Kinds of gaps kept per source; more are counted in the last one.
const KINDS: usize = 64;

/// How one source ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", content = "why", rename_all = "lowercase")]
pub enum Outcome {
    /// Everything that the source looks for was read.
    Complete,
    /// Some of it could not be read; the gaps say what and why.
    Partial(Vec<Gap>),
    /// There was nothing to read, and why that is so (no such daemon, a dead disk, …).
    Absent(String),
    /// The source as a whole could not run.
    Failed(String),
}

impl Outcome {
    /// True where the source gave all that it could: complete, or nothing there to read.
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Complete | Self::Absent(_))
    }
}

/// One kind of thing that could not be read, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// What was tried, e.g. `open`, `read environ`.
    pub operation: String,
    /// Why it failed, e.g. `EACCES: Permission denied`.
    pub reason: String,
    /// How often.
    pub count: u64,
    /// The first few paths or names that it happened to.
    pub examples: Vec<RawBytes>,
}

/// The gaps of a running source: bounded however many things fail.
#[derive(Clone, Debug, Default)]
pub struct Gaps(Vec<Gap>);

impl Gaps {
    /// Counts one failure.
    pub fn add(&mut self, operation: &str, subject: &[u8], reason: &str) {
        let known = self.0.iter().position(|g| g.operation == operation && g.reason == reason);
        let full = self.0.len() >= KINDS;
        let gap = match known {
            Some(at) => self.0.get_mut(at),
            None if full => self.0.last_mut(),
            None => {
                self.0.push(Gap {
                    operation: operation.to_owned(),
                    reason: reason.to_owned(),
                    count: 0,
                    examples: Vec::new(),
                });
                self.0.last_mut()
            }
        };
        if let Some(gap) = gap {
            gap.count += 1;
            if gap.examples.len() < EXAMPLES {
                gap.examples.push(subject.into());
            }
        }
    }

    /// True when nothing failed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `Complete` without gaps, else `Partial` with them.
    pub fn into_outcome(self) -> Outcome {
        if self.0.is_empty() { Outcome::Complete } else { Outcome::Partial(self.0) }
    }
}

/// The end of one source in one session, as the collector records it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOutcome {
    /// The source's name, e.g. `crontabs`.
    pub source: String,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began, by the host's clocks.
    pub started: Clock,
    /// When it ended.
    pub ended: Clock,
    /// Items that it gave.
    pub items: u64,
    /// Bytes of those items.
    pub bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_and_bounded() {
        let mut gaps = Gaps::default();
        for n in 0..1000 {
            gaps.add("open", format!("/p/{n}").as_bytes(), "EACCES");
            gaps.add(&format!("op{n}"), b"x", "r");
        }
        let Outcome::Partial(gaps) = gaps.into_outcome() else { panic!("not partial") };
        assert_eq!(gaps.len(), KINDS);
        assert_eq!(gaps[0].count, 1000);
        assert_eq!(gaps[0].examples.len(), EXAMPLES);
        assert_eq!(gaps.iter().map(|g| g.count).sum::<u64>(), 2000);
    }
}

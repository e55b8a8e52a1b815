//! What a finding is. Its texts hold bytes of the host only in a form that is safe on a screen.

use super::At;
use cleanroom_evidence::{HostId, RawBytes, SessionId};
use serde::Serialize;
use std::fmt;

/// Pieces of evidence that one finding lists; the others are counted.
const LISTED: usize = 100;
/// Bytes of an excerpt.
const EXCERPT_BYTES: usize = 16 * 1024;

/// How much it matters if it is no false positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Often harmless.
    Low,
    /// Needs a look.
    Medium,
    /// Seldom harmless.
    High,
    /// Act now.
    Critical,
}

impl Severity {
    /// Every severity, the highest first.
    pub const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A line that a finding rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The item's number in the session.
    pub item: u64,
    /// The record set or the item's name.
    pub set: String,
    /// The line in the item, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The columns.
    pub fields: Vec<&'static str>,
    /// What they say.
    pub shows: String,
}

impl Evidence {
    /// Evidence at a place.
    pub fn new(at: At<'_>, fields: &[&'static str], shows: String) -> Self {
        Self {
            item: at.item,
            set: at.set.to_owned(),
            line: at.line,
            fields: fields.to_vec(),
            shows,
        }
    }
}

/// Bytes that a finding brought to light.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excerpt {
    /// What they are.
    pub label: String,
    /// The first of them.
    pub bytes: RawBytes,
    /// How many there are.
    pub total_bytes: u64,
}

impl Excerpt {
    /// The first bytes, as many as a finding holds.
    pub fn new(label: String, bytes: &[u8]) -> Self {
        let head = bytes.get(..bytes.len().min(EXCERPT_BYTES)).unwrap_or_default();
        Self { label, bytes: head.into(), total_bytes: bytes.len() as u64 }
    }
}

/// A finding before it is known where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// How much it matters.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What was seen, and what it means.
    pub text: String,
    /// What it rests on.
    pub evidence: Gathered,
    /// What it brought to light.
    pub excerpt: Option<Excerpt>,
}

impl Draft {
    /// A draft without an excerpt.
    pub fn new(severity: Severity, title: String, text: String, evidence: Gathered) -> Self {
        Self { severity, title, text, evidence, excerpt: None }
    }
}

/// Evidence, bounded and counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// The first pieces.
    pub listed: Vec<Evidence>,
    /// Pieces in all.
    pub total: u64,
}

impl Gathered {
    /// Adds a piece; it is only made where there is room.
    pub fn add(&mut self, evidence: impl FnOnce() -> Evidence) {
        self.total += 1;
        if self.listed.len() < LISTED {
            self.listed.push(evidence());
        }
    }

    /// The first pieces, in words: `a; b; and 3 more`.
    pub fn summary(&self, pieces: usize) -> String {
        let mut shown: Vec<String> =
            self.listed.iter().take(pieces).map(|piece| piece.shows.clone()).collect();
        let more = self.total.saturating_sub(shown.len() as u64);
        if more > 0 {
            shown.push(format!("and {more} more"));
        }
        shown.join("; ")
    }
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The detection's id.
    pub detection: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// What was seen, and what it means.
    pub text: String,
    /// When it is harmless.
    pub false_positives: &'static str,
    /// MITRE ATT&CK technique ids.
    pub techniques: &'static [&'static str],
    /// On which host.
    pub host: HostId,
    /// In which session.
    pub session: SessionId,
    /// What it rests on; the first pieces.
    pub evidence: Vec<Evidence>,
    /// Pieces of evidence in all.
    pub evidence_total: u64,
    /// What it brought to light.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<Excerpt>,
}

//! The end of a capture on one screen: what came from where, what is missing and why, how to
//! check it. Every figure is read back from the case.

use super::print;
use crate::failure::Failure;
use cleanroom_bundle::Exported;
use cleanroom_evidence::{
    CaseId, HostId, Outcome, SessionId, Sha256Digest, SourceOutcome, printable,
};
use cleanroom_store::Case;
use indicatif::HumanBytes;
use serde::Serialize;
use std::{path::PathBuf, time::Duration};

/// Reasons shown per source; the rest is in the bundle.
const REASONS: usize = 3;

/// What a capture gave.
#[derive(Debug, Serialize)]
pub struct Summary {
    case: CaseId,
    host: HostId,
    session: SessionId,
    sources: Vec<SourceOutcome>,
    items: u64,
    bytes: u64,
    seconds: f64,
    custody_entries: u64,
    custody_root: Sha256Digest,
    bundle: PathBuf,
    bundle_tagmanifest_sha256: Sha256Digest,
    verify: String,
}

impl Summary {
    /// Reads the latest session of the host.
    pub fn of(
        case: &Case,
        host: &HostId,
        exported: &Exported,
        took: Duration,
    ) -> Result<Self, Failure> {
        let reader = case.reader();
        let sessions = reader.sessions()?;
        let session = sessions
            .iter()
            .filter(|session| session.host == *host)
            .max_by_key(|session| (session.opened.utc, session.session.clone()))
            .ok_or_else(|| Failure::new(format!("there is no session of {host}")))?;
        let (mut items, mut bytes) = (0, 0);
        for item in reader.items(session)? {
            items += 1;
            bytes += item?.seal.length_bytes;
        }
        Ok(Self {
            case: reader.info().id.clone(),
            host: host.clone(),
            session: session.session.clone(),
            sources: reader.outcomes(session)?,
            items,
            bytes,
            seconds: took.as_secs_f64(),
            custody_entries: exported.custody_entries,
            custody_root: exported.custody_root,
            bundle: exported.path.clone(),
            bundle_tagmanifest_sha256: exported.tag_manifest,
            verify: format!("cleanroom verify {}", exported.path.display()),
        })
    }

    /// True when every source gave all that it could.
    pub fn is_whole(&self) -> bool {
        self.sources.iter().all(|end| end.outcome.is_whole())
    }
}

/// One screen for a person.
pub fn print_summary(summary: &Summary) {
    print(format_args!("Case     {}", summary.case));
    print(format_args!("Host     {}   session {}", summary.host, summary.session));
    print("");
    for end in &summary.sources {
        let name = printable(end.source.as_bytes());
        let head = format!(
            "  {name:<12} {:>6} items {:>11}",
            end.items,
            HumanBytes(end.bytes).to_string()
        );
        match &end.outcome {
            Outcome::Complete => print(format_args!("{head}  complete")),
            Outcome::Absent(why) => {
                print(format_args!("{head}  absent: {}", printable(why.as_bytes())));
            }
            Outcome::Failed(why) => {
                print(format_args!("{head}  FAILED: {}", printable(why.as_bytes())));
            }
            Outcome::Partial(gaps) => {
                print(format_args!("{head}  partial:"));
                for gap in gaps.iter().take(REASONS) {
                    let operation = printable(gap.operation.as_bytes());
                    let reason = printable(gap.reason.as_bytes());
                    let example = gap.examples.first().map(ToString::to_string);
                    let example: String = example.unwrap_or_default().chars().take(60).collect();
                    print(format_args!(
                        "      {} × {operation}: {reason}, e.g. {example}",
                        gap.count
                    ));
                }
                if gaps.len() > REASONS {
                    print(format_args!(
                        "      and {} more kinds, in the bundle",
                        gaps.len() - REASONS
                    ));
                }
            }
        }
    }
    print("");
    print(format_args!(
        "{} items, {} in {:.1} s; custody log of {} entries, root {}",
        summary.items,
        HumanBytes(summary.bytes),
        summary.seconds,
        summary.custody_entries,
        summary.custody_root
    ));
    print(format_args!("Bundle   {}", summary.bundle.display()));
    print(format_args!("Verify   {}", summary.verify));
}

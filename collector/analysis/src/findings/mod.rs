//! What an examiner should look at first, and on which lines of evidence that rests. A detection
//! is one file in `detections/` and one line in [`ALL`].
//!
//! A finding states what records say, with its false positives beside it; it never says that a
//! host is clean, and it never changes a record.

mod detections;
mod encoding;
mod engine;
mod finding;
mod labels;
mod names;
mod paths;
#[cfg(test)]
mod testing;

pub use engine::{Engine, TEXT_BYTES, is_text};
pub use finding::{Draft, Evidence, Excerpt, Finding, Gathered, Severity};

use crate::records::Record;
use cleanroom_evidence::ItemHeader;
use detections as d;

/// A kind of thing that is looked for.
pub trait Detection: Sync {
    /// What it is; for people, and for reports.
    fn about(&self) -> &'static About;

    /// A watch over one session.
    fn watch(&self) -> Box<dyn Watch>;
}

/// What a detection finds and how far to trust it.
#[derive(Debug)]
pub struct About {
    /// Stable id: `a-z`, `0-9`, `-`.
    pub id: &'static str,
    /// A few words.
    pub title: &'static str,
    /// The highest severity that it gives; the evidence may earn less.
    pub severity: Severity,
    /// What it finds.
    pub finds: &'static str,
    /// Why that matters.
    pub matters: &'static str,
    /// When it is harmless.
    pub false_positives: &'static str,
    /// A case in point.
    pub example: &'static str,
    /// MITRE ATT&CK technique ids.
    pub techniques: &'static [&'static str],
}

/// Looks at a session's evidence as it goes by. Bounded memory, whatever goes by.
pub trait Watch {
    /// One record.
    fn record(&mut self, _at: At<'_>, _record: &Record, _session: &Session) {}

    /// One line of a text of user data.
    fn text(&mut self, _at: At<'_>, _line: &[u8], _session: &Session) {}

    /// One item's header.
    fn item(&mut self, _at: At<'_>, _header: &ItemHeader) {}

    /// What was found; called once, at the end.
    fn end(&mut self) -> Vec<Draft>;
}

/// Where something stands.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The item's number in the session.
    pub item: u64,
    /// The record set, or the item's name; safe for a screen.
    pub set: &'a str,
    /// The line in the item, from 1.
    pub line: Option<u64>,
}

/// What detections know of the session.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// The agent's process id, as it gave it.
    pub agent_pid: Option<u64>,
    /// SHA-256 of the agent's program in hexadecimal, as it enrolled.
    pub agent_sha256: String,
}

impl Session {
    /// True for the agent's own process: the id that it gave, and its own program where the
    /// digest of the program is known. A host that claims another id hides nothing by it.
    pub fn is_agent(&self, process: &crate::records::Process) -> bool {
        let running = process.exe.0.as_ref().and_then(|exe| exe.sha256.str());
        self.agent_pid.is_some()
            && self.agent_pid == process.pid.0
            && running == Some(self.agent_sha256.as_str())
    }
}

/// Every detection, in the order of findings of equal severity.
pub static ALL: &[&dyn Detection] = &[
    &d::mining::MiningNames,
    &d::dns_exfiltration::DnsExfiltration,
    &d::hidden_process::HiddenProcess,
    &d::kernel_thread_disguise::KernelThreadDisguise,
    &d::missing_executable::MissingExecutable,
    &d::preloaded_library::PreloadedLibrary,
    &d::ld_so_preload::LdSoPreload,
    &d::user_data_every_boot::UserDataEveryBoot,
    &d::cron_frequent::CronFrequent,
    &d::cron_dormant::CronDormant,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_detection_says_what_it_is() {
        for (at, detection) in ALL.iter().enumerate() {
            let about = detection.about();
            let id = about.id;
            assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            assert!(ALL.iter().skip(at + 1).all(|other| other.about().id != id), "{id} twice");
            let texts =
                [about.title, about.finds, about.matters, about.false_positives, about.example];
            assert!(texts.iter().all(|text| text.len() >= 12), "{id} is terse");
            assert!(!about.techniques.is_empty(), "{id}");
            for technique in about.techniques {
                let digits = technique.strip_prefix('T').unwrap_or("x").replace('.', "");
                assert!(matches!(digits.len(), 4 | 7), "{technique}");
                assert!(digits.bytes().all(|b| b.is_ascii_digit()), "{technique}");
            }
            assert!(detection.watch().end().is_empty(), "{id} finds something in nothing");
        }
    }

    #[test]
    fn only_the_agents_own_program_is_the_agent() {
        let session = Session { agent_pid: Some(7), agent_sha256: "ab".into() };
        let process = |line: &str| crate::records::parse(line.as_bytes()).unwrap();
        assert!(session.is_agent(&process(r#"{"pid":7,"exe":{"sha256":"ab"}}"#)));
        assert!(!session.is_agent(&process(r#"{"pid":7,"exe":{"sha256":"cd"}}"#)));
        assert!(!session.is_agent(&process(r#"{"pid":7}"#)));
        assert!(!Session::default().is_agent(&process(r#"{"exe":{"sha256":""}}"#)));
    }
}

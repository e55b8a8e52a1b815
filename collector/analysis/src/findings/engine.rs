//! Leads a session's evidence past every detection. Never reads evidence itself: the caller hands
//! out headers, records and texts, one after the other.

use super::{ALL, At, Detection, Finding, Session, Watch};
use crate::records::Record;
use cleanroom_evidence::{HostId, ItemHeader, ItemKind, SessionId, printable};

/// Bytes of one text that are looked at.
pub const TEXT_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes of one line of a text that are looked at.
const TEXT_LINE_BYTES: usize = 64 * 1024;
/// Findings of one detection in one session.
const FINDINGS: usize = 200;

/// True for items whose bytes are a text of user data that [`Engine::text`] wants.
pub fn is_text(header: &ItemHeader) -> bool {
    header.kind == ItemKind::Raw && header.name.as_bytes().starts_with(b"user-data/")
}

/// All detections over one session.
pub struct Engine {
    session: Session,
    watches: Vec<(&'static dyn Detection, Box<dyn Watch>)>,
}

impl Engine {
    /// Begins a session.
    pub fn new(session: Session) -> Self {
        Self { session, watches: ALL.iter().map(|one| (*one, one.watch())).collect() }
    }

    /// One item's header.
    pub fn item(&mut self, seq: u64, header: &ItemHeader) {
        let set = printable(header.name.as_bytes());
        let at = At { item: seq, set: &set, line: None };
        self.watches.iter_mut().for_each(|(_, watch)| watch.item(at, header));
    }

    /// One line of a record set ([`Record::SETS`]). A line that is no record finds nothing.
    pub fn record(&mut self, set: &str, seq: u64, line: u64, bytes: &[u8]) {
        if let Some(record) = Record::parse(set, bytes) {
            let at = At { item: seq, set, line: Some(line) };
            for (_, watch) in &mut self.watches {
                watch.record(at, &record, &self.session);
            }
        }
    }

    /// The text of one item (see [`is_text`]), its first [`TEXT_BYTES`].
    pub fn text(&mut self, seq: u64, header: &ItemHeader, bytes: &[u8]) {
        let set = printable(header.name.as_bytes());
        for (number, line) in (1u64..).zip(bytes.split(|byte| *byte == b'\n')) {
            let line = line.get(..line.len().min(TEXT_LINE_BYTES)).unwrap_or_default();
            let at = At { item: seq, set: &set, line: Some(number) };
            for (_, watch) in &mut self.watches {
                watch.text(at, line, &self.session);
            }
        }
    }

    /// What was found, the most severe first.
    pub fn finish(self, host: &HostId, session: &SessionId) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (detection, mut watch) in self.watches {
            let about = detection.about();
            let mut drafts = watch.end();
            drafts.sort_by_key(|draft| std::cmp::Reverse(draft.severity));
            findings.extend(drafts.into_iter().take(FINDINGS).map(|draft| Finding {
                detection: about.id,
                severity: draft.severity.min(about.severity),
                title: draft.title,
                text: draft.text,
                false_positives: about.false_positives,
                techniques: about.techniques,
                host: host.clone(),
                session: session.clone(),
                evidence: draft.evidence.listed,
                evidence_total: draft.evidence.total,
                excerpt: draft.excerpt,
            }));
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Severity, testing};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_idle_clean_debian_gives_nothing_above_info() {
        let lines: Vec<(&str, &str)> = include_str!("testdata/clean-debian.txt")
            .lines()
            .filter_map(|line| line.split_once(' '))
            .collect();
        assert!(lines.len() > 40, "a host has more than that");
        for finding in testing::findings(&lines, &[]) {
            assert_eq!(finding.severity, Severity::Info, "{finding:?}");
        }
    }

    #[test]
    fn the_most_severe_first() {
        let lines = [
            ("processes", r#"{"pid":5,"exe":{"path":"/usr/sbin/sshd","deleted":true}}"#),
            ("processes", r#"{"pid":6,"comm":"xmrig","cmdline":["/tmp/xmrig"]}"#),
        ];
        let found = testing::findings(&lines, &[]);
        assert_eq!(found.first().unwrap().severity, Severity::Critical);
        assert_eq!(found.last().unwrap().severity, Severity::Info);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn never_panics(lines in proptest::collection::vec((0usize..5, "\\PC{0,60}"), 0..20),
            text in proptest::collection::vec(any::<u8>(), 0..400)) {
            let lines: Vec<_> = lines.iter().map(|(set, text)| {
                let value = serde_json::Value::from(text.as_str());
                let line = format!(
                    "{{\"pid\":{0},\"name\":{0},\"path\":{0},\"command\":{0},\"comm\":{0},\
                     \"place\":\"ld-preload\",\"cmdline\":[{0}],\"environ\":[{0}],\
                     \"direction\":\"query\",\"exe\":{{\"path\":{0},\"deleted\":true}}}}", value);
                (Record::SETS[*set], line)
            }).collect();
            let lines: Vec<_> = lines.iter().map(|(set, line)| (*set, line.as_str())).collect();
            for finding in testing::findings(&lines, &[&text]) {
                prop_assert!(!finding.text.chars().any(char::is_control), "{}", finding.text);
                prop_assert!(!finding.title.chars().any(char::is_control));
            }
        }
    }
}

//! `bagit.txt` and `bag-info.txt` (RFC 8493, sections 2.1.1 and 2.2.2): one `Label: value` a line,
//! never folded. Free text is made printable, so that it can neither end a line nor colour a
//! screen.

use cleanroom_evidence::{CaseId, Timestamp, printable};

/// The whole of `bagit.txt`.
pub const BAGIT_TXT: &str = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";

const CASE: &str = "External-Identifier";
const EXPORTED: &str = "Cleanroom-Exported-At";
const OXUM: &str = "Payload-Oxum";

/// Longest free text in a value, in bytes before escaping.
const LONGEST_TEXT: usize = 2000;

/// What `bag-info.txt` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BagInfo {
    /// Who answers for the bag.
    pub organization: String,
    /// One line about the case.
    pub description: String,
    /// The case.
    pub case: CaseId,
    /// When the export began, in whole seconds; every member of the tar carries it.
    pub exported: Timestamp,
    /// The program that wrote it and its version.
    pub software: String,
    /// Bytes of the payload.
    pub payload_bytes: u64,
    /// Files of the payload.
    pub payload_files: u64,
}

impl BagInfo {
    /// The file's text.
    pub fn to_text(&self) -> String {
        let exported = self.exported.to_string();
        let date = exported.split('T').next().unwrap_or_default();
        let oxum = format!("{}.{}", self.payload_bytes, self.payload_files);
        [
            ("Source-Organization", one_line(&self.organization)),
            (CASE, self.case.to_string()),
            ("External-Description", one_line(&self.description)),
            ("Bagging-Date", date.to_owned()),
            (EXPORTED, exported.clone()),
            ("Bag-Software-Agent", one_line(&self.software)),
            (OXUM, oxum),
        ]
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(label, value)| format!("{label}: {value}\n"))
        .collect()
    }
}

/// The facts that the verifier needs from a `bag-info.txt`: case, export time, payload bytes and
/// files. `None` where one is missing, doubled or not in the form that [`BagInfo::to_text`] writes.
pub fn parse(text: &str) -> Option<(CaseId, Timestamp, u64, u64)> {
    let one = |wanted: &str| {
        let mut values = text
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(label, _)| *label == wanted)
            .map(|(_, value)| value);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    };
    let (bytes, files) = one(OXUM)?.split_once('.')?;
    Some((
        one(CASE)?.parse().ok()?,
        one(EXPORTED)?.parse().ok()?,
        bytes.parse().ok()?,
        files.parse().ok()?,
    ))
}

fn one_line(text: &str) -> String {
    let bytes = text.as_bytes();
    printable(bytes.get(..LONGEST_TEXT).unwrap_or(bytes)).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> BagInfo {
        BagInfo {
            organization: "ACME\nPayload-Oxum: 0.0".into(),
            description: String::new(),
            case: "case-1".parse().unwrap(),
            exported: Timestamp::new(1_700_000_000, 0),
            software: "cleanroom 0.1.0".into(),
            payload_bytes: 12,
            payload_files: 3,
        }
    }

    #[test]
    fn free_text_cannot_add_a_line() {
        let text = info().to_text();
        assert!(text.starts_with("Source-Organization: ACME\\x0aPayload-Oxum: 0.0\n"));
        assert!(text.contains("\nBagging-Date: 2023-11-14\n"));
        assert!(!text.contains("External-Description"));
        let (case, exported, bytes, files) = parse(&text).unwrap();
        assert_eq!((case.as_str(), exported, bytes, files), ("case-1", info().exported, 12, 3));
    }

    #[test]
    fn a_doubled_label_is_refused() {
        let text = info().to_text();
        assert!(parse(&format!("{text}Payload-Oxum: 0.0\n")).is_none());
        assert!(parse("").is_none());
    }
}

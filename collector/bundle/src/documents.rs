//! Files of a bundle that are made from the case as a whole: one line each in [`ALL`].

use crate::{BundleError, report, timesketch, view::CaseView};
use std::io::Write;

/// One such file.
pub struct Document {
    /// Its path in the bundle, under `data/`.
    pub path: &'static str,
    /// Writes it; in memory it keeps no more than one item's facts at a time where it can.
    pub write: fn(&CaseView<'_>, &mut dyn Write) -> Result<(), BundleError>,
}

/// Every document.
pub static ALL: &[Document] = &[
    Document { path: "data/case.json", write: case },
    Document { path: "data/findings.jsonl", write: report::write_findings },
    Document { path: "data/report.html", write: report::write },
    Document { path: "data/timeline/timesketch.jsonl", write: timesketch::write },
];

fn case(view: &CaseView<'_>, out: &mut dyn Write) -> Result<(), BundleError> {
    serde_json::to_writer_pretty(&mut *out, view.info())?;
    Ok(out.write_all(b"\n")?)
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_are_safe_and_unique() {
        for (at, document) in super::ALL.iter().enumerate() {
            let path = document.path;
            assert!(crate::bag::path::is_safe(path) && path.starts_with("data/"), "{path}");
            assert!(!path.starts_with("data/hosts/") && !path.starts_with("data/certificates/"));
            assert!(super::ALL.iter().skip(at + 1).all(|other| other.path != path), "{path}");
        }
    }
}

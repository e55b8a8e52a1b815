//! Something mounted over a process's folder in `/proc`.

use super::{command, count, process_name};
use crate::{
    findings::{
        About, At, Detection, Draft, Evidence, Session, Severity, Watch, finding::Gathered,
    },
    records::Record,
};

/// See the module.
pub struct HiddenProcess;

static ABOUT: About = About {
    id: "hidden-process",
    title: "A process hidden by a mount over its /proc folder",
    severity: Severity::Critical,
    finds: "A process whose folder in the host's /proc is covered by another mount.",
    matters: "Tools on the host do not see it. Nothing but an intruder has a reason for that.",
    false_positives: "A sandbox that covers single processes on purpose; none is known.",
    example: "mount --bind /tmp/empty /proc/4711",
    techniques: &["T1564", "T1014"],
};

impl Detection for HiddenProcess {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Watching::default())
    }
}

#[derive(Default)]
struct Watching(Gathered);

impl Watch for Watching {
    fn record(&mut self, at: At<'_>, record: &Record, _: &Session) {
        if let Record::Process(process) = record
            && process.covered_by_mount.yes()
        {
            self.0.add(|| {
                let shows = format!("{}: {}", process_name(process), command(process));
                Evidence::new(at, &["covered_by_mount"], shows)
            });
        }
    }

    fn end(&mut self) -> Vec<Draft> {
        let found = std::mem::take(&mut self.0);
        if found.total == 0 {
            return Vec::new();
        }
        let many = count(found.total, "process is", "processes are");
        let title = format!("{many} hidden by a mount over /proc");
        let text =
            format!("Seen only because the agent reads a /proc of its own: {}.", found.summary(5));
        vec![Draft::new(Severity::Critical, title, text, found)]
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::{Severity, testing};

    #[test]
    fn covered_and_not() {
        let lines = [
            ("processes", r#"{"pid":9,"comm":"sh","covered_by_mount":true,"cmdline":["sh"]}"#),
            ("processes", r#"{"pid":8,"comm":"sh","covered_by_mount":false}"#),
        ];
        let found = testing::of("hidden-process", &lines, &[]);
        assert_eq!((found[0].severity, found[0].evidence_total), (Severity::Critical, 1));
        assert!(found[0].text.contains("process 9 (sh)"));
        assert!(testing::of("hidden-process", &lines[1..], &[]).is_empty());
    }
}

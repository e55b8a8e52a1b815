//! Running programs whose file is gone, or that never had one.

use super::{BySeverity, count, process_name};
use crate::{
    findings::{
        About, At, Detection, Draft, Evidence, Session, Severity, Watch,
        paths::{Standing, standing},
    },
    records::{Exe, Record},
};

/// See the module.
pub struct MissingExecutable;

static ABOUT: About = About {
    id: "missing-executable",
    title: "A running program without its file",
    severity: Severity::High,
    finds: "Processes whose executable was deleted while it runs, or lives in memory only \
            (memfd_create).",
    matters: "Intruders delete what they run, or never write it, so that nothing is left to find. \
              The digest is that of the running program itself.",
    false_positives: "An upgrade replaces programs that run (below the folders of packages: info). \
                      Container runtimes run a copy of themselves from memory (runc: low). The \
                      responder's own agent.",
    example: "/dev/shm/x started and removed",
    techniques: &["T1070.004", "T1620"],
};

impl Detection for MissingExecutable {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Watching::default())
    }
}

#[derive(Default)]
struct Watching(BySeverity);

fn severity(exe: &Exe, agent: bool) -> Severity {
    let path = exe.path.bytes();
    let known = path.starts_with(b"/memfd:runc_cloned") || path.starts_with(b"/memfd:crun_cloned");
    match (exe.memfd.yes() || path.starts_with(b"/memfd:"), standing(path)) {
        _ if agent => Severity::Info,
        (true, _) if known => Severity::Low,
        (true, _) => Severity::High,
        (false, Standing::Package) => Severity::Info,
        (false, Standing::Local) => Severity::Medium,
        (false, Standing::Unusual | Standing::Temporary) => Severity::High,
    }
}

impl Watch for Watching {
    fn record(&mut self, at: At<'_>, record: &Record, session: &Session) {
        let Record::Process(process) = record else { return };
        let Some(exe) = &process.exe.0 else { return };
        if !exe.deleted.yes() && !exe.memfd.yes() {
            return;
        }
        let agent = session.is_agent(process);
        self.0.of(severity(exe, agent)).add(|| {
            let how = if exe.memfd.yes() { "runs from memory" } else { "runs a deleted file" };
            let who = if agent { " – the responder's own agent" } else { "" };
            let shows = format!("{} {how}: {}{who}", process_name(process), exe.path.shown(160));
            Evidence::new(at, &["exe"], shows)
        });
    }

    fn end(&mut self) -> Vec<Draft> {
        let draft = |(severity, found): (Severity, crate::findings::Gathered)| {
            let many = count(found.total, "process runs", "processes run");
            let title = match severity {
                Severity::Info => format!("{many} a program that was replaced or is ours"),
                _ => format!("{many} without an executable file"),
            };
            let text = format!("{}.", found.summary(5));
            Draft::new(severity, title, text, found)
        };
        self.0.take().map(draft).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::{Severity, testing};

    fn severities(exe: &str) -> Vec<Severity> {
        let line = format!(r#"{{"pid":7,"comm":"x","exe":{exe}}}"#);
        testing::of("missing-executable", &[("processes", &line)], &[])
            .iter()
            .map(|finding| finding.severity)
            .collect()
    }

    #[test]
    fn the_place_decides() {
        use Severity::*;
        assert_eq!(severities(r#"{"path":"/tmp/x","deleted":true}"#), [High]);
        assert_eq!(severities(r#"{"path":"/opt/app/x","deleted":true}"#), [Medium]);
        assert_eq!(severities(r#"{"path":"/usr/sbin/sshd","deleted":true}"#), [Info]);
        assert_eq!(severities(r#"{"path":"/memfd:x","deleted":true,"memfd":true}"#), [High]);
        assert_eq!(
            severities(
                r#"{"path":"/memfd:runc_cloned:/proc/self/exe","deleted":true,"memfd":true}"#
            ),
            [Low]
        );
        assert_eq!(severities(r#"{"path":"/tmp/x","deleted":false}"#), []);
    }

    #[test]
    fn the_agent_is_known_by_its_digest_not_by_its_word() {
        let line = |sha256: &str| {
            format!(
                r#"{{"pid":4242,"exe":{{"path":"/memfd:a","memfd":true,"sha256":"{sha256}"}}}}"#
            )
        };
        let of = |sha256: &str| {
            testing::of("missing-executable", &[("processes", &line(sha256))], &[])[0].severity
        };
        assert_eq!((of(&"aa".repeat(32)), of(&"bb".repeat(32))), (Severity::Info, Severity::High));
    }
}

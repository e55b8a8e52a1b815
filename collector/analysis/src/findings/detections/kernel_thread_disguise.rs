//! A program that calls itself what kernel threads are called.

use super::{count, process_name};
use crate::{
    findings::{
        About, At, Detection, Draft, Evidence, Session, Severity, Watch, finding::Gathered,
    },
    records::{Process, Record},
};

/// See the module.
pub struct KernelThreadDisguise;

static ABOUT: About = About {
    id: "kernel-thread-disguise",
    title: "A program that poses as a kernel thread",
    severity: Severity::High,
    finds: "A process that is no kernel thread but whose first argument is in brackets, or whose \
            name is that of a kernel thread while its arguments are gone.",
    matters: "ps shows kernel threads in brackets; a program that wears them wants to be passed over.",
    false_positives: "A program that shows its state in brackets as its title.",
    example: "exec -a '[kworker/u4:2]' /dev/shm/x",
    techniques: &["T1036.004", "T1036.005"],
};

/// Beginnings of names that the kernel gives its threads.
const THREADS: &[&str] = &[
    "kworker/",
    "kthreadd",
    "ksoftirqd/",
    "migration/",
    "rcu_",
    "kswapd",
    "watchdog/",
    "kcompactd",
    "khugepaged",
    "jbd2/",
    "xfsaild/",
    "kdevtmpfs",
    "netns",
    "cpuhp/",
    "idle_inject/",
    "kauditd",
    "oom_reaper",
    "irq/",
    "scsi_eh_",
    "kblockd",
    "writeback",
    "ext4-rsv-conver",
    "nvme-",
];

impl Detection for KernelThreadDisguise {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Watching::default())
    }
}

#[derive(Default)]
struct Watching(Gathered);

/// Why it poses, and the column that says so.
fn poses(process: &Process) -> Option<(&'static str, String)> {
    // A zombie keeps only its name, in brackets on every screen; of one that ended midway the
    // arguments are lost.
    let ended = matches!(process.state.bytes(), b"Z" | b"X") || process.exited_midway.yes();
    if process.kernel_thread.0 != Some(false) || ended {
        return None;
    }
    let first = process.cmdline.items.first();
    let title = first.map_or(&[][..], |word| word.bytes().trim_ascii());
    if title.len() > 2 && title.starts_with(b"[") && title.ends_with(b"]") {
        return Some(("cmdline", format!("shows itself as {}", first?.shown(60))));
    }
    let wiped = process.cmdline.items.iter().all(|word| word.bytes().trim_ascii().is_empty());
    let known = THREADS.iter().any(|name| process.comm.bytes().starts_with(name.as_bytes()));
    let runs = process.exe.0.is_some();
    (wiped && known && runs).then(|| ("comm", "has a kernel thread's name and no arguments".into()))
}

impl Watch for Watching {
    fn record(&mut self, at: At<'_>, record: &Record, _: &Session) {
        let Record::Process(process) = record else { return };
        let Some((field, why)) = poses(process) else { return };
        let exe = process.exe.0.as_ref().map_or_else(|| "?".into(), |exe| exe.path.shown(120));
        let fields = ["kernel_thread", field, "exe"];
        self.0.add(|| {
            Evidence::new(at, &fields, format!("{} {why} and runs {exe}", process_name(process)))
        });
    }

    fn end(&mut self) -> Vec<Draft> {
        let found = std::mem::take(&mut self.0);
        if found.total == 0 {
            return Vec::new();
        }
        let title = count(found.total, "process poses", "processes pose") + " as a kernel thread";
        let text = format!("{}.", found.summary(5));
        vec![Draft::new(Severity::High, title, text, found)]
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::{Severity, testing};

    #[test]
    fn disguises() {
        let lines = [
            (
                "processes",
                r#"{"pid":9,"comm":"x","state":"S","kernel_thread":false,"cmdline":["[kthreadd]"],"exe":{"path":"/dev/shm/x"}}"#,
            ),
            (
                "processes",
                r#"{"pid":8,"comm":"kworker/u4:2","state":"S","kernel_thread":false,"cmdline":[],"exe":{"path":"/tmp/y"}}"#,
            ),
        ];
        let found = testing::of("kernel-thread-disguise", &lines, &[]);
        assert_eq!((found[0].severity, found[0].evidence_total), (Severity::High, 2));
        assert!(found[0].text.contains("shows itself as [kthreadd] and runs /dev/shm/x"));
    }

    #[test]
    fn real_threads_zombies_and_plain_programs_are_silent() {
        let lines = [
            (
                "processes",
                r#"{"pid":2,"comm":"kthreadd","state":"S","kernel_thread":true,"cmdline":[]}"#,
            ),
            (
                "processes",
                r#"{"pid":3,"comm":"kworker/0:1","state":"Z","kernel_thread":false,"cmdline":[]}"#,
            ),
            (
                "processes",
                r#"{"pid":4,"comm":"sh","kernel_thread":false,"cmdline":["[","x","]"],"exe":{"path":"/usr/bin/["}}"#,
            ),
            (
                "processes",
                r#"{"pid":5,"comm":"(sd-pam)","kernel_thread":false,"cmdline":["(sd-pam)"]}"#,
            ),
            ("processes", r#"{"pid":6,"comm":"kworker/0:1"}"#),
        ];
        assert!(testing::of("kernel-thread-disguise", &lines, &[]).is_empty());
    }
}

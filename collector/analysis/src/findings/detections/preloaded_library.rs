//! Libraries that are pushed into processes.

use super::{BySeverity, count, process_name};
use crate::{
    findings::{
        About, At, Detection, Draft, Evidence, Session, Severity, Watch,
        paths::{Standing, standing},
    },
    records::{Process, Record},
};

/// See the module.
pub struct PreloadedLibrary;

static ABOUT: About = About {
    id: "preloaded-library",
    title: "A library pushed into a process",
    severity: Severity::High,
    finds: "LD_PRELOAD or LD_AUDIT in a process's environment, and libraries mapped for execution \
            from temporary, hidden or unknown folders.",
    matters: "Such a library sees and changes what the program does: it hides files, steals \
              passwords, keeps a back door.",
    false_positives: "Allocators and shims from packages (jemalloc, libfaketime, fakeroot: info); \
                      language runtimes that unpack their native parts to /tmp (medium).",
    example: "LD_PRELOAD=/dev/shm/.l/libx.so in the environment of sshd",
    techniques: &["T1574.006", "T1014"],
};

/// Libraries looked at in one process.
const LIBRARIES: usize = 1024;

impl Detection for PreloadedLibrary {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Watching::default())
    }
}

#[derive(Default)]
struct Watching(BySeverity);

/// The libraries that the environment names (ld.so(8): split at spaces and colons).
fn named(process: &Process) -> Vec<Vec<u8>> {
    let value = |setting: &[u8]| {
        let value = setting.strip_prefix(b"LD_PRELOAD=").or(setting.strip_prefix(b"LD_AUDIT="));
        value.map(<[u8]>::to_vec)
    };
    let settings = process.environ.items.iter().filter_map(|setting| value(setting.bytes()));
    let split = |value: Vec<u8>| -> Vec<Vec<u8>> {
        let words = value.split(|byte| matches!(byte, b' ' | b':' | b'\t'));
        words.filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect()
    };
    settings.flat_map(split).take(64).collect()
}

fn severity(library: &[u8]) -> Severity {
    // A bare name is looked up in the system's own folders.
    if !library.contains(&b'/') {
        return Severity::Info;
    }
    match standing(library) {
        Standing::Package => Severity::Info,
        Standing::Local => Severity::Medium,
        Standing::Unusual | Standing::Temporary => Severity::High,
    }
}

impl Watch for Watching {
    fn record(&mut self, at: At<'_>, record: &Record, session: &Session) {
        let Record::Process(process) = record else { return };
        if session.is_agent(process) {
            return;
        }
        let maps = process.maps.0.as_ref();
        let libraries = maps.map_or(&[][..], |maps| maps.libraries.items.as_slice());
        let named = named(process);
        if let Some(worst) = named.iter().max_by_key(|library| severity(library)) {
            let loaded = libraries.iter().any(|library| library.bytes() == worst.as_slice());
            let is = if loaded { "and has loaded it" } else { "(not among its mapped libraries)" };
            self.0.of(severity(worst)).add(|| {
                let library = crate::records::lenient::shown(worst, 120);
                let shows = format!("{} is told to preload {library} {is}", process_name(process));
                Evidence::new(at, &["environ", "maps"], shows)
            });
            return;
        }
        let exe = process.exe.0.as_ref().map_or(&[][..], |exe| exe.path.bytes());
        let own = |path: &[u8]| path == exe || path.strip_suffix(b" (deleted)") == Some(exe);
        let odd = libraries.iter().take(LIBRARIES).find(|library| {
            let path = library.bytes();
            let odd = matches!(standing(path), Standing::Unusual | Standing::Temporary);
            odd && !own(path) && path.starts_with(b"/") && !path.starts_with(b"/dev/zero")
        });
        if let Some(library) = odd {
            self.0.of(Severity::Medium).add(|| {
                let library = library.shown(120);
                let shows = format!("{} has mapped {library} for execution", process_name(process));
                Evidence::new(at, &["maps"], shows)
            });
        }
    }

    fn end(&mut self) -> Vec<Draft> {
        let draft = |(severity, found): (Severity, crate::findings::Gathered)| {
            let title = count(found.total, "process has", "processes have");
            let text = format!("{}.", found.summary(5));
            Draft::new(severity, title + " a library pushed in", text, found)
        };
        self.0.take().map(draft).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::{Severity, testing};

    fn of(line: &str) -> Vec<(Severity, String)> {
        let found = testing::of("preloaded-library", &[("processes", line)], &[]);
        found.into_iter().map(|finding| (finding.severity, finding.text)).collect()
    }

    #[test]
    fn environment_and_maps() {
        let found = of(
            r#"{"pid":7,"comm":"sshd","environ":["A=b","LD_PRELOAD=libc.so.6:/dev/shm/.l/x.so"],"maps":{"libraries":["/dev/shm/.l/x.so"]}}"#,
        );
        assert_eq!(found[0].0, Severity::High);
        assert!(found[0].1.contains("/dev/shm/.l/x.so and has loaded it"), "{found:?}");
        let found = of(
            r#"{"pid":7,"exe":{"path":"/usr/bin/java"},"maps":{"libraries":["/usr/bin/java","/tmp/libsnappy.so"]}}"#,
        );
        assert_eq!(found[0].0, Severity::Medium);
        let found =
            of(r#"{"pid":7,"environ":["LD_PRELOAD=/usr/lib/x86_64-linux-gnu/libjemalloc.so.2"]}"#);
        assert_eq!(found[0].0, Severity::Info);
    }

    #[test]
    fn ordinary_processes_are_silent() {
        assert!(
            of(r#"{"pid":7,"environ":["LD_LIBRARY_PATH=/x","XLD_PRELOAD=/tmp/x","LD_PRELOAD="]}"#)
                .is_empty()
        );
        assert!(of(r#"{"pid":7,"exe":{"path":"/tmp/build/run","deleted":true},"maps":{"libraries":["/tmp/build/run (deleted)","/usr/lib/libc.so.6"]}}"#).is_empty());
    }
}

//! `/etc/ld.so.preload`.

use crate::{
    findings::{
        About, At, Detection, Draft, Evidence, Session, Severity, Watch,
        finding::Gathered,
        paths::{Standing, standing},
    },
    records::Record,
};

/// See the module.
pub struct LdSoPreload;

static ABOUT: About = About {
    id: "ld-so-preload",
    title: "/etc/ld.so.preload is not empty",
    severity: Severity::High,
    finds: "A file /etc/ld.so.preload that names libraries.",
    matters: "The loader puts these libraries into every program of the host (ld.so(8)); user-mode \
              rootkits hide files, processes and connections in this way.",
    false_positives: "Some monitoring and memory-allocation products use it (libraries below the \
                      folders of packages: medium).",
    example: "/usr/local/lib/libprocesshider.so in /etc/ld.so.preload",
    techniques: &["T1574.006", "T1014"],
};

impl Detection for LdSoPreload {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Watching::default())
    }
}

#[derive(Default)]
struct Watching {
    found: Gathered,
    packaged: bool,
}

impl Watch for Watching {
    fn record(&mut self, at: At<'_>, record: &Record, _: &Session) {
        let Record::Persistence(place) = record else { return };
        let size = place.file.0.as_ref().and_then(|file| file.size_bytes.0).unwrap_or(0);
        // A size alone may be blank lines or comments; what it names is in `runs`.
        if place.place.bytes() != b"ld-preload" || (size == 0 && place.link_target.is_empty()) {
            return;
        }
        let mut words = place.runs.bytes().split(u8::is_ascii_whitespace);
        let packaged = !place.runs.is_empty()
            && words.all(|word| word.is_empty() || standing(word) == Standing::Package);
        self.packaged = packaged && (self.packaged || self.found.total == 0);
        self.found.add(|| {
            let names = match place.runs.is_empty() {
                true => format!("{size} bytes"),
                false => place.runs.shown(200),
            };
            let shows = format!("{} names {names}", place.path.shown(80));
            Evidence::new(at, &["file", "runs"], shows)
        });
    }

    fn end(&mut self) -> Vec<Draft> {
        let found = std::mem::take(&mut self.found);
        if found.total == 0 {
            return Vec::new();
        }
        let severity = if self.packaged { Severity::Medium } else { Severity::High };
        let text = format!("{}: the loader puts that into every program.", found.summary(3));
        vec![Draft::new(severity, ABOUT.title.to_owned(), text, found)]
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::{Severity, testing};

    fn of(line: &str) -> Vec<Severity> {
        let found = testing::of("ld-so-preload", &[("persistence", line)], &[]);
        found.iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn named_and_empty() {
        let line = |runs: &str, size: u32| {
            format!(
                r#"{{"path":"/etc/ld.so.preload","place":"ld-preload","runs":"{runs}","file":{{"size_bytes":{size}}}}}"#
            )
        };
        assert_eq!(of(&line("/usr/local/lib/libprocesshider.so", 34)), [Severity::High]);
        assert_eq!(of(&line("/usr/lib/libx.so", 17)), [Severity::Medium]);
        assert_eq!(of(&line("/usr/lib/a.so /tmp/b.so", 23)), [Severity::High]);
        assert_eq!(of(&line("", 5)), [Severity::High]);
        assert_eq!(of(&line("", 0)), []);
        assert_eq!(of(r#"{"path":"/etc/profile","place":"profile","file":{"size_bytes":9}}"#), []);
    }
}

//! User data and cloud-init scripts that run again at every boot.

use super::count;
use crate::{
    findings::{
        About, At, Detection, Draft, Evidence, Session, Severity, Watch, finding::Gathered,
    },
    records::lenient::shown,
};
use cleanroom_evidence::{ItemHeader, ItemKind};

/// See the module.
pub struct UserDataEveryBoot;

static ABOUT: About = About {
    id: "user-data-every-boot",
    title: "User data that runs at every boot",
    severity: Severity::High,
    finds: "Cloud configuration that sets a module to `always` (scripts-user, runcmd), boothooks, \
            bootcmd, and scripts in cloud-init's per-boot folder.",
    matters: "cloud-init runs user data once per instance unless told otherwise. Whoever may change \
              user data (ec2:ModifyInstanceAttribute) gets root at each boot, without a trace on \
              the disk before it.",
    false_positives: "Images whose owners run a step at each boot: boothooks (medium), bootcmd and \
                      per-boot scripts (low).",
    example: "cloud_final_modules: [[scripts-user, always]]",
    techniques: &["T1037", "T1059.004", "T1578"],
};

const PER_BOOT: &[u8] = b"/var/lib/cloud/scripts/per-boot/";
/// Modules that run what the user data say.
const MODULES: [&str; 6] = [
    "scripts-user",
    "scripts_user",
    "scripts-vendor",
    "scripts_vendor",
    "runcmd",
    "scripts-per-instance",
];

const WAYS: [(Severity, &str); 4] = [
    (Severity::High, "Cloud configuration makes user data run at every boot"),
    (Severity::Medium, "A boothook runs at every boot"),
    (Severity::Low, "bootcmd runs at every boot"),
    (Severity::Low, "cloud-init runs scripts at every boot"),
];

impl Detection for UserDataEveryBoot {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Watching::default())
    }
}

#[derive(Default)]
struct Watching {
    ways: [Gathered; 4],
    /// A module that was named just before, and in which item: YAML may put `always` on the next
    /// line.
    module: Option<(u64, u64)>,
}

impl Watching {
    fn add(&mut self, way: usize, at: At<'_>, fields: &[&'static str], shows: String) {
        if let Some(gathered) = self.ways.get_mut(way) {
            gathered.add(|| Evidence::new(at, fields, shows));
        }
    }
}

impl Watch for Watching {
    fn text(&mut self, at: At<'_>, line: &[u8], _: &Session) {
        let text = String::from_utf8_lossy(line.get(..line.len().min(4096)).unwrap_or_default());
        let trimmed = text.trim();
        if trimmed.starts_with("#cloud-boothook") {
            self.add(1, at, &[], shown(trimmed.as_bytes(), 120));
            return;
        }
        if trimmed.starts_with("bootcmd:") {
            self.add(2, at, &[], shown(trimmed.as_bytes(), 120));
            return;
        }
        let words = trimmed.split('#').next().unwrap_or_default();
        let words = words
            .split(|c: char| c.is_whitespace() || "[],'\"".contains(c))
            .filter(|word| !word.is_empty() && *word != "-");
        for word in words {
            let line = at.line.unwrap_or(0);
            if MODULES.contains(&word) {
                self.module = Some((at.item, line));
            } else if word == "always" {
                let near = self.module.take().is_some_and(|(item, named)| {
                    item == at.item && line.saturating_sub(named) <= 1
                });
                if near {
                    self.add(0, at, &[], shown(trimmed.as_bytes(), 120));
                }
            } else {
                self.module = None;
            }
        }
    }

    fn item(&mut self, at: At<'_>, header: &ItemHeader) {
        let name = header.name.as_bytes();
        let script = name.strip_prefix(PER_BOOT).is_some_and(|script| !script.is_empty());
        let regular =
            header.file.as_ref().is_some_and(|f| f.kind == cleanroom_evidence::FileKind::Regular);
        if header.kind == ItemKind::File && script && regular {
            self.add(3, at, &["name"], shown(name, 200));
        }
    }

    fn end(&mut self) -> Vec<Draft> {
        let ways = std::mem::take(&mut self.ways);
        let found = ways.into_iter().zip(WAYS).filter(|(gathered, _)| gathered.total > 0);
        let draft = |(gathered, (severity, title)): (Gathered, (Severity, &str))| {
            let places = count(gathered.total, "place", "places");
            let text = format!("In {places}: {}.", gathered.summary(3));
            Draft::new(severity, title.to_owned(), text, gathered)
        };
        found.map(draft).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::{Engine, Session, Severity, testing};
    use cleanroom_evidence::{FileMeta, ItemKind};

    const SEED: &[u8] =
        include_bytes!("../../../../../agent/sources/tests/data/seed-user-data.txt");

    fn of(text: &str) -> Vec<Severity> {
        let found = testing::of("user-data-every-boot", &[], &[text.as_bytes()]);
        found.iter().map(|finding| finding.severity).collect()
    }

    #[test]
    fn the_seed_and_other_forms() {
        let found = testing::of("user-data-every-boot", &[], &[SEED]);
        assert_eq!((found.len(), found[0].severity), (1, Severity::High));
        assert_eq!(found[0].evidence[0].line, Some(12));
        assert!(found[0].text.contains("[scripts-user, always]"), "{}", found[0].text);
        assert_eq!(
            of("cloud_final_modules:\n - - 'scripts_user'\n   - always\n"),
            [Severity::High]
        );
        assert_eq!(of("#cloud-boothook\n#!/bin/sh\n"), [Severity::Medium]);
        assert_eq!(of("#cloud-config\nbootcmd:\n - ls\n"), [Severity::Low]);
    }

    #[test]
    fn per_boot_scripts() {
        let mut engine = Engine::new(Session::default());
        for name in
            ["/var/lib/cloud/scripts/per-boot/x.sh", "/var/lib/cloud/scripts/per-instance/y"]
        {
            let mut header = testing::header(ItemKind::File, name.as_bytes());
            header.file = Some(FileMeta::default());
            engine.item(3, &header);
        }
        let found = engine.finish(&"h".parse().unwrap(), &"s".parse().unwrap());
        assert_eq!((found.len(), found[0].evidence_total), (1, 1));
        assert_eq!((found[0].severity, found[0].evidence[0].line), (Severity::Low, None));
    }

    #[test]
    fn what_runs_once_is_silent() {
        assert!(
            of("#cloud-config\ncloud_final_modules:\n - scripts-user\n - [power-state, always]\n")
                .is_empty()
        );
        assert!(of("#cloud-config\nruncmd:\n - [ls]\npackage_update: true\n").is_empty());
        assert!(of("# [scripts-user, always]\necho we always win\n").is_empty());
    }
}

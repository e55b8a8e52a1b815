//! Names of miners and pools in DNS, running programs, cron, startup files and user data.

use super::{command, count, process_name};
use crate::{
    findings::{
        About, At, Detection, Draft, Evidence, Session, Severity, Watch, finding::Gathered, names,
    },
    records::{
        Record,
        lenient::{Text, shown},
    },
};
use std::collections::BTreeSet;

/// See the module.
pub struct MiningNames;

static ABOUT: About = About {
    id: "mining-names",
    title: "Names of cryptocurrency miners or pools",
    severity: Severity::Critical,
    finds: "Names from a list of known miners, mining pools and hosts that served miners, in DNS \
            queries and caches, processes, cron jobs, startup files and user data.",
    matters: "A host that mines for somebody else was taken over; whoever did so may do more.",
    false_positives: "Tools and lists of defenders that name miners; a query by a person who looks \
                      a name up; a miner that the owner runs.",
    example: "dig xmr-eu1.nanopool.org from a script that cron starts every 15 minutes",
    techniques: &["T1496"],
};

/// A sort of place where names stand; each makes a finding of its own.
#[derive(Clone, Copy)]
enum Place {
    Dns,
    Running,
    Named,
    Cron,
    Startup,
    UserData,
}

const PLACES: [(Place, Severity, &str); 6] = [
    (Place::Dns, Severity::High, "DNS names of miners or mining pools"),
    (Place::Running, Severity::Critical, "A miner is running"),
    (Place::Named, Severity::High, "Processes name miners or mining pools"),
    (Place::Cron, Severity::High, "Cron jobs name miners or mining pools"),
    (Place::Startup, Severity::High, "Startup files name miners or mining pools"),
    (Place::UserData, Severity::High, "User data names miners or mining pools"),
];

#[derive(Default)]
struct Found {
    gathered: Gathered,
    names: BTreeSet<String>,
}

/// Different names that a finding lists.
const NAMES: usize = 64;

#[derive(Default)]
struct Watching([Found; 6]);

impl Detection for MiningNames {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Watching::default())
    }
}

impl Watching {
    fn look(&mut self, place: Place, text: &[u8], evidence: impl FnOnce(&str) -> Evidence) -> bool {
        let Some(known) = names::find(text) else { return false };
        if let Some(found) = self.0.get_mut(place as usize) {
            if found.names.len() < NAMES {
                let name = match place {
                    Place::Dns => shown(text, 80).to_ascii_lowercase(),
                    _ => known.name.to_owned(),
                };
                found.names.insert(name);
            }
            found.gathered.add(|| evidence(known.what));
        }
        true
    }

    fn dns(&mut self, at: At<'_>, name: &Text, by: &str) {
        self.look(Place::Dns, name.bytes(), |what| {
            Evidence::new(at, &["name"], format!("{}{by} – {what}", name.shown(120)))
        });
    }
}

impl Watch for Watching {
    fn record(&mut self, at: At<'_>, record: &Record, session: &Session) {
        match record {
            Record::Dns(dns) if dns.direction.bytes() == b"query" => {
                let process = dns.process.0.as_ref();
                let by = process.map_or_else(String::new, |process| {
                    let pid = process.pid.0.map_or_else(|| "?".into(), |pid| pid.to_string());
                    format!(" asked by process {pid} ({})", process.comm.shown(40))
                });
                self.dns(at, &dns.name, &by);
            }
            Record::DnsCache(cache) => self.dns(at, &cache.name, " in the resolver's cache"),
            Record::Process(process) if !session.is_agent(process) => {
                let exe = process.exe.0.as_ref().map_or(&[][..], |exe| exe.path.bytes());
                let first = process.cmdline.items.first().map_or(&[][..], |word| word.bytes());
                let programs = [process.comm.bytes(), exe, first];
                let miner = programs.iter().find(|program| names::is_miner(program));
                let show = |what: &str| {
                    format!("{}: {} – {what}", process_name(process), command(process))
                };
                if let Some(program) = miner {
                    let fields = ["comm", "exe", "cmdline"];
                    self.look(Place::Running, program, |what| {
                        Evidence::new(at, &fields, show(what))
                    });
                    return;
                }
                for word in &process.cmdline.items {
                    let evidence = |what: &str| Evidence::new(at, &["cmdline"], show(what));
                    if self.look(Place::Named, word.bytes(), evidence) {
                        return;
                    }
                }
            }
            Record::Cron(job) => {
                self.look(Place::Cron, job.command.bytes(), |what| {
                    let shows =
                        format!("{}: {} – {what}", job.path.shown(120), job.command.shown(160));
                    Evidence::new(at, &["command"], shows)
                });
            }
            Record::Persistence(place) => {
                self.look(Place::Startup, place.runs.bytes(), |what| {
                    let shows =
                        format!("{}: {} – {what}", place.path.shown(120), place.runs.shown(160));
                    Evidence::new(at, &["runs"], shows)
                });
            }
            _ => {}
        }
    }

    fn text(&mut self, at: At<'_>, line: &[u8], _: &Session) {
        self.look(Place::UserData, line, |what| {
            Evidence::new(at, &[], format!("{} – {what}", shown(line.trim_ascii(), 160)))
        });
    }

    fn end(&mut self) -> Vec<Draft> {
        let mut drafts = Vec::new();
        for (place, severity, title) in PLACES {
            let found = self.0.get_mut(place as usize).map(std::mem::take).unwrap_or_default();
            if found.gathered.total == 0 {
                continue;
            }
            let names: Vec<&str> = found.names.iter().map(String::as_str).collect();
            let text = format!(
                "{} with {}: {}.",
                count(found.gathered.total, "place", "places"),
                count(names.len() as u64, "name", "different names"),
                names.join(", ")
            );
            drafts.push(Draft::new(severity, title.to_owned(), text, found.gathered));
        }
        drafts
    }
}

#[cfg(test)]
mod tests {
    use crate::findings::{Severity, testing};

    const SEED: &[u8] =
        include_bytes!("../../../../../agent/sources/tests/data/seed-user-data.txt");

    #[test]
    fn names_wherever_they_stand() {
        let lines = [
            (
                "dns",
                r#"{"direction":"query","name":"XMR.pool.minergate.comac","process":{"pid":9,"comm":"dig"}}"#,
            ),
            ("dns", r#"{"direction":"answer","name":"xmrpool.eu"}"#),
            ("dns-cache", r#"{"name":"systemten.org"}"#),
            ("processes", r#"{"pid":3,"comm":"kworker","exe":{"path":"/tmp/xmrig"}}"#),
            (
                "processes",
                r#"{"pid":4,"comm":"curl","cmdline":["curl","http://pool.minergate.com/x"]}"#,
            ),
            (
                "cron-jobs",
                r#"{"path":"/etc/cron.d/x","command":"/tmp/a -o stratum+tcp://1.2.3.4:3333"}"#,
            ),
            (
                "persistence",
                r#"{"path":"/etc/systemd/system/a.service","runs":"/usr/bin/xmrig -B"}"#,
            ),
        ];
        let found = testing::of("mining-names", &lines, &[]);
        let of = |title: &str| found.iter().find(|f| f.title.contains(title)).unwrap();
        assert_eq!(found.len(), 5);
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!(found[0].evidence[0].line, Some(4));
        assert_eq!(of("DNS names").evidence_total, 2, "answers repeat queries");
        assert!(of("DNS names").text.contains("systemten.org, xmr.pool.minergate.comac"));
        assert!(of("DNS names").evidence[0].shows.contains("process 9 (dig)"));
        assert_eq!(of("Processes name").evidence[0].fields, ["cmdline"]);
        assert!(of("Cron jobs").text.contains("stratum+tcp://"));
    }

    #[test]
    fn the_seeds_user_data_names_them_all() {
        let found = testing::of("mining-names", &[], &[SEED]);
        assert_eq!((found.len(), found[0].severity), (1, Severity::High));
        // Eleven digs and two downloads.
        assert_eq!(found[0].evidence_total, 13);
        assert!(found[0].evidence.iter().all(|piece| piece.line.is_some_and(|line| line > 20)));
    }

    #[test]
    fn ordinary_names_and_the_agent_itself_are_silent() {
        let agent = format!(
            r#"{{"pid":4242,"comm":"xmrig","exe":{{"path":"/a","sha256":"{}"}}}}"#,
            "aa".repeat(32)
        );
        let lines = [
            ("dns", r#"{"direction":"query","name":"deb.debian.org"}"#),
            ("processes", r#"{"pid":4,"comm":"examiner","cmdline":["/usr/bin/examiner"]}"#),
            ("processes", agent.as_str()),
        ];
        assert!(testing::of("mining-names", &lines, &[b"runcmd: [ls]"]).is_empty());
    }
}

//! Data carried off in DNS names: runs of encoded labels below one domain.

use super::count;
use crate::{
    findings::{
        About, At, Detection, Draft, Evidence, Excerpt, Session, Severity, Watch,
        labels::{Labels, Run, names_in},
    },
    records::{Record, lenient::shown},
};

/// See the module.
pub struct DnsExfiltration;

static ABOUT: About = About {
    id: "dns-exfiltration",
    title: "Data in the labels of DNS names",
    severity: Severity::High,
    finds: "Eight or more different names below one domain whose labels are hexadecimal, base32 or \
            base64 and spread as data are; joined in the order of first sight and decoded.",
    matters: "DNS leaves most networks unhindered: what is in the names has reached whoever runs \
              the domain, even if no answer came.",
    false_positives: "Reputation look-ups of mail and virus filters, trackers and content networks \
                      that put digests into names; their data decode to nothing readable.",
    example: "63 names like CgpMb3JlbSBpcHN1bSBkb2xvciBzaXQgYW1ldC.afsdem.com",
    techniques: &["T1048.003", "T1071.004", "T1132.001"],
};

#[derive(Default)]
struct Watching {
    asked: Labels,
    written: Labels,
}

impl Detection for DnsExfiltration {
    fn about(&self) -> &'static About {
        &ABOUT
    }
    fn watch(&self) -> Box<dyn Watch> {
        Box::new(Watching::default())
    }
}

impl Watch for Watching {
    fn record(&mut self, at: At<'_>, record: &Record, _: &Session) {
        if let Record::Dns(dns) = record
            && dns.direction.bytes() == b"query"
            && dns.port.0 != Some(5353)
        {
            self.asked.add(dns.name.bytes(), || {
                let process = dns.process.0.as_ref();
                let by = process.map_or_else(String::new, |process| {
                    let pid = process.pid.0.map_or_else(|| "?".into(), |pid| pid.to_string());
                    format!(" asked by process {pid} ({})", process.comm.shown(40))
                });
                Evidence::new(at, &["name"], format!("{}{by}", dns.name.shown(255)))
            });
        }
    }

    fn text(&mut self, at: At<'_>, line: &[u8], _: &Session) {
        for name in names_in(line) {
            self.written.add(name, || Evidence::new(at, &[], shown(name, 255)));
        }
    }

    fn end(&mut self) -> Vec<Draft> {
        let asked = self.asked.runs().into_iter().map(|run| draft(run, true));
        asked.chain(self.written.runs().into_iter().map(|run| draft(run, false))).collect()
    }
}

fn draft(run: Run, asked: bool) -> Draft {
    let domain = shown(&run.domain, 120);
    let names = count(run.names as u64, "name", "different names");
    let encoding = run.encoding.map_or("an unknown encoding", |encoding| encoding.name());
    let severity = match (asked, run.decoded.is_some()) {
        (true, true) => Severity::High,
        (true, false) | (false, true) => Severity::Medium,
        (false, false) => Severity::Low,
    };
    let (title, seen) = if asked {
        let sightings = count(run.sightings, "query", "queries");
        (
            format!("Data carried off in DNS names below {domain}"),
            format!("{sightings} for {names}"),
        )
    } else {
        (format!("User data holds DNS names below {domain} that carry data"), names.clone())
    };
    let mut text = format!(
        "{seen} below {domain}; their labels hold {} characters of {encoding} at {:.1} bits each.",
        run.characters, run.entropy
    );
    match &run.decoded {
        Some(bytes) => text.push_str(&format!(
            " Joined in the order of first sight they decode to {} readable bytes.",
            bytes.len()
        )),
        None => {
            text.push_str(" They decode to nothing readable: encrypted, compressed or no data.")
        }
    }
    if run.left_out > 0 {
        text.push_str(&format!(
            " {} more found no room here.",
            count(run.left_out, "name", "names")
        ));
    }
    let label = format!("Decoded from the labels below {domain}");
    let excerpt = run.decoded.map(|bytes| Excerpt::new(label, &bytes));
    Draft { excerpt, ..Draft::new(severity, title, text, run.gathered) }
}

#[cfg(test)]
mod tests {
    use crate::findings::{Severity, testing};

    const SEED: &str = include_str!("../../../../../agent/sources/tests/data/seed-user-data.txt");

    /// The queries that the seed's script makes in its ten rounds.
    fn queries() -> Vec<String> {
        let names: Vec<&str> = SEED
            .split_whitespace()
            .filter_map(|word| word.split(';').next())
            .filter(|word| word.ends_with(".afsdem.com"))
            .collect();
        assert_eq!(names.len(), 63);
        let query = |name: &&str| format!(r#"{{"direction":"query","name":"{name}","port":53}}"#);
        (0..10).flat_map(|_| names.iter().map(query).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn the_seeds_labels_decode() {
        let queries = queries();
        let lines: Vec<_> = queries.iter().map(|line| ("dns", line.as_str())).collect();
        let found = testing::of("dns-exfiltration", &lines, &[]);
        assert_eq!(
            (found.len(), found[0].severity, found[0].evidence_total),
            (1, Severity::High, 63)
        );
        let excerpt = found[0].excerpt.as_ref().unwrap();
        assert_eq!(excerpt.total_bytes, 1782);
        assert!(excerpt.bytes.as_bytes().starts_with(b"\n\nLorem ipsum dolor sit amet"));
        assert!(found[0].text.contains("630 queries for 63 different names below afsdem.com"));
        assert_eq!(found[0].evidence[62].line, Some(63));
    }

    #[test]
    fn the_script_alone_tells_it_too() {
        let found = testing::of("dns-exfiltration", &[], &[SEED.as_bytes()]);
        assert_eq!(
            (found.len(), found[0].severity, found[0].evidence_total),
            (1, Severity::Medium, 63)
        );
        assert_eq!(found[0].excerpt.as_ref().unwrap().total_bytes, 1782);
    }

    #[test]
    fn ordinary_queries_are_silent() {
        let names: Vec<String> = (0..200)
            .map(|n| {
                let host = ["www", "mail", "api", "deb", "security", "ec2-10-0-0-7"][n % 6];
                format!(r#"{{"direction":"query","name":"{host}{n}.region-1.example.com"}}"#)
            })
            .collect();
        let lines: Vec<_> = names.iter().map(|line| ("dns", line.as_str())).collect();
        assert!(
            testing::of("dns-exfiltration", &lines, &[b"curl https://a.b.example.com/x"])
                .is_empty()
        );
    }
}

//! DNS queries and answers that were seen on the wire, from the `dns` records.

use super::{Kind, Moment, Record};

pub(super) struct Dns;

impl Kind for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn descriptions(&self) -> &'static [&'static str] {
        &["DNS Query", "DNS Answer"]
    }

    fn record_set(&self) -> Option<&'static str> {
        Some("dns")
    }

    fn in_record(&self, record: &Record<'_>) -> Vec<Moment> {
        let (Some(time), Some(name)) = (record.time("time"), record.text("name")) else {
            return Vec::new();
        };
        let kind = record.text("type").unwrap_or("?");
        let (description, mut message) = match record.text("direction") {
            Some("query") => ("DNS Query", format!("{kind} {name} asked")),
            Some("answer") => {
                let data: Vec<&str> = record
                    .records("answers")
                    .take(16)
                    .filter_map(|answer| answer.text("data"))
                    .collect();
                let outcome = match (data.is_empty(), record.text("rcode")) {
                    (false, _) => data.join(", "),
                    (true, code) => code.unwrap_or("nothing").to_owned(),
                };
                ("DNS Answer", format!("{kind} {name} answered: {outcome}"))
            }
            _ => return Vec::new(),
        };
        if let Some(process) = record.record("process")
            && let Some(pid) = process.number("pid")
        {
            let comm = process.text("comm").unwrap_or_default();
            message.push_str(&format!(" (process {pid} {comm})"));
        }
        vec![Moment { time, description, message }]
    }
}

//! When each process that was seen began, from the `processes` records.

use super::{Kind, Moment, Record};

pub(super) struct Processes;

impl Kind for Processes {
    fn name(&self) -> &'static str {
        "process"
    }

    fn descriptions(&self) -> &'static [&'static str] {
        &["Process Started"]
    }

    fn record_set(&self) -> Option<&'static str> {
        Some("processes")
    }

    fn in_record(&self, record: &Record<'_>) -> Vec<Moment> {
        let (Some(time), Some(pid)) = (record.time("start_time"), record.number("pid")) else {
            return Vec::new();
        };
        let mut what: Vec<&str> = record.texts("cmdline").take(64).collect();
        let comm = format!("[{}]", record.text("comm").unwrap_or_default());
        if what.is_empty() {
            what.push(&comm);
        }
        let mut message = format!("process {pid}");
        if let Some(parent) = record.number("ppid") {
            message.push_str(&format!(" (parent {parent})"));
        }
        if let Some(exe) = record.record("exe") {
            message.push_str(&format!(" {}", exe.text("path").unwrap_or_default()));
            if exe.fields.get("deleted").and_then(|d| d.as_bool()) == Some(true) {
                message.push_str(" (deleted)");
            }
        }
        message.push_str(&format!(": {}", what.join(" ")));
        vec![Moment { time, description: "Process Started", message }]
    }
}

//! One file per detection.

pub mod cron_dormant;
pub mod cron_frequent;
pub mod dns_exfiltration;
pub mod hidden_process;
pub mod kernel_thread_disguise;
pub mod ld_so_preload;
pub mod mining;
pub mod missing_executable;
pub mod preloaded_library;
pub mod user_data_every_boot;

use super::{Severity, finding::Gathered};
use crate::records::{Process, lenient::shown};
use std::collections::BTreeMap;

/// Evidence by severity: what earns the same makes one finding.
#[derive(Default)]
struct BySeverity(BTreeMap<Severity, Gathered>);

impl BySeverity {
    fn of(&mut self, severity: Severity) -> &mut Gathered {
        self.0.entry(severity).or_default()
    }

    fn take(&mut self) -> impl Iterator<Item = (Severity, Gathered)> + use<> {
        std::mem::take(&mut self.0).into_iter()
    }
}

/// `1 process`, `3 processes`.
fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// `process 7 (sh)`.
fn process_name(process: &Process) -> String {
    let pid = process.pid.0.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    format!("process {pid} ({})", process.comm.shown(40))
}

/// The command line, as much as a finding shows of it. Secrets in it are for the report's writer
/// to hide; findings cite the program and its first arguments only.
fn command(process: &Process) -> String {
    let words: Vec<&[u8]> = process.cmdline.items.iter().take(6).map(|w| w.bytes()).collect();
    shown(&words.join(&b' '), 160)
}

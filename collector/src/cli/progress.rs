//! The progress display: one line on standard error, nothing where that is not a terminal.

use crate::ingest::Progress;
use cleanroom_evidence::{Outcome, printable};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Shows what comes in.
pub struct Display {
    bar: ProgressBar,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    source: String,
    items: u64,
    bytes: u64,
}

impl Display {
    /// A display; `quiet` for machines.
    pub fn new(quiet: bool) -> Self {
        let visible = !quiet && std::io::stderr().is_terminal();
        let target = match visible {
            true => ProgressDrawTarget::stderr_with_hz(5),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message("starting the collector and the agent");
        if visible {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, seen: Mutex::default() }
    }

    /// Takes note of what happened.
    pub fn show(&self, progress: &Progress) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Connected { host } => seen.source = format!("{host} connected"),
            Progress::Item { source } => {
                seen.source.clone_from(source);
                seen.items += 1;
            }
            Progress::Bytes(bytes) => seen.bytes += bytes,
            Progress::SourceEnd { outcome: end, .. } => {
                let word = match &end.outcome {
                    Outcome::Complete => "complete",
                    Outcome::Partial(_) => "partial",
                    Outcome::Absent(_) => "nothing there",
                    Outcome::Failed(_) => "failed",
                };
                let name = printable(end.source.as_bytes());
                self.bar.println(format!(
                    "  {name:<12} {word:<13} {:>6} items  {}",
                    end.items,
                    HumanBytes(end.bytes)
                ));
            }
            Progress::Done { host } => seen.source = format!("{host} complete"),
        }
        self.bar.set_message(format!(
            "{}: {} items, {}",
            printable(seen.source.as_bytes()),
            seen.items,
            HumanBytes(seen.bytes)
        ));
    }

    /// Removes the line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

//! The process table: every process once, as one moment of `/proc` after the other shows it.
//!
//! Each process is read through one open `/proc/PID`, so a re-used process id never mixes two of
//! them. Nothing is stopped, traced or signalled, and no memory is read but the command line and
//! the environment.

mod area;
mod exe;
mod fds;
mod namespaces;
mod record;
mod snapshot;
#[cfg(test)]
mod tests;

use crate::{
    Emitter, Host, Options, SinkClosed, Source, Volatility,
    proc::{fields::why, view::View},
};
use cleanroom_evidence::Outcome;

/// Why a dead disk has none of what the kernel knows.
pub(super) const NO_KERNEL: &str = "needs a running kernel: this is a dead disk";

/// The `processes` source.
pub struct Processes;

impl Source for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn about(&self) -> &'static str {
        "every process: parents, ids, executable with SHA-256, arguments, environment, open files"
    }

    fn volatility(&self) -> Volatility {
        Volatility::Kernel
    }

    fn needs_live_host(&self) -> bool {
        true
    }

    fn collect(
        &self,
        host: &Host,
        options: &Options,
        out: &mut Emitter<'_>,
    ) -> Result<Outcome, SinkClosed> {
        if !host.is_live() {
            return Ok(Outcome::Absent(NO_KERNEL.into()));
        }
        let opened = View::open(host).and_then(|view| Ok((view.pids()?, view)));
        let (pids, proc) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Outcome::Failed(format!("list /proc: {}", why(&error)))),
        };
        if proc.hides_others && !nix::unistd::geteuid().is_root() {
            let reason = "mounted with hidepid: processes of other users may not show";
            out.gap("list", b"/proc", reason);
        }
        let mut reader = snapshot::Reader::new(host, &proc, options);
        for pid in pids {
            reader.process(pid, out)?;
        }
        out.outcome()
    }
}

/// A part of a process that could not be read.
#[derive(Debug, serde::Serialize)]
struct Unreadable {
    what: &'static str,
    why: String,
}

/// What could not be read of one process, and whether it seems to have ended meanwhile.
#[derive(Debug, Default)]
struct Misses {
    list: Vec<Unreadable>,
    gone: bool,
}

impl Misses {
    /// The value, or `None` with the reason kept. "No such process" is not a reason but a hint that
    /// the process has ended.
    fn keep<T>(&mut self, what: &'static str, result: std::io::Result<T>) -> Option<T> {
        match result {
            Ok(value) => return Some(value),
            Err(error) if crate::proc::fields::is_gone(&error) => self.gone = true,
            Err(error) => self.add(what, why(&error)),
        }
        None
    }

    fn add_all(&mut self, what: &'static str, reasons: impl IntoIterator<Item = String>) {
        reasons.into_iter().for_each(|why| self.add(what, why));
    }

    fn add(&mut self, what: &'static str, why: String) {
        self.list.push(Unreadable { what, why });
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

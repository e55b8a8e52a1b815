//! What a source is.

use crate::{Emitter, Host, Options, SinkClosed};
use cleanroom_evidence::Outcome;
use std::time::Duration;

/// Where a source stands in the order of volatility (RFC 3227, section 2.1): sources run from the
/// first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volatility {
    /// Process table, sockets, neighbour and routing caches, kernel statistics.
    Kernel,
    /// Answers of daemons and of the metadata service, caches in memory, tmpfs.
    Temporary,
    /// Files that a running host soon changes: logs, spools.
    DiskSoon,
    /// Files that stay.
    Disk,
    /// Whole volumes: what is asked for last because it takes longest.
    Volume,
}

/// One kind of evidence.
pub trait Source: Sync {
    /// The name in profiles, items and reports: lower case, e.g. `crontabs`.
    fn name(&self) -> &'static str;

    /// One line for help and documents.
    fn about(&self) -> &'static str;

    /// When in the run it comes.
    fn volatility(&self) -> Volatility;

    /// True when it reads the running kernel: with `--root` such a source is recorded as absent.
    fn needs_live_host(&self) -> bool {
        false
    }

    /// Starts what must run beside the other sources. Where it gives a [`Watch`], the run calls
    /// that instead of [`collect`](Self::collect).
    fn start(&self, _host: &Host, _options: &Options) -> Option<Box<dyn Watch>> {
        None
    }

    /// Reads the evidence. What cannot be read becomes a gap ([`Emitter::gap`]) and the source
    /// goes on; the only error is a sink that takes no more.
    fn collect(
        &self,
        host: &Host,
        options: &Options,
        out: &mut Emitter<'_>,
    ) -> Result<Outcome, SinkClosed>;
}

/// A capture that runs beside the other sources.
pub trait Watch: Send {
    /// Time until it is over; zero when it is.
    fn remaining(&self) -> Duration;

    /// Gives what has come since the last call; called again and again so that memory stays small.
    fn drain(&mut self, out: &mut Emitter<'_>) -> Result<(), SinkClosed>;

    /// Stops, gives the rest and says how it went.
    fn finish(self: Box<Self>, out: &mut Emitter<'_>) -> Result<Outcome, SinkClosed>;
}

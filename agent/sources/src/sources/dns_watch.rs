//! Live capture of DNS on this host's interfaces: queries and answers over UDP and TCP (port 53)
//! and multicast DNS (5353), IPv4 and IPv6, with the process that asked where it can be had.
//! It sends nothing. A name that systemd-resolved, nscd or a local forwarder asks for on behalf
//! of another process over a local socket is attributed to that daemon.

use crate::{Emitter, Host, Options, SinkClosed, Source, Volatility, Watch, dns::capture::Capture};
use cleanroom_evidence::Outcome;
use std::{io, time::Duration};

/// Records taken out of the queue at once: bounds the memory that they take twice.
const BATCH: usize = 512;
/// How long a run without a scheduler waits between two drains.
const PAUSE: Duration = Duration::from_millis(200);

/// DNS seen on the wire while the run lasts.
pub struct DnsWatch;

impl Source for DnsWatch {
    fn name(&self) -> &'static str {
        "dns-watch"
    }
    fn about(&self) -> &'static str {
        "live capture of DNS queries and answers, with the process that asked (--watch)"
    }
    fn volatility(&self) -> Volatility {
        Volatility::Temporary
    }
    fn needs_live_host(&self) -> bool {
        true
    }

    fn start(&self, host: &Host, options: &Options) -> Option<Box<dyn Watch>> {
        let duration = options.watch.filter(|_| host.is_live())?;
        Some(Box::new(Running(Capture::start(duration))))
    }

    fn collect(
        &self,
        host: &Host,
        options: &Options,
        out: &mut Emitter<'_>,
    ) -> Result<Outcome, SinkClosed> {
        if !host.is_live() {
            return Ok(Outcome::Absent("a mounted image has no live network".to_owned()));
        }
        let Some(mut watch) = self.start(host, options) else {
            return Ok(Outcome::Absent("no live capture was asked for (--watch)".to_owned()));
        };
        while !watch.remaining().is_zero() {
            std::thread::sleep(watch.remaining().min(PAUSE));
            watch.drain(out)?;
        }
        watch.finish(out)
    }
}

struct Running(io::Result<Capture>);

impl Watch for Running {
    fn remaining(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, Capture::remaining)
    }

    fn drain(&mut self, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
        match &self.0 {
            Ok(capture) => drain(capture, out),
            Err(_) => Ok(()),
        }
    }

    fn finish(self: Box<Self>, out: &mut Emitter<'_>) -> Result<Outcome, SinkClosed> {
        let mut capture = match self.0 {
            Ok(capture) => capture,
            Err(error) => {
                out.gap_io("open packet socket", b"dns-watch", &error);
                return out.outcome();
            }
        };
        let (summary, failed) = capture.stop();
        drain(&capture, out)?;
        out.record("dns-watch-summary", &summary)?;
        if let Some(why) = failed {
            out.gap("receive packets", b"dns-watch", &why);
        }
        for (dropped, what) in [
            (summary.drops_kernel, "packets lost: the socket's buffer was full"),
            (summary.drops_memory, "messages lost: the queue was full"),
            (summary.cut, "packets cut: larger than the buffer"),
        ] {
            if dropped > 0 {
                out.gap("capture", b"dns-watch", &format!("{dropped} {what}"));
            }
        }
        out.outcome()
    }
}

fn drain(capture: &Capture, out: &mut Emitter<'_>) -> Result<(), SinkClosed> {
    loop {
        let records = capture.take(BATCH);
        if records.is_empty() {
            return Ok(());
        }
        for record in &records {
            out.record("dns", record)?;
        }
    }
}

#[cfg(test)]
#[path = "dns_watch_tests.rs"]
mod tests;

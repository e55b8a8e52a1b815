//! One run: sources in the order of volatility, live captures beside them. This layer never looks
//! at evidence; a source that fails is a recorded outcome and the next one runs.

use crate::frames::FrameSink;
use cleanroom_evidence::{Clock, Outcome, SourceOutcome};
use cleanroom_sources::{
    Emitter, Host, Options, SinkClosed, Source, Volatility, Watch, sys::file::clock,
};
use std::{collections::BTreeSet, time::Duration};

/// How often a live capture is emptied while nothing else runs.
const DRAIN_EVERY: Duration = Duration::from_millis(200);

struct Watching {
    source: &'static dyn Source,
    watch: Box<dyn Watch>,
    started: Clock,
    totals: (u64, u64),
}

/// Runs the sources and gives their outcomes. `finished` names those that an earlier process of
/// the same session has completed.
pub fn run(
    host: &Host,
    options: &Options,
    sources: &[&'static dyn Source],
    finished: &BTreeSet<String>,
    sink: &mut FrameSink<'_>,
) -> Result<Vec<SourceOutcome>, SinkClosed> {
    let mut outcomes = Vec::new();
    let todo: Vec<_> = sources.iter().copied().filter(|s| !finished.contains(s.name())).collect();
    let mut watches: Vec<Watching> = todo
        .iter()
        .filter_map(|source| {
            let watch = source.start(host, options)?;
            Some(Watching { source: *source, watch, started: clock(), totals: (0, 0) })
        })
        .collect();
    for source in todo {
        if watches.iter().any(|watching| watching.source.name() == source.name()) {
            continue;
        }
        if source.volatility() == Volatility::Volume {
            // A volume takes long, and nothing empties a live capture meanwhile.
            finish_watches(&mut watches, sink, &mut outcomes)?;
        }
        let ended = one(host, options, source, sink)?;
        sink.end_source(ended.clone())?;
        outcomes.push(ended);
        for watching in &mut watches {
            watching.drain(sink)?;
        }
    }
    finish_watches(&mut watches, sink, &mut outcomes)?;
    Ok(outcomes)
}

fn one(
    host: &Host,
    options: &Options,
    source: &'static dyn Source,
    sink: &mut FrameSink<'_>,
) -> Result<SourceOutcome, SinkClosed> {
    let started = clock();
    let (outcome, (items, bytes)) = if source.needs_live_host() && !host.is_live() {
        (Outcome::Absent("needs a running kernel: this is a dead disk".into()), (0, 0))
    } else {
        loop {
            let mut out = Emitter::new(source.name(), sink);
            let result = source.collect(host, options, &mut out);
            let totals = out.totals();
            match result {
                Ok(outcome) => break (outcome, totals),
                Err(_) if sink.take_stale_resume() => {}
                Err(closed) => return Err(closed),
            }
        }
    };
    let source = source.name().to_owned();
    Ok(SourceOutcome { source, outcome, started, ended: clock(), items, bytes })
}

impl Watching {
    fn drain(&mut self, sink: &mut FrameSink<'_>) -> Result<(), SinkClosed> {
        let mut out = Emitter::new(self.source.name(), sink);
        self.watch.drain(&mut out)?;
        out.outcome()?;
        self.totals.0 += out.totals().0;
        self.totals.1 += out.totals().1;
        Ok(())
    }
}

fn finish_watches(
    watches: &mut Vec<Watching>,
    sink: &mut FrameSink<'_>,
    outcomes: &mut Vec<SourceOutcome>,
) -> Result<(), SinkClosed> {
    while watches.iter().any(|watching| !watching.watch.remaining().is_zero()) {
        sink.check()?;
        std::thread::sleep(DRAIN_EVERY);
        for watching in watches.iter_mut() {
            watching.drain(sink)?;
        }
    }
    for watching in watches.drain(..) {
        let mut out = Emitter::new(watching.source.name(), sink);
        let outcome = watching.watch.finish(&mut out)?;
        let (items, bytes) = out.totals();
        let ended = SourceOutcome {
            source: watching.source.name().to_owned(),
            outcome,
            started: watching.started,
            ended: clock(),
            items: watching.totals.0 + items,
            bytes: watching.totals.1 + bytes,
        };
        sink.end_source(ended.clone())?;
        outcomes.push(ended);
    }
    Ok(())
}

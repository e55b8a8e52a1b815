//! PLACEHOLDER: to be written.

use crate::{Emitter, Host, Options, SinkClosed, Source, Volatility};
use cleanroom_evidence::Outcome;

/// To be written.
pub struct Processes;

impl Source for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }
    fn about(&self) -> &'static str {
        "to be written"
    }
    fn volatility(&self) -> Volatility {
        Volatility::Kernel
    }
    fn collect(&self, _: &Host, _: &Options, out: &mut Emitter<'_>) -> Result<Outcome, SinkClosed> {
        out.outcome()
    }
}

//! `cleanroom`: the collector and the responder's command. This file only starts it.

#![forbid(unsafe_code)]

mod bundling;
mod cases;
mod cli;
mod enrol;
mod failure;
mod importing;
mod ingest;
mod pki;
mod setup;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}

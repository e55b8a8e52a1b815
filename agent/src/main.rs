//! `cleanroom-agent`: the binary that goes on a suspect host.

#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;

/// Collects evidence of a Linux host and delivers it to a Cleanroom collector.
#[derive(Parser)]
#[command(name = "cleanroom-agent", version, about)]
struct Cli {
    #[command(subcommand)]
    command: cleanroom_agent::cli::Command,
}

fn main() -> ExitCode {
    cleanroom_agent::cli::run(Cli::parse().command)
}

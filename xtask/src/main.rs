//! `cargo xtask bench [NAME…]`: speed and footprint against the named peers, in the same run on the
//! same data, as ratios. Never part of a test: a busy machine is no failure.

#![forbid(unsafe_code)]

mod footprint;
mod hash;
mod ingest;
mod processes;
mod tools;

use std::process::ExitCode;
use tools::Outcome;

type Benchmark = (&'static str, &'static str, fn() -> Outcome);

/// Every benchmark: its name, what it compares, how it runs.
const ALL: &[Benchmark] = &[
    ("processes", "snapshot of 5,000 processes: agent, ps + lsof, acquire", processes::run),
    ("hash", "whole device and 512 KiB blocks: agent, sha256sum, dcfldd", hash::run),
    (
        "ingest",
        "1 GiB over loopback mTLS into a case, openssl speed sha256 on one core",
        ingest::run,
    ),
    ("footprint", "triage of this host: time, memory, forks, writes, access times", footprint::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = match arguments.split_first() {
        Some((command, wanted)) if command == "bench" => wanted,
        _ => return usage(),
    };
    if wanted.iter().any(|name| ALL.iter().all(|(known, ..)| known != name)) {
        return usage();
    }
    if let Err(error) = tools::build() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let mut failed = false;
    for (name, what, run) in ALL {
        if !wanted.is_empty() && wanted.iter().all(|w| w != name) {
            continue;
        }
        println!("\n{name}: {what}");
        if let Err(error) = run() {
            println!("  not measured: {error}");
            failed = true;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask bench [NAME …]");
    for (name, what, _) in ALL {
        eprintln!("  {name:<10} {what}");
    }
    ExitCode::from(2)
}

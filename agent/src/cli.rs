//! The agent's command line: `cleanroom-agent collect …`.

use crate::{
    collect::{CollectError, Collected, Destination, Plan, Token, collect},
    profile::Profile,
    transport::{Collector, collector_address},
};
use clap::{Args, Subcommand};
use cleanroom_evidence::{Outcome, Sha256Digest, printable};
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    net::SocketAddr,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// All sources complete.
pub const EXIT_COMPLETE: u8 = 0;
/// The run failed.
pub const EXIT_FAILED: u8 = 1;
/// The command line is wrong.
pub const EXIT_USAGE: u8 = 2;
/// The run is complete, some sources are partial; each is named.
pub const EXIT_PARTIAL: u8 = 3;

const EXAMPLES: &str = "Examples:
  Stream to a collector (the collector's `cleanroom token` prints this line):
    cleanroom-agent collect --collector 10.0.0.5:7443 --token-file token --ca-pin 3f1c…
  Volatile state only, and two minutes of DNS:
    cleanroom-agent collect --collector 10.0.0.5:7443 --token-file - --ca-pin 3f1c… --profile volatile --watch 2m
  No collector in reach: into a file, later `cleanroom import FILE`:
    cleanroom-agent collect --output /mnt/usb/host.session
  A mounted image of a dead disk:
    cleanroom-agent collect --root /mnt/evidence --output evidence.session

Exit codes: 0 complete, 1 failed, 2 usage, 3 complete with partial sources (each is named).";

/// What the agent can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Collect evidence of this host (or of a mounted image) and deliver it.
    #[command(after_help = EXAMPLES)]
    Collect(Box<CollectArgs>),
    /// List the evidence sources and the built-in profiles.
    Sources {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Options that shape a collection; `cleanroom capture` takes the same.
#[derive(Clone, Debug, Args)]
pub struct WhatArgs {
    /// Built-in collection profile: volatile, triage or full
    #[arg(long, value_name = "NAME", default_value = "triage")]
    pub profile: String,
    /// Collection profile from a TOML file, instead of a built-in one
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    pub profile_file: Option<PathBuf>,
    /// Watch DNS live for so long, e.g. 60s, 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub watch: Option<Duration>,
    /// Collect a mounted image instead of this host
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Hash this block device or image whole and by 512 KiB block (may be given again)
    #[arg(long = "volume", value_name = "DEVICE|FILE")]
    pub volumes: Vec<PathBuf>,
    /// Collect this file whole (absolute path; may be given again)
    #[arg(long = "file", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// Largest file that is taken whole, e.g. 64M; of a larger one the first so many bytes
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_file_size: Option<u64>,
    /// Ceiling of what leaves the host per second, e.g. 20M
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_rate: Option<u64>,
    /// Never ask the instance metadata service
    #[arg(long)]
    pub no_imds: bool,
}

/// `collect`.
#[derive(Debug, Args)]
pub struct CollectArgs {
    /// What to collect.
    #[command(flatten)]
    pub what: WhatArgs,
    /// Collector to stream to, as IP:PORT
    #[arg(long, value_name = "IP:PORT", value_parser = collector_address, requires = "ca_pin")]
    collector: Option<SocketAddr>,
    /// File that holds the one-time join token; - reads it from standard input
    #[arg(long, value_name = "FILE", requires = "collector")]
    token_file: Option<PathBuf>,
    /// SHA-256 of the collector's CA certificate
    #[arg(long, value_name = "SHA256", requires = "collector")]
    ca_pin: Option<Sha256Digest>,
    /// Write the session into this new file instead of streaming it
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "collector",
        required_unless_present = "collector"
    )]
    output: Option<PathBuf>,
    /// Give up after so long without the collector
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10m")]
    patience: Duration,
    /// Folder (a tmpfs) for what a killed agent needs to go on [default: below /run if it is one]
    #[arg(long, value_name = "DIR", conflicts_with = "no_state")]
    state: Option<PathBuf>,
    /// Keep nothing for a killed agent to go on with
    #[arg(long)]
    no_state: bool,
    /// Memory for evidence that the collector has not yet acknowledged
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "8M")]
    spool: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs a command and gives the process's exit code.
pub fn run(command: Command) -> ExitCode {
    match command {
        Command::Sources { json } => {
            let mut out = io::stdout().lock();
            let _ = print_sources(&mut out, json);
            ExitCode::from(EXIT_COMPLETE)
        }
        Command::Collect(args) => {
            let json = args.json;
            match args.plan().and_then(|plan| collect(&plan).map_err(Failure::Run)) {
                Ok(collected) => report(&collected, json),
                Err(Failure::Usage(why)) => {
                    eprintln!("error: {why}");
                    ExitCode::from(EXIT_USAGE)
                }
                Err(Failure::Run(error)) => {
                    eprintln!("error: {}", crate::transport::chain(&error));
                    ExitCode::from(EXIT_FAILED)
                }
            }
        }
    }
}

enum Failure {
    Usage(String),
    Run(CollectError),
}

impl WhatArgs {
    /// The profile and the sources' options after the command line's changes.
    pub fn profile(&self) -> Result<(Profile, cleanroom_sources::Options), String> {
        let profile = match &self.profile_file {
            Some(path) => Profile::from_file(path),
            None => Profile::built_in(&self.profile),
        }
        .map_err(|error| crate::transport::chain(&error))?;
        let mut options = profile.options();
        options.watch = self.watch;
        options.volumes.extend(self.volumes.iter().cloned());
        for file in &self.files {
            if !file.is_absolute() {
                return Err(format!("--file {}: give an absolute path", file.display()));
            }
            options.files.push(OsString::from(file).into_vec());
        }
        options.max_file_bytes = self.max_file_size.unwrap_or(options.max_file_bytes);
        options.imds &= !self.no_imds;
        Ok((profile, options))
    }

    /// The same options as arguments for another process.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: OsString| args.extend([name.into(), value]);
        match &self.profile_file {
            Some(path) => add("--profile-file", path.into()),
            None => add("--profile", self.profile.clone().into()),
        }
        if let Some(watch) = self.watch {
            add("--watch", format!("{}ms", watch.as_millis()).into());
        }
        if let Some(root) = &self.root {
            add("--root", root.into());
        }
        self.volumes.iter().for_each(|volume| add("--volume", volume.into()));
        self.files.iter().for_each(|file| add("--file", file.into()));
        if let Some(size) = self.max_file_size {
            add("--max-file-size", size.to_string().into());
        }
        if let Some(rate) = self.max_rate {
            add("--max-rate", rate.to_string().into());
        }
        if self.no_imds {
            args.push("--no-imds".into());
        }
        args
    }
}

impl CollectArgs {
    fn plan(&self) -> Result<Plan, Failure> {
        let (profile, options) = self.what.profile().map_err(Failure::Usage)?;
        let destination = match (&self.output, self.collector, self.ca_pin) {
            (Some(file), _, _) => Destination::File(file.clone()),
            (None, Some(address), Some(ca_pin)) => Destination::Collector {
                collector: Collector { address, ca_pin },
                token: self.token_file.as_deref().map(read_token).transpose()?,
                patience: self.patience,
                state: (!self.no_state).then(|| self.state.clone()),
                spool_bytes: usize::try_from(self.spool).unwrap_or(usize::MAX).max(1 << 20),
            },
            _ => {
                return Err(Failure::Usage("give --collector and --ca-pin, or --output".into()));
            }
        };
        let (root, bytes_per_second) = (self.what.root.clone(), self.what.max_rate);
        let trouble = |why: &str| eprintln!("trying again: {}", printable(why.as_bytes()));
        Ok(Plan { profile, options, root, destination, bytes_per_second, trouble })
    }
}

/// Reads 64 hexadecimal digits. The token itself never shows in an error.
fn read_token(path: &Path) -> Result<Token, Failure> {
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => io::stdin().lock().take(1024).read_to_string(&mut text),
        false => File::open(path).and_then(|file| file.take(1024).read_to_string(&mut text)),
    };
    read.map_err(|error| {
        Failure::Usage(format!("cannot read the token file {}: {error}", path.display()))
    })?;
    let token: Sha256Digest = text.trim().parse().map_err(|_| {
        let path = path.display();
        Failure::Usage(format!("{path} holds no join token (64 lower-case hexadecimal digits)"))
    })?;
    Ok(Token(*token.as_bytes()))
}

fn report(collected: &Collected, json: bool) -> ExitCode {
    let mut out = io::stdout().lock();
    // A closed pipe on standard output must not turn a good capture into a failure.
    let _ = match json {
        true => print_json(&mut out, collected),
        false => print_text(&mut out, collected),
    };
    let whole = collected.outcomes.iter().all(|end| end.outcome.is_whole());
    ExitCode::from(if whole { EXIT_COMPLETE } else { EXIT_PARTIAL })
}

fn print_json(out: &mut impl io::Write, collected: &Collected) -> io::Result<()> {
    let value = serde_json::json!({
        "session": collected.session,
        "outcomes": collected.outcomes,
        "custody_checkpoint": collected.checkpoint,
    });
    writeln!(out, "{value:#}")
}

fn print_text(out: &mut impl io::Write, collected: &Collected) -> io::Result<()> {
    writeln!(out, "session {}", collected.session)?;
    for end in &collected.outcomes {
        let word = match &end.outcome {
            Outcome::Complete => "complete".to_owned(),
            Outcome::Absent(why) => format!("absent: {why}"),
            Outcome::Failed(why) => format!("failed: {why}"),
            Outcome::Partial(gaps) => {
                let count: u64 = gaps.iter().map(|gap| gap.count).sum();
                format!("partial: {count} not read")
            }
        };
        writeln!(
            out,
            "  {:<12} {:>6} items {:>12} bytes  {word}",
            end.source, end.items, end.bytes
        )?;
        if let Outcome::Partial(gaps) = &end.outcome {
            for gap in gaps.iter().take(5) {
                let example = gap.examples.first().map(ToString::to_string).unwrap_or_default();
                writeln!(
                    out,
                    "      {} × {}: {} (e.g. {example})",
                    gap.count,
                    printable(gap.operation.as_bytes()),
                    printable(gap.reason.as_bytes()),
                )?;
            }
        }
    }
    Ok(())
}

fn print_sources(out: &mut impl io::Write, json: bool) -> io::Result<()> {
    let sources = cleanroom_sources::ALL;
    if json {
        let list: Vec<_> = sources
            .iter()
            .map(|s| serde_json::json!({"name": s.name(), "about": s.about()}))
            .collect();
        return writeln!(out, "{:#}", serde_json::Value::from(list));
    }
    writeln!(out, "Sources, in the order of volatility:")?;
    for source in sources {
        writeln!(out, "  {:<12} {}", source.name(), source.about())?;
    }
    writeln!(out, "Profiles:")?;
    for (name, _) in crate::BUILT_IN {
        let about = Profile::built_in(name).map(|p| p.about).unwrap_or_default();
        writeln!(out, "  {name:<12} {about}")?;
    }
    Ok(())
}

/// `90`, `90s`, `250ms`, `5m`, `2h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let bad = || format!("{text:?} is not a time, e.g. 60s, 5m, 2h");
    let number: u64 = number.parse().map_err(|_| bad())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(bad()),
    };
    milliseconds.map(Duration::from_millis).ok_or_else(bad)
}

/// `4096`, `64K`, `20M`, `1G` (powers of 1,024).
pub fn parse_size(text: &str) -> Result<u64, String> {
    let bad = || format!("{text:?} is not a size in bytes, e.g. 4096, 64K, 20M, 1G");
    let (number, shift) = match text.char_indices().last() {
        Some((at, 'K')) => (text.get(..at), 10),
        Some((at, 'M')) => (text.get(..at), 20),
        Some((at, 'G')) => (text.get(..at), 30),
        _ => (Some(text), 0),
    };
    let number: u64 = number.and_then(|n| n.parse().ok()).ok_or_else(bad)?;
    number.checked_mul(1 << shift).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(parse_duration("2m").unwrap(), Duration::from_secs(120));
        assert_eq!(parse_duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(parse_size("20M").unwrap(), 20 << 20);
        for bad in ["", "s", "1d", "-1", "99999999999999999999", "18446744073709551615h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}

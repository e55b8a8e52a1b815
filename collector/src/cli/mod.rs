//! The command line: parsing, exit codes, errors on one line. Each command is a file of its own.

mod bundle;
mod capture;
mod case;
mod documents;
mod import;
mod progress;
mod serve;
mod summary;
mod token;
mod verify;

use clap::{CommandFactory as _, Parser, Subcommand};
use std::{fmt, path::PathBuf, process::ExitCode};

use crate::failure::Failure;
pub use cleanroom_agent::cli::{EXIT_COMPLETE, EXIT_FAILED, EXIT_PARTIAL};

const AFTER: &str = "Examples:
  Capture this machine, no set-up needed:
    cleanroom capture
  With two minutes of live DNS, into a case of that name:
    cleanroom capture --case miner-42 --watch 2m
  Check a bundle that somebody gave you:
    cleanroom verify miner-42.tar

Exit codes: 0 complete, 1 failed, 2 usage, 3 complete with partial items (each is named),
4 verification failed. Standard: NO_COLOR, CLEANROOM_STORE.";

/// Captures compromised hosts into cases that stand up, and checks them.
#[derive(Debug, Parser)]
#[command(name = "cleanroom", version, about, after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Capture this machine into a case and write its bundle.
    Capture(Box<capture::CaptureArgs>),
    /// Take captures from agents over the network.
    Serve(serve::ServeArgs),
    /// Give out a one-time join token for one host of a case.
    Token(token::TokenArgs),
    /// Make, list, show and close cases.
    #[command(subcommand, after_help = case::EXAMPLES)]
    Case(case::CaseCommand),
    /// Write the bundle of a case.
    Bundle(bundle::BundleArgs),
    /// Verify a bundle with nothing but the bundle.
    Verify(verify::VerifyArgs),
    /// Take an offline session file of `cleanroom-agent collect --output` into a case.
    Import(import::ImportArgs),
    /// What the agent on a suspect host can do (the same code as `cleanroom-agent`).
    #[command(subcommand)]
    Agent(cleanroom_agent::cli::Command),
    /// Print shell completions.
    Completions(documents::CompletionsArgs),
    /// Write the manual pages into a folder.
    Man(documents::ManArgs),
}

/// Where the store is.
#[derive(Clone, Debug, clap::Args)]
pub struct StoreArgs {
    /// Folder of the store; made on first use
    #[arg(long, value_name = "DIR", env = "CLEANROOM_STORE", default_value = "cleanroom-cases")]
    pub store: PathBuf,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Capture(args) => capture::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Case(command) => case::run(&command),
        Command::Bundle(args) => bundle::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Agent(command) => return cleanroom_agent::cli::run(command),
        Command::Completions(args) => documents::completions(&args, Cli::command()),
        Command::Man(args) => documents::man(&args, Cli::command()),
    };
    match result {
        Ok(exit) => ExitCode::from(exit),
        Err(failure) => {
            eprintln!("error: {}", cleanroom_evidence::printable(failure.text().as_bytes()));
            ExitCode::from(failure.exit())
        }
    }
}

/// Prints to standard output; a closed pipe is not this program's failure.
pub fn print(text: impl fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_explains_itself() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands_mut() {
            assert!(sub.get_about().is_some(), "{} says nothing", sub.get_name());
        }
    }
}

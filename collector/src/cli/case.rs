//! `cleanroom case`: make, list, show, close.

use super::{EXIT_COMPLETE, StoreArgs, print};
use crate::failure::Failure;
use crate::setup;
use clap::{Args, Subcommand};
use cleanroom_evidence::{CaseId, printable};
use cleanroom_store::Store;

/// Shown below the help of `case` and of each of its commands.
pub const EXAMPLES: &str = "Examples:
  cleanroom case new miner-42 --title 'Miners in us-east-1' --examiner 'A. Analyst'
  cleanroom case list
  cleanroom case show miner-42 --json
  cleanroom case close miner-42 --why 'handed over'";

/// What can be done with cases.
#[derive(Debug, Subcommand)]
pub enum CaseCommand {
    /// Make a case.
    #[command(after_help = EXAMPLES)]
    New(NewArgs),
    /// List the cases of the store.
    #[command(after_help = EXAMPLES)]
    List(ListArgs),
    /// Show a case, its sessions and the state of its custody log.
    #[command(after_help = EXAMPLES)]
    Show(OneArgs),
    /// Close a case: it takes no more evidence.
    #[command(after_help = EXAMPLES)]
    Close(CloseArgs),
}

/// `case new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Id of the case: a–z, 0–9, - _ .
    id: CaseId,
    #[command(flatten)]
    store: StoreArgs,
    /// What it is about
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Who leads it [default: the user who runs this]
    #[arg(long, value_name = "NAME")]
    examiner: Option<String>,
    /// On whose authority, and why
    #[arg(long, value_name = "TEXT")]
    authority: Option<String>,
    /// Bytes that the case may hold at most, e.g. 500G
    #[arg(long, value_name = "SIZE", value_parser = cleanroom_agent::cli::parse_size)]
    quota: Option<u64>,
    /// Print the case as JSON
    #[arg(long)]
    json: bool,
}

/// `case list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// `case show`.
#[derive(Debug, Args)]
pub struct OneArgs {
    /// The case
    id: CaseId,
    #[command(flatten)]
    store: StoreArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// `case close`.
#[derive(Debug, Args)]
pub struct CloseArgs {
    /// The case
    id: CaseId,
    #[command(flatten)]
    store: StoreArgs,
    /// Why it is closed
    #[arg(long, value_name = "TEXT", default_value = "closed by the examiner")]
    why: String,
}

/// Runs it.
pub fn run(command: &CaseCommand) -> Result<u8, Failure> {
    match command {
        CaseCommand::New(args) => {
            let mut draft =
                setup::draft(args.id.clone(), args.title.clone(), args.examiner.clone())?;
            draft.authority = args.authority.clone().unwrap_or_default();
            draft.quota_bytes = args.quota;
            let case = Store::open(&args.store.store)?.create_case(draft)?;
            match args.json {
                true => print(format_args!("{:#}", serde_json::to_value(case.reader().info())?)),
                false => print(&args.id),
            }
        }
        CaseCommand::List(args) => list(args)?,
        CaseCommand::Show(args) => show(args)?,
        CaseCommand::Close(args) => {
            Store::open(&args.store.store)?
                .open_case(&args.id, setup::tool()?)?
                .close(&args.why)?;
        }
    }
    Ok(EXIT_COMPLETE)
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let store = Store::open(&args.store.store)?;
    let cases = store
        .case_ids()?
        .iter()
        .map(|id| store.read_case(id).map(|case| case.info().clone()))
        .collect::<Result<Vec<_>, _>>()?;
    if args.json {
        print(format_args!("{:#}", serde_json::to_value(&cases)?));
        return Ok(());
    }
    for case in cases {
        let state = if case.closed.is_some() { "closed" } else { "open" };
        let title = printable(case.title.as_bytes());
        print(format_args!("{:<32} {state:<6} {}  {title}", case.id.as_str(), case.created.utc));
    }
    Ok(())
}

fn show(args: &OneArgs) -> Result<(), Failure> {
    let case = Store::open(&args.store.store)?.read_case(&args.id)?;
    let (sessions, custody) = (case.sessions()?, case.custody()?);
    if args.json {
        let value = serde_json::json!({
            "case": case.info(),
            "sessions": sessions,
            "custody": {"entries": custody.head.size, "checkpoint": custody.checkpoint, "key": custody.vkey},
        });
        print(format_args!("{value:#}"));
        return Ok(());
    }
    let info = case.info();
    print(format_args!("{}  {}", info.id, printable(info.title.as_bytes())));
    print(format_args!("examiner {}", printable(info.examiner.as_bytes())));
    print(format_args!("created  {}", info.created.utc));
    print(format_args!("custody  {} entries, key {}", custody.head.size, custody.vkey));
    for session in sessions {
        print(format_args!("{}  {}  opened {}", session.host, session.session, session.opened.utc));
    }
    Ok(())
}

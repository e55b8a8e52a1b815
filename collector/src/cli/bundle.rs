//! `cleanroom bundle`: writes the bundle of a case.

use super::{EXIT_COMPLETE, StoreArgs, print};
use crate::failure::Failure;
use crate::{bundling, setup};
use clap::Args;
use cleanroom_evidence::CaseId;
use cleanroom_store::{Case, Store, StoreError};
use std::{path::PathBuf, thread::sleep, time::Duration};

const EXAMPLES: &str = "Examples:
  cleanroom bundle miner-42 -o miner-42.tar
  cleanroom bundle miner-42 --folder -o miner-42";

/// A capture may hold the case for a moment.
const WAITS: u32 = 20;

/// `bundle`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BundleArgs {
    /// The case
    case: CaseId,
    #[command(flatten)]
    store: StoreArgs,
    /// File to write; one that exists is not replaced [default: in the case's folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a folder instead of a tar
    #[arg(long)]
    folder: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &BundleArgs) -> Result<u8, Failure> {
    let root = &args.store.store;
    let case = open(&Store::open(root)?, &args.case)?;
    let exported = bundling::export(root, &case, args.output.as_deref(), args.folder)?;
    if args.json {
        print(serde_json::json!({
            "bundle": exported.path, "files": exported.files, "bytes": exported.bytes,
            "tagmanifest_sha256": exported.tag_manifest,
            "custody_entries": exported.custody_entries, "custody_root": exported.custody_root,
        }));
    } else {
        print(exported.path.display());
        eprintln!("verify with: cleanroom verify {}", exported.path.display());
    }
    Ok(EXIT_COMPLETE)
}

fn open(store: &Store, id: &CaseId) -> Result<Case, Failure> {
    for _ in 0..WAITS {
        match store.open_case(id, setup::tool()?) {
            Err(StoreError::CaseBusy(_)) => sleep(Duration::from_millis(500)),
            other => return Ok(other?),
        }
    }
    Err(Failure::new(format!("case {id} is being captured into: wait until that has ended")))
}

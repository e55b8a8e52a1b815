//! `cleanroom verify`: checks a bundle with nothing but the bundle, and names the first thing that
//! is wrong.

use super::{EXIT_COMPLETE, print};
use crate::failure::Failure;
use clap::Args;
use cleanroom_bundle::{VerifyOptions, verify};
use indicatif::HumanBytes;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  cleanroom verify miner-42.tar
  With the key that the collector's owner gave you by another way:
    cleanroom verify miner-42.tar --key 3f1c…

Exit codes: 0 it holds, 2 usage, 4 it does not (the first thing wrong is named).";

/// `verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct VerifyArgs {
    /// The bundle: a tar or a folder
    bundle: PathBuf,
    /// Key that must have signed it: fingerprint (64 digits) or verifier key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &VerifyArgs) -> Result<u8, Failure> {
    let options = VerifyOptions { expected_key: args.key.clone() };
    if !args.bundle.exists() {
        return Err(Failure::usage(format!("there is no {}", args.bundle.display())));
    }
    let facts = verify(&args.bundle, &options).map_err(|error| {
        if args.json {
            let why = crate::failure::chain(&error);
            print(serde_json::json!({"verified": false, "why": why}));
        }
        Failure::unverified(format!("{}: {}", args.bundle.display(), crate::failure::chain(&error)))
    })?;
    if args.json {
        print(serde_json::json!({
            "verified": true, "case": facts.case, "sessions": facts.sessions,
            "items": facts.items, "item_bytes": facts.item_bytes,
            "files": facts.files, "bytes": facts.bytes,
            "custody_entries": facts.custody_entries, "custody_root": facts.custody_root,
            "key": facts.key, "key_fingerprint": facts.key_fingerprint,
            "key_was_expected": facts.key_was_expected, "exported": facts.exported,
        }));
        return Ok(EXIT_COMPLETE);
    }
    print(format_args!("{} holds.", args.bundle.display()));
    print(format_args!(
        "Case {}: {} items ({}) of {} sessions, exported {}",
        facts.case,
        facts.items,
        HumanBytes(facts.item_bytes),
        facts.sessions,
        facts.exported
    ));
    print(format_args!(
        "Custody log: {} entries, root {}",
        facts.custody_entries, facts.custody_root
    ));
    print(format_args!("Signed by key {}", facts.key_fingerprint));
    if !facts.key_was_expected {
        print(
            "That key came with the bundle: compare it with the one its maker gave you, or pass it with --key.",
        );
    }
    Ok(EXIT_COMPLETE)
}

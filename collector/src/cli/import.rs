//! `cleanroom import`: an offline session file into a case.

use super::{EXIT_COMPLETE, EXIT_PARTIAL, StoreArgs, print};
use crate::failure::Failure;
use crate::{importing::import, setup};
use clap::Args;
use cleanroom_evidence::{CaseId, HostId, printable};
use cleanroom_store::Store;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  cleanroom import host.session --case miner-42 --host i-0abc
  then: cleanroom bundle miner-42 -o miner-42.tar

Exit codes: 0 complete, 1 failed, 3 the file was cut: what stands before the cut is in the case.";

/// `import`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportArgs {
    /// The file that `cleanroom-agent collect --output` wrote
    file: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
    /// Case to import into; made if it does not exist [default: a new one]
    #[arg(long, value_name = "ID")]
    case: Option<CaseId>,
    /// Id of the host [default: the host's name in the file]
    #[arg(long, value_name = "ID")]
    host: Option<HostId>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &ImportArgs) -> Result<u8, Failure> {
    if !args.file.is_file() {
        return Err(Failure::usage(format!("there is no file {}", args.file.display())));
    }
    let store = Store::open(&args.store.store)?;
    let id = match &args.case {
        Some(id) => id.clone(),
        None => setup::fresh_case_id()?,
    };
    let case = match store.case_ids()?.contains(&id) {
        true => store.open_case(&id, setup::tool()?)?,
        false => store.create_case(setup::draft(id.clone(), None, None)?)?,
    };
    let imported = import(&case, &args.file, args.host.clone())?;
    if args.json {
        print(serde_json::json!({
            "case": id, "host": imported.host, "session": imported.session,
            "entries": imported.entries, "cut": imported.cut,
        }));
    } else {
        print(format_args!(
            "case {id}: session {} of {}, {} entries",
            imported.session, imported.host, imported.entries
        ));
    }
    match imported.cut {
        None => Ok(EXIT_COMPLETE),
        Some(why) => {
            let why = printable(why.as_bytes());
            eprintln!(
                "warning: {}: {why}; what stands before it is in the case",
                args.file.display()
            );
            Ok(EXIT_PARTIAL)
        }
    }
}

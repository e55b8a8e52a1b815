//! `cleanroom token`: a one-time join token for one host of one case, and the agent's command.

use super::{EXIT_COMPLETE, StoreArgs, print};
use crate::failure::Failure;
use crate::{enrol::Enrolment, pki::Authority, setup};
use clap::Args;
use cleanroom_agent::cli::parse_duration;
use cleanroom_evidence::{CaseId, HostId};
use cleanroom_store::{Store, StoreError};
use std::{net::SocketAddr, time::Duration};

const EXAMPLES: &str = "Examples:
  A token that is good for ten minutes and one use:
    cleanroom token --case miner-42 --instance i-0abc --collector 10.0.0.5:7443
  For scripts:
    cleanroom token --case miner-42 --instance i-0abc --json";

/// `token`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TokenArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// The case
    #[arg(long, value_name = "ID")]
    case: CaseId,
    /// The host: its instance id or another name
    #[arg(long, value_name = "ID")]
    instance: HostId,
    /// How long the token can be used
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10m")]
    expires: Duration,
    /// The collector's address, for the agent's command line that is printed
    #[arg(long, value_name = "IP:PORT")]
    collector: Option<SocketAddr>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &TokenArgs) -> Result<u8, Failure> {
    let root = &args.store.store;
    let store = Store::open(root)?;
    if !store.case_ids()?.contains(&args.case) {
        return Err(Failure::new(format!(
            "there is no case {} in {}: make it with `cleanroom case new {}`",
            args.case,
            root.display(),
            args.case
        )));
    }
    let authority = Authority::open(&root.join(setup::KEYS))?;
    let enrolment = Enrolment::open(root)?;
    let actor = setup::actor();
    let (token, grant) = enrolment.grant(&args.case, &args.instance, &actor.who, args.expires)?;
    // While a capture holds the case, the entry of the enrolment tells who gave out the token.
    match store.open_case(&args.case, setup::tool()?) {
        Ok(case) => drop(case.record(grant.event(&token.digest()))?),
        Err(StoreError::CaseBusy(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let pin = authority.pin();
    if args.json {
        print(serde_json::json!({
            "token": token.reveal(), "ca_pin": pin, "case": args.case, "host": args.instance,
            "expires_unix_seconds": grant.expires_unix_seconds,
        }));
        return Ok(EXIT_COMPLETE);
    }
    let address = args.collector.map_or_else(|| "IP:PORT".to_owned(), |a| a.to_string());
    print(token.reveal());
    eprintln!(
        "One use, until {} s from now. Put it into a file on the host, then there:",
        args.expires.as_secs()
    );
    eprintln!("  cleanroom-agent collect --collector {address} --token-file FILE --ca-pin {pin}");
    Ok(EXIT_COMPLETE)
}

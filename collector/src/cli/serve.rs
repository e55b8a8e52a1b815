//! `cleanroom serve`: a collector for agents on other machines.

use super::{EXIT_COMPLETE, StoreArgs, print};
use crate::failure::Failure;
use crate::{
    ingest::{self, Progress},
    setup,
};
use clap::Args;
use cleanroom_evidence::printable;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

const EXAMPLES: &str = "Examples:
  Listen on one address of the clean room:
    cleanroom serve --store /var/lib/cleanroom --listen 10.0.0.5:7443
  Then, for each host, on the same machine:
    cleanroom case new miner-42 --store /var/lib/cleanroom
    cleanroom token --store /var/lib/cleanroom --case miner-42 --instance i-0abc --collector 10.0.0.5:7443";

/// `serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Address to listen on
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7443")]
    listen: SocketAddr,
    /// Print what happens as JSON lines
    #[arg(long)]
    json: bool,
}

/// Serves until SIGINT or SIGTERM.
pub fn run(args: &ServeArgs) -> Result<u8, Failure> {
    let json = args.json;
    let collector = setup::collector(&args.store.store, Box::new(move |p| tell(&p, json)))?;
    let pin = collector.authority.pin();
    let runtime = Runtime::new()?;
    let served = runtime.block_on(async {
        let running = ingest::start(collector, args.listen)
            .await
            .map_err(|error| Failure::new(format!("cannot listen on {}: {error}", args.listen)))?;
        let address = running.address;
        match json {
            true => print(serde_json::json!({"listening": address, "ca_pin": pin})),
            false => print(format_args!("listening on {address}, CA pin {pin}")),
        }
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        running.stop().await?;
        Ok(EXIT_COMPLETE)
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    served
}

fn tell(progress: &Progress, json: bool) {
    let (host, value) = match progress {
        Progress::Connected { host } => (host, serde_json::json!({"event": "connected"})),
        Progress::Done { host } => (host, serde_json::json!({"event": "complete"})),
        Progress::SourceEnd { host, outcome } => {
            (host, serde_json::json!({"event": "source ended", "outcome": outcome}))
        }
        Progress::Item { .. } | Progress::Bytes(_) => return,
    };
    if json {
        return print(serde_json::json!({"host": host, "what": value}));
    }
    match progress {
        Progress::SourceEnd { outcome, .. } => {
            let source = printable(outcome.source.as_bytes());
            print(format_args!(
                "{host} {source}: {} items, {} bytes",
                outcome.items, outcome.bytes
            ));
        }
        Progress::Connected { .. } => print(format_args!("{host} connected")),
        _ => print(format_args!("{host} complete")),
    }
}

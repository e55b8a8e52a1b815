//! `cleanroom capture`: this machine, an embedded collector on loopback, the agent as a process of
//! its own over real mTLS, and at the end a bundle.

use super::{
    EXIT_COMPLETE, EXIT_FAILED, EXIT_PARTIAL, Failure, StoreArgs, print,
    progress::Display,
    summary::{Summary, print_summary},
};
use crate::{bundling, enrol::Token, ingest, setup};
use clap::Args;
use cleanroom_agent::cli::WhatArgs;
use cleanroom_evidence::{CaseId, HostId, Sha256Digest};
use cleanroom_store::{Case, Store};
use std::{
    ffi::OsString,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncWriteExt as _,
    process::Command,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

/// The agent starts at once, so its token need not live long.
const TOKEN_LIFETIME: Duration = Duration::from_secs(120);

const EXAMPLES: &str = "Examples:
  Everything of the default profile:
    cleanroom capture
  Only what a reboot destroys, and a minute of DNS:
    cleanroom capture --profile volatile --watch 60s
  Hash a whole volume and take one file along:
    cleanroom capture --volume /dev/nvme1n1 --file /usr/cryptokit/persist.sh
  A mounted image of a dead disk:
    cleanroom capture --root /mnt/evidence --host i-0abc";

/// `capture`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CaptureArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Case to capture into; made if it does not exist [default: a new one]
    #[arg(long, value_name = "ID")]
    case: Option<CaseId>,
    /// What a new case is about
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Who leads a new case [default: the user who runs this]
    #[arg(long, value_name = "NAME")]
    examiner: Option<String>,
    /// Id of the host in the case [default: the EC2 instance id, else the host's name; the name in
    /// the image with --root]
    #[arg(long, value_name = "ID")]
    host: Option<HostId>,
    #[command(flatten)]
    what: WhatArgs,
    /// Agent binary to start [default: the agent inside this program]
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub fn run(args: &CaptureArgs) -> Result<u8, Failure> {
    // Everything that can be wrong with the command line is told before a case is made.
    args.what.profile().map_err(Failure::usage)?;
    let began = Instant::now();
    let root = &args.store.store;
    let display = Arc::new(Display::new(args.json));
    let shown = Arc::clone(&display);
    let collector = setup::collector(root, Box::new(move |progress| shown.show(&progress)))?;
    let (case, made) = open_case(args)?;
    let case = Arc::new(case);
    collector.cases.share(&case);
    let id = case.reader().info().id.clone();
    let host = match &args.host {
        Some(host) => host.clone(),
        None => setup::host_of(args.what.root.as_deref())?,
    };
    let before = case.reader().sessions()?.len();
    let by = setup::actor().who;
    let (token, grant) = collector.enrolment.grant(&id, &host, &by, TOKEN_LIFETIME)?;
    case.record(grant.event(&token.digest()))?;
    let runtime = Runtime::new()?;
    let agent_exit = runtime.block_on(async {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let running = ingest::start(Arc::clone(&collector), loopback).await?;
        let pin = collector.authority.pin();
        let ended = agent(args, running.address, &pin, &token).await;
        running.stop().await?;
        ended
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    display.finish();
    let agent_exit = agent_exit?;
    if case.reader().sessions()?.len() == before && made {
        return Err(Failure::new(format!("the agent delivered nothing; case {id} is empty")));
    }
    let exported = bundling::export(root, &case, None, false)?;
    let summary = Summary::of(&case, &host, &exported, began.elapsed())?;
    match args.json {
        true => print(format_args!("{:#}", serde_json::to_value(&summary)?)),
        false => print_summary(&summary),
    }
    if agent_exit != EXIT_COMPLETE && agent_exit != EXIT_PARTIAL {
        return Err(Failure::new(format!(
            "the agent failed (exit code {agent_exit}); what it had delivered is in the bundle"
        )));
    }
    Ok(if summary.is_whole() { EXIT_COMPLETE } else { EXIT_PARTIAL })
}

fn open_case(args: &CaptureArgs) -> Result<(Case, bool), Failure> {
    let store = Store::open(&args.store.store)?;
    if let Some(id) = &args.case
        && store.case_ids()?.contains(id)
    {
        return Ok((store.open_case(id, setup::tool()?)?, false));
    }
    let id = match &args.case {
        Some(id) => id.clone(),
        None => setup::fresh_case_id()?,
    };
    let draft = setup::draft(id, args.title.clone(), args.examiner.clone())?;
    Ok((store.create_case(draft)?, true))
}

/// Starts the agent and waits for it; gives its exit code. The token goes over a pipe: it is never
/// in an argument, an environment or a file.
async fn agent(
    args: &CaptureArgs,
    collector: SocketAddr,
    ca_pin: &Sha256Digest,
    token: &Token,
) -> Result<u8, Failure> {
    let (program, mut arguments): (PathBuf, Vec<OsString>) = match &args.agent {
        Some(path) => (path.clone(), Vec::new()),
        None => (std::env::current_exe()?, vec!["agent".into()]),
    };
    arguments.extend(["collect", "--no-state", "--token-file", "-"].map(OsString::from));
    arguments.extend(["--collector".into(), collector.to_string().into()]);
    arguments.extend(["--ca-pin".into(), ca_pin.to_string().into()]);
    arguments.extend(args.what.to_args());
    let mut child = Command::new(&program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::new(format!("cannot start {}: {error}", program.display())))?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(token.reveal().as_bytes()).await?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    loop {
        // However it is stopped, the agent ends first, and what it delivered becomes a bundle.
        tokio::select! {
            status = child.wait() => {
                let code = status?.code().and_then(|code| u8::try_from(code).ok());
                return Ok(code.unwrap_or(EXIT_FAILED));
            }
            // The terminal has sent the same signal to the agent.
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => child.start_kill()?,
        }
    }
}

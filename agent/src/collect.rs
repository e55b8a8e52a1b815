//! `collect`: one session from start to end, to a collector or into a file.

use crate::{
    frames::FrameSink,
    offline::OfflineFile,
    profile::{Profile, ProfileError},
    run,
    spool::Spool,
    state::{Place, State},
    throttle::Throttle,
    transport::{self, Collector, Established, Identity, Link, Session, TransportError},
};
use cleanroom_evidence::{Hasher, SessionId, Sha256Digest, SourceOutcome};
use cleanroom_sources::{
    Host, Options, SinkClosed, Source,
    quiet::{Quiet, become_quiet, footprint},
    sys::file::clock,
};
use cleanroom_wire::{clock_to, pb};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::oneshot;

/// Everything that a run needs to know.
pub struct Plan {
    /// Which sources, within which limits.
    pub profile: Profile,
    /// The profile's options as the command line changed them.
    pub options: Options,
    /// A dead disk's folder; `None`: this host.
    pub root: Option<PathBuf>,
    /// Where the evidence goes.
    pub destination: Destination,
    /// Ceiling of what leaves the host.
    pub bytes_per_second: Option<u64>,
    /// Told why the collector cannot be reached, when the reason changes; the run goes on trying.
    pub trouble: fn(&str),
}

/// Where evidence goes.
pub enum Destination {
    /// A collector.
    Collector {
        /// Where it is and how to know it.
        collector: Collector,
        /// The one-time token; not needed when a killed agent goes on.
        token: Option<Token>,
        /// Give up after so long without it.
        patience: Duration,
        /// Where to keep what a killed agent needs; `Some(None)`: the default place.
        state: Option<Option<PathBuf>>,
        /// Memory for evidence that is not yet acknowledged.
        spool_bytes: usize,
    },
    /// A file, for `cleanroom import`.
    File(PathBuf),
}

/// A join token; shown nowhere.
pub struct Token(pub [u8; 32]);

/// What was delivered.
pub struct Collected {
    /// The session.
    pub session: SessionId,
    /// How each source ended.
    pub outcomes: Vec<SourceOutcome>,
    /// The collector's signed checkpoint over its custody log, where there is a collector.
    pub checkpoint: Option<String>,
}

/// Why a run failed as a whole.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The profile is not usable.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The root cannot be opened.
    #[error("cannot open the root {path}")]
    Root {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No token and no session to go on with.
    #[error("no join token was given (--token-file) and no session of a killed agent was found")]
    NoToken,
    /// The output file cannot be written.
    #[error("cannot write {path}")]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The evidence did not reach the collector.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The evidence could not be written on.
    #[error(transparent)]
    Sink(#[from] SinkClosed),
    /// This host lacks something that every run needs.
    #[error("cannot start: {0}")]
    Start(String),
}

/// Runs the plan to its end.
pub fn collect(plan: &Plan) -> Result<Collected, CollectError> {
    let quiet = become_quiet();
    let host = match &plan.root {
        None => Host::live(),
        Some(root) => Host::at(root),
    }
    .map_err(|source| {
        let path = plan.root.clone().unwrap_or_else(|| "/".into());
        CollectError::Root { path, source }
    })?;
    let sources = plan.profile.sources()?;
    let job = Job { plan, host, sources, quiet };
    match &plan.destination {
        Destination::File(path) => job.write_file(path),
        Destination::Collector { .. } => job.stream_to_collector(),
    }
}

struct Job<'p> {
    plan: &'p Plan,
    host: Host,
    sources: Vec<&'static dyn Source>,
    quiet: Quiet,
}

impl Job<'_> {
    fn write_file(self, path: &Path) -> Result<Collected, CollectError> {
        let failed = |source| CollectError::Output { path: path.to_owned(), source };
        let session = new_session()?;
        let file = OfflineFile::create(path, self.open(&session)?).map_err(failed)?;
        let mut sink = FrameSink::new(&file, Throttle::new(self.plan.bytes_per_second), 1, None);
        let outcomes = self.run(&BTreeSet::new(), &mut sink)?;
        let last_seq = sink.last_seq();
        drop(sink);
        file.finish(last_seq).map_err(failed)?;
        Ok(Collected { session, outcomes, checkpoint: None })
    }

    fn stream_to_collector(self) -> Result<Collected, CollectError> {
        let Destination::Collector { collector, token, patience, state, spool_bytes } =
            &self.plan.destination
        else {
            return Err(CollectError::Start("no collector".into()));
        };
        let link =
            Link { collector: collector.clone(), patience: *patience, trouble: self.plan.trouble };
        let state = match state {
            None => None,
            Some(asked) => Place::choose(asked.as_deref(), &self.key(&collector.ca_pin))
                .map_err(|error| CollectError::Start(format!("state folder: {error}")))?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CollectError::Start(error.to_string()))?;
        let (identity, session) =
            runtime.block_on(identify(&link, token.as_ref(), state.as_ref()))?;
        let session = Session { open: self.open(&session)?, id: session };
        let spool = Arc::new(Spool::new(*spool_bytes));
        let (tell, told) = oneshot::channel();
        let outcomes = std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let delivered = runtime.block_on(async {
                    tokio::select! {
                        sent = transport::send_spool(&link, &identity, &session, &spool, tell) => sent,
                        _ = stopped() => Err(TransportError::Stopped),
                    }
                });
                if let Err(error) = &delivered {
                    spool.fail(&error.to_string());
                }
                delivered
            });
            let ran = match told.blocking_recv() {
                Ok(established) => self.stream(established, &spool),
                Err(_) => Ok(Vec::new()),
            };
            spool.finish();
            let delivered = sender.join().unwrap_or_else(|_| {
                Err(TransportError::Protocol("the sending thread ended early".into()))
            });
            // The transport's error is the cause where both failed.
            let checkpoint = delivered?;
            Ok::<_, CollectError>((ran?, checkpoint))
        });
        let (outcomes, checkpoint) = outcomes?;
        if let Some(state) = state {
            state.clear();
        }
        Ok(Collected { session: session.id, outcomes, checkpoint: Some(checkpoint) })
    }

    fn stream(
        &self,
        established: Established,
        spool: &Spool,
    ) -> Result<Vec<SourceOutcome>, CollectError> {
        let throttle = Throttle::new(self.plan.bytes_per_second);
        let mut sink = FrameSink::new(spool, throttle, established.first_seq, established.resume);
        let finished = established.finished_sources.into_iter().collect();
        self.run(&finished, &mut sink)
    }

    fn run(
        &self,
        finished: &BTreeSet<String>,
        sink: &mut FrameSink<'_>,
    ) -> Result<Vec<SourceOutcome>, CollectError> {
        let started = clock();
        let options = &self.plan.options;
        let outcomes = run::run(&self.host, options, &self.sources, finished, sink)?;
        let print = footprint(&self.host, &self.quiet, started);
        sink.note("footprint", &serde_json::to_value(print).unwrap_or_default())?;
        Ok(outcomes)
    }

    /// Stands for the collector and all that decides what is collected.
    fn key(&self, ca_pin: &Sha256Digest) -> Sha256Digest {
        let Plan { profile, options, root, .. } = self.plan;
        Sha256Digest::of(format!("{ca_pin} {profile:?} {options:?} {root:?}").as_bytes())
    }

    fn open(&self, session: &SessionId) -> Result<pb::Open, CollectError> {
        let small = |path: &[u8]| {
            let content = Host::live().and_then(|host| host.read(path, 4096));
            content.map(|c| String::from_utf8_lossy(&c.bytes).trim().to_owned()).unwrap_or_default()
        };
        let command_line: Vec<_> =
            std::env::args_os().map(|arg| arg.into_encoded_bytes()).collect();
        Ok(pb::Open {
            session_id: session.to_string(),
            incarnation: random_hex(8)?,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            agent_sha256: own_digest().map_or_else(|_| Vec::new(), |d| d.as_bytes().to_vec()),
            boot_id: small(b"/proc/sys/kernel/random/boot_id"),
            clock: Some(clock_to(clock())),
            host_name: small(b"/proc/sys/kernel/hostname"),
            profile: self.plan.profile.name.clone(),
            command_line: command_line.join(&0),
            root: self.plan.root.as_ref().map_or_else(String::new, |r| r.display().to_string()),
        })
    }
}

/// The identity and session: those of a killed agent where they are still good, else new ones.
async fn identify(
    link: &Link,
    token: Option<&Token>,
    state: Option<&Place>,
) -> Result<(Identity, SessionId), CollectError> {
    let now = clock().utc.unix_seconds;
    let given = token.map(|token| Sha256Digest::of(&token.0));
    if let Some(saved) = state.and_then(Place::load)
        && let Some(identity) = saved.identity(now, given)
    {
        return Ok((identity, saved.session));
    }
    let (token, digest) = token.zip(given).ok_or(CollectError::NoToken)?;
    let identity = transport::enrol_patiently(link, &token.0).await?;
    let session = new_session()?;
    if let Some(place) = state
        && let Err(error) = place.save(&State::new(session.clone(), digest, &identity))
    {
        (link.trouble)(&format!("no state is kept, a killed agent could not go on: {error}"));
    }
    Ok((identity, session))
}

async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        }
        _ => std::future::pending().await,
    }
}

fn new_session() -> Result<SessionId, CollectError> {
    let time = clock().utc.to_string();
    let stamp: String = time.chars().take(19).filter(char::is_ascii_alphanumeric).collect();
    format!("s-{}-{}", stamp.to_lowercase(), random_hex(4)?)
        .parse()
        .map_err(|error: cleanroom_evidence::BadId| CollectError::Start(error.to_string()))
}

fn random_hex(bytes: usize) -> Result<String, CollectError> {
    let mut random = vec![0u8; bytes];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| CollectError::Start("the kernel gives no random bytes".into()))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// SHA-256 of the running executable, so that the case tells which agent spoke.
fn own_digest() -> io::Result<Sha256Digest> {
    use std::io::Read as _;
    let mut file = Host::live()?.open(b"/proc/self/exe")?.file;
    let (mut hasher, mut buffer) = (Hasher::default(), vec![0u8; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

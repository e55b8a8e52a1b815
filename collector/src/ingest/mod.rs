//! The only gRPC server of the project: lets agents in, takes their evidence, acknowledges what is
//! durable. It never looks into an item's bytes and never makes a path from what an agent says.

mod enrolment;
mod evidence;
mod intake;
mod listener;

pub use evidence::session_of;
pub use intake::store as store_frame;

use crate::{cases::Cases, enrol::Enrolment, pki::Authority};
use cleanroom_evidence::{HostId, SourceOutcome};
use cleanroom_wire::{
    MAX_MESSAGE_BYTES, pb::enrollment_server::EnrollmentServer, pb::evidence_server::EvidenceServer,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// A connection is asked to make room for a new one after this; the agent dials again.
const CONNECTION_AGE: Duration = Duration::from_secs(4 * 3600);

/// Open connections end within this when the server stops.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// Streams at a time: each holds a thread and up to 4 MiB of frames.
const MAX_STREAMS: usize = 128;

/// What happens while evidence comes in, for a progress display.
#[derive(Clone, Debug)]
pub enum Progress {
    /// An agent has opened a stream.
    Connected {
        /// Its host.
        host: HostId,
    },
    /// An item began.
    Item {
        /// Its source.
        source: String,
    },
    /// Bytes have arrived.
    Bytes(u64),
    /// A source has ended.
    SourceEnd {
        /// Its host.
        host: HostId,
        /// How.
        outcome: Box<SourceOutcome>,
    },
    /// A session is complete.
    Done {
        /// Its host.
        host: HostId,
    },
}

/// Everything that the services share.
pub struct Collector {
    /// Open cases.
    pub cases: Cases,
    /// Tokens and issued certificates.
    pub enrolment: Enrolment,
    /// The CA.
    pub authority: Authority,
    /// Told what happens.
    pub progress: Box<dyn Fn(Progress) + Send + Sync>,
}

/// A running server.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Running {
    /// Stops taking connections and gives the open ones a moment to end.
    pub async fn stop(mut self) -> io::Result<()> {
        self.stop.cancel();
        match tokio::time::timeout(STOP_LIMIT, &mut self.task).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(io::Error::other(error)),
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(_) => {
                self.task.abort();
                Ok(())
            }
        }
    }
}

/// Starts the server. Every option that hyper would otherwise leave open is set.
pub async fn start(collector: Arc<Collector>, listen: SocketAddr) -> io::Result<Running> {
    let config = collector.authority.server_config().map_err(io::Error::other)?;
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let connections = listener::connections(listener, TlsAcceptor::from(Arc::new(config)));
    let stop = CancellationToken::new();
    let enrolment = enrolment::Service(Arc::clone(&collector));
    let evidence = evidence::Service {
        collector,
        stop: stop.clone(),
        places: Arc::new(Semaphore::new(MAX_STREAMS)),
    };
    let router = Server::builder()
        .max_concurrent_streams(4)
        .http2_max_local_error_reset_streams(Some(256))
        .http2_max_pending_accept_reset_streams(Some(20))
        .http2_max_header_list_size(16 * 1024)
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .max_connection_age(CONNECTION_AGE)
        .concurrency_limit_per_connection(16)
        .load_shed(true)
        .add_service(
            EnrollmentServer::new(enrolment)
                .max_decoding_message_size(64 * 1024)
                .max_encoding_message_size(64 * 1024),
        )
        .add_service(
            EvidenceServer::new(evidence)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        );
    let stopped = stop.clone().cancelled_owned();
    let task = tokio::spawn(router.serve_with_incoming_shutdown(connections, stopped));
    Ok(Running { address, stop, task })
}

//! Accepts TLS connections: a bounded number at a time, each with a limit on its handshake.
//! What the other side is, is the digest of the certificate that it proved to hold.

use cleanroom_evidence::Sha256Digest;
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

/// Connections at a time, handshakes included.
const MAX_CONNECTIONS: usize = 256;
/// A TLS handshake ends within this.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// A connection without a client certificate can only enrol, and ends within this: strangers
/// cannot take the places of agents for long.
const STRANGER_LIMIT: Duration = Duration::from_secs(30);

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// SHA-256 of its client certificate, which TLS has verified against our CA.
    pub certificate: Option<Sha256Digest>,
}

/// A connection after its handshake.
pub struct Connection {
    tls: TlsStream<TcpStream>,
    peer: Peer,
    ends: Option<Pin<Box<Sleep>>>,
    _permit: OwnedSemaphorePermit,
}

/// Accepts until the receiver is dropped.
pub fn connections(
    listener: TcpListener,
    acceptor: TlsAcceptor,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, stream) = mpsc::channel(16);
    tokio::spawn(async move {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&slots).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = ready.closed() => return,
            };
            let Ok((tcp, address)) = accepted else {
                // Out of file descriptors, or the peer is gone already: not the listener's end.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (acceptor, ready) = (acceptor.clone(), ready.clone());
            tokio::spawn(async move {
                let _ = tcp.set_nodelay(true);
                let Ok(Ok(tls)) = timeout(HANDSHAKE_LIMIT, acceptor.accept(tcp)).await else {
                    return;
                };
                let shown = tls.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate = shown.map(|der| Sha256Digest::of(der));
                let ends = certificate.is_none().then(|| Box::pin(sleep(STRANGER_LIMIT)));
                let peer = Peer { address, certificate };
                let _ = ready.send(Ok(Connection { tls, peer, ends, _permit: permit })).await;
            });
        }
    });
    ReceiverStream::new(stream)
}

impl Connected for Connection {
    type ConnectInfo = Peer;
    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(ends) = &mut self.ends
            && ends.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Pin::new(&mut self.tls).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}

//! The server's side of connections: from a listening socket to a bounded stream of authenticated connections.
//!
//! Each handshake runs in a task of its own, within a time. A socket that says nothing costs one of a bounded number of
//! handshake slots; when they run out the oldest handshake of the busiest source gives way, so that silent sockets
//! lock nobody out, whoever opens them. Established connections are counted apart, in all and for each peer.

mod slots;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use comity_core::{SpiffeId, Timestamp};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;

use crate::anchors::SharedTrust;
use crate::explain::refused_certificate;
use crate::handshake::{self, HandshakeTimedOut};
use crate::peer::Peer;
use slots::{Slots, Source};

/// What a listener spends on its callers. The process needs `max_connections + max_handshakes` descriptors and some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcceptorLimits {
    /// A handshake that takes longer is cut off, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// Established connections at one time.
    pub max_connections: usize,
    /// Established connections of one SPIFFE id at one time, so that one peer leaves room for the others.
    pub max_connections_per_peer: usize,
    /// Handshakes at one time.
    pub max_handshakes: usize,
    /// Handshakes at one time from one source: an IPv4 address, or an IPv6 /64.
    pub max_handshakes_per_source: usize,
}

impl Default for AcceptorLimits {
    fn default() -> Self {
        Self {
            handshake_timeout_ms: 5_000,
            max_connections: 1_024,
            max_connections_per_peer: 512,
            max_handshakes: 512,
            max_handshakes_per_source: 256,
        }
    }
}

/// A handshake that came to nothing, for the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedHandshake {
    /// From where.
    pub remote: SocketAddr,
    /// A short stable name of the reason, such as `certificate_expired`, `not_tls`, `timed_out`.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The refused handshakes of one acceptor: a bounded queue.
#[derive(Debug)]
pub struct RefusedHandshakes {
    queue: mpsc::Receiver<RefusedHandshake>,
    dropped: Arc<AtomicU64>,
}

impl RefusedHandshakes {
    /// How many wait at most; further ones are only counted.
    pub const QUEUE_MAX: usize = 1_024;

    /// The next one; `None` once the acceptor has ended.
    pub async fn recv(&mut self) -> Option<RefusedHandshake> {
        self.queue.recv().await
    }

    /// How many found the queue full since the last call, so that the access log can say that it misses some.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

/// A stream of authenticated connections. Ends when `shutdown` is cancelled; dropping it closes the listener.
#[derive(Debug)]
pub struct Acceptor {
    connections: mpsc::Receiver<Connection>,
    task: JoinHandle<()>,
}

impl Acceptor {
    /// Takes over a listener.
    ///
    /// `tls` decides who is admitted (see [`crate::tls::server_config`]); `trust` names the peer afterwards and must be
    /// the same that `tls` was made with.
    pub fn start(
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        trust: SharedTrust,
        limits: AcceptorLimits,
        shutdown: CancellationToken,
    ) -> (Self, RefusedHandshakes) {
        let max_connections = limits.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        // INVARIANT: each queued connection holds one of `max_connections` permits, so this queue is never full.
        let (ready, connections) = mpsc::channel(max_connections);
        let (refused, queue) = mpsc::channel(RefusedHandshakes::QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let shared = Arc::new(Shared {
            tls: TlsAcceptor::from(tls),
            trust,
            limits,
            permits: Arc::new(Semaphore::new(max_connections)),
            peers: Arc::default(),
            ready,
            refused,
            dropped: Arc::clone(&dropped),
        });
        let task = tokio::spawn(accept_loop(listener, shared, shutdown));
        (Self { connections, task }, RefusedHandshakes { queue, dropped })
    }

    /// The next connection; `None` after shutdown.
    pub async fn next(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }
}

impl Stream for Acceptor {
    type Item = Connection;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Connection>> {
        self.connections.poll_recv(cx)
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An authenticated connection. It counts against the limits until it is dropped; it reads and writes like its stream.
#[derive(Debug)]
pub struct Connection {
    /// The TLS stream.
    pub stream: TlsStream<TcpStream>,
    /// Who is at the other end.
    pub peer: Peer,
    /// From where.
    pub remote: SocketAddr,
    permit: ConnectionPermit,
}

impl Connection {
    /// Takes it apart. The permit must be kept as long as the stream is open.
    pub fn into_parts(self) -> (TlsStream<TcpStream>, Peer, SocketAddr, ConnectionPermit) {
        (self.stream, self.peer, self.remote, self.permit)
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

type PeerCounts = Arc<Mutex<HashMap<SpiffeId, usize>>>;

/// The place of one connection within the limits, given back when dropped.
#[derive(Debug)]
pub struct ConnectionPermit {
    _permit: OwnedSemaphorePermit,
    peers: PeerCounts,
    id: SpiffeId,
}

impl ConnectionPermit {
    fn acquire(shared: &Shared, id: &SpiffeId) -> Result<Self, &'static str> {
        let permit = Arc::clone(&shared.permits).try_acquire_owned().map_err(|_| "connection_limit")?;
        let mut counts = shared.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(id.clone()).or_default();
        if *count >= shared.limits.max_connections_per_peer.max(1) {
            return Err("peer_connection_limit");
        }
        *count += 1;
        drop(counts);
        Ok(Self { _permit: permit, peers: Arc::clone(&shared.peers), id: id.clone() })
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.id);
            }
        }
    }
}

/// What the loop and its handshakes share.
struct Shared {
    tls: TlsAcceptor,
    trust: SharedTrust,
    limits: AcceptorLimits,
    permits: Arc<Semaphore>,
    peers: PeerCounts,
    ready: mpsc::Sender<Connection>,
    refused: mpsc::Sender<RefusedHandshake>,
    dropped: Arc<AtomicU64>,
}

impl Shared {
    /// Brings one socket to an authenticated connection, or reports why not.
    async fn serve(self: Arc<Self>, socket: TcpStream, remote: SocketAddr) {
        match self.establish(socket, remote).await {
            // The receiver is gone only while everything here is being shut down.
            Ok(connection) => drop(self.ready.try_send(connection)),
            Err(reason) => self.report(remote, reason),
        }
    }

    async fn establish(&self, socket: TcpStream, remote: SocketAddr) -> Result<Connection, &'static str> {
        // Without it small frames wait for acknowledgements. It fails only on a socket that is already dead.
        socket.set_nodelay(true).map_err(|_| "closed")?;
        let timeout = Duration::from_millis(self.limits.handshake_timeout_ms);
        let stream = handshake::run(self.tls.accept(socket), timeout).await.map_err(|error| reason(&error))?;
        let (_, session) = stream.get_ref();
        let leaf = session.peer_certificates().and_then(|chain| chain.first()).ok_or("no_certificate")?;
        let peer = Peer::from_certificate(leaf, &self.trust.load()).map_err(|refusal| refusal.reason())?;
        let permit = ConnectionPermit::acquire(self, &peer.id)?;
        Ok(Connection { stream, peer, remote, permit })
    }

    fn report(&self, remote: SocketAddr, reason: &'static str) {
        tracing::debug!(%remote, reason, "handshake refused");
        let at = Timestamp::from_jiff(jiff::Timestamp::now());
        if self.refused.try_send(RefusedHandshake { remote, reason: reason.to_owned(), at }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

async fn accept_loop(listener: TcpListener, shared: Arc<Shared>, shutdown: CancellationToken) {
    // Dropped with this loop, and every unfinished handshake with it.
    let mut handshakes = JoinSet::new();
    let mut slots = Slots::new(shared.limits.max_handshakes, shared.limits.max_handshakes_per_source);
    let mut backoff = BACKOFF_MIN;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            Some(ended) = handshakes.join_next_with_id() => {
                let (task, was_cut_off) = match ended {
                    Ok((task, ())) => (task, false),
                    Err(error) => (error.id(), error.is_cancelled()),
                };
                // One told to give way may have finished all the same: what is reported is what happened.
                if let Some(remote) = slots.free(task) && was_cut_off {
                    shared.report(remote, "handshake_evicted");
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, remote)) => {
                backoff = BACKOFF_MIN;
                let source = Source::of(remote);
                slots.make_room(source);
                slots.insert(source, remote, handshakes.spawn(Arc::clone(&shared).serve(socket, remote)));
            }
            // The caller has gone away between its connect and our accept: no fault of the listener.
            Err(error) if is_of_the_caller(&error) => {}
            Err(error) => {
                // Out of descriptors, mostly: give one back, and try again in a while rather than end the listener.
                tracing::warn!(%error, "accept failed, trying again");
                slots.evict_one();
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(BACKOFF_MAX),
                }
            }
        }
    }
}

fn is_of_the_caller(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The stable name of the reason behind a failed handshake.
fn reason(error: &io::Error) -> &'static str {
    use rustls::Error as E;
    if let Some(refusal) = refused_certificate(error) {
        return refusal.reason();
    }
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<HandshakeTimedOut>()) {
        return "timed_out";
    }
    match inner.and_then(|inner| inner.downcast_ref::<E>()) {
        None => "closed",
        Some(E::InvalidMessage(_) | E::InappropriateMessage { .. } | E::InappropriateHandshakeMessage { .. }) => {
            "not_tls"
        }
        Some(E::NoCertificatesPresented) => "no_certificate",
        Some(E::NoApplicationProtocol) => "no_h2",
        Some(E::PeerIncompatible(_)) => "tls_version_or_algorithms",
        Some(E::AlertReceived(_)) => "refused_by_caller",
        Some(E::InvalidCertificate(_)) => "certificate_proof",
        Some(_) => "tls_error",
    }
}

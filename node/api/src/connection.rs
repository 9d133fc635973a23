//! Connections as tonic serves them: counted for the access log, and ended when their peer is admitted no more.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use comity_core::{MemberId, Timestamp};
use comity_identity::acceptor::Connection;
use comity_identity::peer::Peer;
use comity_identity::{SharedTrust, TrustStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::tally::Tally;

/// How long a connection may live. Streams within it end when it does.
#[derive(Debug, Clone)]
pub struct Lifetime {
    ends_at: Instant,
    ended: CancellationToken,
}

impl Lifetime {
    /// Until the connection's age or its certificate's time is over, whichever is first.
    fn new(age_max: Duration, certificate_end: Timestamp, ended: CancellationToken) -> Self {
        let now = Timestamp::from_jiff(jiff::Timestamp::now());
        let left = u64::try_from(certificate_end.as_micros().saturating_sub(now.as_micros())).unwrap_or_default();
        // A year is longer than any connection lives, and no instant is out of reach then.
        let left = age_max.min(Duration::from_micros(left)).min(Duration::from_secs(366 * 24 * 3_600));
        Self { ends_at: Instant::now() + left, ended }
    }

    /// Resolves when the connection is to end.
    pub async fn over(&self) {
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = tokio::time::sleep_until(self.ends_at) => {}
        }
    }
}

/// The connections that are open. Clones share it; the acceptors' limits bound it.
#[derive(Debug, Clone, Default)]
pub struct LiveConnections(Arc<Mutex<Live>>);

#[derive(Debug, Default)]
struct Live {
    next: u64,
    open: BTreeMap<u64, (Peer, CancellationToken)>,
}

impl LiveConnections {
    fn enter(&self, peer: Peer) -> Registration {
        let ended = CancellationToken::new();
        let mut live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = live.next;
        live.next += 1;
        live.open.insert(number, (peer, ended.clone()));
        Registration { live: self.clone(), number, ended }
    }

    /// Ends those of members that take part no more; says how many.
    pub fn end_of(&self, members: &BTreeSet<MemberId>) -> usize {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = live.open.values().filter(|(peer, ended)| !ended.is_cancelled() && members.contains(&peer.member));
        theirs.map(|(_, ended)| ended.cancel()).count()
    }

    /// Ends those whose peer would not be admitted any more; says how many.
    pub fn end_lapsed(&self, trust: &TrustStore, now: Timestamp) -> usize {
        let live = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lapsed =
            live.open.values().filter(|(peer, ended)| !ended.is_cancelled() && peer.still_holds(trust, now).is_err());
        lapsed.map(|(_, ended)| ended.cancel()).count()
    }
}

/// One connection's place among the open ones.
#[derive(Debug)]
struct Registration {
    live: LiveConnections,
    number: u64,
    ended: CancellationToken,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.live.0.lock().unwrap_or_else(PoisonError::into_inner).open.remove(&self.number);
        // Streams that were begun on it end, too.
        self.ended.cancel();
    }
}

/// What tonic hands to each request of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    pub(crate) peer: Peer,
    pub(crate) remote: SocketAddr,
    pub(crate) lifetime: Lifetime,
    counts: Arc<Counts>,
}

impl ConnectionInfo {
    pub(crate) fn count(&self, rpc: &'static str, allowed: bool) {
        let mut counts = self.counts.by_rpc.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry((rpc, allowed)).or_default() += 1;
    }
}

#[derive(Debug)]
struct Counts {
    by_rpc: Mutex<BTreeMap<(&'static str, bool), u64>>,
    peer: Peer,
    remote: SocketAddr,
    tally: Tally,
}

impl Drop for Counts {
    fn drop(&mut self) {
        let counts = std::mem::take(&mut *self.by_rpc.lock().unwrap_or_else(PoisonError::into_inner));
        if !counts.is_empty() {
            self.tally.add(&self.peer, self.remote, counts);
        }
    }
}

/// An accepted connection with its counts. Reads and writes fail from the moment at which its peer is admitted no more.
#[derive(Debug)]
pub struct ServedConnection {
    connection: Connection,
    info: ConnectionInfo,
    ended: CancellationToken,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
    _registration: Registration,
}

impl ServedConnection {
    /// Takes a connection over; its counts go to the tally when the last request of it is done.
    pub fn new(
        connection: Connection,
        tally: Tally,
        live: &LiveConnections,
        trust: &SharedTrust,
        age_max: Duration,
    ) -> Self {
        let (peer, remote) = (connection.peer.clone(), connection.remote);
        let registration = live.enter(peer.clone());
        let ended = registration.ended.clone();
        // INVARIANT: looked at after it was put in: a roster that changed in between is either seen here or finds it there.
        if peer.still_holds(&trust.load(), Timestamp::from_jiff(jiff::Timestamp::now())).is_err() {
            ended.cancel();
        }
        let lifetime = Lifetime::new(age_max, peer.not_after, ended.clone());
        let counts = Arc::new(Counts { by_rpc: Mutex::default(), peer: peer.clone(), remote, tally });
        Self {
            connection,
            info: ConnectionInfo { peer, remote, lifetime, counts },
            ending: Box::pin(ended.clone().cancelled_owned()),
            ended,
            _registration: registration,
        }
    }

    /// Fails once the connection is to end; else sees to it that the task is woken when it is.
    fn ensure_open(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.ended.is_cancelled() || self.ending.as_mut().poll(cx).is_ready() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the peer is admitted no more"));
        }
        Ok(())
    }
}

impl Connected for ServedConnection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl AsyncRead for ServedConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.ensure_open(cx)?;
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl AsyncWrite for ServedConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.ensure_open(cx)?;
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.ensure_open(cx)?;
        Pin::new(&mut self.connection).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

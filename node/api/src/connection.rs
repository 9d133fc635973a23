//! Connections as tonic serves them, counted for the access log.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use comity_identity::acceptor::Connection;
use comity_identity::peer::Peer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tonic::transport::server::Connected;

/// What the calls of one connection came to, for those RPCs that are recorded by connection.
#[derive(Debug)]
pub struct ConnectionSummary {
    /// Who.
    pub peer: Peer,
    /// From where.
    pub remote: SocketAddr,
    /// RPC and how often it was allowed or denied.
    pub counts: BTreeMap<(&'static str, bool), u64>,
}

/// What tonic hands to each request of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    pub(crate) peer: Peer,
    pub(crate) remote: SocketAddr,
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
    ended: mpsc::Sender<ConnectionSummary>,
}

impl Drop for Counts {
    fn drop(&mut self) {
        let counts = std::mem::take(&mut *self.by_rpc.lock().unwrap_or_else(PoisonError::into_inner));
        if !counts.is_empty() {
            let summary = ConnectionSummary { peer: self.peer.clone(), remote: self.remote, counts };
            if self.ended.try_send(summary).is_err() {
                tracing::warn!("a connection's counts were not recorded: too many connections end at once");
            }
        }
    }
}

/// An accepted connection with its counts.
#[derive(Debug)]
pub struct ServedConnection {
    connection: Connection,
    info: ConnectionInfo,
}

impl ServedConnection {
    /// Takes a connection over; its summary goes to `ended` when the last request of it is done.
    pub fn new(connection: Connection, ended: mpsc::Sender<ConnectionSummary>) -> Self {
        let (peer, remote) = (connection.peer.clone(), connection.remote);
        let counts = Counts { by_rpc: Mutex::default(), peer: peer.clone(), remote, ended };
        Self { connection, info: ConnectionInfo { peer, remote, counts: Arc::new(counts) } }
    }
}

impl Connected for ServedConnection {
    type ConnectInfo = ConnectionInfo;

    fn connect_info(&self) -> ConnectionInfo {
        self.info.clone()
    }
}

impl AsyncRead for ServedConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.connection).poll_read(cx, buf)
    }
}

impl AsyncWrite for ServedConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.connection).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(cx)
    }
}

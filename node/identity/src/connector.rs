//! The caller's side of connections: dials a member's node and proves both identities.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::anchors::SharedTrust;
use crate::credentials::Credentials;
use crate::handshake;
use crate::tls::{TlsSetupError, client_config};
use crate::verifier::Expectation;

/// How long a caller waits, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectorLimits {
    /// For a name to resolve and a TCP connection to stand.
    pub connect_timeout_ms: u64,
    /// For the TLS handshake after it.
    pub handshake_timeout_ms: u64,
}

impl Default for ConnectorLimits {
    fn default() -> Self {
        Self { connect_timeout_ms: 5_000, handshake_timeout_ms: 5_000 }
    }
}

/// Why no connection came about; wrapped in the [`io::Error`] that [`MemberConnector::connect`] returns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is not `host:port`.
    #[error("`{address}` is not an address: expected host:port, such as node.fr.example:7443")]
    Address {
        /// What was given.
        address: String,
    },
    /// No TCP connection.
    #[error("{address}: cannot connect: {source}; check the address, and that the node runs and can be reached")]
    Tcp {
        /// Where to.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// No TCP connection in time.
    #[error(
        "{address}: no answer within {timeout_ms} ms; check the address, and that the node runs and can be reached"
    )]
    TimedOut {
        /// Where to.
        address: String,
        /// How long was waited, in milliseconds.
        timeout_ms: u64,
    },
    /// No TLS on top of it. [`crate::explain_tls_error`] says more.
    #[error("{address}: TLS handshake failed: {source}")]
    Tls {
        /// Where to.
        address: String,
        /// Why; holds the [`crate::RefusedCertificate`] if this side refused the other's.
        source: io::Error,
    },
}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        let kind = match &error {
            ConnectError::Address { .. } => io::ErrorKind::InvalidInput,
            ConnectError::TimedOut { .. } => io::ErrorKind::TimedOut,
            ConnectError::Tcp { source, .. } | ConnectError::Tls { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}

/// Dials nodes as one identity, expecting one kind of peer. Cheap to clone.
///
/// It is also a `tower::Service` of `http::Uri`, for tonic's `connect_with_connector`; give that an `http://` URI, since
/// the TLS is made here.
#[derive(Clone)]
pub struct MemberConnector {
    tls: Arc<ClientConfig>,
    limits: ConnectorLimits,
}

impl MemberConnector {
    /// A connector that shows `credentials` and expects `expectation`: usually [`Expectation::node_of`].
    ///
    /// # Errors
    /// The provider does not do TLS 1.3.
    pub fn new(
        credentials: &Credentials,
        trust: SharedTrust,
        expectation: Expectation,
        limits: ConnectorLimits,
    ) -> Result<Self, TlsSetupError> {
        Ok(Self { tls: client_config(credentials, trust, expectation)?, limits })
    }

    /// Connects to `host:port`.
    ///
    /// In TLS 1.3 the server judges our certificate after our side of the handshake is done, so that its refusal shows
    /// up on the first read: pass that error to [`crate::explain_tls_error`].
    ///
    /// # Errors
    /// A [`ConnectError`] inside the `io::Error`.
    pub async fn connect(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        Ok(self.dial(address).await?)
    }

    async fn dial(&self, address: &str) -> Result<TlsStream<TcpStream>, ConnectError> {
        let owned = || address.to_owned();
        let has_port =
            address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !has_port {
            return Err(ConnectError::Address { address: address.chars().take(300).collect() });
        }
        let timeout_ms = self.limits.connect_timeout_ms;
        let socket = tokio::time::timeout(Duration::from_millis(timeout_ms), TcpStream::connect(address))
            .await
            .map_err(|_| ConnectError::TimedOut { address: owned(), timeout_ms })?
            .and_then(|socket| socket.set_nodelay(true).map(|()| socket))
            .map_err(|source| ConnectError::Tcp { address: owned(), source })?;
        // Neither sent (no SNI) nor looked at: the peer is known by its SPIFFE id.
        let unused_name = ServerName::from(std::net::IpAddr::from([0, 0, 0, 0]));
        let connecting = TlsConnector::from(Arc::clone(&self.tls)).connect(unused_name, socket);
        handshake::run(connecting, Duration::from_millis(self.limits.handshake_timeout_ms))
            .await
            .map_err(|source| ConnectError::Tls { address: owned(), source })
    }
}

impl std::fmt::Debug for MemberConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemberConnector").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl tower::Service<http::Uri> for MemberConnector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let address = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
            connector.connect(address).await.map(TokioIo::new)
        })
    }
}

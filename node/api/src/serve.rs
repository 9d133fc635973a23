//! Listeners: the peer port and the operator port, each with its own services and nothing else, behind the access layer.

use std::sync::Arc;
use std::time::Duration;

use comity_app::Node;
use comity_identity::tls::{TlsSetupError, server_config};
use comity_identity::{Acceptor, AcceptorLimits, Credentials, Expectation, SharedTrust};
use comity_proto::v1;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt as _;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use crate::connection::{LiveConnections, ServedConnection};
use crate::layer::AccessLayer;
use crate::services;
use crate::strangers::{StrangersQuota, record_refused};
use crate::table::Listener;
use crate::tally::{Tally, record_connections};

/// The largest message either way, in bytes: a page, or a document and its envelope.
pub(crate) const MESSAGE_MAX_BYTES: usize = 8 * 1024 * 1024;

/// What a listener spends.
#[derive(Debug, Clone, Copy)]
pub struct ListenerLimits {
    /// Connections and handshakes.
    pub acceptor: AcceptorLimits,
    /// Calls at one time.
    pub max_calls: usize,
    /// A connection older than this is closed gently.
    pub connection_age_max: Duration,
}

/// What both listeners are made from.
#[derive(Debug, Clone)]
pub struct Front {
    /// The node that they serve.
    pub node: Arc<Node>,
    /// The node's certificate.
    pub credentials: Arc<Credentials>,
    /// Whom it trusts.
    pub trust: SharedTrust,
    /// Ends the listeners: no new connections, open calls may finish.
    pub shutdown: CancellationToken,
    /// The connections that are open, on both.
    pub live: LiveConnections,
    /// What strangers may spend of the access log, on both.
    pub strangers: StrangersQuota,
}

impl Front {
    /// Serves other members' nodes. `consensus` is the consensus service, which the consensus crate brings itself: empty where this
    /// node takes no part.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn serve_peers(
        &self,
        listener: TcpListener,
        limits: ListenerLimits,
        consensus: Routes,
    ) -> Result<JoinHandle<()>, TlsSetupError> {
        let peer = v1::peer_service_server::PeerServiceServer::new(services::Peers::new(Arc::clone(&self.node)));
        let checkpoint = services::Checkpoints::new(Arc::clone(&self.node));
        let checkpoint = v1::checkpoint_service_server::CheckpointServiceServer::new(checkpoint);
        let witness = services::Witnesses::new(Arc::clone(&self.node));
        let witness = v1::witness_service_server::WitnessServiceServer::new(witness);
        let routes = consensus
            .add_service(witness)
            .add_service(peer.max_decoding_message_size(MESSAGE_MAX_BYTES))
            .add_service(checkpoint.max_decoding_message_size(MESSAGE_MAX_BYTES));
        self.serve(listener, limits, Listener::Peer, Expectation::peers(), routes)
    }

    /// Serves this member's people.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn serve_people(&self, listener: TcpListener, limits: ListenerLimits) -> Result<JoinHandle<()>, TlsSetupError> {
        let node = || Arc::clone(&self.node);
        let records = v1::record_service_server::RecordServiceServer::new(services::Records::new(node()));
        let policies = v1::policy_service_server::PolicyServiceServer::new(services::Policies::new(node()));
        let routes = Routes::new(records.max_decoding_message_size(MESSAGE_MAX_BYTES))
            .add_service(v1::release_service_server::ReleaseServiceServer::new(services::Releases::new(node())))
            .add_service(v1::recall_service_server::RecallServiceServer::new(services::Recalls::new(node())))
            .add_service(policies.max_decoding_message_size(MESSAGE_MAX_BYTES))
            .add_service(v1::approval_service_server::ApprovalServiceServer::new(services::Approvals::new(node())))
            .add_service(v1::ballot_service_server::BallotServiceServer::new(services::Ballots::new(node())))
            .add_service(v1::list_service_server::ListServiceServer::new(services::Lists::new(node())))
            .add_service(v1::member_service_server::MemberServiceServer::new(services::Members::new(node())))
            .add_service(v1::audit_service_server::AuditServiceServer::new(services::Audits::new(node())))
            .add_service(v1::node_service_server::NodeServiceServer::new(services::Nodes::new(node())));
        let expectation = Expectation::people_of(self.node.member());
        self.serve(listener, limits, Listener::Operator, expectation, routes)
    }

    fn serve(
        &self,
        listener: TcpListener,
        limits: ListenerLimits,
        name: Listener,
        expectation: Expectation,
        routes: Routes,
    ) -> Result<JoinHandle<()>, TlsSetupError> {
        let tls = server_config(&self.credentials, self.trust.clone(), expectation)?;
        let (acceptor, refused) =
            Acceptor::start(listener, tls, self.trust.clone(), limits.acceptor, self.shutdown.clone());
        let (tally, to_write) = Tally::new();
        let records = [
            tokio::spawn(record_connections(Arc::clone(&self.node), to_write)),
            tokio::spawn(record_refused(Arc::clone(&self.node), name, refused, self.strangers.clone())),
        ];
        let (live, trust) = (self.live.clone(), self.trust.clone());
        let incoming = acceptor.map(move |connection| {
            let age_max = limits.connection_age_max;
            Ok::<_, std::io::Error>(ServedConnection::new(connection, tally.clone(), &live, &trust, age_max))
        });
        let access = AccessLayer::new(Arc::clone(&self.node), self.trust.clone(), name, limits.max_calls);
        let server = Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .max_concurrent_streams(Some(256))
            .http2_max_header_list_size(Some(16 * 1024))
            .initial_stream_window_size(Some(1024 * 1024))
            .initial_connection_window_size(Some(4 * 1024 * 1024))
            .max_connection_age(limits.connection_age_max)
            .layer(access)
            .add_routes(routes);
        let shutdown = self.shutdown.clone();
        Ok(tokio::spawn(async move {
            if let Err(error) = server.serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned()).await {
                tracing::error!(listener = name.as_str(), %error, "the listener ended");
            }
            // What ended connections came to is still to be written, while the log is open.
            for record in records {
                let _ = tokio::time::timeout(LAST_RECORDS, record).await;
            }
        }))
    }
}

/// How long the records of ended connections may take when the listener ends.
const LAST_RECORDS: Duration = Duration::from_secs(2);

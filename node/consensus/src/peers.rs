//! One HTTP/2 channel to the node of each other member, and of each recipient.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::genesis::RosterMember;
use comity_core::roster::{MemberStatus, Roster};
use comity_identity::{
    ConnectorLimits, Credentials, Expectation, MemberAnchors, MemberConnector, SharedTrust, TrustStore,
    explain_tls_error,
};
use comity_proto::v1::consensus_service_client::ConsensusServiceClient;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::guard::{AppendAsked, Confirmed, MisledBy};
use crate::random;
use crate::types::NodeId;
use crate::wire::{AppendResponse, InvalidMessage, MESSAGE_MAX_BYTES, Sender};

/// Waits between attempts to reach a node that cannot be reached, in milliseconds; each is drawn between half and all of it.
const BACKOFF_MIN_MS: u64 = 50;
const BACKOFF_MAX_MS: u64 = 1_000;
/// How often an open connection is asked whether it is alive, and how long it may take to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// How other nodes are dialled.
#[derive(Clone)]
pub(crate) enum Dial {
    /// Over mutual TLS.
    Tls { credentials: Credentials, trust: SharedTrust },
    /// Over a network that is simulated.
    #[cfg(feature = "simulation")]
    Simulated(crate::simulation::Dialler),
}

impl Dial {
    /// A member that votes no more is known by the roots of its row alone.
    fn channel(&self, row: &RosterMember, endpoint: &Endpoint, standing: Stands) -> Result<Channel, String> {
        match self {
            Self::Tls { credentials, trust } => {
                let trust = if standing == Stands::Leaving { last_roots(row)? } else { trust.clone() };
                let limits = ConnectorLimits { connect_timeout_ms: 2_000, handshake_timeout_ms: 3_000 };
                let expectation = Expectation::node_of(row.member);
                let connector = MemberConnector::new(credentials, trust, expectation, limits);
                connector.map(|connector| endpoint.connect_with_connector_lazy(connector)).map_err(|e| e.to_string())
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(dialler) => Ok(dialler(row.member, endpoint)),
        }
    }
}

/// Why a call to a peer came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    /// It could not be reached just now and is not tried again yet.
    #[error("{member} cannot be reached: {problem}")]
    Resting { member: MemberId, problem: String },
    /// No connection, or it broke.
    #[error("{member} cannot be reached: {problem}")]
    Unreachable { member: MemberId, problem: String },
    /// No answer in time.
    #[error("{member} did not answer within {timeout_ms} ms")]
    TimedOut { member: MemberId, timeout_ms: u128 },
    /// It answered that it will not.
    #[error("{member} refused: {message}")]
    Refused { member: MemberId, reason: String, message: String },
    /// Its answer is not what it must be.
    #[error("node {node} answered nonsense: {problem}")]
    Nonsense { node: NodeId, problem: InvalidMessage },
    /// This is no other voting member's node.
    #[error("node {0} is not another node of this federation")]
    NoSuchNode(NodeId),
}

/// How a peer stands in the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It votes.
    Voting,
    /// It votes no more, and consensus cannot do without it yet.
    Leaving,
    /// It receives, and hears nothing of consensus.
    Receiving,
}

/// The other members' and the recipients' nodes, as the roster has them.
#[derive(Clone)]
pub(crate) struct Peers {
    own: Sender,
    dial: Dial,
    peers: Arc<RwLock<BTreeMap<NodeId, Arc<Peer>>>>,
    /// The members have not admitted this node yet: that others turn it away is as it should be.
    awaited: Arc<AtomicBool>,
}

struct Peer {
    member: MemberId,
    address: String,
    stands: Stands,
    channel: Channel,
    gate: Mutex<Gate>,
    confirmed: Mutex<Confirmed>,
}

/// Holds calls back from a peer that cannot be reached.
#[derive(Debug, Default)]
struct Gate {
    failures: u32,
    closed_until: Option<Instant>,
    /// What was wrong last, so that it is logged once and not ten times a second.
    problem: Option<String>,
}

impl Peers {
    /// Nobody yet: see [`Self::follow`].
    pub(crate) fn new(federation: Hex32, own: NodeId, dial: Dial) -> Self {
        let (peers, awaited) = (Arc::default(), Arc::default());
        Self { own: Sender { federation, node: own }, dial, peers, awaited }
    }

    /// Reaches the voting members' and the recipients' nodes of a roster from now on, and no others. Where nothing changed for one,
    /// neither does its channel.
    ///
    /// INVARIANT: of the nodes that vote no more, only those `needed` are spoken to, by the roots that the roster last had for
    /// them; and they are not heard unless they answer.
    pub(crate) fn follow(&self, roster: &Roster, needed: &BTreeSet<NodeId>) {
        let awaited = roster.iter().all(|standing| standing.node_id() != self.own.node);
        if self.awaited.swap(awaited, Ordering::Relaxed) != awaited && awaited {
            tracing::info!("this node is not admitted yet: it waits for the members' ballot");
        }
        let mut wanted: BTreeMap<NodeId, (&RosterMember, Stands)> = BTreeMap::new();
        for standing in roster.iter() {
            let node = standing.node_id();
            let stands = match standing.status {
                MemberStatus::Active if standing.row.voting => Stands::Voting,
                MemberStatus::Active => Stands::Receiving,
                _ if needed.contains(&node) => Stands::Leaving,
                _ => continue,
            };
            if node != self.own.node {
                wanted.insert(node, (&standing.row, stands));
            }
        }
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|node, _| wanted.contains_key(node));
        for (node, (row, stands)) in wanted {
            if peers.get(&node).is_none_or(|peer| peer.address != row.endpoint || peer.stands != stands) {
                match self.peer(row, stands) {
                    Ok(peer) => drop(peers.insert(node, Arc::new(peer))),
                    Err(problem) => tracing::error!(member = %row.member, problem, "no channel to this member's node"),
                }
            }
        }
    }

    fn peer(&self, row: &RosterMember, stands: Stands) -> Result<Peer, String> {
        let (member, address) = (row.member, row.endpoint.clone());
        // Whatever is dialled makes the TLS; the scheme keeps tonic from asking for its own.
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| format!("`{address}` in the roster is no address"))?
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let channel = self.dial.channel(row, &endpoint, stands)?;
        let (gate, confirmed) = (Mutex::default(), Mutex::default());
        Ok(Peer { member, address, stands, channel, gate, confirmed })
    }

    fn known(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, Arc<Peer>>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ids of the other nodes that consensus speaks to.
    pub(crate) fn others(&self) -> Vec<NodeId> {
        let known = self.known();
        known.iter().filter(|(_, peer)| peer.stands != Stands::Receiving).map(|(node, _)| *node).collect()
    }

    /// How this node names itself.
    pub(crate) fn own(&self) -> Sender {
        self.own
    }

    /// The channel to a member's or recipient's node, for other services of the peer port. Connects when it is used.
    pub(crate) fn channel(&self, member: MemberId) -> Option<Channel> {
        self.known().values().find(|peer| peer.member == member).map(|peer| peer.channel.clone())
    }

    /// What keeps this node from reaching others, by member; those that it reaches are not in it.
    pub(crate) fn problems(&self) -> BTreeMap<MemberId, String> {
        self.known().values().filter_map(|peer| peer.gate().problem.clone().map(|p| (peer.member, p))).collect()
    }

    /// Looks at what a peer answered to entries, before it is believed.
    pub(crate) fn believe(&self, node: NodeId, asked: &AppendAsked, answer: &AppendResponse) -> Result<(), MisledBy> {
        self.known().get(&node).map_or(Ok(()), |peer| {
            peer.confirmed.lock().unwrap_or_else(PoisonError::into_inner).append_answer(asked, answer)
        })
    }

    /// Makes one call, within a time.
    pub(crate) async fn call<Q, R, F>(
        &self,
        node: NodeId,
        timeout: Duration,
        message: Q,
        call: impl FnOnce(ConsensusServiceClient<Channel>, Request<Q>) -> F,
    ) -> Result<R, CallError>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let peer = self.known().get(&node).filter(|peer| peer.stands != Stands::Receiving).cloned();
        let peer = peer.ok_or(CallError::NoSuchNode(node))?;
        peer.gate().admit(peer.member)?;
        let client = ConsensusServiceClient::new(peer.channel.clone())
            .max_decoding_message_size(MESSAGE_MAX_BYTES)
            .max_encoding_message_size(MESSAGE_MAX_BYTES);
        let mut request = Request::new(message);
        // The far side stops working on it, too.
        request.set_timeout(timeout);
        match tokio::time::timeout(timeout, call(client, request)).await {
            Ok(Ok(response)) => {
                peer.gate().reached(peer.member);
                Ok(response.into_inner())
            }
            Ok(Err(status)) => Err(peer.failed(&status, timeout, self.awaited.load(Ordering::Relaxed))),
            Err(_) => Err(CallError::TimedOut { member: peer.member, timeout_ms: timeout.as_millis() }),
        }
    }
}

impl Peer {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `expected`: nobody hears this node yet.
    fn failed(&self, status: &Status, timeout: Duration, expected: bool) -> CallError {
        let member = self.member;
        // A status that came from the far side has no source; one that stands for a broken connection does.
        if status.source().is_some() {
            let problem = explain_tls_error(status).unwrap_or_else(|| deepest(status));
            self.gate().missed(member, &problem, expected);
            return CallError::Unreachable { member, problem };
        }
        if matches!(status.code(), tonic::Code::DeadlineExceeded | tonic::Code::Cancelled) {
            return CallError::TimedOut { member, timeout_ms: timeout.as_millis() };
        }
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let message = status.message().to_owned();
        // Whoever does not let this node in does so whatever it says next. What is wrong with one message, or with the peer's own
        // lines to others, says nothing about the way to it, and may quote a command.
        if matches!(
            status.code(),
            tonic::Code::Unauthenticated | tonic::Code::PermissionDenied | tonic::Code::FailedPrecondition
        ) {
            self.gate().missed(member, &message, expected);
        }
        CallError::Refused { member, reason, message }
    }
}

/// Trust in one member alone, by the roots that its row has.
fn last_roots(row: &RosterMember) -> Result<SharedTrust, String> {
    let der = |pem: &String| CertificateDer::from_pem_slice(pem.as_bytes()).map(|der| der.to_vec());
    let roots_der = row.roots_pem.iter().map(der).collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let anchors = MemberAnchors { member: row.member, trust_domain: row.trust_domain.clone(), roots_der };
    TrustStore::new(&[anchors]).map(SharedTrust::new).map_err(|error| error.to_string())
}

/// The innermost cause says what happened; what surrounds it says "transport error".
fn deepest(status: &Status) -> String {
    let mut cause: &dyn std::error::Error = status;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl Gate {
    fn admit(&self, member: MemberId) -> Result<(), CallError> {
        match self.closed_until {
            Some(until) if Instant::now() < until => {
                Err(CallError::Resting { member, problem: self.problem.clone().unwrap_or_default() })
            }
            _ => Ok(()),
        }
    }

    fn reached(&mut self, member: MemberId) {
        if self.problem.take().is_some() {
            tracing::info!(%member, "peer reached");
        }
        self.failures = 0;
        self.closed_until = None;
    }

    fn missed(&mut self, member: MemberId, problem: &str, expected: bool) {
        let ceiling = (BACKOFF_MIN_MS << self.failures.min(8)).min(BACKOFF_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        self.closed_until = Some(Instant::now() + Duration::from_millis(jitter(ceiling)));
        if self.problem.as_deref() != Some(problem) {
            if expected {
                tracing::debug!(%member, problem, "peer not reached");
            } else {
                tracing::warn!(%member, problem, "peer not reached");
            }
            self.problem = Some(problem.to_owned());
        }
    }
}

/// Between half of it and all of it, so that nodes which lost the same peer do not come back to it at one moment.
pub(crate) fn jitter(milliseconds: u64) -> u64 {
    let half = milliseconds / 2;
    half + random::number() % (milliseconds - half + 1)
}

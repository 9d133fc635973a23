//! What openraft sends to other nodes, over their channels.
//!
//! Answers are looked at before openraft gets them: it takes what an answer says for true, and some answers would be the end
//! of this node.

use std::future::Future;
use std::time::Duration;

use comity_core::fault::{self, Fault};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::SnapshotResponse;
use openraft::{BasicNode, RPCTypes, RaftNetworkFactory, RaftNetworkV2};

use crate::guard::{self, AppendAsked, MisledBy};
use crate::log_store::LogStore;
use crate::peers::{CallError, Peers, jitter};
use crate::read::QuorumAge;
use crate::snapshot::SnapshotData;
use crate::types::{NodeId, Snapshot, TypeConfig, Vote};
use crate::wire::{
    self, AppendRequest, AppendResponse, InvalidMessage, SnapshotAnswer, SnapshotOffer, TransferRequest,
    TransferResponse, VoteRequest, VoteResponse,
};

/// How long a message with entries may take. A heartbeat's time would be too short for a batch that is synced to a busy disk,
/// and what timed out would be sent again, whole.
const APPEND_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the receiver of a snapshot may take to say how far it has got; putting a large one in its place takes a while.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(20);
/// How soon it is asked again.
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(200);
const BACKOFF_MAX_MS: u64 = 1_000;

type RpcError = RPCError<TypeConfig>;

/// Makes a [`PeerNetwork`] for each other node.
pub(crate) struct PeerNetworks {
    pub(crate) peers: Peers,
    pub(crate) log: LogStore,
    pub(crate) quorum_age: QuorumAge,
}

impl RaftNetworkFactory<TypeConfig> for PeerNetworks {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: NodeId, _node: &BasicNode) -> PeerNetwork {
        PeerNetwork { peers: self.peers.clone(), log: self.log.clone(), quorum_age: self.quorum_age.clone(), target }
    }
}

/// The way to one other node.
pub(crate) struct PeerNetwork {
    peers: Peers,
    log: LogStore,
    quorum_age: QuorumAge,
    target: NodeId,
}

impl PeerNetwork {
    fn rpc_error(&self, action: RPCTypes, error: CallError) -> RpcError {
        match error {
            CallError::TimedOut { timeout_ms, .. } => RPCError::Timeout(Timeout {
                action,
                id: self.peers.own().node,
                target: self.target,
                timeout: Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(u64::MAX)),
            }),
            error => RPCError::Unreachable(Unreachable::new(&error)),
        }
    }

    fn nonsense(&self, problem: InvalidMessage) -> RpcError {
        RPCError::Unreachable(Unreachable::new(&CallError::Nonsense { node: self.target, problem }))
    }

    fn misled(&self, error: MisledBy) -> RpcError {
        tracing::warn!(node = self.target, %error, "a peer's answer was not believed");
        RPCError::Unreachable(Unreachable::new(&error))
    }

    /// Offers a snapshot until the receiver has it: it pulls what it lacks meanwhile.
    async fn offer(&self, offer: &SnapshotOffer) -> Result<SnapshotResponse<TypeConfig>, RpcError> {
        loop {
            let message = wire::from_snapshot_offer(self.peers.own(), offer);
            let answer = self
                .peers
                .call(self.target, SNAPSHOT_TIMEOUT, message, |mut client, request| async move {
                    client.install_snapshot(request).await
                })
                .await
                .map_err(|error| self.rpc_error(RPCTypes::InstallSnapshot, error))?;
            match wire::snapshot_answer(answer).map_err(|problem| self.nonsense(problem))? {
                SnapshotAnswer::Pulling(commands) => {
                    tracing::info!(node = self.target, commands, "a peer is pulling the snapshot");
                    tokio::time::sleep(SNAPSHOT_PAUSE).await;
                }
                SnapshotAnswer::Vote(vote) => {
                    guard::vote_answer(&offer.vote, &vote).map_err(|error| self.misled(error))?;
                    if vote <= offer.vote {
                        let asked = AppendAsked::snapshot(offer.vote, &offer.last);
                        let confirmed = self.peers.believe(self.target, &asked, &AppendResponse::Success);
                        confirmed.map_err(|error| self.misled(error))?;
                    }
                    return Ok(SnapshotResponse::new(vote));
                }
            }
        }
    }

    async fn ask_for_vote(&self, rpc: VoteRequest, option: RPCOption, pre: bool) -> Result<VoteResponse, RpcError> {
        let message = wire::from_vote_request(self.peers.own(), &rpc);
        let answer = self
            .peers
            .call(self.target, option.soft_ttl(), message, |mut client, request| async move {
                if pre { client.pre_vote(request).await } else { client.vote(request).await }
            })
            .await
            .map_err(|error| self.rpc_error(RPCTypes::Vote, error))?;
        let answer = wire::vote_response(answer).map_err(|problem| self.nonsense(problem))?;
        guard::vote_answer(&rpc.vote, &answer.vote).map_err(|error| self.misled(error))?;
        Ok(answer)
    }
}

impl RaftNetworkV2<TypeConfig> for PeerNetwork {
    type SnapshotData = SnapshotData;

    async fn append_entries(&mut self, mut rpc: AppendRequest, option: RPCOption) -> Result<AppendResponse, RpcError> {
        // A leader that was restarted says nothing of what is committed until something of its own term is. It knows, though, and
        // without it nobody would take from it what has no text any more.
        rpc.leader_commit = rpc.leader_commit.max(self.log.committed());
        let timeout = if rpc.entries.is_empty() { option.soft_ttl() } else { APPEND_TIMEOUT };
        let asked = AppendAsked::from(&rpc);
        let mut message = wire::from_append_request(self.peers.own(), &rpc);
        message.quorum_age_ms = self.quorum_age.ms();
        let answer =
            self.peers
                .call(self.target, timeout, message, |mut client, request| async move {
                    client.append_entries(request).await
                })
                .await;
        if answer.is_err() && fault::is(Fault::CommitWithoutQuorum) {
            return Ok(AppendResponse::Success);
        }
        let answer = answer.map_err(|error| self.rpc_error(RPCTypes::AppendEntries, error))?;
        let answer = wire::append_response(answer).map_err(|problem| self.nonsense(problem))?;
        self.peers.believe(self.target, &asked, &answer).map_err(|error| self.misled(error))?;
        Ok(answer)
    }

    async fn vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RpcError> {
        self.ask_for_vote(rpc, option, false).await
    }

    async fn pre_vote(&mut self, rpc: VoteRequest, option: RPCOption) -> Result<VoteResponse, RpcError> {
        self.ask_for_vote(rpc, option, true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + openraft::OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let Some(last) = snapshot.meta.last_log_id else {
            return Err(StreamingError::Unreachable(Unreachable::from_string("an empty snapshot is not sent")));
        };
        let offer = SnapshotOffer { vote, last, membership: snapshot.meta.last_membership, data: snapshot.snapshot };
        tokio::select! {
            closed = cancel => Err(closed.into()),
            answer = self.offer(&offer) => answer.map_err(StreamingError::from),
        }
    }

    async fn transfer_leader(&mut self, req: TransferRequest, option: RPCOption) -> Result<TransferResponse, RpcError> {
        let message = wire::from_transfer_request(self.peers.own(), &req);
        let answer = self
            .peers
            .call(
                self.target,
                option.hard_ttl().max(Duration::from_secs(1)),
                message,
                |mut client, request| async move { client.transfer_leader(request).await },
            )
            .await
            .map_err(|error| self.rpc_error(RPCTypes::TransferLeader, error))?;
        wire::transfer_response(&req, answer).map_err(|problem| self.nonsense(problem))
    }

    fn backoff(&self) -> Option<Backoff> {
        let doubling = std::iter::successors(Some(50u64), |ms| Some((ms * 2).min(BACKOFF_MAX_MS)));
        Some(Backoff::new(doubling.map(|ms| Duration::from_millis(jitter(ms)))))
    }
}

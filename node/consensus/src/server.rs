//! The peer port's `ConsensusService`: what other nodes say to this one, checked before openraft hears it.

use std::sync::Arc;
use std::time::Duration;

use comity_core::list::ListState;
use comity_identity::Peer;
use comity_proto::v1;
use comity_proto::v1::consensus_service_server::{ConsensusService, ConsensusServiceServer};
use openraft::EntryPayload;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use tokio::sync::{Mutex, OwnedSemaphorePermit, RwLock, Semaphore};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::guard::{Guard, Known, Turned};
use crate::pages::{self, Pages};
use crate::pool::{Origin, Pool};
use crate::pull::{Pulled, Puller};
use crate::read::{self, Heard, ReadIndex};
use crate::state_machine::Applied;
use crate::types::{Command, Keys, Membership, NodeId, Raft, Snapshot, TypeConfig};
use crate::verify;
use crate::wire::{
    self, AppendRequest, AppendResponse, BATCH_MAX_BYTES, MESSAGE_MAX_BYTES, SnapshotAnswer, SnapshotOffer,
};

/// How many commands this node proposes at one time.
pub(crate) const MAX_PROPOSALS: usize = 1_024;
/// How long a proposal that came from a peer may take.
pub(crate) const PROPOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// What became of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proposed {
    /// It is in the log for good, at this index.
    Committed(u64),
    /// Another node leads, as far as is known.
    NotLeader(Option<NodeId>),
}

/// Puts commands into the log, where this node leads.
#[derive(Clone)]
pub(crate) struct Proposer {
    raft: Raft,
    permits: Arc<Semaphore>,
}

impl Proposer {
    pub(crate) fn new(raft: Raft) -> Self {
        Self { raft, permits: Arc::new(Semaphore::new(MAX_PROPOSALS)) }
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, Turned> {
        Arc::clone(&self.permits).try_acquire_owned().map_err(|_| Turned::Busy { limit: MAX_PROPOSALS })
    }

    /// Proposes a command that was checked.
    pub(crate) async fn propose(&self, command: Command, timeout: Duration) -> Result<Proposed, Turned> {
        let _permit = self.permit()?;
        match tokio::time::timeout(timeout, self.raft.client_write(command)).await {
            Err(_) => Err(Turned::TimedOut(timeout.as_millis())),
            Ok(Ok(response)) => Ok(Proposed::Committed(response.log_id().index)),
            Ok(Err(RaftError::APIError(
                ClientWriteError::ForwardToLeader(forward) | ClientWriteError::LogEntryDiscarded(forward),
            ))) => Ok(Proposed::NotLeader(forward.leader_id)),
            // No membership is changed here and no condition set.
            Ok(Err(RaftError::APIError(other))) => Err(Turned::Stopped(other.to_string())),
            Ok(Err(RaftError::Fatal(fatal))) => Err(Turned::Stopped(fatal.to_string())),
        }
    }
}

/// The service, for the peer port. It takes who is speaking from the [`Peer`] in the request's extensions.
#[derive(Clone)]
pub struct PeerConsensus(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) raft: Raft,
    pub(crate) guard: Guard,
    pub(crate) proposer: Proposer,
    pub(crate) applied: Applied,
    pub(crate) pool: Pool,
    pub(crate) puller: Puller,
    pub(crate) heard: Heard,
    pub(crate) pages: Arc<Semaphore>,
    /// Entries are taken side by side; a snapshot is put in place alone, so that what it was held against does not move.
    pub(crate) placing: RwLock<()>,
    /// One snapshot at a time is pulled for and put in place.
    pub(crate) taking: Mutex<()>,
}

impl PeerConsensus {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// As a tonic service, with its message limits set.
    pub fn into_server(self) -> ConsensusServiceServer<Self> {
        ConsensusServiceServer::new(self)
            .max_decoding_message_size(MESSAGE_MAX_BYTES)
            .max_encoding_message_size(MESSAGE_MAX_BYTES)
    }

    fn term(&self) -> u64 {
        self.0.raft.server_metrics().borrow_watched().vote.leader_id.term
    }
}

fn stopped(error: impl std::fmt::Display) -> Turned {
    Turned::Stopped(error.to_string())
}

#[tonic::async_trait]
impl ConsensusService for PeerConsensus {
    async fn append_entries(
        &self,
        request: Request<v1::AppendEntriesRequest>,
    ) -> Result<Response<v1::AppendEntriesResponse>, Status> {
        let Inner { raft, guard, pool, heard, placing, .. } = &*self.0;
        let sender = wire::sender(request.get_ref().sender.as_ref()).map_err(Turned::from)?;
        let from = guard.raft_sender(request.extensions().get::<Peer>(), sender)?;
        let quorum_age_ms = request.get_ref().quorum_age_ms;
        let message = wire::append_request(request.into_inner()).map_err(Turned::from)?;
        let committed = message.leader_commit.as_ref().map_or(0, |id| id.index + 1);
        let _placing = placing.read().await;
        pool.recognise(&message);
        let mut answer = AppendResponse::Success;
        for mut part in before_memberships(message) {
            guard.append(from, &mut part, self.term()).await?;
            answer = match self.0.membership(from, &part).await? {
                Some(refused) => refused,
                None => raft.append_entries(part).await.map_err(stopped)?,
            };
            if !matches!(answer, AppendResponse::Success) {
                break;
            }
        }
        if matches!(answer, AppendResponse::Success | AppendResponse::Conflict) {
            // Where entries are missing here nothing is known to be current yet.
            let age = quorum_age_ms.filter(|_| matches!(answer, AppendResponse::Success));
            heard.leader(age, committed, self.0.applied.position().borrow().applied);
        }
        Ok(Response::new(wire::from_append_response(&answer)))
    }

    async fn vote(&self, request: Request<v1::VoteRequest>) -> Result<Response<v1::VoteResponse>, Status> {
        let Inner { raft, guard, .. } = &*self.0;
        let sender = wire::sender(request.get_ref().sender.as_ref()).map_err(Turned::from)?;
        let from = guard.raft_sender(request.extensions().get::<Peer>(), sender)?;
        let message = wire::vote_request(request.into_inner()).map_err(Turned::from)?;
        guard.vote_request(from, &message, self.term())?;
        #[cfg(feature = "simulation")]
        let asked = message.vote;
        let answer = raft.vote(message).await.map_err(stopped)?;
        #[cfg(feature = "simulation")]
        if answer.vote_granted {
            crate::simulation::given(guard.own.node, &asked);
        }
        Ok(Response::new(wire::from_vote_response(&answer)))
    }

    async fn pre_vote(&self, request: Request<v1::VoteRequest>) -> Result<Response<v1::VoteResponse>, Status> {
        let Inner { raft, guard, .. } = &*self.0;
        let sender = wire::sender(request.get_ref().sender.as_ref()).map_err(Turned::from)?;
        let from = guard.raft_sender(request.extensions().get::<Peer>(), sender)?;
        let message = wire::vote_request(request.into_inner()).map_err(Turned::from)?;
        guard.vote_request(from, &message, self.term())?;
        let answer = raft.pre_vote(message).await.map_err(stopped)?;
        Ok(Response::new(wire::from_vote_response(&answer)))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let Inner { raft, guard, .. } = &*self.0;
        let sender = wire::sender(request.get_ref().sender.as_ref()).map_err(Turned::from)?;
        let from = guard.raft_sender(request.extensions().get::<Peer>(), sender)?;
        let message = wire::transfer_request(request.into_inner()).map_err(Turned::from)?;
        guard.transfer(from, &message, self.term())?;
        let answer = raft.handle_transfer_leader(message).await.map_err(stopped)?;
        Ok(Response::new(wire::from_transfer_response(&answer)))
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        use v1::submit_response::Result as Answer;
        let Inner { guard, proposer, .. } = &*self.0;
        let sender = wire::sender(request.get_ref().sender.as_ref()).map_err(Turned::from)?;
        guard.sender(request.extensions().get::<Peer>(), sender)?;
        let command = request.into_inner().command.ok_or(wire::InvalidMessage::Missing("command"));
        let command = command.and_then(wire::command).map_err(Turned::from)?;
        // INVARIANT: nothing is proposed that followers would turn away.
        let keys = guard.applied.keys();
        verify::all(&keys, std::iter::once(&command)).await;
        if let Err(refusal) = command.check(&keys) {
            return Err(Turned::Refused(refusal.clone()).into());
        }
        let answer = match proposer.propose(command, PROPOSE_TIMEOUT).await? {
            Proposed::Committed(log_index) => Answer::Committed(v1::SubmitCommitted { log_index }),
            Proposed::NotLeader(leader) => {
                Answer::NotLeader(v1::SubmitNotLeader { leader_node_id: leader.unwrap_or_default() })
            }
        };
        Ok(Response::new(v1::SubmitResponse { result: Some(answer) }))
    }

    async fn install_snapshot(
        &self,
        request: Request<v1::InstallSnapshotRequest>,
    ) -> Result<Response<v1::InstallSnapshotResponse>, Status> {
        let sender = wire::sender(request.get_ref().sender.as_ref()).map_err(Turned::from)?;
        let from = self.0.guard.raft_sender(request.extensions().get::<Peer>(), sender)?;
        let offer = wire::snapshot_offer(request.into_inner()).map_err(Turned::from)?;
        // What was pulled is used or kept even where whoever offered it does not wait.
        let inner = Arc::clone(&self.0);
        let taking = tokio::spawn(async move { inner.take_snapshot(from, offer).await });
        let answer = taking.await.map_err(stopped)??;
        Ok(Response::new(wire::from_snapshot_answer(&answer)))
    }

    type ReadCommandsStream = Pages;

    async fn read_commands(&self, request: Request<v1::ReadCommandsRequest>) -> Result<Response<Pages>, Status> {
        let Inner { guard, applied, pages, .. } = &*self.0;
        let sender = wire::sender(request.get_ref().sender.as_ref()).map_err(Turned::from)?;
        guard.raft_sender(request.extensions().get::<Peer>(), sender)?;
        let asked = request.into_inner();
        let permit = Arc::clone(pages).try_acquire_owned().map_err(|_| Turned::Busy { limit: pages::MAX_STREAMS })?;
        Ok(Response::new(pages::of(guard.log.clone(), applied, asked.first_leaf, asked.max, permit)?))
    }

    async fn read_index(
        &self,
        request: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        use v1::read_index_response::Result as Answer;
        let Inner { raft, guard, .. } = &*self.0;
        let sender = wire::sender(request.get_ref().sender.as_ref()).map_err(Turned::from)?;
        guard.sender(request.extensions().get::<Peer>(), sender)?;
        let answer = match read::index(raft).await? {
            ReadIndex::At(log_index) => Answer::LogIndex(log_index),
            ReadIndex::NotLeader(leader) => {
                Answer::NotLeader(v1::SubmitNotLeader { leader_node_id: leader.unwrap_or_default() })
            }
        };
        Ok(Response::new(v1::ReadIndexResponse { result: Some(answer) }))
    }

    async fn announce(&self, request: Request<v1::AnnounceRequest>) -> Result<Response<v1::AnnounceResponse>, Status> {
        let Inner { guard, pool, applied, .. } = &*self.0;
        let sender = wire::sender(request.get_ref().sender.as_ref()).map_err(Turned::from)?;
        guard.sender(request.extensions().get::<Peer>(), sender)?;
        let mut commands = wire::announced(request.into_inner().commands).map_err(Turned::from)?;
        commands.retain(|command| pool.lacks(command));
        let keys = guard.applied.keys();
        verify::all(&keys, commands.iter()).await;
        for command in commands {
            // INVARIANT: what does not hold is not kept.
            match command.check(&keys) {
                Ok(_) => pool.add(command, applied, Origin::Announced),
                Err(refusal) => return Err(Turned::Refused(refusal.clone()).into()),
            }
        }
        Ok(Response::new(v1::AnnounceResponse {}))
    }
}

/// A message in parts, each with at most one membership, which comes first: what comes before it must be applied when it is
/// looked at.
fn before_memberships(message: AppendRequest) -> Vec<AppendRequest> {
    let AppendRequest { vote, prev_log_id, entries, leader_commit } = message;
    let part = |prev_log_id, entries| AppendRequest { vote, prev_log_id, entries, leader_commit };
    let mut parts = vec![part(prev_log_id, Vec::new())];
    for entry in entries {
        let is_membership = matches!(entry.payload, EntryPayload::Membership(_));
        let Some(last) = parts.last_mut() else { continue };
        match last.entries.last().map(|before| before.log_id) {
            Some(before) if is_membership => parts.push(part(Some(before), vec![entry])),
            _ => last.entries.push(entry),
        }
    }
    parts
}

/// How long a membership waits until what is committed before it is applied.
const APPLY_TIMEOUT: Duration = Duration::from_secs(10);

impl Inner {
    /// Looks at the membership with which a part begins, if it does, once everything committed before it is applied: the roster
    /// then says what it asked for when the step was taken. Answers what openraft does where it would not take the part anyway.
    async fn membership(&self, from: Known, part: &AppendRequest) -> Result<Option<AppendResponse>, Turned> {
        let Some(entry) = part.entries.first() else { return Ok(None) };
        let EntryPayload::Membership(proposed) = &entry.payload else { return Ok(None) };
        // A new leader goes back to where the logs agree: what is here already is not taken up once more.
        if self.guard.log.holds(&entry.log_id).await.map_err(Turned::Log)? {
            return Ok(None);
        }
        let committed = part.leader_commit.as_ref().map_or(0, |id| id.index + 1);
        let due = committed.min(entry.log_id.index);
        // What was sent before may say more of what is committed than openraft has been told.
        let told = AppendRequest { entries: Vec::new(), ..part.clone() };
        match self.raft.append_entries(told).await.map_err(stopped)? {
            AppendResponse::Success => {}
            refused => return Ok(Some(refused)),
        }
        let mut position = self.applied.position();
        let applied = position.wait_for(|position| position.applied >= due);
        if !matches!(tokio::time::timeout(APPLY_TIMEOUT, applied).await, Ok(Ok(_))) {
            return Err(Turned::TimedOut(APPLY_TIMEOUT.as_millis()));
        }
        let current = self.current();
        let refused = match self.guard.membership(from, &current, proposed) {
            Err(refused) if self.applied.position().borrow().applied < entry.log_id.index => refused,
            judged => return judged.map(|()| None),
        };
        tracing::debug!(problem = %refused, "looked at once more by what the log leads to");
        // After a crash nobody may know any more what was committed, the roster that asked for it among it: it is in the log.
        let since = self.applied.read(|list| list.commands().size());
        let foreseen = self.foreseen(entry.log_id.index).await?;
        self.guard.led_to(from, Some(&foreseen), since, &current, proposed).map(|()| None)
    }

    /// The list that follows once what lies before `end` in this node's log is committed.
    async fn foreseen(&self, end: u64) -> Result<ListState, Turned> {
        // Read first: what is applied in between is met once more, and is then a repetition.
        let mut next = self.applied.position().borrow().applied;
        let mut list = self.applied.read(Clone::clone);
        while next < end {
            let entries = self.guard.log.entries(next, end, BATCH_MAX_BYTES).await.map_err(Turned::Log)?;
            let Some(last) = entries.last() else { break };
            next = last.log_id.index + 1;
            for entry in &entries {
                if let EntryPayload::Normal(command) = &entry.payload
                    && let Ok(checked) = command.check(&Keys::of(&list))
                {
                    // What it refuses changes nothing.
                    let _ = list.apply_checked(checked);
                }
            }
        }
        Ok(list)
    }

    /// The membership that counts here.
    fn current(&self) -> Membership {
        let metrics = self.raft.metrics();
        let now = metrics.borrow_watched();
        now.membership_config.membership().clone()
    }

    /// Pulls what a snapshot holds and this node lacks, and puts it in place.
    ///
    /// INVARIANT: nothing else is pulled or put in place meanwhile, so that what was put aside is there when it is needed.
    async fn take_snapshot(&self, from: Known, offer: SnapshotOffer) -> Result<SnapshotAnswer, Turned> {
        let Self { raft, guard, puller, placing, taking, .. } = self;
        let _taking = taking.lock().await;
        let position = |state: &openraft::RaftState<TypeConfig>| (*state.vote_ref(), state.local_committed().copied());
        let (vote, committed) = raft.with_raft_state(position).await.map_err(stopped)?;
        guard.snapshot(from, &offer, vote.leader_id.term, committed)?;
        let mut data = offer.data.clone();
        // Where the sender is not the leader any more, or this node is further, openraft says so without a look at the data.
        if offer.vote >= vote && Some(offer.last) > committed {
            data = match puller.pull(from, &offer.data).await {
                Ok(Pulled::All(data)) => data,
                Ok(Pulled::SoFar(commands)) => return Ok(SnapshotAnswer::Pulling(commands)),
                Err(problem) => return Err(Turned::Snapshot { peer: from.member, problem }),
            };
        }
        // What the snapshot leads to says who decides.
        let staged = data.staged.as_ref().map(|staged| &staged.list);
        let since = self.applied.read(|list| list.commands().size());
        guard.led_to(from, staged, since, &self.current(), offer.membership.membership())?;
        let _placing = placing.write().await;
        let (vote, committed) = raft.with_raft_state(position).await.map_err(stopped)?;
        guard.snapshot(from, &offer, vote.leader_id.term, committed)?;
        let snapshot = Snapshot { meta: offer.meta(), snapshot: data };
        let answer = raft.install_full_snapshot(offer.vote, snapshot).await.map_err(stopped)?;
        Ok(SnapshotAnswer::Vote(answer.vote))
    }
}

impl Turned {
    /// A stable upper-snake reason, for machines.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoIdentity => "NO_IDENTITY",
            Self::NotANode(_) => "NOT_A_NODE",
            Self::NotAVoter(_) => "NOT_A_VOTER",
            Self::OtherFederation { .. } => "OTHER_FEDERATION",
            Self::OtherSender { .. } => "OTHER_SENDER",
            Self::Invalid(_) => "MESSAGE_INVALID",
            Self::OthersVote { .. } => "OTHERS_VOTE",
            Self::VoteNotCommitted(_) => "VOTE_NOT_COMMITTED",
            Self::TermTooFar { .. } => "TERM_TOO_FAR",
            Self::Rewrite { .. } => "COMMITTED_REWRITE",
            Self::OtherMembership(_) => "OTHER_MEMBERSHIP",
            Self::Forged { .. } => "COMMAND_FORGED",
            Self::Refused(refusal) => refusal.reason(),
            Self::Snapshot { problem, .. } => problem.reason(),
            Self::NoSuchLeaf { .. } => "NO_SUCH_LEAF",
            Self::NoQuorum(_) => "NO_QUORUM",
            Self::Busy { .. } => "BUSY",
            Self::TimedOut(_) => "NOT_COMMITTED_IN_TIME",
            Self::Stopped(_) => "CONSENSUS_STOPPED",
            Self::Log(_) => "LOG_UNREADABLE",
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::NoIdentity | Self::Log(_) => Code::Internal,
            Self::NotANode(_) | Self::NotAVoter(_) | Self::OtherSender { .. } | Self::OthersVote { .. } => {
                Code::PermissionDenied
            }
            Self::Snapshot { problem, .. } if problem.is_passing() => Code::Unavailable,
            Self::OtherFederation { .. } | Self::Rewrite { .. } | Self::Snapshot { .. } => Code::FailedPrecondition,
            Self::NoSuchLeaf { .. } => Code::OutOfRange,
            Self::Busy { .. } => Code::ResourceExhausted,
            Self::TimedOut(_) => Code::DeadlineExceeded,
            Self::Stopped(_) | Self::NoQuorum(_) => Code::Unavailable,
            Self::Invalid(_)
            | Self::VoteNotCommitted(_)
            | Self::TermTooFar { .. }
            | Self::OtherMembership(_)
            | Self::Forged { .. }
            | Self::Refused(_) => Code::InvalidArgument,
        }
    }

    /// Whether it is a sign that something is wrong with the sender, or with this node.
    fn is_alarming(&self) -> bool {
        !matches!(
            self,
            Self::Busy { .. } | Self::TimedOut(_) | Self::Refused(_) | Self::NoSuchLeaf { .. } | Self::NoQuorum(_)
        )
    }
}

impl From<Turned> for Status {
    fn from(turned: Turned) -> Self {
        if turned.is_alarming() {
            tracing::warn!(problem = %turned, "a peer's message was turned away");
        }
        let details = ErrorDetails::with_error_info(turned.reason(), "comity", std::collections::HashMap::new());
        Status::with_error_details(turned.code(), turned.to_string(), details)
    }
}

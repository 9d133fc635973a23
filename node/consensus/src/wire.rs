//! Between `comity.v1` and the types that this crate works with. Wire types go no further than here.

use std::collections::{BTreeMap, BTreeSet};

use comity_core::canonical::Hex32;
use comity_core::dsse::Envelope;
use comity_core::list::{PublicText, Submission};
use comity_core::proposal::PublicPart;
use comity_proto::v1;
use openraft::{BasicNode, EntryPayload};

use crate::snapshot::SnapshotData;
use crate::types::{
    Command, Entry, LogId, Membership, NodeId, RaftLeaderId, SnapshotMeta, StoredMembership, TypeConfig, Vote,
};

pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(crate) type AppendResponse = openraft::raft::AppendEntriesResponse<TypeConfig>;
pub(crate) type VoteRequest = openraft::raft::VoteRequest<TypeConfig>;
pub(crate) type VoteResponse = openraft::raft::VoteResponse<TypeConfig>;
pub(crate) type TransferRequest = openraft::raft::TransferLeaderRequest<TypeConfig>;
pub(crate) type TransferResponse = openraft::raft::TransferLeaderResponse<TypeConfig>;
pub(crate) type TransferError = openraft::raft::TransferLeaderError<TypeConfig>;

/// The most entries in one message. A sender never comes near it: it counts bytes first.
pub(crate) const MAX_ENTRIES: usize = 4_096;
/// How many bytes of commands go into one message; one command alone may be larger.
pub(crate) const BATCH_MAX_BYTES: usize = 1024 * 1024;
/// The largest message that is read.
pub(crate) const MESSAGE_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The most commands that are announced in one message.
pub(crate) const ANNOUNCE_MAX_COMMANDS: usize = 64;
/// No index or term is larger: they stay exact in SQLite's signed integers.
pub(crate) const MAX_NUMBER: u64 = 1 << 53;

/// Why a message is not what its type says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidMessage {
    /// A field is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field has the wrong length.
    #[error("{field}: {found} bytes, expected {expected}")]
    Length { field: &'static str, found: usize, expected: usize },
    /// A field is too large.
    #[error("{field}: {found}, at most {max}")]
    TooLarge { field: &'static str, found: u64, max: u64 },
    /// Entries do not follow one another.
    #[error("entries[{at}]: index {found}, expected {expected}")]
    Gap { at: usize, found: u64, expected: u64 },
    /// An entry's or a position's leader comes after the sender's vote.
    #[error("{0}: its leader is later than the vote of the message")]
    FromTheFuture(&'static str),
    /// A membership that contradicts itself.
    #[error("membership: {0}")]
    Membership(String),
}

fn present<T>(field: &'static str, value: Option<T>) -> Result<T, InvalidMessage> {
    value.ok_or(InvalidMessage::Missing(field))
}

fn bounded(field: &'static str, found: u64, max: u64) -> Result<u64, InvalidMessage> {
    if found <= max { Ok(found) } else { Err(InvalidMessage::TooLarge { field, found, max }) }
}

fn hash(field: &'static str, bytes: &[u8]) -> Result<Hex32, InvalidMessage> {
    let found = bytes.len();
    bytes.try_into().map(Hex32).map_err(|_| InvalidMessage::Length { field, found, expected: 32 })
}

/// Who a message says that it is from, and for which federation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) federation: Hex32,
    pub(crate) node: NodeId,
}

impl From<Sender> for v1::ConsensusSender {
    fn from(sender: Sender) -> Self {
        Self { federation: sender.federation.0.to_vec(), node_id: sender.node }
    }
}

pub(crate) fn sender(wire: Option<&v1::ConsensusSender>) -> Result<Sender, InvalidMessage> {
    let wire = present("sender", wire)?;
    Ok(Sender { federation: hash("sender.federation", &wire.federation)?, node: wire.node_id })
}

fn from_vote(vote: &Vote) -> v1::RaftVote {
    v1::RaftVote { term: vote.leader_id.term, node_id: vote.leader_id.node_id, committed: vote.committed }
}

fn vote(field: &'static str, wire: Option<v1::RaftVote>) -> Result<Vote, InvalidMessage> {
    let v1::RaftVote { term, node_id, committed } = present(field, wire)?;
    bounded(field, term, MAX_NUMBER)?;
    Ok(if committed { Vote::new_committed(term, node_id) } else { Vote::new(term, node_id) })
}

fn from_log_id(id: &LogId) -> v1::RaftLogId {
    v1::RaftLogId { term: id.leader_id.term, node_id: id.leader_id.node_id, index: id.index }
}

fn log_id(field: &'static str, wire: v1::RaftLogId) -> Result<LogId, InvalidMessage> {
    bounded(field, wire.term, MAX_NUMBER)?;
    bounded(field, wire.index, MAX_NUMBER)?;
    let leader_id = RaftLeaderId { term: wire.term, node_id: wire.node_id };
    Ok(LogId { leader_id, index: wire.index })
}

fn optional_log_id(field: &'static str, wire: Option<v1::RaftLogId>) -> Result<Option<LogId>, InvalidMessage> {
    wire.map(|id| log_id(field, id)).transpose()
}

pub(crate) fn from_command(command: &Command) -> v1::RaftCommand {
    from_submission(command.submission())
}

fn submission(wire: v1::RaftCommand) -> Result<Submission, InvalidMessage> {
    bounded("command.envelope", wire.envelope.len() as u64, Envelope::MAX_BYTES as u64)?;
    let public_text = wire
        .public_text
        .map(|text| {
            bounded("command.public_text", text.text.len() as u64, PublicPart::MAX_BYTES as u64)?;
            Ok(PublicText { salt: hash("command.public_text.salt", &text.salt)?, bytes: text.text })
        })
        .transpose()?;
    Ok(Submission { envelope: wire.envelope, public_text })
}

/// A command that must be complete.
pub(crate) fn command(wire: v1::RaftCommand) -> Result<Command, InvalidMessage> {
    submission(wire).map(Command::arriving)
}

/// A command that is committed where it comes from: its text may have been erased.
pub(crate) fn committed_command(wire: v1::RaftCommand) -> Result<Command, InvalidMessage> {
    submission(wire).map(Command::committed_elsewhere)
}

/// A membership, also as it is stored.
pub(crate) fn from_membership(membership: &Membership) -> v1::RaftMembership {
    v1::RaftMembership {
        configs: membership
            .get_joint_config()
            .iter()
            .map(|voters| v1::RaftVoters { node_ids: voters.iter().copied().collect() })
            .collect(),
        nodes: membership.nodes().map(|(id, node)| v1::RaftNode { node_id: *id, member: node.addr.clone() }).collect(),
    }
}

pub(crate) fn membership(wire: v1::RaftMembership) -> Result<Membership, InvalidMessage> {
    let configs: Vec<BTreeSet<NodeId>> = wire.configs.into_iter().map(|c| c.node_ids.into_iter().collect()).collect();
    let nodes: BTreeMap<NodeId, BasicNode> =
        wire.nodes.into_iter().map(|n| (n.node_id, BasicNode::new(n.member))).collect();
    Membership::new(configs, nodes).map_err(|e| InvalidMessage::Membership(e.to_string()))
}

fn from_entry(entry: &Entry) -> v1::RaftEntry {
    use v1::raft_entry::Payload;
    let payload = match &entry.payload {
        EntryPayload::Blank => Payload::Blank(v1::RaftBlank {}),
        EntryPayload::Normal(command) => Payload::Command(from_command(command)),
        EntryPayload::Membership(membership) => Payload::Membership(from_membership(membership)),
    };
    v1::RaftEntry { log_id: Some(from_log_id(&entry.log_id)), payload: Some(payload) }
}

fn entry(wire: v1::RaftEntry, leader_commit: Option<&LogId>) -> Result<Entry, InvalidMessage> {
    use v1::raft_entry::Payload;
    let log_id = log_id("entry.log_id", present("entry.log_id", wire.log_id)?)?;
    let payload = match present("entry.payload", wire.payload)? {
        Payload::Blank(_) => EntryPayload::Blank,
        Payload::Command(wire) if leader_commit.is_some_and(|commit| log_id.index <= commit.index) => {
            EntryPayload::Normal(committed_command(wire)?)
        }
        Payload::Command(wire) => EntryPayload::Normal(command(wire)?),
        Payload::Membership(wire) => EntryPayload::Membership(membership(wire)?),
    };
    Ok(Entry { log_id, payload })
}

pub(crate) fn from_append_request(sender: Sender, request: &AppendRequest) -> v1::AppendEntriesRequest {
    v1::AppendEntriesRequest {
        sender: Some(sender.into()),
        vote: Some(from_vote(&request.vote)),
        prev_log_id: request.prev_log_id.as_ref().map(from_log_id),
        entries: request.entries.iter().map(from_entry).collect(),
        leader_commit: request.leader_commit.as_ref().map(from_log_id),
        quorum_age_ms: None,
    }
}

/// Entries follow `prev_log_id` and one another, and none comes after the vote.
pub(crate) fn append_request(wire: v1::AppendEntriesRequest) -> Result<AppendRequest, InvalidMessage> {
    bounded("entries", wire.entries.len() as u64, MAX_ENTRIES as u64)?;
    let vote = vote("vote", wire.vote)?;
    let prev_log_id = optional_log_id("prev_log_id", wire.prev_log_id)?;
    let leader_commit = optional_log_id("leader_commit", wire.leader_commit)?;
    let entries =
        wire.entries.into_iter().map(|wire| entry(wire, leader_commit.as_ref())).collect::<Result<Vec<_>, _>>()?;

    let later = |id: &LogId| id.leader_id > vote.leader_id;
    for (field, position) in [("prev_log_id", &prev_log_id), ("leader_commit", &leader_commit)] {
        if position.as_ref().is_some_and(later) {
            return Err(InvalidMessage::FromTheFuture(field));
        }
    }
    let mut leader = prev_log_id.as_ref().map(|id| id.leader_id);
    let first = prev_log_id.as_ref().map_or(0, |id| id.index + 1);
    for (at, entry) in entries.iter().enumerate() {
        let (found, expected) = (entry.log_id.index, first + at as u64);
        if found != expected {
            return Err(InvalidMessage::Gap { at, found, expected });
        }
        if later(&entry.log_id) || leader.is_some_and(|before| before > entry.log_id.leader_id) {
            return Err(InvalidMessage::FromTheFuture("entries"));
        }
        leader = Some(entry.log_id.leader_id);
    }
    Ok(AppendRequest { vote, prev_log_id, entries, leader_commit })
}

pub(crate) fn from_append_response(response: &AppendResponse) -> v1::AppendEntriesResponse {
    use v1::append_entries_response::Result as Wire;
    let result = match response {
        AppendResponse::Success => Wire::Success(v1::AppendedAll {}),
        // This node never answers so; to whoever asked, nothing of the request is confirmed.
        AppendResponse::PartialSuccess(_) | AppendResponse::Conflict => Wire::Conflict(v1::AppendConflict {}),
        AppendResponse::HigherVote(vote) => Wire::HigherVote(from_vote(vote)),
    };
    v1::AppendEntriesResponse { result: Some(result) }
}

pub(crate) fn append_response(wire: v1::AppendEntriesResponse) -> Result<AppendResponse, InvalidMessage> {
    use v1::append_entries_response::Result as Wire;
    Ok(match present("result", wire.result)? {
        Wire::Success(_) => AppendResponse::Success,
        Wire::Conflict(_) => AppendResponse::Conflict,
        Wire::HigherVote(higher) => AppendResponse::HigherVote(vote("higher_vote", Some(higher))?),
    })
}

pub(crate) fn from_vote_request(sender: Sender, request: &VoteRequest) -> v1::VoteRequest {
    v1::VoteRequest {
        sender: Some(sender.into()),
        vote: Some(from_vote(&request.vote)),
        last_log_id: request.last_log_id.as_ref().map(from_log_id),
        leadership_transfer: request.leadership_transfer,
    }
}

pub(crate) fn vote_request(wire: v1::VoteRequest) -> Result<VoteRequest, InvalidMessage> {
    let vote = vote("vote", wire.vote)?;
    let last_log_id = optional_log_id("last_log_id", wire.last_log_id)?;
    if last_log_id.as_ref().is_some_and(|id| id.leader_id > vote.leader_id) {
        return Err(InvalidMessage::FromTheFuture("last_log_id"));
    }
    Ok(VoteRequest { leadership_transfer: wire.leadership_transfer, ..VoteRequest::new(vote, last_log_id) })
}

pub(crate) fn from_vote_response(response: &VoteResponse) -> v1::VoteResponse {
    v1::VoteResponse {
        vote: Some(from_vote(&response.vote)),
        granted: response.vote_granted,
        last_log_id: response.last_log_id.as_ref().map(from_log_id),
    }
}

pub(crate) fn vote_response(wire: v1::VoteResponse) -> Result<VoteResponse, InvalidMessage> {
    let last_log_id = optional_log_id("last_log_id", wire.last_log_id)?;
    Ok(VoteResponse::new(vote("vote", wire.vote)?, last_log_id, wire.granted))
}

pub(crate) fn from_transfer_request(sender: Sender, request: &TransferRequest) -> v1::TransferLeaderRequest {
    v1::TransferLeaderRequest {
        sender: Some(sender.into()),
        from_leader: Some(from_vote(request.from_leader())),
        to_node_id: *request.to_node_id(),
        last_log_id: request.last_log_id().map(from_log_id),
    }
}

pub(crate) fn transfer_request(wire: v1::TransferLeaderRequest) -> Result<TransferRequest, InvalidMessage> {
    let from = vote("from_leader", wire.from_leader)?;
    Ok(TransferRequest::new(from, wire.to_node_id, optional_log_id("last_log_id", wire.last_log_id)?))
}

pub(crate) fn from_transfer_response(response: &TransferResponse) -> v1::TransferLeaderResponse {
    use v1::transfer_leader_response::Result as Wire;
    let result = match response {
        Ok(()) => Wire::Accepted(v1::TransferAccepted {}),
        Err(TransferError::VoteChanged { actual, .. }) => Wire::VoteChanged(from_vote(actual)),
        Err(TransferError::LogNotFlushed { actual, .. }) => {
            Wire::LogBehind(v1::TransferLogBehind { last_log_id: actual.as_ref().map(from_log_id) })
        }
    };
    v1::TransferLeaderResponse { result: Some(result) }
}

pub(crate) fn transfer_response(
    request: &TransferRequest,
    wire: v1::TransferLeaderResponse,
) -> Result<TransferResponse, InvalidMessage> {
    use v1::transfer_leader_response::Result as Wire;
    Ok(match present("result", wire.result)? {
        Wire::Accepted(_) => Ok(()),
        Wire::VoteChanged(actual) => Err(TransferError::VoteChanged {
            expected: *request.from_leader(),
            actual: vote("vote_changed", Some(actual))?,
        }),
        Wire::LogBehind(behind) => Err(TransferError::LogNotFlushed {
            expected: request.last_log_id().cloned(),
            actual: optional_log_id("log_behind.last_log_id", behind.last_log_id)?,
        }),
    })
}

/// What a leader offers.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotOffer {
    pub(crate) vote: Vote,
    pub(crate) last: LogId,
    pub(crate) membership: StoredMembership,
    pub(crate) data: SnapshotData,
}

impl SnapshotOffer {
    pub(crate) fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: Some(self.last), last_membership: self.membership.clone() }
    }
}

pub(crate) fn from_snapshot_offer(sender: Sender, offer: &SnapshotOffer) -> v1::InstallSnapshotRequest {
    v1::InstallSnapshotRequest {
        sender: Some(sender.into()),
        vote: Some(from_vote(&offer.vote)),
        last_log_id: Some(from_log_id(&offer.last)),
        membership: Some(from_membership(offer.membership.membership())),
        membership_log_id: offer.membership.log_id().as_ref().map(from_log_id),
        commands: offer.data.commands,
        root: offer.data.root.0.to_vec(),
    }
}

/// Nothing of it comes after the vote, and its membership not after its last entry.
pub(crate) fn snapshot_offer(wire: v1::InstallSnapshotRequest) -> Result<SnapshotOffer, InvalidMessage> {
    let vote = vote("vote", wire.vote)?;
    let last = log_id("last_log_id", present("last_log_id", wire.last_log_id)?)?;
    let membership_id = log_id("membership_log_id", present("membership_log_id", wire.membership_log_id)?)?;
    for (field, id, limit) in
        [("last_log_id", &last, vote.leader_id), ("membership_log_id", &membership_id, last.leader_id)]
    {
        if id.leader_id > limit {
            return Err(InvalidMessage::FromTheFuture(field));
        }
    }
    bounded("membership_log_id", membership_id.index, last.index)?;
    // Each leaf has an entry of its own.
    bounded("commands", wire.commands, last.index + 1)?;
    let membership = membership(present("membership", wire.membership)?)?;
    let data = SnapshotData { commands: wire.commands, root: hash("root", &wire.root)?, staged: None };
    Ok(SnapshotOffer { vote, last, membership: StoredMembership::new(Some(membership_id), membership), data })
}

/// How an offer was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SnapshotAnswer {
    /// Taken, or not needed; or refused under a higher vote.
    Vote(Vote),
    /// The receiver has this many leaves by now.
    Pulling(u64),
}

pub(crate) fn from_snapshot_answer(answer: &SnapshotAnswer) -> v1::InstallSnapshotResponse {
    use v1::install_snapshot_response::Result as Wire;
    let result = match answer {
        SnapshotAnswer::Vote(vote) => Wire::Vote(from_vote(vote)),
        SnapshotAnswer::Pulling(commands) => Wire::Pulling(v1::SnapshotPulling { commands: *commands }),
    };
    v1::InstallSnapshotResponse { result: Some(result) }
}

pub(crate) fn snapshot_answer(wire: v1::InstallSnapshotResponse) -> Result<SnapshotAnswer, InvalidMessage> {
    use v1::install_snapshot_response::Result as Wire;
    Ok(match present("result", wire.result)? {
        Wire::Vote(wire) => SnapshotAnswer::Vote(vote("vote", Some(wire))?),
        Wire::Pulling(pulling) => SnapshotAnswer::Pulling(pulling.commands),
    })
}

/// Leaves of the command log, as a sender gave them.
pub(crate) struct Page {
    pub(crate) first: u64,
    pub(crate) commands: Vec<Command>,
    pub(crate) root_before: Option<Hex32>,
}

pub(crate) fn from_submission(submission: &Submission) -> v1::RaftCommand {
    v1::RaftCommand {
        envelope: submission.envelope.clone(),
        public_text: submission
            .public_text
            .as_ref()
            .map(|text| v1::PublicText { salt: text.salt.0.to_vec(), text: text.bytes.clone() }),
    }
}

pub(crate) fn page(wire: v1::ReadCommandsResponse) -> Result<Page, InvalidMessage> {
    bounded("commands", wire.commands.len() as u64, MAX_ENTRIES as u64)?;
    let root_before = (!wire.root_before.is_empty()).then(|| hash("root_before", &wire.root_before)).transpose()?;
    let commands = wire.commands.into_iter().map(committed_command).collect::<Result<Vec<_>, _>>()?;
    Ok(Page { first: wire.first_leaf, commands, root_before })
}

/// Commands that a peer makes known.
pub(crate) fn announced(wire: Vec<v1::RaftCommand>) -> Result<Vec<Command>, InvalidMessage> {
    bounded("commands", wire.len() as u64, ANNOUNCE_MAX_COMMANDS as u64)?;
    wire.into_iter().map(command).collect()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;

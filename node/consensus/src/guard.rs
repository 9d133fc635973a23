//! What is asked of a message before openraft sees it. openraft trusts its leader; we do not.
//!
//! A lying leader can stall, omit or split; it must not be able to forge, to rewrite what is committed, or to stop a node.

use std::collections::BTreeSet;
use std::sync::Arc;

use comity_core::canonical::Hex32;
use comity_core::list::{ListState, Refusal};
use comity_core::roster::Standing;
use comity_core::{MemberId, Role};
use comity_identity::Peer;
use openraft::EntryPayload;

use crate::log_store::LogStore;
use crate::membership;
use crate::pull::PullError;
use crate::state_machine::Applied;
use crate::types::{Command, Entry, Keys, LogId, Membership, NodeId, Vote};
use crate::verify;
use crate::wire::{AppendRequest, AppendResponse, InvalidMessage, Sender, SnapshotOffer, TransferRequest, VoteRequest};

/// How far a term may be ahead of the known one. Elections raise it by one; a liar could otherwise use up all the terms there
/// are, and stop elections for good.
const TERM_MAX_STEP: u64 = 1_000_000;

/// Why a message from a peer was turned away.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Turned {
    /// Without an identity there is nothing to say.
    #[error("the connection has no identity: the peer port was put together wrongly")]
    NoIdentity,
    /// Not a node.
    #[error("{0} is not a node: only nodes take part in consensus")]
    NotANode(Role),
    /// Not a voting member.
    #[error("{0} is not a voting member of this federation")]
    NotAVoter(MemberId),
    /// Another federation.
    #[error(
        "{peer} runs genesis {theirs}, {own} runs genesis {ours}: compare the genesis files, one of the two is wrong"
    )]
    OtherFederation { peer: MemberId, theirs: Hex32, own: MemberId, ours: Hex32 },
    /// Somebody else's name.
    #[error("{peer} speaks as node {claimed}, but is node {actual}")]
    OtherSender { peer: MemberId, claimed: NodeId, actual: NodeId },
    /// Not what its type says.
    #[error(transparent)]
    Invalid(#[from] InvalidMessage),
    /// A vote that is not the sender's.
    #[error("{peer} sent a message under the vote of node {leader}")]
    OthersVote { peer: MemberId, leader: NodeId },
    /// Entries under a vote that no quorum gave.
    #[error("{0} sent entries under a vote that is not committed")]
    VoteNotCommitted(MemberId),
    /// A term from nowhere.
    #[error("{peer} is at term {term}, far beyond {known}")]
    TermTooFar { peer: MemberId, term: u64, known: u64 },
    /// The committed log would be rewritten.
    #[error(
        "{peer} would rewrite entry {index}, which is committed: it holds another log. Keep both nodes' files and call its operators"
    )]
    Rewrite { peer: MemberId, index: u64 },
    /// A membership that the roster does not ask for.
    #[error("{0} sent a membership that the roster does not ask for")]
    OtherMembership(MemberId),
    /// A command that does not hold. Both sides log this, so it does not quote the command.
    #[error("{peer} sent a command that does not hold, at entry {index}: {}", refusal.reason())]
    Forged { peer: MemberId, index: u64, refusal: Refusal },
    /// A snapshot that does not hold.
    #[error("{peer} offered a snapshot that is not used: {problem}")]
    Snapshot { peer: MemberId, problem: Arc<PullError> },
    /// Leaves that do not exist here.
    #[error("leaf {first} was asked for, there are {commands}")]
    NoSuchLeaf { first: u64, commands: u64 },
    /// Nothing can be read for want of a quorum.
    #[error("no quorum confirmed in time that this node leads: {0}")]
    NoQuorum(String),
    /// A command that does not hold was handed in.
    #[error("the command does not hold: {0}")]
    Refused(Refusal),
    /// Too many proposals at once.
    #[error("{limit} commands are being proposed already: try again in a moment")]
    Busy { limit: usize },
    /// Nothing was committed in time.
    #[error(
        "the command was not committed within {0} ms: whether it will be is not known, and handing it in again is safe"
    )]
    TimedOut(u128),
    /// This node's Raft has stopped.
    #[error("this node takes no part in consensus until it is restarted: {0}")]
    Stopped(String),
    /// This node's log cannot be read.
    #[error("this node cannot read its log: {0}")]
    Log(std::io::Error),
}

/// Who checks, and for whom.
pub(crate) struct Guard {
    pub(crate) own: Sender,
    pub(crate) own_member: MemberId,
    pub(crate) log: LogStore,
    pub(crate) applied: Applied,
}

/// A sender whose certificate says who it says it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) member: MemberId,
    pub(crate) node: NodeId,
}

impl Guard {
    /// A voting member's node.
    ///
    /// INVARIANT: federation and sender are what the certificate and this node's genesis say.
    pub(crate) fn sender(&self, peer: Option<&Peer>, claimed: Sender) -> Result<Known, Turned> {
        self.known(peer, claimed, &BTreeSet::new())
    }

    /// A voting member's node, or one without which the membership cannot follow the roster: what Raft itself says is heard from
    /// both.
    pub(crate) fn raft_sender(&self, peer: Option<&Peer>, claimed: Sender) -> Result<Known, Turned> {
        self.known(peer, claimed, &self.applied.needed())
    }

    fn known(&self, peer: Option<&Peer>, claimed: Sender, needed: &BTreeSet<NodeId>) -> Result<Known, Turned> {
        let peer = peer.ok_or(Turned::NoIdentity)?;
        if peer.role() != Role::Node {
            return Err(Turned::NotANode(peer.role()));
        }
        let member = peer.member;
        if claimed.federation != self.own.federation {
            let (theirs, ours) = (claimed.federation, self.own.federation);
            return Err(Turned::OtherFederation { peer: member, theirs, own: self.own_member, ours });
        }
        let actual = self.applied.roster(|roster| {
            let voter = roster.voters().get(&member).map(|voter| voter.node_id);
            voter.or_else(|| roster.get(member).map(Standing::node_id).filter(|node| needed.contains(node)))
        });
        let actual = actual.ok_or(Turned::NotAVoter(member))?;
        if actual != claimed.node {
            return Err(Turned::OtherSender { peer: member, claimed: claimed.node, actual });
        }
        Ok(Known { member, node: actual })
    }

    fn vote(&self, from: Known, vote: &Vote, known_term: u64) -> Result<(), Turned> {
        let (peer, leader, term) = (from.member, vote.leader_id.node_id, vote.leader_id.term);
        if leader != from.node {
            return Err(Turned::OthersVote { peer, leader });
        }
        if term > known_term.saturating_add(TERM_MAX_STEP) {
            return Err(Turned::TermTooFar { peer, term, known: known_term });
        }
        Ok(())
    }

    pub(crate) fn vote_request(&self, from: Known, request: &VoteRequest, known_term: u64) -> Result<(), Turned> {
        self.vote(from, &request.vote, known_term)
    }

    pub(crate) fn transfer(&self, from: Known, request: &TransferRequest, known_term: u64) -> Result<(), Turned> {
        self.vote(from, request.from_leader(), known_term)
    }

    /// INVARIANT: after this, every entry's command was verified here, nothing that is committed here changes, and the
    /// membership is the roster's.
    pub(crate) async fn append(&self, from: Known, request: &mut AppendRequest, known_term: u64) -> Result<(), Turned> {
        let peer = from.member;
        self.vote(from, &request.vote, known_term)?;
        if !request.vote.committed {
            return Err(Turned::VoteNotCommitted(peer));
        }
        self.keeps_committed(peer, request).await?;
        let commands = request.entries.iter().filter_map(|entry| match &entry.payload {
            EntryPayload::Normal(command) => Some(command),
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
        });
        let keys = self.applied.keys();
        verify::all(&keys, commands).await;
        self.take_repetitions(request, &keys).await?;
        for entry in &request.entries {
            match &entry.payload {
                EntryPayload::Blank => {}
                // Held against the roster once what comes before it is applied.
                EntryPayload::Membership(_) => {}
                EntryPayload::Normal(command) => {
                    if let Err(refusal) = command.check(&keys) {
                        let (index, refusal) = (entry.log_id.index, refusal.clone());
                        return Err(Turned::Forged { peer, index, refusal });
                    }
                }
            }
        }
        Ok(())
    }

    /// A membership that is about to be taken up, once everything committed before it is applied.
    pub(crate) fn membership(&self, from: Known, current: &Membership, proposed: &Membership) -> Result<(), Turned> {
        let fits = self.applied.read(|list| membership::is_asked_for(list, list.commands().size(), current, proposed));
        if fits { Ok(()) } else { Err(Turned::OtherMembership(from.member)) }
    }

    /// The membership that a snapshot or a log leads to, which `list` follows from; without one, what is applied here. The
    /// present one is from when the command log had `since` leaves.
    pub(crate) fn led_to(
        &self,
        from: Known,
        list: Option<&ListState>,
        since: u64,
        current: &Membership,
        proposed: &Membership,
    ) -> Result<(), Turned> {
        let asked_for = |list: &ListState| membership::is_asked_for(list, since, current, proposed);
        let fits = list.map_or_else(|| self.applied.read(asked_for), asked_for);
        if fits { Ok(()) } else { Err(Turned::OtherMembership(from.member)) }
    }

    /// Commands that came without the text that they need, and are to be taken all the same: what is in the log once more after
    /// its text was erased. Such a command is a leaf here already, or stands earlier in this node's log or in the message, where
    /// it was held against its text or is committed, as the sender says. Applying it changes nothing; were the sender to lie, only
    /// its text would be missing, and the others are asked for that (`texts`).
    async fn take_repetitions(&self, request: &mut AppendRequest, keys: &Keys) -> Result<(), Turned> {
        let mut bare: Vec<(usize, Command)> = Vec::new();
        for (at, entry) in request.entries.iter().enumerate() {
            if let EntryPayload::Normal(command) = &entry.payload
                && !command.has_text()
                && command.check(keys).is_err()
            {
                let repeated = command.without_text();
                if repeated.check(keys).is_ok() {
                    bare.push((at, repeated));
                }
            }
        }
        if bare.is_empty() {
            return Ok(());
        }
        let first = request.entries.first().map_or(0, |entry| entry.log_id.index);
        let in_log = self.among_unapplied(&bare, first).await?;
        for (at, repeated) in bare {
            let is_same =
                |entry: &Entry| matches!(&entry.payload, EntryPayload::Normal(command) if *command == repeated);
            let known = in_log.contains(&repeated.leaf_hash())
                || request.entries.iter().take(at).any(is_same)
                || repeated.check(keys).is_ok_and(|checked| self.applied.holds(checked));
            if known && let Some(entry) = request.entries.get_mut(at) {
                entry.payload = EntryPayload::Normal(repeated);
            }
        }
        Ok(())
    }

    /// Those of the commands that stand in this node's log before `end` and are not applied yet.
    async fn among_unapplied(&self, wanted: &[(usize, Command)], end: u64) -> Result<BTreeSet<Hex32>, Turned> {
        let wanted: BTreeSet<Hex32> = wanted.iter().map(|(_, command)| command.leaf_hash()).collect();
        let (mut found, mut next) = (BTreeSet::new(), self.applied.position().borrow().applied);
        while next < end {
            let entries = self.log.entries(next, end, crate::wire::BATCH_MAX_BYTES).await.map_err(Turned::Log)?;
            let Some(last) = entries.last() else { break };
            next = last.log_id.index + 1;
            found.extend(entries.iter().filter_map(|entry| match &entry.payload {
                EntryPayload::Normal(command) => Some(command.leaf_hash()).filter(|hash| wanted.contains(hash)),
                EntryPayload::Blank | EntryPayload::Membership(_) => None,
            }));
        }
        Ok(found)
    }

    /// What can be told of a snapshot before any of it is pulled. `committed` is openraft's own.
    pub(crate) fn snapshot(
        &self,
        from: Known,
        offer: &SnapshotOffer,
        known_term: u64,
        committed: Option<LogId>,
    ) -> Result<(), Turned> {
        let peer = from.member;
        self.vote(from, &offer.vote, known_term)?;
        if !offer.vote.committed {
            return Err(Turned::VoteNotCommitted(peer));
        }
        // openraft panics where a later position has a smaller index.
        if committed.is_some_and(|committed| offer.last > committed && offer.last.index <= committed.index) {
            return Err(Turned::Rewrite { peer, index: offer.last.index });
        }
        Ok(())
    }

    /// Compares what lies at or below this node's committed position with what is sent.
    ///
    /// What is purged cannot be compared any more. openraft keeps what it has there, whatever is sent; it must only not be
    /// later than what was purged.
    async fn keeps_committed(&self, peer: MemberId, request: &AppendRequest) -> Result<(), Turned> {
        let Some(committed) = self.log.committed() else { return Ok(()) };
        let purged = self.log.purged();
        let mut next = None;
        let mut end = 0;
        for id in request.prev_log_id.iter().chain(request.entries.iter().map(|entry| &entry.log_id)) {
            match &purged {
                Some(purged) if id.index < purged.index && id.leader_id <= purged.leader_id => {}
                Some(purged) if id.index == purged.index && id == purged => {}
                Some(purged) if id.index <= purged.index => return Err(Turned::Rewrite { peer, index: id.index }),
                _ if id.index <= committed.index => {
                    next.get_or_insert(id.index);
                    end = id.index + 1;
                }
                _ => {}
            }
        }
        let Some(mut next) = next else { return Ok(()) };
        let mut sent = request.entries.iter().peekable();
        while next < end {
            let held = self.log.entries(next, end, crate::wire::BATCH_MAX_BYTES).await.map_err(Turned::Log)?;
            let Some(first) = held.first().map(|entry| entry.log_id.index) else { return Ok(()) };
            // What is purged was committed, too, and stays as it is.
            while sent.next_if(|entry| entry.log_id.index < first).is_some() {}
            for entry in &held {
                let index = entry.log_id.index;
                let same = match &request.prev_log_id {
                    Some(prev) if prev.index == index => *prev == entry.log_id,
                    _ => sent.next().is_some_and(|sent| *sent == *entry),
                };
                if !same {
                    return Err(Turned::Rewrite { peer, index });
                }
                next = index + 1;
            }
        }
        Ok(())
    }
}

/// Why a peer's answer was not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MisledBy {
    /// A conflict where there is nothing that could conflict.
    #[error("conflict before the first entry")]
    ConflictAtTheBeginning,
    /// A conflict where it had confirmed the entry.
    #[error(
        "it confirmed entry {0} before and has it no more: its log was lost or rolled back, and it must not be believed"
    )]
    LostItsLog(u64),
    /// A vote that is not higher.
    #[error("vote {answered} is not higher than {asked}")]
    NotHigher { asked: Vote, answered: Vote },
    /// A term from nowhere.
    #[error("term {term} is far beyond {known}")]
    TermTooFar { term: u64, known: u64 },
}

fn term_of_answer(asked: &Vote, answered: &Vote) -> Result<(), MisledBy> {
    let (term, known) = (answered.leader_id.term, asked.leader_id.term);
    if term > known.saturating_add(TERM_MAX_STEP) { Err(MisledBy::TermTooFar { term, known }) } else { Ok(()) }
}

pub(crate) fn vote_answer(asked: &Vote, answered: &Vote) -> Result<(), MisledBy> {
    term_of_answer(asked, answered)
}

/// What a peer has confirmed under one vote of this node.
#[derive(Debug, Default)]
pub(crate) struct Confirmed(Option<(Vote, u64)>);

impl Confirmed {
    /// Looks at an answer, and remembers what it confirms.
    pub(crate) fn append_answer(&mut self, asked: &AppendAsked, answer: &AppendResponse) -> Result<(), MisledBy> {
        let confirmed = self.0.filter(|(vote, _)| *vote == asked.vote).map(|(_, index)| index);
        match (answer, asked.prev) {
            (AppendResponse::Success, _) => {
                if let Some(last) = asked.last.filter(|last| confirmed.is_none_or(|confirmed| confirmed < *last)) {
                    self.0 = Some((asked.vote, last));
                }
                Ok(())
            }
            // It is never asked for; taken for nothing.
            (AppendResponse::PartialSuccess(_), _) | (AppendResponse::Conflict, None) => {
                // openraft would look for the conflicting position, and not find it.
                Err(MisledBy::ConflictAtTheBeginning)
            }
            // openraft takes it for the end of the world.
            (AppendResponse::Conflict, Some(prev)) if confirmed.is_some_and(|confirmed| prev <= confirmed) => {
                Err(MisledBy::LostItsLog(prev))
            }
            (AppendResponse::Conflict, Some(_)) => Ok(()),
            (AppendResponse::HigherVote(answered), _) if *answered > asked.vote => {
                term_of_answer(&asked.vote, answered)
            }
            (AppendResponse::HigherVote(answered), _) => {
                Err(MisledBy::NotHigher { asked: asked.vote, answered: *answered })
            }
        }
    }
}

/// What of a request its answer is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AppendAsked {
    vote: Vote,
    prev: Option<u64>,
    last: Option<u64>,
}

impl AppendAsked {
    /// A snapshot that was taken stands for the entries up to its last.
    pub(crate) fn snapshot(vote: Vote, last: &LogId) -> Self {
        Self { vote, prev: Some(last.index), last: Some(last.index) }
    }
}

impl From<&AppendRequest> for AppendAsked {
    fn from(request: &AppendRequest) -> Self {
        let prev = request.prev_log_id.as_ref().map(|id| id.index);
        Self { vote: request.vote, prev, last: request.entries.last().map(|entry| entry.log_id.index).or(prev) }
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;

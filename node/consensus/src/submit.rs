//! Handing a command in, from any node, until it is decided here.

use std::time::Duration;

use comity_core::MemberId;
use comity_core::list::{Accepted, Refusal, Submission};
use comity_proto::v1;
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::Instant;

use crate::consensus::{Consensus, Inner};
use crate::peers::{CallError, jitter};
use crate::pool::Origin;
use crate::read::Observes;
use crate::server::{PROPOSE_TIMEOUT, Proposed};
use crate::state_machine::Waiting;
use crate::types::{Command, NodeId};
use crate::verify;
use crate::wire;

/// How long handing in may take, in all.
pub const SUBMIT_TIMEOUT: Duration = Duration::from_secs(15);
/// Waits between two attempts, in milliseconds.
const RETRY_MIN_MS: u64 = 20;
const RETRY_MAX_MS: u64 = 400;
/// A call to the leader ends a little after what the leader allows itself.
const CALL_TIMEOUT: Duration = Duration::from_millis(PROPOSE_TIMEOUT.as_millis() as u64 + 500);

/// Why a command was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// Every node refuses it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too few nodes are there to decide anything.
    #[error(
        "too few voting members' nodes answer to decide anything{}: {problem}; it is not known whether the command will be decided, and handing it in again is safe",
        unreachable_list(unreachable)
    )]
    NoQuorum {
        /// Those that this node cannot reach.
        unreachable: Vec<MemberId>,
        /// What happened last.
        problem: String,
    },
    /// It was not decided in time.
    #[error("not decided within {waited_ms} ms: {problem}; it may still be decided, and handing it in again is safe")]
    Timeout {
        /// How long was waited, in milliseconds.
        waited_ms: u64,
        /// What happened last.
        problem: String,
    },
    /// This node is busy.
    #[error("this node is handing in {limit} commands already: try again in a moment")]
    Busy {
        /// How many it takes at a time.
        limit: usize,
    },
    /// This node takes no part.
    #[error("this node takes no part in consensus until it is restarted: {0}")]
    Stopped(String),
    /// A recipient's node never takes part.
    #[error(transparent)]
    Observes(#[from] Observes),
}

pub(crate) fn unreachable_list(members: &[MemberId]) -> String {
    let names: Vec<String> = members.iter().map(ToString::to_string).collect();
    if names.is_empty() { String::new() } else { format!(" (not reached: {})", names.join(", ")) }
}

/// How an attempt ended that was not the last word.
pub(crate) enum Attempt {
    Committed,
    Again(String),
}

impl Consensus {
    /// Hands a command in and waits until this node has applied it, so that its effect can be read here at once. Handing the
    /// same envelope in again is safe: it is accepted once, and answers where it stands.
    ///
    /// # Errors
    /// It is refused, or was not decided in time.
    pub async fn submit(&self, submission: Submission) -> Result<Accepted, SubmitError> {
        let inner = self.part()?;
        let command = Command::arriving(submission);
        let keys = inner.applied.keys();
        verify::all(&keys, std::iter::once(&command)).await;
        let checked = command.check(&keys).map_err(Clone::clone)?;
        let (id, leaf_hash) = (checked.command().id(), checked.leaf_hash());
        // INVARIANT: an id is spent once. What stands already is answered without another entry in the log.
        if let Some(leaf) =
            inner.applied.read(|list| list.accepted_at(id).filter(|n| list.command_leaf(*n) == Some(leaf_hash)))
        {
            return Ok(Accepted { leaf, command: id, events: Vec::new(), repeated: true });
        }
        let permit = inner.submissions.try_acquire();
        let _permit = permit.map_err(|_| SubmitError::Busy { limit: Inner::MAX_SUBMISSIONS })?;

        let mut waiting = inner.applied.wait_for(leaf_hash, id);
        inner.pool.add(command.clone(), &inner.applied, Origin::Own);
        let started = Instant::now();
        let mut problem = String::from("no leader is known");
        match tokio::time::timeout(SUBMIT_TIMEOUT, inner.drive(command, &mut waiting, &mut problem)).await {
            Ok(decided) => decided,
            Err(_) => Err(inner.not_decided(started.elapsed(), problem)),
        }
    }
}

impl Inner {
    /// Commands that this node hands in at one time.
    pub(crate) const MAX_SUBMISSIONS: usize = 1_024;

    /// Tries until the command is decided here; whoever calls limits the time.
    async fn drive(
        &self,
        command: Command,
        waiting: &mut Waiting,
        problem: &mut String,
    ) -> Result<Accepted, SubmitError> {
        let mut delay_ms = RETRY_MIN_MS;
        loop {
            // Whoever got it into the log, what this node applies is the answer.
            let attempt = tokio::select! {
                decided = waiting.decided() => return self.answer(decided),
                attempt = self.attempt(&command) => attempt?,
            };
            match attempt {
                Attempt::Committed => {
                    *problem = "it is committed, and this node has not caught up with it".to_owned();
                    return self.answer(waiting.decided().await);
                }
                Attempt::Again(why) => *problem = why,
            }
            tokio::select! {
                decided = waiting.decided() => return self.answer(decided),
                () = tokio::time::sleep(Duration::from_millis(jitter(delay_ms))) => {}
            }
            delay_ms = (delay_ms * 2).min(RETRY_MAX_MS);
        }
    }

    fn answer(&self, decided: Option<Result<Accepted, Refusal>>) -> Result<Accepted, SubmitError> {
        decided.ok_or_else(|| SubmitError::Stopped("it was shut down".to_owned()))?.map_err(SubmitError::Refused)
    }

    pub(crate) async fn attempt(&self, command: &Command) -> Result<Attempt, SubmitError> {
        use crate::guard::Turned;
        if let Some(fatal) = self.stopped() {
            return Err(SubmitError::Stopped(fatal));
        }
        let leader = self.raft.server_metrics().borrow_watched().current_leader;
        match leader {
            None => Ok(Attempt::Again("no leader is known".to_owned())),
            Some(node) if node == self.peers.own().node => {
                match self.proposer.propose(command.clone(), PROPOSE_TIMEOUT).await {
                    Ok(Proposed::Committed(_)) => Ok(Attempt::Committed),
                    Ok(Proposed::NotLeader(_)) => Ok(Attempt::Again("this node does not lead any more".to_owned())),
                    Err(Turned::Stopped(why)) => Err(SubmitError::Stopped(why)),
                    Err(other) => Ok(Attempt::Again(other.to_string())),
                }
            }
            Some(node) => match self.forward(node, command).await {
                Ok(Proposed::Committed(_)) => Ok(Attempt::Committed),
                Ok(Proposed::NotLeader(_)) => Ok(Attempt::Again("the leader is changing".to_owned())),
                Err(error) => Ok(Attempt::Again(error.to_string())),
            },
        }
    }

    async fn forward(&self, leader: NodeId, command: &Command) -> Result<Proposed, CallError> {
        use v1::submit_response::Result as Answer;
        let sender = Some(self.peers.own().into());
        let message = v1::SubmitRequest { sender, command: Some(wire::from_command(command)) };
        let answer = self
            .peers
            .call(leader, CALL_TIMEOUT, message, |mut client, request| async move { client.submit(request).await })
            .await?;
        match answer.result {
            Some(Answer::Committed(committed)) => Ok(Proposed::Committed(committed.log_index)),
            Some(Answer::NotLeader(other)) => {
                Ok(Proposed::NotLeader(Some(other.leader_node_id).filter(|node| *node != 0)))
            }
            None => Err(CallError::Nonsense { node: leader, problem: wire::InvalidMessage::Missing("result") }),
        }
    }

    /// Says whether it was for want of a quorum.
    fn not_decided(&self, waited: Duration, problem: String) -> SubmitError {
        let unreachable: Vec<MemberId> = self.peers.problems().into_keys().collect();
        let voters = self.applied.roster(|roster| roster.voters().len());
        let reached = voters.saturating_sub(unreachable.len());
        let leaderless = self.raft.server_metrics().borrow_watched().current_leader.is_none();
        if leaderless || reached < voters / 2 + 1 {
            return SubmitError::NoQuorum { unreachable, problem };
        }
        SubmitError::Timeout { waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX), problem }
    }
}

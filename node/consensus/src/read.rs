//! Reads that see everything that was acknowledged before they were asked, and how old what is read otherwise may be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use comity_core::MemberId;
use comity_proto::v1;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::{Instant as _, ReadPolicy};
use tokio::time::Instant;

use crate::consensus::{Consensus, Inner};
use crate::guard::Turned;
use crate::peers::{CallError, jitter};
use crate::submit::unreachable_list;
use crate::types::{NodeId, Raft};
use crate::wire;

/// How long the leader may take for one answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Waits between two attempts, in milliseconds.
const RETRY_MIN_MS: u64 = 20;
const RETRY_MAX_MS: u64 = 400;

/// Why nothing can be read with certainty.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Too few nodes are there to say what is current.
    #[error(
        "within {waited_ms} ms no quorum of the voting members' nodes confirmed what is current{}: {problem}",
        unreachable_list(unreachable)
    )]
    NoQuorum {
        /// How long was waited, in milliseconds.
        waited_ms: u64,
        /// Those that this node cannot reach.
        unreachable: Vec<MemberId>,
        /// What happened last.
        problem: String,
    },
    /// This node takes no part.
    #[error("this node takes no part in consensus until it is restarted: {0}")]
    Stopped(String),
}

/// When a leader last spoke to this node and was heard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Option<Instant>>>);

impl Heard {
    pub(crate) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(crate) fn ms_ago(&self) -> Option<u64> {
        let heard = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.map(|at| milliseconds(at.elapsed()))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What a leader says.
pub(crate) enum ReadIndex {
    /// This entry must be applied.
    At(u64),
    /// Another node leads, as far as is known.
    NotLeader(Option<NodeId>),
}

/// Asks a quorum whether this node leads, and says how far a read must see.
pub(crate) async fn index(raft: &Raft) -> Result<ReadIndex, Turned> {
    match raft.get_read_log_id(ReadPolicy::ReadIndex).await {
        Ok((read, _)) => Ok(ReadIndex::At(read.log_id().index)),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
            Ok(ReadIndex::NotLeader(forward.leader_id))
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(missing))) => {
            Err(Turned::NoQuorum(missing.to_string()))
        }
        Err(RaftError::Fatal(fatal)) => Err(Turned::Stopped(fatal.to_string())),
    }
}

impl Consensus {
    /// Waits until what [`Self::read`] shows contains everything that any node acknowledged before this was called.
    ///
    /// # Errors
    /// No quorum confirmed within the time what is current, or this node has stopped.
    pub async fn read_barrier(&self, timeout: Duration) -> Result<(), ReadError> {
        let inner = &*self.0;
        let mut problem = String::from("no leader is known");
        match tokio::time::timeout(timeout, inner.barrier(&mut problem)).await {
            Ok(result) => result,
            Err(_) => {
                let unreachable = inner.peers.problems().into_keys().collect();
                Err(ReadError::NoQuorum { waited_ms: milliseconds(timeout), unreachable, problem })
            }
        }
    }

    /// How long ago this node last knew of a quorum, in milliseconds: where it leads, when a quorum answered it; elsewhere,
    /// when it took something from a leader. Nothing if it never did. What it shows is at least as new as that.
    pub fn heard_ms_ago(&self) -> Option<u64> {
        let metrics = self.0.raft.metrics();
        let quorum = {
            let now = metrics.borrow_watched();
            let leads = now.current_leader == Some(now.id);
            leads.then(|| now.last_quorum_acked.map(|at| milliseconds(at.elapsed()))).flatten()
        };
        [quorum, self.0.heard.ms_ago()].into_iter().flatten().min()
    }
}

impl Inner {
    /// Tries until it is so; whoever calls limits the time.
    async fn barrier(&self, problem: &mut String) -> Result<(), ReadError> {
        let mut delay_ms = RETRY_MIN_MS;
        let index = loop {
            if let Some(fatal) = self.stopped() {
                return Err(ReadError::Stopped(fatal));
            }
            let leader = self.raft.server_metrics().borrow_watched().current_leader;
            let answer = match leader {
                None => Err("no leader is known".to_owned()),
                Some(node) if node == self.peers.own().node => {
                    index(&self.raft).await.map_err(|turned| turned.to_string())
                }
                Some(node) => self.ask_index(node).await.map_err(|error| error.to_string()),
            };
            match answer {
                Ok(ReadIndex::At(index)) => break index,
                Ok(ReadIndex::NotLeader(_)) => "the leader is changing".clone_into(problem),
                Err(why) => *problem = why,
            }
            tokio::time::sleep(Duration::from_millis(jitter(delay_ms))).await;
            delay_ms = (delay_ms * 2).min(RETRY_MAX_MS);
        };
        "this node has not caught up with the others".clone_into(problem);
        let mut position = self.applied.position();
        match position.wait_for(|position| position.applied > index).await {
            Ok(_) => Ok(()),
            Err(_) => Err(ReadError::Stopped("it was shut down".to_owned())),
        }
    }

    async fn ask_index(&self, leader: NodeId) -> Result<ReadIndex, CallError> {
        use v1::read_index_response::Result as Answer;
        let message = v1::ReadIndexRequest { sender: Some(self.peers.own().into()) };
        let answer = self
            .peers
            .call(leader, CALL_TIMEOUT, message, |mut client, request| async move { client.read_index(request).await })
            .await?;
        match answer.result {
            Some(Answer::LogIndex(index)) => Ok(ReadIndex::At(index)),
            Some(Answer::NotLeader(other)) => {
                Ok(ReadIndex::NotLeader(Some(other.leader_node_id).filter(|node| *node != 0)))
            }
            None => Err(CallError::Nonsense { node: leader, problem: wire::InvalidMessage::Missing("result") }),
        }
    }
}

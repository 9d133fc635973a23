//! Reads that see everything that was acknowledged before they were asked, and how old what is read otherwise may be.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
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
    /// A recipient's node never takes part.
    #[error(transparent)]
    Observes(#[from] Observes),
}

/// What only a node that takes part can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a recipient holds no list and takes no part in what the members decide")]
pub struct Observes;

/// When a leader last spoke to this node and was heard, and how old what is applied here is by what it said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Word>>);

#[derive(Debug, Default)]
struct Word {
    /// When a leader spoke last.
    heard: Option<Instant>,
    /// When a quorum last answered the leader, as of which everything that was committed is applied here.
    current: Option<Instant>,
    /// The same of what was said since, once the entries below are applied.
    coming: Option<(Instant, u64)>,
}

impl Word {
    /// Takes over what has come about by now.
    fn applied(&mut self, applied: u64) {
        if let Some((at, _)) = self.coming.take_if(|(_, needed)| *needed <= applied) {
            self.current = self.current.max(Some(at));
        }
    }
}

impl Heard {
    fn word(&self) -> MutexGuard<'_, Word> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A leader was heard: so long ago a quorum answered it, and then the entries below `committed` were committed.
    pub(crate) fn leader(&self, quorum_age_ms: Option<u64>, committed: u64, applied: u64) {
        let now = Instant::now();
        let mut word = self.word();
        word.heard = Some(now);
        let quorum = quorum_age_ms.and_then(|age| now.checked_sub(Duration::from_millis(age)));
        if let Some(quorum) = quorum {
            word.applied(applied);
            // What is waited for is not put off by what is said meanwhile: a node that is always a little behind gets on, too.
            word.coming.take_if(|(_, needed)| *needed > committed);
            word.coming.get_or_insert((quorum, committed));
            word.applied(applied);
        }
    }

    /// How long ago a leader was heard.
    pub(crate) fn ms_ago(&self) -> Option<u64> {
        self.word().heard.map(|at| milliseconds(at.elapsed()))
    }

    /// How old what is applied is, at most.
    fn age_ms(&self, applied: u64) -> Option<u64> {
        let mut word = self.word();
        word.applied(applied);
        word.current.map(|at| milliseconds(at.elapsed()))
    }
}

/// How long ago a quorum last answered this node, where it leads: known once Raft runs. It holds on to Raft's figures alone, not
/// to Raft, which the network is a part of.
#[derive(Clone, Default)]
pub(crate) struct QuorumAge(Arc<OnceLock<AgeOf>>);

type AgeOf = Box<dyn Fn() -> Option<u64> + Send + Sync>;

impl QuorumAge {
    pub(crate) fn follow(&self, raft: &Raft) {
        let metrics = raft.metrics();
        let age = move || {
            let now = metrics.borrow_watched();
            let leads = now.current_leader == Some(now.id);
            leads.then(|| now.last_quorum_acked.map(|at| milliseconds(at.elapsed()))).flatten()
        };
        // It is followed once.
        let _ = self.0.set(Box::new(age));
    }

    pub(crate) fn ms(&self) -> Option<u64> {
        self.0.get().and_then(|age| age())
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
        let inner = self.part()?;
        let mut problem = String::from("no leader is known");
        match tokio::time::timeout(timeout, inner.barrier(&mut problem)).await {
            Ok(result) => result,
            Err(_) => {
                let unreachable = inner.peers.problems().into_keys().collect();
                Err(ReadError::NoQuorum { waited_ms: milliseconds(timeout), unreachable, problem })
            }
        }
    }

    /// How old what this node shows is at most, in milliseconds: when a quorum last answered it, where it leads; elsewhere, when
    /// one last answered the leader, once what was committed by then is applied here. Nothing if it never was. A leader that lies
    /// may say that it is younger.
    pub fn age_ms(&self) -> Option<u64> {
        let part = self.part().ok()?;
        let applied = self.applied.position().borrow().applied;
        [part.quorum_age.ms(), part.heard.age_ms(applied)].into_iter().flatten().min()
    }

    /// What this node takes part with.
    pub(crate) fn part(&self) -> Result<&Inner, Observes> {
        self.part.as_deref().ok_or(Observes)
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

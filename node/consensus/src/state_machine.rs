//! The list as this node has applied it, in memory: rebuilt from the log at start.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use comity_core::canonical::Hex32;
use comity_core::genesis::Genesis;
use comity_core::list::{Accepted, ListState, Refusal};
use futures::{Stream, StreamExt as _};
use openraft::storage::{
    ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot, SnapshotMeta,
};
use openraft::{BasicNode, EntryPayload, OptionalSend};
use tokio::sync::{oneshot, watch};

use crate::types::{Command, LogId, NodeId, Outcome, RaftLeaderId, StoredMembership, TypeConfig};
use crate::verify;

/// How far this node has applied the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// Leaves of the command log.
    pub commands: u64,
    /// Leaves of the public log.
    pub publications: u64,
    /// Entries of the replicated log, those that hold no accepted command among them.
    pub applied: u64,
}

/// What became of a command.
pub(crate) type Decided = Result<Accepted, Refusal>;

/// The applied list, shared with whoever reads it.
#[derive(Clone)]
pub(crate) struct Applied(Arc<Shared>);

struct Shared {
    genesis: Arc<Genesis>,
    list: RwLock<List>,
    position: watch::Sender<Position>,
    waiting: Mutex<HashMap<Hex32, Vec<oneshot::Sender<Decided>>>>,
}

struct List {
    state: ListState,
    /// Where in the replicated log each leaf of the command log stands.
    log_index: Vec<u64>,
}

impl Applied {
    pub(crate) fn new(genesis: Arc<Genesis>) -> Self {
        let list = RwLock::new(List { state: ListState::new(Arc::clone(&genesis)), log_index: Vec::new() });
        let (position, _) = watch::channel(Position::default());
        Self(Arc::new(Shared { genesis, list, position, waiting: Mutex::default() }))
    }

    pub(crate) fn genesis(&self) -> &Arc<Genesis> {
        &self.0.genesis
    }

    /// Looks at the list. Nothing is applied meanwhile, so `look` must be short.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&ListState) -> R) -> R {
        look(&self.0.list.read().unwrap_or_else(PoisonError::into_inner).state)
    }

    /// Where in the replicated log the leaves from `first` on stand; at most `limit`.
    pub(crate) fn log_indexes(&self, first: u64, limit: usize) -> Vec<u64> {
        let list = self.0.list.read().unwrap_or_else(PoisonError::into_inner);
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        list.log_index.iter().skip(first).take(limit).copied().collect()
    }

    pub(crate) fn position(&self) -> watch::Receiver<Position> {
        self.0.position.subscribe()
    }

    /// Waits for what becomes of a command when this node applies it, from now on.
    pub(crate) fn wait_for(&self, leaf_hash: Hex32) -> Waiting {
        let (sender, decided) = oneshot::channel();
        self.waiting().entry(leaf_hash).or_default().push(sender);
        Waiting { applied: self.clone(), leaf_hash, decided }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Hex32, Vec<oneshot::Sender<Decided>>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, commands: &[(LogId, Option<Command>)]) -> io::Result<Vec<Outcome>> {
        // A panic while applying may have left half a change: nothing may be built on that.
        let Ok(mut list) = self.0.list.write() else {
            return Err(io::Error::other("applying a command failed before: restart this node"));
        };
        let mut outcomes = Vec::with_capacity(commands.len());
        for (log_id, command) in commands {
            let Some(command) = command else {
                outcomes.push(Outcome::NoCommand);
                continue;
            };
            // INVARIANT: a refusal is an outcome like any other. To openraft an error is the end of this node.
            let decided = match command.check(&self.0.genesis) {
                Ok(checked) => list.state.apply_checked(checked),
                Err(refusal) => Err(refusal.clone()),
            };
            if decided.as_ref().is_ok_and(|accepted| !accepted.repeated) {
                list.log_index.push(log_id.index);
            }
            outcomes.push(Outcome::Decided(decided));
        }
        let position = Position {
            commands: list.state.commands().size(),
            publications: list.state.public_log().size(),
            applied: commands.last().map_or(0, |(log_id, _)| log_id.index + 1),
        };
        drop(list);
        self.0.position.send_replace(position);
        Ok(outcomes)
    }

    fn tell(&self, commands: &[(LogId, Option<Command>)], outcomes: &[Outcome]) {
        let mut waiting = self.waiting();
        if waiting.is_empty() {
            return;
        }
        for ((_, command), outcome) in commands.iter().zip(outcomes) {
            if let (Some(command), Outcome::Decided(decided)) = (command, outcome)
                && let Some(senders) = waiting.remove(&command.leaf_hash())
            {
                // Whoever does not wait any more does not need the answer.
                senders.into_iter().for_each(|sender| drop(sender.send(decided.clone())));
            }
        }
    }
}

/// A wait for one command; forgotten when dropped.
pub(crate) struct Waiting {
    applied: Applied,
    leaf_hash: Hex32,
    decided: oneshot::Receiver<Decided>,
}

impl Waiting {
    /// What became of the command; `None` when this node stops before it knows.
    pub(crate) async fn decided(&mut self) -> Option<Decided> {
        (&mut self.decided).await.ok()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.decided.close();
        let mut waiting = self.applied.waiting();
        if let Some(senders) = waiting.get_mut(&self.leaf_hash) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&self.leaf_hash);
            }
        }
    }
}

/// How many entries are applied under one lock.
const CHUNK_MAX_ENTRIES: usize = 128;

/// The applied list, as openraft drives it.
pub(crate) struct StateMachine {
    applied: Applied,
    last: Option<LogId>,
    membership: StoredMembership,
}

impl StateMachine {
    pub(crate) fn new(applied: Applied) -> Self {
        Self { applied, last: None, membership: StoredMembership::default() }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = NoSnapshot;
    type SnapshotBuilder = NoSnapshot;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(CHUNK_MAX_ENTRIES);
        while let Some(chunk) = chunks.next().await {
            let mut commands = Vec::with_capacity(chunk.len());
            let mut responders: Vec<Option<ApplyResponder<TypeConfig>>> = Vec::with_capacity(chunk.len());
            for item in chunk {
                let (entry, responder) = item?;
                let command = match entry.payload {
                    EntryPayload::Blank => None,
                    EntryPayload::Normal(command) => Some(command),
                    EntryPayload::Membership(membership) => {
                        self.membership = StoredMembership::new(Some(entry.log_id), membership);
                        None
                    }
                };
                commands.push((entry.log_id, command));
                responders.push(responder);
            }
            // Signatures are verified before the list is locked. What came through this node was checked on its way in.
            verify::all(self.applied.genesis(), commands.iter().filter_map(|(_, command)| command.as_ref())).await;
            let outcomes = self.applied.apply(&commands)?;
            self.last = commands.last().map(|(log_id, _)| *log_id).or(self.last);
            self.applied.tell(&commands, &outcomes);
            for (responder, outcome) in responders.into_iter().zip(outcomes) {
                if let Some(responder) = responder {
                    responder.send(outcome);
                }
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<NoSnapshot> {
        None
    }

    async fn get_snapshot_builder(&mut self) -> NoSnapshot {
        NoSnapshot
    }

    async fn install_snapshot(&mut self, _meta: &NoSnapshotMeta, _data: NoSnapshot) -> io::Result<()> {
        Err(no_snapshots())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<NoSnapshotOf>> {
        Ok(None)
    }
}

type NoSnapshotMeta = SnapshotMeta<RaftLeaderId, NodeId, BasicNode>;
type NoSnapshotOf = Snapshot<RaftLeaderId, NodeId, BasicNode, NoSnapshot>;

/// Stands where openraft asks for snapshots. There are none: the log is kept whole, and a node that is behind is sent it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoSnapshot;

impl RaftSnapshotBuilder<TypeConfig> for NoSnapshot {
    type SnapshotData = Self;

    async fn build_snapshot(&mut self) -> io::Result<NoSnapshotOf> {
        Err(no_snapshots())
    }
}

fn no_snapshots() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "snapshots of the list are not built: the log is kept whole")
}

#[cfg(test)]
#[path = "state_machine_tests.rs"]
mod tests;

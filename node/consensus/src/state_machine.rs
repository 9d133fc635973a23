//! The list as this node has applied it, in memory: rebuilt at start from the purged commands and the log.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::genesis::Genesis;
use comity_core::list::{Accepted, Checked, CommandId, Event, ListState, Refusal};
use comity_core::roster::{Roster, member_of_node};
use futures::{Stream, StreamExt as _};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::{Notify, oneshot, watch};

use crate::log_store::{Leaves, LogStore, Purged};
use crate::pool::Pool;
use crate::snapshot::{Current, SnapshotBuilder, SnapshotData, Staged};
use crate::types::{Command, Keys, LogId, NodeId, Outcome, Snapshot, SnapshotMeta, StoredMembership, TypeConfig};
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

impl Position {
    fn of(list: &ListState, applied: u64) -> Self {
        Self { commands: list.commands().size(), publications: list.public_log().size(), applied }
    }
}

/// What became of a command.
pub(crate) type Decided = Result<Accepted, Refusal>;

/// The applied list, shared with whoever reads it.
#[derive(Clone)]
pub(crate) struct Applied(Arc<Shared>);

struct Shared {
    genesis: Arc<Genesis>,
    list: RwLock<ListState>,
    leaves: Leaves,
    position: watch::Sender<Position>,
    waiting: Mutex<HashMap<Hex32, Waiters>>,
    pool: Pool,
    /// Told when a command is applied that came without its text, or a snapshot is installed.
    texts_due: Arc<Notify>,
    /// The nodes that vote no more and are heard until the membership leaves them out.
    needed: RwLock<BTreeSet<NodeId>>,
    /// A list that is further than what is applied, whose roster counts until this node has caught up with it.
    ahead: RwLock<Option<Arc<ListState>>>,
}

/// Who waits for one command.
struct Waiters {
    command: CommandId,
    senders: Vec<oneshot::Sender<Decided>>,
}

impl Applied {
    /// The list as it was when the entries below `applied` had been applied. Leaves are told from there on.
    pub(crate) fn new(
        list: ListState,
        applied: u64,
        leaves: Leaves,
        pool: Pool,
        bootstrap: Option<Arc<ListState>>,
    ) -> Self {
        let (position, _) = watch::channel(Position::of(&list, applied));
        let (genesis, list, ahead) = (Arc::clone(list.genesis()), RwLock::new(list), RwLock::new(bootstrap));
        let (waiting, texts_due, needed) = (Mutex::default(), Arc::default(), RwLock::default());
        Self(Arc::new(Shared { genesis, list, leaves, position, waiting, pool, texts_due, needed, ahead }))
    }

    pub(crate) fn genesis(&self) -> &Arc<Genesis> {
        &self.0.genesis
    }

    /// Looks at the list. Nothing is applied meanwhile, so `look` must be short.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&ListState) -> R) -> R {
        look(&self.0.list.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the roster: that of the applied list, or of one that is further.
    pub(crate) fn roster<R>(&self, look: impl FnOnce(&Roster) -> R) -> R {
        self.furthest(|list| look(list.roster()))
    }

    /// Looks at the applied list, or at the one that this node began with or was told of while that is further.
    pub(crate) fn furthest<R>(&self, look: impl FnOnce(&ListState) -> R) -> R {
        let ahead = self.0.ahead.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.read(|list| match &ahead {
            Some(ahead) if ahead.commands().size() > list.commands().size() => look(ahead),
            _ => look(list),
        })
    }

    /// Whom this node hears and reaches follows from this list, until what is applied has caught up with it.
    pub(crate) fn ahead(&self, list: Arc<ListState>) {
        *self.0.ahead.write().unwrap_or_else(PoisonError::into_inner) = Some(list);
        // Whoever follows the roster looks again.
        self.0.position.send_modify(|_| {});
    }

    /// These nodes, which vote no more, are heard in consensus until the membership leaves them out.
    pub(crate) fn needs(&self, nodes: BTreeSet<NodeId>) {
        let mut needed = self.0.needed.write().unwrap_or_else(PoisonError::into_inner);
        if *needed != nodes {
            *needed = nodes;
            drop(needed);
            // Whoever follows the roster looks again.
            self.0.position.send_modify(|_| {});
        }
    }

    /// See [`Self::needs`].
    pub(crate) fn needed(&self) -> BTreeSet<NodeId> {
        self.0.needed.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets go of a list that what is applied has caught up with.
    pub(crate) fn forget_what_is_behind(&self) {
        let size = self.read(|list| list.commands().size());
        let mut ahead = self.0.ahead.write().unwrap_or_else(PoisonError::into_inner);
        ahead.take_if(|ahead| ahead.commands().size() <= size);
    }

    /// Lets go of a list of `commands` leaves that is further than what is applied; answers whether there was one.
    pub(crate) fn forget_ahead(&self, commands: u64) -> bool {
        let size = self.read(|list| list.commands().size());
        let mut ahead = self.0.ahead.write().unwrap_or_else(PoisonError::into_inner);
        ahead.take_if(|ahead| ahead.commands().size() == commands && commands > size).is_some()
    }

    /// Whose node an id is, where the roster names it among those that decide.
    pub(crate) fn member_of(&self, node: NodeId) -> Option<MemberId> {
        let (member, _) = member_of_node(node)?;
        self.roster(|roster| roster.voters().get(&member).is_some_and(|voter| voter.node_id == node)).then_some(member)
    }

    /// Told when it is time to look whether a text is missing.
    pub(crate) fn texts_due(&self) -> Arc<Notify> {
        Arc::clone(&self.0.texts_due)
    }

    /// Whether the very same command is a leaf already.
    pub(crate) fn holds(&self, checked: &Checked) -> bool {
        self.read(|list| {
            let leaf = list.accepted_at(checked.command().id());
            leaf.and_then(|leaf| list.command_leaf(leaf)) == Some(checked.leaf_hash())
        })
    }

    /// What commands are checked against.
    pub(crate) fn keys(&self) -> Keys {
        self.read(Keys::of)
    }

    pub(crate) fn position(&self) -> watch::Receiver<Position> {
        self.0.position.subscribe()
    }

    /// Waits for what becomes of a command when this node applies it, from now on.
    pub(crate) fn wait_for(&self, leaf_hash: Hex32, command: CommandId) -> Waiting {
        let (sender, decided) = oneshot::channel();
        let waiters = || Waiters { command, senders: Vec::new() };
        self.waiting().entry(leaf_hash).or_insert_with(waiters).senders.push(sender);
        Waiting { applied: self.clone(), leaf_hash, decided }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Hex32, Waiters>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, commands: &[(LogId, Option<Command>)]) -> io::Result<Vec<Outcome>> {
        // A panic while applying may have left half a change: nothing may be built on that.
        let Ok(mut list) = self.0.list.write() else {
            return Err(io::Error::other("applying a command failed before: restart this node"));
        };
        // INVARIANT: what this software cannot follow it does not apply: it stops, and goes on once it is newer.
        list.ensure_known_rules().map_err(io::Error::other)?;
        let mut outcomes = Vec::with_capacity(commands.len());
        let mut leaves = Vec::with_capacity(commands.len());
        for (log_id, command) in commands {
            let Some(command) = command else {
                outcomes.push(Outcome::NoCommand);
                continue;
            };
            // The keys of now: a command before this one may have brought some.
            let keys = Keys::of(&list);
            // INVARIANT: a refusal is an outcome like any other. To openraft an error is the end of this node.
            let decided = match command.check(&keys) {
                Ok(checked) => list.apply_checked(checked),
                Err(refusal) => Err(refusal.clone()),
            };
            if decided.as_ref().is_ok_and(|accepted| !accepted.repeated) {
                leaves.push(log_id.index);
            }
            list.ensure_known_rules().map_err(io::Error::other)?;
            outcomes.push(Outcome::Decided(decided));
        }
        let applied = commands.last().map_or(0, |(log_id, _)| log_id.index + 1);
        let position = Position::of(&list, applied);
        // Whoever sees a leaf finds its envelope.
        self.0.leaves.applied(leaves, applied);
        drop(list);
        self.0.position.send_replace(position);
        Ok(outcomes)
    }

    /// Entries below `applied` are applied, and changed nothing.
    fn moved(&self, applied: u64) {
        self.0.position.send_modify(|position| position.applied = applied);
    }

    /// Puts another list, which goes on from this one, in its place.
    fn replace(&self, list: ListState, applied: u64) {
        let position = Position::of(&list, applied);
        let before = {
            let mut current = self.0.list.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, list).commands().size()
        };
        self.0.position.send_replace(position);
        self.tell_accepted(before);
    }

    /// Tells whoever waits for a command that the snapshot brought. What it refused nobody knows any more: that is asked again.
    fn tell_accepted(&self, first: u64) {
        let mut waiting = self.waiting();
        if waiting.is_empty() {
            return;
        }
        self.read(|list| {
            for leaf in first..list.commands().size() {
                if let Some(waiters) = list.command_leaf(leaf).and_then(|hash| waiting.remove(&hash)) {
                    let accepted = Accepted { leaf, command: waiters.command, events: Vec::new(), repeated: true };
                    waiters.senders.into_iter().for_each(|sender| drop(sender.send(Ok(accepted.clone()))));
                }
            }
        });
    }

    fn tell(&self, commands: &[(LogId, Option<Command>)], outcomes: &[Outcome]) {
        let known = commands.iter().zip(outcomes);
        self.0.pool.decided(known.filter_map(|((_, command), outcome)| Some((command.as_ref()?, outcome))));
        let mut waiting = self.waiting();
        if waiting.is_empty() {
            return;
        }
        for ((_, command), outcome) in commands.iter().zip(outcomes) {
            if let (Some(command), Outcome::Decided(decided)) = (command, outcome)
                && let Some(waiters) = waiting.remove(&command.leaf_hash())
            {
                // Whoever does not wait any more does not need the answer.
                waiters.senders.into_iter().for_each(|sender| drop(sender.send(decided.clone())));
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
        if let Some(waiters) = waiting.get_mut(&self.leaf_hash) {
            waiters.senders.retain(|sender| !sender.is_closed());
            if waiters.senders.is_empty() {
                waiting.remove(&self.leaf_hash);
            }
        }
    }
}

/// The texts that failed or were annulled by what was applied: they are erased on every node.
fn erased_by(outcomes: &[Outcome]) -> Vec<Hex32> {
    let accepted = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Decided(Ok(accepted)) => Some(accepted),
        _ => None,
    });
    accepted.flat_map(|accepted| erased_texts(&accepted.events)).collect()
}

/// The texts among what a command did that are to be erased.
pub(crate) fn erased_texts(events: &[Event]) -> impl Iterator<Item = Hex32> {
    events.iter().filter_map(|event| match event {
        Event::TextErased(digest) => Some(*digest),
        _ => None,
    })
}

/// How many entries are applied under one lock.
const CHUNK_MAX_ENTRIES: usize = 128;

/// The applied list, as openraft drives it.
pub(crate) struct StateMachine {
    applied: Applied,
    log: LogStore,
    last: Option<LogId>,
    membership: StoredMembership,
    snapshot: Current,
}

impl StateMachine {
    /// For a list that stands where the log was purged when it was opened.
    pub(crate) fn new(applied: Applied, log: LogStore) -> Self {
        let (last, membership) = match log.purged_before() {
            Some(purged) => (Some(purged.last), purged.membership.clone()),
            None => (None, StoredMembership::default()),
        };
        Self { applied, log, last, membership, snapshot: Current::default() }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

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
            verify::all(&self.applied.keys(), commands.iter().filter_map(|(_, command)| command.as_ref())).await;
            let outcomes = self.applied.apply(&commands)?;
            self.last = commands.last().map(|(log_id, _)| *log_id).or(self.last);
            self.applied.tell(&commands, &outcomes);
            for digest in erased_by(&outcomes) {
                self.log.erase_text(digest).await?;
            }
            let lacks_text = |command: &Command| !command.has_text() && command.text_digest().is_some();
            if commands.iter().any(|(_, command)| command.as_ref().is_some_and(lacks_text)) {
                self.applied.texts_due().notify_one();
            }
            self.log.erase_again(commands.iter().filter_map(|(_, command)| command.as_ref())).await?;
            for (responder, outcome) in responders.into_iter().zip(outcomes) {
                if let Some(responder) = responder {
                    responder.send(outcome);
                }
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let meta = SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone() };
        SnapshotBuilder::new(meta, self.applied.read(SnapshotData::of), self.snapshot.clone())
    }

    /// INVARIANT: what this node has applied is not changed, only gone on from; and the commands, the purged position and the
    /// membership are durable in one transaction before anybody sees the new list.
    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let Some(last) = meta.last_log_id else { return Ok(()) };
        let (claim, staged) = self.applied.read(|own| data.list_on(own)).map_err(io::Error::other)?;
        let snapshot = Purged { last, commands: claim.commands, membership: meta.last_membership.clone() };
        match staged {
            Some(Staged { from, list, erased }) => {
                self.log.install(snapshot, from, erased).await?;
                self.applied.replace(list, last.index + 1);
                self.applied.texts_due().notify_one();
            }
            None => {
                self.log.install(snapshot, claim.commands, Vec::new()).await?;
                self.applied.moved(last.index + 1);
            }
        }
        self.last = Some(last);
        self.membership = meta.last_membership.clone();
        self.snapshot.set(Snapshot { meta: meta.clone(), snapshot: claim });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        Ok(self.snapshot.get())
    }
}

#[cfg(test)]
#[path = "state_machine_tests.rs"]
mod tests;

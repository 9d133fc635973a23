//! A disk in memory, for the simulation. It outlives the node on it, and what was not synced when the node crashed is lost.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use comity_core::canonical::Hex32;
use comity_core::fault::{self, Fault};
use comity_core::list::{PublicText, Submission};
use openraft::EntryPayload;
use tokio::sync::mpsc;

use super::commands::size_bytes;
use super::recent::{Recent, entry_bytes};
use super::writer::Write;
use super::{Leaves, LogOwner, Purged, State, lock};
use crate::random;
use crate::types::{Command, Entry, LogId, StoredMembership, Vote};

/// How a disk behaves.
#[derive(Debug, Clone, Copy)]
pub struct DiskHabits {
    /// The longest that a sync takes.
    pub sync_max_ms: u64,
    /// Of so many syncs one is the last thing that the node does, either before or after the data is down; never for 0.
    pub dies_once_in: u64,
}

/// A disk that outlives the node on it. Clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk(Arc<Mutex<Disk>>);

struct Disk {
    habits: DiskHabits,
    /// The node on it has come to its end, and is to be crashed.
    died: bool,
    owner: Option<LogOwner>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    entries: BTreeMap<u64, Entry>,
    /// Leaves whose entries are purged.
    commands: BTreeMap<u64, Command>,
    purged: Option<Purged>,
    staged: BTreeMap<u64, Command>,
    erased: HashSet<Hex32>,
    texts: BTreeMap<Hex32, PublicText>,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(habits: DiskHabits) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            habits,
            died: false,
            owner: None,
            vote: None,
            committed: None,
            entries: BTreeMap::new(),
            commands: BTreeMap::new(),
            purged: None,
            staged: BTreeMap::new(),
            erased: HashSet::new(),
            texts: BTreeMap::new(),
        })))
    }

    /// Changes how it behaves from now on.
    pub fn set_habits(&self, habits: DiskHabits) {
        self.disk().habits = habits;
    }

    /// Whether the node on it came to its end in a sync since this was last asked: whoever simulates must crash it now.
    pub fn take_died(&self) -> bool {
        std::mem::take(&mut self.disk().died)
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self, owner: LogOwner) -> State {
        let mut disk = self.disk();
        let is_owner = |known: LogOwner| (known.federation, known.node) == (owner.federation, owner.node);
        debug_assert!(disk.owner.is_none_or(is_owner), "another node's disk");
        disk.owner = Some(owner);
        disk.staged.clear();
        let purged = disk.purged.as_ref().map(|purged| purged.last);
        let last = disk.entries.last_key_value().map(|(_, entry)| entry.log_id).or(purged);
        State {
            vote: disk.vote,
            committed: disk.committed,
            recent: Recent::above(last.as_ref().map_or(0, |id| id.index + 1)),
            first: disk.purged.as_ref().map_or(0, Purged::end),
            last,
            purged,
            erased: disk.erased.clone(),
            ..State::default()
        }
    }

    pub(super) fn purged(&self) -> Option<Purged> {
        self.disk().purged.clone()
    }

    pub(super) fn commands(&self, first: u64, limit: usize, max_bytes: usize) -> (Vec<Submission>, usize) {
        let disk = self.disk();
        let (mut found, mut bytes) = (Vec::new(), 0usize);
        for command in disk.commands.range(first..).map(|(_, command)| command).take(limit) {
            let submission = disk.submission(command);
            let size = size_bytes(&submission);
            if !found.is_empty() && bytes.saturating_add(size) > max_bytes {
                return (found, max_bytes);
            }
            bytes = bytes.saturating_add(size);
            found.push(submission);
        }
        (found, bytes)
    }

    /// As on a real disk: a command does not remember that it was checked.
    pub(super) fn entries(&self, start: u64, end: u64, max_bytes: usize) -> (Vec<Entry>, usize) {
        let disk = self.disk();
        let (mut entries, mut bytes) = (Vec::new(), 0usize);
        for entry in disk.entries.range(start..end.max(start)).map(|(_, entry)| entry) {
            let size = entry_bytes(entry);
            if !entries.is_empty() && bytes.saturating_add(size) > max_bytes {
                return (entries, max_bytes);
            }
            bytes = bytes.saturating_add(size);
            entries.push(disk.read(entry));
        }
        (entries, bytes)
    }

    pub(super) fn text(&self, digest: Hex32) -> Option<PublicText> {
        self.disk().texts.get(&digest).cloned()
    }

    pub(super) fn text_digests(&self) -> HashSet<Hex32> {
        self.disk().texts.keys().copied().collect()
    }

    fn sync_time(&self) -> Duration {
        let most = self.disk().habits.sync_max_ms.saturating_mul(1_000);
        Duration::from_micros(random::number() % (most + 1))
    }

    /// Whether the node ends here.
    fn dies(&self) -> bool {
        let mut disk = self.disk();
        let once_in = disk.habits.dies_once_in;
        disk.died = once_in > 0 && random::number().is_multiple_of(once_in.saturating_mul(2));
        disk.died
    }

    /// Puts a batch down, all of it at once, as a transaction does.
    fn put(&self, batch: &[Write], state: &Mutex<State>, leaves: &Leaves) {
        let mut disk = self.disk();
        let before = disk.purged.as_ref().map(|purged| purged.last);
        for write in batch {
            match write {
                Write::Append { entries, .. } => entries.iter().for_each(|entry| disk.append(entry)),
                // Who leads is remembered; for whom this node voted is not.
                Write::Vote { vote, .. } if !vote.committed && fault::is(Fault::ForgetVote) => {}
                Write::Vote { vote, .. } => disk.vote = Some(*vote),
                Write::Truncate { from, .. } => drop(disk.entries.split_off(from)),
                Write::Purge { upto, .. } => disk.purge(upto, leaves),
                Write::Stage { first, commands, .. } => disk.staged.extend((*first..).zip(commands.iter().cloned())),
                Write::ClearStaged(_) => disk.staged.clear(),
                Write::Install { snapshot, staged_from, erased, .. } => {
                    erased.iter().for_each(|digest| disk.erase(*digest));
                    disk.install(snapshot, *staged_from, leaves);
                }
                Write::Erase { digest, .. } => disk.erase(*digest),
                Write::Text { digest, text, .. } if !disk.erased.contains(digest) => {
                    disk.texts.insert(*digest, text.clone());
                }
                Write::Text { .. } => {}
                Write::Committed | Write::Close(_) => {}
            }
        }
        let end = disk.entries.last_key_value().map_or(0, |(index, _)| index + 1);
        let end = end.max(disk.purged.as_ref().map_or(0, Purged::end));
        let mut state = lock(state);
        // INVARIANT: never beyond what is durable.
        if let Some(committed) = state.committed.filter(|id| id.index < end) {
            disk.committed = Some(committed);
        }
        if let Some(purged) = disk.purged.as_ref().filter(|purged| Some(purged.last) != before) {
            leaves.purged(purged.commands, purged.end());
            state.purged(purged.last);
        }
        state.recent.durable(end);
    }
}

impl Disk {
    fn append(&mut self, entry: &Entry) {
        if let EntryPayload::Normal(command) = &entry.payload {
            self.keep_text(command);
        }
        self.entries.insert(entry.log_id.index, entry.clone());
    }

    fn keep_text(&mut self, command: &Command) {
        if let (Some(digest), Some(text)) = (command.text_digest(), &command.submission().public_text) {
            self.texts.insert(digest, text.clone());
        }
    }

    /// As [`super::commands::purge`], at once.
    fn purge(&mut self, upto: &LogId, leaves: &Leaves) {
        let before = self.purged.as_ref();
        if before.is_some_and(|purged| purged.last.index >= upto.index) {
            return;
        }
        let end = upto.index + 1;
        let of_entry = |entry: &Entry| match &entry.payload {
            EntryPayload::Membership(membership) => Some(StoredMembership::new(Some(entry.log_id), membership.clone())),
            _ => None,
        };
        let latest = self.entries.range(..end).rev().find_map(|(_, entry)| of_entry(entry));
        let membership = latest.or_else(|| before.map(|purged| purged.membership.clone())).unwrap_or_default();
        let commands = self.move_leaves(leaves, end);
        self.cut(end);
        self.purged = Some(Purged { last: *upto, commands, membership });
    }

    /// Answers how many leaves there are then.
    fn move_leaves(&mut self, leaves: &Leaves, end: u64) -> u64 {
        let (first, indexes) = leaves.below(end);
        for (leaf, index) in (first..).zip(&indexes) {
            if let Some(EntryPayload::Normal(command)) = self.entries.get(index).map(|entry| &entry.payload) {
                self.commands.insert(leaf, command.clone());
            }
        }
        first + indexes.len() as u64
    }

    /// As [`super::commands::cut`].
    fn cut(&mut self, end: u64) {
        self.entries = self.entries.split_off(&end);
        let in_log = self.entries.values().filter_map(|entry| match &entry.payload {
            EntryPayload::Normal(command) => command.text_digest(),
            _ => None,
        });
        let used: HashSet<Hex32> = in_log.chain(self.commands.values().filter_map(Command::text_digest)).collect();
        self.texts.retain(|digest, _| used.contains(digest));
    }

    /// As [`super::commands::install`].
    fn install(&mut self, snapshot: &Purged, staged_from: u64, leaves: &Leaves) {
        self.move_leaves(leaves, u64::MAX);
        drop(self.commands.split_off(&staged_from));
        let staged: Vec<(u64, Command)> =
            self.staged.range(staged_from..snapshot.commands).map(|(leaf, command)| (*leaf, command.clone())).collect();
        for (leaf, command) in staged {
            if command.text_digest().is_none_or(|digest| !self.erased.contains(&digest)) {
                self.keep_text(&command);
            }
            self.commands.insert(leaf, command);
        }
        if staged_from < snapshot.commands {
            self.staged.clear();
        }
        self.purged = Some(snapshot.clone());
        self.cut(snapshot.end());
    }

    fn erase(&mut self, digest: Hex32) {
        self.erased.insert(digest);
        self.texts.remove(&digest);
    }

    fn submission(&self, command: &Command) -> Submission {
        let public_text = command.text_digest().and_then(|digest| self.texts.get(&digest).cloned());
        Submission { envelope: command.submission().envelope.clone(), public_text }
    }

    fn read(&self, entry: &Entry) -> Entry {
        let EntryPayload::Normal(command) = &entry.payload else { return entry.clone() };
        Entry { log_id: entry.log_id, payload: EntryPayload::Normal(Command::settled(self.submission(command))) }
    }
}

/// As the writer of `consensus.db`: what waits goes down together, and is answered once it is synced.
pub(super) async fn run(
    disk: SimulatedDisk,
    mut queue: mpsc::Receiver<Write>,
    state: Arc<Mutex<State>>,
    leaves: Leaves,
) {
    while let Some(write) = queue.recv().await {
        let mut batch = vec![write];
        while let Ok(write) = queue.try_recv() {
            batch.push(write);
        }
        if fault::is(Fault::AnswerBeforeSync) {
            batch = answer_early(batch);
        }
        tokio::time::sleep(disk.sync_time()).await;
        if disk.dies() {
            return std::future::pending().await;
        }
        disk.put(&batch, &state, &leaves);
        if disk.dies() {
            return std::future::pending().await;
        }
        let closing = batch.iter().any(|write| matches!(write, Write::Close(_)));
        batch.into_iter().for_each(|write| write.answer(Ok(())));
        if closing {
            return;
        }
    }
}

/// Confirms entries that are not down yet, and leaves them to be written.
fn answer_early(batch: Vec<Write>) -> Vec<Write> {
    let early = |write| match write {
        Write::Append { entries, done } => {
            done.io_completed(Ok(()));
            Write::Append { entries, done: openraft::storage::IOFlushed::noop() }
        }
        other => other,
    };
    batch.into_iter().map(early).collect()
}

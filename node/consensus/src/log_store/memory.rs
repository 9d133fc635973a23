//! A disk in memory, for the simulation. It outlives the node on it, and what was not synced when the node crashed is lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use comity_core::canonical::Hex32;
use comity_core::fault::{self, Fault};
use comity_core::list::{PublicText, Submission};
use openraft::EntryPayload;
use tokio::sync::mpsc;

use super::recent::entry_bytes;
use super::writer::Write;
use super::{LogOwner, State, lock};
use crate::random;
use crate::types::{Command, Entry, LogId, Vote};

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
    texts: BTreeMap<Hex32, PublicText>,
}

impl SimulatedDisk {
    /// An empty disk.
    pub fn new(habits: DiskHabits) -> Self {
        let (entries, texts) = (BTreeMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Disk {
            habits,
            died: false,
            owner: None,
            vote: None,
            committed: None,
            entries,
            texts,
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

    pub(super) fn open(&self, owner: LogOwner) -> (Option<Vote>, Option<LogId>, Option<LogId>) {
        let mut disk = self.disk();
        let is_owner = |known: LogOwner| (known.federation, known.node) == (owner.federation, owner.node);
        debug_assert!(disk.owner.is_none_or(is_owner), "another node's disk");
        disk.owner = Some(owner);
        (disk.vote, disk.committed, disk.entries.last_key_value().map(|(_, entry)| entry.log_id))
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
    fn put(&self, batch: &[Write], state: &Mutex<State>) -> u64 {
        let mut disk = self.disk();
        for write in batch {
            match write {
                Write::Append { entries, .. } => entries.iter().for_each(|entry| disk.append(entry)),
                // Who leads is remembered; for whom this node voted is not.
                Write::Vote { vote, .. } if !vote.committed && fault::is(Fault::ForgetVote) => {}
                Write::Vote { vote, .. } => disk.vote = Some(*vote),
                Write::Truncate { from, .. } => drop(disk.entries.split_off(from)),
                Write::Committed | Write::Close(_) => {}
            }
        }
        let end = disk.entries.last_key_value().map_or(0, |(index, _)| index + 1);
        // INVARIANT: never beyond what is durable.
        if let Some(committed) = lock(state).committed.filter(|id| id.index < end) {
            disk.committed = Some(committed);
        }
        end
    }
}

impl Disk {
    fn append(&mut self, entry: &Entry) {
        if let EntryPayload::Normal(command) = &entry.payload
            && let (Some(digest), Some(text)) = (command.text_digest(), &command.submission().public_text)
        {
            self.texts.insert(digest, text.clone());
        }
        self.entries.insert(entry.log_id.index, entry.clone());
    }

    fn read(&self, entry: &Entry) -> Entry {
        let EntryPayload::Normal(command) = &entry.payload else { return entry.clone() };
        let public_text = command.text_digest().and_then(|digest| self.texts.get(&digest).cloned());
        let submission = Submission { envelope: command.submission().envelope.clone(), public_text };
        Entry { log_id: entry.log_id, payload: EntryPayload::Normal(Command::stored(submission)) }
    }
}

/// As the writer of `consensus.db`: what waits goes down together, and is answered once it is synced.
pub(super) async fn run(disk: SimulatedDisk, mut queue: mpsc::Receiver<Write>, state: Arc<Mutex<State>>) {
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
        let end = disk.put(&batch, &state);
        lock(&state).recent.durable(end);
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

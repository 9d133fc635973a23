//! Raft's vote and log, and the texts that lie beside the log, in one local SQLite file: `consensus.db`.
//!
//! One writer task takes everything that waits, writes it in one transaction, and answers once it is synced: many commands
//! share one fsync. The newest entries are read from memory, the others from the file. The state that follows from the log is
//! in memory only and rebuilt from here at start, which spares a second fsync for each command.
//!
//! INVARIANT: every accepted envelope stays at hand. Purging the log's beginning moves the envelopes that became leaves of the
//! command log to a table of their own, in the transaction that cuts them off. A text can be erased without touching either.
//! The file is never restored from a copy: an old vote or log can split the federation.

mod commands;
mod leaves;
#[cfg(feature = "simulation")]
mod memory;
mod open;
mod reader;
mod recent;
mod rows;
mod storage;
mod writer;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::list::{PublicText, Submission};
use openraft::EntryPayload;
use tokio::sync::{mpsc, oneshot};

use crate::types::{Command, Entry, LogId, NodeId, Vote};
use leaves::Place;
use reader::Reader;
use recent::{Recent, entry_bytes};
use writer::{Write, Writer};

pub(crate) use commands::Purged;
pub(crate) use leaves::Leaves;
#[cfg(feature = "simulation")]
pub use memory::{DiskHabits, SimulatedDisk};
pub use open::OpenLogError;

/// Whose log this is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOwner {
    pub(crate) federation: Hex32,
    pub(crate) member: MemberId,
    pub(crate) node: NodeId,
}

/// Writes that may wait for the writer.
const QUEUE_MAX_WRITES: usize = 1_024;

/// How many times a read begins anew because what it reads is purged meanwhile.
const READ_MAX_RETRIES: u32 = 1_000;

/// The log of this node. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Shared>);

struct Shared {
    reader: Reader,
    writer: mpsc::Sender<Write>,
    state: Arc<Mutex<State>>,
    leaves: Leaves,
    /// What was purged when it was opened.
    purged_before: Option<Purged>,
    /// Locked as long as the log is open: two processes on one log would be two nodes with one name.
    lock: Option<File>,
}

/// What is known without asking the file.
#[derive(Debug, Default)]
struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// The index of the first entry that is surely there, once there is one.
    first: u64,
    last: Option<LogId>,
    /// Up to where openraft wants nothing any more. The file may follow later.
    purged: Option<LogId>,
    recent: Recent,
    /// Digests of the texts that were erased.
    erased: HashSet<Hex32>,
    /// How many times entries are being cut off just now, and were before, so that a reader notices.
    cutting: u32,
    cuts: u64,
}

impl State {
    fn end(&self) -> u64 {
        self.last.as_ref().map_or(0, |id| id.index + 1)
    }

    /// The entries up to `last` are purged on the disk.
    fn purged(&mut self, last: LogId) {
        let below = |id: &Option<LogId>| id.as_ref().is_none_or(|id| id.index < last.index);
        if below(&self.purged) {
            self.purged = Some(last);
        }
        if below(&self.last) {
            self.last = Some(last);
        }
        self.first = self.first.max(last.index + 1);
        self.recent.purge(self.first);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Each change to it is one assignment or one call: a panic elsewhere leaves it whole.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "consensus.db: the writer has ended")
}

impl LogStore {
    /// Opens or creates `consensus.db` in a folder.
    pub(crate) async fn open(folder: PathBuf, owner: LogOwner) -> Result<Self, OpenLogError> {
        let opened = open::open(folder, owner).await?;
        let (commands, first) = opened.purged.as_ref().map_or((0, 0), |purged| (purged.commands, purged.end()));
        let leaves = Leaves::above(commands, first);
        let state = Arc::new(Mutex::new(State {
            vote: opened.vote,
            committed: opened.committed,
            recent: Recent::above(opened.last.as_ref().map_or(0, |id| id.index + 1)),
            first,
            last: opened.last,
            purged: opened.purged.as_ref().map(|purged| purged.last),
            erased: opened.erased,
            ..State::default()
        }));
        let (writer, queue) = mpsc::channel(QUEUE_MAX_WRITES);
        let run = Writer::new(opened.writer, Arc::clone(&state), leaves.clone(), opened.purged.clone());
        tokio::spawn(writer::run(run, queue));
        let (reader, purged_before, lock) = (Reader::File(opened.reader), opened.purged, Some(opened.lock));
        Ok(Self(Arc::new(Shared { reader, writer, state, leaves, purged_before, lock })))
    }

    /// Opens what is on a simulated disk.
    #[cfg(feature = "simulation")]
    pub(crate) fn open_simulated(disk: SimulatedDisk, owner: LogOwner) -> Self {
        let state = disk.open(owner);
        let purged_before = disk.purged();
        let (commands, first) = purged_before.as_ref().map_or((0, 0), |purged| (purged.commands, purged.end()));
        let leaves = Leaves::above(commands, first);
        let state = Arc::new(Mutex::new(state));
        let (writer, queue) = mpsc::channel(QUEUE_MAX_WRITES);
        tokio::spawn(memory::run(disk.clone(), queue, Arc::clone(&state), leaves.clone()));
        Self(Arc::new(Shared { reader: Reader::Memory(disk), writer, state, leaves, purged_before, lock: None }))
    }

    /// What was purged when it was opened: from there on the log is to be applied again.
    pub(crate) fn purged_before(&self) -> Option<&Purged> {
        self.0.purged_before.as_ref()
    }

    /// Up to where the log is purged.
    pub(crate) fn purged(&self) -> Option<LogId> {
        lock(&self.0.state).purged
    }

    /// Whether nothing was ever put into it.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0.state).last.is_none()
    }

    /// Where whoever applies says which entries became leaves.
    pub(crate) fn leaves(&self) -> &Leaves {
        &self.0.leaves
    }

    /// How far the log is known to be committed.
    pub(crate) fn committed(&self) -> Option<LogId> {
        let state = lock(&self.0.state);
        // Only what is committed is purged.
        state.committed.max(state.purged)
    }

    /// Leaves of the command log, from `first` on; at most `limit`, and no more once they make `max_bytes`.
    pub(crate) async fn commands(&self, first: u64, limit: usize, max_bytes: usize) -> io::Result<Vec<Submission>> {
        let (mut found, mut bytes, mut retries) = (Vec::new(), 0usize, 0u32);
        while found.len() < limit && bytes < max_bytes {
            let (next, rest) = (first + found.len() as u64, limit - found.len());
            let part = match self.0.leaves.place(next, rest) {
                Place::Purged(count) => {
                    let count = usize::try_from(count).unwrap_or(usize::MAX).min(rest);
                    let (part, size) = self.0.reader.commands(next, count, max_bytes - bytes).await?;
                    bytes = bytes.saturating_add(size);
                    part
                }
                Place::Logged(indexes) => {
                    let (Some(start), Some(last)) = (indexes.first(), indexes.last()) else { break };
                    let entries = self.entries(*start, last + 1, max_bytes - bytes).await?;
                    if entries.first().is_none_or(|entry| entry.log_id.index != *start) {
                        // They were purged just now, and are where the purged ones are.
                        retries += 1;
                        if retries > READ_MAX_RETRIES {
                            return Err(rows::broken(&format!("command {next} is missing")));
                        }
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        continue;
                    }
                    bytes = bytes.saturating_add(entries.iter().map(entry_bytes).sum());
                    leaves_among(&indexes, entries)
                }
            };
            if part.is_empty() {
                break;
            }
            found.extend(part);
        }
        Ok(found)
    }

    /// Puts commands of a snapshot aside, from leaf `first` on.
    pub(crate) async fn stage(&self, first: u64, commands: Vec<Command>) -> io::Result<()> {
        // The digests of large texts are made here, not on the writer's time.
        for command in &commands {
            command.text_digest();
        }
        self.written(|done| Write::Stage { first, commands, done }).await
    }

    /// Forgets what was put aside.
    pub(crate) async fn clear_staged(&self) -> io::Result<()> {
        self.written(Write::ClearStaged).await
    }

    /// Makes a snapshot this node's own, in one transaction. Its leaves from `staged_from` on were put aside.
    ///
    /// INVARIANT: the texts that failed by it, `erased`, are gone together with that: they are kept by nobody who knows.
    pub(crate) async fn install(&self, snapshot: Purged, staged_from: u64, erased: Vec<Hex32>) -> io::Result<()> {
        lock(&self.0.state).erased.extend(&erased);
        self.written(|done| Write::Install { snapshot, staged_from, erased, done }).await
    }

    /// The text with this digest, if it lies beside any command and was not erased.
    pub(crate) async fn public_text(&self, digest: Hex32) -> io::Result<Option<PublicText>> {
        let recent = {
            let state = lock(&self.0.state);
            if state.erased.contains(&digest) {
                return Ok(None);
            }
            state.recent.with_text(digest)
        };
        if let Some(command) = recent {
            return Ok(command.submission().public_text.clone());
        }
        self.0.reader.text(digest).await
    }

    /// Of the texts with these digests, those that are not here and were not erased.
    pub(crate) async fn without_text(&self, wanted: impl Iterator<Item = Hex32>) -> io::Result<Vec<Hex32>> {
        let wanted: Vec<Hex32> = {
            let state = lock(&self.0.state);
            wanted.filter(|digest| !state.erased.contains(digest)).collect()
        };
        let here = self.0.reader.text_digests().await?;
        let mut missing = Vec::new();
        // What came just now may not be down yet.
        for digest in wanted.into_iter().filter(|digest| !here.contains(digest)) {
            if self.public_text(digest).await?.is_none() {
                missing.push(digest);
            }
        }
        Ok(missing)
    }

    /// Puts a text where the others are, unless it was erased.
    pub(crate) async fn keep_text(&self, digest: Hex32, text: PublicText) -> io::Result<()> {
        self.written(|done| Write::Text { digest, text, done }).await
    }

    /// Deletes a text for good, wherever this node has it. The caller knows that it is committed that nobody needs it.
    ///
    /// INVARIANT: an entry above the committed position keeps its text, or nobody would take it. Where a command comes once more
    /// with a text that was erased, that is erased again when the command is applied.
    pub(crate) async fn erase_text(&self, digest: Hex32) -> io::Result<()> {
        {
            let mut state = lock(&self.0.state);
            let end = state.committed.max(state.purged).map_or(0, |id| id.index + 1);
            state.erased.insert(digest);
            state.recent.erase(digest, end);
        }
        self.written(|done| Write::Erase { digest, done }).await
    }

    /// Erases the texts beside these commands, which are applied, where they were erased before.
    pub(crate) async fn erase_again(&self, commands: impl Iterator<Item = &Command>) -> io::Result<()> {
        let again: HashSet<Hex32> = {
            let state = lock(&self.0.state);
            if state.erased.is_empty() {
                return Ok(());
            }
            let with_text = commands.filter(|command| command.has_text());
            with_text.filter_map(Command::text_digest).filter(|digest| state.erased.contains(digest)).collect()
        };
        for digest in again {
            self.erase_text(digest).await?;
        }
        Ok(())
    }

    /// Whether the entry with this id is here, or was and is purged.
    pub(crate) async fn holds(&self, id: &LogId) -> io::Result<bool> {
        if self.purged().is_some_and(|purged| id.index <= purged.index) {
            return Ok(true);
        }
        let held = self.entries(id.index, id.index + 1, 1).await?;
        Ok(held.first().is_some_and(|entry| entry.log_id == *id))
    }

    /// Entries of `start..end`, from its beginning, until they make `max_bytes`; at least one where the log has one.
    pub(crate) async fn entries(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        loop {
            let (start, stored_end, mut entries, bytes, cuts) = {
                let state = lock(&self.0.state);
                let (start, end) = (start.max(state.first), end.min(state.end()));
                if start >= end {
                    return Ok(Vec::new());
                }
                let stored_end = state.recent.first().unwrap_or(u64::MAX).min(end);
                // Below that the file is read first, and may fill the batch.
                let (entries, bytes) = take(state.recent.range(stored_end.max(start), end).cloned(), max_bytes);
                (start, stored_end, entries, bytes, (state.cutting, state.cuts))
            };
            if start >= stored_end {
                return Ok(entries);
            }
            let read = self.0.reader.entries(start, stored_end, max_bytes).await;
            let now = {
                let state = lock(&self.0.state);
                (state.cutting, state.cuts)
            };
            if now.0 > 0 || now != cuts {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            let (mut stored, stored_bytes) = read?;
            let next = stored.last().map_or(start, |entry| entry.log_id.index + 1);
            if next == stored_end && stored_bytes.saturating_add(bytes) <= max_bytes {
                stored.append(&mut entries);
            } else if stored.is_empty() || (next < stored_end && stored_bytes < max_bytes) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("consensus.db: entry {next} is missing; do not edit this file, start this node anew"),
                ));
            }
            return Ok(stored);
        }
    }

    async fn send(&self, write: Write) -> io::Result<()> {
        self.0.writer.send(write).await.map_err(|_| gone())
    }

    async fn written(&self, write: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Write) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.send(write(done)).await?;
        written.await.map_err(|_| gone())?
    }

    /// Writes what waits and closes the file.
    pub(crate) async fn close(&self) {
        // Whoever could not write what came before has been told so.
        let _ = self.written(Write::Close).await;
        self.0.reader.close().await;
        // If it fails it is unlocked when the last clone is dropped.
        let _ = self.0.lock.as_ref().map(File::unlock);
    }
}

/// The envelopes of those entries that are leaves: between two lie entries that hold no accepted command.
fn leaves_among(indexes: &[u64], entries: Vec<Entry>) -> Vec<Submission> {
    let mut wanted = indexes.iter().peekable();
    let leaf = |entry: Entry| match entry.payload {
        EntryPayload::Normal(command) => {
            wanted.next_if(|index| **index == entry.log_id.index).map(|_| command.submission().clone())
        }
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    };
    entries.into_iter().filter_map(leaf).collect()
}

/// As many as fit, but one in any case, and their bytes.
fn take(entries: impl Iterator<Item = Entry>, max_bytes: usize) -> (Vec<Entry>, usize) {
    let (mut taken, mut bytes) = (Vec::new(), 0usize);
    for entry in entries {
        let size = entry_bytes(&entry);
        if !taken.is_empty() && bytes.saturating_add(size) > max_bytes {
            break;
        }
        bytes = bytes.saturating_add(size);
        taken.push(entry);
    }
    (taken, bytes)
}

#[cfg(test)]
mod purge_tests;
#[cfg(test)]
mod tests;

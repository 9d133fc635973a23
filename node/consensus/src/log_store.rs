//! Raft's vote and log, and the texts that lie beside the log, in one local SQLite file: `consensus.db`.
//!
//! One writer task takes everything that waits, writes it in one transaction, and answers once it is synced: many commands
//! share one fsync. The newest entries are read from memory, the others from the file. The state that follows from the log is
//! in memory only and rebuilt from here at start, which spares a second fsync for each command.
//!
//! INVARIANT: the log is kept whole. There are no snapshots and nothing is purged, so every envelope stays at hand; a text can
//! be erased without touching the log. The file is never restored from a copy: an old vote or log can split the federation.

#[cfg(feature = "simulation")]
mod memory;
mod open;
mod reader;
mod recent;
mod rows;
mod writer;

use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::list::PublicText;
use futures::stream::{self, Stream};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::types::{Entry, LogId, NodeId, TypeConfig, Vote};
use crate::wire::{BATCH_MAX_BYTES, MAX_ENTRIES};
use reader::Reader;
use recent::{Recent, entry_bytes};
use writer::Write;

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

/// The log of this node. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Shared>);

struct Shared {
    reader: Reader,
    writer: mpsc::Sender<Write>,
    state: Arc<Mutex<State>>,
    /// Locked as long as the log is open: two processes on one log would be two nodes with one name.
    lock: Option<File>,
}

/// What is known without asking the file.
#[derive(Debug, Default)]
struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// The index of the first entry, once there is one.
    first: u64,
    last: Option<LogId>,
    recent: Recent,
    /// Counts beginnings and ends of cutting entries off, so that a reader notices one: odd while it is going on.
    truncations: u64,
}

impl State {
    fn end(&self) -> u64 {
        self.last.as_ref().map_or(0, |id| id.index + 1)
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
        let state = Arc::new(Mutex::new(State {
            vote: opened.vote,
            committed: opened.committed,
            recent: Recent::above(opened.last.as_ref().map_or(0, |id| id.index + 1)),
            first: 0,
            last: opened.last,
            truncations: 0,
        }));
        let (writer, queue) = mpsc::channel(QUEUE_MAX_WRITES);
        tokio::spawn(writer::run(opened.writer, queue, Arc::clone(&state)));
        let reader = Reader::File(opened.reader);
        Ok(Self(Arc::new(Shared { reader, writer, state, lock: Some(opened.lock) })))
    }

    /// Opens what is on a simulated disk.
    #[cfg(feature = "simulation")]
    pub(crate) fn open_simulated(disk: SimulatedDisk, owner: LogOwner) -> Self {
        let (vote, committed, last) = disk.open(owner);
        let recent = Recent::above(last.as_ref().map_or(0, |id| id.index + 1));
        let state = Arc::new(Mutex::new(State { vote, committed, recent, first: 0, last, truncations: 0 }));
        let (writer, queue) = mpsc::channel(QUEUE_MAX_WRITES);
        tokio::spawn(memory::run(disk.clone(), queue, Arc::clone(&state)));
        Self(Arc::new(Shared { reader: Reader::Memory(disk), writer, state, lock: None }))
    }

    /// How far the log is known to be committed.
    pub(crate) fn committed(&self) -> Option<LogId> {
        lock(&self.0.state).committed
    }

    /// The text with this digest, if it lies beside any entry.
    pub(crate) async fn public_text(&self, digest: Hex32) -> io::Result<Option<PublicText>> {
        let recent = lock(&self.0.state).recent.with_text(digest);
        if let Some(command) = recent {
            return Ok(command.submission().public_text.clone());
        }
        self.0.reader.text(digest).await
    }

    /// Entries of `start..end`, from its beginning, until they make `max_bytes`; at least one where the log has one.
    pub(crate) async fn entries(&self, start: u64, end: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        loop {
            let (start, stored_end, mut entries, bytes, truncations) = {
                let state = lock(&self.0.state);
                let (start, end) = (start.max(state.first), end.min(state.end()));
                if start >= end {
                    return Ok(Vec::new());
                }
                let stored_end = state.recent.first().unwrap_or(u64::MAX).min(end);
                // Below that the file is read first, and may fill the batch.
                let (entries, bytes) = take(state.recent.range(stored_end.max(start), end).cloned(), max_bytes);
                (start, stored_end, entries, bytes, state.truncations)
            };
            if start >= stored_end {
                return Ok(entries);
            }
            let read = self.0.reader.entries(start, stored_end, max_bytes).await;
            if truncations % 2 == 1 || lock(&self.0.state).truncations != truncations {
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

fn bounds(range: impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (start, end) = bounds(range);
        self.entries(start, end, usize::MAX).await
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(range);
        let batches = stream::try_unfold((self.clone(), start), move |(log, start)| async move {
            let batch = log.entries(start, end, BATCH_MAX_BYTES).await?;
            let next = batch.last().map(|entry| entry.log_id.index + 1);
            io::Result::Ok(next.map(|next| (batch, (log, next))))
        });
        Box::pin(flatten(batches))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(lock(&self.0.state).vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.entries(start, end.min(start.saturating_add(MAX_ENTRIES as u64)), BATCH_MAX_BYTES).await
    }
}

fn flatten(batches: impl Stream<Item = io::Result<Vec<Entry>>> + Send) -> impl Stream<Item = io::Result<Entry>> + Send {
    use futures::StreamExt as _;
    batches.flat_map(|batch| match batch {
        Ok(entries) => stream::iter(entries).map(Ok).left_stream(),
        Err(error) => stream::iter([Err(error)]).right_stream(),
    })
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        Ok(LogState { last_purged_log_id: None, last_log_id: lock(&self.0.state).last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = *vote;
        self.written(|done| Write::Vote { vote, done }).await?;
        lock(&self.0.state).vote = Some(vote);
        Ok(())
    }

    /// Written with whatever is written next, or soon. It only says from where on this node must hear from the others again
    /// after a start.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        lock(&self.0.state).committed = committed;
        match self.0.writer.try_send(Write::Committed) {
            // A full queue: it will be written with what stands there.
            Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(gone()),
        }
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut state = lock(&self.0.state);
            if let (None, Some(entry)) = (&state.last, entries.first()) {
                state.first = entry.log_id.index;
            }
            for entry in &entries {
                state.last = Some(entry.log_id);
                state.recent.push(entry.clone());
            }
        }
        // The digests of large texts are made here, not on the writer's time.
        for entry in &entries {
            if let EntryPayload::Normal(command) = &entry.payload {
                command.text_digest();
            }
        }
        self.send(Write::Append { entries, done: callback }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.as_ref().map_or(0, |id| id.index + 1);
        lock(&self.0.state).truncations += 1;
        let written = self.written(|done| Write::Truncate { from, done }).await;
        let mut state = lock(&self.0.state);
        state.truncations += 1;
        written?;
        state.recent.truncate(from);
        if state.last.as_ref().is_some_and(|id| id.index >= from) {
            state.last = last;
        }
        Ok(())
    }

    async fn purge(&mut self, _upto: LogId) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the command log is kept whole: purging is not built"))
    }
}

#[cfg(test)]
mod tests;

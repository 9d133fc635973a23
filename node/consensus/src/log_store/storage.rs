//! The log, as openraft reads and writes it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use futures::stream::{self, Stream};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::mpsc::error::TrySendError;

use super::writer::Write;
use super::{LogStore, gone, lock};
use crate::types::{Entry, LogId, TypeConfig, Vote};
use crate::wire::{BATCH_MAX_BYTES, MAX_ENTRIES};

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
        let state = lock(&self.0.state);
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: state.last })
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
        Ok(lock(&self.0.state).committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        // The digests of large texts are made here, not on the writer's time.
        for entry in &entries {
            if let EntryPayload::Normal(command) = &entry.payload {
                command.text_digest();
            }
        }
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
        self.send(Write::Append { entries, done: callback }).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.as_ref().map_or(0, |id| id.index + 1);
        lock(&self.0.state).cutting += 1;
        let written = self.written(|done| Write::Truncate { from, done }).await;
        let mut state = lock(&self.0.state);
        state.cutting -= 1;
        state.cuts += 1;
        written?;
        state.recent.truncate(from);
        if state.last.as_ref().is_some_and(|id| id.index >= from) {
            state.last = last;
        }
        Ok(())
    }

    /// Notes it, and leaves it to the writer to do it between other things. What a crash leaves undone, openraft asks again.
    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let beyond = {
            let mut state = lock(&self.0.state);
            if state.purged.as_ref().is_some_and(|purged| purged.index >= upto.index) {
                return Ok(());
            }
            state.purged = Some(upto);
            let beyond = state.last.as_ref().is_none_or(|last| last.index < upto.index);
            if beyond {
                state.last = Some(upto);
            }
            beyond
        };
        if beyond {
            // The log begins anew above it.
            return self.written(|done| Write::Purge { upto, done: Some(done) }).await;
        }
        self.send(Write::Purge { upto, done: None }).await
    }
}

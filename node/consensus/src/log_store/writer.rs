//! The one writer: takes what waits, writes it in one transaction, and answers once it is on the disk.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::storage::IOFlushed;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::recent::entry_bytes;
use super::{State, lock, rows};
use crate::types::{Entry, LogId, TypeConfig, Vote};

/// How many bytes of entries go into one transaction.
const BATCH_MAX_BYTES: usize = 8 * 1024 * 1024;
/// How long the committed position may wait for something else to be written.
const COMMITTED_DELAY: Duration = Duration::from_millis(100);

type Done = oneshot::Sender<io::Result<()>>;

/// Something to be written, in the order in which it was asked.
pub(super) enum Write {
    Append {
        entries: Vec<Entry>,
        done: IOFlushed<TypeConfig>,
    },
    Vote {
        vote: Vote,
        done: Done,
    },
    Truncate {
        from: u64,
        done: Done,
    },
    /// The committed position has moved; it is in the shared state.
    Committed,
    Close(Done),
}

impl Write {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { entries, .. } => entries.iter().map(entry_bytes).sum(),
            _ => 0,
        }
    }

    pub(super) fn answer(self, result: io::Result<()>) {
        match self {
            Self::Append { done, .. } => done.io_completed(result),
            // Whoever does not wait any more does not need the answer.
            Self::Vote { done, .. } | Self::Truncate { done, .. } | Self::Close(done) => drop(done.send(result)),
            Self::Committed => {}
        }
    }
}

pub(super) async fn run(db: SqliteConnection, mut queue: mpsc::Receiver<Write>, state: Arc<Mutex<State>>) {
    let end = lock(&state).end();
    let mut writer = Writer { db, state, end, committed: None, failed: None };
    let mut committed_due: Option<Instant> = None;
    loop {
        let next = match committed_due {
            Some(due) => tokio::time::timeout_at(due, queue.recv()).await,
            None => Ok(queue.recv().await),
        };
        let mut batch = match next {
            Ok(Some(Write::Committed)) => {
                committed_due.get_or_insert_with(|| Instant::now() + COMMITTED_DELAY);
                continue;
            }
            Ok(Some(write)) => vec![write],
            Ok(None) => return,
            Err(_) => Vec::new(),
        };
        committed_due = None;
        let mut bytes: usize = batch.iter().map(Write::bytes).sum();
        while bytes < BATCH_MAX_BYTES
            && let Ok(write) = queue.try_recv()
        {
            bytes += write.bytes();
            batch.push(write);
        }
        let result = writer.write(&batch).await;
        if batch.iter().any(|write| matches!(write, Write::Close(_))) {
            // What was answered is synced already: closing only tidies the write-ahead log up.
            if let Err(error) = writer.db.close().await {
                tracing::warn!(%error, "consensus.db did not close cleanly");
            }
            batch.into_iter().for_each(|write| write.answer(copy(&result)));
            return;
        }
        batch.into_iter().for_each(|write| write.answer(copy(&result)));
    }
}

struct Writer {
    db: SqliteConnection,
    state: Arc<Mutex<State>>,
    /// One past the last entry on the disk.
    end: u64,
    /// The committed position on the disk.
    committed: Option<LogId>,
    /// INVARIANT: once a write has failed nothing is written any more: what followed it would leave a hole.
    failed: Option<io::Error>,
}

impl Writer {
    async fn write(&mut self, batch: &[Write]) -> io::Result<()> {
        if let Some(error) = &self.failed {
            return Err(clone(error));
        }
        match self.transaction(batch).await {
            Ok(()) => {
                lock(&self.state).recent.durable(self.end);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "consensus.db cannot be written: this node takes no further part until it is restarted");
                self.failed = Some(clone(&error));
                Err(error)
            }
        }
    }

    async fn transaction(&mut self, batch: &[Write]) -> io::Result<()> {
        let (db, mut end) = (&mut self.db, self.end);
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *db).await.map_err(rows::failed)?;
        let mut at = 0;
        while let Some(write) = batch.get(at) {
            at += 1;
            match write {
                Write::Append { entries, .. } => {
                    // What follows at once goes into the same statements.
                    let mut run: Vec<&Entry> = entries.iter().collect();
                    while let Some(Write::Append { entries, .. }) = batch.get(at) {
                        run.extend(entries);
                        at += 1;
                    }
                    rows::insert(&mut *db, &run).await?;
                    end = run.last().map_or(end, |entry| entry.log_id.index + 1);
                }
                Write::Vote { vote, .. } => rows::save_vote(&mut *db, vote).await?,
                Write::Truncate { from, .. } => {
                    rows::truncate(&mut *db, *from).await?;
                    end = end.min(*from);
                }
                Write::Committed | Write::Close(_) => {}
            }
        }
        // INVARIANT: never beyond what this transaction makes durable, or the next start would look for entries that a crash
        // took.
        let committed = lock(&self.state).committed.filter(|id| id.index < end && Some(*id) != self.committed);
        if let Some(committed) = &committed {
            rows::save_committed(&mut *db, committed).await?;
        }
        sqlx::raw_sql("COMMIT").execute(&mut *db).await.map_err(rows::failed)?;
        self.end = end;
        self.committed = committed.or(self.committed);
        Ok(())
    }
}

fn clone(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn copy(result: &io::Result<()>) -> io::Result<()> {
    result.as_ref().copied().map_err(clone)
}

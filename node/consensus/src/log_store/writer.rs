//! The one writer: takes what waits, writes it in one transaction, and answers once it is on the disk.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use comity_core::canonical::Hex32;
use comity_core::list::PublicText;
use openraft::storage::IOFlushed;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection as _, Row as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::commands::{self, Purged};
use super::recent::entry_bytes;
use super::{Leaves, State, lock, rows};
use crate::types::{Command, Entry, LogId, TypeConfig, Vote};

/// How many bytes of entries go into one transaction.
const BATCH_MAX_BYTES: usize = 8 * 1024 * 1024;
/// How long the committed position may wait for something else to be written.
const COMMITTED_DELAY: Duration = Duration::from_millis(100);
/// How many entries are purged in one transaction, so that nobody waits long behind it.
const PURGE_MAX_ENTRIES: u64 = 256;
/// How long a reader may keep an erased text from leaving the write-ahead log, before it is tried again.
const CHECKPOINT_BUSY_TIMEOUT_MS: u32 = 100;
const BUSY_TIMEOUT_MS: u32 = 5_000;

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
    /// The log's beginning may go, little by little; at once where somebody waits for it.
    Purge {
        upto: LogId,
        done: Option<Done>,
    },
    /// Commands of a snapshot that is being pulled, from leaf `first` on.
    Stage {
        first: u64,
        commands: Vec<Command>,
        done: Done,
    },
    /// What was pulled is not used.
    ClearStaged(Done),
    /// The leaves from `staged_from` on were staged; these texts go.
    Install {
        snapshot: Purged,
        staged_from: u64,
        erased: Vec<Hex32>,
        done: Done,
    },
    Erase {
        digest: Hex32,
        done: Done,
    },
    /// A text that did not come with its command.
    Text {
        digest: Hex32,
        text: PublicText,
        done: Done,
    },
    Close(Done),
}

impl Write {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { entries, .. } => entries.iter().map(entry_bytes).sum(),
            Self::Stage { commands, .. } => commands.iter().map(Command::size_bytes).sum(),
            Self::Text { text, .. } => text.bytes.len(),
            _ => 0,
        }
    }

    fn erases(&self) -> bool {
        match self {
            Self::Erase { .. } => true,
            Self::Install { erased, .. } => !erased.is_empty(),
            _ => false,
        }
    }

    pub(super) fn answer(self, result: io::Result<()>) {
        match self {
            Self::Append { done, .. } => done.io_completed(result),
            // Whoever does not wait any more does not need the answer.
            Self::Vote { done, .. }
            | Self::Truncate { done, .. }
            | Self::Purge { done: Some(done), .. }
            | Self::Stage { done, .. }
            | Self::ClearStaged(done)
            | Self::Install { done, .. }
            | Self::Erase { done, .. }
            | Self::Text { done, .. }
            | Self::Close(done) => drop(done.send(result)),
            Self::Committed | Self::Purge { done: None, .. } => {}
        }
    }
}

pub(super) async fn run(mut writer: Writer, mut queue: mpsc::Receiver<Write>) {
    let mut committed_due: Option<Instant> = None;
    loop {
        let due = if writer.has_more() { Some(Instant::now()) } else { committed_due };
        let next = match due {
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

pub(super) struct Writer {
    db: SqliteConnection,
    state: Arc<Mutex<State>>,
    leaves: Leaves,
    /// Up to where the log is purged on the disk, and up to where it may be.
    purged: Option<Purged>,
    purge_upto: Option<LogId>,
    /// A text was erased that may still stand in the write-ahead log.
    checkpoint_due: bool,
    /// One past the last entry on the disk.
    end: u64,
    /// The committed position on the disk.
    committed: Option<LogId>,
    /// INVARIANT: once a write has failed nothing is written any more: what followed it would leave a hole.
    failed: Option<io::Error>,
}

impl Writer {
    pub(super) fn new(db: SqliteConnection, state: Arc<Mutex<State>>, leaves: Leaves, purged: Option<Purged>) -> Self {
        let end = lock(&state).end();
        let (purge_upto, checkpoint_due, committed, failed) = (None, false, None, None);
        Self { db, state, leaves, purged, purge_upto, checkpoint_due, end, committed, failed }
    }

    /// Whether there is something to do besides what is asked next.
    fn has_more(&self) -> bool {
        self.failed.is_none() && self.purge_upto.is_some()
    }

    async fn write(&mut self, batch: &[Write]) -> io::Result<()> {
        if let Some(error) = &self.failed {
            return Err(clone(error));
        }
        // INVARIANT: whoever reads the log from the file meanwhile is told that its beginning may have gone.
        let purges = |write: &Write| matches!(write, Write::Purge { .. } | Write::Install { .. });
        let cutting = self.purge_upto.is_some() || batch.iter().any(purges);
        lock(&self.state).cutting += u32::from(cutting);
        let result = self.transaction(batch).await;
        {
            let mut state = lock(&self.state);
            if result.is_ok() {
                if let Some(purged) = self.purged.as_ref().filter(|_| cutting) {
                    self.leaves.purged(purged.commands, purged.end());
                    state.purged(purged.last);
                }
                state.recent.durable(self.end);
            }
            state.cutting -= u32::from(cutting);
            state.cuts += u64::from(cutting);
        }
        if let Err(error) = &result {
            tracing::error!(%error, "consensus.db cannot be written: this node takes no further part until it is restarted");
            self.failed = Some(clone(error));
            return result;
        }
        self.checkpoint_due |= batch.iter().any(Write::erases);
        if self.checkpoint_due {
            // What is asked is done already: it is only tried again with what is written next.
            self.checkpoint_due = match checkpoint(&mut self.db).await {
                Ok(emptied) => !emptied,
                Err(error) => {
                    tracing::warn!(%error, "the write-ahead log of consensus.db could not be emptied");
                    true
                }
            };
        }
        Ok(())
    }

    async fn transaction(&mut self, batch: &[Write]) -> io::Result<()> {
        let (db, mut end) = (&mut self.db, self.end);
        let (mut purged, mut purge_upto) = (self.purged.clone(), self.purge_upto);
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
                Write::Purge { upto, done: None } => purge_upto = Some(*upto),
                Write::Purge { upto, done: Some(_) } => {
                    purged = Some(commands::purge(&mut *db, purged.as_ref(), upto, u64::MAX, &self.leaves).await?);
                    end = end.max(upto.index + 1);
                }
                Write::Stage { first, commands, .. } => commands::stage(&mut *db, *first, commands).await?,
                Write::ClearStaged(_) => commands::clear_staged(&mut *db).await?,
                Write::Install { snapshot, staged_from, erased, .. } => {
                    for digest in erased {
                        commands::erase(&mut *db, *digest).await?;
                    }
                    commands::install(&mut *db, snapshot, *staged_from, &self.leaves).await?;
                    end = end.max(snapshot.end());
                    purged = Some(snapshot.clone());
                }
                Write::Erase { digest, .. } => commands::erase(&mut *db, *digest).await?,
                Write::Text { digest, text, .. } => rows::keep_text(&mut *db, *digest, text).await?,
                Write::Committed | Write::Close(_) => {}
            }
        }
        let reached =
            |purged: &Option<Purged>, upto: &LogId| purged.as_ref().is_some_and(|p| p.last.index >= upto.index);
        if let Some(upto) = purge_upto.take_if(|upto| !reached(&purged, upto)) {
            let step = commands::purge(&mut *db, purged.as_ref(), &upto, PURGE_MAX_ENTRIES, &self.leaves).await?;
            purged = Some(step);
            purge_upto = Some(upto).filter(|upto| !reached(&purged, upto));
        } else {
            purge_upto = None;
        }
        // INVARIANT: never beyond what this transaction makes durable, or the next start would look for entries that a crash
        // took. It goes with whatever is written, so that a text that is erased after a commit is gone only together with it.
        let committed = lock(&self.state).committed.filter(|id| id.index < end && Some(*id) != self.committed);
        if let Some(committed) = &committed {
            rows::save_committed(&mut *db, committed).await?;
        }
        sqlx::raw_sql("COMMIT").execute(&mut *db).await.map_err(rows::failed)?;
        self.end = end;
        self.committed = committed.or(self.committed);
        (self.purged, self.purge_upto) = (purged, purge_upto);
        Ok(())
    }
}

/// Empties the write-ahead log, in which erased texts would stand until it is overwritten. Answers whether it is empty.
async fn checkpoint(db: &mut SqliteConnection) -> io::Result<bool> {
    let busy = |milliseconds: u32| sqlx::AssertSqlSafe(format!("PRAGMA busy_timeout = {milliseconds}"));
    sqlx::query(busy(CHECKPOINT_BUSY_TIMEOUT_MS)).execute(&mut *db).await.map_err(rows::failed)?;
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *db).await.map_err(rows::failed)?;
    sqlx::query(busy(BUSY_TIMEOUT_MS)).execute(&mut *db).await.map_err(rows::failed)?;
    Ok(row.try_get::<i64, _>(0).map_err(rows::failed)? == 0)
}

fn clone(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn copy(result: &io::Result<()>) -> io::Result<()> {
    result.as_ref().copied().map_err(clone)
}

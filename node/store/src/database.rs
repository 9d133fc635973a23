//! The database: on each side one connection that writes and a few that only read.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, PgPool, SqlitePool};
use tokio::sync::watch;

use crate::error::{OpenError, StoreError};
use crate::lease::Lease;
use crate::place::Place;
pub(crate) use crate::sql::{Connection, Dialect};

/// What a transaction does.
pub(crate) type Work<'c, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>;

const READERS: u32 = 4;
/// What SQLite keeps of the file in memory, where it writes: in KiB, negative as SQLite has it. Reading a record's neighbours in the
/// indices over and over again is most of what an exchange costs otherwise.
const WRITER_CACHE: &str = "-32768";
/// The same, for each reader; any write makes it look at the file anew.
const READER_CACHE: &str = "-4096";
/// Rows that are read ahead of whoever takes them.
const ROW_BUFFER: usize = 1_024;
/// SQLite moves its write-ahead log into the file after so many pages of 4 KiB.
const CHECKPOINT_PAGES: &str = "4000";
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// Both pools. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pools: Pools,
    lease: Arc<Lease>,
    queued: watch::Sender<u64>,
    /// Of SQLite's file.
    place: Option<Arc<Place>>,
    /// Whether a commit failed and what the disk has of it is not settled: see [`Database::settle`].
    unsettled: Arc<AtomicBool>,
}

#[derive(Debug, Clone)]
enum Pools {
    Sqlite { writer: SqlitePool, reader: SqlitePool },
    Postgres { writer: PgPool, reader: PgPool },
}

impl Database {
    /// Opens a SQLite file, which must exist.
    pub(crate) async fn open_file(path: &Path) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // What is deleted is overwritten: a destroyed key must not stay on a free page.
            .pragma("secure_delete", "ON")
            // As many rows as a page has items, without the two threads waiting for each other.
            .row_buffer_size(ROW_BUFFER)
            .disable_statement_logging();
        // Acknowledged means durable: FULL syncs the WAL at each commit.
        let writing = options.clone().journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let writing = writing.pragma("cache_size", WRITER_CACHE).pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
        let options = options.pragma("cache_size", READER_CACHE);
        let place = Place::of(path).map_err(|source| OpenError::File { path: path.to_owned(), source })?;
        let writer = bounded(PoolOptions::new(), 1).connect_with(writing).await.map_err(StoreError::from)?;
        let reader = bounded(PoolOptions::new(), READERS).connect_lazy_with(options.read_only(true));
        let database = Self { place: Some(Arc::new(place)), ..Self::new(Pools::Sqlite { writer, reader }) };
        // The process before this one may have ended after a sync that failed.
        database.unsettled.store(true, Ordering::Release);
        database.settled().await?;
        Ok(database)
    }

    /// Connects to PostgreSQL.
    ///
    /// # Errors
    /// It cannot be reached, or does not wait for its disk before it answers.
    pub(crate) async fn open_server(options: PgConnectOptions) -> Result<Self, OpenError> {
        let options = options.application_name("comity-node").disable_statement_logging();
        let writer =
            bounded(PgPoolOptions::new(), 1).connect_with(options.clone()).await.map_err(OpenError::Connect)?;
        let reading = options.options([("default_transaction_read_only", "on")]);
        let reader = bounded(PgPoolOptions::new(), READERS).connect_lazy_with(reading);
        let database = Self::new(Pools::Postgres { writer, reader });
        let mut connection = database.writer().await?;
        for setting in ["synchronous_commit", "fsync", "full_page_writes"] {
            // Acknowledged means durable, whoever configured the server.
            let row = crate::sql::query("SELECT current_setting($1) AS value").bind(setting);
            let value: String = row.fetch_one(&mut connection).await?.get("value")?;
            if value == "off" {
                return Err(OpenError::NotDurable { setting });
            }
        }
        Ok(database)
    }

    fn new(pools: Pools) -> Self {
        Self { pools, lease: Arc::default(), queued: watch::Sender::new(0), place: None, unsettled: Arc::default() }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.pools {
            Pools::Sqlite { .. } => Dialect::Sqlite,
            Pools::Postgres { .. } => Dialect::Postgres,
        }
    }

    /// Who has the store, and under which number.
    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.lease
    }

    /// The connection that writes, outside of any transaction: for migrations, and for what cannot be in one.
    pub(crate) async fn writer(&self) -> Result<Connection, StoreError> {
        Ok(match &self.pools {
            Pools::Sqlite { writer, .. } => writer.acquire().await?.into(),
            Pools::Postgres { writer, .. } => writer.acquire().await?.into(),
        })
    }

    /// One state of the database to read from, until it is dropped.
    pub(crate) async fn read(&self) -> Result<Connection, StoreError> {
        // A reader that is opened now must not find another write-ahead log than the one that is written: it would keep it.
        if let Some(place) = &self.place {
            place.ensure_unmoved()?;
        }
        match &self.pools {
            Pools::Sqlite { reader, .. } => Ok(reader.begin().await?.into()),
            Pools::Postgres { reader, .. } => {
                // In a task that nobody cancels: half a BEGIN would hand back a connection with an open transaction.
                let reader = reader.clone();
                let begun =
                    tokio::spawn(async move { reader.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ").await });
                Ok(begun.await.map_err(|_| StoreError::Interrupted)??.into())
            }
        }
    }

    /// Runs one writing transaction to its end, whether or not the caller waits for it. An error of `work` rolls back.
    pub(crate) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> Work<'c, T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let database = self.clone();
        match tokio::spawn(async move { database.transact(work).await }).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Interrupted.into()),
        }
    }

    async fn transact<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> Work<'c, T, E>,
        E: From<StoreError>,
    {
        let mut open = Open { connection: Some(self.writer().await?), place: self.place.as_deref() };
        let connection = open.connection()?;
        if self.unsettled.load(Ordering::Acquire) {
            self.settle(connection).await?;
        }
        let begin = match connection.dialect() {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        };
        crate::sql::query(begin).execute(connection).await?;
        // INVARIANT: whoever lost the store writes nothing any more.
        let done = match self.lease.ensure_held(connection).await {
            Ok(()) => work(connection).await,
            Err(error) => Err(error.into()),
        };
        // INVARIANT: what is acknowledged lies in the file that the path names.
        let done = match (&self.place, done) {
            (Some(place), Ok(value)) => place.ensure_unmoved_writing().map(|()| value).map_err(E::from),
            (_, done) => done,
        };
        let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = crate::sql::query(end).execute(connection).await;
        match (done, ended) {
            (Ok(value), Ok(_)) => {
                open.give_back();
                Ok(value)
            }
            // Nobody knows what the database made of it; the connection is not used again.
            (Ok(_), Err(error)) => {
                self.unsettled.store(true, Ordering::Release);
                Err(error.into())
            }
            (Err(error), Ok(_)) => {
                open.give_back();
                Err(error)
            }
            // A full or failing disk makes SQLite roll back by itself. A fresh connection works as soon as the disk does.
            (Err(error), Err(_)) => Err(error),
        }
    }

    /// Makes what SQLite shows the same as what the disk has, after a commit that failed.
    ///
    /// Where a sync of the write-ahead log fails, the system takes the pages that it could not write for written: the next sync
    /// succeeds and does not write them again. SQLite itself forgets such a commit and writes over it. But where the log is read anew,
    /// by a new connection that is alone or by a process that was started again, the commit is found whole in the system's memory
    /// and taken in, and what is appended and synced behind it would be lost with it when the power fails. So everything that the
    /// log shows is written into the database's file, which is synced, and the log begins anew, before anything is built on it.
    async fn settle(&self, connection: &mut Connection) -> Result<(), StoreError> {
        // PostgreSQL stops at a sync that fails, and recovers from what it has.
        if self.dialect() == Dialect::Sqlite {
            let moved = crate::sql::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await?;
            if moved.get::<i64>("busy")? != 0 {
                return Err(StoreError::Unsettled);
            }
        }
        self.unsettled.store(false, Ordering::Release);
        Ok(())
    }

    /// Returns once what is read is what the disk has, whatever failed before.
    pub(crate) async fn settled(&self) -> Result<(), StoreError> {
        if self.unsettled.load(Ordering::Acquire) {
            let database = self.clone();
            let task = tokio::spawn(async move { database.settle(&mut database.writer().await?).await });
            return task.await.map_err(|_| StoreError::Interrupted)?;
        }
        Ok(())
    }

    /// Moves what is in SQLite's write-ahead log into the database and empties it, so that nothing that was deleted stays there.
    pub(crate) async fn forget_deleted(&self) -> Result<(), StoreError> {
        let database = self.clone();
        let task = tokio::spawn(async move {
            if database.dialect() == Dialect::Sqlite {
                crate::sql::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&mut database.writer().await?).await?;
            }
            Ok(())
        });
        task.await.map_err(|_| StoreError::Interrupted)?
    }

    /// Says that something was queued for a party; called after the commit.
    pub(crate) fn notify_queued(&self) {
        self.queued.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn watch_queued(&self) -> watch::Receiver<u64> {
        self.queued.subscribe()
    }

    /// Waits for what runs and closes every connection.
    pub(crate) async fn close(&self) {
        match &self.pools {
            Pools::Sqlite { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
            Pools::Postgres { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
        }
    }
}

/// A connection whose transaction may still be open: unless it is given back, it is closed, a panic notwithstanding.
struct Open<'a> {
    connection: Option<Connection>,
    place: Option<&'a Place>,
}

impl Open<'_> {
    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        self.connection.as_mut().ok_or(StoreError::Interrupted)
    }

    fn give_back(&mut self) {
        self.connection = None;
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.discard();
            if let Some(place) = self.place {
                place.forget_log();
            }
        }
    }
}

fn bounded<DB: sqlx::Database>(options: PoolOptions<DB>, connections: u32) -> PoolOptions<DB> {
    options
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

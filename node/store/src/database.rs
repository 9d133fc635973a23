//! Two pools on one SQLite file: one connection that writes, a few that only read.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::watch;

use crate::error::StoreError;

/// One connection, inside a transaction.
pub(crate) type Connection = SqliteConnection;
/// What a transaction does.
pub(crate) type Work<'c, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>;

const READERS: u32 = 4;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// Both pools. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    writer: SqlitePool,
    reader: SqlitePool,
    queued: watch::Sender<u64>,
}

impl Database {
    /// Opens the file, which must exist. `prepare` has the writing connection before anybody reads.
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        // Acknowledged means durable: FULL syncs the WAL at each commit.
        let writing = options.clone().journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let writer = pool(1).connect_with(writing).await?;
        let reader = pool(READERS).connect_lazy_with(options.read_only(true));
        Ok(Self { writer, reader, queued: watch::Sender::new(0) })
    }

    /// The connection that writes, outside of any transaction: for migrations.
    pub(crate) async fn writer(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.writer.acquire().await?)
    }

    /// One state of the database to read from, until it is dropped.
    pub(crate) async fn read(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.reader.begin().await?)
    }

    /// Runs one writing transaction to its end, whether or not the caller waits for it. An error of `work` rolls back.
    pub(crate) async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        F: for<'c> FnOnce(&'c mut Connection) -> Work<'c, T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let pool = self.writer.clone();
        match tokio::spawn(transact(pool, work)).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Interrupted.into()),
        }
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
        self.reader.close().await;
        self.writer.close().await;
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

async fn transact<T, E, F>(pool: SqlitePool, work: F) -> Result<T, E>
where
    F: for<'c> FnOnce(&'c mut Connection) -> Work<'c, T, E>,
    E: From<StoreError>,
{
    let mut connection = pool.acquire().await.map_err(StoreError::from)?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::from)?;
    let (result, usable) = match work(&mut transaction).await {
        Ok(value) => match transaction.commit().await {
            Ok(()) => (Ok(value), true),
            Err(error) => (Err(StoreError::from(error).into()), false),
        },
        Err(error) => (Err(error), transaction.rollback().await.is_ok()),
    };
    if !usable {
        // A full or failing disk makes SQLite roll back by itself; sqlx then still counts a transaction on the connection
        // and refuses every later one. A fresh connection works again as soon as the disk does.
        connection.close().await.ok();
    }
    result
}

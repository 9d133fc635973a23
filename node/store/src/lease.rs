//! One node to a store: a lease with a number that grows, which each write checks.
//!
//! On SQLite the lock beside the file says who has the store, and the lease is taken over at once. On PostgreSQL another machine
//! may hold it: it is waited for until it has run out by the server's clock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::columns;
use crate::database::{Connection, Database, Dialect};
use crate::error::{OpenError, StoreError};
use crate::sql::query;

/// How long a lease lasts without being renewed.
const TERM: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(5);
/// How often somebody else's is looked at again.
const POLL: Duration = Duration::from_millis(250);

/// The lease as this process holds it.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    fence: OnceLock<i64>,
    lost: AtomicBool,
    changed: Notify,
}

impl Lease {
    /// Takes the store, waiting for another's lease to run out.
    ///
    /// # Errors
    /// Somebody else keeps renewing theirs.
    pub(crate) async fn take(database: &Database) -> Result<(), OpenError> {
        let give_up = tokio::time::Instant::now() + 2 * TERM;
        loop {
            let fence = database.write(|connection| Box::pin(try_take(connection))).await?;
            if let Some(fence) = fence {
                database.lease().fence.set(fence).ok();
                break;
            }
            if tokio::time::Instant::now() >= give_up {
                return Err(OpenError::Leased);
            }
            tokio::time::sleep(POLL).await;
        }
        if database.dialect() == Dialect::Postgres {
            tokio::spawn(renew(database.clone()));
        }
        Ok(())
    }

    /// Refuses to write for a process that does not have the store any more.
    pub(crate) async fn ensure_held(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let Some(fence) = self.fence.get() else { return Ok(()) };
        if self.lost.load(Ordering::Acquire) {
            return Err(StoreError::LeaseLost);
        }
        // Until this transaction ends nobody else can take the store.
        let found = match connection.dialect() {
            Dialect::Sqlite => query("SELECT fence FROM store_lease WHERE only_row = 1"),
            Dialect::Postgres => query("SELECT fence FROM store_lease WHERE only_row = 1 FOR SHARE"),
        };
        let found = found.fetch_optional(connection).await?;
        let found: Option<i64> = found.map(|row| row.get("fence")).transpose()?;
        if found == Some(*fence) {
            return Ok(());
        }
        self.lost.store(true, Ordering::Release);
        self.changed.notify_waiters();
        Err(StoreError::LeaseLost)
    }

    /// Returns once the store is another process's.
    pub(crate) async fn lost(&self) {
        loop {
            let changed = self.changed.notified();
            if self.lost.load(Ordering::Acquire) {
                return;
            }
            changed.await;
        }
    }

    /// Gives the store up, so that the next need not wait.
    pub(crate) async fn give_up(database: &Database) {
        let given = database
            .write(|connection| {
                Box::pin(async move {
                    query("UPDATE store_lease SET expires_at = 0 WHERE only_row = 1").execute(connection).await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await;
        if let Err(error) = given {
            tracing::debug!(%error, "the lease was not given up: it runs out by itself");
        }
    }
}

async fn try_take(connection: &mut Connection) -> Result<Option<i64>, StoreError> {
    let now = now(connection).await?;
    let row = match connection.dialect() {
        Dialect::Sqlite => query("SELECT fence, expires_at FROM store_lease WHERE only_row = 1"),
        Dialect::Postgres => query("SELECT fence, expires_at FROM store_lease WHERE only_row = 1 FOR UPDATE"),
    };
    let row = row.fetch_optional(connection).await?;
    let fence = match &row {
        None => 1,
        Some(row) => {
            let expires: i64 = row.get("expires_at")?;
            if connection.dialect() == Dialect::Postgres && expires > now {
                return Ok(None);
            }
            columns::count(row, "fence")?.cast_signed() + 1
        }
    };
    query(
        "INSERT INTO store_lease (only_row, fence, expires_at) VALUES (1, $1, $2)
         ON CONFLICT (only_row) DO UPDATE SET fence = excluded.fence, expires_at = excluded.expires_at",
    )
    .bind(fence)
    .bind(now.saturating_add(term_micros()))
    .execute(connection)
    .await?;
    Ok(Some(fence))
}

async fn renew(database: Database) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        let renewed = database
            .write(|connection| {
                Box::pin(async move {
                    let until = now(connection).await?.saturating_add(term_micros());
                    query("UPDATE store_lease SET expires_at = $1 WHERE only_row = 1")
                        .bind(until)
                        .execute(connection)
                        .await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await;
        match renewed {
            Ok(()) => {}
            Err(StoreError::LeaseLost | StoreError::Interrupted) => return,
            // The server may come back before the term is over; if it does not, the next write finds out.
            Err(error) => tracing::warn!(%error, "the lease on the national store was not renewed"),
        }
    }
}

/// The database's own clock, in microseconds: one clock for everybody who wants the store.
async fn now(connection: &mut Connection) -> Result<i64, StoreError> {
    let now = match connection.dialect() {
        Dialect::Sqlite => query("SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now"),
        Dialect::Postgres => query("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS now"),
    };
    now.fetch_one(connection).await?.get("now")
}

fn term_micros() -> i64 {
    i64::try_from(TERM.as_micros()).unwrap_or(i64::MAX)
}

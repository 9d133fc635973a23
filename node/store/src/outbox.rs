//! What goes to each partner: a queue of records to decide on, and the numbered changes that were released.
//!
//! A record is queued for a party whenever the answer may have changed. A pull takes pairs off the queue with
//! [`Outbox::pending`], decides each, and hands the decisions to [`Outbox::release`], which gives the numbers. Numbers are
//! dense for each party, and nothing that was never allowed gets one, so that a partner learns nothing from them.

pub(crate) mod queue;
mod release;
mod types;

use std::collections::BTreeSet;

use comity_core::{MemberId, RecordId, Timestamp};
use tokio::sync::watch;

pub use types::{Decided, Lag, Numbered, OutboxError, Queued, Receipt, ReleasedChange};

use crate::columns::{self, sql_int, sql_limit};
use crate::database::Database;
use crate::error::StoreError;

/// The outboxes of all partners.
#[derive(Debug, Clone)]
pub struct Outbox {
    database: Database,
}

impl Outbox {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Changes whenever something was queued for any party.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.database.watch_queued()
    }

    /// Queues one record for one party. A pair that waits already keeps its place, and a decision on it that is under way
    /// becomes void.
    ///
    /// # Errors
    /// The database failed.
    pub async fn enqueue(&self, party: MemberId, record: RecordId) -> Result<(), StoreError> {
        self.requeue_party(party, vec![record]).await
    }

    /// Queues records for a party.
    ///
    /// # Errors
    /// The database failed.
    pub async fn requeue_party(&self, party: MemberId, records: Vec<RecordId>) -> Result<(), StoreError> {
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    for record in records {
                        queue::enqueue(connection, party, record).await?;
                    }
                    Ok::<_, StoreError>(())
                })
            })
            .await?;
        self.database.notify_queued();
        Ok(())
    }

    /// Queues everything that is shared with a party or held by it: after a change of policy, roster or equivalences.
    /// Returns how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn requeue_everything(&self, party: MemberId) -> Result<u64, StoreError> {
        let count =
            self.database.write(move |connection| Box::pin(queue::enqueue_everything(connection, party))).await?;
        self.database.notify_queued();
        Ok(count)
    }

    /// What waits for a decision for a party, in the order queued.
    ///
    /// # Errors
    /// The database failed.
    pub async fn pending(&self, party: MemberId, limit: usize) -> Result<Vec<Queued>, StoreError> {
        let rows = sqlx::query("SELECT record, ticket FROM outbox_queue WHERE party = $1 ORDER BY position LIMIT $2")
            .bind(party.as_str().to_owned())
            .bind(sql_limit(limit))
            .fetch_all(&mut *self.database.read().await?)
            .await?;
        rows.iter()
            .map(|row| Ok(Queued { record: columns::parsed(row, "record")?, ticket: columns::count(row, "ticket")? }))
            .collect()
    }

    /// Carries out decisions in one transaction: takes the records off the queue and numbers what the party is to be told.
    ///
    /// A denied record that the party does not hold gets no number; one that it holds becomes a retraction; an upsert of
    /// what it holds already is dropped. A pair that was queued again since [`Outbox::pending`] stays queued, whatever
    /// was decided on it.
    ///
    /// # Errors
    /// The database failed; nothing is numbered then.
    pub async fn release(
        &self,
        party: MemberId,
        decisions: Vec<Decided>,
        at: Timestamp,
    ) -> Result<Vec<Numbered>, StoreError> {
        self.database.write(move |connection| Box::pin(release::release(connection, party, decisions, at))).await
    }

    /// What was numbered for a party after `number`, in order: to send again what a cut line may have lost. The caller
    /// decides on each once more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn released_after(
        &self,
        party: MemberId,
        number: u64,
        limit: usize,
    ) -> Result<Vec<Numbered>, StoreError> {
        release::released_after(&mut *self.database.read().await?, party, number, limit).await
    }

    /// Makes a numbered upsert, about to be sent again and now forbidden, a retraction under the same number. Whether the
    /// party stored the upsert is not known, so the record is queued: its next decision is told in any case.
    ///
    /// # Errors
    /// There is no such number, or the database failed.
    pub async fn rewrite_as_retraction(&self, party: MemberId, number: u64) -> Result<Numbered, OutboxError> {
        let rewritten = self
            .database
            .write(move |connection| Box::pin(release::rewrite_as_retraction(connection, party, number)))
            .await?;
        self.database.notify_queued();
        Ok(rewritten)
    }

    /// The last number that was given to a party; 0 before the first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_number(&self, party: MemberId) -> Result<u64, StoreError> {
        queue::last_number(&mut *self.database.read().await?, party).await
    }

    /// Keeps a party's signed receipt. It has been verified.
    ///
    /// # Errors
    /// It is for a number that was never given, or the database failed.
    pub async fn record_receipt(&self, party: MemberId, receipt: Receipt) -> Result<(), OutboxError> {
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    let last_number = queue::last_number(connection, party).await?;
                    if receipt.last_number == 0 || receipt.last_number > last_number {
                        return Err(OutboxError::NoSuchNumber { party, number: receipt.last_number, last_number });
                    }
                    sqlx::query(
                        "INSERT INTO outbox_receipt (party, last_number, root, envelope, at) VALUES ($1, $2, $3, $4, $5)
                         ON CONFLICT (party, last_number) DO UPDATE
                         SET root = excluded.root, envelope = excluded.envelope, at = excluded.at",
                    )
                    .bind(party.as_str().to_owned())
                    .bind(sql_int(receipt.last_number))
                    .bind(receipt.root.0.to_vec())
                    .bind(receipt.envelope)
                    .bind(receipt.at.as_micros())
                    .execute(connection)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// The receipts of a party for numbers after `number`, in order.
    ///
    /// # Errors
    /// The database failed.
    pub async fn receipts(&self, party: MemberId, number: u64, limit: usize) -> Result<Vec<Receipt>, StoreError> {
        let rows = sqlx::query(
            "SELECT last_number, root, envelope, at FROM outbox_receipt WHERE party = $1 AND last_number > $2
             ORDER BY last_number LIMIT $3",
        )
        .bind(party.as_str().to_owned())
        .bind(sql_int(number))
        .bind(sql_limit(limit))
        .fetch_all(&mut *self.database.read().await?)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(Receipt {
                    last_number: columns::count(row, "last_number")?,
                    root: columns::digest(row, "root")?,
                    envelope: columns::bytes(row, "envelope")?,
                    at: columns::instant(row, "at")?,
                })
            })
            .collect()
    }

    /// How far a party is behind.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lag(&self, party: MemberId) -> Result<Lag, StoreError> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM outbox_queue WHERE party = $1) AS queued,
                    (SELECT COALESCE(MAX(last_number), 0) FROM outbox_party WHERE party = $1) AS last_number,
                    (SELECT COALESCE(MAX(last_number), 0) FROM outbox_receipt WHERE party = $1) AS receipted",
        )
        .bind(party.as_str().to_owned())
        .fetch_one(&mut *self.database.read().await?)
        .await?;
        Ok(Lag {
            queued: columns::count(&row, "queued")?,
            last_number: columns::count(&row, "last_number")?,
            receipted: columns::count(&row, "receipted")?,
        })
    }

    /// Every party that a record was ever released to, retracted or not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ever_received(&self, record: RecordId) -> Result<BTreeSet<MemberId>, StoreError> {
        queue::ever_received(&mut *self.database.read().await?, record).await
    }
}

#[cfg(test)]
mod tests;

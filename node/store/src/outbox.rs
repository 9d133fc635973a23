//! What goes to each partner: a queue of records to decide on, and the numbered changes that were released.
//!
//! A record is queued for a party whenever the answer may have changed. A pull takes pairs off the queue with
//! [`Outbox::pending`], decides each, and hands the decisions to [`Outbox::release`], which gives the numbers. Numbers are
//! dense for each party, and nothing that was never allowed gets one, so that a partner learns nothing from them.

mod candidates;
pub(crate) mod queue;
mod release;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use comity_core::view::Views;
use comity_core::{MemberId, RecordId, Timestamp};
use tokio::sync::watch;

pub use types::{Candidate, Decided, Lag, Numbered, OutboxError, Receipt, ReleasedChange, Telling};

use crate::columns::{self, sql_int, sql_limit};
use crate::database::Database;
use crate::error::StoreError;
use crate::records::rows;
use crate::seal::Sealer;
use crate::sql::query;
use candidates::Markings;

/// The outboxes of all partners.
#[derive(Debug, Clone)]
pub struct Outbox {
    database: Database,
    sealer: Sealer,
    markings: Markings,
}

impl Outbox {
    pub(crate) fn new(database: Database, sealer: Sealer) -> Self {
        Self { database, sealer, markings: Markings::default() }
    }

    /// Changes whenever something was queued for any party.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.database.watch_queued()
    }

    /// Queues one record for one party. A decision on it that is under way becomes void.
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
            .write(move |connection| Box::pin(async move { queue::enqueue_all(connection, party, records).await }))
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

    /// Queues what was released until an instant that has come by now. Returns how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn requeue_ended(&self, now: Timestamp) -> Result<usize, StoreError> {
        let limit = sql_limit(usize::MAX);
        let ended =
            self.database.write(move |connection| Box::pin(queue::enqueue_ended(connection, now, limit))).await?;
        if ended > 0 {
            self.database.notify_queued();
        }
        Ok(ended)
    }

    /// When the next thing that was released ends.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_end(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = query("SELECT MIN(ends_at) AS next FROM outbox_item WHERE ends_at IS NOT NULL")
            .fetch_one(&mut self.database.read().await?)
            .await?;
        columns::instant_if_any(&row, "next")
    }

    /// What waits for a decision for a party, by the order of ids, from the one after `after` on: whoever goes on from the last one,
    /// and round again, comes to each in its turn, and finds what belongs to it side by side in every index.
    ///
    /// # Errors
    /// The database failed.
    pub async fn pending(
        &self,
        party: MemberId,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Candidate>, StoreError> {
        let connection = &mut self.database.read().await?;
        candidates::pending(connection, &self.markings, &self.sealer, party, after, limit).await
    }

    /// What a decision on records and a party would look at, whether or not they wait; records that are not this member's are left
    /// out.
    ///
    /// # Errors
    /// The database failed.
    pub async fn candidates(&self, party: MemberId, records: &[RecordId]) -> Result<Vec<Candidate>, StoreError> {
        candidates::of(&mut self.database.read().await?, &self.markings, &self.sealer, party, records, false).await
    }

    /// [`Outbox::candidates`], ready for [`Outbox::documents`].
    ///
    /// # Errors
    /// The database failed.
    pub async fn candidates_with_documents(
        &self,
        party: MemberId,
        records: &[RecordId],
    ) -> Result<Vec<Candidate>, StoreError> {
        let connection = &mut self.database.read().await?;
        candidates::of(connection, &self.markings, &self.sealer, party, records, true).await
    }

    /// The ids of records that are shared with a party or were ever released to it, in order, from the one after `after` on.
    ///
    /// # Errors
    /// The database failed.
    pub async fn concerned(
        &self,
        party: MemberId,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<RecordId>, StoreError> {
        let rows = query(
            "SELECT record FROM record_share WHERE party = $1 AND record > $2
             UNION SELECT record FROM outbox_item WHERE party = $1 AND record > $2 ORDER BY 1 LIMIT $3",
        )
        .bind(party.as_str())
        .bind(after.map(|id| id.to_string()).unwrap_or_default())
        .bind(sql_limit(limit))
        .fetch_all(&mut self.database.read().await?)
        .await?;
        rows.iter().map(|row| columns::parsed(row, "record")).collect()
    }

    /// The documents of the current versions of records.
    ///
    /// # Errors
    /// The database failed.
    pub async fn views(&self, records: &[RecordId]) -> Result<BTreeMap<RecordId, Views>, StoreError> {
        rows::current_views(&mut self.database.read().await?, &self.sealer, records).await
    }

    /// The documents of the version that a candidate is about; nothing if another has taken its place, or if they were destroyed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn documents(&self, candidate: &Candidate) -> Result<Option<Views>, StoreError> {
        let Candidate { record, version, sealed, .. } = candidate;
        let opened = sealed.as_ref().map(|s| rows::open_views(&self.sealer, *record, *version, &s.key, &s.views));
        if let Some(Ok(views)) = opened {
            return Ok(Some(views));
        }
        // They are large, or were sealed with another key when they were read.
        let mut views = self.views(&[*record]).await?;
        if let Some(views) = views.remove(record) {
            return Ok((views.version == *version).then_some(views));
        }
        let now = self.candidates(candidate.record.originator(), &[*record]).await?;
        match now.iter().any(|now| now.version == *version && !now.taken_back) {
            true => Err(StoreError::Corrupt { column: rows::VIEWS }),
            false => Ok(None),
        }
    }

    /// Those of these records that a party was ever told of.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ever_told(&self, party: MemberId, records: &[RecordId]) -> Result<BTreeSet<RecordId>, StoreError> {
        release::ever_told(&mut self.database.read().await?, party, records).await
    }

    /// Carries out decisions in one transaction: takes the records off the queue and numbers what the party is to be told.
    ///
    /// A denied record that the party does not hold gets no number; one that it holds becomes a retraction; an upsert of
    /// what it holds already is dropped. A pair that was queued again since [`Outbox::pending`] stays queued, whatever
    /// was decided on it; and so does what follows once `limit` numbers are given.
    ///
    /// # Errors
    /// The database failed; nothing is numbered then.
    pub async fn release(
        &self,
        party: MemberId,
        decisions: Vec<Decided>,
        limit: usize,
        at: Timestamp,
    ) -> Result<Vec<Numbered>, StoreError> {
        self.database.write(move |connection| Box::pin(release::release(connection, party, decisions, limit, at))).await
    }

    /// Takes records off the queue that a party is not to be told of, and never was: those that were not queued again since the ticket
    /// was drawn.
    ///
    /// # Errors
    /// The database failed.
    pub async fn dismiss(&self, party: MemberId, tickets: BTreeMap<RecordId, u64>) -> Result<(), StoreError> {
        let queued =
            self.database.write(move |connection| Box::pin(release::dismiss(connection, party, tickets))).await?;
        if queued > 0 {
            self.database.notify_queued();
        }
        Ok(())
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
        release::released_after(&mut self.database.read().await?, party, number, limit).await
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

    /// Takes up a party's numbers where the party has them, after a backup lost those that were given since: what it may hold by then
    /// is open, so all that concerns it is told anew.
    ///
    /// # Errors
    /// The database failed.
    pub async fn catch_up(&self, party: MemberId, number: u64) -> Result<(), StoreError> {
        self.database
            .write(move |connection| Box::pin(async move { queue::catch_up(connection, party, number).await }))
            .await?;
        self.database.notify_queued();
        Ok(())
    }

    /// The last number that was given to a party; 0 before the first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_number(&self, party: MemberId) -> Result<u64, StoreError> {
        queue::last_number(&mut self.database.read().await?, party).await
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
                    query(
                        "INSERT INTO outbox_receipt (party, last_number, root, envelope, at) VALUES ($1, $2, $3, $4, $5)
                         ON CONFLICT (party, last_number) DO UPDATE
                         SET root = excluded.root, envelope = excluded.envelope, at = excluded.at",
                    )
                    .bind(party.as_str())
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
        let rows = query(
            "SELECT last_number, root, envelope, at FROM outbox_receipt WHERE party = $1 AND last_number > $2
             ORDER BY last_number LIMIT $3",
        )
        .bind(party.as_str())
        .bind(sql_int(number))
        .bind(sql_limit(limit))
        .fetch_all(&mut self.database.read().await?)
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
        let mut connection = self.database.read().await?;
        let row = query(
            "SELECT (SELECT COUNT(*) FROM outbox_queue WHERE party = $1) AS queued,
                    (SELECT COALESCE(MAX(last_number), 0) FROM outbox_party WHERE party = $1) AS last_number",
        )
        .bind(party.as_str())
        .fetch_one(&mut connection)
        .await?;
        let receipt =
            query("SELECT last_number, at FROM outbox_receipt WHERE party = $1 ORDER BY last_number DESC LIMIT 1")
                .bind(party.as_str())
                .fetch_optional(&mut connection)
                .await?;
        Ok(Lag {
            queued: columns::count(&row, "queued")?,
            last_number: columns::count(&row, "last_number")?,
            receipted: receipt.as_ref().map_or(Ok(0), |row| columns::count(row, "last_number"))?,
            receipt_at: receipt.as_ref().map(|row| columns::instant(row, "at")).transpose()?,
        })
    }

    /// Every party that a record was ever released to, retracted or not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ever_received(&self, record: RecordId) -> Result<BTreeSet<MemberId>, StoreError> {
        queue::ever_received(&mut self.database.read().await?, record).await
    }
}

#[cfg(test)]
mod tests;

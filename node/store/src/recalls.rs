//! Recalls: those that this member made, and those that reached it.
//!
//! A recall reaches everybody to whom any version of the record ever went. It is kept for ever on both sides: here so that everybody
//! is told until they have answered, there so that what was destroyed is not taken in again.

pub(crate) mod received;
mod types;

use comity_core::document::Document;
use comity_core::recall::Answer;
use comity_core::{MemberId, RecordId, Timestamp};

pub use received::{CopyHold, ReceivedRecalls};
pub use types::{NewReceivedRecall, PartyAnswer, RecallError, ReceivedRecall, StoredRecall, TakenRecall, ToldRecall};

use crate::columns::{self, sql_int, sql_limit};
use crate::database::{Connection, Database};
use crate::error::StoreError;
use crate::outbox::queue;
use crate::records::{self, NewRecord, rows};
use crate::seal::Sealer;
use crate::sql::{Row, query};

/// Recalls that this member made.
#[derive(Debug, Clone)]
pub struct Recalls {
    database: Database,
    sealer: Sealer,
}

impl Recalls {
    pub(crate) fn new(database: Database, sealer: Sealer) -> Self {
        Self { database, sealer }
    }

    /// Recalls a record from everybody who ever received it, in one transaction: from then on nobody is given it, and each of them
    /// is to be told. The same recall again is no change.
    ///
    /// # Errors
    /// There is no such record, it was recalled before, nobody ever received it, or the database failed.
    pub async fn start(&self, recall: NewRecord) -> Result<StoredRecall, RecallError> {
        let sealer = self.sealer.clone();
        let started = self.database.write(move |c| Box::pin(async move { start(c, &sealer, recall).await })).await?;
        self.database.notify_queued();
        Ok(started)
    }

    /// One recall, by its own id or by that of the record.
    ///
    /// # Errors
    /// The database failed.
    pub async fn get(&self, id: RecordId) -> Result<Option<StoredRecall>, StoreError> {
        load(&mut self.database.read().await?, &self.sealer, id).await
    }

    /// Recalls, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, limit: usize) -> Result<Vec<StoredRecall>, StoreError> {
        let mut connection = self.database.read().await?;
        let rows = query("SELECT id FROM record WHERE kind = 'recall' ORDER BY position DESC LIMIT $1")
            .bind(sql_limit(limit))
            .fetch_all(&mut connection)
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.extend(load(&mut connection, &self.sealer, columns::parsed(row, "id")?).await?);
        }
        Ok(found)
    }

    /// What a party is to be told, from after a position of its own on; it is noted that it asked.
    ///
    /// # Errors
    /// The database failed.
    pub async fn tell(
        &self,
        party: MemberId,
        after: u64,
        limit: usize,
        at: Timestamp,
    ) -> Result<Vec<ToldRecall>, StoreError> {
        self.database.write(move |connection| Box::pin(tell(connection, party, after, limit, at))).await
    }

    /// The position of the last recall that a party has not answered; nothing where it has answered all.
    ///
    /// # Errors
    /// The database failed.
    pub async fn waits_for(&self, party: MemberId) -> Result<Option<u64>, StoreError> {
        let row =
            query("SELECT COALESCE(MAX(position), 0) AS last FROM recall_party WHERE party = $1 AND answer IS NULL")
                .bind(party.as_str())
                .fetch_one(&mut self.database.read().await?)
                .await?;
        Ok(Some(columns::count(&row, "last")?).filter(|last| *last > 0))
    }

    /// Keeps a party's answer, in the place of an earlier one. It has been verified.
    ///
    /// # Errors
    /// The party was not asked for it, or the database failed.
    pub async fn answered(
        &self,
        party: MemberId,
        recall: RecordId,
        answer: Answer,
        envelope: Vec<u8>,
        at: Timestamp,
    ) -> Result<(), RecallError> {
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    let changed = query(
                        "UPDATE recall_party SET answer = $3, envelope = $4, answered_at = $5
                         WHERE recall = $1 AND party = $2",
                    )
                    .bind(recall.to_string())
                    .bind(party.as_str())
                    .bind(answer.as_str())
                    .bind(envelope)
                    .bind(at.as_micros())
                    .execute(connection)
                    .await?;
                    if changed == 0 { Err(RecallError::NotAsked { recall, party }) } else { Ok(()) }
                })
            })
            .await
    }
}

async fn start(connection: &mut Connection, sealer: &Sealer, recall: NewRecord) -> Result<StoredRecall, RecallError> {
    let Document::Recall(document) = &recall.document else {
        return Err(RecallError::NotARecall { id: recall.id });
    };
    if let Some(found) = load(connection, sealer, recall.id).await? {
        return Ok(found);
    }
    let (id, about, at) = (recall.id, document.about, recall.at);
    let record = rows::require(connection, sealer, about).await?;
    if let Some(at) = record.recalled {
        return Err(records::RecordError::Recalled { id: about, at }.into());
    }
    let parties = queue::ever_received(connection, about).await?;
    if parties.is_empty() {
        return Err(RecallError::NobodyHasIt { record: about });
    }
    records::insert(connection, sealer, recall).await?;
    queue::enqueue_record(connection, about).await?;
    rows::delete_shares(connection, about).await?;
    rows::set_recalled(connection, about, at).await?;
    for party in parties {
        query(
            "INSERT INTO recall_party (recall, record, party, position)
             VALUES ($1, $2, $3, (SELECT COALESCE(MAX(position), 0) + 1 FROM recall_party WHERE party = $3))",
        )
        .bind(id.to_string())
        .bind(about.to_string())
        .bind(party.as_str())
        .execute(&mut *connection)
        .await?;
    }
    load(connection, sealer, id).await?.ok_or(RecallError::NotARecall { id })
}

async fn load(connection: &mut Connection, sealer: &Sealer, id: RecordId) -> Result<Option<StoredRecall>, StoreError> {
    let rows = query("SELECT * FROM recall_party WHERE recall = $1 OR record = $1 ORDER BY party LIMIT $2")
        .bind(id.to_string())
        .bind(sql_limit(usize::MAX))
        .fetch_all(&mut *connection)
        .await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let recall: RecordId = columns::parsed(first, "recall")?;
    let Some(own) = rows::load(connection, sealer, recall).await? else { return Ok(None) };
    let Document::Recall(document) = own.document else { return Err(StoreError::Corrupt { column: "document" }) };
    let parties = rows.iter().map(answer_of).collect::<Result<_, _>>()?;
    Ok(Some(StoredRecall {
        recall,
        record: document.about,
        reason: document.reason,
        marking: document.marking,
        author: own.author,
        started: own.created,
        parties,
    }))
}

fn answer_of(row: &Row) -> Result<PartyAnswer, StoreError> {
    Ok(PartyAnswer {
        party: columns::parsed(row, "party")?,
        fetched: columns::instant_if_any(row, "fetched_at")?,
        answer: columns::parsed_if_any(row, "answer")?,
        envelope: columns::bytes_if_any(row, "envelope")?,
        answered: columns::instant_if_any(row, "answered_at")?,
    })
}

async fn tell(
    connection: &mut Connection,
    party: MemberId,
    after: u64,
    limit: usize,
    at: Timestamp,
) -> Result<Vec<ToldRecall>, StoreError> {
    let rows = query(
        "SELECT p.position, p.recall, p.record, r.created_at FROM recall_party p JOIN record r ON r.id = p.recall
         WHERE p.party = $1 AND p.position > $2 ORDER BY p.position LIMIT $3",
    )
    .bind(party.as_str())
    .bind(sql_int(after))
    .bind(sql_limit(limit))
    .fetch_all(&mut *connection)
    .await?;
    let mut told = Vec::with_capacity(rows.len());
    for row in &rows {
        let recall: RecordId = columns::parsed(row, "recall")?;
        query("UPDATE recall_party SET fetched_at = $3 WHERE recall = $1 AND party = $2 AND fetched_at IS NULL")
            .bind(recall.to_string())
            .bind(party.as_str())
            .bind(at.as_micros())
            .execute(&mut *connection)
            .await?;
        told.push(ToldRecall {
            position: columns::count(row, "position")?,
            recall,
            record: columns::parsed(row, "record")?,
            started: columns::instant(row, "created_at")?,
        });
    }
    Ok(told)
}

#[cfg(test)]
mod tests;

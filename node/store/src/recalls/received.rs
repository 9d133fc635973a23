//! Recalls that reached this node.

use comity_core::recall::Answer;
use comity_core::{MemberId, RecordId, SpiffeId, Timestamp};

use super::types::{NewReceivedRecall, ReceivedRecall, TakenRecall};
use crate::columns::{self, sql_int, sql_limit};
use crate::database::{Connection, Database};
use crate::erasures::Erasures;
use crate::error::StoreError;
use crate::sql::{Row, query};

/// Recalls that reached this node, and what keeps copies from being destroyed.
#[derive(Debug, Clone)]
pub struct ReceivedRecalls {
    database: Database,
    erasures: Erasures,
}

/// Why a copy may not be given up on request, by whom two people decided so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyHold {
    /// The copy.
    pub record: RecordId,
    /// Why: goes into the answer to a recall.
    pub because: String,
    /// Who asked for it.
    pub author: SpiffeId,
    /// Who approved it.
    pub approver: SpiffeId,
    /// Since when.
    pub at: Timestamp,
}

impl ReceivedRecalls {
    pub(crate) fn new(database: Database, erasures: Erasures) -> Self {
        Self { database, erasures }
    }

    /// Where to go on with an originator's recalls.
    ///
    /// # Errors
    /// The database failed.
    pub async fn position(&self, origin: MemberId) -> Result<u64, StoreError> {
        let row = query("SELECT position FROM recall_source WHERE origin = $1")
            .bind(origin.as_str())
            .fetch_optional(&mut self.database.read().await?)
            .await?;
        row.map_or(Ok(0), |row| columns::count(&row, "position"))
    }

    /// Goes on from a position the next time.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_position(&self, origin: MemberId, position: u64) -> Result<(), StoreError> {
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    query(
                        "INSERT INTO recall_source (origin, position) VALUES ($1, $2)
                         ON CONFLICT (origin) DO UPDATE SET position = excluded.position",
                    )
                    .bind(origin.as_str())
                    .bind(sql_int(position))
                    .execute(connection)
                    .await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await
    }

    /// Carries out a recall and keeps its answer: where that is `destroyed`, the copy, its key and what proved it go, and are not
    /// on the disk any more when this returns. Again is no change, but for an answer that takes the place of another.
    ///
    /// # Errors
    /// The database or the list of erasures failed.
    pub async fn take(&self, new: NewReceivedRecall) -> Result<TakenRecall, StoreError> {
        let destroys = new.answer == Answer::Destroyed;
        if destroys {
            // INVARIANT: what is to be destroyed is known outside the database before it goes, so that a restored one loses it again.
            self.erasures.add(new.record).await?;
        }
        let taken = self.database.write(move |connection| Box::pin(take(connection, new))).await?;
        if destroys && taken == TakenRecall::Taken {
            self.database.forget_deleted().await?;
        }
        Ok(taken)
    }

    /// Answers that their originators have not had yet; for one originator.
    ///
    /// # Errors
    /// The database failed.
    pub async fn undelivered(&self, origin: MemberId, limit: usize) -> Result<Vec<ReceivedRecall>, StoreError> {
        let rows = query(
            "SELECT * FROM recall_received WHERE origin = $1 AND delivered_at IS NULL ORDER BY received_at, recall LIMIT $2",
        )
        .bind(origin.as_str())
        .bind(sql_limit(limit))
        .fetch_all(&mut self.database.read().await?)
        .await?;
        rows.iter().map(read).collect()
    }

    /// Notes that an originator has an answer, unless another took its place meanwhile.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delivered(&self, recall: RecordId, reply: Vec<u8>, at: Timestamp) -> Result<(), StoreError> {
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    query("UPDATE recall_received SET delivered_at = $3 WHERE recall = $1 AND reply = $2")
                        .bind(recall.to_string())
                        .bind(reply)
                        .bind(at.as_micros())
                        .execute(connection)
                        .await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await
    }

    /// Recalls that reached this node, newest first; of one record, or of all.
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, record: Option<RecordId>, limit: usize) -> Result<Vec<ReceivedRecall>, StoreError> {
        let rows = query(
            "SELECT * FROM recall_received WHERE ($1 = '' OR record = $1 OR recall = $1)
             ORDER BY received_at DESC, recall LIMIT $2",
        )
        .bind(record.map(|record| record.to_string()).unwrap_or_default())
        .bind(sql_limit(limit))
        .fetch_all(&mut self.database.read().await?)
        .await?;
        rows.iter().map(read).collect()
    }

    /// What keeps a copy from being destroyed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn hold(&self, record: RecordId) -> Result<Option<CopyHold>, StoreError> {
        hold(&mut self.database.read().await?, record).await
    }

    /// Keeps a copy from being destroyed, in the place of an earlier reason.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put_hold(&self, new: CopyHold) -> Result<(), StoreError> {
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    query(
                        "INSERT INTO copy_hold (record, because, author, approver, at) VALUES ($1, $2, $3, $4, $5)
                         ON CONFLICT (record) DO UPDATE SET because = excluded.because, author = excluded.author,
                             approver = excluded.approver, at = excluded.at",
                    )
                    .bind(new.record.to_string())
                    .bind(new.because)
                    .bind(new.author.to_string())
                    .bind(new.approver.to_string())
                    .bind(new.at.as_micros())
                    .execute(connection)
                    .await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await
    }

    /// Lets a copy be destroyed again: one that was taken back meanwhile is.
    ///
    /// # Errors
    /// The database failed.
    pub async fn lift_hold(&self, record: RecordId) -> Result<(), StoreError> {
        self.database
            .write(move |connection| {
                Box::pin(async move {
                    query("DELETE FROM copy_hold WHERE record = $1")
                        .bind(record.to_string())
                        .execute(&mut *connection)
                        .await?;
                    let row = query("SELECT retained FROM copy WHERE record = $1")
                        .bind(record.to_string())
                        .fetch_optional(&mut *connection)
                        .await?;
                    if row.map_or(Ok(0), |row| columns::count(&row, "retained"))? > 0 {
                        destroy(connection, record).await?;
                    }
                    Ok::<_, StoreError>(())
                })
            })
            .await
    }
}

async fn hold(connection: &mut Connection, record: RecordId) -> Result<Option<CopyHold>, StoreError> {
    let row =
        query("SELECT * FROM copy_hold WHERE record = $1").bind(record.to_string()).fetch_optional(connection).await?;
    row.map(|row| {
        Ok(CopyHold {
            record,
            because: columns::text(&row, "because")?,
            author: columns::parsed(&row, "author")?,
            approver: columns::parsed(&row, "approver")?,
            at: columns::instant(&row, "at")?,
        })
    })
    .transpose()
}

async fn take(connection: &mut Connection, new: NewReceivedRecall) -> Result<TakenRecall, StoreError> {
    let held = hold(connection, new.record).await?.is_some();
    if (new.answer == Answer::Destroyed && held) || (new.answer == Answer::Retained && !held) {
        return Ok(TakenRecall::Overtaken);
    }
    query(
        "INSERT INTO recall_received (recall, record, origin, envelope, received_at, answer, reply)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (recall) DO UPDATE SET answer = excluded.answer, reply = excluded.reply, delivered_at = NULL",
    )
    .bind(new.recall.to_string())
    .bind(new.record.to_string())
    .bind(new.origin.as_str())
    .bind(new.envelope)
    .bind(new.at.as_micros())
    .bind(new.answer.as_str())
    .bind(new.reply)
    .execute(&mut *connection)
    .await?;
    if new.answer == Answer::Destroyed {
        destroy(connection, new.record).await?;
    }
    Ok(TakenRecall::Taken)
}

/// Destroys what a database brings back that came from a backup.
pub(crate) async fn destroy_unless_held(connection: &mut Connection, record: RecordId) -> Result<(), StoreError> {
    match hold(connection, record).await? {
        Some(_) => Ok(()),
        None => destroy(connection, record).await,
    }
}

/// Deletes a copy, its key and its page, if nothing else stands on that.
async fn destroy(connection: &mut Connection, record: RecordId) -> Result<(), StoreError> {
    let row = query("SELECT origin, page FROM copy WHERE record = $1")
        .bind(record.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(()) };
    query("DELETE FROM copy WHERE record = $1").bind(record.to_string()).execute(&mut *connection).await?;
    query(
        "DELETE FROM copy_page WHERE origin = $1 AND first_number = $2
         AND NOT EXISTS (SELECT 1 FROM copy WHERE origin = $1 AND page = $2)",
    )
    .bind(columns::text(&row, "origin")?)
    .bind(row.get::<i64>("page")?)
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &Row) -> Result<ReceivedRecall, StoreError> {
    Ok(ReceivedRecall {
        recall: columns::parsed(row, "recall")?,
        record: columns::parsed(row, "record")?,
        origin: columns::parsed(row, "origin")?,
        received: columns::instant(row, "received_at")?,
        answer: columns::parsed(row, "answer")?,
        reply: columns::bytes(row, "reply")?,
        delivered: columns::instant_if_any(row, "delivered_at")?,
    })
}

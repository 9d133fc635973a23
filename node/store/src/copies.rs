//! What partners sent: for each record the last version that its originator released here, with the proof that it did.

use std::collections::BTreeSet;

use comity_core::canonical::Hex32;
use comity_core::view::{Change, PageItem, SealedItem};
use comity_core::{MemberId, RecordId, Timestamp};
use sqlx::sqlite::SqliteRow;

use crate::columns::{self, sql_int, sql_limit};
use crate::database::{Connection, Database};
use crate::error::StoreError;

/// The most copies that [`Copies::list`] returns: each may have a megabyte.
pub const LIST_MAX_ROWS: usize = 200;

/// Received copies.
#[derive(Debug, Clone)]
pub struct Copies {
    database: Database,
}

/// A verified page, to be stored.
#[derive(Debug, Clone)]
pub struct ReceivedPage {
    /// Who released it.
    pub from: MemberId,
    /// The DSSE envelope, as it came.
    pub envelope: Vec<u8>,
    /// Its items, in order.
    pub items: Vec<ReceivedItem>,
    /// Where to go on from.
    pub cursor: Vec<u8>,
    /// When it came.
    pub at: Timestamp,
}

/// One item of a page, and its place in the page's tree.
#[derive(Debug, Clone)]
pub struct ReceivedItem {
    /// As it was sent.
    pub sealed: SealedItem,
    /// What it says.
    pub item: PageItem,
    /// Its leaf in the page's tree.
    pub leaf_index: u64,
    /// The inclusion proof of that leaf.
    pub path: Vec<Hex32>,
}

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppliedPage {
    /// Items that were new.
    pub applied: usize,
    /// Items that were stored before.
    pub repeated: usize,
    /// The last number stored now.
    pub last_number: u64,
}

/// How far a partner's changes have come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The last number stored; 0 before the first.
    pub last_number: u64,
    /// The partner's opaque cursor; empty before the first page.
    pub cursor: Vec<u8>,
}

/// A copy of a partner's record. It proves its origin alone: the leaf of `sealed`, the path and the envelope's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCopy {
    /// Which record.
    pub record: RecordId,
    /// Whose it is.
    pub origin: MemberId,
    /// Order of first arrival: what [`Copies::list`] continues from.
    pub position: u64,
    /// What it says: an upsert.
    pub item: PageItem,
    /// As it was sent.
    pub sealed: SealedItem,
    /// Its leaf in the page's tree.
    pub leaf_index: u64,
    /// The inclusion proof of that leaf.
    pub path: Vec<Hex32>,
    /// The page's DSSE envelope.
    pub page_envelope: Vec<u8>,
    /// When this version came.
    pub received: Timestamp,
}

/// Why a page was not stored. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Numbers are missing between what is stored and the page, or inside the page.
    #[error("item {found} from {from}: expected {expected}: pull again from the stored cursor")]
    Gap {
        /// Who sent it.
        from: MemberId,
        /// The number that was to come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The item is about a record that the sender did not originate.
    #[error("item {number} from {from}: {record} is another's record")]
    ForeignRecord {
        /// Who sent it.
        from: MemberId,
        /// Which item.
        number: u64,
        /// Which record.
        record: RecordId,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CopyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Copies {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Stores a page and its cursor in one transaction. Upserts replace the copy whole, retractions destroy it. Numbers
    /// that are stored already are passed over; a page that brings nothing new leaves the cursor as it is.
    ///
    /// # Errors
    /// Numbers are missing, an item is about another's record, or the database failed.
    pub async fn apply_page(&self, page: ReceivedPage) -> Result<AppliedPage, CopyError> {
        self.database.write(move |connection| Box::pin(apply(connection, page))).await
    }

    /// Where to go on with a partner.
    ///
    /// # Errors
    /// The database failed.
    pub async fn progress(&self, from: MemberId) -> Result<Progress, StoreError> {
        progress(&mut *self.database.read().await?, from).await
    }

    /// The copy of one record.
    ///
    /// # Errors
    /// The database failed.
    pub async fn get(&self, record: RecordId) -> Result<Option<StoredCopy>, StoreError> {
        let row = sqlx::query(
            "SELECT c.record, c.origin, c.position, c.leaf_index, c.path, c.salt, c.item, p.envelope, p.received_at
             FROM copy c JOIN copy_page p ON p.origin = c.origin AND p.first_number = c.page WHERE c.record = $1",
        )
        .bind(record.to_string())
        .fetch_optional(&mut *self.database.read().await?)
        .await?;
        row.map(|row| read(&row)).transpose()
    }

    /// Copies, the latest first arrival first, from below position `before` on. At most [`LIST_MAX_ROWS`].
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(&self, before: Option<u64>, limit: usize) -> Result<Vec<StoredCopy>, StoreError> {
        let rows = sqlx::query(
            "SELECT c.record, c.origin, c.position, c.leaf_index, c.path, c.salt, c.item, p.envelope, p.received_at
             FROM copy c JOIN copy_page p ON p.origin = c.origin AND p.first_number = c.page
             WHERE c.position < $1 ORDER BY c.position DESC LIMIT $2",
        )
        .bind(before.map_or(i64::MAX, sql_int))
        .bind(sql_limit(limit.min(LIST_MAX_ROWS)))
        .fetch_all(&mut *self.database.read().await?)
        .await?;
        rows.iter().map(read).collect()
    }
}

async fn apply(connection: &mut Connection, page: ReceivedPage) -> Result<AppliedPage, CopyError> {
    let ReceivedPage { from, envelope, items, cursor, at } = page;
    let mut last_number = progress(connection, from).await?.last_number;
    let mut fresh = Vec::with_capacity(items.len());
    let mut repeated = 0;
    for received in items {
        let (number, record) = (received.item.number, received.item.record);
        if record.originator() != from {
            return Err(CopyError::ForeignRecord { from, number, record });
        }
        if fresh.is_empty() && number <= last_number {
            repeated += 1;
            continue;
        }
        if number != last_number + 1 {
            return Err(CopyError::Gap { from, expected: last_number + 1, found: number });
        }
        last_number = number;
        fresh.push(received);
    }
    let Some(first) = fresh.first().map(|received| received.item.number) else {
        if repeated == 0 {
            save_progress(connection, from, last_number, cursor, at).await?;
        }
        return Ok(AppliedPage { applied: 0, repeated, last_number });
    };
    save_progress(connection, from, last_number, cursor, at).await?;
    sqlx::query("INSERT INTO copy_page (origin, first_number, envelope, received_at) VALUES ($1, $2, $3, $4)")
        .bind(from.as_str().to_owned())
        .bind(sql_int(first))
        .bind(envelope)
        .bind(at.as_micros())
        .execute(&mut *connection)
        .await?;
    let applied = fresh.len();
    // Pages that may have lost their last copy; this one, if it brought nothing but retractions.
    let mut shaken = BTreeSet::from([first]);
    for received in fresh {
        shaken.extend(page_of(connection, received.item.record).await?);
        match received.item.change {
            Change::Upsert(_) => upsert(connection, from, first, received).await?,
            Change::Retract => {
                sqlx::query("DELETE FROM copy WHERE record = $1")
                    .bind(received.item.record.to_string())
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
    for page in shaken {
        sqlx::query(
            "DELETE FROM copy_page WHERE origin = $1 AND first_number = $2
             AND NOT EXISTS (SELECT 1 FROM copy WHERE origin = $1 AND page = $2)",
        )
        .bind(from.as_str().to_owned())
        .bind(sql_int(page))
        .execute(&mut *connection)
        .await?;
    }
    Ok(AppliedPage { applied, repeated, last_number })
}

async fn page_of(connection: &mut Connection, record: RecordId) -> Result<Option<u64>, StoreError> {
    let row = sqlx::query("SELECT page FROM copy WHERE record = $1")
        .bind(record.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(|row| columns::count(&row, "page")).transpose()
}

async fn upsert(
    connection: &mut Connection,
    from: MemberId,
    page: u64,
    received: ReceivedItem,
) -> Result<(), StoreError> {
    let path: Vec<u8> = received.path.iter().flat_map(|hash| hash.0).collect();
    sqlx::query(
        "INSERT INTO copy (record, position, origin, page, number, leaf_index, path, salt, item)
         VALUES ($1, (SELECT COALESCE(MAX(position), 0) + 1 FROM copy), $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (record) DO UPDATE SET page = excluded.page, number = excluded.number,
             leaf_index = excluded.leaf_index, path = excluded.path, salt = excluded.salt, item = excluded.item",
    )
    .bind(received.item.record.to_string())
    .bind(from.as_str().to_owned())
    .bind(sql_int(page))
    .bind(sql_int(received.item.number))
    .bind(sql_int(received.leaf_index))
    .bind(path)
    .bind(received.sealed.salt.0.to_vec())
    .bind(received.sealed.bytes)
    .execute(connection)
    .await?;
    Ok(())
}

async fn progress(connection: &mut Connection, from: MemberId) -> Result<Progress, StoreError> {
    let row = sqlx::query("SELECT last_number, page_cursor FROM copy_source WHERE origin = $1")
        .bind(from.as_str().to_owned())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(Progress { last_number: 0, cursor: Vec::new() }) };
    Ok(Progress { last_number: columns::count(&row, "last_number")?, cursor: columns::bytes(&row, "page_cursor")? })
}

async fn save_progress(
    connection: &mut Connection,
    from: MemberId,
    last_number: u64,
    cursor: Vec<u8>,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO copy_source (origin, last_number, page_cursor, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (origin) DO UPDATE SET last_number = excluded.last_number,
             page_cursor = excluded.page_cursor, updated_at = excluded.updated_at",
    )
    .bind(from.as_str().to_owned())
    .bind(sql_int(last_number))
    .bind(cursor)
    .bind(at.as_micros())
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &SqliteRow) -> Result<StoredCopy, StoreError> {
    let path = columns::bytes(row, "path")?;
    Ok(StoredCopy {
        record: columns::parsed(row, "record")?,
        origin: columns::parsed(row, "origin")?,
        position: columns::count(row, "position")?,
        item: columns::document(row, "item")?,
        sealed: SealedItem { salt: columns::digest(row, "salt")?, bytes: columns::bytes(row, "item")? },
        leaf_index: columns::count(row, "leaf_index")?,
        path: path.chunks(32).map(|hash| columns::digest_of(hash, "path")).collect::<Result<_, _>>()?,
        page_envelope: columns::bytes(row, "envelope")?,
        received: columns::instant(row, "received_at")?,
    })
}

#[cfg(test)]
#[path = "copies_tests.rs"]
mod tests;

//! What partners sent: for each record the last version that its originator released here, with the proof that it did.

use std::collections::{BTreeMap, BTreeSet};

use comity_core::canonical::Hex32;
use comity_core::view::{Change, PageItem, SealedItem};
use comity_core::{MemberId, RecordId, RecordKind, Timestamp};

use crate::columns::{self, sql_int, sql_limit};
use crate::database::{Connection, Database};
use crate::error::StoreError;
use crate::records::before;
use crate::seal::Sealer;
use crate::sql::{Row, Value, insert_rows, query, select_in};

/// The most copies that [`Copies::list`] returns: each may have a megabyte.
pub const LIST_MAX_ROWS: usize = 200;

const ITEM: &str = "item";

/// Received copies.
#[derive(Debug, Clone)]
pub struct Copies {
    database: Database,
    sealer: Sealer,
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

impl Copies {
    pub(crate) fn new(database: Database, sealer: Sealer) -> Self {
        Self { database, sealer }
    }

    /// Stores a page and its cursor in one transaction. Upserts replace the copy whole, retractions destroy it. Numbers
    /// that are stored already are passed over; a page that ends before what is here leaves the cursor as it is. What was destroyed on
    /// its originator's word is not taken in again.
    ///
    /// # Errors
    /// Numbers are missing, an item is about another's record, or the database failed.
    pub async fn apply_page(&self, page: ReceivedPage) -> Result<AppliedPage, CopyError> {
        let sealer = self.sealer.clone();
        self.database.write(move |connection| Box::pin(async move { apply(connection, &sealer, page).await })).await
    }

    /// Where to go on with a partner.
    ///
    /// # Errors
    /// The database failed.
    pub async fn progress(&self, from: MemberId) -> Result<Progress, StoreError> {
        progress(&mut self.database.read().await?, from).await
    }

    /// The copy of one record.
    ///
    /// # Errors
    /// The database failed.
    pub async fn get(&self, record: RecordId) -> Result<Option<StoredCopy>, StoreError> {
        let row = query(
            "SELECT c.record, c.origin, c.position, c.leaf_index, c.path, c.seal_key, c.item, p.envelope, p.received_at
             FROM copy c JOIN copy_page p ON p.origin = c.origin AND p.first_number = c.page WHERE c.record = $1 AND c.retained = 0",
        )
        .bind(record.to_string())
        .fetch_optional(&mut self.database.read().await?)
        .await?;
        row.map(|row| read(&row, &self.sealer)).transpose()
    }

    /// Copies of one kind or of all, the latest first arrival first, from below position `below` on. At most [`LIST_MAX_ROWS`].
    ///
    /// # Errors
    /// The database failed.
    pub async fn list(
        &self,
        kind: Option<RecordKind>,
        below: Option<u64>,
        limit: usize,
    ) -> Result<Vec<StoredCopy>, StoreError> {
        let kind = kind.map_or("", RecordKind::as_str);
        let rows = query(
            "SELECT c.record, c.origin, c.position, c.leaf_index, c.path, c.seal_key, c.item, p.envelope, p.received_at
             FROM copy c JOIN copy_page p ON p.origin = c.origin AND p.first_number = c.page
             WHERE c.position < $1 AND c.retained = 0 AND ($3 = '' OR c.kind = $3) ORDER BY c.position DESC LIMIT $2",
        )
        .bind(before(below))
        .bind(sql_limit(limit.min(LIST_MAX_ROWS)))
        .bind(kind)
        .fetch_all(&mut self.database.read().await?)
        .await?;
        rows.iter().map(|row| read(row, &self.sealer)).collect()
    }

    /// How many copies there are of each originator's records.
    ///
    /// # Errors
    /// The database failed.
    pub async fn counts(&self) -> Result<BTreeMap<MemberId, u64>, StoreError> {
        let rows = query("SELECT origin, COUNT(*) AS n FROM copy WHERE retained = 0 GROUP BY origin")
            .fetch_all(&mut self.database.read().await?)
            .await?;
        rows.iter().map(|row| Ok((columns::parsed(row, "origin")?, columns::count(row, "n")?))).collect()
    }
}

async fn apply(connection: &mut Connection, sealer: &Sealer, page: ReceivedPage) -> Result<AppliedPage, CopyError> {
    let ReceivedPage { from, envelope, items, cursor, at } = page;
    let mut last_number = progress(connection, from).await?.last_number;
    let mut fresh = Vec::with_capacity(items.len());
    let (mut repeated, mut repeated_to) = (0, 0);
    for received in items {
        let (number, record) = (received.item.number, received.item.record);
        if record.originator() != from {
            return Err(CopyError::ForeignRecord { from, number, record });
        }
        if fresh.is_empty() && number <= last_number {
            repeated += 1;
            repeated_to = number;
            continue;
        }
        if number != last_number + 1 {
            return Err(CopyError::Gap { from, expected: last_number + 1, found: number });
        }
        last_number = number;
        fresh.push(received);
    }
    let Some(first) = fresh.first().map(|received| received.item.number) else {
        // Whoever sends all of it anew has made its cursors anew.
        if repeated == 0 || repeated_to == last_number {
            save_progress(connection, from, last_number, cursor, at).await?;
        }
        return Ok(AppliedPage { applied: 0, repeated, last_number });
    };
    save_progress(connection, from, last_number, cursor, at).await?;
    query("INSERT INTO copy_page (origin, first_number, envelope, received_at) VALUES ($1, $2, $3, $4)")
        .bind(from.as_str())
        .bind(sql_int(first))
        .bind(envelope)
        .bind(at.as_micros())
        .execute(&mut *connection)
        .await?;
    let applied = fresh.len();
    // What a page says last of a record is what holds.
    let latest: BTreeMap<RecordId, ReceivedItem> = fresh.into_iter().map(|r| (r.item.record, r)).collect();
    let keys: Vec<String> = latest.keys().map(ToString::to_string).collect();
    // Pages that may have lost their last copy; this one, if it brought nothing but retractions.
    let mut shaken = BTreeSet::from([first]);
    let standing =
        select_in(connection, "SELECT record, page, position FROM copy WHERE record IN ", None, &keys, "").await?;
    let mut positions: BTreeMap<RecordId, i64> = BTreeMap::new();
    for row in &standing {
        shaken.insert(columns::count(row, "page")?);
        positions.insert(columns::parsed(row, "record")?, row.get("position")?);
    }
    let destroyed = select_in(
        connection,
        "SELECT record FROM recall_received WHERE answer = 'destroyed' AND record IN ",
        None,
        &keys,
        "",
    )
    .await?;
    let destroyed: BTreeSet<RecordId> =
        destroyed.iter().map(|row| columns::parsed(row, "record")).collect::<Result<_, _>>()?;
    let (mut upserts, mut gone) = (Vec::new(), Vec::new());
    let mut next = next_position(connection).await?;
    for (record, received) in latest {
        match received.item.change {
            Change::Upsert(_) if !destroyed.contains(&record) => {
                let position = *positions.entry(record).or_insert_with(|| {
                    next += 1;
                    next - 1
                });
                upserts.push(row(sealer, from, first, position, received)?);
            }
            // INVARIANT: what was destroyed on its originator's word is not taken in again, whoever sends it.
            Change::Upsert(_) | Change::Retract => gone.push(record.to_string()),
        }
    }
    // What may not be destroyed is kept, and shown to nobody from here on.
    let held = select_in(connection, "SELECT record FROM copy_hold WHERE record IN ", None, &gone, "").await?;
    let held: BTreeSet<String> = held.iter().map(|row| columns::text(row, "record")).collect::<Result<_, _>>()?;
    let (held, gone): (Vec<String>, Vec<String>) = gone.into_iter().partition(|record| held.contains(record));
    select_in(connection, "UPDATE copy SET retained = 1 WHERE record IN ", None, &held, "").await?;
    select_in(connection, "DELETE FROM copy WHERE record IN ", None, &gone, "").await?;
    insert_rows(
        connection,
        "INSERT INTO copy (record, position, kind, origin, page, number, leaf_index, path, seal_key, item)",
        " ON CONFLICT (record) DO UPDATE SET page = excluded.page, number = excluded.number,
             leaf_index = excluded.leaf_index, path = excluded.path, seal_key = excluded.seal_key, item = excluded.item, retained = 0",
        upserts,
    )
    .await?;
    for page in shaken {
        query(
            "DELETE FROM copy_page WHERE origin = $1 AND first_number = $2
             AND NOT EXISTS (SELECT 1 FROM copy WHERE origin = $1 AND page = $2)",
        )
        .bind(from.as_str())
        .bind(sql_int(page))
        .execute(&mut *connection)
        .await?;
    }
    Ok(AppliedPage { applied, repeated, last_number })
}

async fn next_position(connection: &mut Connection) -> Result<i64, StoreError> {
    let row = query("SELECT COALESCE(MAX(position), 0) + 1 AS next FROM copy").fetch_one(connection).await?;
    row.get("next")
}

/// A copy under a key of its own: each arrival has a fresh one, so that what it takes the place of is readable no more.
fn row(
    sealer: &Sealer,
    from: MemberId,
    page: u64,
    position: i64,
    received: ReceivedItem,
) -> Result<[Value; 10], StoreError> {
    let record = received.item.record;
    let (key, wrapped) = sealer.new_key(&record.to_string())?;
    let sealed = key.seal(ITEM, &[received.sealed.salt.0.as_slice(), &received.sealed.bytes].concat())?;
    let path: Vec<u8> = received.path.iter().flat_map(|hash| hash.0).collect();
    Ok([
        record.to_string().into(),
        position.into(),
        record.kind().as_str().into(),
        from.as_str().into(),
        sql_int(page).into(),
        sql_int(received.item.number).into(),
        sql_int(received.leaf_index).into(),
        path.into(),
        wrapped.into(),
        sealed.into(),
    ])
}

async fn progress(connection: &mut Connection, from: MemberId) -> Result<Progress, StoreError> {
    let row = query("SELECT last_number, page_cursor FROM copy_source WHERE origin = $1")
        .bind(from.as_str())
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
    query(
        "INSERT INTO copy_source (origin, last_number, page_cursor, updated_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (origin) DO UPDATE SET last_number = excluded.last_number,
             page_cursor = excluded.page_cursor, updated_at = excluded.updated_at",
    )
    .bind(from.as_str())
    .bind(sql_int(last_number))
    .bind(cursor)
    .bind(at.as_micros())
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &Row, sealer: &Sealer) -> Result<StoredCopy, StoreError> {
    let record: RecordId = columns::parsed(row, "record")?;
    let key = sealer.key(&record.to_string(), &columns::bytes(row, "seal_key")?)?;
    let opened = key.open(ITEM, &columns::bytes(row, ITEM)?)?;
    let (salt, bytes) = opened.split_first_chunk::<32>().ok_or(StoreError::Corrupt { column: ITEM })?;
    let path = columns::bytes(row, "path")?;
    Ok(StoredCopy {
        record,
        origin: columns::parsed(row, "origin")?,
        position: columns::count(row, "position")?,
        item: columns::document(bytes, ITEM)?,
        sealed: SealedItem { salt: Hex32(*salt), bytes: bytes.to_vec() },
        leaf_index: columns::count(row, "leaf_index")?,
        path: path.chunks(32).map(|hash| columns::digest_of(hash, "path")).collect::<Result<_, _>>()?,
        page_envelope: columns::bytes(row, "envelope")?,
        received: columns::instant(row, "received_at")?,
    })
}

#[cfg(test)]
#[path = "copies_tests.rs"]
pub(crate) mod tests;

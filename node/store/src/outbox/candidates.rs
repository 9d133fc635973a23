//! Reading what a decision needs to know, for many records at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use comity_core::document::LinkTarget;
use comity_core::{Marking, MemberId, RecordId};

use super::types::{Candidate, SealedDocuments};
use crate::columns::{self, sql_limit};
use crate::database::Connection;
use crate::error::StoreError;
use crate::records::rows::{VIEWS, share_of};
use crate::seal::Sealer;
use crate::sql::{Row, query, select_in};

/// The most markings that are kept in memory; beyond it they are read again.
const MARKINGS_MAX: usize = 10_000;

/// Markings by their number in the database. A number never comes to mean another marking.
#[derive(Debug, Clone, Default)]
pub(super) struct Markings {
    known: Arc<Mutex<BTreeMap<i64, Arc<Marking>>>>,
}

impl Markings {
    async fn get(&self, connection: &mut Connection, id: i64) -> Result<Arc<Marking>, StoreError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(marking) = known {
            return Ok(marking);
        }
        let row = query("SELECT text FROM marking WHERE id = $1").bind(id).fetch_one(connection).await?;
        let marking = Arc::new(columns::document(columns::text(&row, "text")?.as_bytes(), "text")?);
        let mut markings = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if markings.len() >= MARKINGS_MAX {
            markings.clear();
        }
        markings.insert(id, Arc::clone(&marking));
        Ok(marking)
    }
}

/// What a decision looks at, of a record `r` that may be shared on the terms `s`. The documents come as NULL where nobody asked
/// for them, and where they are larger than 16 KiB: such are read one by one, while a page has room.
macro_rules! select {
    ($ticket:literal, $views:literal, $from:literal) => {
        concat!(
            "SELECT ",
            $ticket,
            " AS ticket, r.id, r.version, r.written_at, r.marking, r.about, r.state, r.recalled_at, r.seal_key,
                 s.party AS shared, s.ends_at, s.onward, s.purpose,
                 (SELECT COUNT(*) FROM record_link l WHERE l.record = r.id) AS links, ",
            $views,
            " AS views FROM ",
            $from
        )
    };
}

/// What waits for a party, by the order of ids, with its documents.
pub(super) async fn pending(
    connection: &mut Connection,
    markings: &Markings,
    sealer: &Sealer,
    party: MemberId,
    after: Option<RecordId>,
    limit: usize,
) -> Result<Vec<Candidate>, StoreError> {
    let rows = query(select!(
        "q.ticket",
        "CASE WHEN LENGTH(v.views) <= 16384 THEN v.views END",
        "outbox_queue q JOIN record r ON r.id = q.record
         LEFT JOIN record_version v ON v.record = r.id AND v.version = r.version
         LEFT JOIN record_share s ON s.record = q.record AND s.party = q.party
         WHERE q.party = $1 AND q.record > $2 ORDER BY q.record LIMIT $3"
    ))
    .bind(party.as_str())
    .bind(after.map(|record| record.to_string()).unwrap_or_default())
    .bind(sql_limit(limit))
    .fetch_all(&mut *connection)
    .await?;
    read_all(connection, markings, sealer, &rows).await
}

/// Records by id, whether or not they wait, and their documents where they are asked for; those that are not there are left out.
pub(super) async fn of(
    connection: &mut Connection,
    markings: &Markings,
    sealer: &Sealer,
    party: MemberId,
    records: &[RecordId],
    documents: bool,
) -> Result<Vec<Candidate>, StoreError> {
    let keys: Vec<String> = records.iter().map(ToString::to_string).collect();
    let select = match documents {
        true => select!(
            "CAST(0 AS BIGINT)",
            "CASE WHEN LENGTH(v.views) <= 16384 THEN v.views END",
            "record r LEFT JOIN record_version v ON v.record = r.id AND v.version = r.version
             LEFT JOIN record_share s ON s.record = r.id AND s.party = $1 WHERE r.id IN "
        ),
        false => select!(
            "CAST(0 AS BIGINT)",
            "NULLIF(r.seal_key, r.seal_key)",
            "record r LEFT JOIN record_share s ON s.record = r.id AND s.party = $1 WHERE r.id IN "
        ),
    };
    let rows = select_in(connection, select, Some(party.as_str().into()), &keys, "").await?;
    read_all(connection, markings, sealer, &rows).await
}

async fn read_all(
    connection: &mut Connection,
    markings: &Markings,
    sealer: &Sealer,
    rows: &[Row],
) -> Result<Vec<Candidate>, StoreError> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        let record: RecordId = columns::parsed(row, "id")?;
        let marking = markings.get(connection, row.get("marking")?).await?;
        let share = match columns::text_if_any(row, "shared")? {
            None => None,
            Some(_) => Some(share_of(row, || sealer.key(&record.to_string(), &columns::bytes(row, "seal_key")?))?),
        };
        let links = match columns::count(row, "links")? {
            0 => Vec::new(),
            _ => links(connection, record).await?,
        };
        let sealed = match columns::bytes_if_any(row, VIEWS)? {
            Some(views) => Some(SealedDocuments { key: columns::bytes(row, "seal_key")?, views }),
            None => None,
        };
        let recalled = columns::instant_if_any(row, "recalled_at")?.is_some();
        found.push(Candidate {
            record,
            ticket: columns::count(row, "ticket")?,
            version: columns::parsed(row, "version")?,
            written: columns::instant(row, "written_at")?,
            marking,
            about: columns::parsed_if_any(row, "about")?,
            taken_back: recalled || columns::text(row, "state")? == "withdrawn",
            share,
            links,
            sealed,
        });
    }
    Ok(found)
}

async fn links(connection: &mut Connection, record: RecordId) -> Result<Vec<LinkTarget>, StoreError> {
    let rows = query("SELECT target FROM record_link WHERE record = $1 ORDER BY target")
        .bind(record.to_string())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| columns::parsed(row, "target")).collect()
}

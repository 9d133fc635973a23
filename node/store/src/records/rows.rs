//! The SQL of records.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use comity_core::canonical::{self, Hex32};
use comity_core::document::Document;
use comity_core::view::Views;
use comity_core::{MemberId, RecordId, SpiffeId, Timestamp, VersionId};

use super::types::{NewRecord, Onward, RecordError, RecordState, Revision, StoredRecord, StoredShare, VersionInfo};
use crate::columns::{self, sql_int, sql_limit};
use crate::database::Connection;
use crate::error::StoreError;
use crate::seal::{RecordKey, Sealer};
use crate::sql::{Row, Value, insert_rows, query, select_in};

const DOCUMENT: &str = "document";
pub(crate) const VIEWS: &str = "views";
const PURPOSE: &str = "purpose";

/// A record and its first version.
pub(super) async fn insert(
    connection: &mut Connection,
    sealer: &Sealer,
    new: NewRecord,
    marking: i64,
    position: i64,
) -> Result<(), StoreError> {
    let NewRecord { id, version, document, author, at, salts, request_id } = new;
    let (key, wrapped) = sealer.new_key(&id.to_string())?;
    query(
        "INSERT INTO record (id, position, kind, state, version, marking, about, author, request_id, seal_key,
             written_at, created_at, updated_at)
         VALUES ($1, $2, $3, 'draft', $4, $5, $6, $7, $8, $9, $10, $10, $10)",
    )
    .bind(id.to_string())
    .bind(position)
    .bind(id.kind().as_str())
    .bind(version.to_string())
    .bind(marking)
    .bind(document.about().map(|about| about.to_string()))
    .bind(author.to_string())
    .bind(request_id)
    .bind(wrapped)
    .bind(at.as_micros())
    .execute(&mut *connection)
    .await?;
    insert_version(connection, &key, id, 1, &Revision { version, document, author, at, salts }).await
}

pub(super) async fn insert_version(
    connection: &mut Connection,
    key: &RecordKey,
    id: RecordId,
    ordinal: u64,
    revision: &Revision,
) -> Result<(), StoreError> {
    let views = Views::of(id, revision.version, &revision.document, revision.salts);
    query(
        "INSERT INTO record_version (record, version, ordinal, document, views, author, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(id.to_string())
    .bind(revision.version.to_string())
    .bind(sql_int(ordinal))
    .bind(key.seal(DOCUMENT, &revision.document.to_json())?)
    .bind(key.seal(VIEWS, &pack(&views))?)
    .bind(revision.author.to_string())
    .bind(revision.at.as_micros())
    .execute(&mut *connection)
    .await?;
    query("DELETE FROM record_link WHERE record = $1").bind(id.to_string()).execute(&mut *connection).await?;
    let mut links: Vec<String> = revision.document.links().iter().map(ToString::to_string).collect();
    links.sort();
    links.dedup();
    let rows = links.into_iter().map(|target| [Value::from(id.to_string()), target.into()]).collect();
    insert_rows(connection, "INSERT INTO record_link (record, target)", "", rows).await
}

/// The number of a marking, which is given at its first use.
pub(super) async fn intern(connection: &mut Connection, document: &Document) -> Result<i64, StoreError> {
    // INVARIANT: what `to_vec` writes is UTF-8.
    let text = String::from_utf8_lossy(&canonical::to_vec(document.marking())).into_owned();
    let found =
        query("SELECT id FROM marking WHERE text = $1").bind(text.as_str()).fetch_optional(&mut *connection).await?;
    if let Some(row) = found {
        return row.get("id");
    }
    let row = query(
        "INSERT INTO marking (id, text) VALUES ((SELECT COALESCE(MAX(id), 0) + 1 FROM marking), $1) RETURNING id",
    )
    .bind(text)
    .fetch_one(connection)
    .await?;
    row.get("id")
}

pub(super) async fn next_position(connection: &mut Connection) -> Result<i64, StoreError> {
    let row = query("SELECT COALESCE(MAX(position), 0) + 1 AS next FROM record").fetch_one(connection).await?;
    row.get("next")
}

pub(super) async fn set_version(
    connection: &mut Connection,
    id: RecordId,
    revision: &Revision,
    marking: i64,
) -> Result<(), StoreError> {
    query(
        "UPDATE record SET version = $2, marking = $3, about = $4, written_at = $5, updated_at = $5, state = 'draft'
         WHERE id = $1",
    )
    .bind(id.to_string())
    .bind(revision.version.to_string())
    .bind(marking)
    .bind(revision.document.about().map(|about| about.to_string()))
    .bind(revision.at.as_micros())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_state(
    connection: &mut Connection,
    id: RecordId,
    state: RecordState,
    at: Timestamp,
) -> Result<(), StoreError> {
    query("UPDATE record SET state = $2, updated_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(state.as_str())
        .bind(at.as_micros())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn set_tabled(
    connection: &mut Connection,
    id: RecordId,
    ballot: Hex32,
    at: Timestamp,
) -> Result<(), StoreError> {
    query("UPDATE record SET state = 'tabled', ballot = $2, updated_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(ballot.0.to_vec())
        .bind(at.as_micros())
        .execute(connection)
        .await?;
    Ok(())
}

pub(crate) async fn set_recalled(connection: &mut Connection, id: RecordId, at: Timestamp) -> Result<(), StoreError> {
    query("UPDATE record SET recalled_at = $2, updated_at = $2 WHERE id = $1")
        .bind(id.to_string())
        .bind(at.as_micros())
        .execute(connection)
        .await?;
    Ok(())
}

/// Shows a record to a party on new terms, whatever the terms were.
pub(super) async fn put_share(
    connection: &mut Connection,
    key: &RecordKey,
    id: RecordId,
    party: MemberId,
    share: &StoredShare,
    at: Timestamp,
) -> Result<(), StoreError> {
    let purpose = share.onward.as_ref().map(|onward| key.seal(PURPOSE, onward.purpose.as_bytes())).transpose()?;
    query(
        "INSERT INTO record_share (record, party, at, ends_at, onward, purpose) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (record, party) DO UPDATE
         SET at = excluded.at, ends_at = excluded.ends_at, onward = excluded.onward, purpose = excluded.purpose",
    )
    .bind(id.to_string())
    .bind(party.as_str())
    .bind(at.as_micros())
    .bind(share.until.map(Timestamp::as_micros))
    .bind(share.onward.as_ref().map(|onward| onward.grant.to_string()))
    .bind(purpose)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes back every decision to show it.
pub(crate) async fn delete_shares(connection: &mut Connection, id: RecordId) -> Result<(), StoreError> {
    query("DELETE FROM record_share WHERE record = $1").bind(id.to_string()).execute(connection).await?;
    Ok(())
}

pub(super) async fn position(connection: &mut Connection, id: RecordId) -> Result<Option<i64>, StoreError> {
    let row =
        query("SELECT position FROM record WHERE id = $1").bind(id.to_string()).fetch_optional(connection).await?;
    row.map(|row| row.get("position")).transpose()
}

pub(crate) async fn require(
    connection: &mut Connection,
    sealer: &Sealer,
    id: RecordId,
) -> Result<StoredRecord, RecordError> {
    load(connection, sealer, id).await?.ok_or(RecordError::NotFound { id })
}

pub(crate) async fn load(
    connection: &mut Connection,
    sealer: &Sealer,
    id: RecordId,
) -> Result<Option<StoredRecord>, StoreError> {
    Ok(load_all(connection, sealer, &[id]).await?.pop())
}

/// Records in the order asked for; those that are not there are left out.
pub(super) async fn load_all(
    connection: &mut Connection,
    sealer: &Sealer,
    ids: &[RecordId],
) -> Result<Vec<StoredRecord>, StoreError> {
    let keys: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = select_in(
        connection,
        "SELECT r.id, r.position, r.state, r.version, r.author, r.seal_key, r.written_at, r.created_at, r.updated_at, r.ballot,
             r.recalled_at, v.ordinal, v.document
         FROM record r JOIN record_version v ON v.record = r.id AND v.version = r.version WHERE r.id IN ",
        None,
        &keys,
        "",
    )
    .await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        let id: RecordId = columns::parsed(row, "id")?;
        let key = sealer.key(&id.to_string(), &columns::bytes(row, "seal_key")?)?;
        let shares = shares(connection, &key, id).await?;
        found.insert(id, read(row, id, &key, shares)?);
    }
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

fn read(
    row: &Row,
    id: RecordId,
    key: &RecordKey,
    shares: BTreeMap<MemberId, StoredShare>,
) -> Result<StoredRecord, StoreError> {
    Ok(StoredRecord {
        id,
        position: columns::count(row, "position")?,
        state: columns::parsed(row, "state")?,
        version: columns::parsed(row, "version")?,
        ordinal: columns::count(row, "ordinal")?,
        written: columns::instant(row, "written_at")?,
        document: document_of(row, id, key)?,
        author: columns::parsed(row, "author")?,
        created: columns::instant(row, "created_at")?,
        updated: columns::instant(row, "updated_at")?,
        shares,
        ballot: columns::digest_if_any(row, "ballot")?,
        recalled: columns::instant_if_any(row, "recalled_at")?,
    })
}

fn document_of(row: &Row, id: RecordId, key: &RecordKey) -> Result<Document, StoreError> {
    let document = key.open(DOCUMENT, &columns::bytes(row, DOCUMENT)?)?;
    Document::from_json(id.kind(), &document).map_err(|_| StoreError::Corrupt { column: DOCUMENT })
}

async fn shares(
    connection: &mut Connection,
    key: &RecordKey,
    id: RecordId,
) -> Result<BTreeMap<MemberId, StoredShare>, StoreError> {
    let rows = query("SELECT party, ends_at, onward, purpose FROM record_share WHERE record = $1")
        .bind(id.to_string())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((columns::parsed(row, "party")?, share_of(row, || Ok(key))?))).collect()
}

/// A share from the columns `ends_at`, `onward` and `purpose`.
pub(crate) fn share_of<K: Borrow<RecordKey>>(
    row: &Row,
    key: impl FnOnce() -> Result<K, StoreError>,
) -> Result<StoredShare, StoreError> {
    let onward = match (columns::parsed_if_any(row, "onward")?, columns::bytes_if_any(row, PURPOSE)?) {
        (Some(grant), Some(purpose)) => {
            let purpose = String::from_utf8(key()?.borrow().open(PURPOSE, &purpose)?);
            Some(Onward { grant, purpose: purpose.map_err(|_| StoreError::Corrupt { column: PURPOSE })? })
        }
        _ => None,
    };
    Ok(StoredShare { until: columns::instant_if_any(row, "ends_at")?, onward })
}

pub(super) async fn key_of(
    connection: &mut Connection,
    sealer: &Sealer,
    id: RecordId,
) -> Result<Option<RecordKey>, StoreError> {
    let row =
        query("SELECT seal_key FROM record WHERE id = $1").bind(id.to_string()).fetch_optional(connection).await?;
    row.map(|row| sealer.key(&id.to_string(), &columns::bytes(&row, "seal_key")?)).transpose()
}

/// The documents of current versions, by record.
pub(crate) async fn current_views(
    connection: &mut Connection,
    sealer: &Sealer,
    records: &[RecordId],
) -> Result<BTreeMap<RecordId, Views>, StoreError> {
    let keys: Vec<String> = records.iter().map(ToString::to_string).collect();
    let rows = select_in(
        connection,
        "SELECT r.id, r.version, r.seal_key, v.views FROM record r
         JOIN record_version v ON v.record = r.id AND v.version = r.version WHERE r.id IN ",
        None,
        &keys,
        "",
    )
    .await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        let id: RecordId = columns::parsed(row, "id")?;
        let (key, views) = (columns::bytes(row, "seal_key")?, columns::bytes(row, VIEWS)?);
        found.insert(id, open_views(sealer, id, columns::parsed(row, "version")?, &key, &views)?);
    }
    Ok(found)
}

/// Opens the documents of a version of a record.
pub(crate) fn open_views(
    sealer: &Sealer,
    id: RecordId,
    version: VersionId,
    key: &[u8],
    sealed: &[u8],
) -> Result<Views, StoreError> {
    let views = sealer.key(&id.to_string(), key)?.open(VIEWS, sealed)?;
    unpack(id, version, &views).ok_or(StoreError::Corrupt { column: VIEWS })
}

pub(super) async fn document(
    connection: &mut Connection,
    sealer: &Sealer,
    id: RecordId,
    version: VersionId,
) -> Result<Option<Document>, StoreError> {
    let Some(key) = key_of(connection, sealer, id).await? else { return Ok(None) };
    let row = query("SELECT document FROM record_version WHERE record = $1 AND version = $2")
        .bind(id.to_string())
        .bind(version.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(|row| document_of(&row, id, &key)).transpose()
}

pub(super) async fn versions(connection: &mut Connection, id: RecordId) -> Result<Vec<VersionInfo>, StoreError> {
    let rows =
        query("SELECT version, ordinal, author, at FROM record_version WHERE record = $1 ORDER BY ordinal LIMIT $2")
            .bind(id.to_string())
            .bind(sql_limit(usize::MAX))
            .fetch_all(connection)
            .await?;
    let read = |row: &Row| {
        Ok(VersionInfo {
            version: columns::parsed(row, "version")?,
            ordinal: columns::count(row, "ordinal")?,
            author: columns::parsed(row, "author")?,
            at: columns::instant(row, "at")?,
        })
    };
    rows.iter().map(read).collect()
}

/// The author's first record under a request id.
pub(super) async fn first_of_request(
    connection: &mut Connection,
    sealer: &Sealer,
    author: &SpiffeId,
    request_id: &str,
) -> Result<Option<(RecordId, Document)>, StoreError> {
    let row = query(
        "SELECT r.id, v.version FROM record r JOIN record_version v ON v.record = r.id AND v.ordinal = 1
         WHERE r.author = $1 AND r.request_id = $2",
    )
    .bind(author.to_string())
    .bind(request_id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let id = columns::parsed(&row, "id")?;
    let document = document(connection, sealer, id, columns::parsed(&row, "version")?).await?;
    Ok(document.map(|document| (id, document)))
}

/// Salts, length of the read document, read document, sources document.
fn pack(views: &Views) -> Vec<u8> {
    let length = u32::try_from(views.read.len()).unwrap_or(u32::MAX);
    [&views.read_salt.0, &views.read_sources_salt.0, length.to_be_bytes().as_slice(), &views.read, &views.read_sources]
        .concat()
}

fn unpack(record: RecordId, version: VersionId, packed: &[u8]) -> Option<Views> {
    let (read_salt, rest) = packed.split_first_chunk::<32>()?;
    let (read_sources_salt, rest) = rest.split_first_chunk::<32>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (read, read_sources) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some(Views {
        record,
        version,
        read: read.to_vec(),
        read_salt: Hex32(*read_salt),
        read_sources: read_sources.to_vec(),
        read_sources_salt: Hex32(*read_sources_salt),
    })
}

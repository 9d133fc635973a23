//! The SQL of proposals.

use std::collections::BTreeSet;

use comity_core::canonical::{self, Hex32};
use comity_core::proposal::Proposal;
use comity_core::release::RecordHeader;
use comity_core::view::{DiscoverView, Views};
use comity_core::{MemberId, RecordId, SpiffeId, Timestamp, VersionId};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::types::{ProposalError, ProposalState, Revision, StoredProposal, VersionInfo};
use crate::columns::{self, sql_int, sql_limit};
use crate::database::Connection;
use crate::error::StoreError;

pub(super) async fn insert(
    connection: &mut Connection,
    id: RecordId,
    version: VersionId,
    author: &SpiffeId,
    request_id: Option<String>,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO proposal (id, position, state, version, author, request_id, created_at, updated_at)
         VALUES ($1, (SELECT COALESCE(MAX(position), 0) + 1 FROM proposal), 'draft', $2, $3, $4, $5, $5)",
    )
    .bind(id.to_string())
    .bind(version.to_string())
    .bind(author.to_string())
    .bind(request_id)
    .bind(at.as_micros())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn insert_version(
    connection: &mut Connection,
    id: RecordId,
    ordinal: u64,
    revision: &Revision,
) -> Result<(), StoreError> {
    let views = Views::of(id, revision.version, &revision.proposal, revision.salts);
    sqlx::query(
        "INSERT INTO proposal_version (record, version, ordinal, document, discover, read_view, read_salt,
             read_sources, read_sources_salt, author, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(id.to_string())
    .bind(revision.version.to_string())
    .bind(sql_int(ordinal))
    .bind(canonical::to_vec(&revision.proposal))
    .bind(views.discover)
    .bind(views.read)
    .bind(views.read_salt.0.to_vec())
    .bind(views.read_sources)
    .bind(views.read_sources_salt.0.to_vec())
    .bind(revision.author.to_string())
    .bind(revision.at.as_micros())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn set_version(
    connection: &mut Connection,
    id: RecordId,
    version: VersionId,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE proposal SET version = $2, updated_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(version.to_string())
        .bind(at.as_micros())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn set_state(
    connection: &mut Connection,
    id: RecordId,
    state: ProposalState,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE proposal SET state = $2, updated_at = $3 WHERE id = $1")
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
    sqlx::query("UPDATE proposal SET state = 'tabled', ballot = $2, updated_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(ballot.0.to_vec())
        .bind(at.as_micros())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn insert_share(
    connection: &mut Connection,
    id: RecordId,
    party: MemberId,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO proposal_share (record, party, at) VALUES ($1, $2, $3) ON CONFLICT (record, party) DO NOTHING",
    )
    .bind(id.to_string())
    .bind(party.as_str().to_owned())
    .bind(at.as_micros())
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes back every decision to show it.
pub(super) async fn delete_shares(connection: &mut Connection, id: RecordId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM proposal_share WHERE record = $1").bind(id.to_string()).execute(connection).await?;
    Ok(())
}

pub(super) async fn position(connection: &mut Connection, id: RecordId) -> Result<Option<i64>, StoreError> {
    let row = sqlx::query("SELECT position FROM proposal WHERE id = $1")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|row| row.try_get("position")).transpose()?)
}

pub(super) async fn require(connection: &mut Connection, id: RecordId) -> Result<StoredProposal, ProposalError> {
    load(connection, id).await?.ok_or(ProposalError::NotFound { id })
}

pub(super) async fn load(connection: &mut Connection, id: RecordId) -> Result<Option<StoredProposal>, StoreError> {
    let row = sqlx::query(
        "SELECT p.state, p.version, p.author, p.created_at, p.updated_at, p.ballot, v.ordinal, v.document
         FROM proposal p JOIN proposal_version v ON v.record = p.id AND v.version = p.version WHERE p.id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(StoredProposal {
        id,
        state: columns::parsed(&row, "state")?,
        version: columns::parsed(&row, "version")?,
        ordinal: columns::count(&row, "ordinal")?,
        proposal: columns::document(&row, "document")?,
        author: columns::parsed(&row, "author")?,
        created: columns::instant(&row, "created_at")?,
        updated: columns::instant(&row, "updated_at")?,
        shared_with: shared_with(connection, id).await?,
        ballot: columns::digest_if_any(&row, "ballot")?,
    }))
}

async fn shared_with(connection: &mut Connection, id: RecordId) -> Result<BTreeSet<MemberId>, StoreError> {
    let rows = sqlx::query("SELECT party FROM proposal_share WHERE record = $1")
        .bind(id.to_string())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| columns::parsed(row, "party")).collect()
}

pub(super) async fn header(
    connection: &mut Connection,
    id: RecordId,
) -> Result<Option<(RecordHeader, VersionId)>, StoreError> {
    let row = sqlx::query(
        "SELECT p.state, p.version, v.discover FROM proposal p
         JOIN proposal_version v ON v.record = p.id AND v.version = p.version WHERE p.id = $1",
    )
    .bind(id.to_string())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let state: ProposalState = columns::parsed(&row, "state")?;
    // INVARIANT: a withdrawn proposal is shared with nobody, so that every decision on it is a refusal.
    let shared_with = match state {
        ProposalState::Withdrawn => BTreeSet::new(),
        _ => shared_with(connection, id).await?,
    };
    Ok(Some((header_of(&row, id, shared_with)?, columns::parsed(&row, "version")?)))
}

fn header_of(row: &SqliteRow, id: RecordId, shared_with: BTreeSet<MemberId>) -> Result<RecordHeader, StoreError> {
    let discover: DiscoverView = columns::document(row, "discover")?;
    Ok(RecordHeader { id, kind: id.kind(), originator: id.originator(), marking: discover.marking, shared_with })
}

/// The headers of what is shared with a party and not withdrawn, by id.
pub(crate) async fn headers_shared_with(
    connection: &mut Connection,
    party: MemberId,
    after: Option<RecordId>,
    limit: usize,
) -> Result<Vec<RecordHeader>, StoreError> {
    let rows = sqlx::query(
        "SELECT p.id, v.discover FROM proposal_share s JOIN proposal p ON p.id = s.record
         JOIN proposal_version v ON v.record = p.id AND v.version = p.version
         WHERE s.party = $1 AND s.record > $2 AND p.state <> 'withdrawn' ORDER BY s.record LIMIT $3",
    )
    .bind(party.as_str().to_owned())
    .bind(after.map(|id| id.to_string()).unwrap_or_default())
    .bind(sql_limit(limit))
    .fetch_all(&mut *connection)
    .await?;
    let mut headers = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = columns::parsed(row, "id")?;
        let shared_with = shared_with(connection, id).await?;
        headers.push(header_of(row, id, shared_with)?);
    }
    Ok(headers)
}

pub(super) async fn views(
    connection: &mut Connection,
    id: RecordId,
    version: VersionId,
) -> Result<Option<Views>, StoreError> {
    let row = sqlx::query(
        "SELECT discover, read_view, read_salt, read_sources, read_sources_salt FROM proposal_version
         WHERE record = $1 AND version = $2",
    )
    .bind(id.to_string())
    .bind(version.to_string())
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(Views {
            discover: columns::bytes(&row, "discover")?,
            read: columns::bytes(&row, "read_view")?,
            read_salt: columns::digest(&row, "read_salt")?,
            read_sources: columns::bytes(&row, "read_sources")?,
            read_sources_salt: columns::digest(&row, "read_sources_salt")?,
        })
    })
    .transpose()
}

pub(super) async fn document(
    connection: &mut Connection,
    id: RecordId,
    version: VersionId,
) -> Result<Option<Proposal>, StoreError> {
    let row = sqlx::query("SELECT document FROM proposal_version WHERE record = $1 AND version = $2")
        .bind(id.to_string())
        .bind(version.to_string())
        .fetch_optional(connection)
        .await?;
    row.map(|row| columns::document(&row, "document")).transpose()
}

pub(super) async fn versions(connection: &mut Connection, id: RecordId) -> Result<Vec<VersionInfo>, StoreError> {
    let rows = sqlx::query(
        "SELECT version, ordinal, author, at FROM proposal_version WHERE record = $1 ORDER BY ordinal LIMIT $2",
    )
    .bind(id.to_string())
    .bind(sql_limit(usize::MAX))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(VersionInfo {
                version: columns::parsed(row, "version")?,
                ordinal: columns::count(row, "ordinal")?,
                author: columns::parsed(row, "author")?,
                at: columns::instant(row, "at")?,
            })
        })
        .collect()
}

//! From decisions to numbers.

use comity_core::release::Action;
use comity_core::{MemberId, RecordId, Timestamp, VersionId};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::queue;
use super::types::{Decided, Numbered, OutboxError, ReleasedChange};
use crate::columns::{self, sql_int, sql_limit};
use crate::database::Connection;
use crate::error::StoreError;

/// What a party holds of a record, once everything numbered has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// It never had it, or gave it back.
    Nothing,
    /// So much of that version.
    Exactly(VersionId, Action),
    /// A resent upsert became a retraction, and the party may have stored either.
    Unsure,
}

pub(super) async fn release(
    connection: &mut Connection,
    party: MemberId,
    decisions: Vec<Decided>,
    at: Timestamp,
) -> Result<Vec<Numbered>, StoreError> {
    let mut number = queue::last_number(connection, party).await?;
    let mut released = Vec::new();
    for decided in decisions {
        if !take(connection, party, &decided).await? {
            continue;
        }
        let holds = holds(connection, party, decided.record).await?;
        let change = match (decided.level, holds) {
            // INVARIANT: what was never allowed gets no number.
            (None, Holds::Nothing) => continue,
            (None, Holds::Exactly(..) | Holds::Unsure) => ReleasedChange::Retract,
            (Some(level), holds) if holds == Holds::Exactly(decided.version, level) => continue,
            (Some(level), _) => ReleasedChange::Upsert { version: decided.version, level },
        };
        number += 1;
        insert(connection, party, number, decided.record, change, at).await?;
        released.push(Numbered { number, record: decided.record, change, superseded: false });
    }
    if !released.is_empty() {
        sqlx::query("UPDATE outbox_party SET last_number = $2 WHERE party = $1")
            .bind(party.as_str().to_owned())
            .bind(sql_int(number))
            .execute(connection)
            .await?;
    }
    Ok(released)
}

/// Takes a pair off the queue, unless it was queued again after it was decided.
async fn take(connection: &mut Connection, party: MemberId, decided: &Decided) -> Result<bool, StoreError> {
    let taken = sqlx::query("DELETE FROM outbox_queue WHERE party = $1 AND record = $2 AND ticket = $3")
        .bind(party.as_str().to_owned())
        .bind(decided.record.to_string())
        .bind(sql_int(decided.ticket))
        .execute(connection)
        .await?;
    Ok(taken.rows_affected() == 1)
}

async fn holds(connection: &mut Connection, party: MemberId, record: RecordId) -> Result<Holds, StoreError> {
    let row = sqlx::query("SELECT holds, version FROM outbox_held WHERE party = $1 AND record = $2")
        .bind(party.as_str().to_owned())
        .bind(record.to_string())
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(Holds::Nothing) };
    match columns::text(&row, "holds")?.as_str() {
        "nothing" => Ok(Holds::Nothing),
        "unsure" => Ok(Holds::Unsure),
        level => Ok(Holds::Exactly(columns::parsed(&row, "version")?, columns::action(level, "holds")?)),
    }
}

async fn insert(
    connection: &mut Connection,
    party: MemberId,
    number: u64,
    record: RecordId,
    change: ReleasedChange,
    at: Timestamp,
) -> Result<(), StoreError> {
    let (version, level) = match change {
        ReleasedChange::Upsert { version, level } => (Some(version.to_string()), Some(level.as_str())),
        ReleasedChange::Retract => (None, None),
    };
    sqlx::query("INSERT INTO outbox_item (party, number, record, version, level, at) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(party.as_str().to_owned())
        .bind(sql_int(number))
        .bind(record.to_string())
        .bind(version.clone())
        .bind(level)
        .bind(at.as_micros())
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "INSERT INTO outbox_held (party, record, number, holds, version) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (party, record) DO UPDATE
         SET number = excluded.number, holds = excluded.holds, version = excluded.version",
    )
    .bind(party.as_str().to_owned())
    .bind(record.to_string())
    .bind(sql_int(number))
    .bind(level.unwrap_or("nothing"))
    .bind(version)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn released_after(
    connection: &mut Connection,
    party: MemberId,
    number: u64,
    limit: usize,
) -> Result<Vec<Numbered>, StoreError> {
    let rows = sqlx::query(
        "SELECT i.number, i.record, i.version, i.level, h.number AS latest FROM outbox_item i
         JOIN outbox_held h ON h.party = i.party AND h.record = i.record
         WHERE i.party = $1 AND i.number > $2 ORDER BY i.number LIMIT $3",
    )
    .bind(party.as_str().to_owned())
    .bind(sql_int(number))
    .bind(sql_limit(limit))
    .fetch_all(connection)
    .await?;
    rows.iter().map(numbered).collect()
}

fn numbered(row: &SqliteRow) -> Result<Numbered, StoreError> {
    let number = columns::count(row, "number")?;
    let level: Option<String> = row.try_get("level")?;
    let change = match level {
        None => ReleasedChange::Retract,
        Some(level) => ReleasedChange::Upsert {
            version: columns::parsed(row, "version")?,
            level: columns::action(&level, "level")?,
        },
    };
    let superseded = columns::count(row, "latest")? > number;
    Ok(Numbered { number, record: columns::parsed(row, "record")?, change, superseded })
}

pub(super) async fn rewrite_as_retraction(
    connection: &mut Connection,
    party: MemberId,
    number: u64,
) -> Result<Numbered, OutboxError> {
    let found = released_after(connection, party, number.saturating_sub(1), 1).await?;
    let Some(mut item) = found.into_iter().find(|item| item.number == number) else {
        let last_number = queue::last_number(connection, party).await?;
        return Err(OutboxError::NoSuchNumber { party, number, last_number });
    };
    if item.change == ReleasedChange::Retract {
        return Ok(item);
    }
    item.change = ReleasedChange::Retract;
    sqlx::query("UPDATE outbox_item SET version = NULL, level = NULL WHERE party = $1 AND number = $2")
        .bind(party.as_str().to_owned())
        .bind(sql_int(number))
        .execute(&mut *connection)
        .await?;
    // A later number says what holds; only the last one leaves a doubt behind.
    if !item.superseded {
        sqlx::query("UPDATE outbox_held SET holds = 'unsure', version = NULL WHERE party = $1 AND record = $2")
            .bind(party.as_str().to_owned())
            .bind(item.record.to_string())
            .execute(&mut *connection)
            .await?;
        queue::enqueue(connection, party, item.record).await?;
    }
    Ok(item)
}

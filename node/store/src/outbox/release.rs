//! From decisions to numbers.

use std::collections::{BTreeMap, BTreeSet};

use comity_core::canonical::Hex32;
use comity_core::release::Action;
use comity_core::{MemberId, RecordId, Timestamp, VersionId};

use super::queue;
use super::types::{Decided, Numbered, OutboxError, ReleasedChange};
use crate::columns::{self, sql_int, sql_limit};
use crate::database::Connection;
use crate::error::StoreError;
use crate::sql::{Row, Value, insert_rows, query, select_in};

/// What a party holds of a record, once everything numbered has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// It never had it, or gave it back.
    Nothing,
    /// So much of that version, with those links and terms.
    Exactly(VersionId, Action, Option<Hex32>),
    /// A resent upsert became a retraction, and the party may have stored either.
    Unsure,
}

/// What a party was last told of a record.
struct Last {
    holds: Holds,
    number: u64,
    /// When it is to be decided again; nothing, too, where that has come.
    ends: Option<Timestamp>,
}

pub(super) async fn release(
    connection: &mut Connection,
    party: MemberId,
    decisions: Vec<Decided>,
    limit: usize,
    at: Timestamp,
) -> Result<Vec<Numbered>, StoreError> {
    let tickets = decisions.iter().map(|decided| (decided.record, decided.ticket)).collect();
    let standing = standing(connection, party, tickets).await?;
    let held = held(connection, party, &decisions).await?;
    let mut number = queue::last_number(connection, party).await?;
    let (mut released, mut rows, mut shifted, mut taken) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut ends = Vec::new();
    for decided in decisions.into_iter().filter(|decided| standing.contains(&decided.record)) {
        if released.len() >= limit {
            break;
        }
        taken.push(decided.record.to_string());
        let last = held.get(&decided.record);
        let holds = last.map_or(Holds::Nothing, |last| last.holds);
        let change = match (decided.telling, holds) {
            // INVARIANT: what was never allowed gets no number.
            (None, Holds::Nothing) => continue,
            (None, Holds::Exactly(..) | Holds::Unsure) => ReleasedChange::Retract,
            (Some(told), Holds::Exactly(version, level, shown))
                if (version, level, shown) == (decided.version, told.level, told.shown) =>
            {
                // INVARIANT: the next end of what is held is always known, be it another than the one that has passed.
                ends.extend(last.filter(|last| last.ends != told.until).map(|last| (last.number, told.until)));
                continue;
            }
            (Some(told), _) => {
                ReleasedChange::Upsert { version: decided.version, level: told.level, shown: told.shown }
            }
        };
        // What points to it may show something else now, unless all that changed is how much of it is told: what was decided
        // meanwhile may not have seen it.
        let stayed = matches!((holds, decided.telling), (Holds::Exactly(version, _, shown), Some(told))
            if version == decided.version && shown == told.shown);
        if !stayed {
            shifted.push(decided.record);
        }
        number += 1;
        let until = decided.telling.and_then(|told| told.until);
        rows.push(row(party, number, decided.record, change, until, at));
        released.push(Numbered { number, record: decided.record, change, superseded: false });
    }
    take_off(connection, party, &taken).await?;
    for (number, end) in ends {
        query("UPDATE outbox_item SET ends_at = $3 WHERE party = $1 AND number = $2")
            .bind(party.as_str())
            .bind(sql_int(number))
            .bind(end.map(Timestamp::as_micros))
            .execute(&mut *connection)
            .await?;
    }
    if !released.is_empty() {
        insert_rows(
            connection,
            "INSERT INTO outbox_item (party, number, record, version, level, shown, ends_at, at)",
            "",
            rows,
        )
        .await?;
        query("UPDATE outbox_party SET last_number = $2 WHERE party = $1")
            .bind(party.as_str())
            .bind(sql_int(number))
            .execute(&mut *connection)
            .await?;
    }
    queue::enqueue_pointing_to(connection, party, &shifted).await?;
    Ok(released)
}

async fn take_off(connection: &mut Connection, party: MemberId, records: &[String]) -> Result<(), StoreError> {
    let delete = "DELETE FROM outbox_queue WHERE party = $1 AND record IN ";
    select_in(connection, delete, Some(party.as_str().into()), records, "").await?;
    Ok(())
}

/// Without a number, whatever the party holds. What it was told of may name them since they could be told for a while: that is decided
/// anew. Returns how many those are.
pub(super) async fn dismiss(
    connection: &mut Connection,
    party: MemberId,
    tickets: BTreeMap<RecordId, u64>,
) -> Result<usize, StoreError> {
    let standing = standing(connection, party, tickets).await?;
    let records: Vec<String> = standing.iter().map(ToString::to_string).collect();
    take_off(connection, party, &records).await?;
    queue::enqueue_told_pointing_to(connection, party, &records).await
}

/// Which pairs stand as they were decided: all but those that were queued again since.
async fn standing(
    connection: &mut Connection,
    party: MemberId,
    tickets: BTreeMap<RecordId, u64>,
) -> Result<BTreeSet<RecordId>, StoreError> {
    let keys: Vec<String> = tickets.keys().map(ToString::to_string).collect();
    // Tickets only grow: as many rows with the same sum are the same tickets, which is what mostly is.
    let sums = select_in(
        connection,
        "SELECT COUNT(*) AS rows, CAST(COALESCE(SUM(ticket), 0) AS BIGINT) AS tickets FROM outbox_queue
         WHERE party = $1 AND record IN ",
        Some(party.as_str().into()),
        &keys,
        "",
    )
    .await?;
    let (mut rows, mut sum) = (0, 0);
    for row in &sums {
        rows += columns::count(row, "rows")?;
        sum += columns::count(row, "tickets")?;
    }
    if (rows, sum) == (tickets.len() as u64, tickets.values().sum()) {
        return Ok(tickets.into_keys().collect());
    }
    let queued = select_in(
        connection,
        "SELECT record, ticket FROM outbox_queue WHERE party = $1 AND record IN ",
        Some(party.as_str().into()),
        &keys,
        "",
    )
    .await?;
    let mut standing = BTreeSet::new();
    for row in &queued {
        let record = columns::parsed(row, "record")?;
        if tickets.get(&record) == Some(&columns::count(row, "ticket")?) {
            standing.insert(record);
        }
    }
    Ok(standing)
}

pub(super) async fn ever_told(
    connection: &mut Connection,
    party: MemberId,
    records: &[RecordId],
) -> Result<BTreeSet<RecordId>, StoreError> {
    let keys: Vec<String> = records.iter().map(ToString::to_string).collect();
    let rows = select_in(
        connection,
        "SELECT DISTINCT record FROM outbox_item WHERE party || '' = $1 AND record IN ",
        Some(party.as_str().into()),
        &keys,
        "",
    )
    .await?;
    rows.iter().map(|row| columns::parsed(row, "record")).collect()
}

/// What was last told of each record that anything was told of.
async fn held(
    connection: &mut Connection,
    party: MemberId,
    decisions: &[Decided],
) -> Result<BTreeMap<RecordId, Last>, StoreError> {
    let keys: Vec<String> = decisions.iter().map(|decided| decided.record.to_string()).collect();
    // By the records, not by all that the party ever had: an expression keeps both databases from looking there.
    let rows = select_in(
        connection,
        "SELECT i.record, i.version, i.level, i.shown, i.unsure, i.number, i.ends_at FROM outbox_item i
         WHERE i.party || '' = $1 AND NOT EXISTS
             (SELECT 1 FROM outbox_item l WHERE l.record = i.record AND l.party = i.party AND l.number > i.number)
         AND i.record IN ",
        Some(party.as_str().into()),
        &keys,
        "",
    )
    .await?;
    let read = |row: &Row| {
        let holds = match (columns::count(row, "unsure")?, columns::text_if_any(row, "level")?) {
            (1.., _) => Holds::Unsure,
            (0, None) => Holds::Nothing,
            (0, Some(level)) => Holds::Exactly(
                columns::parsed(row, "version")?,
                columns::action(&level, "level")?,
                columns::digest_if_any(row, "shown")?,
            ),
        };
        let last =
            Last { holds, number: columns::count(row, "number")?, ends: columns::instant_if_any(row, "ends_at")? };
        Ok((columns::parsed(row, "record")?, last))
    };
    rows.iter().map(read).collect()
}

fn row(
    party: MemberId,
    number: u64,
    record: RecordId,
    change: ReleasedChange,
    until: Option<Timestamp>,
    at: Timestamp,
) -> [Value; 8] {
    let (version, level, shown) = match change {
        ReleasedChange::Upsert { version, level, shown } => {
            (Some(version.to_string()), Some(level.as_str().to_owned()), shown.map(|shown| shown.0.to_vec()))
        }
        ReleasedChange::Retract => (None, None, None),
    };
    [
        party.as_str().into(),
        sql_int(number).into(),
        record.to_string().into(),
        version.into(),
        level.into(),
        shown.into(),
        until.map(Timestamp::as_micros).into(),
        at.as_micros().into(),
    ]
}

pub(super) async fn released_after(
    connection: &mut Connection,
    party: MemberId,
    number: u64,
    limit: usize,
) -> Result<Vec<Numbered>, StoreError> {
    let rows = query(
        "SELECT i.number, i.record, i.version, i.level, i.shown,
             (SELECT MAX(l.number) FROM outbox_item l WHERE l.record = i.record AND l.party = i.party) AS latest
         FROM outbox_item i WHERE i.party = $1 AND i.number > $2 ORDER BY i.number LIMIT $3",
    )
    .bind(party.as_str())
    .bind(sql_int(number))
    .bind(sql_limit(limit))
    .fetch_all(connection)
    .await?;
    rows.iter().map(numbered).collect()
}

fn numbered(row: &Row) -> Result<Numbered, StoreError> {
    let number = columns::count(row, "number")?;
    let change = match columns::text_if_any(row, "level")? {
        None => ReleasedChange::Retract,
        Some(level) => ReleasedChange::Upsert {
            version: columns::parsed(row, "version")?,
            level: columns::action(&level, "level")?,
            shown: columns::digest_if_any(row, "shown")?,
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
    // A later number says what holds; only the last one leaves a doubt behind.
    let unsure = i64::from(!item.superseded);
    query(
        "UPDATE outbox_item SET version = NULL, level = NULL, shown = NULL, ends_at = NULL, unsure = $3
         WHERE party = $1 AND number = $2",
    )
    .bind(party.as_str())
    .bind(sql_int(number))
    .bind(unsure)
    .execute(&mut *connection)
    .await?;
    if !item.superseded {
        queue::enqueue(connection, party, item.record).await?;
    }
    Ok(item)
}

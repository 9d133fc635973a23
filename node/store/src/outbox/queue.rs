//! Queueing, inside whatever transaction changed the answer: a change and its queueing are on disk together or not at all.

use std::collections::BTreeSet;

use comity_core::{MemberId, RecordId, Timestamp};

use crate::columns;
use crate::database::Connection;
use crate::error::StoreError;
use crate::sql::{Row, insert_rows, query, select_in};

pub(crate) async fn enqueue(connection: &mut Connection, party: MemberId, record: RecordId) -> Result<(), StoreError> {
    enqueue_all(connection, party, [record]).await
}

/// Queues records for a party.
pub(crate) async fn enqueue_all(
    connection: &mut Connection,
    party: MemberId,
    records: impl IntoIterator<Item = RecordId>,
) -> Result<(), StoreError> {
    let records: BTreeSet<RecordId> = records.into_iter().collect();
    if records.is_empty() {
        return Ok(());
    }
    // INVARIANT: a ticket is never given twice to one party, so that a decision made before cannot pass for one made after.
    let count = i64::try_from(records.len()).unwrap_or(i64::MAX);
    let first = tickets(connection, party, count).await? + 1;
    let rows = records
        .into_iter()
        .zip(first..)
        .map(|(record, ticket)| [party.as_str().into(), record.to_string().into(), ticket.into()]);
    insert_rows(
        connection,
        "INSERT INTO outbox_queue (party, record, ticket)",
        " ON CONFLICT (party, record) DO UPDATE SET ticket = excluded.ticket",
        rows.collect(),
    )
    .await
}

/// Draws so many tickets; returns the one before the first.
async fn tickets(connection: &mut Connection, party: MemberId, count: i64) -> Result<i64, StoreError> {
    let row = query(
        "INSERT INTO outbox_party (party, last_number, last_ticket) VALUES ($1, 0, $2)
         ON CONFLICT (party) DO UPDATE SET last_ticket = outbox_party.last_ticket + $2 RETURNING last_ticket",
    )
    .bind(party.as_str())
    .bind(count)
    .fetch_one(connection)
    .await?;
    Ok(row.get::<i64>("last_ticket")? - count)
}

/// Queues a record for everybody whom the answer may concern: those it is shared with, and those who ever received it.
pub(crate) async fn enqueue_record(connection: &mut Connection, record: RecordId) -> Result<(), StoreError> {
    let rows = query(
        "SELECT party FROM record_share WHERE record = $1 UNION SELECT party FROM outbox_item WHERE record = $1 ORDER BY 1",
    )
    .bind(record.to_string())
    .fetch_all(&mut *connection)
    .await?;
    for row in &rows {
        enqueue(connection, columns::parsed(row, "party")?, record).await?;
    }
    Ok(())
}

/// Everything that is shared with a party or was ever released to it, in one statement, however much it is. Returns how many.
pub(crate) async fn enqueue_everything(connection: &mut Connection, party: MemberId) -> Result<u64, StoreError> {
    let row = query(
        "SELECT (SELECT COUNT(*) FROM record_share WHERE party = $1)
              + (SELECT COUNT(DISTINCT record) FROM outbox_item WHERE party = $1) AS most",
    )
    .bind(party.as_str())
    .fetch_one(&mut *connection)
    .await?;
    let base = tickets(connection, party, row.get("most")?).await?;
    query(
        "INSERT INTO outbox_queue (party, record, ticket)
         SELECT $1, f.record, $2 + ROW_NUMBER() OVER (ORDER BY f.record)
         FROM (SELECT record FROM record_share WHERE party = $1
               UNION SELECT record FROM outbox_item WHERE party = $1) f
         WHERE 1 = 1
         ON CONFLICT (party, record) DO UPDATE SET ticket = excluded.ticket",
    )
    .bind(party.as_str())
    .bind(base)
    .execute(connection)
    .await
}

/// Goes on from a number that is above every one given, and takes nothing for certain that was told before.
pub(super) async fn catch_up(connection: &mut Connection, party: MemberId, number: u64) -> Result<(), StoreError> {
    tickets(connection, party, 0).await?;
    query("UPDATE outbox_party SET last_number = $2 WHERE party = $1 AND last_number < $2")
        .bind(party.as_str())
        .bind(columns::sql_int(number))
        .execute(&mut *connection)
        .await?;
    query("UPDATE outbox_item SET unsure = 1 WHERE party = $1").bind(party.as_str()).execute(&mut *connection).await?;
    enqueue_everything(connection, party).await?;
    Ok(())
}

/// The records of this member that point to these, as far as they concern a party: what they show of them may be another thing now.
pub(super) async fn enqueue_pointing_to(
    connection: &mut Connection,
    party: MemberId,
    targets: &[RecordId],
) -> Result<(), StoreError> {
    let keys: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let rows = select_in(
        connection,
        "SELECT record FROM record_link WHERE EXISTS
             (SELECT 1 FROM record_share s WHERE s.record = record_link.record AND s.party = $1) AND target IN ",
        Some(party.as_str().into()),
        &keys,
        "",
    )
    .await?;
    enqueue_found(connection, party, &rows).await?;
    Ok(())
}

/// The same, of those that the party was told of: of these alone, since whatever else points there is told with what holds then. Returns how many.
pub(super) async fn enqueue_told_pointing_to(
    connection: &mut Connection,
    party: MemberId,
    targets: &[String],
) -> Result<usize, StoreError> {
    let rows = select_in(
        connection,
        "SELECT record FROM record_link WHERE EXISTS
             (SELECT 1 FROM outbox_item i WHERE i.record = record_link.record AND i.party || '' = $1) AND target IN ",
        Some(party.as_str().into()),
        targets,
        "",
    )
    .await?;
    enqueue_found(connection, party, &rows).await
}

async fn enqueue_found(connection: &mut Connection, party: MemberId, rows: &[Row]) -> Result<usize, StoreError> {
    // One that points to several is queued once.
    let pointing: BTreeSet<RecordId> =
        rows.iter().map(|row| columns::parsed(row, "record")).collect::<Result<_, _>>()?;
    let count = pointing.len();
    enqueue_all(connection, party, pointing).await?;
    Ok(count)
}

/// Queues what was released until an instant that has come. Returns how many.
pub(super) async fn enqueue_ended(
    connection: &mut Connection,
    now: Timestamp,
    limit: i64,
) -> Result<usize, StoreError> {
    let rows = query("SELECT party, number, record FROM outbox_item WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2")
        .bind(now.as_micros())
        .bind(limit)
        .fetch_all(&mut *connection)
        .await?;
    for row in &rows {
        let party: MemberId = columns::parsed(row, "party")?;
        enqueue(connection, party, columns::parsed(row, "record")?).await?;
        query("UPDATE outbox_item SET ends_at = NULL WHERE party = $1 AND number = $2")
            .bind(party.as_str())
            .bind(row.get::<i64>("number")?)
            .execute(&mut *connection)
            .await?;
    }
    Ok(rows.len())
}

pub(crate) async fn ever_received(
    connection: &mut Connection,
    record: RecordId,
) -> Result<BTreeSet<MemberId>, StoreError> {
    let rows = query("SELECT DISTINCT party FROM outbox_item WHERE record = $1")
        .bind(record.to_string())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| columns::parsed(row, "party")).collect()
}

pub(super) async fn last_number(connection: &mut Connection, party: MemberId) -> Result<u64, StoreError> {
    let row = query("SELECT last_number FROM outbox_party WHERE party = $1")
        .bind(party.as_str())
        .fetch_optional(connection)
        .await?;
    row.map_or(Ok(0), |row| columns::count(&row, "last_number"))
}

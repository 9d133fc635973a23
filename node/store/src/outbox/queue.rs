//! Queueing, inside whatever transaction changed the answer: a change and its queueing are on disk together or not at all.

use std::collections::BTreeSet;

use comity_core::{MemberId, RecordId};

use crate::columns;
use crate::database::Connection;
use crate::error::StoreError;

pub(crate) async fn enqueue(connection: &mut Connection, party: MemberId, record: RecordId) -> Result<(), StoreError> {
    // INVARIANT: a ticket is never given twice to one party, so that a decision made before cannot pass for one made after.
    let row = sqlx::query(
        "INSERT INTO outbox_party (party, last_number, last_ticket) VALUES ($1, 0, 1)
         ON CONFLICT (party) DO UPDATE SET last_ticket = outbox_party.last_ticket + 1 RETURNING last_ticket",
    )
    .bind(party.as_str().to_owned())
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO outbox_queue (party, record, position, ticket) VALUES ($1, $2, $3, $3)
         ON CONFLICT (party, record) DO UPDATE SET ticket = excluded.ticket",
    )
    .bind(party.as_str().to_owned())
    .bind(record.to_string())
    .bind(columns::sql_int(columns::count(&row, "last_ticket")?))
    .execute(connection)
    .await?;
    Ok(())
}

/// Everything that is shared with a party or held by it. Returns how many.
pub(crate) async fn enqueue_everything(connection: &mut Connection, party: MemberId) -> Result<u64, StoreError> {
    let rows = sqlx::query(
        "SELECT s.record FROM proposal_share s JOIN proposal p ON p.id = s.record
         WHERE s.party = $1 AND p.state <> 'withdrawn'
         UNION SELECT record FROM outbox_held WHERE party = $1 AND holds <> 'nothing' ORDER BY 1",
    )
    .bind(party.as_str().to_owned())
    .fetch_all(&mut *connection)
    .await?;
    for row in &rows {
        enqueue(connection, party, columns::parsed(row, "record")?).await?;
    }
    Ok(rows.len() as u64)
}

pub(crate) async fn ever_received(
    connection: &mut Connection,
    record: RecordId,
) -> Result<BTreeSet<MemberId>, StoreError> {
    let rows = sqlx::query("SELECT party FROM outbox_held WHERE record = $1")
        .bind(record.to_string())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| columns::parsed(row, "party")).collect()
}

pub(super) async fn last_number(connection: &mut Connection, party: MemberId) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT last_number FROM outbox_party WHERE party = $1")
        .bind(party.as_str().to_owned())
        .fetch_optional(connection)
        .await?;
    row.map_or(Ok(0), |row| columns::count(&row, "last_number"))
}

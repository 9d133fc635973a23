//! The log as it is on disk: its head from the stored hashes, held against the last checkpoint.

use comity_core::checkpoint::SignedCheckpoint;
use comity_core::merkle::Frontier;

use super::checkpoints;
use super::proofs::{fetch, frontier_at};
use super::types::{AccessLogError, Tampering};
use crate::columns;
use crate::database::Connection;
use crate::sql::query;

/// Takes up the log from its stored hashes: some log n rows, whatever its length.
///
/// # Errors
/// Leaves, hashes and the latest checkpoint contradict each other.
pub(super) async fn restore(connection: &mut Connection) -> Result<Frontier, AccessLogError> {
    let row = query(
        "SELECT (SELECT COALESCE(MAX(n) + 1, 0) FROM access_leaf) AS size,
                (SELECT COALESCE(MAX(idx) + 1, 0) FROM access_hash) AS hashes",
    )
    .fetch_one(&mut *connection)
    .await?;
    let (size, hashes) = (columns::count(&row, "size")?, columns::count(&row, "hashes")?);
    let latest = checkpoints::latest(connection).await?;
    if let Some(latest) = &latest
        && latest.checkpoint.size > size
    {
        return Err(Tampering::Shorter { size, checkpoint: latest.checkpoint.size }.into());
    }
    if hashes > Frontier::stored_before(size) {
        return Err(Tampering::BeyondLastLeaf.into());
    }
    let frontier = frontier_at(connection, size).await?;
    if size > 0 {
        expect_last_leaf(connection, size - 1).await?;
    }
    if let Some(SignedCheckpoint { checkpoint, .. }) = &latest
        && frontier_at(connection, checkpoint.size).await?.root() != checkpoint.root
    {
        return Err(Tampering::Root { size: checkpoint.size }.into());
    }
    Ok(frontier)
}

/// Whether what is on disk is what was known, and perhaps more.
///
/// # Errors
/// It is not.
pub(super) async fn expect_extends(
    connection: &mut Connection,
    on_disk: &Frontier,
    known: &Frontier,
) -> Result<(), AccessLogError> {
    if on_disk.size() < known.size() {
        return Err(Tampering::Shorter { size: on_disk.size(), checkpoint: known.size() }.into());
    }
    if frontier_at(connection, known.size()).await?.root() != known.root() {
        return Err(Tampering::Head.into());
    }
    Ok(())
}

/// The last leaf is the likeliest to be cut or changed; it is held against its hash at each opening.
async fn expect_last_leaf(connection: &mut Connection, n: u64) -> Result<(), AccessLogError> {
    let row = query("SELECT salt, record, annex FROM access_leaf WHERE n = $1")
        .bind(columns::sql_int(n))
        .fetch_optional(&mut *connection)
        .await?;
    let row = row.ok_or(Tampering::MissingLeaf { n })?;
    let leaf = super::query::leaf(&row)?;
    let index = Frontier::stored_before(n);
    match fetch(connection, &[index]).await?.get(&index) {
        None => return Err(Tampering::StoredHash { index }.into()),
        Some(stored) if *stored != leaf.hash() => return Err(Tampering::Leaf { n }.into()),
        Some(_) => {}
    }
    Ok(())
}

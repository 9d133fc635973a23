//! The log as it is on disk: up to the last checkpoint by its stored hashes and that root, from there on computed from the leaves.

use comity_core::checkpoint::SignedCheckpoint;
use comity_core::merkle::Frontier;

use super::checkpoints;
use super::proofs::{fetch, frontier_at};
use super::types::{AccessLogError, Tampering};
use super::verify;
use crate::columns;
use crate::database::Connection;
use crate::sql::query;

/// Takes up the log: some log n stored hashes for what was signed, and every leaf after that.
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
    let signed = match &latest {
        Some(SignedCheckpoint { checkpoint, .. }) => {
            let frontier = frontier_at(connection, checkpoint.size).await?;
            if frontier.root() != checkpoint.root {
                return Err(Tampering::Root { size: checkpoint.size }.into());
            }
            if let Some(last) = checkpoint.size.checked_sub(1) {
                expect_leaf(connection, last).await?;
            }
            frontier
        }
        None => Frontier::default(),
    };
    // INVARIANT: what is signed next continues what was signed last, since its new part is computed from the leaves themselves.
    verify::extend(connection, signed, size).await
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

/// The last leaf that was signed is the likeliest to be cut or changed; it is held against its hash at each opening.
async fn expect_leaf(connection: &mut Connection, n: u64) -> Result<(), AccessLogError> {
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

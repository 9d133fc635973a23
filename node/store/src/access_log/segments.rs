//! Archived segments: leaves that lie in files by now. What proves them stays here: every hash, every checkpoint, and a leaf of the log
//! that names the file and its digest.

use comity_core::access::ArchivedSegment;
use comity_core::canonical::Hex32;
use comity_core::merkle::Frontier;

use super::AccessLog;
use super::types::{AccessLogError, Tampering};
use crate::columns::{self, sql_int};
use crate::database::Connection;
use crate::error::StoreError;
use crate::sql;

impl AccessLog {
    /// The first leaf that is not in an archive.
    pub fn archived(&self) -> u64 {
        *self.inner.archived.borrow()
    }

    /// The segments that were archived, in order: at most so many, from the one that begins at `from` or later.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn segments(&self, from: u64, limit: usize) -> Result<Vec<ArchivedSegment>, AccessLogError> {
        let rows = sql::query("SELECT * FROM access_segment WHERE first >= $1 ORDER BY first LIMIT $2")
            .bind(sql_int(from))
            .bind(columns::sql_limit(limit))
            .fetch_all(&mut self.inner.database.read().await?)
            .await?;
        Ok(rows.iter().map(read).collect::<Result<_, StoreError>>()?)
    }

    /// Takes leaves out that lie in a file, which a leaf of the log names already. Leaves that opened an incarnation stay.
    ///
    /// # Errors
    /// They do not follow the segments before, no checkpoint covers them, or the database failed: then all of them stay.
    pub async fn prune(&self, segment: ArchivedSegment) -> Result<(), AccessLogError> {
        let size = self.head().size;
        // INVARIANT: only what the last checkpoint covers is taken out: at opening its last leaf, and those after it, are computed anew.
        let signed = self.latest_checkpoint().await?.map_or(0, |note| note.checkpoint.size);
        if segment.first != self.archived() || segment.end <= segment.first || segment.end >= signed || signed > size {
            return Err(AccessLogError::BeyondEnd { asked: segment.end, size: signed });
        }
        let end = segment.end;
        self.inner.database.write(move |connection| Box::pin(prune(connection, segment))).await?;
        self.inner.archived.send_replace(end);
        Ok(())
    }

    /// The hashes of leaves, from one on: those that lie in archives are known by them alone.
    ///
    /// # Errors
    /// One is missing.
    pub async fn leaf_hashes(&self, from: u64, end: u64) -> Result<Vec<(u64, Hex32)>, AccessLogError> {
        let indexes: Vec<u64> = (from..end).map(Frontier::stored_before).collect();
        let stored = super::proofs::fetch(&mut self.inner.database.read().await?, &indexes).await?;
        let hash = |(n, index): (u64, u64)| match stored.get(&index) {
            Some(hash) => Ok((n, *hash)),
            None => Err(Tampering::StoredHash { index }.into()),
        };
        (from..end).zip(indexes).map(hash).collect()
    }
}

async fn prune(connection: &mut Connection, segment: ArchivedSegment) -> Result<(), AccessLogError> {
    let (first, end) = (sql_int(segment.first), sql_int(segment.end));
    for delete in [
        "DELETE FROM access_touched WHERE n >= $1 AND n < $2 AND n NOT IN (SELECT opened_by FROM access_incarnation)",
        "DELETE FROM access_leaf WHERE n >= $1 AND n < $2 AND n NOT IN (SELECT opened_by FROM access_incarnation)",
    ] {
        sql::query(delete).bind(first).bind(end).execute(&mut *connection).await?;
    }
    sql::query("INSERT INTO access_segment (first, stop, file, digest) VALUES ($1, $2, $3, $4)")
        .bind(first)
        .bind(end)
        .bind(segment.file)
        .bind(segment.digest.0.to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

/// Where the archived segments end; they follow one another without a gap.
pub(super) async fn restore(connection: &mut Connection) -> Result<u64, AccessLogError> {
    let row = sql::query("SELECT COALESCE(MAX(stop), 0) AS stop FROM access_segment").fetch_one(connection).await?;
    Ok(columns::count(&row, "stop")?)
}

/// All of them, in order.
pub(super) async fn all(connection: &mut Connection) -> Result<Vec<ArchivedSegment>, AccessLogError> {
    let rows = sql::query("SELECT * FROM access_segment ORDER BY first").fetch_all(connection).await?;
    Ok(rows.iter().map(read).collect::<Result<_, StoreError>>()?)
}

fn read(row: &sql::Row) -> Result<ArchivedSegment, StoreError> {
    Ok(ArchivedSegment {
        first: columns::count(row, "first")?,
        end: columns::count(row, "stop")?,
        file: columns::text(row, "file")?,
        digest: columns::digest(row, "digest")?,
    })
}

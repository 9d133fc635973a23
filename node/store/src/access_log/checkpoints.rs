//! The log's own signed heads.

use comity_core::checkpoint::{Checkpoint, SignedCheckpoint};
use ed25519_dalek::SigningKey;

use super::AccessLog;
use super::types::{AccessLogError, Tampering};
use crate::columns::{self, sql_int, sql_limit};
use crate::database::Connection;
use crate::sql::{Row, query};

impl AccessLog {
    /// Signs the log as it is now and keeps the note. Where nothing was appended since the last one, and that one is by
    /// this key for this origin, it is returned again.
    ///
    /// # Errors
    /// A stored checkpoint of this size has another root, or the note could not be stored.
    pub async fn checkpoint_now(&self, origin: &str, key: &SigningKey) -> Result<SignedCheckpoint, AccessLogError> {
        let head = self.head();
        let checkpoint = Checkpoint { origin: origin.to_owned(), size: head.size, root: head.root };
        if let Some(latest) = self.latest_checkpoint().await?
            && latest.checkpoint == checkpoint
            && latest.verify(origin, &key.verifying_key()).is_ok()
        {
            return Ok(latest);
        }
        let mut signed = SignedCheckpoint::unsigned(checkpoint);
        signed.sign(key);
        let stored = signed.clone();
        self.inner.database.write(move |connection| Box::pin(store(connection, stored))).await?;
        Ok(signed)
    }

    /// Keeps the cosignatures of a note with the checkpoint that they are for.
    ///
    /// # Errors
    /// There is no such checkpoint, or it could not be stored.
    pub async fn keep_cosigned(&self, cosigned: SignedCheckpoint, cosigners: usize) -> Result<(), AccessLogError> {
        self.inner.database.write(move |connection| Box::pin(keep_cosigned(connection, cosigned, cosigners))).await
    }

    /// The newest checkpoint that at least so many others cosigned.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn latest_cosigned(&self, cosigners: usize) -> Result<Option<SignedCheckpoint>, AccessLogError> {
        let row = query("SELECT size, note FROM access_checkpoint WHERE cosigners >= $1 ORDER BY size DESC LIMIT 1")
            .bind(sql_int(cosigners as u64))
            .fetch_optional(&mut self.inner.database.read().await?)
            .await?;
        row.map(|row| read(&row)).transpose()
    }

    /// The newest checkpoint, unless none was ever signed.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn latest_checkpoint(&self) -> Result<Option<SignedCheckpoint>, AccessLogError> {
        latest(&mut self.inner.database.read().await?).await
    }

    /// The checkpoints of sizes above `above`, in order; all of them from `None` on.
    ///
    /// # Errors
    /// One could not be read.
    pub async fn checkpoints(&self, above: Option<u64>, limit: usize) -> Result<Vec<SignedCheckpoint>, AccessLogError> {
        page(&mut self.inner.database.read().await?, above, limit).await
    }
}

async fn store(connection: &mut Connection, signed: SignedCheckpoint) -> Result<(), AccessLogError> {
    let size = signed.checkpoint.size;
    let row = query("SELECT size, note FROM access_checkpoint WHERE size = $1")
        .bind(sql_int(size))
        .fetch_optional(&mut *connection)
        .await?;
    // INVARIANT: no two roots are ever signed for one size.
    if let Some(row) = row
        && read(&row)?.checkpoint.root != signed.checkpoint.root
    {
        return Err(Tampering::Root { size }.into());
    }
    query(
        "INSERT INTO access_checkpoint (size, note, cosigners) VALUES ($1, $2, 0)
         ON CONFLICT (size) DO UPDATE SET note = excluded.note, cosigners = 0",
    )
    .bind(sql_int(size))
    .bind(signed.to_bytes())
    .execute(connection)
    .await?;
    Ok(())
}

async fn keep_cosigned(
    connection: &mut Connection,
    cosigned: SignedCheckpoint,
    cosigners: usize,
) -> Result<(), AccessLogError> {
    let size = cosigned.checkpoint.size;
    let row = query("SELECT size, note FROM access_checkpoint WHERE size = $1")
        .bind(sql_int(size))
        .fetch_optional(&mut *connection)
        .await?;
    let mut kept = read(&row.ok_or(Tampering::Checkpoint { size })?)?;
    if kept.checkpoint != cosigned.checkpoint {
        return Err(Tampering::Root { size }.into());
    }
    kept.merge(&cosigned);
    query("UPDATE access_checkpoint SET note = $2, cosigners = $3 WHERE size = $1")
        .bind(sql_int(size))
        .bind(kept.to_bytes())
        .bind(sql_int(cosigners as u64))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn latest(connection: &mut Connection) -> Result<Option<SignedCheckpoint>, AccessLogError> {
    let row =
        query("SELECT size, note FROM access_checkpoint ORDER BY size DESC LIMIT 1").fetch_optional(connection).await?;
    row.map(|row| read(&row)).transpose()
}

pub(super) async fn page(
    connection: &mut Connection,
    above: Option<u64>,
    limit: usize,
) -> Result<Vec<SignedCheckpoint>, AccessLogError> {
    let rows = query("SELECT size, note FROM access_checkpoint WHERE size > $1 ORDER BY size LIMIT $2")
        .bind(above.map_or(-1, sql_int))
        .bind(sql_limit(limit))
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<SignedCheckpoint, AccessLogError> {
    let size = columns::count(row, "size")?;
    let note = columns::bytes(row, "note")?;
    match SignedCheckpoint::from_bytes(&note) {
        Ok(signed) if signed.checkpoint.size == size => Ok(signed),
        _ => Err(Tampering::Checkpoint { size }.into()),
    }
}

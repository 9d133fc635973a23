//! Other members' access logs, as far as this node cosigned their heads, and what contradicts that.
//!
//! INVARIANT: what is cosigned is durable before the signature exists, and never goes back.

use comity_core::access::witness::{Known, Offered, Unwitnessed};
use comity_core::checkpoint::SignedCheckpoint;
use comity_core::{MemberId, Timestamp};

use crate::columns::{self, sql_int, sql_limit};
use crate::database::{Connection, Database};
use crate::error::StoreError;
use crate::sql::{Row, query};

/// The most contradictions of one member that are kept.
pub const CONFLICTS_MAX: i64 = 1_000;

/// What this node cosigned of others' logs.
#[derive(Debug, Clone)]
pub struct Witness {
    database: Database,
}

/// The last head of a member's log that this node cosigned.
#[derive(Debug, Clone, PartialEq)]
pub struct WitnessedLog {
    /// Whose log.
    pub member: MemberId,
    /// Its incarnation.
    pub incarnation: u64,
    /// The head, as the log signed it.
    pub note: SignedCheckpoint,
    /// When it was cosigned.
    pub at: Timestamp,
}

impl WitnessedLog {
    fn known(&self) -> Known {
        Known { head: self.note.checkpoint.clone(), incarnation: self.incarnation }
    }
}

/// What a member's log signed against what it had signed before: evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Whose log.
    pub member: MemberId,
    /// What is wrong with it.
    pub why: String,
    /// What this node had cosigned.
    pub known: SignedCheckpoint,
    /// What it was offered.
    pub offered: SignedCheckpoint,
    /// When.
    pub at: Timestamp,
}

/// What became of a head that was offered.
#[derive(Debug, Clone, PartialEq)]
pub enum Witnessed {
    /// It may be cosigned, with this time.
    Taken(Timestamp),
    /// It may not; and the last one that was.
    Refused(Unwitnessed, Option<Box<SignedCheckpoint>>),
}

impl Witness {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Takes a head that a member's log signed as the last one, or keeps it as evidence.
    ///
    /// # Errors
    /// The database failed: nothing may be signed.
    pub async fn offer(
        &self,
        member: MemberId,
        offered: Offered,
        note: SignedCheckpoint,
        at: Timestamp,
    ) -> Result<Witnessed, StoreError> {
        self.database.write(move |c| Box::pin(async move { offer(c, member, &offered, note, at).await })).await
    }

    /// The last head of each incarnation of a member's log that was cosigned, the latest incarnation first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn of(&self, member: MemberId) -> Result<Vec<WitnessedLog>, StoreError> {
        of(&mut self.database.read().await?, member).await
    }

    /// The same, of everybody's logs.
    ///
    /// # Errors
    /// The database failed.
    pub async fn all(&self) -> Result<Vec<WitnessedLog>, StoreError> {
        let rows = query("SELECT * FROM witnessed_log ORDER BY member, incarnation DESC")
            .fetch_all(&mut self.database.read().await?)
            .await?;
        rows.iter().map(read).collect()
    }

    /// What contradicts what was cosigned, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn conflicts(&self, limit: usize) -> Result<Vec<Conflict>, StoreError> {
        let rows = query("SELECT * FROM witness_conflict ORDER BY at DESC, member, size LIMIT $1")
            .bind(sql_limit(limit))
            .fetch_all(&mut self.database.read().await?)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Conflict {
                    member: columns::parsed(row, "member")?,
                    why: columns::text(row, "why")?,
                    known: note(row, "known")?,
                    offered: note(row, "offered")?,
                    at: columns::instant(row, "at")?,
                })
            })
            .collect()
    }

    /// How many contradictions are kept.
    ///
    /// # Errors
    /// The database failed.
    pub async fn conflict_count(&self) -> Result<u64, StoreError> {
        let row =
            query("SELECT count(*) AS found FROM witness_conflict").fetch_one(&mut self.database.read().await?).await?;
        columns::count(&row, "found")
    }
}

async fn offer(
    connection: &mut Connection,
    member: MemberId,
    offered: &Offered,
    note: SignedCheckpoint,
    at: Timestamp,
) -> Result<Witnessed, StoreError> {
    let last = of(connection, member).await?.into_iter().next();
    if let Err(why) = offered.judge(last.as_ref().map(WitnessedLog::known).as_ref()) {
        if let Some(last) = last.as_ref().filter(|_| why.is_evidence()) {
            keep(connection, last, why, offered, &note, at).await?;
        }
        return Ok(Witnessed::Refused(why, last.map(|last| Box::new(last.note))));
    }
    // A clock that was set back must not make a later signature look like an earlier one.
    let at = last.map_or(at, |last| last.at.max(at));
    query(
        "INSERT INTO witnessed_log (member, incarnation, note, at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (member, incarnation) DO UPDATE SET note = excluded.note, at = excluded.at",
    )
    .bind(member.as_str())
    .bind(sql_int(offered.incarnation))
    .bind(note.to_bytes())
    .bind(at.as_micros())
    .execute(connection)
    .await?;
    Ok(Witnessed::Taken(at))
}

async fn keep(
    connection: &mut Connection,
    last: &WitnessedLog,
    why: Unwitnessed,
    offered: &Offered,
    note: &SignedCheckpoint,
    at: Timestamp,
) -> Result<(), StoreError> {
    let row = query("SELECT count(*) AS found FROM witness_conflict WHERE member = $1")
        .bind(last.member.as_str())
        .fetch_one(&mut *connection)
        .await?;
    if row.get::<i64>("found")? >= CONFLICTS_MAX {
        return Ok(());
    }
    query(
        "INSERT INTO witness_conflict (member, incarnation, size, root, why, known, offered, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(last.member.as_str())
    .bind(sql_int(offered.incarnation))
    .bind(sql_int(offered.head.size))
    .bind(offered.head.root.0.to_vec())
    .bind(why.as_str())
    .bind(last.note.to_bytes())
    .bind(note.to_bytes())
    .bind(at.as_micros())
    .execute(connection)
    .await?;
    Ok(())
}

async fn of(connection: &mut Connection, member: MemberId) -> Result<Vec<WitnessedLog>, StoreError> {
    let rows = query("SELECT * FROM witnessed_log WHERE member = $1 ORDER BY incarnation DESC")
        .bind(member.as_str())
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<WitnessedLog, StoreError> {
    Ok(WitnessedLog {
        member: columns::parsed(row, "member")?,
        incarnation: columns::count(row, "incarnation")?,
        note: note(row, "note")?,
        at: columns::instant(row, "at")?,
    })
}

fn note(row: &Row, column: &'static str) -> Result<SignedCheckpoint, StoreError> {
    SignedCheckpoint::from_bytes(&columns::bytes(row, column)?).map_err(|_| StoreError::Corrupt { column })
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;

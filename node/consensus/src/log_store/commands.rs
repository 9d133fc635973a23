//! The commands whose entries are purged, as rows; those of a snapshot on its way in; and erased texts.

use std::collections::HashSet;
use std::io;

use comity_core::canonical::Hex32;
use comity_core::list::Submission;
use comity_proto::v1;
use futures::TryStreamExt as _;
use prost::Message as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::rows::{broken, column, digest_of, failed, from_sql, log_id, text_of, to_sql};
use crate::types::{Command, LogId, RaftLeaderId, StoredMembership};
use crate::wire;

/// Up to where the log is purged, and what followed from it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Purged {
    /// The last entry that is purged.
    pub(crate) last: LogId,
    /// How many leaves the command log had then.
    pub(crate) commands: u64,
    /// The membership then.
    pub(crate) membership: StoredMembership,
}

impl Purged {
    pub(super) fn end(&self) -> u64 {
        self.last.index + 1
    }
}

pub(super) async fn purged(db: &mut SqliteConnection) -> io::Result<Option<Purged>> {
    let row = sqlx::query(
        "SELECT term, leader, idx, commands, membership_term, membership_leader, membership_idx, membership FROM purged",
    )
    .fetch_optional(db)
    .await
    .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let membership = match column::<Option<Vec<u8>>>(&row, 7)? {
        None => StoredMembership::default(),
        Some(body) => {
            let leader_id = RaftLeaderId { term: from_sql(column(&row, 4)?)?, node_id: from_sql(column(&row, 5)?)? };
            let id = LogId { leader_id, index: from_sql(column(&row, 6)?)? };
            StoredMembership::new(Some(id), membership(&body)?)
        }
    };
    Ok(Some(Purged { last: log_id(&row)?, commands: from_sql(column(&row, 3)?)?, membership }))
}

fn membership(body: &[u8]) -> io::Result<crate::types::Membership> {
    let wire = v1::RaftMembership::decode(body).map_err(|_| broken("membership"))?;
    wire::membership(wire).map_err(|e| broken(&e.to_string()))
}

async fn save_purged(db: &mut SqliteConnection, purged: &Purged) -> io::Result<()> {
    let id = purged.membership.log_id().as_ref();
    let body = id.map(|_| wire::from_membership(purged.membership.membership()).encode_to_vec());
    sqlx::query("INSERT OR REPLACE INTO purged VALUES (1, $1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(to_sql(purged.last.leader_id.term))
        .bind(to_sql(purged.last.leader_id.node_id))
        .bind(to_sql(purged.last.index))
        .bind(to_sql(purged.commands))
        .bind(id.map(|id| to_sql(id.leader_id.term)))
        .bind(id.map(|id| to_sql(id.leader_id.node_id)))
        .bind(id.map(|id| to_sql(id.index)))
        .bind(body)
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(())
}

/// That the commands end where the log begins.
pub(super) async fn check_end(db: &mut SqliteConnection, commands: u64) -> io::Result<()> {
    let row = sqlx::query("SELECT max(leaf) FROM command").fetch_one(db).await.map_err(failed)?;
    let last = column::<Option<i64>>(&row, 0)?.map(from_sql).transpose()?;
    if last.map_or(0, |leaf| leaf + 1) == commands { Ok(()) } else { Err(broken("commands are missing")) }
}

/// Leaves from `first` on, until they make `max_bytes`; at least one where there is one.
pub(super) async fn read(
    db: &SqlitePool,
    first: u64,
    limit: usize,
    max_bytes: usize,
) -> io::Result<(Vec<Submission>, usize)> {
    let mut rows = sqlx::query(
        "SELECT c.leaf, c.envelope, t.salt, t.text FROM command c LEFT JOIN public_text t ON t.digest = c.text_digest \
         WHERE c.leaf >= $1 ORDER BY c.leaf LIMIT $2",
    )
    .bind(to_sql(first))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch(db);
    let (mut found, mut bytes) = (Vec::new(), 0usize);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let expected = first + found.len() as u64;
        if from_sql(column(&row, 0)?)? != expected {
            return Err(broken(&format!("command {expected} is missing")));
        }
        let submission = Submission { envelope: column(&row, 1)?, public_text: text_of(&row, 2)? };
        let size = size_bytes(&submission);
        if !found.is_empty() && bytes.saturating_add(size) > max_bytes {
            return Ok((found, max_bytes));
        }
        bytes = bytes.saturating_add(size);
        found.push(submission);
    }
    Ok((found, bytes))
}

/// Roughly how much a submission takes.
pub(super) fn size_bytes(submission: &Submission) -> usize {
    64 + submission.envelope.len() + submission.public_text.as_ref().map_or(0, |text| text.bytes.len())
}

/// Purges the log from its beginning, at most `max_entries` and at most up to `upto`. `leaves` are the first leaf that is not
/// purged, and where it and those after it stand. Answers how far it has got.
///
/// INVARIANT: what was accepted is moved, what was refused is dropped, and what is not applied is not touched.
pub(super) async fn purge(
    db: &mut SqliteConnection,
    before: Option<&Purged>,
    upto: &LogId,
    max_entries: u64,
    leaves: &super::Leaves,
) -> io::Result<Purged> {
    let row = sqlx::query("SELECT min(idx) FROM raft_log").fetch_one(&mut *db).await.map_err(failed)?;
    let first = column::<Option<i64>>(&row, 0)?.map(from_sql).transpose()?.unwrap_or(upto.index);
    let end = first.saturating_add(max_entries).min(upto.index + 1);
    let row = sqlx::query("SELECT term, leader, idx FROM raft_log WHERE idx = $1")
        .bind(to_sql(end - 1))
        .fetch_optional(&mut *db)
        .await
        .map_err(failed)?;
    let last = if end > upto.index { *upto } else { log_id(&row.ok_or_else(|| broken("an entry is missing"))?)? };
    let open = sqlx::query("SELECT EXISTS (SELECT 1 FROM raft_log WHERE kind = 1 AND idx >= $1 AND idx < $2)")
        .bind(to_sql(leaves.applied_end()))
        .bind(to_sql(end))
        .fetch_one(&mut *db)
        .await
        .map_err(failed)?;
    if column::<bool>(&open, 0)? {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "commands that are not applied would be purged"));
    }

    let (leaf, indexes) = leaves.below(end);
    move_leaves(&mut *db, leaf, &indexes).await?;
    let purged =
        Purged { last, commands: leaf + indexes.len() as u64, membership: latest(&mut *db, before, end).await? };
    cut(&mut *db, end).await?;
    save_purged(db, &purged).await?;
    Ok(purged)
}

/// The membership below `end`.
async fn latest(db: &mut SqliteConnection, before: Option<&Purged>, end: u64) -> io::Result<StoredMembership> {
    let sql = "SELECT term, leader, idx, body FROM raft_log WHERE kind = 2 AND idx < $1 ORDER BY idx DESC LIMIT 1";
    let row = sqlx::query(sql).bind(to_sql(end)).fetch_optional(db).await.map_err(failed)?;
    match row {
        Some(row) => Ok(StoredMembership::new(Some(log_id(&row)?), membership(&column::<Vec<u8>>(&row, 3)?)?)),
        None => Ok(before.map(|purged| purged.membership.clone()).unwrap_or_default()),
    }
}

/// Copies the entries at `indexes` to where leaves are kept, from leaf `first` on: a statement for each run without a gap.
async fn move_leaves(db: &mut SqliteConnection, first: u64, indexes: &[u64]) -> io::Result<()> {
    let mut leaf = first;
    for run in indexes.chunk_by(|one, next| *next == one + 1) {
        let (Some(start), Some(last)) = (run.first(), run.last()) else { continue };
        let moved = sqlx::query(
            "INSERT INTO command (leaf, envelope, text_digest) SELECT idx - $1 + $2, body, text_digest FROM raft_log \
             WHERE idx BETWEEN $1 AND $3 AND kind = 1",
        )
        .bind(to_sql(*start))
        .bind(to_sql(leaf))
        .bind(to_sql(*last))
        .execute(&mut *db)
        .await
        .map_err(failed)?;
        if moved.rows_affected() != run.len() as u64 {
            return Err(broken("an accepted command is missing"));
        }
        leaf += run.len() as u64;
    }
    Ok(())
}

/// Deletes the entries below `end`, and the texts that only they had beside them.
async fn cut(db: &mut SqliteConnection, end: u64) -> io::Result<()> {
    sqlx::query(
        "DELETE FROM public_text WHERE digest IN (SELECT text_digest FROM raft_log WHERE idx < $1) \
         AND NOT EXISTS (SELECT 1 FROM command WHERE text_digest = public_text.digest) \
         AND NOT EXISTS (SELECT 1 FROM raft_log WHERE text_digest = public_text.digest AND idx >= $1)",
    )
    .bind(to_sql(end))
    .execute(&mut *db)
    .await
    .map_err(failed)?;
    sqlx::query("DELETE FROM raft_log WHERE idx < $1").bind(to_sql(end)).execute(db).await.map_err(failed)?;
    Ok(())
}

/// Puts commands of a snapshot aside, from leaf `first` on.
pub(super) async fn stage(db: &mut SqliteConnection, first: u64, commands: &[Command]) -> io::Result<()> {
    for (leaf, command) in (first..).zip(commands) {
        let text = command.submission().public_text.as_ref();
        sqlx::query(
            "INSERT OR REPLACE INTO staged (leaf, envelope, text_digest, salt, text) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(to_sql(leaf))
        .bind(command.submission().envelope.as_slice())
        .bind(command.text_digest().map(|digest| digest.0.to_vec()))
        .bind(text.map(|text| text.salt.0.as_slice()))
        .bind(text.map(|text| text.bytes.as_slice()))
        .execute(&mut *db)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

pub(super) async fn clear_staged(db: &mut SqliteConnection) -> io::Result<()> {
    sqlx::query("DELETE FROM staged").execute(db).await.map_err(failed)?;
    Ok(())
}

/// Makes a snapshot this node's own: the leaves below `staged_from` it has in its log or purged, the others are put aside.
pub(super) async fn install(
    db: &mut SqliteConnection,
    snapshot: &Purged,
    staged_from: u64,
    leaves: &super::Leaves,
) -> io::Result<()> {
    let (leaf, mut indexes) = leaves.below(u64::MAX);
    indexes.truncate(usize::try_from(staged_from.saturating_sub(leaf)).unwrap_or(usize::MAX));
    move_leaves(&mut *db, leaf, &indexes).await?;
    // What was purged since the snapshot was begun is there already, and is the same.
    sqlx::query(
        "INSERT OR IGNORE INTO command (leaf, envelope, text_digest) \
         SELECT leaf, envelope, text_digest FROM staged WHERE leaf >= $1 AND leaf < $2",
    )
    .bind(to_sql(staged_from))
    .bind(to_sql(snapshot.commands))
    .execute(&mut *db)
    .await
    .map_err(failed)?;
    sqlx::query(
        "INSERT OR IGNORE INTO public_text (digest, salt, text) SELECT text_digest, salt, text FROM staged \
         WHERE leaf >= $1 AND leaf < $2 AND text IS NOT NULL AND text_digest NOT IN (SELECT digest FROM erased_text)",
    )
    .bind(to_sql(staged_from))
    .bind(to_sql(snapshot.commands))
    .execute(&mut *db)
    .await
    .map_err(failed)?;
    check_end(&mut *db, snapshot.commands).await?;
    cut(&mut *db, snapshot.end()).await?;
    // Where nothing of it was used, it is what another snapshot is being pulled for.
    if staged_from < snapshot.commands {
        clear_staged(&mut *db).await?;
    }
    save_purged(db, snapshot).await
}

pub(super) async fn erased(db: &mut SqliteConnection) -> io::Result<HashSet<Hex32>> {
    let rows = sqlx::query("SELECT digest FROM erased_text").fetch_all(db).await.map_err(failed)?;
    rows.iter().map(digest_of).collect()
}

/// Deletes a text for good.
pub(super) async fn erase(db: &mut SqliteConnection, digest: Hex32) -> io::Result<()> {
    for sql in [
        "INSERT OR IGNORE INTO erased_text (digest) VALUES ($1)",
        "DELETE FROM public_text WHERE digest = $1",
        "UPDATE staged SET salt = NULL, text = NULL WHERE text_digest = $1",
    ] {
        sqlx::query(sql).bind(digest.0.as_slice()).execute(&mut *db).await.map_err(failed)?;
    }
    Ok(())
}

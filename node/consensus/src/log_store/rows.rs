//! Rows of `consensus.db` and what they stand for.

use std::collections::HashSet;
use std::io;

use comity_core::canonical::Hex32;
use comity_core::list::{PublicText, Submission};
use comity_proto::v1;
use futures::TryStreamExt as _;
use openraft::EntryPayload;
use prost::Message as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::recent::entry_bytes;
use crate::types::{Command, Entry, LogId, RaftLeaderId, Vote};
use crate::wire;

const BLANK: i64 = 0;
const COMMAND: i64 = 1;
const MEMBERSHIP: i64 = 2;

/// Indexes and terms stay below 2^53, so nothing is cut off here.
pub(super) fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn from_sql(number: i64) -> io::Result<u64> {
    u64::try_from(number).map_err(|_| broken("a negative number"))
}

pub(super) fn failed(error: sqlx::Error) -> io::Error {
    io::Error::other(error)
}

pub(super) fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("consensus.db: {what}: the file was damaged or edited"))
}

pub(super) fn column<'r, T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(
    row: &'r SqliteRow,
    at: usize,
) -> io::Result<T> {
    row.try_get(at).map_err(failed)
}

pub(super) fn log_id(row: &SqliteRow) -> io::Result<LogId> {
    let leader_id = RaftLeaderId { term: from_sql(column(row, 0)?)?, node_id: from_sql(column(row, 1)?)? };
    Ok(LogId { leader_id, index: from_sql(column(row, 2)?)? })
}

pub(super) async fn vote(db: &mut SqliteConnection) -> io::Result<Option<Vote>> {
    let row = sqlx::query("SELECT term, node, committed FROM raft_vote").fetch_optional(db).await.map_err(failed)?;
    row.map(|row| {
        let (term, node) = (from_sql(column(&row, 0)?)?, from_sql(column(&row, 1)?)?);
        Ok(if column::<i64>(&row, 2)? != 0 { Vote::new_committed(term, node) } else { Vote::new(term, node) })
    })
    .transpose()
}

pub(super) async fn committed(db: &mut SqliteConnection) -> io::Result<Option<LogId>> {
    let row = sqlx::query("SELECT term, leader, idx FROM raft_committed").fetch_optional(db).await.map_err(failed)?;
    row.as_ref().map(log_id).transpose()
}

pub(super) async fn last(db: &mut SqliteConnection) -> io::Result<Option<LogId>> {
    let row = sqlx::query("SELECT term, leader, idx FROM raft_log ORDER BY idx DESC LIMIT 1")
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    row.as_ref().map(log_id).transpose()
}

/// That the log, if there is one, begins after what is purged.
pub(super) async fn check_beginning(db: &mut SqliteConnection, expected: u64) -> io::Result<()> {
    let row = sqlx::query("SELECT min(idx) FROM raft_log").fetch_one(db).await.map_err(failed)?;
    match column::<Option<i64>>(&row, 0)? {
        None => Ok(()),
        Some(first) if from_sql(first)? == expected => Ok(()),
        Some(_) => Err(broken("the beginning of the log is missing")),
    }
}

/// The entries of `start..end`, from its beginning, until they make `max_bytes`, and how many bytes they are.
pub(super) async fn entries(
    db: &SqlitePool,
    start: u64,
    end: u64,
    max_bytes: usize,
) -> io::Result<(Vec<Entry>, usize)> {
    let mut rows = sqlx::query(
        "SELECT l.term, l.leader, l.idx, l.kind, l.body, t.salt, t.text \
         FROM raft_log l LEFT JOIN public_text t ON t.digest = l.text_digest \
         WHERE l.idx >= $1 AND l.idx < $2 ORDER BY l.idx",
    )
    .bind(to_sql(start))
    .bind(to_sql(end))
    .fetch(db);
    let (mut entries, mut bytes, mut expected) = (Vec::new(), 0usize, start);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let entry = entry(&row)?;
        if entry.log_id.index != expected {
            return Err(broken(&format!("entry {expected} is missing")));
        }
        let size = entry_bytes(&entry);
        if !entries.is_empty() && bytes.saturating_add(size) > max_bytes {
            // Full, though perhaps not to the last byte: said so, for nothing is missing.
            return Ok((entries, max_bytes));
        }
        bytes = bytes.saturating_add(size);
        entries.push(entry);
        expected += 1;
    }
    Ok((entries, bytes))
}

fn entry(row: &SqliteRow) -> io::Result<Entry> {
    let log_id = log_id(row)?;
    let body = || column::<Option<Vec<u8>>>(row, 4).and_then(|body| body.ok_or_else(|| broken("an entry has no body")));
    let payload = match column::<i64>(row, 3)? {
        BLANK => EntryPayload::Blank,
        COMMAND => {
            EntryPayload::Normal(Command::settled(Submission { envelope: body()?, public_text: text_of(row, 5)? }))
        }
        MEMBERSHIP => {
            let wire = v1::RaftMembership::decode(body()?.as_slice()).map_err(|_| broken("membership"))?;
            EntryPayload::Membership(wire::membership(wire).map_err(|e| broken(&e.to_string()))?)
        }
        _ => return Err(broken("an entry of unknown kind")),
    };
    Ok(Entry { log_id, payload })
}

/// A text whose salt is in column `at`, if it is still there.
pub(super) fn text_of(row: &SqliteRow, at: usize) -> io::Result<Option<PublicText>> {
    let (salt, bytes): (Option<Vec<u8>>, Option<Vec<u8>>) = (column(row, at)?, column(row, at + 1)?);
    let (Some(salt), Some(bytes)) = (salt, bytes) else { return Ok(None) };
    let salt = Hex32(salt.try_into().map_err(|_| broken("a salt that is not 32 bytes"))?);
    Ok(Some(PublicText { salt, bytes }))
}

pub(super) async fn text(db: &SqlitePool, digest: Hex32) -> io::Result<Option<PublicText>> {
    let row = sqlx::query("SELECT salt, text FROM public_text WHERE digest = $1")
        .bind(digest.0.as_slice())
        .fetch_optional(db)
        .await
        .map_err(failed)?;
    row.as_ref().map_or(Ok(None), |row| text_of(row, 0))
}

/// The most rows in one statement.
const MAX_ROWS: usize = 64;

/// Appends entries, and the texts beside them. Several rows go into a statement, in powers of two, so that the few statements
/// there are stay prepared.
pub(super) async fn insert(db: &mut SqliteConnection, entries: &[&Entry]) -> io::Result<()> {
    let mut rest = entries;
    while !rest.is_empty() {
        let rows = 1 << rest.len().min(MAX_ROWS).ilog2();
        let (now, later) = rest.split_at(rows);
        let values = ["(?, ?, ?, ?, ?, ?)"].repeat(rows).join(", ");
        let sql = format!("INSERT INTO raft_log (term, leader, idx, kind, body, text_digest) VALUES {values}");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for entry in now {
            let (kind, body, digest) = parts(&entry.payload);
            query = query
                .bind(to_sql(entry.log_id.leader_id.term))
                .bind(to_sql(entry.log_id.leader_id.node_id))
                .bind(to_sql(entry.log_id.index))
                .bind(kind)
                .bind(body)
                .bind(digest.map(|digest| digest.0.to_vec()));
        }
        query.execute(&mut *db).await.map_err(failed)?;
        rest = later;
    }
    for entry in entries {
        if let EntryPayload::Normal(command) = &entry.payload
            && let (Some(digest), Some(text)) = (command.text_digest(), &command.submission().public_text)
        {
            insert_text(&mut *db, digest, text).await?;
        }
    }
    Ok(())
}

/// Puts a text down, unless it was erased.
pub(super) async fn keep_text(db: &mut SqliteConnection, digest: Hex32, text: &PublicText) -> io::Result<()> {
    let erased = sqlx::query("SELECT EXISTS (SELECT 1 FROM erased_text WHERE digest = $1)");
    let row = erased.bind(digest.0.as_slice()).fetch_one(&mut *db).await.map_err(failed)?;
    if column::<bool>(&row, 0)? { Ok(()) } else { insert_text(db, digest, text).await }
}

/// The digests of all texts.
pub(super) async fn text_digests(db: &SqlitePool) -> io::Result<HashSet<Hex32>> {
    let rows = sqlx::query("SELECT digest FROM public_text").fetch_all(db).await.map_err(failed)?;
    rows.iter().map(digest_of).collect()
}

/// The digest in a row's first column.
pub(super) fn digest_of(row: &SqliteRow) -> io::Result<Hex32> {
    let bytes: Vec<u8> = column(row, 0)?;
    bytes.try_into().map(Hex32).map_err(|_| broken("a digest that is not 32 bytes"))
}

async fn insert_text(db: &mut SqliteConnection, digest: Hex32, text: &PublicText) -> io::Result<()> {
    sqlx::query("INSERT INTO public_text (digest, salt, text) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
        .bind(digest.0.as_slice())
        .bind(text.salt.0.as_slice())
        .bind(text.bytes.as_slice())
        .execute(db)
        .await
        .map_err(failed)?;
    Ok(())
}

fn parts(payload: &crate::types::Payload) -> (i64, Option<Vec<u8>>, Option<Hex32>) {
    match payload {
        EntryPayload::Blank => (BLANK, None, None),
        EntryPayload::Normal(command) => (COMMAND, Some(command.submission().envelope.clone()), command.text_digest()),
        EntryPayload::Membership(membership) => {
            (MEMBERSHIP, Some(wire::from_membership(membership).encode_to_vec()), None)
        }
    }
}

/// Cuts the log off, and the texts that only what is cut off had beside it.
pub(super) async fn truncate(db: &mut SqliteConnection, from: u64) -> io::Result<()> {
    sqlx::query(
        "DELETE FROM public_text WHERE digest IN (SELECT text_digest FROM raft_log WHERE idx >= $1) \
         AND digest NOT IN (SELECT text_digest FROM raft_log WHERE idx < $1 AND text_digest IS NOT NULL) \
         AND NOT EXISTS (SELECT 1 FROM command WHERE text_digest = public_text.digest)",
    )
    .bind(to_sql(from))
    .execute(&mut *db)
    .await
    .map_err(failed)?;
    sqlx::query("DELETE FROM raft_log WHERE idx >= $1").bind(to_sql(from)).execute(db).await.map_err(failed)?;
    Ok(())
}

pub(super) async fn save_vote(db: &mut SqliteConnection, vote: &Vote) -> io::Result<()> {
    sqlx::query(
        "INSERT INTO raft_vote (id, term, node, committed) VALUES (1, $1, $2, $3) ON CONFLICT (id) DO UPDATE \
         SET term = excluded.term, node = excluded.node, committed = excluded.committed",
    )
    .bind(to_sql(vote.leader_id.term))
    .bind(to_sql(vote.leader_id.node_id))
    .bind(i64::from(vote.committed))
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}

pub(super) async fn save_committed(db: &mut SqliteConnection, committed: &LogId) -> io::Result<()> {
    sqlx::query(
        "INSERT INTO raft_committed (id, term, leader, idx) VALUES (1, $1, $2, $3) ON CONFLICT (id) DO UPDATE \
         SET term = excluded.term, leader = excluded.leader, idx = excluded.idx",
    )
    .bind(to_sql(committed.leader_id.term))
    .bind(to_sql(committed.leader_id.node_id))
    .bind(to_sql(committed.index))
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}

//! A log that is long already: its leaves and hashes are put in by SQL, as the node would have written them, without waiting for the
//! disk at each.

use std::path::Path;

use comity_core::access::AccessLeaf;
use comity_core::canonical::Hex32;
use comity_core::merkle::Frontier;
use ed25519_dalek::SigningKey;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Sqlite, SqliteConnection, query::Query};

use super::record;
use crate::Problem;

/// Leaves to a statement.
const STEP: u64 = 500;
/// Leaves to a transaction.
const COMMIT: u64 = 100_000;

/// Fills an empty log, and signs it.
pub(super) async fn fill(store: &Path, leaves: u64) -> Result<(), Problem> {
    let options = SqliteConnectOptions::new()
        .filename(store)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Off)
        .foreign_keys(false)
        .pragma("cache_size", "-262144")
        .statement_cache_capacity(16)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    let mut frontier = Frontier::default();
    while frontier.size() < leaves {
        sqlx::query("BEGIN").execute(&mut connection).await?;
        let end = leaves.min(frontier.size() + COMMIT);
        while frontier.size() < end {
            let next = end.min(frontier.size() + STEP);
            step(&mut connection, &mut frontier, next).await?;
        }
        sqlx::query("COMMIT").execute(&mut connection).await?;
    }
    let checkpoint = comity_core::checkpoint::Checkpoint {
        origin: "fr.comity.example/access-log/1".to_owned(),
        size: frontier.size(),
        root: frontier.root(),
    };
    let mut signed = comity_core::checkpoint::SignedCheckpoint::unsigned(checkpoint);
    signed.sign(&SigningKey::from_bytes(&[3; 32]));
    sqlx::query("INSERT INTO access_checkpoint (size, note, cosigners) VALUES (?, ?, 0)")
        .bind(i64::try_from(leaves)?)
        .bind(signed.to_bytes())
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(())
}

async fn step(connection: &mut SqliteConnection, frontier: &mut Frontier, end: u64) -> Result<(), Problem> {
    let first = frontier.size();
    let mut hashes = Vec::new();
    let mut leaves = sqlx::query(AssertSqlSafe(insert(
        "access_leaf (n, salt, record, annex, hash, at, who, role, member, action, outcome)",
        "(?, ?, ?, x'', ?, ?, ?, 'operator', 'FR', ?, 'allowed')",
        end - first,
    )));
    let mut touched = sqlx::query(AssertSqlSafe(insert("access_touched (resource, n)", "(?, ?)", end - first)));
    for n in first..end {
        let record = record(n)?;
        let mut salt = [0; 32];
        getrandom::fill(&mut salt)?;
        let leaf = AccessLeaf::new(&record, [Hex32(salt), Hex32([0; 32])]);
        let hash = leaf.hash();
        hashes.extend(frontier.append(hash));
        let number = i64::try_from(n)?;
        leaves = leaves.bind(number).bind(salt.to_vec()).bind(leaf.record).bind(hash.0.to_vec());
        leaves = leaves.bind(record.at.as_micros()).bind(record.who.map(|who| who.to_string())).bind(record.action);
        touched = touched.bind(record.touched.into_iter().next().map(|touched| touched.resource)).bind(number);
    }
    leaves.execute(&mut *connection).await?;
    touched.execute(&mut *connection).await?;
    let index = Frontier::stored_before(first);
    // Their number differs from step to step: in pieces that are prepared once.
    for (piece, at) in hashes.chunks(250).zip((index..).step_by(250)) {
        put_hashes(connection, piece, at).await?;
    }
    Ok(())
}

async fn put_hashes(connection: &mut SqliteConnection, hashes: &[Hex32], at: u64) -> Result<(), Problem> {
    let sql = insert("access_hash (idx, hash)", "(?, ?)", hashes.len() as u64);
    let mut query: Query<'_, Sqlite, SqliteArguments> = sqlx::query(AssertSqlSafe(sql));
    for (hash, index) in hashes.iter().zip(at..) {
        query = query.bind(i64::try_from(index)?).bind(hash.0.to_vec());
    }
    query.execute(connection).await?;
    Ok(())
}

fn insert(into: &str, row: &str, rows: u64) -> String {
    let rows: Vec<&str> = (0..rows).map(|_| row).collect();
    format!("INSERT INTO {into} VALUES {}", rows.join(", "))
}

//! Bare SQLite on the same disk in the same run: one table, the same durability, nothing else.

use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};

use crate::Problem;

/// About as many bytes as an access record has.
const ROW_BYTES: usize = 300;

/// What it does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bare {
    pub(super) one_row_per_s: f64,
    pub(super) hundred_rows_per_s: f64,
}

impl Bare {
    /// Each for this long.
    pub(super) async fn measure(folder: &Path, length: Duration) -> Result<Self, Problem> {
        let path = folder.join("bare.db");
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", "4000")
            .disable_statement_logging();
        let mut connection = options.connect().await?;
        sqlx::query("CREATE TABLE IF NOT EXISTS bare (n INTEGER PRIMARY KEY, data BLOB NOT NULL)")
            .execute(&mut connection)
            .await?;
        let one_row_per_s = rows_per_s(&mut connection, 1, length).await?;
        let hundred_rows_per_s = rows_per_s(&mut connection, 100, length).await?;
        connection.close().await?;
        std::fs::remove_file(path)?;
        Ok(Self { one_row_per_s, hundred_rows_per_s })
    }

    /// Between this and another.
    pub(super) fn mean(self, other: Self) -> Self {
        Self {
            one_row_per_s: (self.one_row_per_s + other.one_row_per_s) / 2.0,
            hundred_rows_per_s: (self.hundred_rows_per_s + other.hundred_rows_per_s) / 2.0,
        }
    }
}

/// One statement is one commit: so many rows to each.
async fn rows_per_s(connection: &mut SqliteConnection, rows: usize, length: Duration) -> Result<f64, Problem> {
    let values = vec!["(?)"; rows].join(", ");
    let sql = format!("INSERT INTO bare (data) VALUES {values}");
    let data = vec![7_u8; ROW_BYTES];
    let (begin, mut written) = (Instant::now(), 0);
    while begin.elapsed() < length {
        let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
        for _ in 0..rows {
            query = query.bind(data.as_slice());
        }
        query.execute(&mut *connection).await?;
        written += rows;
    }
    Ok(written as f64 / begin.elapsed().as_secs_f64())
}

//! Numbered migrations. A step that was published never changes: another step follows it.

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use crate::database::{Connection, Dialect};
use crate::error::{OpenError, StoreError};

fn migrations(dialect: Dialect) -> Vec<Migration> {
    let step = |version, name: &'static str, sql: &'static str| {
        let sql = AssertSqlSafe(in_dialect(sql, dialect)).into_sql_str();
        Migration::new(version, name.into(), MigrationType::Simple, sql, false)
    };
    vec![step(1, "national store", include_str!("../migrations/0001_national_store.sql"))]
}

/// The little that has other names. SQLite's own row number as the key, and a table in the order of its key, spare it a second
/// tree.
fn in_dialect(sql: &str, dialect: Dialect) -> String {
    let (bytes, row_number, clustered) = match dialect {
        Dialect::Sqlite => (" BLOB", " INTEGER PRIMARY KEY", ") WITHOUT ROWID;"),
        Dialect::Postgres => (" BYTEA", " BIGINT PRIMARY KEY", ");"),
    };
    sql.replace(" BYTES", bytes).replace(" ROWID PRIMARY KEY", row_number).replace(") CLUSTERED;", clustered)
}

/// Brings the schema up to date, each step in a transaction of its own.
///
/// # Errors
/// The store was written by a newer comity, by a preview whose stores are not taken over, or a step failed.
pub(crate) async fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let migrator = Migrator::with_migrations(migrations(connection.dialect()));
    let known = migrator.iter().map(|step| step.version).max().unwrap_or(0);
    let migrated = if let Some(connection) = connection.sqlite() {
        migrator.run_direct(None, connection, false).await
    } else if let Some(connection) = connection.postgres() {
        migrator.run_direct(None, connection, false).await
    } else {
        Ok(())
    };
    migrated.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::NewerSchema { found, known },
        MigrateError::VersionMismatch(_) => OpenError::Preview,
        MigrateError::Execute(error) => StoreError::from(error).into(),
        other => OpenError::Schema(other),
    })
}

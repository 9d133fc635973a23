//! Numbered migrations. A step that was published never changes: another step follows it.

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use crate::database::Connection;
use crate::error::{OpenError, StoreError};

fn migrations() -> Vec<Migration> {
    let step = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    vec![
        step(1, "national store", include_str!("../migrations/0001_national_store.sql")),
        step(2, "committee acts", include_str!("../migrations/0002_committee_acts.sql")),
    ]
}

/// Brings the schema up to date, each step in a transaction of its own.
///
/// # Errors
/// The store was written by a newer comity, or a step failed.
pub(crate) async fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    let migrator = Migrator::with_migrations(migrations());
    let known = migrator.iter().map(|step| step.version).max().unwrap_or(0);
    migrator.run_direct(None, connection, false).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::NewerSchema { found, known },
        MigrateError::Execute(error) => StoreError::from(error).into(),
        other => OpenError::Schema(other),
    })
}

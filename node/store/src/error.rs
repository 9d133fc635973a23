//! What goes wrong with the store as a whole; each subject has its own errors beside its methods.

use std::path::PathBuf;

use comity_core::MemberId;
use comity_core::canonical::Hex32;

use crate::access_log::AccessLogError;

/// The database did not do what it was asked. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite refused: disk full, input or output error, locked by something else.
    #[error("the national store's database failed: see whether its disk is full or broken")]
    Database(#[source] sqlx::Error),
    /// A row does not hold what this crate writes.
    #[error("column {column} holds something that comity did not write: restore the store from a backup")]
    Corrupt {
        /// The column.
        column: &'static str,
    },
    /// The node stopped before the write was through.
    #[error("the node is stopping: nothing was acknowledged")]
    Interrupted,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::PoolClosed => Self::Interrupted,
            other => Self::Database(other),
        }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file or its lock cannot be made or opened.
    #[error("national store {path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error("national store {path} is in use by another process: stop that node first")]
    InUse {
        /// Which file.
        path: PathBuf,
    },
    /// It is another member's.
    #[error("this store belongs to member {found}, not {expected}: check `store` and `member` in the configuration")]
    OtherMember {
        /// Whose it is.
        found: MemberId,
        /// Who opens it.
        expected: MemberId,
    },
    /// It is of another federation.
    #[error("this store belongs to federation {found}, not {expected}: the genesis file is not the one it began with")]
    OtherFederation {
        /// Which it is of.
        found: Hex32,
        /// Which the configuration names.
        expected: Hex32,
    },
    /// A later comity wrote it.
    #[error(
        "this store has schema version {found}, and this comity knows versions up to {known}: install the newer comity"
    )]
    NewerSchema {
        /// The newest version that was applied to it.
        found: i64,
        /// The newest version that this crate has.
        known: i64,
    },
    /// The schema could not be brought up to date; nothing of the failed step was kept.
    #[error("the store's schema could not be brought up to date")]
    Schema(#[source] sqlx::migrate::MigrateError),
    /// The access log does not hold together: the node must not serve.
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

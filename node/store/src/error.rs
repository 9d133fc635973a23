//! What goes wrong with the store as a whole; each subject has its own errors beside its methods.

use std::path::PathBuf;

use comity_core::MemberId;
use comity_core::canonical::Hex32;

use crate::access_log::AccessLogError;

/// The database did not do what it was asked. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused: disk full, input or output error, locked by something else, not to be reached.
    #[error("the national store's database failed: see whether its disk is full or broken, or its server down")]
    Database(#[source] sqlx::Error),
    /// A row does not hold what this crate writes.
    #[error("column {column} holds something that comity did not write: restore the store from a backup")]
    Corrupt {
        /// The column.
        column: &'static str,
    },
    /// Something that was sealed does not open.
    #[error("{what} does not open with the key that it should have: it was changed by hand, or restored in part")]
    Sealed {
        /// What.
        what: &'static str,
    },
    /// Its file, or the write-ahead log beside it, is no longer the one that was opened.
    #[error(
        "{file} was moved, removed or replaced while the node had it open: put back the very file, and the node goes on; if it is \
         gone, stop the node in order, which writes what it can into what is left"
    )]
    Moved {
        /// Its name.
        file: String,
    },
    /// After a failed commit, what the disk had was not yet written anew: other readers were in the way.
    #[error("what the disk held after a failure could not be written anew yet: it is tried again with the next write")]
    Unsettled,
    /// Another process has taken the store.
    #[error("another node has taken the national store: this one writes nothing any more; stop it")]
    LeaseLost,
    /// The list of what was destroyed cannot be written.
    #[error("the list of erasures beside the national store cannot be written: see whether its disk is full or broken")]
    Erasures,
    /// The system gave no randomness.
    #[error("the system gave no random bytes")]
    Random,
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
    /// Another node keeps renewing its lease on it.
    #[error("another node has this national store and is alive: stop that node first")]
    Leased,
    /// The server cannot be reached.
    #[error("the national store's server cannot be reached: see `[store]` in the configuration")]
    Connect(#[source] sqlx::Error),
    /// The server answers before its disk has it.
    #[error("the national store's server has {setting} = off, so that what it acknowledges can be lost: switch it on")]
    NotDurable {
        /// Which setting.
        setting: &'static str,
    },
    /// The location is not understood.
    #[error("store.url: {problem}")]
    Url {
        /// What is wrong with it.
        problem: String,
    },
    /// The store's key cannot be had.
    #[error(transparent)]
    Key(#[from] crate::seal::KeyFileError),
    /// An exchange of the store's key that a crash cut short could not be gone on with.
    #[error(transparent)]
    Rotation(#[from] crate::rotation::RotationError),
    /// A preview of comity wrote it.
    #[error(
        "this store was written by a preview of comity, before records were sealed: move it away and begin a new one;          what was agreed comes back from the other members"
    )]
    Preview,
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

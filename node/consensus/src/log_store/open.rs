//! Opening `consensus.db`: whose it is, what it holds, and its schema.

use std::collections::HashSet;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use comity_core::canonical::Hex32;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Row as _};

use super::commands::{self, Purged};
use super::{LogOwner, rows};
use crate::types::{LogId, Vote};

/// The schema that this software writes.
const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Migration `n` makes schema `n + 1` of schema `n`; the first makes it of an empty file.
const MIGRATIONS: [&str; 2] = [FIRST, COMMANDS];

const FIRST: &str = "
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    schema_version INTEGER NOT NULL,
    federation BLOB NOT NULL,
    member TEXT NOT NULL,
    node_id INTEGER NOT NULL
);
CREATE TABLE raft_vote (
    id INTEGER PRIMARY KEY CHECK (id = 1), term INTEGER NOT NULL, node INTEGER NOT NULL, committed INTEGER NOT NULL
);
CREATE TABLE raft_committed (
    id INTEGER PRIMARY KEY CHECK (id = 1), term INTEGER NOT NULL, leader INTEGER NOT NULL, idx INTEGER NOT NULL
);
-- kind: 0 blank, 1 command (body: the envelope), 2 membership (body: comity.v1.RaftMembership).
CREATE TABLE raft_log (
    idx INTEGER PRIMARY KEY,
    term INTEGER NOT NULL,
    leader INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    body BLOB,
    text_digest BLOB
);
CREATE INDEX raft_log_text ON raft_log (text_digest) WHERE text_digest IS NOT NULL;
-- Beside the log, so that a text can be erased while the log stays.
CREATE TABLE public_text (digest BLOB PRIMARY KEY, salt BLOB NOT NULL, text BLOB NOT NULL);
";

const COMMANDS: &str = "
-- Leaves of the command log whose entries of the Raft log are purged.
CREATE TABLE command (leaf INTEGER PRIMARY KEY, envelope BLOB NOT NULL, text_digest BLOB);
CREATE INDEX command_text ON command (text_digest) WHERE text_digest IS NOT NULL;
-- The last entry that is purged, how many leaves there were then, and the membership (comity.v1.RaftMembership).
CREATE TABLE purged (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    term INTEGER NOT NULL, leader INTEGER NOT NULL, idx INTEGER NOT NULL,
    commands INTEGER NOT NULL,
    membership_term INTEGER, membership_leader INTEGER, membership_idx INTEGER, membership BLOB
);
-- What was pulled of a snapshot that is not installed yet.
CREATE TABLE staged (leaf INTEGER PRIMARY KEY, envelope BLOB NOT NULL, text_digest BLOB, salt BLOB, text BLOB);
-- Digests of texts that were erased: what comes once more is erased again.
CREATE TABLE erased_text (digest BLOB PRIMARY KEY) WITHOUT ROWID;
";

/// Why the log was not opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLogError {
    /// The folder or the lock file cannot be used.
    #[error("{}: {source}", path.display())]
    Folder {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{}: another comity-node has this log open: stop it first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// SQLite refused.
    #[error("{}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: sqlx::Error,
    },
    /// What it holds cannot be read.
    #[error("{}: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was written by newer software.
    #[error("{}: schema {found}, this software knows up to {known}: run the version that wrote it", path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// It belongs to another federation.
    #[error(
        "{}: belongs to federation {found}, the configured genesis is {configured}: name the right genesis, or another folder",
        path.display()
    )]
    OtherFederation {
        /// The file.
        path: PathBuf,
        /// Its federation.
        found: Hex32,
        /// The configured one.
        configured: Hex32,
    },
    /// It belongs to another member.
    #[error("{}: belongs to {found}, this node is configured for {configured}: name another folder", path.display())]
    OtherMember {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// The configured member.
        configured: String,
    },
}

pub(super) struct Opened {
    pub(super) writer: SqliteConnection,
    pub(super) reader: SqlitePool,
    pub(super) lock: File,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) last: Option<LogId>,
    pub(super) purged: Option<Purged>,
    pub(super) erased: HashSet<Hex32>,
}

pub(super) async fn open(folder: PathBuf, owner: LogOwner) -> Result<Opened, OpenLogError> {
    let path = folder.join("consensus.db");
    let lock = lock_file(&folder)?;
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // What is erased is overwritten.
        .pragma("secure_delete", "ON")
        .disable_statement_logging();
    let database = |source| OpenLogError::Database { path: path.clone(), source };
    let content = |source| OpenLogError::Content { path: path.clone(), source };

    let mut writer = options.connect().await.map_err(database)?;
    create(&mut writer, owner).await.map_err(database)?;
    let version = check_owner(&mut writer, owner, &path).await?;
    migrate(&mut writer, version).await.map_err(database)?;
    let reader = SqlitePoolOptions::new()
        .max_connections(2)
        .connect_with(options.create_if_missing(false).read_only(true))
        .await
        .map_err(database)?;
    // What somebody who was just killed had begun to write ends first.
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut writer).await.map_err(database)?;
    let vote = rows::vote(&mut writer).await.map_err(content)?;
    let committed = rows::committed(&mut writer).await.map_err(content)?;
    let purged = commands::purged(&mut writer).await.map_err(content)?;
    let last = rows::last(&mut writer).await.map_err(content)?.or(purged.as_ref().map(|purged| purged.last));
    let first = purged.as_ref().map_or(0, Purged::end);
    rows::check_beginning(&mut writer, first).await.map_err(content)?;
    commands::check_end(&mut writer, purged.as_ref().map_or(0, |purged| purged.commands)).await.map_err(content)?;
    commands::clear_staged(&mut writer).await.map_err(content)?;
    let erased = commands::erased(&mut writer).await.map_err(content)?;
    sqlx::raw_sql("COMMIT").execute(&mut writer).await.map_err(database)?;
    Ok(Opened { writer, reader, lock, vote, committed, last, purged, erased })
}

fn lock_file(folder: &Path) -> Result<File, OpenLogError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenLogError::Folder { path, source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let path = folder.join("consensus.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenLogError::InUse { path: folder.join("consensus.db") }),
        Err(TryLockError::Error(source)) => Err(OpenLogError::Folder { path, source }),
    }
}

/// Creates the first schema in an empty file, in one transaction: a crash leaves either nothing or all of it.
async fn create(writer: &mut SqliteConnection, owner: LogOwner) -> Result<(), sqlx::Error> {
    let tables: i64 = sqlx::query("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *writer).await?.try_get(0)?;
    if tables > 0 {
        return Ok(());
    }
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *writer).await?;
    sqlx::raw_sql(FIRST).execute(&mut *writer).await?;
    sqlx::query("INSERT INTO meta (id, schema_version, federation, member, node_id) VALUES (1, 1, $1, $2, $3)")
        .bind(owner.federation.0.as_slice())
        .bind(owner.member.as_str())
        .bind(rows::to_sql(owner.node))
        .execute(&mut *writer)
        .await?;
    sqlx::raw_sql("COMMIT").execute(writer).await?;
    Ok(())
}

/// Brings an older schema up to date, in one transaction.
async fn migrate(writer: &mut SqliteConnection, from: i64) -> Result<(), sqlx::Error> {
    if from >= SCHEMA_VERSION {
        return Ok(());
    }
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *writer).await?;
    for migration in MIGRATIONS.into_iter().skip(usize::try_from(from).unwrap_or_default()) {
        sqlx::raw_sql(migration).execute(&mut *writer).await?;
    }
    sqlx::query("UPDATE meta SET schema_version = $1").bind(SCHEMA_VERSION).execute(&mut *writer).await?;
    sqlx::raw_sql("COMMIT").execute(writer).await?;
    Ok(())
}

/// Whose it is, and its schema.
async fn check_owner(writer: &mut SqliteConnection, owner: LogOwner, path: &Path) -> Result<i64, OpenLogError> {
    let database = |source| OpenLogError::Database { path: path.to_owned(), source };
    // Asked first and alone: a newer schema may have other columns.
    let version = sqlx::query("SELECT schema_version FROM meta").fetch_one(&mut *writer).await.map_err(database)?;
    let found: i64 = version.try_get(0).map_err(database)?;
    if found > SCHEMA_VERSION {
        return Err(OpenLogError::NewerSchema { path: path.to_owned(), found, known: SCHEMA_VERSION });
    }
    let meta = sqlx::query("SELECT federation, member, node_id FROM meta").fetch_one(writer).await.map_err(database)?;
    let federation: Vec<u8> = meta.try_get(0).map_err(database)?;
    let member: String = meta.try_get(1).map_err(database)?;
    let node: i64 = meta.try_get(2).map_err(database)?;
    if federation != owner.federation.0 {
        let found = Hex32(federation.try_into().unwrap_or_default());
        return Err(OpenLogError::OtherFederation { path: path.to_owned(), found, configured: owner.federation });
    }
    if member != owner.member.as_str() || node != rows::to_sql(owner.node) {
        let configured = owner.member.to_string();
        return Err(OpenLogError::OtherMember { path: path.to_owned(), found: member, configured });
    }
    Ok(found)
}

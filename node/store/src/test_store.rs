//! A store of its own for each test, and the things that tests put into it.
//!
//! SQLite in a folder, or with `COMITY_TEST_STORE=postgres` a schema of its own in the PostgreSQL database that
//! `COMITY_TEST_POSTGRES` names: `the_same_suite_on_postgres` runs every test of this crate again so.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use comity_core::canonical::Hex32;
use comity_core::document::Document;
use comity_core::{MemberId, RecordId, RecordKind, SpiffeId, Timestamp, VersionId};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::error::OpenError;
use crate::records::{NewRecord, NewShare, Revision, StoredShare};
use crate::seal::KeyFile;
use crate::{NationalStore, StoreLocation};

pub(crate) const FEDERATION: Hex32 = Hex32([7; 32]);

/// The folder goes when this does.
pub(crate) struct TestStore {
    pub(crate) store: NationalStore,
    location: StoreLocation,
    folder: TempDir,
}

/// Where to find PostgreSQL, in the run of the suite that uses it.
fn server() -> Option<PgConnectOptions> {
    if std::env::var("COMITY_TEST_STORE").as_deref() != Ok("postgres") {
        return None;
    }
    let url = std::env::var("COMITY_TEST_POSTGRES").expect("COMITY_TEST_POSTGRES names a database");
    Some(url.parse().expect("COMITY_TEST_POSTGRES is a postgres:// URL"))
}

/// Whether a test about SQLite's own file is to be left out, since this run is on PostgreSQL.
pub(crate) fn skipped_without_a_file() -> bool {
    let skipped = server().is_some();
    if skipped {
        eprintln!("skipped: it is about SQLite's file");
    }
    skipped
}

impl TestStore {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = match server() {
            None => StoreLocation::File(folder.path().join("store.db")),
            Some(options) => {
                static NUMBER: AtomicU32 = AtomicU32::new(0);
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let name = format!("test_{}_{number}", std::process::id());
                let mut connection = options.connect().await.unwrap();
                for sql in [format!("DROP SCHEMA IF EXISTS {name} CASCADE"), format!("CREATE SCHEMA {name}")] {
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
                }
                connection.close().await.unwrap();
                StoreLocation::Server(Box::new(options.options([("search_path", name)])))
            }
        };
        let store = open(&location, &folder, FEDERATION).await.unwrap();
        Self { store, location, folder }
    }

    /// With drafts `FR-P-…1` to `FR-P-…n`.
    pub(crate) async fn with_drafts(n: u8) -> Self {
        let test = Self::new().await;
        for n in 1..=n {
            test.store.records().create(draft(n)).await.unwrap();
        }
        test
    }

    /// Another handle on the same store.
    pub(crate) async fn open_again(&self, federation: Hex32) -> Result<NationalStore, OpenError> {
        open(&self.location, &self.folder, federation).await
    }

    pub(crate) async fn share(&self, of: u8, version_of: u8, parties: &[&str]) {
        let parties = parties.iter().map(|party| member(party)).collect();
        let records = vec![(record("FR", of), version(version_of))];
        let new = NewShare { records, parties, terms: StoredShare::PLAIN, at: at(2) };
        self.store.records().share(new).await.unwrap();
    }

    /// Evidence about a record, shared.
    pub(crate) async fn evidence_on(&self, target: RecordId, parties: &[&str]) -> RecordId {
        let text =
            format!(r#"{{"title":"A tape","marking":{{"tier":"secret"}},"material":"audio","links":["{target}"]}}"#);
        let id = RecordId::new(member("FR"), RecordKind::Evidence, [1; 10]);
        let document = Document::from_json(id.kind(), text.as_bytes()).unwrap();
        self.store.records().create(NewRecord { id, document, ..draft(1) }).await.unwrap();
        let parties = parties.iter().map(|party| member(party)).collect();
        let new = NewShare { records: vec![(id, version(1))], parties, terms: StoredShare::PLAIN, at: at(2) };
        self.store.records().share(new).await.unwrap();
        id
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    pub(crate) fn key_file(&self) -> KeyFile {
        key_file(&self.folder)
    }

    pub(crate) fn erasures(&self) -> PathBuf {
        self.folder.path().join("erasures")
    }

    pub(crate) async fn reopen(self) -> Self {
        self.store.close().await;
        let Self { store, location, folder } = self;
        drop(store);
        let store = open(&location, &folder, FEDERATION).await.unwrap();
        Self { store, location, folder }
    }

    /// What a crash at this moment leaves: the database and its WAL, as they are on disk, and the key.
    pub(crate) fn crash_copy(&self) -> (TempDir, PathBuf) {
        self.copy_of(&["store.db", "store.db-wal", "store.key"])
    }

    /// The database of a store that was closed, and the key.
    pub(crate) fn closed_copy(&self) -> (TempDir, PathBuf) {
        self.copy_of(&["store.db", "store.key"])
    }

    fn copy_of(&self, names: &[&str]) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::copy(self.folder.path().join(name), folder.path().join(name)).unwrap();
        }
        let path = folder.path().join("store.db");
        (folder, path)
    }

    /// Does to the database what an administrator with a shell can do.
    pub(crate) async fn tamper(&self, sql: &'static str) {
        match &self.location {
            StoreLocation::File(path) => {
                let mut shell = SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut shell).await.unwrap();
                shell.close().await.unwrap();
            }
            StoreLocation::Server(options) => {
                let mut shell = options.connect().await.unwrap();
                sqlx::raw_sql(sql).execute(&mut shell).await.unwrap();
                shell.close().await.unwrap();
            }
        }
    }
}

fn key_file(folder: &TempDir) -> KeyFile {
    KeyFile::at(folder.path().join("store.key"))
}

async fn open(location: &StoreLocation, folder: &TempDir, federation: Hex32) -> Result<NationalStore, OpenError> {
    let erasures = folder.path().join("erasures");
    NationalStore::open(location, key_file(folder), erasures, member("FR"), federation).await
}

/// Opens a copy that [`TestStore::crash_copy`] or [`TestStore::closed_copy`] made.
pub(crate) async fn open_copy(folder: &TempDir, of: MemberId, federation: Hex32) -> Result<NationalStore, OpenError> {
    let location = StoreLocation::File(folder.path().join("store.db"));
    NationalStore::open(&location, key_file(folder), folder.path().join("erasures"), of, federation).await
}

pub(crate) fn member(code: &str) -> MemberId {
    code.parse().unwrap()
}

pub(crate) fn person(role: &str, name: &str) -> SpiffeId {
    format!("spiffe://fr.comity.example/{role}/{name}").parse().unwrap()
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(1_800_000_000_000_000 + second * 1_000_000).unwrap()
}

pub(crate) fn record(of: &str, n: u8) -> RecordId {
    RecordId::new(member(of), RecordKind::Proposal, [n; 10])
}

pub(crate) fn version(n: u8) -> VersionId {
    VersionId::new([n; 16])
}

pub(crate) fn proposal(title: &str) -> Document {
    let text = format!(
        r#"{{"title":"{title}","marking":{{"tier":"confidential","releasable_to":["DE","CA"]}},
        "subject":{{"kind":"person","names":[{{"full":"DOE, Ada","kind":"primary"}}]}},"statement_of_case":"The case."}}"#
    );
    Document::from_json(RecordKind::Proposal, text.as_bytes()).unwrap()
}

pub(crate) fn draft(n: u8) -> NewRecord {
    NewRecord {
        id: record("FR", n),
        version: version(n),
        document: proposal("A title"),
        author: person("operator", "desk-7"),
        at: at(i64::from(n)),
        salts: [Hex32([n; 32]), Hex32([n.wrapping_add(1); 32])],
        request_id: None,
    }
}

pub(crate) fn revision(n: u8, title: &str) -> Revision {
    Revision {
        version: version(n),
        document: proposal(title),
        author: person("operator", "desk-8"),
        at: at(i64::from(n)),
        salts: [Hex32([n; 32]), Hex32([n.wrapping_add(1); 32])],
    }
}

/// Every test of this crate once more, on PostgreSQL.
#[test]
fn the_same_suite_on_postgres() {
    if server().is_some() {
        return;
    }
    if std::env::var_os("COMITY_TEST_POSTGRES").is_none() {
        eprintln!("skipped: there is no PostgreSQL (COMITY_TEST_POSTGRES is not set)");
        return;
    }
    let suite = std::process::Command::new(std::env::current_exe().unwrap())
        .env("COMITY_TEST_STORE", "postgres")
        // Each store has connections of its own, and a server takes a hundred.
        .args(["--test-threads=4"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&suite.stdout);
    assert!(suite.status.success(), "{said}");
    let passed = said.lines().rev().find(|line| line.starts_with("test result")).unwrap_or_default();
    println!("on PostgreSQL: {passed}");
}

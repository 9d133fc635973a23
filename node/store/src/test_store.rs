//! A store in a folder of its own, and the things that tests put into it.

use std::path::PathBuf;

use comity_core::canonical::Hex32;
use comity_core::proposal::Proposal;
use comity_core::{MemberId, RecordId, RecordKind, SpiffeId, Timestamp, VersionId};
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::NationalStore;
use crate::proposals::{NewProposal, Revision};

pub(crate) const FEDERATION: Hex32 = Hex32([7; 32]);

/// The folder goes when this does.
pub(crate) struct TestStore {
    pub(crate) store: NationalStore,
    folder: TempDir,
}

impl TestStore {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = NationalStore::open(&folder.path().join("store.db"), member("FR"), FEDERATION).await.unwrap();
        Self { store, folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("store.db")
    }

    pub(crate) async fn reopen(self) -> Self {
        self.store.close().await;
        let Self { store, folder } = self;
        drop(store);
        let store = NationalStore::open(&folder.path().join("store.db"), member("FR"), FEDERATION).await.unwrap();
        Self { store, folder }
    }

    /// What a crash at this moment leaves: the database and its WAL, as they are on disk.
    pub(crate) fn crash_copy(&self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["store.db", "store.db-wal"] {
            std::fs::copy(self.folder.path().join(name), folder.path().join(name)).unwrap();
        }
        let path = folder.path().join("store.db");
        (folder, path)
    }

    /// The database of a store that was closed.
    pub(crate) fn closed_copy(&self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        std::fs::copy(self.path(), &path).unwrap();
        (folder, path)
    }

    /// Does to the database what an administrator with a SQLite shell can do.
    pub(crate) async fn tamper(&self, sql: &'static str) {
        let mut shell = SqliteConnection::connect(&format!("sqlite://{}", self.path().display())).await.unwrap();
        sqlx::raw_sql(sql).execute(&mut shell).await.unwrap();
        shell.close().await.unwrap();
    }
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

pub(crate) fn proposal(title: &str) -> Proposal {
    let text = format!(
        r#"{{"title":"{title}","marking":{{"tier":"confidential","releasable_to":["DE","CA"]}},
        "subject":{{"kind":"person","names":[{{"full":"DOE, Ada","kind":"primary"}}]}},"statement_of_case":"The case."}}"#
    );
    Proposal::from_json(text.as_bytes()).unwrap()
}

pub(crate) fn draft(n: u8) -> NewProposal {
    NewProposal {
        id: record("FR", n),
        version: version(n),
        proposal: proposal("A title"),
        author: person("operator", "desk-7"),
        at: at(i64::from(n)),
        salts: [Hex32([n; 32]), Hex32([n + 1; 32])],
        request_id: None,
    }
}

pub(crate) fn revision(n: u8, title: &str) -> Revision {
    Revision {
        version: version(n),
        proposal: proposal(title),
        author: person("operator", "desk-8"),
        at: at(i64::from(n)),
        salts: [Hex32([n; 32]), Hex32([n + 1; 32])],
    }
}

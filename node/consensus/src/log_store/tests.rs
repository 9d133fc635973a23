use comity_core::list::ListState;
use comity_core::testing::{Federation, member};
use openraft::StorageError;
use openraft::storage::RaftLogStorageExt as _;
use openraft::testing::log::{StoreBuilder, Suite};

use super::*;
use crate::pool::Pool;
use crate::state_machine::{Applied, StateMachine};
use crate::types::{Command, Payload, RaftLeaderId};

pub(super) fn owner(federation: &Federation) -> LogOwner {
    LogOwner { federation: federation.genesis.federation(), member: member("FR"), node: 1 }
}

pub(super) async fn open(folder: &tempfile::TempDir, federation: &Federation) -> LogStore {
    LogStore::open(folder.path().to_owned(), owner(federation)).await.unwrap()
}

pub(super) async fn reopen(folder: &tempfile::TempDir, federation: &Federation, old: LogStore) -> LogStore {
    old.close().await;
    open(folder, federation).await
}

pub(super) fn id(term: u64, index: u64) -> LogId {
    LogId { leader_id: RaftLeaderId { term, node_id: 1 }, index }
}

pub(super) fn blank(term: u64, index: u64) -> Entry {
    Entry { log_id: id(term, index), payload: Payload::Blank }
}

pub(super) fn table(federation: &Federation, term: u64, index: u64) -> Entry {
    let (submission, _) = federation.table(member("FR"), index);
    Entry { log_id: id(term, index), payload: Payload::Normal(Command::arriving(submission)) }
}

pub(super) fn submission(entry: &Entry) -> comity_core::list::Submission {
    match &entry.payload {
        Payload::Normal(command) => command.submission().clone(),
        other => panic!("{other:?}"),
    }
}

/// What applies to a log that was opened with nothing purged.
pub(super) fn machine(federation: &Federation, log: &LogStore) -> StateMachine {
    let list = ListState::new(Arc::clone(&federation.genesis));
    StateMachine::new(Applied::new(list, 0, log.leaves().clone(), Pool::new(2_000)), log.clone())
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let folder = tempfile::tempdir().unwrap();
        let federation = Federation::new(3);
        let log = open(&folder, &federation).await;
        let machine = machine(&federation, &log);
        Ok((folder, log, machine))
    }
}

/// openraft's own suite, all of it. It knows no commands: its entries are blank ones and memberships.
#[tokio::test(flavor = "multi_thread")]
async fn openrafts_suite() {
    Suite::<TypeConfig, LogStore, StateMachine, Builder, tempfile::TempDir>::test_all(Builder).await.unwrap();
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_restart() {
    let (folder, federation) = (tempfile::tempdir().unwrap(), Federation::new(3));
    let mut log = open(&folder, &federation).await;
    let membership = crate::types::Voters::of(&federation.genesis).membership();
    let mut entries = vec![Entry { log_id: id(0, 0), payload: Payload::Membership(membership) }, blank(1, 1)];
    entries.extend((2..200).map(|index| table(&federation, 1, index)));
    log.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
    for part in entries.chunks(7) {
        log.blocking_append(part.to_vec()).await.unwrap();
    }
    log.save_committed(Some(id(1, 150))).await.unwrap();

    let mut log = reopen(&folder, &federation, log).await;
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(1, 1)));
    assert_eq!(log.read_committed().await.unwrap(), Some(id(1, 150)));
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(id(1, 199)));
    let read = log.try_get_log_entries(..).await.unwrap();
    assert_eq!(read, entries);
    assert_eq!(submission(&read[150]), submission(&entries[150]), "text and all");
    let text = submission(&entries[150]).public_text.unwrap();
    assert_eq!(log.public_text(text.digest()).await.unwrap(), Some(text));
}

#[tokio::test]
async fn a_commit_beyond_what_is_durable_is_not_written() {
    let (folder, federation) = (tempfile::tempdir().unwrap(), Federation::new(3));
    let mut log = open(&folder, &federation).await;
    log.blocking_append([blank(1, 0), blank(1, 1)]).await.unwrap();
    log.save_committed(Some(id(1, 1))).await.unwrap();
    log.save_vote(&Vote::new(2, 1)).await.unwrap();
    // A quorum of others may have entries that this disk has not.
    log.save_committed(Some(id(1, 7))).await.unwrap();
    let mut log = reopen(&folder, &federation, log).await;
    assert_eq!(log.read_committed().await.unwrap(), Some(id(1, 1)));
}

#[tokio::test]
async fn batches_are_bounded_wherever_the_entries_are() {
    let (folder, federation) = (tempfile::tempdir().unwrap(), Federation::new(3));
    let mut log = open(&folder, &federation).await;
    let entries: Vec<Entry> = (0..300).map(|index| table(&federation, 1, index)).collect();
    log.blocking_append(entries.clone()).await.unwrap();
    let one = recent::entry_bytes(&entries[0]);
    let check = async |log: &LogStore| {
        let few = log.entries(10, 300, one * 5).await.unwrap();
        assert!((3..=5).contains(&few.len()), "{}", few.len());
        assert_eq!(few[0].log_id, id(1, 10));
        assert_eq!(log.entries(10, 300, 1).await.unwrap().len(), 1, "one in any case");
        assert_eq!(log.entries(0, 1_000, usize::MAX).await.unwrap(), entries);
        assert_eq!(log.entries(300, 301, 1).await.unwrap(), []);
    };
    check(&log).await;
    let mut log = reopen(&folder, &federation, log).await;
    check(&log).await;
    // Across the border between file and memory.
    log.blocking_append([blank(2, 300), blank(2, 301)]).await.unwrap();
    let last = log.entries(298, 302, usize::MAX).await.unwrap();
    assert_eq!(
        last.iter().map(|entry| entry.log_id).collect::<Vec<_>>(),
        [id(1, 298), id(1, 299), id(2, 300), id(2, 301)]
    );
    assert_eq!(log.entries(298, 302, one * 2 + 100).await.unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_cut_off_takes_its_text_along() {
    let (folder, federation) = (tempfile::tempdir().unwrap(), Federation::new(3));
    let mut log = open(&folder, &federation).await;
    let entries: Vec<Entry> = (0..4).map(|index| table(&federation, 1, index)).collect();
    log.blocking_append(entries.clone()).await.unwrap();
    // The same tabling once more, as when it was handed in twice.
    let again = Entry { log_id: id(1, 4), payload: entries[1].payload.clone() };
    log.blocking_append([again]).await.unwrap();
    log.truncate_after(Some(id(1, 1))).await.unwrap();
    let digest = |n: usize| submission(&entries[n]).public_text.unwrap().digest();
    for (n, stays) in [(0, true), (1, true), (2, false), (3, false)] {
        assert_eq!(log.public_text(digest(n)).await.unwrap().is_some(), stays, "{n}");
    }
    log.blocking_append([blank(2, 2)]).await.unwrap();
    let mut log = reopen(&folder, &federation, log).await;
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(id(2, 2)));
    assert!(log.public_text(digest(2)).await.unwrap().is_none());
}

#[tokio::test]
async fn memory_keeps_what_is_not_durable_and_little_else() {
    let federation = Federation::new(3);
    let mut recent = Recent::above(0);
    let large = |index| {
        let (mut submission, _) = federation.table(member("FR"), index);
        submission.public_text.as_mut().unwrap().bytes = vec![0; 256 * 1024];
        Entry { log_id: id(1, index), payload: Payload::Normal(Command::arriving(submission)) }
    };
    for index in 0..40 {
        recent.push(large(index));
    }
    recent.durable(0);
    assert_eq!(recent.first(), Some(0), "nothing is durable: nothing goes");
    recent.durable(40);
    assert!(recent.first().unwrap() > 20, "{:?}", recent.first());
    assert_eq!(recent.range(35, 38).map(|entry| entry.log_id.index).collect::<Vec<_>>(), [35, 36, 37]);
    recent.truncate(36);
    assert_eq!(recent.range(30, 100).last().map(|entry| entry.log_id.index), Some(35));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (folder, federation) = (tempfile::tempdir().unwrap(), Federation::new(3));
    let log = open(&folder, &federation).await;
    log.close().await;
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("consensus.db"));
    let mut db = sqlx::ConnectOptions::connect(&file).await.unwrap();
    sqlx::query("UPDATE meta SET schema_version = 99").execute(&mut db).await.unwrap();
    sqlx::Connection::close(db).await.unwrap();
    let refused = LogStore::open(folder.path().to_owned(), owner(&federation)).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenLogError::NewerSchema { found: 99, .. }), "{refused}");
}

#[tokio::test]
async fn an_older_schema_is_brought_up_to_date() {
    let (folder, federation) = (tempfile::tempdir().unwrap(), Federation::new(3));
    let mut log = open(&folder, &federation).await;
    let entries: Vec<Entry> = (0..5).map(|index| table(&federation, 1, index)).collect();
    log.blocking_append(entries.clone()).await.unwrap();
    log.close().await;
    let file = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("consensus.db"));
    let mut db = sqlx::ConnectOptions::connect(&file).await.unwrap();
    let older = "DROP TABLE command; DROP TABLE purged; DROP TABLE staged; DROP TABLE erased_text; \
                 UPDATE meta SET schema_version = 1";
    sqlx::raw_sql(older).execute(&mut db).await.unwrap();
    sqlx::Connection::close(db).await.unwrap();
    let log = open(&folder, &federation).await;
    assert_eq!(log.entries(0, 10, usize::MAX).await.unwrap(), entries);
    log.erase_text(Hex32([1; 32])).await.unwrap();
}

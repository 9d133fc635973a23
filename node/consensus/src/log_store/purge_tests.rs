use comity_core::list::{Choice, ListState};
use comity_core::testing::{Federation, member, proposal_id, public_text};
use futures::stream;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftSnapshotBuilder as _, RaftStateMachine as _};

use super::tests::{blank, id, machine, open, owner, submission, table};
use super::*;
use crate::replay;
use crate::state_machine::StateMachine;
use crate::types::Payload;

async fn apply(machine: &mut StateMachine, entries: &[Entry]) {
    let entries = entries.iter().cloned().map(|entry| io::Result::Ok((entry, None)));
    machine.apply(stream::iter(entries)).await.unwrap();
}

fn command(index: u64, submission: Submission) -> Entry {
    Entry { log_id: id(1, index), payload: Payload::Normal(Command::arriving(submission)) }
}

/// Until the file is purged as far as openraft was told.
async fn purged(log: &LogStore) {
    loop {
        let state = { lock(&log.0.state).purged.map(|id| id.index + 1) };
        if state == Some(lock(&log.0.state).first) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The list as a restart rebuilds it, and its root.
async fn rebuilt(federation: &Federation, log: &LogStore) -> (u64, Hex32) {
    let mut list = replay::commands(&federation.genesis, log).await.unwrap();
    let entries = log.entries(0, u64::MAX, usize::MAX).await.unwrap();
    for entry in entries {
        if let Payload::Normal(command) = entry.payload {
            let keys = crate::types::Keys::of(&list);
            let _ = list.apply_checked(command.check(&keys).unwrap());
        }
    }
    (list.commands().size(), list.commands().root())
}

/// A log of tablings, and between them what leaves no leaf.
fn entries(federation: &Federation, count: u64) -> (Vec<Entry>, Vec<Submission>, ListState) {
    let mut list = ListState::new(Arc::clone(&federation.genesis));
    let membership = crate::types::Membership::from(crate::membership::founders(&federation.genesis));
    let mut entries = vec![Entry { log_id: id(0, 0), payload: Payload::Membership(membership) }];
    let mut leaves = Vec::new();
    for index in 1..count {
        entries.push(match index % 7 {
            0 => blank(1, index),
            // It refers to no ballot.
            3 => command(index, federation.vote(member("DE"), Hex32([7; 32]), Choice::Yes, 1_000_000 + index)),
            // Another tabling of what is tabled.
            5 => {
                let text = public_text(2_000_000 + index);
                let again = federation.table_command(proposal_id(member("FR"), 1), &text, 2_000_000 + index);
                command(index, federation.sign(&again, Some(text)))
            }
            // The very same command once more.
            6 => command(index, submission(&entries[1])),
            _ => table(federation, 1, index),
        });
        if let Payload::Normal(command) = &entries[index as usize].payload
            && list.apply(command.submission()).is_ok_and(|accepted| !accepted.repeated)
        {
            leaves.push(command.submission().clone());
        }
    }
    (entries, leaves, list)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_stays_at_hand_and_the_rest_goes() {
    let (folder, federation) = (tempfile::tempdir().unwrap(), Federation::new(3));
    let mut log = open(&folder, &federation).await;
    let mut machine = machine(&federation, &log);
    let (entries, leaves, list) = entries(&federation, 900);
    log.blocking_append(entries.clone()).await.unwrap();
    apply(&mut machine, &entries).await;
    assert_eq!(log.commands(0, 10_000, usize::MAX).await.unwrap(), leaves);
    let snapshot = machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    assert_eq!((snapshot.snapshot.commands, snapshot.snapshot.root), (list.commands().size(), list.commands().root()));

    log.purge(id(1, 700)).await.unwrap();
    // It can be read all the time, across the border, wherever that is just now.
    let mut reads = 0;
    while lock(&log.0.state).first < 701 {
        assert_eq!(log.commands(0, 10_000, usize::MAX).await.unwrap(), leaves);
        reads += 1;
    }
    purged(&log).await;
    assert_eq!(log.commands(0, 10_000, usize::MAX).await.unwrap(), leaves, "after {reads} reads");
    assert_eq!(log.commands(3, 2, usize::MAX).await.unwrap(), leaves[3..5]);
    assert_eq!(log.commands(0, 10, 1).await.unwrap().len(), 1, "one in any case");
    assert_eq!(log.entries(0, 10_000, usize::MAX).await.unwrap(), entries[701..]);
    assert_eq!(log.get_log_state().await.unwrap().last_purged_log_id, Some(id(1, 700)));
    // The text of what was refused went with it; that of what stands did not.
    let text = |index: usize| submission(&entries[index]).public_text.unwrap();
    assert_eq!(log.public_text(text(1).digest()).await.unwrap(), Some(text(1)));
    assert_eq!(log.public_text(text(5).digest()).await.unwrap(), None);
    assert!(log.public_text(text(705).digest()).await.unwrap().is_some(), "its entry is there still");

    log.close().await;
    let log = open(&folder, &federation).await;
    let before = log.purged_before().unwrap().clone();
    assert_eq!((before.last, before.membership.log_id()), (id(1, 700), &Some(id(0, 0))));
    assert_eq!(before.commands, log.commands(0, 10_000, usize::MAX).await.unwrap().len() as u64);
    assert_eq!(rebuilt(&federation, &log).await, (list.commands().size(), list.commands().root()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_while_purging_loses_nothing() {
    let federation = Federation::new(3);
    let (entries, _, list) = entries(&federation, 1_500);
    for after_us in [0, 500, 2_000, 5_000, 10_000, 50_000] {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let run = {
            let (path, federation, entries) = (folder.path().to_owned(), federation.clone(), entries.clone());
            async move {
                let mut log = LogStore::open(path, owner(&federation)).await.unwrap();
                let mut machine = machine(&federation, &log);
                log.blocking_append(entries.clone()).await.unwrap();
                log.save_committed(Some(id(1, 1_499))).await.unwrap();
                apply(&mut machine, &entries).await;
                log.purge(id(1, 1_400)).await.unwrap();
                tokio::time::sleep(Duration::from_micros(after_us)).await;
            }
        };
        runtime.spawn(run).await.unwrap();
        runtime.shutdown_background();
        let log = loop {
            match LogStore::open(folder.path().to_owned(), owner(&federation)).await {
                Err(OpenLogError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                opened => break opened.unwrap(),
            }
        };
        assert_eq!(rebuilt(&federation, &log).await, (list.commands().size(), list.commands().root()), "{after_us}");
    }
}

#[tokio::test]
async fn what_is_not_applied_is_not_purged() {
    let (folder, federation) = (tempfile::tempdir().unwrap(), Federation::new(3));
    let mut log = open(&folder, &federation).await;
    let entries: Vec<Entry> = (0..5).map(|index| table(&federation, 1, index)).collect();
    log.blocking_append(entries.clone()).await.unwrap();
    log.purge(id(1, 2)).await.unwrap();
    let error = log.save_vote(&Vote::new(2, 1)).await.unwrap_err();
    assert!(error.to_string().contains("not applied"), "{error}");
    drop(log);
    let log = loop {
        match LogStore::open(folder.path().to_owned(), owner(&federation)).await {
            Err(OpenLogError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(log.entries(0, 10, usize::MAX).await.unwrap(), entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_text_comes_back_with_nothing() {
    let (folder, federation) = (tempfile::tempdir().unwrap(), Federation::new(3));
    let mut log = open(&folder, &federation).await;
    let mut machine = machine(&federation, &log);
    let first: Vec<Entry> = (0..4).map(|index| table(&federation, 1, index)).collect();
    log.blocking_append(first.clone()).await.unwrap();
    log.save_committed(Some(id(1, 3))).await.unwrap();
    apply(&mut machine, &first).await;
    let text = submission(&first[2]).public_text.unwrap();
    // The same once more is on its way: it keeps its text until it is applied, or nobody would take it.
    let again = command(4, submission(&first[2]));
    log.blocking_append([again.clone()]).await.unwrap();
    log.erase_text(text.digest()).await.unwrap();
    assert_eq!(log.public_text(text.digest()).await.unwrap(), None);
    let held = log.entries(0, 10, usize::MAX).await.unwrap();
    assert_eq!(submission(&held[2]).public_text, None);
    assert_eq!(submission(&held[4]).public_text, Some(text.clone()));
    assert!(submission(&held[1]).public_text.is_some(), "others are not touched");
    log.save_committed(Some(id(1, 4))).await.unwrap();
    apply(&mut machine, &[again]).await;
    let held = log.entries(0, 10, usize::MAX).await.unwrap();
    assert_eq!(submission(&held[4]).public_text, None);
    let files = || ["consensus.db", "consensus.db-wal"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    let holds = |bytes: &[u8]| files().iter().any(|file| file.windows(bytes.len()).any(|window| window == bytes));
    assert!(!holds(&text.bytes));
    assert!(holds(&submission(&first[2]).envelope));

    log.close().await;
    let log = open(&folder, &federation).await;
    assert_eq!(log.public_text(text.digest()).await.unwrap(), None);
    assert_eq!(log.read_all_texts().await, 3);
}

impl LogStore {
    async fn read_all_texts(&self) -> usize {
        #[cfg_attr(not(feature = "simulation"), allow(clippy::infallible_destructuring_match))]
        let pool = match &self.0.reader {
            Reader::File(pool) => pool,
            #[cfg(feature = "simulation")]
            Reader::Memory(_) => panic!("no file"),
        };
        let row = sqlx::query("SELECT count(*) FROM public_text").fetch_one(pool).await.unwrap();
        usize::try_from(sqlx::Row::get::<i64, _>(&row, 0)).unwrap()
    }
}

#[tokio::test]
async fn what_was_staged_is_installed_or_forgotten() {
    let (folder, federation) = (tempfile::tempdir().unwrap(), Federation::new(3));
    let mut log = open(&folder, &federation).await;
    let mut machine = machine(&federation, &log);
    let own: Vec<Entry> = (0..3).map(|index| table(&federation, 1, index)).collect();
    log.blocking_append(own.clone()).await.unwrap();
    apply(&mut machine, &own).await;
    let pulled: Vec<Command> =
        (3..8).map(|serial| Command::arriving(federation.table(member("FR"), serial).0)).collect();
    log.stage(3, pulled.clone()).await.unwrap();
    log.close().await;
    // A crash before it is installed: the old list.
    let log = open(&folder, &federation).await;
    assert_eq!(log.purged_before(), None);
    assert_eq!(rebuilt(&federation, &log).await.0, 3);
    log.leaves().applied(0..3, 3);

    log.stage(3, pulled.clone()).await.unwrap();
    let membership = crate::types::StoredMembership::default();
    let snapshot = Purged { last: id(2, 20), commands: 8, membership };
    log.install(snapshot.clone(), 3, Vec::new()).await.unwrap();
    let all: Vec<Submission> =
        own.iter().map(submission).chain(pulled.iter().map(|command| command.submission().clone())).collect();
    let check = async |mut log: LogStore| {
        assert_eq!(log.commands(0, 100, usize::MAX).await.unwrap(), all, "text and all");
        let state = log.get_log_state().await.unwrap();
        assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(2, 20)), Some(id(2, 20))));
        log
    };
    let mut log = check(log).await;
    log.blocking_append([blank(2, 21)]).await.unwrap();
    assert_eq!(log.entries(0, 100, usize::MAX).await.unwrap(), [blank(2, 21)]);
    log.truncate_after(Some(id(2, 20))).await.unwrap();
    log.close().await;
    let log = check(open(&folder, &federation).await).await;
    assert_eq!(log.purged_before(), Some(&snapshot));
    assert_eq!(rebuilt(&federation, &log).await.0, 8);
}

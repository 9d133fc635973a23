use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::KeyFileError;
use crate::policies::NewPolicy;
use crate::test_store::{FEDERATION, TestStore, at, draft, member, open_copy, person, record, skipped_without_a_file};

#[tokio::test]
async fn a_store_is_private_and_one_process_has_it() {
    if skipped_without_a_file() {
        return;
    }
    let test = TestStore::new().await;
    for name in ["store.db", "store.db-wal", "store.db.lock", "store.key"] {
        let mode = std::fs::metadata(test.path().with_file_name(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let again = test.open_again(FEDERATION).await;
    assert!(matches!(again, Err(OpenError::InUse { .. })), "{again:?}");
    test.reopen().await;
}

#[tokio::test]
async fn a_store_of_somebody_else_is_refused() {
    if skipped_without_a_file() {
        return;
    }
    let test = TestStore::new().await;
    test.store.close().await;
    let (folder, _) = test.closed_copy();
    let other = open_copy(&folder, member("DE"), FEDERATION).await;
    assert!(matches!(other, Err(OpenError::OtherMember { .. })), "{other:?}");
    let other = open_copy(&folder, member("FR"), Hex32([8; 32])).await.unwrap_err();
    assert!(matches!(other, OpenError::OtherFederation { .. }), "{other:?}");
    assert!(other.to_string().contains("genesis"), "{other}");
    assert!(open_copy(&folder, member("FR"), FEDERATION).await.is_ok());
}

#[tokio::test]
async fn a_store_of_another_federation_is_refused_wherever_it_is() {
    let test = TestStore::new().await;
    test.store.close().await;
    let other = test.open_again(Hex32([8; 32])).await.unwrap_err();
    assert!(matches!(other, OpenError::OtherFederation { .. }), "{other:?}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let test = TestStore::new().await;
    let future = if skipped_without_a_file() { "true, '\\x00'" } else { "1, x'00'" };
    let sql = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9, 'from the future', {future}, 0)"
    );
    test.tamper(sql.leak()).await;
    test.store.close().await;
    let refused = test.open_again(FEDERATION).await;
    assert!(matches!(refused, Err(OpenError::NewerSchema { found: 9, known: 1 })), "{refused:?}");
}

#[tokio::test]
async fn a_folder_that_is_missing_is_named() {
    let location = StoreLocation::File("/nonexistent/store.db".into());
    let key = KeyFile::at("/nonexistent/store.key");
    let refused = NationalStore::open(&location, key, "/nonexistent/erasures".into(), member("FR"), FEDERATION).await;
    let refused = refused.unwrap_err();
    assert!(refused.to_string().contains("/nonexistent"), "{refused}");
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_crash() {
    if skipped_without_a_file() {
        return;
    }
    let test = TestStore::with_drafts(1).await;
    let store = &test.store;
    test.share(1, 1, &["DE"]).await;
    let (folder, _) = test.crash_copy();
    let after = open_copy(&folder, member("FR"), FEDERATION).await.unwrap();
    let found = after.records().get(record("FR", 1)).await.unwrap();
    assert_eq!(found, store.records().get(record("FR", 1)).await.unwrap());
    assert_eq!(after.outbox().pending(member("DE"), None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_transaction_that_the_database_rolled_back_by_itself_does_not_block_later_ones() {
    if skipped_without_a_file() {
        return;
    }
    let test = TestStore::new().await;
    test.tamper("CREATE TRIGGER full BEFORE INSERT ON record BEGIN SELECT RAISE(ROLLBACK, 'disk full'); END").await;
    for _ in 0..3 {
        assert!(test.store.records().create(draft(1)).await.is_err());
    }
    test.tamper("DROP TRIGGER full").await;
    test.store.records().create(draft(1)).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_a_whole_transaction() {
    let test = TestStore::new().await;
    for n in 1..=20 {
        let records = test.store.records().clone();
        let call = tokio::spawn(async move { records.create(draft(n)).await });
        tokio::task::yield_now().await;
        call.abort();
    }
    // The one writing connection is free again, and every record has its version.
    test.store.records().create(draft(200)).await.unwrap();
    for found in test.store.records().list(None, None, 100).await.unwrap() {
        assert_eq!(test.store.records().versions(found.id).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn policies_keep_their_history_and_queue_what_they_change() {
    let test = TestStore::new().await;
    let (store, de) = (&test.store, member("DE"));
    let policy = |party, text: &str, second| NewPolicy {
        party,
        text: text.to_owned(),
        author: person("policy", "desk-1"),
        approver: person("approver", "desk-2"),
        at: at(second),
    };
    store.records().create(draft(1)).await.unwrap();
    test.share(1, 1, &["DE"]).await;
    let ticket = store.outbox().pending(de, None, 10).await.unwrap()[0].ticket;
    let mut watch = store.outbox().watch();
    watch.mark_unchanged();
    let first = store.policies().apply(policy(de, "permit one;", 2)).await.unwrap();
    assert!(watch.has_changed().unwrap());
    assert_ne!(store.outbox().pending(de, None, 10).await.unwrap()[0].ticket, ticket, "decided before is void");
    assert_eq!(store.policies().apply(policy(de, "permit one;", 3)).await.unwrap(), first, "no new version");
    store.policies().apply(policy(member("CA"), "forbid;", 4)).await.unwrap();
    let second = store.policies().apply(policy(de, "permit two;", 5)).await.unwrap();
    assert_eq!((first.ordinal, second.ordinal), (1, 2));
    assert_eq!(second.sha256, Hex32(comity_core::sha256(b"permit two;")));
    assert_eq!(store.policies().current(de).await.unwrap(), Some(second.clone()));
    assert_eq!(store.policies().history(de, None, 10).await.unwrap(), [second.clone(), first.clone()]);
    assert_eq!(store.policies().history(de, Some(2), 10).await.unwrap(), [first]);
    let current: Vec<_> = store.policies().all_current().await.unwrap();
    assert_eq!(current.iter().map(|p| (p.party, p.ordinal)).collect::<Vec<_>>(), [(member("CA"), 1), (de, 2)]);
    assert_eq!(store.policies().current(member("AU")).await.unwrap(), None);
}

#[tokio::test]
async fn nothing_that_is_sealed_is_readable_on_the_disk() {
    if skipped_without_a_file() {
        return;
    }
    let test = TestStore::with_drafts(3).await;
    let store = &test.store;
    for canary in ["A title", "DOE, Ada", "The case."] {
        for name in ["store.db", "store.db-wal"] {
            let bytes = std::fs::read(test.path().with_file_name(name)).unwrap();
            assert!(!bytes.windows(canary.len()).any(|w| w == canary.as_bytes()), "{canary} in {name}");
        }
    }
    // Without its key the store does not open, and with another one neither.
    store.close().await;
    let key = test.key_file();
    let text = std::fs::read(key.path()).unwrap();
    std::fs::remove_file(key.path()).unwrap();
    let refused = test.open_again(FEDERATION).await;
    assert!(matches!(refused, Err(OpenError::Key(KeyFileError::Missing { .. }))), "{refused:?}");
    key.write(&[&crate::seal::StoreKey::fresh().unwrap()]).unwrap();
    let refused = test.open_again(FEDERATION).await;
    assert!(matches!(refused, Err(OpenError::Key(KeyFileError::Other { .. }))), "{refused:?}");
    std::fs::write(key.path(), text).unwrap();
    let again = test.open_again(FEDERATION).await.unwrap();
    assert_eq!(again.records().get(record("FR", 1)).await.unwrap().unwrap().document.title(), "A title");
}

#[tokio::test]
async fn the_key_is_exchanged_while_the_store_is_in_use_and_a_crash_goes_on_with_it() {
    let test = TestStore::with_drafts(20).await;
    let before = std::fs::read_to_string(test.key_file().path()).unwrap();
    assert_eq!(test.store.rotate_key().await.unwrap(), 20);
    let after = std::fs::read_to_string(test.key_file().path()).unwrap();
    assert_eq!((before.lines().count(), after.lines().count()), (2, 2));
    assert_ne!(before, after);
    assert_eq!(test.store.records().list(None, None, 100).await.unwrap().len(), 20);
    test.store.records().create(draft(30)).await.unwrap();
    // A crash after the new key was written and before anything was wrapped with it.
    test.store.close().await;
    let old = test.key_file().read().unwrap().unwrap().remove(0);
    let new = crate::seal::StoreKey::fresh().unwrap();
    test.key_file().write(&[&new, &old]).unwrap();
    let test = test.reopen().await;
    assert_eq!(test.key_file().read().unwrap().unwrap().len(), 1, "the old key is gone");
    assert_eq!(test.store.records().list(None, None, 100).await.unwrap().len(), 21);
}

#[tokio::test]
async fn whoever_lost_the_store_writes_nothing_any_more() {
    let test = TestStore::with_drafts(1).await;
    // What another node does that takes the store: it draws the next number.
    test.tamper("UPDATE store_lease SET fence = fence + 1").await;
    let refused = test.store.records().create(draft(2)).await.unwrap_err();
    assert!(refused.to_string().contains("another node"), "{refused}");
    tokio::time::timeout(std::time::Duration::from_secs(5), test.store.lost()).await.unwrap();
    assert_eq!(test.store.records().list(None, None, 10).await.unwrap().len(), 1);
    let entry = test.store.access_log().append(comity_core::access::AccessRecord::new(at(1), "test", "test"));
    assert!(entry.await.is_err());
}

#[tokio::test]
async fn a_server_that_is_in_use_is_waited_for() {
    if std::env::var("COMITY_TEST_STORE").as_deref() != Ok("postgres") {
        eprintln!("skipped: it is about PostgreSQL");
        return;
    }
    let test = TestStore::with_drafts(1).await;
    // The one that has it closes in order: the next has it at once.
    let (again, ()) = tokio::join!(test.open_again(FEDERATION), async {
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        test.store.records().create(draft(2)).await.unwrap();
        test.store.close().await;
    });
    let again = again.unwrap();
    assert_eq!(again.records().list(None, None, 10).await.unwrap().len(), 2);
    again.records().create(draft(3)).await.unwrap();
}

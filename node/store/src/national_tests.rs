use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::policies::NewPolicy;
use crate::test_store::{FEDERATION, TestStore, at, draft, member, person, record, version};

#[tokio::test]
async fn a_store_is_private_and_one_process_has_it() {
    let test = TestStore::new().await;
    for name in ["store.db", "store.db-wal", "store.db.lock"] {
        let mode = std::fs::metadata(test.path().with_file_name(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let again = NationalStore::open(&test.path(), member("FR"), FEDERATION).await;
    assert!(matches!(again, Err(OpenError::InUse { .. })), "{again:?}");
    test.reopen().await;
}

#[tokio::test]
async fn a_store_of_somebody_else_is_refused() {
    let test = TestStore::new().await;
    test.store.close().await;
    let (_folder, path) = test.closed_copy();
    let other = NationalStore::open(&path, member("DE"), FEDERATION).await;
    assert!(matches!(other, Err(OpenError::OtherMember { .. })), "{other:?}");
    let other = NationalStore::open(&path, member("FR"), Hex32([8; 32])).await.unwrap_err();
    assert!(matches!(other, OpenError::OtherFederation { .. }), "{other:?}");
    assert!(other.to_string().contains("genesis"), "{other}");
    assert!(NationalStore::open(&path, member("FR"), FEDERATION).await.is_ok());
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let test = TestStore::new().await;
    test.tamper(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9, 'from the future', 1, x'00', 0)",
    )
    .await;
    test.store.close().await;
    let (_folder, path) = test.closed_copy();
    let refused = NationalStore::open(&path, member("FR"), FEDERATION).await;
    assert!(matches!(refused, Err(OpenError::NewerSchema { found: 9, known: 2 })), "{refused:?}");
}

#[tokio::test]
async fn a_folder_that_is_missing_is_named() {
    let path = Path::new("/nonexistent/store.db");
    let refused = NationalStore::open(path, member("FR"), FEDERATION).await.unwrap_err();
    assert!(refused.to_string().contains("/nonexistent"), "{refused}");
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_crash() {
    let test = TestStore::new().await;
    let store = &test.store;
    store.proposals().create(draft(1)).await.unwrap();
    store.proposals().share(record("FR", 1), version(1), [member("DE")].into(), at(2)).await.unwrap();
    let (_folder, path) = test.crash_copy();
    let after = NationalStore::open(&path, member("FR"), FEDERATION).await.unwrap();
    let found = after.proposals().get(record("FR", 1)).await.unwrap();
    assert_eq!(found, store.proposals().get(record("FR", 1)).await.unwrap());
    assert_eq!(after.outbox().pending(member("DE"), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_transaction_that_the_database_rolled_back_by_itself_does_not_block_later_ones() {
    let test = TestStore::new().await;
    test.tamper("CREATE TRIGGER full BEFORE INSERT ON proposal BEGIN SELECT RAISE(ROLLBACK, 'disk full'); END").await;
    for _ in 0..3 {
        assert!(test.store.proposals().create(draft(1)).await.is_err());
    }
    test.tamper("DROP TRIGGER full").await;
    test.store.proposals().create(draft(1)).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_a_whole_transaction() {
    let test = TestStore::new().await;
    for n in 1..=20 {
        let proposals = test.store.proposals().clone();
        let call = tokio::spawn(async move { proposals.create(draft(n)).await });
        tokio::task::yield_now().await;
        call.abort();
    }
    // The one writing connection is free again, and every proposal has its version.
    test.store.proposals().create(draft(200)).await.unwrap();
    for found in test.store.proposals().list(None, 100).await.unwrap() {
        assert_eq!(test.store.proposals().versions(found.id).await.unwrap().len(), 1);
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
    store.proposals().create(draft(1)).await.unwrap();
    store.proposals().share(record("FR", 1), version(1), [de].into(), at(1)).await.unwrap();
    let ticket = store.outbox().pending(de, 10).await.unwrap()[0].ticket;
    let mut watch = store.outbox().watch();
    watch.mark_unchanged();
    let first = store.policies().apply(policy(de, "permit one;", 2)).await.unwrap();
    assert!(watch.has_changed().unwrap());
    assert_ne!(store.outbox().pending(de, 10).await.unwrap()[0].ticket, ticket, "decided before is void");
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

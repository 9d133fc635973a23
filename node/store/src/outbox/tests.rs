use comity_core::VersionId;
use comity_core::canonical::Hex32;
use comity_core::release::Action;

use super::*;
use crate::test_store::{TestStore, at, member, record, version};

mod model;

/// Takes everything queued for DE and decides it all alike.
async fn pull(outbox: &Outbox, version: VersionId, level: Option<Action>) -> Vec<Numbered> {
    let queued = outbox.pending(member("DE"), 100).await.unwrap();
    let decided = queued.iter().map(|q| Decided { record: q.record, ticket: q.ticket, version, level }).collect();
    outbox.release(member("DE"), decided, at(1)).await.unwrap()
}

#[tokio::test]
async fn a_denied_record_leaves_no_trace_and_a_revoked_one_is_retracted_once() {
    let test = TestStore::new().await;
    let (outbox, de, id) = (test.store.outbox(), member("DE"), record("FR", 1));
    outbox.enqueue(de, id).await.unwrap();
    assert_eq!(pull(outbox, version(1), None).await, []);
    assert_eq!(outbox.last_number(de).await.unwrap(), 0);
    assert!(outbox.ever_received(id).await.unwrap().is_empty());

    outbox.enqueue(de, id).await.unwrap();
    let sent = pull(outbox, version(1), Some(Action::Discover)).await;
    let upsert = ReleasedChange::Upsert { version: version(1), level: Action::Discover };
    assert_eq!(sent, [Numbered { number: 1, record: id, change: upsert, superseded: false }]);
    outbox.enqueue(de, id).await.unwrap();
    assert_eq!(pull(outbox, version(1), Some(Action::Discover)).await, [], "it holds that already");
    outbox.enqueue(de, id).await.unwrap();
    assert_eq!(pull(outbox, version(1), Some(Action::Read)).await[0].number, 2);
    for expected in [1, 0] {
        outbox.enqueue(de, id).await.unwrap();
        assert_eq!(pull(outbox, version(1), None).await.len(), expected);
    }
    assert_eq!(outbox.last_number(de).await.unwrap(), 3);
    assert_eq!(outbox.ever_received(id).await.unwrap(), [de].into());
    assert_eq!(outbox.last_number(member("CA")).await.unwrap(), 0, "each party has its own numbers");
}

#[tokio::test]
async fn a_decision_that_was_overtaken_does_not_stand() {
    let test = TestStore::new().await;
    let (outbox, de, id) = (test.store.outbox(), member("DE"), record("FR", 1));
    outbox.enqueue(de, id).await.unwrap();
    let queued = outbox.pending(de, 10).await.unwrap()[0];
    // The proposal is withdrawn between the decision and the release.
    outbox.enqueue(de, id).await.unwrap();
    let decided = Decided { record: id, ticket: queued.ticket, version: version(1), level: Some(Action::Read) };
    assert_eq!(outbox.release(de, vec![decided], at(1)).await.unwrap(), []);
    assert_eq!(outbox.pending(de, 10).await.unwrap().len(), 1, "it waits for a fresh decision");
    assert_eq!(pull(outbox, version(1), None).await, []);
    // An empty queue does not make old tickets good again.
    outbox.enqueue(de, id).await.unwrap();
    assert_eq!(outbox.release(de, vec![decided], at(1)).await.unwrap(), []);
}

#[tokio::test]
async fn the_queue_keeps_its_order() {
    let test = TestStore::new().await;
    let (outbox, de) = (test.store.outbox(), member("DE"));
    outbox.requeue_party(de, vec![record("FR", 3), record("FR", 1), record("FR", 2)]).await.unwrap();
    outbox.enqueue(de, record("FR", 3)).await.unwrap();
    let queued: Vec<RecordId> = outbox.pending(de, 2).await.unwrap().iter().map(|q| q.record).collect();
    assert_eq!(queued, [record("FR", 3), record("FR", 1)]);
    assert_eq!(outbox.lag(de).await.unwrap(), Lag { queued: 3, last_number: 0, receipted: 0 });
}

#[tokio::test]
async fn what_is_sent_again_may_become_a_retraction_under_its_number() {
    let test = TestStore::new().await;
    let (outbox, de) = (test.store.outbox(), member("DE"));
    let (first, second) = (record("FR", 1), record("FR", 2));
    outbox.requeue_party(de, vec![first, second]).await.unwrap();
    pull(outbox, version(1), Some(Action::Read)).await;
    outbox.enqueue(de, first).await.unwrap();
    pull(outbox, version(2), Some(Action::Read)).await;
    let again = outbox.released_after(de, 0, 10).await.unwrap();
    assert_eq!(again.iter().map(|n| (n.number, n.superseded)).collect::<Vec<_>>(), [(1, true), (2, false), (3, false)]);
    assert_eq!(outbox.released_after(de, 2, 10).await.unwrap(), again[2..]);

    let rewritten = outbox.rewrite_as_retraction(de, 2).await.unwrap();
    assert_eq!((rewritten.number, rewritten.change), (2, ReleasedChange::Retract));
    assert_eq!(outbox.rewrite_as_retraction(de, 2).await.unwrap(), rewritten);
    assert_eq!(outbox.released_after(de, 1, 1).await.unwrap(), [rewritten]);
    // Whether DE stored number 2 as it was is not known: it is told again, whatever is decided now.
    assert_eq!(outbox.pending(de, 10).await.unwrap().iter().map(|q| q.record).collect::<Vec<_>>(), [second]);
    let told = pull(outbox, version(1), Some(Action::Read)).await;
    assert_eq!(told.iter().map(|n| n.number).collect::<Vec<_>>(), [4]);
    let unknown = outbox.rewrite_as_retraction(de, 9).await;
    assert!(matches!(unknown, Err(OutboxError::NoSuchNumber { last_number: 4, .. })), "{unknown:?}");
}

#[tokio::test]
async fn receipts_are_kept_for_what_was_sent() {
    let test = TestStore::new().await;
    let (outbox, de) = (test.store.outbox(), member("DE"));
    let receipt = |last_number| Receipt { last_number, root: Hex32([1; 32]), envelope: vec![1, 2], at: at(9) };
    let early = outbox.record_receipt(de, receipt(1)).await;
    assert!(matches!(early, Err(OutboxError::NoSuchNumber { .. })), "{early:?}");
    outbox.requeue_party(de, vec![record("FR", 1), record("FR", 2)]).await.unwrap();
    pull(outbox, version(1), Some(Action::Read)).await;
    outbox.record_receipt(de, receipt(2)).await.unwrap();
    outbox.record_receipt(de, receipt(1)).await.unwrap();
    assert_eq!(outbox.lag(de).await.unwrap(), Lag { queued: 0, last_number: 2, receipted: 2 });
    assert_eq!(outbox.receipts(de, 0, 10).await.unwrap(), [receipt(1), receipt(2)]);
    assert_eq!(outbox.receipts(de, 1, 10).await.unwrap(), [receipt(2)]);
}

use comity_core::VersionId;
use comity_core::canonical::Hex32;
use comity_core::release::Action;

use super::*;
use crate::test_store::{TestStore, at, member, record, version};

mod model;

/// Takes everything queued for DE and decides it all alike.
async fn pull(outbox: &Outbox, version: VersionId, level: Option<Action>) -> Vec<Numbered> {
    let queued = outbox.pending(member("DE"), None, 100).await.unwrap();
    let telling = level.map(|level| Telling { level, shown: None, until: None });
    let decided = queued.iter().map(|q| Decided { record: q.record, ticket: q.ticket, version, telling }).collect();
    outbox.release(member("DE"), decided, usize::MAX, at(1)).await.unwrap()
}

#[tokio::test]
async fn a_denied_record_leaves_no_trace_and_a_revoked_one_is_retracted_once() {
    let test = TestStore::with_drafts(3).await;
    let (outbox, de, id) = (test.store.outbox(), member("DE"), record("FR", 1));
    outbox.enqueue(de, id).await.unwrap();
    assert_eq!(pull(outbox, version(1), None).await, []);
    assert_eq!(outbox.last_number(de).await.unwrap(), 0);
    assert!(outbox.ever_received(id).await.unwrap().is_empty());

    outbox.enqueue(de, id).await.unwrap();
    let sent = pull(outbox, version(1), Some(Action::Discover)).await;
    let upsert = ReleasedChange::Upsert { version: version(1), level: Action::Discover, shown: None };
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
    let test = TestStore::with_drafts(3).await;
    let (outbox, de, id) = (test.store.outbox(), member("DE"), record("FR", 1));
    outbox.enqueue(de, id).await.unwrap();
    let ticket = outbox.pending(de, None, 10).await.unwrap()[0].ticket;
    // The proposal is withdrawn between the decision and the release.
    outbox.enqueue(de, id).await.unwrap();
    let telling = Some(Telling { level: Action::Read, shown: None, until: None });
    let decided = Decided { record: id, ticket, version: version(1), telling };
    assert_eq!(outbox.release(de, vec![decided.clone()], usize::MAX, at(1)).await.unwrap(), []);
    assert_eq!(outbox.pending(de, None, 10).await.unwrap().len(), 1, "it waits for a fresh decision");
    assert_eq!(pull(outbox, version(1), None).await, []);
    // An empty queue does not make old tickets good again.
    outbox.enqueue(de, id).await.unwrap();
    assert_eq!(outbox.release(de, vec![decided], usize::MAX, at(1)).await.unwrap(), []);
}

#[tokio::test]
async fn the_queue_goes_round() {
    let test = TestStore::with_drafts(3).await;
    let (outbox, de) = (test.store.outbox(), member("DE"));
    outbox.requeue_party(de, vec![record("FR", 3), record("FR", 1), record("FR", 2)]).await.unwrap();
    outbox.enqueue(de, record("FR", 3)).await.unwrap();
    let queued = async |after, limit| -> Vec<RecordId> {
        outbox.pending(de, after, limit).await.unwrap().iter().map(|q| q.record).collect()
    };
    assert_eq!(queued(None, 2).await, [record("FR", 1), record("FR", 2)]);
    assert_eq!(queued(Some(record("FR", 1)), 1).await, [record("FR", 2)]);
    assert_eq!(queued(Some(record("FR", 2)), 2).await, [record("FR", 3)]);
    assert!(queued(Some(record("FR", 3)), 2).await.is_empty());
    assert_eq!(outbox.lag(de).await.unwrap(), Lag { queued: 3, last_number: 0, receipted: 0, receipt_at: None });
}

#[tokio::test]
async fn what_is_sent_again_may_become_a_retraction_under_its_number() {
    let test = TestStore::with_drafts(3).await;
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
    assert_eq!(outbox.pending(de, None, 10).await.unwrap().iter().map(|q| q.record).collect::<Vec<_>>(), [second]);
    let told = pull(outbox, version(1), Some(Action::Read)).await;
    assert_eq!(told.iter().map(|n| n.number).collect::<Vec<_>>(), [4]);
    let unknown = outbox.rewrite_as_retraction(de, 9).await;
    assert!(matches!(unknown, Err(OutboxError::NoSuchNumber { last_number: 4, .. })), "{unknown:?}");
}

#[tokio::test]
async fn receipts_are_kept_for_what_was_sent() {
    let test = TestStore::with_drafts(3).await;
    let (outbox, de) = (test.store.outbox(), member("DE"));
    let receipt = |last_number| Receipt { last_number, root: Hex32([1; 32]), envelope: vec![1, 2], at: at(9) };
    let early = outbox.record_receipt(de, receipt(1)).await;
    assert!(matches!(early, Err(OutboxError::NoSuchNumber { .. })), "{early:?}");
    outbox.requeue_party(de, vec![record("FR", 1), record("FR", 2)]).await.unwrap();
    pull(outbox, version(1), Some(Action::Read)).await;
    outbox.record_receipt(de, receipt(2)).await.unwrap();
    outbox.record_receipt(de, receipt(1)).await.unwrap();
    assert_eq!(outbox.lag(de).await.unwrap(), Lag { queued: 0, last_number: 2, receipted: 2, receipt_at: Some(at(9)) });
    assert_eq!(outbox.receipts(de, 0, 10).await.unwrap(), [receipt(1), receipt(2)]);
    assert_eq!(outbox.receipts(de, 1, 10).await.unwrap(), [receipt(2)]);
}

#[tokio::test]
async fn what_ends_is_decided_again_when_its_time_has_come() {
    let test = TestStore::with_drafts(2).await;
    let (outbox, de) = (test.store.outbox(), member("DE"));
    outbox.requeue_party(de, vec![record("FR", 1), record("FR", 2)]).await.unwrap();
    let queued = outbox.pending(de, None, 10).await.unwrap();
    let until = |n| (n == 1).then(|| at(50));
    let decided = queued.iter().zip(1..).map(|(q, n)| Decided {
        record: q.record,
        ticket: q.ticket,
        version: q.version,
        telling: Some(Telling { level: Action::Read, shown: None, until: until(n) }),
    });
    outbox.release(de, decided.collect(), usize::MAX, at(1)).await.unwrap();
    assert_eq!(outbox.next_end().await.unwrap(), Some(at(50)));
    assert_eq!(outbox.requeue_ended(at(49)).await.unwrap(), 0);
    assert_eq!(outbox.requeue_ended(at(50)).await.unwrap(), 1);
    assert_eq!(
        outbox.pending(de, None, 10).await.unwrap().iter().map(|q| q.record).collect::<Vec<_>>(),
        [record("FR", 1)]
    );
    assert_eq!((outbox.requeue_ended(at(51)).await.unwrap(), outbox.next_end().await.unwrap()), (0, None));
}

#[tokio::test]
async fn other_terms_are_told_and_equal_ones_are_not() {
    let test = TestStore::with_drafts(1).await;
    let (outbox, de, id) = (test.store.outbox(), member("DE"), record("FR", 1));
    for (shown, told) in [(None, 1), (None, 0), (Some(Hex32([1; 32])), 1), (Some(Hex32([1; 32])), 0), (None, 1)] {
        outbox.enqueue(de, id).await.unwrap();
        let ticket = outbox.pending(de, None, 10).await.unwrap()[0].ticket;
        let telling = Some(Telling { level: Action::Read, shown, until: None });
        let decided = Decided { record: id, ticket, version: version(1), telling };
        assert_eq!(outbox.release(de, vec![decided], usize::MAX, at(1)).await.unwrap().len(), told, "{shown:?}");
    }
}

#[tokio::test]
async fn everything_that_concerns_a_party_is_queued_in_one_step() {
    let test = TestStore::with_drafts(9).await;
    let (outbox, de) = (test.store.outbox(), member("DE"));
    for n in 1..=8 {
        test.share(n, n, &["DE", "CA"]).await;
    }
    // One is held and not shared any more.
    outbox.enqueue(de, record("FR", 9)).await.unwrap();
    pull(outbox, version(1), Some(Action::Read)).await;
    let before = outbox.pending(member("CA"), None, 100).await.unwrap();
    assert_eq!(outbox.requeue_everything(de).await.unwrap(), 9);
    let queued = outbox.pending(de, None, 100).await.unwrap();
    let tickets: BTreeSet<u64> = queued.iter().map(|q| q.ticket).collect();
    assert_eq!((queued.len(), tickets.len()), (9, 9));
    outbox.enqueue(de, record("FR", 1)).await.unwrap();
    let again = outbox.pending(de, None, 100).await.unwrap();
    assert!(again.iter().any(|q| !tickets.contains(&q.ticket)), "a fresh ticket is above all others");
    assert_eq!(outbox.pending(member("CA"), None, 100).await.unwrap(), before);
    assert_eq!(outbox.concerned(de, None, 100).await.unwrap().len(), 9);
    assert_eq!(outbox.concerned(de, Some(record("FR", 7)), 100).await.unwrap(), [record("FR", 8), record("FR", 9)]);
}

/// It could be told when what points to it was decided, and no more once its turn came.
#[tokio::test]
async fn what_points_to_a_record_that_is_refused_before_it_was_told_is_decided_again() {
    let test = TestStore::with_drafts(1).await;
    let (outbox, de, target) = (test.store.outbox(), member("DE"), record("FR", 1));
    let id = test.evidence_on(target, &["DE"]).await;
    pull(outbox, version(1), Some(Action::Read)).await;
    outbox.enqueue(de, target).await.unwrap();
    let ticket = outbox.pending(de, None, 10).await.unwrap()[0].ticket;
    outbox.dismiss(de, [(target, ticket - 1)].into()).await.unwrap();
    assert_eq!(outbox.pending(de, None, 10).await.unwrap()[0].record, target, "it was queued again since");
    outbox.dismiss(de, [(target, ticket)].into()).await.unwrap();
    assert_eq!(outbox.pending(de, None, 10).await.unwrap().iter().map(|q| q.record).collect::<Vec<_>>(), [id]);
    assert_eq!(outbox.last_number(de).await.unwrap(), 1, "no number is given for it");
}

#[tokio::test]
async fn what_points_to_a_record_is_decided_again_when_that_appears_or_goes() {
    let test = TestStore::with_drafts(1).await;
    let (outbox, de, target) = (test.store.outbox(), member("DE"), record("FR", 1));
    let id = test.evidence_on(target, &["DE"]).await;
    assert_eq!(
        outbox.pending(de, None, 10).await.unwrap()[0].links,
        [comity_core::document::LinkTarget::Record(target)]
    );
    pull(outbox, version(1), Some(Action::Read)).await;
    for level in [Some(Action::Discover), None] {
        outbox.enqueue(de, target).await.unwrap();
        pull(outbox, version(1), level).await;
        assert_eq!(
            outbox.pending(de, None, 10).await.unwrap().iter().map(|q| q.record).collect::<Vec<_>>(),
            [id],
            "{level:?}"
        );
        pull(outbox, version(1), Some(Action::Read)).await;
    }
    // More of it than before is no reason: it was discovered already.
    outbox.enqueue(de, target).await.unwrap();
    pull(outbox, version(1), Some(Action::Discover)).await;
    pull(outbox, version(1), Some(Action::Read)).await;
    outbox.enqueue(de, target).await.unwrap();
    pull(outbox, version(1), Some(Action::Read)).await;
    assert!(outbox.pending(de, None, 10).await.unwrap().is_empty());
}

/// A decision on what points to a record is made while the record is out of sight for a moment, and that moment is never told.
#[tokio::test]
async fn what_points_to_a_record_is_decided_again_when_other_terms_of_it_are_told() {
    let test = TestStore::with_drafts(1).await;
    let (outbox, de, target) = (test.store.outbox(), member("DE"), record("FR", 1));
    test.share(1, 1, &["DE"]).await;
    let evidence = test.evidence_on(target, &["DE"]).await;
    let tell = async |level: Option<Action>, shown: Option<u8>| {
        let queued = outbox.pending(de, None, 10).await.unwrap();
        let telling = level.map(|level| Telling { level, shown: shown.map(|n| Hex32([n; 32])), until: None });
        let decided = |q: &Candidate| Decided { record: q.record, ticket: q.ticket, version: version(1), telling };
        outbox.release(de, queued.iter().map(decided).collect(), usize::MAX, at(1)).await.unwrap().len()
    };
    assert_eq!(tell(Some(Action::Read), Some(1)).await, 2);
    tell(Some(Action::Read), Some(1)).await;
    assert!(outbox.pending(de, None, 10).await.unwrap().is_empty());
    // Its end has come, and the evidence is decided without it; before that is told, it is shown on other terms.
    outbox.enqueue(de, target).await.unwrap();
    assert_eq!(tell(Some(Action::Read), Some(2)).await, 1);
    let queued = outbox.pending(de, None, 10).await.unwrap();
    assert_eq!(queued.iter().map(|q| q.record).collect::<Vec<_>>(), [evidence]);
}

#[tokio::test]
async fn what_finds_no_room_stays_queued() {
    let test = TestStore::with_drafts(5).await;
    let (outbox, de) = (test.store.outbox(), member("DE"));
    for n in 1..=5 {
        outbox.enqueue(de, record("FR", n)).await.unwrap();
    }
    let queued = outbox.pending(de, None, 10).await.unwrap();
    let telling = |n| (n != 1).then_some(Telling { level: Action::Read, shown: None, until: None });
    let decided = (0..).zip(&queued).map(|(n, q)| Decided {
        record: q.record,
        ticket: q.ticket,
        version: version(1),
        telling: telling(n),
    });
    let released = outbox.release(de, decided.collect(), 3, at(1)).await.unwrap();
    // The second is refused, and takes no room.
    assert_eq!(released.iter().map(|n| n.record).collect::<Vec<_>>(), [1, 3, 4].map(|n| record("FR", n)));
    let left = outbox.pending(de, None, 10).await.unwrap();
    assert_eq!(left.iter().map(|q| q.record).collect::<Vec<_>>(), [record("FR", 5)]);
}

/// A policy ends and nothing changes; the share ends later, and that is not forgotten.
#[tokio::test]
async fn a_later_end_is_known_once_an_earlier_one_has_passed() {
    let test = TestStore::with_drafts(1).await;
    let (outbox, de, id) = (test.store.outbox(), member("DE"), record("FR", 1));
    let tell = async |until: Option<i64>| {
        let ticket = outbox.pending(de, None, 10).await.unwrap()[0].ticket;
        let telling = Some(Telling { level: Action::Read, shown: None, until: until.map(at) });
        let decided = Decided { record: id, ticket, version: version(1), telling };
        outbox.release(de, vec![decided], usize::MAX, at(1)).await.unwrap().len()
    };
    outbox.enqueue(de, id).await.unwrap();
    assert_eq!(tell(Some(20)).await, 1);
    assert_eq!(outbox.requeue_ended(at(20)).await.unwrap(), 1);
    assert_eq!(tell(Some(50)).await, 0, "it holds that already");
    assert_eq!(outbox.next_end().await.unwrap(), Some(at(50)));
    assert_eq!(outbox.requeue_ended(at(50)).await.unwrap(), 1);
    assert_eq!(tell(None).await, 0);
    assert_eq!(outbox.next_end().await.unwrap(), None);
}

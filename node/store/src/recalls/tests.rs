use comity_core::RecordKind;
use comity_core::release::Action;

use super::*;
use crate::outbox::{Decided, Telling};
use crate::records::RecordError;
use crate::test_store::{TestStore, at, draft, member, open_copy, person, record, skipped_without_a_file, version};

fn recall(n: u8, about: RecordId) -> NewRecord {
    let text = format!(r#"{{"marking":{{"tier":"secret"}},"about":"{about}","reason":"a source is at risk"}}"#);
    NewRecord {
        id: RecordId::new(member("FR"), RecordKind::Recall, [n; 10]),
        document: Document::from_json(RecordKind::Recall, text.as_bytes()).unwrap(),
        ..draft(n)
    }
}

/// Shows a record to parties, each of which receives it.
async fn released(test: &TestStore, of: u8, parties: &[&str]) {
    test.share(of, of, parties).await;
    for party in parties {
        let queued = test.store.outbox().pending(member(party), None, 100).await.unwrap();
        let telling = Some(Telling { level: Action::Read, shown: None, until: None });
        let decided =
            queued.iter().map(|q| Decided { record: q.record, ticket: q.ticket, version: q.version, telling });
        test.store.outbox().release(member(party), decided.collect(), usize::MAX, at(3)).await.unwrap();
    }
}

#[tokio::test]
async fn a_recall_reaches_everybody_who_ever_received_it_and_nobody_else() {
    let test = TestStore::with_drafts(3).await;
    let (recalls, outbox, id) = (test.store.recalls(), test.store.outbox(), record("FR", 1));
    let nobody = recalls.start(recall(7, id)).await;
    assert!(matches!(nobody, Err(RecallError::NobodyHasIt { .. })), "{nobody:?}");
    released(&test, 1, &["DE", "CA"]).await;
    // CA lost it again: it received it all the same.
    outbox.enqueue(member("CA"), id).await.unwrap();
    let ticket = outbox.pending(member("CA"), None, 10).await.unwrap()[0].ticket;
    let denied = Decided { record: id, ticket, version: version(1), telling: None };
    outbox.release(member("CA"), vec![denied], usize::MAX, at(4)).await.unwrap();
    test.share(1, 1, &["AU"]).await;

    let started = recalls.start(recall(7, id)).await.unwrap();
    let parties = |recall: &StoredRecall| recall.parties.iter().map(|p| p.party.to_string()).collect::<Vec<_>>();
    assert_eq!((parties(&started), started.reason.as_str()), (vec!["CA".into(), "DE".into()], "a source is at risk"));
    assert_eq!(recalls.start(recall(7, id)).await.unwrap(), started, "asking again changes nothing");
    let again = recalls.start(recall(8, id)).await;
    assert!(matches!(again, Err(RecallError::Record(RecordError::Recalled { .. }))), "{again:?}");
    // Nobody is given it any more, and nothing is done with it.
    for party in ["DE", "CA", "AU"] {
        let candidates = outbox.candidates(member(party), &[id]).await.unwrap();
        assert!(candidates[0].taken_back && candidates[0].share.is_none(), "{party}");
        assert!(outbox.pending(member(party), None, 10).await.unwrap().iter().any(|q| q.record == id), "{party}");
    }
    let shared = test.store.records().mark_tabled(id, version(1), comity_core::canonical::Hex32([1; 32]), at(9)).await;
    assert!(matches!(shared, Err(RecordError::Recalled { .. })), "{shared:?}");

    let told = recalls.tell(member("DE"), 0, 10, at(10)).await.unwrap();
    assert_eq!(told.iter().map(|t| (t.recall, t.record)).collect::<Vec<_>>(), [(started.recall, id)]);
    assert!(recalls.tell(member("DE"), told[0].position, 10, at(11)).await.unwrap().is_empty());
    assert!(recalls.tell(member("AU"), 0, 10, at(11)).await.unwrap().is_empty(), "it never received it");
    recalls.answered(member("DE"), started.recall, Answer::Destroyed, vec![1], at(12)).await.unwrap();
    let stranger = recalls.answered(member("AU"), started.recall, Answer::Destroyed, vec![1], at(12)).await;
    assert!(matches!(stranger, Err(RecallError::NotAsked { .. })), "{stranger:?}");
    let status = recalls.get(id).await.unwrap().unwrap();
    let answers: Vec<_> = status.parties.iter().map(|p| (p.fetched, p.answer)).collect();
    assert_eq!(answers, [(None, None), (Some(at(10)), Some(Answer::Destroyed))]);
    assert_eq!(recalls.list(10).await.unwrap(), [status]);
}

fn received(n: u8, answer: Answer) -> NewReceivedRecall {
    NewReceivedRecall {
        recall: RecordId::new(member("DE"), RecordKind::Recall, [n; 10]),
        record: record("DE", n),
        origin: member("DE"),
        envelope: vec![1],
        at: at(9),
        answer,
        reply: vec![n, answer as u8],
    }
}

#[tokio::test]
async fn what_was_destroyed_is_gone_from_the_disk_and_does_not_come_back() {
    let test = TestStore::new().await;
    let (copies, recalls) = (test.store.copies(), test.store.received_recalls());
    copies.apply_page(crate::copies::tests::page_of(&[(1, 1, "Canary one"), (2, 2, "Two")])).await.unwrap();
    let backup = (!skipped_without_a_file()).then(|| test.crash_copy());
    assert_eq!(recalls.take(received(1, Answer::Destroyed)).await.unwrap(), TakenRecall::Taken);
    assert_eq!(copies.get(record("DE", 1)).await.unwrap(), None);
    assert!(copies.get(record("DE", 2)).await.unwrap().is_some());
    // Whoever sends it once more has it refused in silence; what comes with it is taken.
    copies.apply_page(crate::copies::tests::page_of(&[(3, 1, "Canary one"), (4, 3, "Three")])).await.unwrap();
    assert_eq!(copies.get(record("DE", 1)).await.unwrap(), None);
    assert!(copies.get(record("DE", 3)).await.unwrap().is_some());

    let undelivered = recalls.undelivered(member("DE"), 10).await.unwrap();
    assert_eq!(
        undelivered.iter().map(|r| (r.record, r.answer)).collect::<Vec<_>>(),
        [(record("DE", 1), Answer::Destroyed)]
    );
    recalls.delivered(undelivered[0].recall, vec![9], at(11)).await.unwrap();
    assert_eq!(recalls.undelivered(member("DE"), 10).await.unwrap().len(), 1, "another answer was delivered");
    recalls.delivered(undelivered[0].recall, undelivered[0].reply.clone(), at(11)).await.unwrap();
    assert!(recalls.undelivered(member("DE"), 10).await.unwrap().is_empty());

    // A database that is put back from a backup loses it again before anybody reads it.
    if let Some((folder, _)) = backup {
        std::fs::copy(test.erasures(), folder.path().join("erasures")).unwrap();
        let restored = open_copy(&folder, member("FR"), crate::test_store::FEDERATION).await.unwrap();
        assert_eq!(restored.copies().get(record("DE", 1)).await.unwrap(), None);
        assert!(restored.copies().get(record("DE", 2)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn what_may_not_be_given_up_is_kept_until_the_hold_is_lifted() {
    let test = TestStore::new().await;
    let (copies, recalls) = (test.store.copies(), test.store.received_recalls());
    copies.apply_page(crate::copies::tests::page_of(&[(1, 1, "One")])).await.unwrap();
    let hold = CopyHold {
        record: record("DE", 1),
        because: "order of a court".to_owned(),
        author: person("operator", "desk-7"),
        approver: person("approver", "desk-8"),
        at: at(5),
    };
    recalls.put_hold(hold.clone()).await.unwrap();
    assert_eq!(recalls.hold(record("DE", 1)).await.unwrap(), Some(hold));
    // The answer was signed before the hold was known.
    assert_eq!(recalls.take(received(1, Answer::Destroyed)).await.unwrap(), TakenRecall::Overtaken);
    assert_eq!(recalls.take(received(1, Answer::Retained)).await.unwrap(), TakenRecall::Taken);
    assert!(copies.get(record("DE", 1)).await.unwrap().is_some());
    recalls.delivered(received(1, Answer::Retained).recall, received(1, Answer::Retained).reply, at(6)).await.unwrap();
    let test = test.reopen().await;
    assert!(test.store.copies().get(record("DE", 1)).await.unwrap().is_some(), "a restart does not lift it");
    // Its retraction hides it from everybody and destroys nothing.
    test.store.copies().apply_page(crate::copies::tests::retractions(&[(2, 1)])).await.unwrap();
    assert_eq!(test.store.copies().get(record("DE", 1)).await.unwrap(), None);
    let kept =
        query("SELECT COUNT(*) AS n FROM copy").fetch_one(&mut test.store.copies().read_raw().await).await.unwrap();
    assert_eq!(columns::count(&kept, "n").unwrap(), 1);
    let recalls = test.store.received_recalls();
    recalls.lift_hold(record("DE", 1)).await.unwrap();
    assert_eq!(recalls.take(received(1, Answer::Retained)).await.unwrap(), TakenRecall::Overtaken);
    assert_eq!(recalls.take(received(1, Answer::Destroyed)).await.unwrap(), TakenRecall::Taken);
    assert_eq!(test.store.copies().get(record("DE", 1)).await.unwrap(), None);
    assert_eq!(recalls.undelivered(member("DE"), 10).await.unwrap().len(), 1, "the new answer is to be told");
    let listed = recalls.list(Some(record("DE", 1)), 10).await.unwrap();
    assert_eq!(listed.iter().map(|r| r.answer).collect::<Vec<_>>(), [Answer::Destroyed]);
    recalls.set_position(member("DE"), 4).await.unwrap();
    assert_eq!((recalls.position(member("DE")).await.unwrap(), recalls.position(member("CA")).await.unwrap()), (4, 0));
}

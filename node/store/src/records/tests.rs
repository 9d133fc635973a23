use comity_core::release::Action;
use comity_core::view::Views;

use super::*;
use crate::outbox::{Decided, ReleasedChange, Telling};
use crate::test_store::{TestStore, at, draft, member, person, proposal, record, revision, version};

fn shown(id: RecordId, of: u8, parties: &[MemberId], second: i64) -> NewShare {
    let parties = parties.iter().copied().collect();
    NewShare { records: vec![(id, version(of))], parties, terms: StoredShare::PLAIN, at: at(second) }
}

#[tokio::test]
async fn the_same_request_makes_one_proposal() {
    let test = TestStore::new().await;
    let records = test.store.records();
    let with_request = |n, title: &str| {
        let mut new = draft(n);
        new.request_id = Some("req-1".to_owned());
        new.document = proposal(title);
        new
    };
    let first = records.create(with_request(1, "One")).await.unwrap();
    // The client did not hear the answer and asks again; the node draws other ids.
    assert_eq!(records.create(with_request(2, "One")).await.unwrap(), first);
    let other = records.create(with_request(3, "Another")).await;
    assert!(matches!(other, Err(RecordError::RequestIdReused { id }) if id == first.id), "{other:?}");
    let mut of_another = with_request(4, "Another");
    of_another.author = person("operator", "desk-9");
    records.create(of_another).await.unwrap();
    let revised = records.revise(first.id, first.version, revision(9, "Later")).await.unwrap();
    assert_eq!(records.create(with_request(5, "One")).await.unwrap(), revised, "as it is now");
    assert_eq!(records.list(None, None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn ids_are_fresh_and_ours() {
    let test = TestStore::new().await;
    let records = test.store.records();
    records.create(draft(1)).await.unwrap();
    assert!(matches!(records.create(draft(1)).await, Err(RecordError::IdTaken { .. })));
    let mut foreign = draft(2);
    foreign.id = record("DE", 2);
    assert!(matches!(records.create(foreign).await, Err(RecordError::NotOurs { .. })));
}

#[tokio::test]
async fn a_stale_version_is_a_conflict_everywhere() {
    let test = TestStore::new().await;
    let records = test.store.records();
    let id = record("FR", 1);
    records.create(draft(1)).await.unwrap();
    let revised = records.revise(id, version(1), revision(2, "Second")).await.unwrap();
    assert_eq!((revised.ordinal, revised.version), (2, version(2)));
    assert_eq!(revised.document.title(), "Second");
    let stale = [
        records.revise(id, version(1), revision(3, "Third")).await,
        records.mark_tabled(id, version(1), Hex32([1; 32]), at(4)).await,
    ];
    let shared = records.share(shown(id, 1, &[member("DE")], 4)).await;
    assert!(matches!(shared, Err(RecordError::Conflict { .. })), "{shared:?}");
    for result in stale {
        assert!(matches!(result, Err(RecordError::Conflict { current, .. }) if current == version(2)), "{result:?}");
    }
    assert!(test.store.outbox().pending(member("DE"), None, 10).await.unwrap().is_empty(), "nothing half-written");
    let missing = records.withdraw(record("FR", 9), at(1)).await;
    assert!(matches!(missing, Err(RecordError::NotFound { .. })));
    let ordinals: Vec<u64> = records.versions(id).await.unwrap().iter().map(|v| v.ordinal).collect();
    assert_eq!(ordinals, [1, 2]);
    assert_eq!(records.version(id, version(1)).await.unwrap().unwrap().title(), "A title");
}

#[tokio::test]
async fn states_follow_each_other_and_repeats_are_harmless() {
    let test = TestStore::new().await;
    let records = test.store.records();
    let (id, ballot) = (record("FR", 1), Hex32([5; 32]));
    assert_eq!(records.create(draft(1)).await.unwrap().state, RecordState::Draft);
    records.share(shown(id, 1, &[member("DE")], 2)).await.unwrap();
    assert_eq!(records.get(id).await.unwrap().unwrap().state, RecordState::Shared);
    records.share(shown(id, 1, &[member("CA")], 3)).await.unwrap();
    let shares = records.get(id).await.unwrap().unwrap().shares;
    assert_eq!(shares.into_keys().collect::<Vec<_>>(), [member("CA"), member("DE")]);
    let tabled = records.mark_tabled(id, version(1), ballot, at(4)).await.unwrap();
    assert_eq!((tabled.state, tabled.ballot), (RecordState::Tabled, Some(ballot)));
    assert_eq!(records.mark_tabled(id, version(1), ballot, at(5)).await.unwrap(), tabled);
    let elsewhere = records.mark_tabled(id, version(1), Hex32([6; 32]), at(5)).await;
    assert!(matches!(elsewhere, Err(RecordError::WrongState { state: RecordState::Tabled, .. })));
    let revised = records.revise(id, version(1), revision(2, "x")).await.unwrap_err();
    assert_eq!(revised.to_string(), format!("{id} is tabled: expected draft or shared"));
    let withdrawn = records.withdraw(id, at(6)).await.unwrap();
    assert_eq!(withdrawn.state, RecordState::Withdrawn);
    assert_eq!(records.withdraw(id, at(7)).await.unwrap(), withdrawn);
    assert!(matches!(records.share(shown(id, 1, &[member("AU")], 8)).await, Err(RecordError::WrongState { .. })));
}

#[tokio::test]
async fn a_withdrawal_reaches_everybody_who_received_it() {
    let test = TestStore::new().await;
    let (records, outbox) = (test.store.records(), test.store.outbox());
    let (id, de, ca) = (record("FR", 1), member("DE"), member("CA"));
    records.create(draft(1)).await.unwrap();
    records.share(shown(id, 1, &[de, ca], 2)).await.unwrap();
    let telling = Some(Telling { level: Action::Read, shown: None, until: None });
    let queued = outbox.pending(de, None, 10).await.unwrap();
    let decided = Decided { record: id, ticket: queued[0].ticket, version: version(1), telling };
    outbox.release(de, vec![decided], usize::MAX, at(3)).await.unwrap();
    assert!(!outbox.candidates(de, &[id]).await.unwrap()[0].taken_back);

    records.withdraw(id, at(4)).await.unwrap();
    for (party, expected) in [(de, vec![ReleasedChange::Retract]), (ca, vec![])] {
        let queued = outbox.pending(party, None, 10).await.unwrap();
        assert!(queued[0].taken_back, "every decision is a refusal");
        let decided = Decided { record: id, ticket: queued[0].ticket, version: version(1), telling: None };
        let released = outbox.release(party, vec![decided], usize::MAX, at(5)).await.unwrap();
        assert_eq!(released.iter().map(|n| n.change).collect::<Vec<_>>(), expected, "{party}");
    }
}

#[tokio::test]
async fn paging_is_stable_while_new_ones_come() {
    let test = TestStore::new().await;
    let records = test.store.records();
    for n in 1..=5 {
        records.create(draft(n)).await.unwrap();
    }
    let ids = |page: Vec<StoredRecord>| page.into_iter().map(|p| p.id).collect::<Vec<_>>();
    let page = records.list(None, None, 2).await.unwrap();
    let below = page.last().map(|row| row.position);
    let first = ids(page);
    assert_eq!(first, [record("FR", 5), record("FR", 4)]);
    records.create(draft(6)).await.unwrap();
    records.withdraw(record("FR", 4), at(9)).await.unwrap();
    let rest = ids(records.list(None, below, 10).await.unwrap());
    assert_eq!(rest, [record("FR", 3), record("FR", 2), record("FR", 1)]);
}

#[tokio::test]
async fn the_views_are_those_of_the_current_version() {
    let test = TestStore::new().await;
    let (new, id) = (draft(1), record("FR", 1));
    let expected = Views::of(id, new.version, &new.document, new.salts);
    test.store.records().create(new).await.unwrap();
    assert_eq!(test.store.outbox().views(&[id, record("FR", 2)]).await.unwrap(), [(id, expected)].into());
    let revised = revision(2, "Second");
    let expected = Views::of(id, revised.version, &revised.document, revised.salts);
    test.store.records().revise(id, version(1), revised).await.unwrap();
    assert_eq!(test.store.outbox().views(&[id]).await.unwrap(), [(id, expected)].into());
    let candidate = &test.store.outbox().candidates(member("DE"), &[id]).await.unwrap()[0];
    assert_eq!((candidate.marking.as_ref(), candidate.version), (proposal("A title").marking(), version(2)));
}

#[tokio::test]
async fn many_are_shared_all_or_none() {
    let test = TestStore::with_drafts(2).await;
    let (one, two, missing) = (record("FR", 1), record("FR", 2), record("FR", 9));
    let share = |records: Vec<(RecordId, VersionId)>| {
        test.store.records().share(NewShare {
            records,
            parties: [member("DE")].into(),
            terms: StoredShare::PLAIN,
            at: at(3),
        })
    };
    for last in [(missing, version(9)), (two, version(9)), (record("CA", 2), version(2))] {
        assert!(share(vec![(one, version(1)), last]).await.is_err());
        assert!(test.store.outbox().pending(member("DE"), None, 10).await.unwrap().is_empty(), "nothing half-written");
        assert_eq!(test.store.records().get(one).await.unwrap().unwrap().state, RecordState::Draft);
    }
    share(vec![(one, version(1)), (two, version(2))]).await.unwrap();
    assert_eq!(test.store.outbox().pending(member("DE"), None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn custody_is_appended_to_and_answers_are_found() {
    let test = TestStore::new().await;
    let evidence = |custody: &str| {
        let text = format!(
            r#"{{"title":"A tape","marking":{{"tier":"secret"}},"material":"audio","links":["FR-P-0000000000000001"],"custody":[{custody}]}}"#
        );
        Document::from_json(RecordKind::Evidence, text.as_bytes()).unwrap()
    };
    let (first, second) = (
        r#"{"from":"a","to":"b","at":"2018-01-01T00:00:00Z","hash_checked":false}"#,
        r#"{"from":"b","to":"c","at":"2019-01-01T00:00:00Z","hash_checked":false}"#,
    );
    let id = RecordId::new(member("FR"), RecordKind::Evidence, [1; 10]);
    let mut new = NewRecord { id, document: evidence(first), ..draft(1) };
    let wrong_kind = test.store.records().create(NewRecord { id: record("FR", 1), ..new.clone() }).await;
    assert!(matches!(wrong_kind, Err(RecordError::Kind { .. })), "{wrong_kind:?}");
    test.store.records().create(new.clone()).await.unwrap();
    let revise = |n, from, document| {
        let revision = Revision { document, ..revision(n, "A tape") };
        test.store.records().revise(id, version(from), revision)
    };
    let rewritten = revise(2, 1, evidence(second)).await;
    assert!(matches!(rewritten, Err(RecordError::NotAppended { .. })), "{rewritten:?}");
    revise(2, 1, evidence(&format!("{first},{second}"))).await.unwrap();
    assert!(revise(3, 2, evidence(first)).await.is_err());

    let opinion =
        br#"{"marking":{"tier":"secret","releasable_to":["DE"]},"about":"DE-P-0000000000000001","stance":"support"}"#;
    new.id = RecordId::new(member("FR"), RecordKind::Opinion, [2; 10]);
    new.document = Document::from_json(RecordKind::Opinion, opinion).unwrap();
    test.store.records().create(new.clone()).await.unwrap();
    let about = test.store.records().about("DE-P-0000000000000001".parse().unwrap()).await.unwrap();
    assert_eq!(about.iter().map(|r| r.id).collect::<Vec<_>>(), [new.id]);
    let kinds = test.store.records().list(Some(RecordKind::Opinion), None, 10).await.unwrap();
    assert_eq!(kinds.len(), 1);
}

use comity_core::release::Action;

use super::*;
use crate::outbox::{Decided, ReleasedChange};
use crate::test_store::{TestStore, at, draft, member, person, proposal, record, revision, version};

#[tokio::test]
async fn the_same_request_makes_one_proposal() {
    let test = TestStore::new().await;
    let proposals = test.store.proposals();
    let with_request = |n, title: &str| {
        let mut new = draft(n);
        new.request_id = Some("req-1".to_owned());
        new.proposal = proposal(title);
        new
    };
    let first = proposals.create(with_request(1, "One")).await.unwrap();
    // The client did not hear the answer and asks again; the node draws other ids.
    assert_eq!(proposals.create(with_request(2, "One")).await.unwrap(), first);
    let other = proposals.create(with_request(3, "Another")).await;
    assert!(matches!(other, Err(ProposalError::RequestIdReused { id }) if id == first.id), "{other:?}");
    let mut of_another = with_request(4, "Another");
    of_another.author = person("operator", "desk-9");
    proposals.create(of_another).await.unwrap();
    let revised = proposals.revise(first.id, first.version, revision(9, "Later")).await.unwrap();
    assert_eq!(proposals.create(with_request(5, "One")).await.unwrap(), revised, "as it is now");
    assert_eq!(proposals.list(None, 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn ids_are_fresh_and_ours() {
    let test = TestStore::new().await;
    let proposals = test.store.proposals();
    proposals.create(draft(1)).await.unwrap();
    assert!(matches!(proposals.create(draft(1)).await, Err(ProposalError::IdTaken { .. })));
    let mut foreign = draft(2);
    foreign.id = record("DE", 2);
    assert!(matches!(proposals.create(foreign).await, Err(ProposalError::NotOurs { .. })));
}

#[tokio::test]
async fn a_stale_version_is_a_conflict_everywhere() {
    let test = TestStore::new().await;
    let proposals = test.store.proposals();
    let id = record("FR", 1);
    proposals.create(draft(1)).await.unwrap();
    let revised = proposals.revise(id, version(1), revision(2, "Second")).await.unwrap();
    assert_eq!((revised.ordinal, revised.version), (2, version(2)));
    assert_eq!(revised.proposal.title, "Second");
    let stale = [
        proposals.revise(id, version(1), revision(3, "Third")).await,
        proposals.share(id, version(1), [member("DE")].into(), at(4)).await,
        proposals.mark_tabled(id, version(1), Hex32([1; 32]), at(4)).await,
    ];
    for result in stale {
        assert!(matches!(result, Err(ProposalError::Conflict { current, .. }) if current == version(2)), "{result:?}");
    }
    assert!(test.store.outbox().pending(member("DE"), 10).await.unwrap().is_empty(), "nothing half-written");
    let missing = proposals.withdraw(record("FR", 9), at(1)).await;
    assert!(matches!(missing, Err(ProposalError::NotFound { .. })));
    let ordinals: Vec<u64> = proposals.versions(id).await.unwrap().iter().map(|v| v.ordinal).collect();
    assert_eq!(ordinals, [1, 2]);
    assert_eq!(proposals.version(id, version(1)).await.unwrap().unwrap().title, "A title");
}

#[tokio::test]
async fn states_follow_each_other_and_repeats_are_harmless() {
    let test = TestStore::new().await;
    let proposals = test.store.proposals();
    let (id, ballot) = (record("FR", 1), Hex32([5; 32]));
    assert_eq!(proposals.create(draft(1)).await.unwrap().state, ProposalState::Draft);
    let shared = proposals.share(id, version(1), [member("DE")].into(), at(2)).await.unwrap();
    assert_eq!(shared.state, ProposalState::Shared);
    let more = proposals.share(id, version(1), [member("CA")].into(), at(3)).await.unwrap();
    assert_eq!(more.shared_with, [member("DE"), member("CA")].into());
    let tabled = proposals.mark_tabled(id, version(1), ballot, at(4)).await.unwrap();
    assert_eq!((tabled.state, tabled.ballot), (ProposalState::Tabled, Some(ballot)));
    assert_eq!(proposals.mark_tabled(id, version(1), ballot, at(5)).await.unwrap(), tabled);
    let elsewhere = proposals.mark_tabled(id, version(1), Hex32([6; 32]), at(5)).await;
    assert!(matches!(elsewhere, Err(ProposalError::WrongState { state: ProposalState::Tabled, .. })));
    let revised = proposals.revise(id, version(1), revision(2, "x")).await.unwrap_err();
    assert_eq!(revised.to_string(), format!("proposal {id} is tabled: expected draft or shared"));
    let withdrawn = proposals.withdraw(id, at(6)).await.unwrap();
    assert_eq!(withdrawn.state, ProposalState::Withdrawn);
    assert_eq!(proposals.withdraw(id, at(7)).await.unwrap(), withdrawn);
    assert!(matches!(
        proposals.share(id, version(1), [member("AU")].into(), at(8)).await,
        Err(ProposalError::WrongState { .. })
    ));
}

#[tokio::test]
async fn a_withdrawal_reaches_everybody_who_received_it() {
    let test = TestStore::new().await;
    let (proposals, outbox) = (test.store.proposals(), test.store.outbox());
    let (id, de, ca) = (record("FR", 1), member("DE"), member("CA"));
    proposals.create(draft(1)).await.unwrap();
    proposals.share(id, version(1), [de, ca].into(), at(2)).await.unwrap();
    let queued = outbox.pending(de, 10).await.unwrap()[0];
    let decided = Decided { record: id, ticket: queued.ticket, version: version(1), level: Some(Action::Read) };
    outbox.release(de, vec![decided], at(3)).await.unwrap();
    assert_eq!(proposals.headers_shared_with(de, None, 10).await.unwrap().len(), 1);

    proposals.withdraw(id, at(4)).await.unwrap();
    let (header, _) = proposals.header(id).await.unwrap().unwrap();
    assert!(header.shared_with.is_empty(), "every decision is a refusal");
    assert!(proposals.headers_shared_with(de, None, 10).await.unwrap().is_empty());
    for (party, expected) in [(de, vec![ReleasedChange::Retract]), (ca, vec![])] {
        let queued = outbox.pending(party, 10).await.unwrap()[0];
        let decided = Decided { record: id, ticket: queued.ticket, version: version(1), level: None };
        let released = outbox.release(party, vec![decided], at(5)).await.unwrap();
        assert_eq!(released.iter().map(|n| n.change).collect::<Vec<_>>(), expected, "{party}");
    }
}

#[tokio::test]
async fn paging_is_stable_while_new_ones_come() {
    let test = TestStore::new().await;
    let proposals = test.store.proposals();
    for n in 1..=5 {
        proposals.create(draft(n)).await.unwrap();
    }
    let ids = |page: Vec<StoredProposal>| page.into_iter().map(|p| p.id).collect::<Vec<_>>();
    let first = ids(proposals.list(None, 2).await.unwrap());
    assert_eq!(first, [record("FR", 5), record("FR", 4)]);
    proposals.create(draft(6)).await.unwrap();
    proposals.withdraw(record("FR", 4), at(9)).await.unwrap();
    let rest = ids(proposals.list(first.last().copied(), 10).await.unwrap());
    assert_eq!(rest, [record("FR", 3), record("FR", 2), record("FR", 1)]);
    let unknown = proposals.list(Some(record("FR", 99)), 2).await;
    assert!(matches!(unknown, Err(ProposalError::NotFound { .. })));
}

#[tokio::test]
async fn the_views_are_those_of_the_version() {
    let test = TestStore::new().await;
    let proposals = test.store.proposals();
    let new = draft(1);
    let expected = Views::of(new.id, new.version, &new.proposal, new.salts);
    proposals.create(new).await.unwrap();
    assert_eq!(proposals.views(record("FR", 1), version(1)).await.unwrap(), Some(expected));
    assert_eq!(proposals.views(record("FR", 1), version(2)).await.unwrap(), None);
    let (header, current) = proposals.header(record("FR", 1)).await.unwrap().unwrap();
    assert_eq!((header.marking, current), (proposal("A title").marking, version(1)));
}

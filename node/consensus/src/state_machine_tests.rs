use comity_core::list::Choice;
use comity_core::testing::{Federation, command_id, member};

use super::*;
use crate::log_store::LogOwner;
use crate::types::{Entry, Payload, RaftLeaderId};

fn nothing(federation: &Federation) -> (ListState, Pool) {
    (ListState::new(Arc::clone(&federation.genesis)), Pool::new(2_000))
}

fn entry(index: u64, payload: Payload) -> io::Result<EntryResponder<TypeConfig>> {
    let log_id = LogId { leader_id: RaftLeaderId { term: 1, node_id: 1 }, index };
    Ok((Entry { log_id, payload }, None))
}

#[tokio::test]
async fn refusals_are_outcomes_and_leaves_are_found_again() {
    let federation = Federation::new(3);
    let folder = tempfile::tempdir().unwrap();
    let owner = LogOwner { federation: federation.genesis.federation(), member: member("FR"), node: 1 };
    let log = LogStore::open(folder.path().to_owned(), owner).await.unwrap();
    let (list, pool) = nothing(&federation);
    let applied = Applied::new(list, 0, log.leaves().clone(), pool);
    let mut machine = StateMachine::new(applied.clone(), log.clone());
    let (tabling, ballot) = federation.table(member("FR"), 1);
    let command = |submission| Payload::Normal(Command::settled(submission));
    // Read back after its text was erased: it is applied all the same.
    let mut erased = tabling.clone();
    erased.public_text = None;
    let closed = federation.vote(member("FR"), Hex32([5; 32]), Choice::Yes, 2);
    let mut waiting = applied.wait_for(comity_core::merkle::leaf_hash(&closed.envelope), command_id(2));
    let yes = federation.vote(member("DE"), ballot, Choice::Yes, 3);
    let entries = [
        entry(0, Payload::Blank),
        entry(1, command(erased)),
        entry(2, command(closed)),
        entry(3, Payload::Blank),
        entry(4, command(yes.clone())),
        entry(5, command(yes)),
    ];
    machine.apply(futures::stream::iter(entries)).await.unwrap();
    assert_eq!(*applied.position().borrow(), Position { commands: 2, publications: 0, applied: 6 });
    assert_eq!(log.leaves().indexes(), [1, 4], "neither what is refused nor what is repeated has a leaf");
    assert!(matches!(waiting.decided().await, Some(Err(Refusal::NoSuchBallot(_)))));
    drop(waiting);
    assert!(applied.waiting().is_empty());
}

#[tokio::test]
async fn a_wait_that_is_given_up_is_forgotten() {
    let (list, pool) = nothing(&Federation::new(1));
    let applied = Applied::new(list, 0, Leaves::default(), pool);
    let wait = || applied.wait_for(Hex32([1; 32]), command_id(1));
    let (first, second) = (wait(), wait());
    drop(first);
    assert_eq!(applied.waiting().len(), 1);
    drop(second);
    assert!(applied.waiting().is_empty());
}

use std::sync::Arc;

use comity_core::list::{Choice, ListState};
use comity_core::testing::{Federation, member};

use super::*;
use crate::log_store::Leaves;

fn applied(list: ListState, pool: &Pool) -> Applied {
    Applied::new(list, 0, Leaves::default(), pool.clone())
}

#[tokio::test]
async fn nobody_crowds_the_others_out() {
    let (federation, pool) = (Federation::new(3), Pool::new(1_000));
    let applied = applied(ListState::new(Arc::clone(&federation.genesis)), &pool);
    let add = |from: &str, serial| {
        let command = Command::arriving(federation.table(member(from), serial).0);
        pool.add(command.clone(), &applied, Origin::Announced);
        !pool.lacks(&command)
    };
    let kept = (0..MAX_OF_MEMBER as u64 + 20).filter(|serial| add("FR", *serial)).count();
    assert_eq!(kept, MAX_OF_MEMBER);
    assert!(add("DE", 1_000));
    assert!(add("DE", 1_000), "twice is once");
    assert_eq!(pool.held().commands.len(), MAX_OF_MEMBER + 1);

    // What is decided makes room, whichever way it was decided.
    let decided = Command::arriving(federation.table(member("FR"), 3).0);
    pool.decided(std::iter::once((&decided, &Outcome::Decided(Err(comity_core::list::Refusal::Payload("so".into()))))));
    assert!(pool.lacks(&decided));
    assert!(add("FR", 2_000));
    assert!(!add("FR", 2_001));
}

#[tokio::test]
async fn what_is_not_decided_is_due_again_and_again() {
    let (federation, pool) = (Federation::new(3), Pool::new(60_000));
    let applied = applied(ListState::new(Arc::clone(&federation.genesis)), &pool);
    pool.add(Command::arriving(federation.table(member("FR"), 1).0), &applied, Origin::Own);
    pool.add(Command::arriving(federation.table(member("DE"), 2).0), &applied, Origin::Announced);
    let after = |seconds| Instant::now() + Duration::from_secs(seconds);
    let announced = || pool.announce_due(after(1)).len();
    assert_eq!((announced(), announced()), (1, 0), "only what was handed in here, and once");
    let due = |seconds| pool.resubmit_due(after(seconds)).len();
    assert_eq!((due(20), due(61)), (0, 2), "between half of it and all of it");
    assert_eq!((due(90), due(190)), (0, 2), "then the longest wait there is");
}

#[tokio::test]
async fn what_the_list_holds_is_not_kept_and_what_is_kept_was_checked() {
    let (federation, pool) = (Federation::new(3), Pool::new(1_000));
    let mut list = ListState::new(Arc::clone(&federation.genesis));
    let (tabling, ballot) = federation.table(member("FR"), 1);
    list.apply(&tabling).unwrap();
    let applied = applied(list, &pool);
    pool.add(Command::arriving(tabling), &applied, Origin::Announced);
    assert!(pool.is_empty());
    let mut altered = federation.vote(member("DE"), ballot, Choice::Yes, 2);
    let at = altered.envelope.len() / 3;
    altered.envelope[at] ^= 1;
    pool.add(Command::arriving(altered), &applied, Origin::Announced);
    assert!(pool.is_empty());
    pool.add(Command::arriving(federation.vote(member("DE"), ballot, Choice::Yes, 3)), &applied, Origin::Announced);
    pool.sweep(&applied);
    assert!(!pool.is_empty());
    // The log has gone on for long without it.
    let end = MAX_AGE_ENTRIES + 1;
    let later = Applied::new(ListState::new(Arc::clone(&federation.genesis)), end, Leaves::default(), pool.clone());
    pool.sweep(&later);
    assert!(pool.is_empty());
}

use comity_core::access::log_origin;
use comity_core::checkpoint::Checkpoint;
use comity_core::merkle::{MerkleLog, leaf_hash};
use ed25519_dalek::SigningKey;

use super::*;
use crate::test_store::{FEDERATION, TestStore, at, member};

/// A log, and another of the same length that is not the same from leaf `fork` on.
fn log(fork: u64) -> MerkleLog {
    let mut log = MerkleLog::default();
    (0_u64..200).for_each(|n| log.append(leaf_hash(&[n.to_be_bytes(), u64::from(n >= fork).to_be_bytes()].concat())));
    log
}

fn offer(log: &MerkleLog, size: u64, old_size: u64) -> (Offered, SignedCheckpoint) {
    let origin = log_origin(&"de.comity.example".parse().unwrap(), 1);
    let head = Checkpoint { origin, size, root: log.root_at(size).unwrap() };
    let consistency = log.prove_consistency(size, old_size).unwrap_or_default();
    let offered = Offered { head: head.clone(), incarnation: 1, old_size, consistency, opening: None };
    let mut note = SignedCheckpoint::unsigned(head);
    note.sign(&SigningKey::from_bytes(&[7; 32]));
    (offered, note)
}

async fn offered(test: &TestStore, log: &MerkleLog, size: u64, old_size: u64, second: i64) -> Witnessed {
    let (offered, note) = offer(log, size, old_size);
    test.store.witness().offer(member("DE"), offered, note, at(second)).await.unwrap()
}

#[tokio::test]
async fn what_was_cosigned_goes_on_and_what_contradicts_it_is_kept() {
    let test = TestStore::new().await;
    let (honest, other) = (log(200), log(50));
    assert_eq!(offered(&test, &honest, 60, 0, 10).await, Witnessed::Taken(at(10)));
    // A clock that goes back does not date a later signature earlier.
    assert_eq!(offered(&test, &honest, 70, 60, 5).await, Witnessed::Taken(at(10)));
    let known = Some(Box::new(offer(&honest, 70, 0).1));
    for (log, size, old_size, why) in [
        (&honest, 80, 60, Unwitnessed::OtherSize),
        (&honest, 60, 60, Unwitnessed::WentBack),
        (&other, 70, 70, Unwitnessed::OtherRoot),
        (&other, 90, 70, Unwitnessed::NotContinued),
        (&other, 90, 70, Unwitnessed::NotContinued),
    ] {
        assert_eq!(offered(&test, log, size, old_size, 20).await, Witnessed::Refused(why, known.clone()));
    }
    // It is all there after a restart: the last head, and each contradiction once.
    let test = test.reopen().await;
    assert_eq!(test.store.witness().of(member("DE")).await.unwrap()[0].note, offer(&honest, 70, 0).1);
    assert_eq!(test.store.witness().of(member("CA")).await.unwrap(), vec![]);
    let conflicts = test.store.witness().conflicts(10).await.unwrap();
    let mut found: Vec<_> = conflicts.iter().map(|c| (c.why.as_str(), c.offered.checkpoint.size)).collect();
    found.sort_unstable();
    assert_eq!(found, [("not_continued", 90), ("other_root", 70)]);
    assert!(conflicts.iter().all(|c| c.known == offer(&honest, 70, 0).1));
    assert_eq!(test.store.witness().conflict_count().await.unwrap(), 2);
    assert_eq!(offered(&test, &honest, 80, 70, 30).await, Witnessed::Taken(at(30)));
    assert_eq!(test.store.federation(), FEDERATION);
}

#[tokio::test]
async fn of_many_that_come_at_one_time_one_history_is_taken() {
    let test = TestStore::new().await;
    let logs = std::sync::Arc::new([log(200), log(20)]);
    let mut offers = tokio::task::JoinSet::new();
    for n in 1..=100_u64 {
        let (witness, logs) = (test.store.witness().clone(), std::sync::Arc::clone(&logs));
        offers.spawn(async move {
            let log = &logs[(n % 2) as usize];
            let mut old_size = 0;
            // As a log's node does: it goes on from where it is told that this one is.
            loop {
                let (offered, note) = offer(log, 100 + n, old_size);
                match witness.offer(member("DE"), offered, note.clone(), at(1)).await.unwrap() {
                    Witnessed::Refused(Unwitnessed::OtherSize, Some(known)) => old_size = known.checkpoint.size,
                    Witnessed::Taken(_) => return Some((n % 2, note.checkpoint.size)),
                    Witnessed::Refused(..) => return None,
                }
            }
        });
    }
    let taken: Vec<(u64, u64)> = offers.join_all().await.into_iter().flatten().collect();
    assert!(!taken.is_empty() && taken.iter().all(|(log, _)| *log == taken[0].0), "{taken:?}");
    let longest = taken.iter().map(|(_, size)| *size).max().unwrap();
    assert_eq!(test.store.witness().of(member("DE")).await.unwrap()[0].note.checkpoint.size, longest);
    assert!(test.store.witness().conflict_count().await.unwrap() > 0);
}

use comity_core::testing::Federation;

use super::*;

fn at() -> Timestamp {
    "2026-11-23T09:00:00Z".parse().unwrap()
}

/// Those who decide.
fn voters(federation: &Federation) -> Voters {
    (**ListState::new(Arc::clone(&federation.genesis)).roster().voters()).clone()
}

/// One of them, and how it cosigns.
fn voter(federation: &Federation, n: usize) -> (MemberId, Voter) {
    let member = member(federation, n).member;
    (member, voters(federation)[&member].clone())
}

fn member(federation: &Federation, n: usize) -> RosterMember {
    federation.genesis.voters().nth(n).unwrap().clone()
}

async fn cosigner(folder: &Path, federation: &Federation, n: usize) -> Cosigner {
    let own = member(federation, n);
    let key = federation.keys(own.member).node.clone();
    let voters = Arc::new(voters(federation));
    let cosigner = Cosigner::open(folder, own, key).await.unwrap();
    cosigner.restore(|_| Arc::clone(&voters)).await.unwrap();
    cosigner
}

/// Heads at size 1, with this root.
fn heads(federation: &Federation, root: u8) -> Heads {
    let head = |origin| SignedCheckpoint::unsigned(Checkpoint { origin, size: 1, root: Hex32([root; 32]) });
    Heads {
        commands: head(federation.genesis.command_log_origin()),
        public: head(federation.genesis.public_log_origin()),
    }
}

#[tokio::test]
async fn nobody_signs_two_roots_of_one_size() {
    let (folder, federation) = (tempfile::tempdir().unwrap(), Federation::new(3));
    let first = cosigner(folder.path(), &federation, 0).await;
    first.sign(heads(&federation, 1), at()).await.unwrap();
    first.sign(heads(&federation, 1), at()).await.unwrap();
    assert!(!first.fork_alarm());
    let second = first.sign(heads(&federation, 2), at()).await;
    assert!(matches!(second, Err(CosignError::OwnFork { .. })), "{second:?}");
    assert!(first.fork_alarm());
    // What was signed is remembered over a restart.
    drop(first);
    let again = cosigner(folder.path(), &federation, 0).await;
    assert!(matches!(again.sign(heads(&federation, 2), at()).await, Err(CosignError::OwnFork { .. })));
    again.sign(heads(&federation, 1), at()).await.unwrap();
}

async fn merge(
    ours: &Cosigner,
    heads: &mut Heads,
    theirs: Heads,
    (member, voter): (MemberId, Voter),
) -> Result<(), CosignError> {
    ours.merge(heads, theirs, member, &voter).await
}

#[tokio::test]
async fn another_root_of_a_known_size_raises_the_alarm_and_is_kept() {
    let (ours_at, theirs_at, federation) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Federation::new(3));
    let (ours, theirs) =
        (cosigner(ours_at.path(), &federation, 0).await, cosigner(theirs_at.path(), &federation, 1).await);
    let mut known = ours.sign(heads(&federation, 1), at()).await.unwrap();
    let forked = theirs.sign(heads(&federation, 2), at()).await.unwrap();
    let merged = merge(&ours, &mut known, forked, voter(&federation, 1)).await;
    assert!(matches!(merged, Err(CosignError::Fork { .. })), "{merged:?}");
    assert!(!ours.settle(known, &voters(&federation)).await.unwrap(), "one signature of three agrees on nothing");
    drop(ours);
    assert!(cosigner(ours_at.path(), &federation, 0).await.fork_alarm(), "after a restart, too");
}

#[tokio::test]
async fn a_position_is_agreed_once_enough_members_signed_it() {
    let (ours_at, theirs_at, federation) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), Federation::new(3));
    let (ours, theirs) =
        (cosigner(ours_at.path(), &federation, 0).await, cosigner(theirs_at.path(), &federation, 1).await);
    let mut position = ours.sign(heads(&federation, 1), at()).await.unwrap();
    let other = theirs.sign(heads(&federation, 1), at()).await.unwrap();
    // Under another member's name the same signature counts for nothing.
    let stolen = merge(&ours, &mut position, other.clone(), voter(&federation, 2)).await;
    assert!(matches!(stolen, Err(CosignError::Note { .. })), "{stolen:?}");
    assert!(!ours.settle(position.clone(), &voters(&federation)).await.unwrap());
    merge(&ours, &mut position, other, voter(&federation, 1)).await.unwrap();
    assert!(ours.settle(position, &voters(&federation)).await.unwrap());
    drop(ours);
    let again = cosigner(ours_at.path(), &federation, 0).await;
    assert_eq!(again.agreed().borrow().as_ref().map(|a| a.cosigners.len()), Some(2), "kept over a restart");
}

//! What a node knows of the others: current reads, how old the others are, and commands that the log lacks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use comity_consensus::{ReadError, Tuning};
use comity_core::canonical::Hex32;
use comity_core::list::Choice;
use comity_core::testing::member;
use comity_proto::v1;
use support::fake::{Fake, Speaker, wire};
use support::{World, leader, same_everywhere, start_all, until};
use tonic::Code;

const A_WHILE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_barrier_lets_a_read_see_everything_before_it() {
    let world = World::new(3);
    let mut nodes = start_all(&world).await;
    for serial in 1..=15 {
        let from = serial as usize % 3;
        let (tabling, ballot) = world.federation.table(member("FR"), serial);
        nodes[from].consensus.submit(tabling).await.unwrap();
        let reads = &nodes[(from + 1) % 3].consensus;
        reads.read_barrier(A_WHILE).await.unwrap();
        assert!(reads.read(|list| list.ballot(&ballot).is_some()), "{serial}");
        assert!(reads.age_ms().is_some());
    }
    // Over a change of the leader.
    let leads = leader(&nodes).await;
    nodes.remove(leads).kill();
    let (tabling, ballot) = world.federation.table(member("DE"), 100);
    let ((), submitted) = tokio::join!(
        async { nodes[1].consensus.read_barrier(A_WHILE).await.unwrap() },
        nodes[0].consensus.submit(tabling)
    );
    submitted.unwrap();
    nodes[1].consensus.read_barrier(A_WHILE).await.unwrap();
    assert!(nodes[1].consensus.read(|list| list.ballot(&ballot).is_some()));

    // A minority reads, says how old it is, and knows that it does not know.
    nodes.remove(0).kill();
    until("nothing is heard", || nodes[0].consensus.age_ms().is_some_and(|ago| ago > 300)).await;
    let error = nodes[0].consensus.read_barrier(Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, ReadError::NoQuorum { .. }), "{error}");
    assert!(nodes[0].consensus.read(|list| list.ballot(&ballot).is_some()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_alone_has_heard_of_nobody() {
    let world = World::new(3);
    let node = world.start(member("FR")).await;
    assert_eq!(node.consensus.age_ms(), None);
    let error = node.consensus.read_barrier(Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, ReadError::NoQuorum { waited_ms: 300, .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_is_handed_in_though_nobody_submits_it() {
    let mut world = World::new(3);
    world.tuning = Tuning { resubmit_ms: 200, ..Tuning::default() };
    let nodes = start_all(&world).await;
    let (tabling, ballot) = world.federation.table(member("FR"), 1);
    nodes[0].consensus.submit(tabling.clone()).await.unwrap();
    same_everywhere(&nodes).await;

    // CA tells FR's node of its vote, and gives it to nobody else.
    let mut speaker = Speaker::new(&world, member("CA"), member("FR"));
    let vote = world.federation.vote(member("CA"), ballot, Choice::Yes, 2);
    let commands = vec![wire(&vote), wire(&tabling)];
    let message = v1::AnnounceRequest { sender: speaker.sender(), commands };
    speaker.client.announce(message).await.unwrap();
    until("the vote is decided", || nodes.iter().all(|node| node.consensus.status().commands == 2)).await;
    until("nothing is pending", || nodes[0].consensus.pending_commands().is_empty()).await;

    // What does not hold is not kept.
    let mut altered = world.federation.vote(member("CA"), ballot, Choice::No, 3);
    let at = altered.envelope.len() / 3;
    altered.envelope[at] ^= 1;
    let message = v1::AnnounceRequest { sender: speaker.sender(), commands: vec![wire(&altered)] };
    assert_eq!(speaker.client.announce(message).await.unwrap_err().code(), Code::InvalidArgument);
    assert!(nodes[0].consensus.pending_commands().is_empty());
    // Refused by the state is decided, too.
    let late = world.federation.vote(member("CA"), Hex32([3; 32]), Choice::No, 4);
    let message = v1::AnnounceRequest { sender: speaker.sender(), commands: vec![wire(&late)] };
    speaker.client.announce(message).await.unwrap();
    until("nothing is pending", || nodes[0].consensus.pending_commands().is_empty()).await;
    assert_eq!(nodes[0].consensus.status().commands, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_decided_is_made_known_and_kept() {
    let world = World::new(3);
    let fake = Fake::new(&world.federation);
    let serving = world.serve(member("DE"), fake.clone());
    let node = world.start(member("FR")).await;
    let (tabling, _) = world.federation.table(member("FR"), 1);
    let submit = tokio::spawn({
        let (consensus, tabling) = (node.consensus.clone(), tabling.clone());
        async move { consensus.submit(tabling).await }
    });
    until("it is made known", || !fake.told.lock().unwrap().announced.is_empty()).await;
    assert_eq!(fake.told.lock().unwrap().announced, [wire(&tabling)]);
    let pending = node.consensus.pending_commands();
    assert_eq!(pending.len(), 1);
    assert_eq!(pending[0].submission, tabling);
    assert_eq!(pending[0].checked.command().member(), member("FR"));
    submit.abort();
    // CA's node comes, and it is decided though nobody waits for it any more.
    drop(serving);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let others = [world.start(member("DE")).await, world.start(member("CA")).await];
    until("it is decided", || others.iter().all(|other| other.consensus.status().commands == 1)).await;
    until("nothing is pending", || node.consensus.pending_commands().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_stops_hands_over_to_an_heir() {
    let world = World::new(3);
    let mut nodes = start_all(&world).await;
    for serial in 1..=5 {
        nodes[0].consensus.submit(world.federation.table(member("FR"), serial).0).await.unwrap();
    }
    same_everywhere(&nodes).await;
    for _ in 0..2 {
        let leads = leader(&nodes).await;
        let term = nodes[leads].consensus.status().term;
        let stops = nodes.remove(leads);
        let heir = stops.consensus.shutdown().await.expect("it was taken over");
        // The next term is the heir's: nobody held an election of its own meanwhile.
        until("the others know", || nodes.iter().all(|node| node.consensus.status().leader == Some(heir))).await;
        assert!(nodes.iter().all(|node| node.consensus.status().term == term + 1));
        let who = stops.consensus.member();
        stops.kill();
        nodes.push(world.start(who).await);
        until("it is back", || nodes[2].consensus.status().leader == Some(heir)).await;
    }
    let stops = nodes.remove((leader(&nodes).await + 1) % 3);
    assert_eq!(stops.consensus.shutdown().await, None, "it did not lead");
}

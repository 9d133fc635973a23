//! Members that come, go, lose their machines and come back: whose nodes decide follows the roster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::sync::Arc;

use comity_consensus::{OpenError, SubmitError, Tuning};
use comity_core::MemberId;
use comity_core::list::{Choice, ListState, Motion, Refusal};
use comity_core::roster::node_id;
use comity_core::testing::member;
use comity_proto::v1;
use support::fake::Speaker;
use support::{Node, World, decided_by, deciding, heads, leader, same_everywhere, start_all, until};
use tonic_types::StatusExt as _;

/// What a node would give to somebody who joins.
fn list_of(node: &Node) -> Arc<ListState> {
    Arc::new(node.consensus.read(Clone::clone))
}

fn admit(world: &mut World, code: &str) -> Motion {
    Motion::Admit { member: Box::new(world.invite(code)) }
}

async fn table(node: &Node, world: &World, by: &str, count: u64) {
    for _ in 0..count {
        node.consensus.submit(world.tabling(by)).await.unwrap();
    }
}

/// Takes a member's node out of those that run.
fn take(nodes: &mut Vec<Node>, who: MemberId) -> Node {
    let at = nodes.iter().position(|node| node.consensus.member() == who).unwrap();
    nodes.remove(at)
}

/// Everything that the commands on a node lead to, from the genesis on, by whoever has nothing else.
async fn replayed(node: &Node) -> (u64, comity_core::canonical::Hex32, u64, comity_core::canonical::Hex32, usize) {
    let genesis = Arc::clone(node.consensus.genesis());
    let federation = genesis.federation();
    let mut list = ListState::new(genesis);
    let all = node.consensus.status().commands;
    while list.commands().size() < all {
        for envelope in node.consensus.envelopes(list.commands().size(), 100).await.unwrap() {
            let checked = comity_core::list::check_accepted(federation, &envelope).unwrap();
            assert!(!list.apply_checked(&checked).unwrap().repeated);
        }
    }
    heads(&list)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_member_joins_and_decides() {
    let mut world = World::new(3);
    let mut nodes = start_all(&world).await;
    table(&nodes[0], &world, "FR", 5).await;
    // Its list is from before the ballot: whom it hears it knows from there, what was decided since it is sent.
    let before = list_of(&nodes[0]);
    let motion = admit(&mut world, "JP");
    world.decide(&nodes[0], motion, "FR", &["FR", "DE"]).await;
    table(&nodes[0], &world, "FR", 5).await;
    until("it is waited for", || nodes[0].consensus.status().awaited.contains(&member("JP"))).await;
    nodes.push(world.join(member("JP"), 1, before).await);
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["CA", "DE", "FR", "JP"]).await;
    same_everywhere(&nodes).await;
    assert!(nodes[3].consensus.status().awaited.is_empty());

    // It counts: of four nodes three are needed.
    let (tabling, ballot) = world.federation.table(member("JP"), world.serial());
    nodes[3].consensus.submit(tabling).await.unwrap();
    take(&mut nodes, member("CA")).kill();
    for code in ["JP", "DE", "FR"] {
        let vote = world.federation.vote(member(code), ballot, Choice::Yes, world.serial());
        nodes[2].consensus.submit(vote).await.unwrap();
    }
    assert_eq!(nodes[2].consensus.read(ListState::entry_count), 1);
    // It comes back by itself.
    take(&mut nodes, member("JP")).kill();
    nodes.push(world.start(member("JP")).await);
    table(&nodes[2], &world, "JP", 1).await;
    same_everywhere(&nodes).await;
    assert_eq!(replayed(&nodes[2]).await, nodes[0].consensus.read(heads));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_pulls_what_is_purged() {
    let mut world = World::new(3);
    world.tuning = Tuning { snapshot_every_entries: 20, keep_entries: 2, ..Tuning::default() };
    let mut nodes = start_all(&world).await;
    let motion = admit(&mut world, "JP");
    world.decide(&nodes[0], motion, "FR", &["FR", "DE"]).await;
    let list = list_of(&nodes[0]);
    table(&nodes[0], &world, "FR", 60).await;
    until("the log is purged", || nodes.iter().all(|node| node.consensus.status().purged_entries > 30)).await;
    nodes.push(world.join(member("JP"), 1, list).await);
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["CA", "DE", "FR", "JP"]).await;
    same_everywhere(&nodes).await;
    assert!(nodes[3].consensus.status().purged_entries > 0, "it has not got what is purged elsewhere as entries");
    assert_eq!(replayed(&nodes[3]).await, nodes[0].consensus.read(heads));
    table(&nodes[3], &world, "JP", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_newcomer_who_does_not_come() {
    let mut world = World::new(3);
    let mut nodes = start_all(&world).await;
    let motion = admit(&mut world, "JP");
    world.decide(&nodes[0], motion, "FR", &["FR", "DE"]).await;
    // KR, which is admitted later, comes first.
    let motion = admit(&mut world, "KR");
    world.decide(&nodes[0], motion, "FR", &["FR", "DE", "CA"]).await;
    nodes.push(world.join(member("KR"), 1, list_of(&nodes[0])).await);
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["CA", "DE", "FR", "KR"]).await;
    // A member that leaves meanwhile leaves.
    world.decide(&nodes[0], Motion::Expel { target: member("CA") }, "FR", &["FR", "DE", "KR"]).await;
    take(&mut nodes, member("CA")).kill();
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["DE", "FR", "KR"]).await;
    let awaited = nodes.iter().all(|node| node.consensus.status().awaited.contains(&member("JP")));
    assert!(awaited);
    world.decide(&nodes[0], Motion::Expel { target: member("JP") }, "FR", &["FR", "DE"]).await;
    until("it is forgotten", || nodes.iter().all(|node| node.consensus.status().awaited.is_empty())).await;
    let entries = nodes[0].consensus.status().log_entries;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(nodes[0].consensus.status().log_entries, entries, "no step is taken for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_member_is_expelled_and_its_votes_still_verify() {
    let world = World::new(4);
    let mut nodes = start_all(&world).await;
    let (tabling, ballot) = world.federation.table(member("FR"), 1);
    nodes[3].consensus.submit(tabling).await.unwrap();
    let vote = |code, serial| world.federation.vote(member(code), ballot, Choice::Yes, serial);
    nodes[3].consensus.submit(vote("AU", 2)).await.unwrap();
    nodes[3].consensus.submit(vote("DE", 3)).await.unwrap();
    same_everywhere(&nodes).await;
    take(&mut nodes, member("AU")).kill();
    world.decide(&nodes[0], Motion::Expel { target: member("AU") }, "FR", &["FR", "DE"]).await;
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["CA", "DE", "FR"]).await;

    // Its vote counted when the entry was to be decided, and does not any more; it verifies for ever.
    let late = world.federation.vote(member("AU"), ballot, Choice::No, 4);
    let error = nodes[0].consensus.submit(late.clone()).await.unwrap_err();
    assert!(matches!(error, SubmitError::Refused(Refusal::Expelled(_))), "{error}");
    nodes[0].consensus.submit(vote("FR", 5)).await.unwrap();
    assert_eq!(nodes[0].consensus.read(ListState::entry_count), 1);
    same_everywhere(&nodes).await;
    assert_eq!(replayed(&nodes[1]).await, nodes[0].consensus.read(heads));

    // Two of three are enough now, with AU's node back and not listened to.
    let back = world.start(member("AU")).await;
    let term = nodes[0].consensus.status().term;
    take(&mut nodes, member("CA")).kill();
    table(&nodes[0], &world, "FR", 3).await;
    same_everywhere(&nodes).await;
    let refused = tokio::time::timeout(std::time::Duration::from_secs(2), back.consensus.submit(late)).await;
    assert!(!matches!(refused, Ok(Ok(_))));
    let mut speaker = Speaker::new(&world, member("AU"), member("FR"));
    let message = v1::ReadIndexRequest { sender: speaker.sender() };
    let status = speaker.client.read_index(message).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "NOT_A_VOTER");
    assert!(nodes[0].consensus.status().term <= term + 2, "it keeps nobody from deciding");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_member_decides_nothing_until_it_is_readmitted() {
    let world = World::new(4);
    let mut nodes = start_all(&world).await;
    let (tabling, ballot) = world.federation.table(member("FR"), 1);
    nodes[0].consensus.submit(tabling).await.unwrap();
    world.decide(&nodes[0], Motion::Suspend { target: member("CA") }, "FR", &["FR", "DE"]).await;
    let ca = take(&mut nodes, member("CA"));
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["AU", "DE", "FR"]).await;
    // Neither through its own node nor through another's.
    let vote = world.federation.vote(member("CA"), ballot, Choice::Yes, 2);
    for node in &nodes {
        let error = node.consensus.submit(vote.clone()).await.unwrap_err();
        assert!(matches!(error, SubmitError::Refused(Refusal::Suspended(_))), "{error}");
    }
    let mut speaker = Speaker::new(&world, member("CA"), member("FR"));
    let message = v1::SubmitRequest { sender: speaker.sender(), command: Some(support::fake::wire(&vote)) };
    let status = speaker.client.submit(message).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "NOT_A_VOTER");
    let commands = nodes[0].consensus.status().commands;
    assert!(ca.consensus.status().commands <= commands);
    table(&nodes[0], &world, "FR", 2).await;
    assert!(ca.consensus.status().commands <= commands, "it is told nothing more");

    world.decide(&nodes[0], Motion::Readmit { target: member("CA") }, "FR", &["FR", "DE"]).await;
    nodes.push(ca);
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["AU", "CA", "DE", "FR"]).await;
    // Ballots that were open when it was suspended go on without it.
    let vote = world.federation.vote(member("CA"), ballot, Choice::Yes, 3);
    let error = nodes[3].consensus.submit(vote).await.unwrap_err();
    assert!(matches!(error, SubmitError::Refused(Refusal::NotInElectorate(_))), "{error}");
    table(&nodes[3], &world, "CA", 1).await;
    same_everywhere(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_member_that_leads_is_expelled_and_another_leads() {
    let world = World::new(4);
    let mut nodes = start_all(&world).await;
    table(&nodes[0], &world, "FR", 2).await;
    let leads = leader(&nodes).await;
    let led = nodes[leads].consensus.member();
    let others: Vec<String> =
        world.federation.voters().iter().filter(|member| **member != led).map(ToString::to_string).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let via = (leads + 1) % 4;
    world.decide(&nodes[via], Motion::Expel { target: led }, others[0], &others[..2]).await;
    let out = take(&mut nodes, led);
    decided_by(&nodes.iter().collect::<Vec<_>>(), &others).await;
    table(&nodes[0], &world, others[0], 2).await;
    same_everywhere(&nodes).await;
    assert_ne!(nodes[leader(&nodes).await].consensus.member(), led);
    assert_eq!(out.consensus.status().stopped, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_machine_comes_back_as_another_node() {
    let mut world = World::new(3);
    let mut nodes = start_all(&world).await;
    table(&nodes[0], &world, "CA", 3).await;
    same_everywhere(&nodes).await;
    let lost = take(&mut nodes, member("CA"));
    let stolen = world.federation.clone();
    lost.kill();
    let old_folder = world.folder(member("CA"));
    let kept = world.folder(member("CA")).with_extension("old");
    std::fs::rename(&old_folder, &kept).unwrap();
    let keys = Box::new(world.replace_keys(member("CA"), 2));
    world.decide(&nodes[0], Motion::ReplaceKeys { target: member("CA"), keys }, "FR", &["FR", "DE"]).await;
    let list = list_of(&nodes[0]);
    nodes.push(world.join(member("CA"), 2, Arc::clone(&list)).await);
    let wanted = [("CA".to_owned(), 2), ("DE".to_owned(), 1), ("FR".to_owned(), 1)].into();
    until("the new node decides", || nodes.iter().all(|node| deciding(node) == wanted)).await;
    table(&nodes[2], &world, "CA", 1).await;
    same_everywhere(&nodes).await;

    // Its old keys sign nothing, and its old node is none.
    let error = nodes[0].consensus.submit(stolen.table(member("CA"), 900).0).await.unwrap_err();
    assert!(matches!(error, SubmitError::Refused(_)), "{error}");
    let mut speaker = Speaker::new(&world, member("CA"), member("FR"));
    let mut message = v1::VoteRequest {
        sender: speaker.sender(),
        vote: Some(v1::RaftVote { term: 50, node_id: node_id(member("CA"), 1), committed: false }),
        ..v1::VoteRequest::default()
    };
    let status = speaker.client.vote(message.clone()).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "OTHER_SENDER");
    message.sender.as_mut().unwrap().node_id = node_id(member("CA"), 2);
    let status = speaker.client.vote(message).await.unwrap_err();
    assert_eq!(status.get_details_error_info().unwrap().reason, "OTHERS_VOTE");
    // It does not start where it is known what took its place.
    let genesis = Arc::clone(&world.federation.genesis);
    let old = comity_consensus::ConsensusConfig {
        folder: kept,
        bootstrap: Some(list),
        ..world.config(member("CA"), genesis)
    };
    let error = comity_consensus::Consensus::open(old).await.unwrap_err();
    assert!(matches!(error, OpenError::Retired { incarnation: 1, now: 2, .. }), "{error}");
    // Two of three decide, the new one among them.
    take(&mut nodes, member("DE")).kill();
    table(&nodes[1], &world, "CA", 2).await;
    same_everywhere(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_becomes_two_and_three_and_one_again() {
    let mut world = World::new(1);
    let mut nodes = vec![world.start(member("FR")).await];
    table(&nodes[0], &world, "FR", 3).await;
    let motion = admit(&mut world, "JP");
    world.decide(&nodes[0], motion, "FR", &["FR"]).await;
    // Alone it goes on deciding until the other has come.
    table(&nodes[0], &world, "FR", 3).await;
    nodes.push(world.join(member("JP"), 1, list_of(&nodes[0])).await);
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["FR", "JP"]).await;
    let motion = admit(&mut world, "KR");
    world.decide(&nodes[1], motion, "JP", &["JP", "FR"]).await;
    nodes.push(world.join(member("KR"), 1, list_of(&nodes[1])).await);
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["FR", "JP", "KR"]).await;
    table(&nodes[2], &world, "KR", 2).await;
    same_everywhere(&nodes).await;
    assert_eq!(replayed(&nodes[2]).await, nodes[0].consensus.read(heads));

    // And back: where half of them leave, who leaves must still answer once.
    world.decide(&nodes[0], Motion::Suspend { target: member("KR") }, "FR", &["FR", "JP"]).await;
    decided_by(&[&nodes[0], &nodes[1]], &["FR", "JP"]).await;
    world.decide(&nodes[0], Motion::Suspend { target: member("JP") }, "FR", &["FR"]).await;
    decided_by(&[&nodes[0]], &["FR"]).await;
    table(&nodes[0], &world, "FR", 2).await;
    let told = nodes[1].consensus.status().commands;
    table(&nodes[0], &world, "FR", 2).await;
    assert_eq!(nodes[1].consensus.status().commands, told, "it is told nothing more");
    // Nobody needs to be asked to have it back.
    world.decide(&nodes[0], Motion::Readmit { target: member("JP") }, "FR", &["FR"]).await;
    decided_by(&[&nodes[0], &nodes[1]], &["FR", "JP"]).await;
    table(&nodes[1], &world, "JP", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_become_three() {
    let mut world = World::new(2);
    let mut nodes = start_all(&world).await;
    let motion = admit(&mut world, "JP");
    world.decide(&nodes[0], motion, "FR", &["FR", "DE"]).await;
    nodes.push(world.join(member("JP"), 1, list_of(&nodes[0])).await);
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["DE", "FR", "JP"]).await;
    // From now on any one of them can be away.
    for code in ["FR", "DE", "JP"] {
        let away = member(code);
        take(&mut nodes, away).kill();
        let by = nodes[0].consensus.member().to_string();
        table(&nodes[0], &world, &by, 1).await;
        nodes.push(world.start(away).await);
        same_everywhere(&nodes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_while_others_came_hears_them_though_they_lead() {
    let mut world = World::new(4);
    let mut nodes = start_all(&world).await;
    table(&nodes[0], &world, "FR", 2).await;
    same_everywhere(&nodes).await;
    take(&mut nodes, member("AU")).kill();
    let motion = admit(&mut world, "JP");
    world.decide(&nodes[0], motion, "FR", &["FR", "DE", "CA"]).await;
    nodes.push(world.join(member("JP"), 1, list_of(&nodes[0])).await);
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["AU", "CA", "DE", "FR", "JP"]).await;
    // Leadership goes round until JP has it.
    loop {
        let leads = nodes.remove(leader(&nodes).await);
        let who = leads.consensus.member();
        if who == member("JP") {
            nodes.push(leads);
            break;
        }
        leads.consensus.shutdown().await;
        leads.kill();
        nodes.push(world.start(who).await);
        same_everywhere(&nodes).await;
    }
    // To AU's node JP is nobody.
    let away = world.start(member("AU")).await;
    let leads = nodes[leader(&nodes).await].consensus.member();
    assert_eq!(leads, member("JP"));
    nodes.push(away);
    table(&nodes[3], &world, "JP", 1).await;
    same_everywhere(&nodes).await;
    assert_eq!(nodes[4].consensus.status().leader, Some(member("JP")));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_expelled_comes_back_as_another_node() {
    let mut world = World::new(3);
    let mut nodes = start_all(&world).await;
    table(&nodes[0], &world, "CA", 2).await;
    world.decide(&nodes[0], Motion::Expel { target: member("CA") }, "FR", &["FR", "DE"]).await;
    take(&mut nodes, member("CA")).kill();
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["DE", "FR"]).await;
    std::fs::rename(world.folder(member("CA")), world.folder(member("CA")).with_extension("old")).unwrap();
    let motion = admit(&mut world, "CA");
    world.decide(&nodes[0], motion, "FR", &["FR", "DE"]).await;
    nodes.push(world.join(member("CA"), 2, list_of(&nodes[0])).await);
    let wanted = [("CA".to_owned(), 2), ("DE".to_owned(), 1), ("FR".to_owned(), 1)].into();
    until("it decides", || nodes.iter().all(|node| deciding(node) == wanted)).await;
    table(&nodes[2], &world, "CA", 2).await;
    same_everywhere(&nodes).await;
    assert_eq!(replayed(&nodes[2]).await, nodes[0].consensus.read(heads));
}

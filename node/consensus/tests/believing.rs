//! What a node believes of who decides: nothing that does not follow from signed commands.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use comity_consensus::SubmitError;
use comity_core::MemberId;
use comity_core::list::{Choice, Motion, Submission};
use comity_core::roster::node_id;
use comity_core::testing::{History, member};
use comity_proto::v1;
use support::fake::{Fake, Speaker};
use support::{World, decided_by, leader, same_everywhere, start_all, until};
use tonic_types::StatusExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_leader_changes_no_membership() {
    let mut world = World::new(3);
    let nodes = start_all(&world).await;
    let jp = world.invite("JP");
    for _ in 0..2 {
        nodes[0].consensus.submit(world.tabling("FR")).await.unwrap();
    }
    same_everywhere(&nodes).await;
    let leads = leader(&nodes).await;
    let liar = (leads + 1) % 3;
    let target = (leads + 2) % 3;
    let [liar, target, led] = [liar, target, leads].map(|n| nodes[n].consensus.member());
    let status = nodes[leads].consensus.status();
    let own = |member: MemberId| node_id(member, 1);
    let named = |members: &[MemberId]| -> Vec<v1::RaftNode> {
        members.iter().map(|member| v1::RaftNode { node_id: own(*member), member: member.to_string() }).collect()
    };
    let voters =
        |members: &[MemberId]| v1::RaftVoters { node_ids: members.iter().map(|member| own(*member)).collect() };
    let (all, alone, pair) = (vec![liar, target, led], vec![liar], vec![liar, target]);
    let more = vec![liar, target, led, jp.member];
    let mut speaker = Speaker::new(&world, liar, target);
    for (configs, nodes) in [
        // Itself alone, at once and by way of a joint one; another one left out; a state that nobody admitted.
        (vec![voters(&alone)], named(&all)),
        (vec![voters(&all), voters(&alone)], named(&all)),
        (vec![voters(&all), voters(&pair)], named(&all)),
        (vec![voters(&all)], named(&more)),
        (vec![voters(&all), voters(&more)], named(&more)),
    ] {
        let before = v1::RaftLogId { term: status.term, node_id: own(led), index: status.log_entries - 1 };
        let term = status.term + 1;
        let entry = v1::RaftEntry {
            log_id: Some(v1::RaftLogId { term, node_id: own(liar), index: before.index + 1 }),
            payload: Some(v1::raft_entry::Payload::Membership(v1::RaftMembership { configs, nodes })),
        };
        let message = v1::AppendEntriesRequest {
            sender: speaker.sender(),
            vote: Some(v1::RaftVote { term, node_id: own(liar), committed: true }),
            prev_log_id: Some(before),
            entries: vec![entry],
            leader_commit: None,
            quorum_age_ms: None,
        };
        let refused = speaker.client.append_entries(message).await.unwrap_err();
        assert_eq!(refused.get_details_error_info().unwrap().reason, "OTHER_MEMBERSHIP", "{refused}");
    }
    // Nothing of it stands, and the federation goes on.
    for _ in 0..2 {
        nodes[0].consensus.submit(world.tabling("FR")).await.unwrap();
    }
    decided_by(&nodes.iter().collect::<Vec<_>>(), &["CA", "DE", "FR"]).await;
    same_everywhere(&nodes).await;
}

/// Entries of a leader that knows of nothing committed, as after a crash of everybody, on the beginning of a founder's log.
fn uncommitted(
    speaker: &Speaker,
    leader: MemberId,
    to: MemberId,
    payloads: Vec<v1::raft_entry::Payload>,
) -> v1::AppendEntriesRequest {
    let (term, node_id) = (9, node_id(leader, 1));
    let entry = |(index, payload)| v1::RaftEntry {
        log_id: Some(v1::RaftLogId { term, node_id, index }),
        payload: Some(payload),
    };
    v1::AppendEntriesRequest {
        sender: speaker.sender(),
        vote: Some(v1::RaftVote { term, node_id, committed: true }),
        prev_log_id: Some(v1::RaftLogId { term: 0, node_id: comity_core::roster::node_id(to, 1), index: 0 }),
        entries: (1..).zip(payloads).map(entry).collect(),
        leader_commit: None,
        quorum_age_ms: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_may_follow_from_what_nobody_knows_to_be_committed() {
    use v1::raft_entry::Payload;
    let mut world = World::new(3);
    let node = world.start(member("FR")).await;
    let jp = world.invite("JP");
    let named = |code: &str| v1::RaftNode { node_id: node_id(member(code), 1), member: code.to_owned() };
    let step = Payload::Membership(v1::RaftMembership {
        configs: vec![v1::RaftVoters { node_ids: ["CA", "DE", "FR"].map(|code| node_id(member(code), 1)).into() }],
        nodes: ["CA", "DE", "FR", "JP"].map(named).into(),
    });
    let (tabling, ballot) = world.federation.motion(member("DE"), Motion::Admit { member: Box::new(jp) }, 1);
    let vote = |code, serial| world.federation.vote(member(code), ballot, Choice::Yes, serial);
    let command = |submission: &Submission| Payload::Command(support::fake::wire(submission));
    let first = [command(&tabling), command(&vote("DE", 2))];
    let mut speaker = Speaker::new(&world, member("DE"), member("FR"));
    // One vote is not enough for it.
    let message =
        uncommitted(&speaker, member("DE"), member("FR"), first.iter().cloned().chain([step.clone()]).collect());
    let refused = speaker.client.append_entries(message).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "OTHER_MEMBERSHIP", "{refused}");
    let all = first.into_iter().chain([command(&vote("CA", 3)), step]);
    let message = uncommitted(&speaker, member("DE"), member("FR"), all.collect());
    let taken = speaker.client.append_entries(message).await.unwrap().into_inner().result;
    assert!(matches!(taken, Some(v1::append_entries_response::Result::Success(_))), "{taken:?}");
    assert_eq!(node.consensus.status().log_entries, 5);
    assert_eq!(node.consensus.status().commands, 0, "nothing of it is committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_believed_only_where_it_was_signed() {
    let mut world = World::new(3);
    let fake = Fake::new(&world.federation);
    let _serving = world.serve(member("DE"), fake.clone());
    let jp = world.invite("JP");
    let mut history = History::new(world.federation.clone());
    let ballot = history.motion(member("DE"), Motion::Admit { member: Box::new(jp) });
    history.say_yes(ballot);
    // The last vote is DE's word alone.
    let mut forged = history.accepted.clone();
    let vote = world.federation.vote_command(member("CA"), ballot, Choice::Yes, None, 77);
    forged.truncate(2);
    forged.push(Submission {
        envelope: vote.sign(&world.federation.keys(member("DE")).decision).to_bytes(),
        public_text: None,
    });
    fake.tell(|told| told.leaves = forged);
    let node = world.start(member("FR")).await;
    let knows = || node.consensus.roster(|roster| roster.get(member("JP")).is_some());
    until("it asks twice", || fake.told.lock().unwrap().asked.len() >= 2).await;
    assert!(!knows());
    fake.tell(|told| told.leaves = history.accepted.clone());
    until("it knows who was admitted", knows).await;
    assert_eq!(node.consensus.status().commands, 0, "the list itself comes from the log alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_learns_that_another_took_its_place_stops() {
    let mut world = World::new(3);
    let fake = Fake::new(&world.federation);
    let _serving = world.serve(member("DE"), fake.clone());
    let node = world.start(member("FR")).await;
    let mut history = History::new(world.federation.clone());
    let keys = Box::new(world.replace_keys(member("FR"), 2));
    let ballot = history.motion(member("DE"), Motion::ReplaceKeys { target: member("FR"), keys });
    history.say_yes(ballot);
    assert_eq!(node.consensus.status().stopped, None);
    fake.tell(|told| told.leaves = history.accepted.clone());
    until("it stops", || node.consensus.status().stopped.is_some()).await;
    let error = node.consensus.submit(world.tabling("CA")).await.unwrap_err();
    assert!(matches!(error, SubmitError::Stopped(_)), "{error}");
}

//! Nodes that decide together: over real sockets, real TLS and real files, in one process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use comity_consensus::{Consensus, ConsensusConfig, OpenError, OpenLogError, ReadError, SubmitError};
use comity_core::Role;
use comity_core::canonical::Hex32;
use comity_core::dsse::Envelope;
use comity_core::list::{Choice, ListState, PublicText, Refusal, Submission};
use comity_core::proposal::PublicPart;
use comity_core::roster::node_id;
use comity_core::testing::{Federation, member, members, proposal_id, public_text};
use comity_proto::v1;
use comity_proto::v1::consensus_service_client::ConsensusServiceClient;
use support::{Node, World, heads, leader, same_everywhere, start_all, until};
use tonic::Code;
use tonic_types::StatusExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_decide_from_any_of_them() {
    let world = World::new(3);
    let nodes = start_all(&world).await;
    let [fr, de, ca] = [0, 1, 2].map(|n| &nodes[n].consensus);

    let (tabling, ballot) = world.federation.table(member("FR"), 1);
    let accepted = fr.submit(tabling.clone()).await.unwrap();
    assert_eq!((accepted.leaf, accepted.repeated), (0, false));
    // The effect can be read at once where the command was handed in.
    assert!(fr.read(|list| list.ballot(&ballot).is_some()));
    let text = tabling.public_text.clone().unwrap();
    assert_eq!(fr.public_text(text.digest()).await.unwrap(), Some(text.clone()));

    de.submit(world.federation.vote(member("DE"), ballot, Choice::Yes, 2)).await.unwrap();
    let vote = world.federation.vote(member("CA"), ballot, Choice::Yes, 3);
    let listed = ca.submit(vote.clone()).await.unwrap();
    assert_eq!(ca.read(ListState::entry_count), 1);
    same_everywhere(&nodes).await;
    for node in [fr, de, ca] {
        assert_eq!(node.public_text(text.digest()).await.unwrap(), Some(text.clone()));
        assert_eq!(node.envelope(listed.leaf).await.unwrap(), Some(vote.envelope.clone()));
        assert_eq!(node.envelopes(0, 10).await.unwrap().len(), 3);
        assert_eq!(node.envelopes(3, 10).await.unwrap().len(), 0);
        assert_eq!(node.public_text(Hex32([7; 32])).await.unwrap(), None);
    }

    // Handing in again answers where it stands; it adds no entry to the log.
    let before = ca.status().log_entries;
    let again = ca.submit(vote.clone()).await.unwrap();
    assert!(again.repeated && again.leaf == listed.leaf);
    assert_eq!(ca.status().log_entries, before);

    // A refusal is the same one on every node, and leaves no leaf.
    let late = world.federation.vote(member("FR"), ballot, Choice::No, 4);
    for node in [fr, de, ca] {
        let error = node.submit(late.clone()).await.unwrap_err();
        assert!(matches!(error, SubmitError::Refused(Refusal::BallotClosed { .. })), "{error}");
    }
    assert_eq!(fr.status().commands, 3);
    // Many at once, from everywhere.
    let mut tasks = Vec::new();
    for serial in 100..160 {
        let consensus = nodes[serial as usize % 3].consensus.clone();
        let (tabling, _) = world.federation.table(member("DE"), serial);
        tasks.push(tokio::spawn(async move { consensus.submit(tabling).await }));
    }
    let mut leaves = std::collections::BTreeSet::new();
    for task in tasks {
        leaves.insert(task.await.unwrap().unwrap().leaf);
    }
    assert_eq!(leaves.into_iter().collect::<Vec<_>>(), (3..63).collect::<Vec<_>>());
    same_everywhere(&nodes).await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_loses_nothing_that_was_acknowledged() {
    let world = World::new(3);
    let mut nodes = start_all(&world).await;
    let mut ballots = Vec::new();
    for serial in 1..=20 {
        let (tabling, ballot) = world.federation.table(member("FR"), serial);
        nodes[0].consensus.submit(tabling).await.unwrap();
        ballots.push(ballot);
    }
    let dead = leader(&nodes).await;
    nodes.remove(dead).kill();
    let dead = world.federation.voters()[dead];

    // The others go on.
    let (tabling, ballot) = world.federation.table(member("DE"), 100);
    nodes[0].consensus.submit(tabling).await.unwrap();
    ballots.push(ballot);
    let leads = leader(&nodes).await;
    until("the killed node is named", || nodes[leads].consensus.status().unreachable.contains_key(&dead)).await;

    // Alone, a node decides nothing, not even where it leads, and says so. What it has can be read.
    let other = nodes.remove(1 - leads);
    let who = other.consensus.member();
    other.kill();
    let alone = &nodes[0].consensus;
    let (tabling, lost) = world.federation.table(member("CA"), 101);
    let (decided, current) = tokio::join!(alone.submit(tabling), alone.read_barrier(Duration::from_secs(2)));
    let (error, unread) = (decided.unwrap_err(), current.unwrap_err());
    assert!(matches!(error, SubmitError::NoQuorum { .. }), "{error}");
    assert!(matches!(unread, ReadError::NoQuorum { waited_ms: 2_000, .. }), "{unread}");
    assert!(error.to_string().contains(&who.to_string()) && error.to_string().contains(&dead.to_string()), "{error}");
    assert!(alone.read(|list| list.ballot(&lost).is_none()));
    assert!(ballots.iter().all(|ballot| alone.read(|list| list.ballot(ballot).is_some())));
    assert!(alone.age_ms().is_some_and(|ago| ago > 2_000));

    // Everybody crashes, and comes back with everything.
    nodes.remove(0).kill();
    let nodes = start_all(&world).await;
    let (tabling, ballot) = world.federation.table(member("DE"), 102);
    nodes[1].consensus.submit(tabling).await.unwrap();
    ballots.push(ballot);
    same_everywhere(&nodes).await;
    for node in &nodes {
        for ballot in &ballots {
            assert!(node.consensus.read(|list| list.ballot(ballot).is_some()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federation_of_one_decides_alone_and_remembers() {
    let world = World::new(1);
    let fr = member("FR");
    let node = world.start(fr).await;
    let (tabling, ballot) = world.federation.table(fr, 1);
    node.consensus.submit(tabling).await.unwrap();
    node.consensus.submit(world.federation.vote(fr, ballot, Choice::Yes, 2)).await.unwrap();
    let before = node.consensus.read(heads);
    assert_eq!(before.4, 1);
    node.stop().await;
    let node = world.start(fr).await;
    until("the list is back", || node.consensus.read(heads) == before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_belongs_to_one_member_of_one_federation_and_one_process() {
    let world = World::new(3);
    let fr = member("FR");
    let node = world.start(fr).await;
    let same_folder = |member, genesis| ConsensusConfig { member, ..world.config(fr, genesis) };
    let genesis = Arc::clone(&world.federation.genesis);
    let open = async |config| Consensus::open(config).await.unwrap_err();
    let error = open(same_folder(fr, Arc::clone(&genesis))).await;
    assert!(matches!(error, OpenError::Log(OpenLogError::InUse { .. })), "{error}");
    node.stop().await;

    let error = open(same_folder(member("DE"), Arc::clone(&genesis))).await;
    assert!(matches!(error, OpenError::Log(OpenLogError::OtherMember { .. })), "{error}");
    let other = Federation::new(3).genesis;
    let error = open(same_folder(fr, other)).await;
    assert!(matches!(error, OpenError::Log(OpenLogError::OtherFederation { .. })), "{error}");
    let stranger = ConsensusConfig { folder: world.folder(member("AU")), ..same_folder(member("AU"), genesis) };
    let error = open(stranger).await;
    assert!(matches!(error, OpenError::NotAVoter(_)), "{error}");
}

/// A recipient's node stands beside: no log, no say, and nothing of what the members order; but it and they find one another.
#[tokio::test(flavor = "multi_thread")]
async fn a_recipients_node_observes() {
    let ca = member("CA");
    let world = World::edited(3, |document| {
        document.members.iter_mut().find(|row| row.member == member("CA")).unwrap().voting = false;
    });
    let mut nodes = vec![world.start(member("FR")).await, world.start(member("DE")).await];
    let genesis = Arc::clone(&world.federation.genesis);
    let config = || ConsensusConfig { observes: true, ..world.config(ca, Arc::clone(&genesis)) };
    let observer = Consensus::open(config()).await.unwrap();
    observer.start().await.unwrap();
    nodes[0].consensus.submit(world.tabling("FR")).await.unwrap();

    assert!(observer.observes() && observer.service().is_none() && !nodes[0].consensus.observes());
    let error = observer.submit(world.tabling("FR")).await.unwrap_err();
    assert!(matches!(error, SubmitError::Observes(_)), "{error}");
    let error = observer.read_barrier(Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, ReadError::Observes(_)), "{error}");
    assert_eq!((observer.age_ms(), observer.status().commands), (None, 0));
    assert!(!world.folder(ca).exists(), "it holds no log");
    for node in &nodes {
        assert!(node.consensus.channel(ca).is_some() && observer.channel(node.consensus.member()).is_some());
        let status = node.consensus.status();
        assert!(status.awaited.is_empty() && !status.deciding.contains_key(&ca), "{status:?}");
    }
    // Whoever does not say that it observes does not come in by that.
    let error = Consensus::open(ConsensusConfig { observes: false, ..config() }).await.unwrap_err();
    assert!(matches!(error, OpenError::NotAVoter(_)), "{error}");

    // What cannot be decided is made known to every node that decides. Nothing listens where the recipient's would: whoever spoke to
    // it would miss it.
    nodes.pop().unwrap().kill();
    let _ = tokio::time::timeout(Duration::from_secs(3), nodes[0].consensus.submit(world.tabling("FR"))).await;
    let missed: Vec<_> = nodes[0].consensus.status().unreachable.into_keys().collect();
    assert_eq!(missed, [member("DE")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_genesis_is_told_so() {
    let world = World::new(3);
    // The same members and keys, another name: another federation.
    let (fr, de) = (world.start(member("FR")).await, world.start(member("DE")).await);
    let other = {
        let mut document = world.federation.genesis.document().clone();
        document.name = "Another coalition".into();
        let bytes = comity_core::canonical::to_vec(&document);
        Arc::new(comity_core::genesis::Genesis::from_bytes(&bytes).unwrap())
    };
    let stranger = world.start_with(member("CA"), other).await.unwrap();
    until("both sides say so", || {
        let told = |node: &Node, by: &str| {
            let problem = node.consensus.status().unreachable.remove(&member(by));
            problem.is_some_and(|problem| problem.contains("runs genesis"))
        };
        told(&stranger, "FR") && told(&stranger, "DE")
    })
    .await;
    // The two others decide without it, and it holds nothing of theirs.
    let (tabling, _) = world.federation.table(member("FR"), 1);
    fr.consensus.submit(tabling.clone()).await.unwrap();
    until("DE has it", || de.consensus.status().commands == 1).await;
    assert_eq!(stranger.consensus.status().commands, 0);
    let error = stranger.consensus.submit(tabling).await.unwrap_err();
    assert!(matches!(error, SubmitError::Refused(Refusal::OtherFederation { .. })), "{error}");
}

/// A message as a lying node of `from` would send it.
struct Liar<'a> {
    world: &'a World,
    client: ConsensusServiceClient<tonic::transport::Channel>,
}

impl<'a> Liar<'a> {
    fn new(world: &'a World, from: &str, role: Role, to: &str) -> Self {
        let channel = world.channel(world.credentials(member(from), role), member(to));
        Self { world, client: ConsensusServiceClient::new(channel) }
    }

    fn sender(&self, node_id: u64) -> Option<v1::ConsensusSender> {
        Some(v1::ConsensusSender { federation: self.world.federation.genesis.federation().0.to_vec(), node_id })
    }

    /// The reason with which entries under a vote are turned away.
    async fn append(&mut self, message: v1::AppendEntriesRequest) -> (Code, String) {
        let status = self.client.append_entries(message).await.unwrap_err();
        (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
    }

    fn entries(
        &self,
        node_id: u64,
        term: u64,
        prev: Option<u64>,
        commands: Vec<Submission>,
    ) -> v1::AppendEntriesRequest {
        let first = prev.map_or(0, |prev| prev + 1);
        let command = |(n, submission): (usize, Submission)| v1::RaftEntry {
            log_id: Some(v1::RaftLogId { term, node_id, index: first + n as u64 }),
            payload: Some(v1::raft_entry::Payload::Command(v1::RaftCommand {
                envelope: submission.envelope,
                public_text: submission
                    .public_text
                    .map(|text| v1::PublicText { salt: text.salt.0.to_vec(), text: text.bytes }),
            })),
        };
        v1::AppendEntriesRequest {
            sender: self.sender(node_id),
            vote: Some(v1::RaftVote { term, node_id, committed: true }),
            prev_log_id: prev.map(|index| v1::RaftLogId { term, node_id, index }),
            entries: commands.into_iter().enumerate().map(command).collect(),
            leader_commit: None,
            quorum_age_ms: None,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_leader_forges_and_rewrites_nothing() {
    let world = World::new(3);
    let nodes = start_all(&world).await;
    for serial in 1..=3 {
        nodes[0].consensus.submit(world.federation.table(member("FR"), serial).0).await.unwrap();
    }
    same_everywhere(&nodes).await;
    let before = nodes[0].consensus.read(heads);
    let term = nodes[0].consensus.status().term;

    // CA lies to FR.
    let [ca, de] = ["CA", "DE"].map(|code| node_id(member(code), 1));
    let mut liar = Liar::new(&world, "CA", Role::Node, "FR");
    let vote = world.federation.vote(member("DE"), Hex32([1; 32]), Choice::Yes, 50);
    let turned = |code: Code, reason: &str| (code, reason.to_owned());

    let mut message = liar.entries(de, term + 1, None, vec![vote.clone()]);
    assert_eq!(liar.append(message.clone()).await, turned(Code::PermissionDenied, "OTHER_SENDER"));
    message.sender = liar.sender(ca);
    assert_eq!(liar.append(message.clone()).await, turned(Code::PermissionDenied, "OTHERS_VOTE"));
    message.sender.as_mut().unwrap().federation = vec![9; 32];
    assert_eq!(liar.append(message).await, turned(Code::FailedPrecondition, "OTHER_FEDERATION"));

    let mut message = liar.entries(ca, term + 1, None, vec![vote.clone()]);
    message.vote.as_mut().unwrap().committed = false;
    assert_eq!(liar.append(message).await, turned(Code::InvalidArgument, "VOTE_NOT_COMMITTED"));
    let message = liar.entries(ca, term + 2_000_000, None, vec![]);
    assert_eq!(liar.append(message).await, turned(Code::InvalidArgument, "TERM_TOO_FAR"));
    // Entry 0 is committed: the membership, and not this vote.
    let message = liar.entries(ca, term + 1, None, vec![vote.clone()]);
    assert_eq!(liar.append(message).await, turned(Code::FailedPrecondition, "COMMITTED_REWRITE"));
    let message = liar.entries(ca, term + 1, Some(2), vec![]);
    assert_eq!(liar.append(message).await, turned(Code::FailedPrecondition, "COMMITTED_REWRITE"));
    // In the place of the last committed entry, and under its very id, another command.
    let last = nodes[0].consensus.status().committed_entries - 1;
    let led = node_id(nodes[leader(&nodes).await].consensus.member(), 1);
    let mut message = liar.entries(ca, term + 1, Some(last - 1), vec![vote.clone()]);
    message.prev_log_id = Some(v1::RaftLogId { term, node_id: led, index: last - 1 });
    message.entries[0].log_id = Some(v1::RaftLogId { term, node_id: led, index: last });
    assert_eq!(liar.append(message).await, turned(Code::FailedPrecondition, "COMMITTED_REWRITE"));
    let mut message = liar.entries(ca, term + 1, Some(500), vec![vote.clone(), vote.clone()]);
    message.entries[1].log_id.as_mut().unwrap().index += 1;
    assert_eq!(liar.append(message).await, turned(Code::InvalidArgument, "MESSAGE_INVALID"));

    // Signed by CA's key in DE's name; altered after signing; a text that is not what was signed.
    let (tabling, _) = world.federation.table(member("DE"), 60);
    let forged = {
        let command = world.federation.vote_command(member("DE"), Hex32([1; 32]), Choice::Yes, None, 61);
        let key = &world.federation.keys(member("CA")).decision;
        Submission { envelope: command.sign(key).to_bytes(), public_text: None }
    };
    let mut altered = vote.clone();
    let at = altered.envelope.len() / 3;
    altered.envelope[at] ^= 1;
    let other_text = PublicText { salt: Hex32([3; 32]), bytes: b"{}".to_vec() };
    let swapped = Submission { public_text: Some(other_text), ..tabling.clone() };
    let bare = Submission { public_text: None, ..tabling };
    // Nobody signed it.
    let unsigned = {
        let text = String::from_utf8(vote.envelope.clone()).unwrap();
        let (before, rest) = text.split_once("\"signatures\":[").unwrap();
        let envelope = format!("{before}\"signatures\":[{}", &rest[rest.find(']').unwrap()..]).into_bytes();
        Submission { envelope, public_text: None }
    };
    for bad in [forged, altered, unsigned, swapped, bare] {
        let message = liar.entries(ca, term + 1, Some(500), vec![bad.clone()]);
        assert_eq!(liar.append(message).await, turned(Code::InvalidArgument, "COMMAND_FORGED"));
        let status = liar
            .client
            .submit(v1::SubmitRequest {
                sender: liar.sender(ca),
                command: Some(v1::RaftCommand {
                    envelope: bad.envelope,
                    public_text: bad
                        .public_text
                        .map(|text| v1::PublicText { salt: text.salt.0.to_vec(), text: text.bytes }),
                }),
            })
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    // Nothing of it stands, and the federation goes on.
    nodes[1].consensus.submit(world.federation.table(member("FR"), 70).0).await.unwrap();
    same_everywhere(&nodes).await;
    assert_eq!(nodes[0].consensus.read(heads).0, before.0 + 1);

    // A person is no node, whatever it says.
    let mut person = Liar::new(&world, "CA", Role::Operator, "FR");
    let message = person.entries(ca, term + 1, None, vec![]);
    assert!(person.client.append_entries(message).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_command_is_taken_and_one_byte_more_is_not() {
    let world = World::new(3);
    let nodes = start_all(&world).await;
    let fr = member("FR");
    // JSON may end in spaces: as many as there is room for.
    let tabling = |serial, bytes: usize| {
        let mut text = public_text(serial);
        text.bytes.resize(bytes, b' ');
        let command = world.federation.table_command(proposal_id(fr, serial), &text, serial);
        world.federation.sign(&command, Some(text))
    };
    let largest = tabling(1, PublicPart::MAX_BYTES);
    nodes[0].consensus.submit(largest.clone()).await.unwrap();
    same_everywhere(&nodes).await;
    let digest = largest.public_text.as_ref().unwrap().digest();
    assert!(nodes[2].consensus.public_text(digest).await.unwrap() == largest.public_text);

    let mut envelope = largest;
    envelope.envelope.resize(Envelope::MAX_BYTES + 1, b' ');
    let mut liar = Liar::new(&world, "CA", Role::Node, "FR");
    let (ca, term) = (node_id(member("CA"), 1), nodes[0].consensus.status().term);
    for larger in [tabling(2, PublicPart::MAX_BYTES + 1), envelope] {
        for node in &nodes {
            let error = node.consensus.submit(larger.clone()).await.unwrap_err();
            assert!(matches!(error, SubmitError::Refused(Refusal::Envelope(_) | Refusal::PublicPart(_))), "{error}");
        }
        let message = liar.entries(ca, term + 1, Some(500), vec![larger.clone()]);
        assert_eq!(liar.append(message).await, (Code::InvalidArgument, "MESSAGE_INVALID".to_owned()));
        let command = Some(support::fake::wire(&larger));
        let message = v1::SubmitRequest { sender: liar.sender(ca), command: command.clone() };
        assert_eq!(liar.client.submit(message).await.unwrap_err().code(), Code::InvalidArgument);
        let message = v1::AnnounceRequest { sender: liar.sender(ca), commands: command.into_iter().collect() };
        assert_eq!(liar.client.announce(message).await.unwrap_err().code(), Code::InvalidArgument);
    }
    assert!(nodes.iter().all(|node| node.consensus.status().commands == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_its_log_does_not_stop_the_leader() {
    let world = World::new(3);
    let mut nodes = start_all(&world).await;
    for serial in 1..=5 {
        nodes[0].consensus.submit(world.federation.table(member("FR"), serial).0).await.unwrap();
    }
    same_everywhere(&nodes).await;
    let leads = leader(&nodes).await;
    let loser = (0..3).find(|n| *n != leads).unwrap();
    let who = nodes[loser].consensus.member();
    nodes.remove(loser).kill();
    std::fs::remove_dir_all(world.folder(who)).unwrap();
    let reborn = world.start(who).await;
    for serial in 10..=12 {
        nodes[0].consensus.submit(world.federation.table(members(1)[0], serial).0).await.unwrap();
    }
    for node in &nodes {
        assert_eq!(node.consensus.status().stopped, None);
    }
    drop(reborn);
}

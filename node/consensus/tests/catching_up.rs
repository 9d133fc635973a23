//! Nodes whose log does not reach back any more: purging, snapshots, and what is erased.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Duration;

use comity_consensus::Tuning;
use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::list::{Choice, ListState, PublicText, Submission};
use comity_core::roster::node_id;
use comity_core::testing::{History, member};
use comity_proto::v1;
use support::fake::{Fake, Speaker, wire};
use support::{Node, Running, World, heads, leader, same_everywhere, start_all, until};
use tonic_types::StatusExt as _;

/// A federation that purges early.
fn world(count: usize) -> World {
    let mut world = World::new(count);
    world.tuning = Tuning { snapshot_every_entries: 20, keep_entries: 2, ..Tuning::default() };
    world
}

async fn table(node: &Node, world: &World, serials: std::ops::Range<u64>) {
    for serial in serials {
        node.consensus.submit(world.federation.table(member("FR"), serial).0).await.unwrap();
    }
}

async fn purged(nodes: &[Node]) {
    until("the log is purged", || nodes.iter().all(|node| node.consensus.status().purged_entries > 20)).await;
}

/// Every leaf of the command log, with its text.
async fn leaves(node: &Node) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        let more = node.consensus.envelopes(all.len() as u64, 7).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_over_a_purge_catches_up_by_snapshot() {
    let world = world(3);
    let mut nodes = start_all(&world).await;
    table(&nodes[0], &world, 1..10).await;
    same_everywhere(&nodes).await;
    let away = nodes.pop().unwrap();
    let who = away.consensus.member();
    away.stop().await;
    table(&nodes[0], &world, 10..80).await;
    purged(&nodes).await;

    // It is killed again and again while it catches up.
    for ms in [0, 40, 80, 120, 160] {
        let node = world.start(who).await;
        tokio::time::sleep(Duration::from_millis(ms)).await;
        node.kill();
    }
    nodes.push(world.start(who).await);
    same_everywhere(&nodes).await;
    let all = leaves(&nodes[0]).await;
    assert_eq!(all.len(), 79);
    assert_eq!(leaves(&nodes[2]).await, all);
    assert!(nodes[2].consensus.status().purged_entries > 0, "it has not got what is purged elsewhere as entries");
    for serial in [1, 30, 79] {
        let text = world.federation.table(member("FR"), serial).0.public_text.unwrap();
        assert_eq!(nodes[2].consensus.public_text(text.digest()).await.unwrap(), Some(text));
    }

    // It decides with the others, and everybody rebuilds the same from what is kept.
    table(&nodes[2], &world, 100..103).await;
    same_everywhere(&nodes).await;
    let before = nodes[0].consensus.read(heads);
    nodes.into_iter().for_each(Node::kill);
    let nodes = start_all(&world).await;
    until("the list is back", || nodes.iter().all(|node| node.consensus.read(heads) == before)).await;
    assert_eq!(leaves(&nodes[2]).await.len(), 82);
    table(&nodes[1], &world, 110..111).await;
    same_everywhere(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_not_kept_whoever_still_serves_its_text() {
    let mut offered = Offered::new(2).await;
    let world = &offered.world;
    let (failed, ballot) = world.federation.table(member("CA"), 500);
    let (kept, _) = world.federation.table(member("CA"), 501);
    for submission in [
        failed.clone(),
        kept.clone(),
        world.federation.vote(member("DE"), ballot, Choice::No, 502),
        world.federation.vote(member("FR"), ballot, Choice::No, 503),
    ] {
        offered.history.apply(&submission).unwrap();
    }
    offered.fake.tell(|told| told.leaves = offered.history.accepted.clone());
    assert_eq!(offered.offer(|_| {}).await, None);
    assert_eq!(offered.node.consensus.read(heads), heads(&offered.history.state));
    let (failed, kept) = (failed.public_text.unwrap(), kept.public_text.unwrap());
    let texts = [failed.digest(), kept.digest()].map(|digest| offered.node.consensus.public_text(digest));
    let [found, other] = texts;
    assert_eq!((found.await.unwrap(), other.await.unwrap()), (None, Some(kept)));
    assert!(!files_hold(&offered.world, member("FR"), &failed.bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_left_out_is_asked_for_until_somebody_has_it() {
    let mut offered = Offered::new(2).await;
    let (tabling, _) = offered.world.federation.table(member("CA"), 500);
    offered.history.apply(&tabling).unwrap();
    let text = tabling.public_text.clone().unwrap();
    let complete = offered.history.accepted.clone();
    let told = |given: Option<PublicText>| {
        let mut leaves = complete.clone();
        leaves.last_mut().unwrap().public_text = given;
        leaves
    };
    // None may have been erased, and the snapshot replays; another is not the one.
    offered.fake.tell(|fake| fake.leaves = told(None));
    assert_eq!(offered.offer(|_| {}).await, None);
    assert_eq!(offered.node.consensus.read(heads), heads(&offered.history.state));
    assert_eq!(offered.node.consensus.public_text(text.digest()).await.unwrap(), None);
    let other = PublicText { salt: text.salt, bytes: b"{}".to_vec() };
    offered.fake.tell(|fake| fake.leaves = told(Some(other)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(offered.node.consensus.public_text(text.digest()).await.unwrap(), None);
    offered.fake.tell(|told| told.leaves = complete.clone());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while offered.node.consensus.public_text(text.digest()).await.unwrap().is_none() {
        assert!(tokio::time::Instant::now() < deadline, "the text did not come");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It is there for good.
    let Offered { world, node, .. } = offered;
    let who = node.consensus.member();
    node.stop().await;
    let node = world.start(who).await;
    assert_eq!(node.consensus.public_text(text.digest()).await.unwrap(), Some(text));
}

/// FR's node, alone; and DE, which is no node of ours and offers it snapshots.
struct Offered {
    world: World,
    node: Node,
    fake: Fake,
    history: History,
    _serving: Running,
}

impl Offered {
    async fn new(commands: u64) -> Self {
        let world = World::new(3);
        let fake = Fake::new(&world.federation);
        let serving = world.serve(member("DE"), fake.clone());
        let node = world.start(member("FR")).await;
        let mut history = History::new(world.federation.clone());
        for serial in 1..=commands {
            history.apply(&world.federation.table(member("CA"), serial).0).unwrap();
        }
        fake.tell(|told| told.leaves = history.accepted.clone());
        Self { world, node, fake, history, _serving: serving }
    }

    /// The reason with which an offer is refused; nothing where it was taken.
    async fn offer(&self, change: impl FnOnce(&mut v1::InstallSnapshotRequest)) -> Option<String> {
        let mut speaker = Speaker::new(&self.world, member("DE"), member("FR"));
        let mut message = speaker.offer(&self.history, 9, 500);
        change(&mut message);
        match speaker.client.install_snapshot(message).await {
            Ok(answer) => {
                let result = answer.into_inner().result;
                assert!(matches!(result, Some(v1::install_snapshot_response::Result::Vote(_))), "{result:?}");
                None
            }
            Err(status) => Some(status.get_details_error_info().map(|info| info.reason).unwrap_or(status.to_string())),
        }
    }

    fn commands(&self) -> u64 {
        self.node.consensus.status().commands
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_pull_goes_on_from_where_it_broke() {
    let offered = Offered::new(20).await;
    offered.fake.tell(|told| told.breaks_after = Some(6));
    assert_eq!(offered.offer(|_| {}).await.as_deref(), Some("SNAPSHOT_NOT_PULLED"));
    assert_eq!((offered.fake.asked(), offered.commands()), (vec![0], 0), "nothing is installed by halves");
    assert_eq!(offered.offer(|_| {}).await.as_deref(), Some("SNAPSHOT_NOT_PULLED"));
    assert_eq!(offered.fake.asked(), [6]);
    offered.fake.tell(|told| told.breaks_after = None);
    // Offered several times at once, it is pulled once.
    let answers = tokio::join!(offered.offer(|_| {}), offered.offer(|_| {}), offered.offer(|_| {}));
    assert_eq!(answers, (None, None, None));
    assert_eq!(offered.fake.asked(), [12]);
    assert_eq!(offered.node.consensus.read(heads), heads(&offered.history.state));
    let status = offered.node.consensus.status();
    assert_eq!((status.purged_entries, status.applied_entries), (501, 501));
    // The same again, and an older one: neither is needed, and nothing is pulled for it.
    assert_eq!(offered.offer(|_| {}).await, None);
    assert_eq!(offered.offer(|message| message.last_log_id.as_mut().unwrap().index = 400).await.as_deref(), None);
    assert_eq!(offered.fake.asked(), Vec::<u64>::new());

    // After a crash it is all there.
    let Offered { world, node, history, .. } = offered;
    node.kill();
    let node = world.start(member("FR")).await;
    assert_eq!(node.consensus.read(heads), heads(&history.state));
    assert_eq!(node.consensus.status().applied_entries, 501);
    let envelopes: Vec<Vec<u8>> = history.accepted.iter().map(|submission| submission.envelope.clone()).collect();
    assert_eq!(leaves(&node).await, envelopes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_does_not_hold_is_refused() {
    let offered = Offered::new(10).await;
    let refused = async |change: fn(&mut v1::InstallSnapshotRequest)| {
        let reason = offered.offer(change).await;
        assert_eq!(offered.commands(), 0, "{reason:?}");
        assert_eq!(offered.node.consensus.status().stopped, None, "{reason:?}");
        reason.unwrap_or_default()
    };
    // What can be told before anything is pulled.
    assert_eq!(refused(|m| m.vote.as_mut().unwrap().committed = false).await, "VOTE_NOT_COMMITTED");
    assert_eq!(refused(|m| m.vote.as_mut().unwrap().node_id = node_id(member("FR"), 1)).await, "OTHERS_VOTE");
    assert_eq!(refused(|m| m.vote.as_mut().unwrap().term = 1 << 40).await, "TERM_TOO_FAR");
    assert_eq!(refused(|m| m.last_log_id.as_mut().unwrap().term = 10).await, "MESSAGE_INVALID");
    assert_eq!(refused(|m| m.membership_log_id.as_mut().unwrap().index = 501).await, "MESSAGE_INVALID");
    assert_eq!(refused(|m| m.commands = 1 << 50).await, "MESSAGE_INVALID");
    assert_eq!(refused(|m| m.root.truncate(31)).await, "MESSAGE_INVALID");
    assert_eq!(offered.fake.asked(), Vec::<u64>::new());
    // What it replays to says who decides.
    let alone = |m: &mut v1::InstallSnapshotRequest| {
        m.membership.as_mut().unwrap().configs[0].node_ids = vec![node_id(member("DE"), 1)];
    };
    assert_eq!(refused(alone).await, "OTHER_MEMBERSHIP");
    assert_eq!(offered.fake.asked(), [0]);

    // It does not replay to what it says.
    assert_eq!(refused(|m| m.root[0] ^= 1).await, "SNAPSHOT_OTHER_ROOT");
    assert_eq!(offered.fake.asked(), [0]);
    // The same is not pulled again to find out the same.
    assert_eq!(refused(|m| m.root[0] ^= 1).await, "SNAPSHOT_OTHER_ROOT");
    assert_eq!(offered.fake.asked(), Vec::<u64>::new());

    // One command is left out, stands twice, is altered, or has another text.
    let honest = offered.history.accepted.clone();
    let forge = |leaves: Vec<Submission>| offered.fake.tell(|told| told.leaves = leaves);
    let mut twice = honest.clone();
    twice[4] = twice[3].clone();
    let mut altered = honest.clone();
    let at = altered[4].envelope.len() / 3;
    altered[4].envelope[at] ^= 1;
    let mut swapped = honest.clone();
    swapped[4].public_text = swapped[3].public_text.clone();
    for (n, (leaves, reason)) in
        [(twice, "SNAPSHOT_FORGED"), (altered, "SNAPSHOT_FORGED"), (swapped, "SNAPSHOT_FORGED")].into_iter().enumerate()
    {
        forge(leaves);
        // Another offer each time, or the last answer would be given again.
        let root = n as u8 + 1;
        let answer = offered.offer(|message| message.root[1] ^= root).await;
        assert_eq!((answer.as_deref(), offered.commands()), (Some(reason), 0), "{n}");
    }
    // It says that its log begins otherwise.
    forge(honest.clone());
    offered.fake.tell(|told| told.root_before = Some(Hex32([9; 32])));
    assert_eq!(refused(|m| m.root[2] ^= 1).await, "SNAPSHOT_OTHER_HISTORY");
    offered.fake.tell(|told| told.root_before = None);

    // And the honest one is taken, after all that.
    assert_eq!(offered.offer(|_| {}).await, None);
    assert_eq!(offered.node.consensus.read(heads), heads(&offered.history.state));
    // A later one that leaves out what is applied here by now is another history.
    let (world, fake) = (&offered.world, &offered.fake);
    let mut other = History::new(world.federation.clone());
    for serial in 50..=70 {
        other.apply(&world.federation.table(member("CA"), serial).0).unwrap();
    }
    fake.tell(|told| told.leaves = other.accepted.clone());
    let (commands, root) = (other.state.commands().size(), other.state.commands().root());
    let answer = offered
        .offer(|message| {
            message.last_log_id.as_mut().unwrap().index = 600;
            (message.commands, message.root) = (commands, root.0.to_vec());
        })
        .await;
    assert_eq!(answer.as_deref(), Some("SNAPSHOT_OTHER_HISTORY"));
    assert_eq!(offered.node.consensus.read(heads), heads(&offered.history.state));
}

/// Whether the files of a member's node hold these bytes anywhere.
fn files_hold(world: &World, member: MemberId, bytes: &[u8]) -> bool {
    ["consensus.db", "consensus.db-wal"].iter().any(|name| {
        let file = std::fs::read(world.folder(member).join(name)).unwrap_or_default();
        file.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_text_is_gone_everywhere_and_the_log_still_verifies() {
    let world = world(3);
    let mut nodes = start_all(&world).await;
    let (tabling, ballot) = world.federation.table(member("FR"), 7_777);
    let text = tabling.public_text.clone().unwrap();
    let away = nodes.pop().unwrap();
    let who = away.consensus.member();
    away.stop().await;
    nodes[0].consensus.submit(tabling.clone()).await.unwrap();
    let vote = |from, serial| world.federation.vote(member(from), ballot, Choice::No, serial);
    nodes[0].consensus.submit(vote("FR", 2)).await.unwrap();
    nodes[0].consensus.submit(vote("DE", 3)).await.unwrap();
    same_everywhere(&nodes).await;
    // It was rejected: that is enough.
    let erased_here = async |node: &Node| {
        // Soon after it is applied.
        let gone = || !files_hold(&world, node.consensus.member(), &text.bytes);
        until("the text is gone", gone).await;
        assert_eq!(node.consensus.public_text(text.digest()).await.unwrap(), None);
        assert!(files_hold(&world, node.consensus.member(), &tabling.envelope), "the command stays");
    };
    for node in &nodes {
        erased_here(node).await;
    }
    // Whoever was away is sent the entry without it, and takes it.
    nodes.push(world.start(who).await);
    same_everywhere(&nodes).await;
    assert_eq!(nodes[2].consensus.public_text(text.digest()).await.unwrap(), None);
    assert!(nodes[2].consensus.read(|list| list.ballot(&ballot).is_some()));

    // It does not come back with the command, even where a peer hands that in again, text and all.
    let leads = leader(&nodes).await;
    let speaks = (0..2).find(|n| *n != leads).unwrap();
    let (to, from) = (nodes[leads].consensus.member(), nodes[speaks].consensus.member());
    let mut speaker = Speaker::new(&world, from, to);
    let message = v1::SubmitRequest { sender: speaker.sender(), command: Some(wire(&tabling)) };
    speaker.client.submit(message).await.unwrap();
    table(&nodes[0], &world, 100..150).await;
    purged(&nodes).await;
    same_everywhere(&nodes).await;
    for node in &nodes[..2] {
        erased_here(node).await;
    }
    // Nor in a snapshot.
    let again = nodes.pop().unwrap();
    again.kill();
    std::fs::remove_dir_all(world.folder(who)).unwrap();
    let all = leaves(&nodes[0]).await;
    let before = nodes[0].consensus.read(heads);
    nodes.into_iter().for_each(Node::kill);
    let nodes = start_all(&world).await;
    until("the list is back", || nodes[0].consensus.read(heads) == before).await;
    assert_eq!(leaves(&nodes[0]).await, all);
    same_everywhere(&nodes).await;
    for node in [0, 2].map(|n| &nodes[n]) {
        assert_eq!(node.consensus.public_text(text.digest()).await.unwrap(), None);
    }
    let replayed = {
        let mut list = ListState::new(std::sync::Arc::clone(&world.federation.genesis));
        for envelope in &all {
            let checked = comity_core::list::check_accepted(world.federation.genesis.federation(), envelope).unwrap();
            list.apply_checked(&checked).unwrap();
        }
        heads(&list)
    };
    assert_eq!(replayed, before);
}

use comity_core::list::Refusal;
use comity_core::testing::{Federation, member};

use super::*;
use crate::types::{Payload, Voters};

const SENDER: Sender = Sender { federation: Hex32([4; 32]), node: 2 };

fn id(term: u64, index: u64) -> LogId {
    LogId { leader_id: RaftLeaderId { term, node_id: 2 }, index }
}

fn request() -> AppendRequest {
    let federation = Federation::new(3);
    let (tabling, _) = federation.table(member("FR"), 1);
    let membership = Voters::of(&federation.genesis).membership();
    AppendRequest {
        vote: Vote::new_committed(7, 2),
        prev_log_id: Some(id(3, 9)),
        entries: vec![
            Entry { log_id: id(3, 10), payload: Payload::Membership(membership) },
            Entry { log_id: id(7, 11), payload: Payload::Blank },
            Entry { log_id: id(7, 12), payload: Payload::Normal(Command::arriving(tabling)) },
        ],
        leader_commit: Some(id(3, 10)),
    }
}

#[test]
fn messages_come_through_as_they_were_sent() {
    let sent = request();
    let message = from_append_request(SENDER, &sent);
    assert_eq!(sender(message.sender.as_ref()), Ok(SENDER));
    let read = append_request(message).unwrap();
    assert_eq!((read.vote, read.prev_log_id, &read.entries), (sent.vote, sent.prev_log_id, &sent.entries));
    assert_eq!(read.leader_commit, sent.leader_commit);
    let text = |request: &AppendRequest| match &request.entries[2].payload {
        Payload::Normal(command) => command.submission().clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(&read), text(&sent));

    let sent = VoteRequest { leadership_transfer: true, ..VoteRequest::new(Vote::new(8, 2), Some(id(7, 12))) };
    assert_eq!(vote_request(from_vote_request(SENDER, &sent)).unwrap(), sent);
    let sent = VoteResponse::new(Vote::new(8, 2), None, true);
    assert_eq!(vote_response(from_vote_response(&sent)).unwrap(), sent);
    let higher = AppendResponse::HigherVote(Vote::new(9, 1));
    for sent in [AppendResponse::Success, AppendResponse::Conflict, higher] {
        assert_eq!(append_response(from_append_response(&sent)).unwrap(), sent);
    }
    let asked = TransferRequest::new(Vote::new_committed(7, 2), 3, Some(id(7, 12)));
    assert_eq!(transfer_request(from_transfer_request(SENDER, &asked)).unwrap(), asked);
    let behind = Err(TransferError::LogNotFlushed { expected: Some(id(7, 12)), actual: Some(id(7, 11)) });
    assert_eq!(transfer_response(&asked, from_transfer_response(&behind)).unwrap(), behind);
}

#[test]
fn only_below_the_commit_may_a_text_be_missing() {
    let federation = Federation::new(3);
    let bare = |index: u64, commit: Option<u64>| {
        let mut sent = request();
        let (mut tabling, _) = federation.table(member("FR"), 1);
        tabling.public_text = None;
        sent.prev_log_id = Some(id(3, index - 1));
        sent.entries = vec![Entry { log_id: id(3, index), payload: Payload::Normal(Command::arriving(tabling)) }];
        sent.leader_commit = commit.map(|index| id(3, index));
        match append_request(from_append_request(SENDER, &sent)).unwrap().entries.remove(0).payload {
            Payload::Normal(command) => command.check(&federation.genesis).map(|_| ()).map_err(Refusal::reason),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(bare(10, Some(10)), Ok(()));
    assert_eq!(bare(10, Some(12)), Ok(()));
    assert_eq!(bare(10, Some(9)), Err("PUBLIC_PART_INVALID"));
    assert_eq!(bare(10, None), Err("PUBLIC_PART_INVALID"));
}

#[test]
fn snapshots_and_pages_come_through_as_they_were_sent() {
    let federation = Federation::new(3);
    let membership = StoredMembership::new(Some(id(1, 4)), Voters::of(&federation.genesis).membership());
    let data = SnapshotData { commands: 7, root: Hex32([8; 32]), staged: None };
    let sent = SnapshotOffer { vote: Vote::new_committed(7, 2), last: id(3, 10), membership, data };
    let message = from_snapshot_offer(SENDER, &sent);
    let read = snapshot_offer(message.clone()).unwrap();
    assert_eq!((read.vote, read.last, &read.membership), (sent.vote, sent.last, &sent.membership));
    assert_eq!((read.data.commands, read.data.root), (7, Hex32([8; 32])));
    let broken = |change: fn(&mut v1::InstallSnapshotRequest)| {
        let mut message = message.clone();
        change(&mut message);
        snapshot_offer(message).map(|_| ()).unwrap_err()
    };
    assert_eq!(broken(|m| m.last_log_id = None), InvalidMessage::Missing("last_log_id"));
    assert_eq!(broken(|m| m.membership_log_id = None), InvalidMessage::Missing("membership_log_id"));
    assert_eq!(broken(|m| m.membership = None), InvalidMessage::Missing("membership"));
    assert_eq!(broken(|m| m.vote.as_mut().unwrap().term = 2), InvalidMessage::FromTheFuture("last_log_id"));
    let later = broken(|m| m.membership_log_id.as_mut().unwrap().term = 4);
    assert_eq!(later, InvalidMessage::FromTheFuture("membership_log_id"));
    assert!(matches!(broken(|m| m.commands = 12), InvalidMessage::TooLarge { field: "commands", .. }));
    for sent in [SnapshotAnswer::Pulling(5), SnapshotAnswer::Vote(Vote::new(9, 1))] {
        assert_eq!(snapshot_answer(from_snapshot_answer(&sent)), Ok(sent));
    }

    let (tabling, _) = federation.table(member("FR"), 1);
    let sent =
        v1::ReadCommandsResponse { first_leaf: 3, commands: vec![from_submission(&tabling)], root_before: vec![4; 32] };
    let read = page(sent.clone()).unwrap();
    assert_eq!((read.first, read.root_before), (3, Some(Hex32([4; 32]))));
    assert_eq!(*read.commands[0].submission(), tabling);
    let short = v1::ReadCommandsResponse { root_before: vec![4; 31], ..sent.clone() };
    assert!(matches!(page(short), Err(InvalidMessage::Length { field: "root_before", .. })));
    let many = v1::ReadCommandsResponse { commands: vec![sent.commands[0].clone(); MAX_ENTRIES + 1], ..sent.clone() };
    assert!(matches!(page(many), Err(InvalidMessage::TooLarge { field: "commands", .. })));
    let many = vec![sent.commands[0].clone(); ANNOUNCE_MAX_COMMANDS + 1];
    assert!(matches!(announced(many), Err(InvalidMessage::TooLarge { field: "commands", .. })));
}

#[test]
fn what_does_not_fit_together_is_named() {
    let broken = |change: fn(&mut v1::AppendEntriesRequest)| {
        let mut message = from_append_request(SENDER, &request());
        change(&mut message);
        append_request(message).map(|_| ()).unwrap_err()
    };
    assert_eq!(broken(|m| m.vote = None), InvalidMessage::Missing("vote"));
    assert_eq!(broken(|m| m.entries[1].payload = None), InvalidMessage::Missing("entry.payload"));
    assert_eq!(broken(|m| drop(m.entries.remove(1))), InvalidMessage::Gap { at: 1, found: 12, expected: 11 });
    assert_eq!(broken(|m| m.prev_log_id = None), InvalidMessage::Gap { at: 0, found: 10, expected: 0 });
    assert_eq!(broken(|m| m.entries[1].log_id.as_mut().unwrap().term = 8), InvalidMessage::FromTheFuture("entries"));
    assert_eq!(broken(|m| m.entries[2].log_id.as_mut().unwrap().term = 6), InvalidMessage::FromTheFuture("entries"));
    assert_eq!(broken(|m| m.leader_commit.as_mut().unwrap().term = 8), InvalidMessage::FromTheFuture("leader_commit"));
    assert!(matches!(broken(|m| m.vote.as_mut().unwrap().term = u64::MAX), InvalidMessage::TooLarge { .. }));
    assert!(matches!(
        broken(|m| m.entries[0].log_id.as_mut().unwrap().index = u64::MAX),
        InvalidMessage::TooLarge { .. }
    ));
    assert!(matches!(
        broken(|m| m.entries = vec![m.entries[1].clone(); MAX_ENTRIES + 1]),
        InvalidMessage::TooLarge { field: "entries", .. }
    ));
    let large = |envelope: usize, salt: usize| {
        let public_text = Some(v1::PublicText { salt: vec![0; salt], text: Vec::new() });
        command(v1::RaftCommand { envelope: vec![b'x'; envelope], public_text }).map(|_| ()).unwrap_err()
    };
    assert!(matches!(large(Envelope::MAX_BYTES + 1, 32), InvalidMessage::TooLarge { field: "command.envelope", .. }));
    assert!(matches!(large(10, 31), InvalidMessage::Length { found: 31, expected: 32, .. }));
    let orphan = v1::RaftMembership { configs: vec![v1::RaftVoters { node_ids: vec![1] }], nodes: Vec::new() };
    assert!(matches!(membership(orphan), Err(InvalidMessage::Membership(_))));
    let short = v1::ConsensusSender { federation: vec![1; 31], node_id: 1 };
    assert!(matches!(sender(Some(&short)), Err(InvalidMessage::Length { field: "sender.federation", .. })));
}

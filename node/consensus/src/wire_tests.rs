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

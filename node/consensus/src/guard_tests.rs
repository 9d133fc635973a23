use super::*;

fn asked(term: u64, prev: Option<u64>, last: Option<u64>) -> AppendAsked {
    AppendAsked { vote: Vote::new_committed(term, 1), prev, last }
}

#[test]
fn answers_that_would_end_this_node_are_not_believed() {
    let mut confirmed = Confirmed::default();
    let conflict = AppendResponse::Conflict;
    assert!(matches!(confirmed.append_answer(&asked(1, None, None), &conflict), Err(MisledBy::ConflictAtTheBeginning)));
    confirmed.append_answer(&asked(1, Some(4), Some(9)), &AppendResponse::Success).unwrap();
    confirmed.append_answer(&asked(1, Some(2), Some(2)), &AppendResponse::Success).unwrap();
    assert!(matches!(confirmed.append_answer(&asked(1, Some(9), Some(9)), &conflict), Err(MisledBy::LostItsLog(9))));
    confirmed.append_answer(&asked(1, Some(10), Some(12)), &conflict).unwrap();
    // Under another vote what was confirmed before may have been cut off by somebody else.
    confirmed.append_answer(&asked(3, Some(9), Some(9)), &conflict).unwrap();

    let higher = |term| AppendResponse::HigherVote(Vote::new(term, 2));
    confirmed.append_answer(&asked(3, None, None), &higher(4)).unwrap();
    let lie = confirmed.append_answer(&asked(3, None, None), &higher(2));
    assert!(matches!(lie, Err(MisledBy::NotHigher { .. })));
    let lie = confirmed.append_answer(&asked(3, None, None), &higher(1 << 50));
    assert!(matches!(lie, Err(MisledBy::TermTooFar { .. })));
    assert!(vote_answer(&Vote::new(3, 1), &Vote::new(1 << 50, 2)).is_err());
}

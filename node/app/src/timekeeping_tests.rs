use comity_core::list::{Acknowledge, Choice, Hold, Object, check_submission};
use comity_core::testing::{Federation, command_id};

use super::*;

const SILENT: &str = "no_objection(period=10,notice=5)";

fn far() -> Timestamp {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

#[test]
fn a_command_that_would_count_holds_the_time_back() {
    let federation = Federation::ruled(3, SILENT);
    let voters = federation.voters();
    let (fr, de) = (voters[0], voters[1]);
    let mut list = ListState::new(federation.genesis.clone());
    let (tabling, ballot) = federation.table(fr, 1);
    list.apply(&tabling).unwrap();
    let due = list.ballot(&ballot).unwrap().due().unwrap();

    let id = |serial| (federation.genesis.federation(), command_id(serial));
    let acknowledge = |member, serial| {
        let (federation, command_id) = id(serial);
        Command::Acknowledge(Acknowledge { federation, command_id, member, ballot })
    };
    let hold = |member, serial| {
        let (federation, command_id) = id(serial);
        Command::Hold(Hold { federation, command_id, member, ballot, reason: "Not yet.".into() })
    };
    let object = |member, serial| {
        let (federation, command_id) = id(serial);
        Command::Object(Object { federation, command_id, member, ballot, reason: "No.".into() })
    };
    let missed = |list: &ListState, submission: Submission, now| {
        let checked = check_submission(federation.genesis.federation(), &submission).unwrap();
        earliest_missed(list, &[checked], now)
    };
    for command in [acknowledge(de, 10), hold(de, 11), object(de, 12)] {
        assert_eq!(missed(&list, federation.sign(&command, None), far()), Some(due), "{}", command.name());
        // Nothing is late yet.
        assert!(missed(&list, federation.sign(&command, None), before(due)).is_none(), "{}", command.name());
        // Signed by another key than the roster's.
        let forged = Submission { envelope: command.sign(&federation.keys(fr).decision).to_bytes(), public_text: None };
        assert!(missed(&list, forged, far()).is_none(), "{}", command.name());
    }
    assert_eq!(missed(&list, federation.vote(de, ballot, Choice::Yes, 13), far()), Some(due));
    assert_eq!(missed(&list, federation.withdraw(fr, ballot, 14), far()), Some(due));
    // What would be refused holds nothing back.
    assert!(missed(&list, federation.withdraw(de, ballot, 15), far()).is_none());
    assert!(missed(&list, federation.sign(&acknowledge(fr, 16), None), far()).is_none(), "whoever tables took notice");
    let correction = federation.vote_command(de, ballot, Choice::No, Some(command_id(99)), 17);
    assert!(missed(&list, federation.sign(&correction, None), far()).is_none());
    list.apply(&federation.sign(&hold(de, 18), None)).unwrap();
    assert!(missed(&list, federation.sign(&hold(de, 19), None), far()).is_none(), "the hold is spent");
}

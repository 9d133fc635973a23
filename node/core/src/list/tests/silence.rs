//! The silence procedure. Ballots are tabled on Monday, 2026-11-23: notice ends on 11-30, silence on 12-07, both at 17:00.

use super::{au, ca, de, fr};
use crate::list::{
    BallotId, BallotState, Choice, Clock, Event, HoldEnd, Motion, PlacedHold, Publication, PublishedProcedure, Refusal,
    Rejection, SilenceState,
};
use crate::member::MemberId;
use crate::rule::Rules;
use crate::testing::{Federation, History, Say};
use crate::timestamp::Timestamp;

/// FR, DE, CA, AU, who list by silence; roster changes by two thirds.
fn silent() -> History {
    History::new(Federation::with(4, |document| {
        document.rules =
            Rules { list: "no_objection".parse().unwrap(), ..Rules::uniform("quorum(2/3)".parse().unwrap()) };
    }))
}

fn silence(history: &History, ballot: BallotId) -> &SilenceState {
    history.ballot(ballot).silence().unwrap()
}

fn hold(history: &History, ballot: BallotId, member: MemberId) -> &PlacedHold {
    &silence(history, ballot).holds[&member]
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn running(text: &str) -> Clock {
    Clock::Running { until: at(text) }
}

/// A ballot of FR of which everybody has taken notice.
fn noticed(history: &mut History) -> BallotId {
    let ballot = history.table(fr());
    for member in [de(), ca(), au()] {
        history.say(member, Say::Acknowledge(ballot));
    }
    ballot
}

fn state(history: &History, ballot: BallotId) -> BallotState {
    history.ballot(ballot).state.clone()
}

fn adopted(history: &History, ballot: BallotId) -> bool {
    matches!(state(history, ballot), BallotState::Adopted(_))
}

#[test]
fn silence_adopts_at_the_closing_hour_of_the_last_working_day_and_not_before() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    assert_eq!(silence(&history, ballot).clock, running("2026-12-07T17:00:00Z"));
    assert_eq!(history.state.next_deadline(), Some(at("2026-11-30T17:00:00Z")));
    history.until("2026-12-07T16:59:59Z");
    assert!(history.ballot(ballot).is_open());
    // The next attestations come a minute later at the earliest.
    let done = history.until("2026-12-07T17:01:00Z");
    assert!(adopted(&history, ballot));
    assert!(done.events.iter().any(|event| matches!(event, Event::Listed(b, _) if *b == ballot)));
    let entry = history.state.entries_after(None).next().unwrap();
    assert_eq!((entry.listed_at, entry.consents.len()), (at("2026-12-07T17:01:00Z"), 0));
}

#[test]
fn silence_runs_from_the_last_acknowledgement() {
    let mut history = silent();
    let ballot = history.table(fr());
    history.say(de(), Say::Acknowledge(ballot));
    history.until("2026-11-25T23:00:00Z");
    history.say(ca(), Say::Acknowledge(ballot));
    assert_eq!(silence(&history, ballot).clock, running("2026-12-09T17:00:00Z"));
    // On a Saturday, too; it counts from there.
    history.until("2026-11-28T12:00:00Z");
    history.vote(au(), ballot, Choice::Abstain);
    assert_eq!(silence(&history, ballot).clock, running("2026-12-11T17:00:00Z"), "whoever votes has taken notice");
    assert!(matches!(history.refuse_to(au(), Say::Acknowledge(ballot)), Refusal::Acknowledged(m) if m == au()));
    assert!(matches!(history.refuse_to(fr(), Say::Acknowledge(ballot)), Refusal::Acknowledged(m) if m == fr()));
    history.until("2026-12-09T17:00:00Z");
    assert!(history.ballot(ballot).is_open());
    history.until("2026-12-11T17:00:00Z");
    assert!(adopted(&history, ballot));
}

#[test]
fn the_absent_are_named_and_not_counted() {
    let mut history = silent();
    let ballot = history.table(fr());
    for member in [de(), ca()] {
        history.say(member, Say::Acknowledge(ballot));
    }
    history.until("2026-11-30T17:00:00Z");
    assert!(history.ballot(ballot).is_open() && silence(&history, ballot).notice_over);
    let late = history.refuse_to(au(), Say::Acknowledge(ballot));
    assert_eq!(late, Refusal::NoticeOver(at("2026-11-30T17:00:00Z")));
    history.until("2026-12-07T17:00:00Z");
    assert!(adopted(&history, ballot));
    let leaf = Publication::from_bytes(history.state.publication(0).unwrap()).unwrap();
    let crate::list::Authority::Ballot(decided) = leaf.by else { panic!() };
    assert_eq!((decided.absent, decided.consents.len()), (vec![au()], 0));
    assert_eq!(decided.silent.iter().map(|c| c.member).collect::<Vec<_>>(), [ca(), de(), fr()]);
    assert!(matches!(decided.procedure, PublishedProcedure::Rule(_)));
}

#[test]
fn an_absent_member_may_still_vote_hold_and_object() {
    for says in 0..3 {
        let mut history = silent();
        let ballot = history.table(fr());
        for member in [de(), ca()] {
            history.say(member, Say::Acknowledge(ballot));
        }
        history.until("2026-11-30T17:00:00Z");
        let before = silence(&history, ballot).clock;
        match says {
            0 => {
                history.vote(au(), ballot, Choice::Yes);
                assert_eq!(silence(&history, ballot).clock, before, "it is late, so nothing is counted anew");
                assert!(!silence(&history, ballot).acknowledged.contains_key(&au()));
            }
            1 => {
                history.say(au(), Say::Hold(ballot));
                assert_eq!(silence(&history, ballot).clock, Clock::Held { days_left: 5 });
            }
            _ => {
                history.say(au(), Say::Object(ballot));
                assert_eq!(state(&history, ballot), BallotState::Rejected(Rejection::Objection(au())));
            }
        }
    }
}

#[test]
fn too_few_present_adopt_nothing_at_the_end_of_notice() {
    let mut history = silent();
    let ballot = history.table(fr());
    let digest = history.ballot(ballot).public_part;
    history.say(de(), Say::Acknowledge(ballot));
    history.until("2026-11-30T16:59:00Z");
    assert!(history.ballot(ballot).is_open());
    let events = history.until("2026-11-30T17:00:00Z").events;
    assert_eq!(state(&history, ballot), BallotState::Rejected(Rejection::Absence));
    assert!(events.contains(&Event::TextErased(digest)) && events.contains(&Event::Rejected(ballot)));
    assert_eq!(history.state.public_log().size(), 0);
}

#[test]
fn too_few_present_adopt_nothing_however_far_time_leaps() {
    let mut history = silent();
    let ballot = history.table(fr());
    history.until("2030-01-01T00:00:00Z");
    assert_eq!(state(&history, ballot), BallotState::Rejected(Rejection::Absence));
}

#[test]
fn a_hold_stops_the_clock_and_the_rest_of_the_working_days_runs_on() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    // Wednesday: of ten working days two have run.
    history.until("2026-11-25T10:00:00Z");
    history.say(de(), Say::Hold(ballot));
    assert_eq!(silence(&history, ballot).clock, Clock::Held { days_left: 8 });
    history.until("2027-01-13T10:00:00Z");
    assert!(history.ballot(ballot).is_open(), "nothing runs while a hold stands");
    history.say(de(), Say::Lift(ballot));
    assert_eq!(hold(&history, ballot, de()).ended, Some(HoldEnd::Lifted));
    assert_eq!(silence(&history, ballot).clock, running("2027-01-25T17:00:00Z"));
    history.until("2027-01-25T16:59:00Z");
    assert!(history.ballot(ballot).is_open());
    history.until("2027-01-25T17:00:00Z");
    assert!(adopted(&history, ballot));
}

#[test]
fn silence_runs_on_when_the_last_hold_ends() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.say(de(), Say::Hold(ballot));
    history.say(ca(), Say::Hold(ballot));
    history.say(de(), Say::Lift(ballot));
    assert_eq!(silence(&history, ballot).clock, Clock::Held { days_left: 10 });
    history.say(ca(), Say::Lift(ballot));
    assert_eq!(silence(&history, ballot).clock, running("2026-12-07T17:00:00Z"));
}

#[test]
fn a_hold_on_the_last_day_leaves_a_day() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.until("2026-12-07T16:00:00Z");
    history.say(de(), Say::Hold(ballot));
    history.say(de(), Say::Lift(ballot));
    assert_eq!(silence(&history, ballot).clock, running("2026-12-08T17:00:00Z"));
}

#[test]
fn a_member_places_one_hold() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.say(de(), Say::Hold(ballot));
    assert_eq!(history.refuse_to(de(), Say::Hold(ballot)), Refusal::HoldSpent(de()));
    history.say(de(), Say::Lift(ballot));
    assert_eq!(history.refuse_to(de(), Say::Hold(ballot)), Refusal::HoldSpent(de()));
    assert_eq!(history.refuse_to(de(), Say::Lift(ballot)), Refusal::NoHold(de()));
    assert_eq!(history.refuse_to(ca(), Say::Lift(ballot)), Refusal::NoHold(ca()));
}

#[test]
fn whoever_holds_has_taken_notice() {
    let mut history = silent();
    let ballot = history.table(fr());
    history.until("2026-11-25T10:00:00Z");
    history.say(de(), Say::Hold(ballot));
    assert_eq!(silence(&history, ballot).clock, Clock::Held { days_left: 10 });
    // An acknowledgement during a hold counts anew, too.
    history.until("2026-11-26T10:00:00Z");
    history.say(ca(), Say::Acknowledge(ballot));
    assert_eq!(silence(&history, ballot).clock, Clock::Held { days_left: 10 });
    assert_eq!(history.ballot(ballot).due(), Some(at("2026-11-30T17:00:00Z")), "notice ends all the same");
}

#[test]
fn a_hold_lapses_and_silence_runs_on_from_there() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.until("2026-12-03T10:00:00Z");
    history.say(de(), Say::Hold(ballot));
    assert_eq!(hold(&history, ballot, de()).until, at("2027-06-03T10:00:00Z"));
    // 2027-06-03 is a Thursday; two working days are left. Time leaps over it all.
    history.until("2027-06-07T16:59:00Z");
    assert_eq!(hold(&history, ballot, de()).ended, Some(HoldEnd::Lapsed));
    assert_eq!(silence(&history, ballot).clock, running("2027-06-07T17:00:00Z"));
    history.until("2027-06-07T17:00:00Z");
    assert!(adopted(&history, ballot));
}

#[test]
fn more_than_half_of_the_others_extend_a_hold_once() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.say(de(), Say::Hold(ballot));
    let until = hold(&history, ballot, de()).until;
    let own = history.refuse_to(de(), Say::Extend(ballot, de()));
    assert!(matches!(own, Refusal::Extension { by, .. } if by == de()), "{own}");
    assert_eq!(history.refuse_to(fr(), Say::Extend(ballot, ca())), Refusal::NoHold(ca()));
    assert!(history.say(fr(), Say::Extend(ballot, de())).events.is_empty());
    let again = history.refuse_to(fr(), Say::Extend(ballot, de()));
    assert!(matches!(again, Refusal::Extension { by, .. } if by == fr()), "{again}");
    assert_eq!(hold(&history, ballot, de()).until, until, "one of three is not more than half");
    let events = history.say(ca(), Say::Extend(ballot, de())).events;
    assert_eq!(events, [Event::HoldExtended(ballot, de())]);
    assert_eq!(hold(&history, ballot, de()).until, at("2027-08-23T09:00:00Z"));
    let once = history.refuse_to(au(), Say::Extend(ballot, de()));
    assert!(matches!(once, Refusal::Extension { by, .. } if by == au()), "{once}");
    history.until("2027-08-23T08:00:00Z");
    assert_eq!(hold(&history, ballot, de()).ended, None);
    history.until("2027-08-23T09:00:00Z");
    assert_eq!(hold(&history, ballot, de()).ended, Some(HoldEnd::Lapsed));
}

#[test]
fn a_hold_that_has_ended_is_not_extended() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.say(de(), Say::Hold(ballot));
    history.say(de(), Say::Lift(ballot));
    assert_eq!(history.refuse_to(fr(), Say::Extend(ballot, de())), Refusal::NoHold(de()));
}

#[test]
fn suspension_ends_a_hold_and_takes_the_member_from_the_electorate() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.say(de(), Say::Hold(ballot));
    history.until("2026-11-25T10:00:00Z");
    history.decide(fr(), Motion::Suspend { target: de() });
    assert_eq!(hold(&history, ballot, de()).ended, Some(HoldEnd::Suspended));
    assert_eq!(silence(&history, ballot).clock, running("2026-12-09T17:00:00Z"));
    assert!(!history.ballot(ballot).electorate.contains(&de()));
    assert_eq!(history.refuse_to(de(), Say::Object(ballot)), Refusal::Suspended(de()));
    // Back again it is of no ballot that was tabled before.
    history.decide(fr(), Motion::Readmit { target: de() });
    assert_eq!(history.refuse_to(de(), Say::Object(ballot)), Refusal::NotInElectorate(de()));
    history.until("2026-12-09T17:00:00Z");
    assert!(adopted(&history, ballot));
}

#[test]
fn an_extension_that_a_suspension_completes_is_one() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.say(de(), Say::Hold(ballot));
    history.say(fr(), Say::Extend(ballot, de()));
    // One of three others; of the two that stay one is not more than half, of the one that stays after that it is.
    history.decide(fr(), Motion::Suspend { target: au() });
    assert!(!hold(&history, ballot, de()).extended);
    history.decide(fr(), Motion::Suspend { target: ca() });
    assert!(hold(&history, ballot, de()).extended);
    assert_eq!(hold(&history, ballot, de()).until, at("2027-08-23T09:00:00Z"));
    assert_eq!(history.ballot(ballot).due(), history.state.next_deadline());
}

#[test]
fn presence_is_counted_again_when_silence_has_run() {
    let mut history = silent();
    let ballot = history.table(fr());
    for member in [de(), ca()] {
        history.say(member, Say::Acknowledge(ballot));
    }
    history.until("2026-12-01T10:00:00Z");
    // CA and FR go: of DE and AU one is present, two are needed.
    history.decide(fr(), Motion::Suspend { target: ca() });
    history.decide(de(), Motion::Suspend { target: fr() });
    assert!(history.ballot(ballot).is_open());
    history.until("2026-12-07T17:00:00Z");
    assert_eq!(state(&history, ballot), BallotState::Rejected(Rejection::Absence));
}

#[test]
fn a_member_whose_decision_key_was_revoked_is_absent() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.say(au(), Say::Revoke(true, false));
    assert!(!silence(&history, ballot).acknowledged.contains_key(&au()), "it can neither hold nor object any more");
    history.say(ca(), Say::Revoke(true, false));
    // Two of four are present, three are needed: nobody consents by having lost its voice.
    history.until("2026-11-30T17:00:00Z");
    assert_eq!(state(&history, ballot), BallotState::Rejected(Rejection::Absence));
}

#[test]
fn a_revocation_of_the_node_key_alone_leaves_a_member_present() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.say(au(), Say::Revoke(false, true));
    assert!(silence(&history, ballot).acknowledged.contains_key(&au()));
}

#[test]
fn a_hold_outlives_the_key_that_placed_it() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.say(au(), Say::Hold(ballot));
    history.say(au(), Say::Revoke(true, false));
    history.until("2027-01-04T17:00:00Z");
    assert!(history.ballot(ballot).is_open() && hold(&history, ballot, au()).ended.is_none());
}

#[test]
fn a_no_vote_is_an_objection() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.vote_all(&[fr(), de(), au()], ballot, Choice::Yes);
    assert!(history.ballot(ballot).is_open(), "yes does not shorten silence");
    let events = history.vote(ca(), ballot, Choice::No).events;
    assert_eq!(state(&history, ballot), BallotState::Rejected(Rejection::Objection(ca())));
    assert_eq!(events.last(), Some(&Event::Rejected(ballot)));
    assert_eq!(history.state.next_deadline(), None);
}

#[test]
fn an_objection_ends_the_ballot_even_while_it_is_held() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    let digest = history.ballot(ballot).public_part;
    history.say(de(), Say::Hold(ballot));
    let events = history.say(de(), Say::Object(ballot)).events;
    assert_eq!(events, [Event::TextErased(digest), Event::Rejected(ballot)]);
    for say in [Say::Object(ballot), Say::Hold(ballot), Say::Acknowledge(ballot), Say::Lift(ballot)] {
        assert!(matches!(history.refuse_to(au(), say), Refusal::BallotClosed { .. }));
    }
    assert_eq!(history.state.next_deadline(), None);
}

#[test]
fn the_proposer_withdraws_what_is_silent() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    let withdrawal = history.federation.withdraw(fr(), ballot, 1);
    history.accept(&withdrawal);
    history.until("2027-12-07T17:00:00Z");
    assert_eq!((state(&history, ballot), history.state.entry_count()), (BallotState::Withdrawn, 0));
}

#[test]
fn only_silence_is_acknowledged_held_and_objected_to() {
    let mut history = super::four();
    let ballot = history.table(fr());
    for say in
        [Say::Acknowledge(ballot), Say::Hold(ballot), Say::Object(ballot), Say::Lift(ballot), Say::Extend(ballot, fr())]
    {
        assert_eq!(history.refuse_to(de(), say), Refusal::NoSilence(ballot));
    }
}

#[test]
fn a_minority_that_lies_about_time_ends_no_period_early() {
    let mut history = silent();
    let ballot = noticed(&mut history);
    history.until("2026-12-07T16:00:00Z");
    for liar in [de(), ca()] {
        let serial = history.serial();
        let submission = history.federation.attest(liar, at("2031-01-01T00:00:00Z"), serial);
        history.accept(&submission);
    }
    assert!(history.ballot(ballot).is_open(), "two of four are no majority");
    // Honest members say what has passed: nothing else does.
    history.until("2026-12-07T16:59:59Z");
    assert_eq!(history.state.list_time(), at("2026-12-07T16:59:59Z"));
    assert!(history.ballot(ballot).is_open());
}

#[test]
fn what_was_due_first_is_decided_first_however_far_time_leaps() {
    // CA's suspension is adopted by silence on the day before the listing that CA is needed for.
    let rules = |document: &mut crate::genesis::GenesisDocument| {
        let list = "no_objection(period=10,notice=5,presence=1/1)".parse().unwrap();
        let suspend = "no_objection(period=9,notice=5)".parse().unwrap();
        document.rules = Rules { list, suspend, ..Rules::uniform("quorum(2/3)".parse().unwrap()) };
    };
    let outcome = |leap: bool| {
        let mut history = History::new(Federation::with(4, rules));
        let ballot = noticed(&mut history);
        let suspension = history.motion(de(), Motion::Suspend { target: ca() });
        for member in [fr(), au()] {
            history.say(member, Say::Acknowledge(suspension));
        }
        if !leap {
            history.until("2026-11-30T17:00:00Z");
            history.until("2026-12-04T17:00:00Z");
        }
        history.until("2026-12-07T17:00:00Z");
        assert!(adopted(&history, ballot) && adopted(&history, suspension));
        history.ballot(ballot).electorate.clone()
    };
    assert_eq!(outcome(true), outcome(false));
}

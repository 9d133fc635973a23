//! Refusals by what was decided before. Each is followed by the check that nothing changed ([`History::refuse`]).

use std::sync::Arc;

use super::{au, ca, de, four, fr};
use crate::list::{BallotState, Choice, Command, EntryId, Refusal, Rejection};
use crate::member::MemberId;
use crate::testing::{Federation, History, command_id, proposal_id, public_text};
use crate::timestamp::Timestamp;

fn correct(
    history: &History,
    member: MemberId,
    ballot: crate::list::BallotId,
    replaces: u64,
    serial: u64,
) -> crate::list::Submission {
    let command = history.federation.vote_command(member, ballot, Choice::Yes, Some(command_id(replaces)), serial);
    history.federation.sign(&command, None)
}

fn later(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(time.as_micros() + seconds * 1_000_000).unwrap()
}

#[test]
fn a_member_votes_once() {
    let mut history = four();
    let ballot = history.table(fr());
    let first = history.federation.vote(de(), ballot, Choice::No, 1);
    history.accept(&first);
    for choice in [Choice::No, Choice::Yes, Choice::Abstain] {
        let again = history.federation.vote(de(), ballot, choice, 2);
        let expected = Refusal::AlreadyVoted { member: de(), choice: "no".into(), command: command_id(1) };
        assert_eq!(history.refuse(&again), expected);
    }
}

#[test]
fn a_correction_names_the_vote_that_stands() {
    let mut history = four();
    let ballot = history.table(fr());
    let submission = correct(&history, de(), ballot, 9, 1);
    assert_eq!(history.refuse(&submission), Refusal::NothingToReplace(command_id(9)));
    for (member, choice, serial) in [(fr(), Choice::Yes, 10), (de(), Choice::Abstain, 11)] {
        let submission = history.federation.vote(member, ballot, choice, serial);
        history.accept(&submission);
    }
    // Another member's vote is not one's own, however much it stands.
    let submission = correct(&history, de(), ballot, 10, 12);
    assert_eq!(history.refuse(&submission), Refusal::NothingToReplace(command_id(10)));
    let submission = correct(&history, de(), ballot, 11, 12);
    history.accept(&submission);
    assert_eq!(history.ballot(ballot).votes[&de()].choice, Choice::Yes);
    // The first vote stands no more: a second correction of it is evidence and does not count, and one of itself never began.
    let submission = correct(&history, de(), ballot, 11, 13);
    history.accept(&submission);
    assert_eq!(history.ballot(ballot).votes[&de()].command, command_id(12));
    let submission = correct(&history, de(), ballot, 14, 14);
    assert_eq!(history.refuse(&submission), Refusal::NothingToReplace(command_id(14)));
    // Nor does a vote on another ballot.
    let other = history.table(fr());
    let submission = correct(&history, de(), other, 12, 15);
    assert_eq!(history.refuse(&submission), Refusal::NothingToReplace(command_id(12)));
}

#[test]
fn a_closed_ballot_takes_nothing_more() {
    let mut history = four();
    let adopted = history.table(fr());
    history.vote_all(&[fr(), de(), ca()], adopted, Choice::Yes);
    let rejected = history.table(fr());
    history.vote_all(&[de(), ca()], rejected, Choice::No);
    let withdrawn = history.table(fr());
    let submission = history.federation.withdraw(fr(), withdrawn, 1);
    history.accept(&submission);
    for (ballot, state) in
        [(adopted, "adopted as CW-2026-0001"), (rejected, "rejected by the votes"), (withdrawn, "withdrawn")]
    {
        let expected = Refusal::BallotClosed { ballot, state: state.into() };
        let late = history.federation.vote(au(), ballot, Choice::No, 2);
        assert_eq!(history.refuse(&late), expected);
        let standing = history.ballot(ballot).votes.values().next().map(|v| v.command);
        let correction = history.federation.vote_command(de(), ballot, Choice::No, standing, 3);
        let correction = history.federation.sign(&correction, None);
        assert_eq!(history.refuse(&correction), expected);
        let withdrawal = history.federation.withdraw(fr(), ballot, 4);
        assert_eq!(history.refuse(&withdrawal), expected);
    }
}

#[test]
fn there_must_be_a_ballot() {
    let mut history = four();
    let (_, never_tabled) = history.federation.table(fr(), 1);
    let vote = history.federation.vote(de(), never_tabled, Choice::Yes, 2);
    assert_eq!(history.refuse(&vote), Refusal::NoSuchBallot(never_tabled));
    let withdrawal = history.federation.withdraw(fr(), never_tabled, 3);
    assert_eq!(history.refuse(&withdrawal), Refusal::NoSuchBallot(never_tabled));
}

#[test]
fn the_electorate_is_fixed_at_tabling() {
    let mut history = four();
    let ballot = history.table(fr());
    Arc::make_mut(&mut history.state.ballots.get_mut(&ballot).unwrap().electorate).remove(&au());
    let vote = history.federation.vote(au(), ballot, Choice::Yes, 1);
    assert_eq!(history.refuse(&vote), Refusal::NotInElectorate(au()));
}

#[test]
fn a_proposal_stands_before_the_members_once() {
    let mut history = four();
    let ballot = history.table(fr());
    let proposal = history.ballot(ballot).proposal().unwrap();
    let again = |history: &History, serial| {
        let text = public_text(serial);
        let command = history.federation.table_command(proposal, &text, serial);
        history.federation.sign(&command, Some(text))
    };
    let submission = again(&history, 1);
    assert_eq!(history.refuse(&submission), Refusal::AlreadyTabled(ballot));
    // Withdrawn or rejected it may come back; as another ballot, for it is another command.
    let withdrawal = history.federation.withdraw(fr(), ballot, 2);
    history.accept(&withdrawal);
    history.accept(&submission);
    let second = history.state.ballot_of(proposal).unwrap().id;
    history.vote_all(&[de(), ca()], second, Choice::No);
    assert!(history.state.ballot_of(proposal).is_none());
    let submission = again(&history, 3);
    history.accept(&submission);
    let third = history.state.ballot_of(proposal).unwrap().id;
    assert!(ballot != second && second != third);
    // Adopted it stays.
    history.vote_all(&[fr(), de(), ca()], third, Choice::Yes);
    let submission = again(&history, 4);
    assert_eq!(history.refuse(&submission), Refusal::AlreadyTabled(third));
}

#[test]
fn only_the_proposer_withdraws() {
    let mut history = four();
    let ballot = history.table(fr());
    let withdrawal = history.federation.withdraw(de(), ballot, 1);
    assert_eq!(history.refuse(&withdrawal), Refusal::NotTheProposer { ballot, proposer: fr() });
    assert_eq!(history.ballot(ballot).state, BallotState::Open);
}

#[test]
fn one_member_cannot_fill_the_table() {
    let mut history = four();
    let limit = 1_000;
    let first = history.table(fr());
    for _ in 1..limit {
        history.table(fr());
    }
    let (one_more, _) = history.federation.table(fr(), 1);
    assert_eq!(history.refuse(&one_more), Refusal::TooManyOpen { member: fr(), limit });
    let (others, _) = history.federation.table(de(), 2);
    history.accept(&others);
    history.vote_all(&[de(), ca()], first, Choice::No);
    history.accept(&one_more);
    assert_eq!(history.state.open_ballots().count(), limit + 1);
}

#[test]
fn an_id_is_spent_once_whoever_drew_it() {
    let mut history = four();
    let ballot = history.table(fr());
    let first = history.federation.vote(de(), ballot, Choice::Yes, 1);
    let leaf = history.accept(&first).leaf;
    let spent = Refusal::CommandIdSpent(command_id(1));
    // By the same member for something else, by another member, by another kind of command.
    let other = history.table(fr());
    let same_member = history.federation.vote(de(), other, Choice::Yes, 1);
    let other_member = history.federation.vote(ca(), ballot, Choice::Yes, 1);
    let (tabling, _) = history.federation.table(ca(), 1);
    let attesting = history.federation.attest(ca(), history.state.list_time(), 1);
    for submission in [same_member, other_member, tabling, attesting] {
        assert_eq!(history.refuse(&submission), spent);
    }
    // The same meaning in another envelope is another command.
    let command = history.federation.vote_command(de(), ballot, Choice::Yes, None, 1);
    let payload = format!("{} ", String::from_utf8(command.to_payload()).unwrap()).into_bytes();
    let key = &history.federation.keys(de()).decision;
    let envelope = crate::dsse::Envelope::sign(command.payload_type(), payload, key).to_bytes();
    assert_eq!(history.refuse(&crate::list::Submission { envelope, public_text: None }), spent);
    // The very same envelope answers what it did, even where it would be refused now.
    history.vote_all(&[fr(), ca()], ballot, Choice::Yes);
    let before = history.snapshot();
    let repeated = history.accept(&first);
    assert_eq!((repeated.leaf, repeated.repeated, repeated.events.as_slice()), (leaf, true, &[][..]));
    assert_eq!(history.snapshot(), before);
}

#[test]
fn a_refused_command_spends_nothing() {
    let mut history = four();
    let (tabling, ballot) = history.federation.table(fr(), 1);
    let early = history.federation.vote(de(), ballot, Choice::Yes, 2);
    assert_eq!(history.refuse(&early), Refusal::NoSuchBallot(ballot));
    history.accept(&tabling);
    history.accept(&early);
}

#[test]
fn time_is_attested_forwards_and_not_for_ever() {
    let mut history = four();
    let start = history.state.list_time();
    let first = history.federation.attest(fr(), later(start, 100), 1);
    history.accept(&first);
    for seconds in [159, 100, 40, -1_000_000] {
        let last = later(start, 100);
        let submission = history.federation.attest(fr(), later(start, seconds), 2);
        assert_eq!(history.refuse(&submission), Refusal::TooSoon { member: fr(), last, minimum_seconds: 60 });
    }
    let submission = history.federation.attest(fr(), later(start, 160), 2);
    history.accept(&submission);
}

#[test]
fn a_year_has_so_many_numbers() {
    let mut history = four();
    history.state.numbers.insert(2026, EntryId::MAX_NUMBER - 1);
    let last = history.list(fr());
    assert_eq!(last.to_string(), "CW-2026-9999999");
    let ballot = history.table(fr());
    history.vote_all(&[fr(), de()], ballot, Choice::Yes);
    history.vote(ca(), ballot, Choice::Yes);
    let spent = BallotState::Rejected(Rejection::Moot("ENTRY_NUMBERS_SPENT"));
    assert_eq!((&history.ballot(ballot).state, history.state.entry_count()), (&spent, 1));
    // The next year has its own.
    let new_year: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
    for (member, serial) in [(fr(), 2), (de(), 3), (ca(), 4)] {
        let submission = history.federation.attest(member, new_year, serial);
        history.accept(&submission);
    }
    assert_eq!(history.list(fr()).to_string(), "CW-2027-0001");
}

fn history_key() -> ed25519_dalek::VerifyingKey {
    crate::testing::MemberKeys::of(0).decision.verifying_key()
}

#[test]
fn every_refusal_has_a_reason_of_its_own() {
    // One of each, so that a machine can tell them apart and a new variant is not forgotten here.
    let hash = crate::canonical::Hex32([1; 32]);
    let (id, text) = (command_id(1), String::new);
    let entry = || -> EntryId { "CW-2026-0001".parse().unwrap() };
    let key = crate::dsse::KeyId::of(&history_key());
    let all = [
        Refusal::Envelope(text()),
        Refusal::UnknownType(text()),
        Refusal::Payload(text()),
        Refusal::OtherFederation { found: hash, expected: hash },
        Refusal::NotAMember(fr()),
        Refusal::Signature { member: fr(), problem: text() },
        Refusal::PublicPart(text()),
        Refusal::CommandIdSpent(id),
        Refusal::NotTheOriginator(fr()),
        Refusal::AlreadyTabled(hash),
        Refusal::TooManyOpen { member: fr(), limit: 1 },
        Refusal::NoSuchBallot(hash),
        Refusal::BallotClosed { ballot: hash, state: text() },
        Refusal::NotInElectorate(fr()),
        Refusal::AlreadyVoted { member: fr(), choice: text(), command: id },
        Refusal::NothingToReplace(id),
        Refusal::NotTheProposer { ballot: hash, proposer: fr() },
        Refusal::TooSoon { member: fr(), last: Timestamp::from_micros(0).unwrap(), minimum_seconds: 1 },
        Refusal::Field { field: text(), problem: text() },
        Refusal::Suspended(fr()),
        Refusal::Expelled(fr()),
        Refusal::KeyRevoked { member: fr(), which: "node" },
        Refusal::PersonalSignatures { member: fr(), needed: 2, found: 1 },
        Refusal::TextReused,
        Refusal::NoSuchEntry(entry()),
        Refusal::EntryOffTheList { entry: entry(), status: text() },
        Refusal::Standing { member: fr(), found: text(), expected: "active" },
        Refusal::KeyInUse { field: "key", key },
        Refusal::TrustDomainTaken("fr.example".parse().unwrap()),
        Refusal::Incarnation { found: 3, now: 1, next: 2 },
        Refusal::NoElectorate,
        Refusal::RulesVersion { version: 2, problem: text() },
        Refusal::NoSilence(hash),
        Refusal::Acknowledged(fr()),
        Refusal::NoticeOver(Timestamp::MAX),
        Refusal::HoldSpent(fr()),
        Refusal::NoHold(fr()),
        Refusal::Extension { by: fr(), problem: "once" },
        Refusal::MeasureIdUsed { member: fr(), id: "A".parse().unwrap() },
        Refusal::NoMeasure { member: fr(), id: "A".parse().unwrap() },
        Refusal::Bound { what: "measures", limit: 1 },
        Refusal::NoChange("it is so"),
        Refusal::TooFewPeople { member: fr() },
        Refusal::NoSuchPerson(fr()),
    ];
    let reasons: std::collections::BTreeSet<_> = all.iter().map(Refusal::reason).collect();
    assert_eq!(reasons.len(), all.len());
    for refusal in &all {
        let shape = |c: char| c.is_ascii_uppercase() || c == '_';
        assert!(refusal.reason().chars().all(shape), "{}", refusal.reason());
        assert!(!refusal.to_string().is_empty());
    }
}

#[test]
fn the_proposals_text_never_enters_the_log() {
    let mut history = History::new(Federation::new(1));
    let (submission, _) = history.federation.table(fr(), 1);
    history.accept(&submission);
    let ballot = history.state.ballot_of(proposal_id(fr(), 1)).unwrap().id;
    history.vote(fr(), ballot, Choice::Yes);
    for accepted in &history.accepted {
        let envelope = crate::dsse::Envelope::from_bytes(&accepted.envelope).unwrap();
        assert!(!String::from_utf8(envelope.payload).unwrap().contains("DOE"));
    }
    assert!(!String::from_utf8_lossy(history.state.publication(0).unwrap()).contains("DOE"));
    assert!(matches!(history.federation.table_command(proposal_id(fr(), 1), &public_text(1), 1), Command::Table(_)));
}

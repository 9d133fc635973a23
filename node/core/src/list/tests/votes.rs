//! Unanimity, abstention, equivocation, electorates that shrink, and texts of what failed.

use super::{au, ca, de, four, fr};
use crate::list::{BallotState, Choice, CommandId, Event, Motion, Refusal, Rejection};
use crate::testing::{Federation, History};

fn correct(history: &mut History, ballot: crate::list::BallotId, choice: Choice, replaces: CommandId) -> CommandId {
    let serial = history.serial();
    let command = history.federation.vote_command(de(), ballot, choice, Some(replaces), serial);
    let submission = history.federation.sign(&command, None);
    history.accept(&submission).command
}

#[test]
fn unanimity_is_everybodys_yes() {
    for last in [Choice::Yes, Choice::No, Choice::Abstain] {
        let mut history = History::new(Federation::ruled(4, "unanimity"));
        let ballot = history.table(fr());
        history.vote_all(&[fr(), de(), ca()], ballot, Choice::Yes);
        assert!(history.ballot(ballot).is_open());
        history.vote(au(), ballot, last);
        let expected = match last {
            Choice::Yes => BallotState::Adopted(Some("CW-2026-0001".parse().unwrap())),
            _ => BallotState::Rejected(Rejection::Votes),
        };
        assert_eq!(history.ballot(ballot).state, expected);
    }
}

#[test]
fn the_text_of_what_fails_is_erased() {
    let mut history = four();
    let rejected = history.table(fr());
    let digest = history.ballot(rejected).public_part;
    history.vote(de(), rejected, Choice::No);
    let events = history.vote(ca(), rejected, Choice::No).events;
    assert_eq!(events, [Event::Voted(rejected, ca()), Event::TextErased(digest), Event::Rejected(rejected)]);
    let withdrawn = history.table(fr());
    let digest = history.ballot(withdrawn).public_part;
    let withdrawal = history.federation.withdraw(fr(), withdrawn, 1);
    assert_eq!(history.accept(&withdrawal).events, [Event::TextErased(digest), Event::Withdrawn(withdrawn)]);
    // Of what is adopted nothing is erased.
    let adopted = history.table(fr());
    let events = history.say_yes(adopted).events;
    assert!(!events.iter().any(|event| matches!(event, Event::TextErased(_))));
}

#[test]
fn a_text_is_tabled_once_so_that_erasing_it_erases_nothing_else() {
    let mut history = four();
    let text = crate::testing::public_text(1);
    let table = |history: &History, proposal, serial| {
        let command = history.federation.table_command(crate::testing::proposal_id(fr(), proposal), &text, serial);
        history.federation.sign(&command, Some(text.clone()))
    };
    let first = table(&history, 1, 1);
    history.accept(&first);
    let again = table(&history, 2, 2);
    assert_eq!(history.refuse(&again), Refusal::TextReused);
    let ballot = history.state.ballots().next().unwrap().id;
    let withdrawal = history.federation.withdraw(fr(), ballot, 3);
    history.accept(&withdrawal);
    assert_eq!(history.refuse(&again), Refusal::TextReused);
}

#[test]
fn equivocation_is_kept_and_shown_and_the_first_stands() {
    let mut history = four();
    let ballot = history.table(fr());
    let original = history.vote(de(), ballot, Choice::Yes).command;
    let first = correct(&mut history, ballot, Choice::No, original);
    let serial = history.serial();
    let command = history.federation.vote_command(de(), ballot, Choice::Abstain, Some(original), serial);
    let submission = history.federation.sign(&command, None);
    let accepted = history.accept(&submission);
    assert_eq!(accepted.events, [Event::Equivocated(ballot, de())]);
    let shown = history.ballot(ballot);
    assert_eq!((shown.votes[&de()].command, shown.votes[&de()].choice), (first, Choice::No));
    let [equivocation] = shown.equivocations.as_slice() else { panic!("{:?}", shown.equivocations) };
    assert_eq!((equivocation.member, equivocation.replaced, equivocation.first), (de(), original, first));
    assert_eq!(equivocation.second, (accepted.command, accepted.leaf, Choice::Abstain));
    // It replaces nothing, so nothing replaces it; the vote that stands can still be corrected.
    let serial = history.serial();
    let command = history.federation.vote_command(de(), ballot, Choice::Yes, Some(accepted.command), serial);
    let submission = history.federation.sign(&command, None);
    assert_eq!(history.refuse(&submission), Refusal::NothingToReplace(accepted.command));
    correct(&mut history, ballot, Choice::Yes, first);
    assert_eq!(history.ballot(ballot).votes[&de()].choice, Choice::Yes);
}

#[test]
fn corrections_and_equivocations_have_an_end() {
    let mut history = four();
    let ballot = history.table(fr());
    let original = history.vote(de(), ballot, Choice::Abstain).command;
    let mut standing = original;
    for _ in 0..100 {
        standing = correct(&mut history, ballot, Choice::Abstain, standing);
        correct(&mut history, ballot, Choice::Yes, original);
    }
    for replaces in [standing, original] {
        let serial = history.serial();
        let command = history.federation.vote_command(de(), ballot, Choice::Yes, Some(replaces), serial);
        let submission = history.federation.sign(&command, None);
        assert!(matches!(history.refuse(&submission), Refusal::Bound { limit: 100, .. }));
    }
    assert_eq!(history.ballot(ballot).count(Choice::Yes), 0);
}

#[test]
fn an_electorate_that_shrinks_may_have_decided() {
    // Three of four must say yes; two have when AU is expelled, and two of three are enough.
    let mut history = four();
    let ballot = history.table(fr());
    history.vote_all(&[fr(), de()], ballot, Choice::Yes);
    let events = history.decide(fr(), Motion::Expel { target: au() }).events;
    assert!(matches!(history.ballot(ballot).state, BallotState::Adopted(Some(_))));
    assert!(events.iter().any(|event| matches!(event, Event::Listed(b, _) if *b == ballot)));
    // The other way round: its yes counts no more.
    let mut history = four();
    let ballot = history.table(fr());
    history.vote_all(&[au(), fr()], ballot, Choice::Yes);
    history.vote(ca(), ballot, Choice::No);
    history.decide(fr(), Motion::Suspend { target: au() });
    assert!(history.ballot(ballot).is_open() && history.ballot(ballot).count(Choice::Yes) == 1);
    history.vote(de(), ballot, Choice::Yes);
    assert!(matches!(history.ballot(ballot).state, BallotState::Adopted(Some(_))));
}

#[test]
fn nobody_decides_nothing() {
    // Each is to decide alone about the other: whoever goes first leaves a ballot without electorate.
    let mut history = History::new(Federation::ruled(2, "unanimity"));
    let of_de = history.motion(fr(), Motion::Suspend { target: de() });
    let of_fr = history.motion(de(), Motion::Suspend { target: fr() });
    history.vote(fr(), of_de, Choice::Yes);
    assert_eq!(history.ballot(of_fr).state, BallotState::Rejected(Rejection::Votes));
    assert!(history.ballot(of_fr).electorate.is_empty());
    assert_eq!(history.refuse_motion(fr(), Motion::Suspend { target: fr() }), Refusal::NoElectorate);
}

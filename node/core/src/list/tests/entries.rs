//! What becomes of entries: amendments, delistings with their reverse silence, merges, measures, reviews, erasure.

use std::collections::BTreeSet;

use super::{au, ca, de, four, fr};
use crate::canonical::Hex32;
use crate::list::{
    Accepted, BallotId, BallotState, Choice, Entry, EntryId, EntryStatus, Event, Ground, Motion, Procedure, Refusal,
    Rejection,
};
use crate::member::MemberId;
use crate::testing::{History, Say, measure, proposal_id};
use crate::timestamp::Timestamp;

fn entry<'a>(history: &'a History, id: &EntryId) -> &'a Entry {
    history.state.entry(id).unwrap()
}

fn delist(entry: &EntryId, ground: Ground) -> Motion {
    Motion::Delist { entry: entry.clone(), ground }
}

fn merge(entry: &EntryId, into: &EntryId) -> Motion {
    Motion::Merge { entry: entry.clone(), into: into.clone() }
}

fn amend(entry: &EntryId, by: MemberId, serial: u64) -> Motion {
    Motion::Amend { entry: entry.clone(), proposal: proposal_id(by, serial) }
}

fn erased(accepted: &Accepted) -> Vec<Hex32> {
    let digests = accepted.events.iter().filter_map(|event| match event {
        Event::TextErased(digest) => Some(*digest),
        _ => None,
    });
    digests.collect()
}

fn attach(history: &mut History, member: MemberId, entry: &EntryId, id: &str) {
    history.say(member, Say::Attach(entry.clone(), measure(id)));
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn state(history: &History, ballot: BallotId) -> &BallotState {
    &history.ballot(ballot).state
}

fn is_reverse(history: &History, ballot: BallotId) -> bool {
    matches!(history.ballot(ballot).procedure, Procedure::ReverseSilence { days: 60, .. })
}

#[test]
fn the_proposers_delisting_is_adopted_after_sixty_days() {
    let mut history = four();
    let id = history.list(fr());
    attach(&mut history, de(), &id, "A");
    let ballot = history.motion(fr(), delist(&id, Ground::Death));
    assert!(is_reverse(&history, ballot));
    assert_eq!(history.ballot(ballot).due(), Some(at("2027-01-22T09:00:00Z")));
    // Neither some who would keep it nor all who would not change that.
    history.vote_all(&[de(), ca()], ballot, Choice::No);
    history.vote(au(), ballot, Choice::Abstain);
    history.until("2027-01-22T08:59:59Z");
    assert!(entry(&history, &id).is_listed());
    history.until("2027-01-22T09:01:00Z");
    let expected = EntryStatus::Delisted { ground: Ground::Death, at: at("2027-01-22T09:01:00Z") };
    assert_eq!(entry(&history, &id).status, expected);
    assert_eq!(entry(&history, &id).history.len(), 3, "listing, measure, tombstone");
}

#[test]
fn all_others_keep_an_entry() {
    let mut history = four();
    let id = history.list(fr());
    let ballot = history.motion(fr(), delist(&id, Ground::Other));
    // The proposer's own vote does not count, whatever it is.
    history.vote(fr(), ballot, Choice::Yes);
    history.vote_all(&[de(), ca()], ballot, Choice::No);
    assert!(history.ballot(ballot).is_open());
    history.vote(au(), ballot, Choice::No);
    assert_eq!(state(&history, ballot), &BallotState::Rejected(Rejection::Kept));
    history.until("2027-03-01T00:00:00Z");
    assert!(entry(&history, &id).is_listed());
}

#[test]
fn an_entry_whose_measures_have_all_ended_is_delisted_by_anybody_in_reverse_silence() {
    let mut history = four();
    let id = history.list(fr());
    let without = history.motion(de(), delist(&id, Ground::Other));
    assert!(!is_reverse(&history, without), "an entry that never had a measure is not one whose measures have ended");
    let withdrawal = history.federation.withdraw(de(), without, 1);
    history.accept(&withdrawal);
    attach(&mut history, ca(), &id, "A");
    history.say(ca(), Say::End(id.clone(), "A".into()));
    let by_itself = history.motion(ca(), delist(&id, Ground::Other));
    assert!(!is_reverse(&history, by_itself), "nobody makes an entry ripe with a measure of its own");
    let withdrawal = history.federation.withdraw(ca(), by_itself, 3);
    history.accept(&withdrawal);
    attach(&mut history, au(), &id, "A");
    let one_left = history.motion(de(), delist(&id, Ground::Other));
    assert!(!is_reverse(&history, one_left));
    let withdrawal = history.federation.withdraw(de(), one_left, 2);
    history.accept(&withdrawal);
    history.say(au(), Say::End(id.clone(), "A".into()));
    assert!(entry(&history, &id).all_measures_ended(de()));
    let ballot = history.motion(de(), delist(&id, Ground::CriteriaNoLongerMet));
    assert!(is_reverse(&history, ballot));
    history.until("2027-01-23T00:00:00Z");
    assert!(!entry(&history, &id).is_listed());
}

#[test]
fn a_measure_that_is_attached_meanwhile_keeps_an_entry_from_reverse_silence() {
    for merged in [false, true] {
        let mut history = four();
        let id = history.list(fr());
        attach(&mut history, ca(), &id, "A");
        history.say(ca(), Say::End(id.clone(), "A".into()));
        let ballot = history.motion(de(), delist(&id, Ground::Other));
        assert!(is_reverse(&history, ballot));
        if merged {
            let other = history.list(fr());
            attach(&mut history, au(), &other, "B");
            history.decide(fr(), merge(&other, &id));
        } else {
            attach(&mut history, au(), &id, "B");
        }
        history.until("2027-01-23T00:00:00Z");
        assert_eq!(state(&history, ballot), &BallotState::Rejected(Rejection::Moot("MEASURE_IN_FORCE")));
        assert!(entry(&history, &id).is_listed());
    }
}

#[test]
fn other_delistings_are_ballots() {
    let mut history = four();
    let id = history.list(fr());
    attach(&mut history, ca(), &id, "A");
    let ballot = history.motion(de(), delist(&id, Ground::MistakenIdentity));
    assert_eq!(history.ballot(ballot).needed(), Some(3));
    history.say_yes(ballot);
    assert!(matches!(entry(&history, &id).status, EntryStatus::Delisted { ground: Ground::MistakenIdentity, .. }));
}

#[test]
fn a_tombstone_changes_no_more_and_its_number_is_never_used_again() {
    let mut history = four();
    let first = history.list(fr());
    attach(&mut history, ca(), &first, "A");
    history.decide(de(), delist(&first, Ground::Death));
    assert_eq!(history.list(fr()).to_string(), "CW-2026-0002");
    let second: EntryId = "CW-2026-0002".parse().unwrap();
    for motion in
        [delist(&first, Ground::Other), merge(&first, &second), merge(&second, &first), amend(&first, de(), 50)]
    {
        let refusal = history.refuse_motion(de(), motion);
        assert!(matches!(refusal, Refusal::EntryOffTheList { entry, .. } if entry == first));
    }
    for say in [Say::Attach(first.clone(), measure("B")), Say::Review(first.clone())] {
        assert!(matches!(history.refuse_to(ca(), say), Refusal::EntryOffTheList { .. }));
    }
    // What a state does about its own measure is its fact still.
    history.say(ca(), Say::End(first.clone(), "A".into()));
    let missing: EntryId = "CW-2026-0003".parse().unwrap();
    assert_eq!(history.refuse_motion(de(), delist(&missing, Ground::Death)), Refusal::NoSuchEntry(missing.clone()));
    assert_eq!(history.refuse_to(de(), Say::Review(missing.clone())), Refusal::NoSuchEntry(missing));
}

#[test]
fn annulment_erases_every_text_of_the_subject_and_nothing_else_does() {
    for (ground, annuls) in [
        (Ground::CourtAnnulment, true),
        (Ground::MistakenIdentity, true),
        (Ground::Death, false),
        (Ground::CriteriaNoLongerMet, false),
        (Ground::Other, false),
    ] {
        let mut history = four();
        let id = history.list(fr());
        let first = entry(&history, &id).public_part;
        history.decide(de(), amend(&id, de(), 50));
        let second = entry(&history, &id).public_part;
        assert_ne!(first, second);
        let accepted = history.decide(ca(), delist(&id, ground));
        assert_eq!(ground.annuls(), annuls);
        let expected = if annuls { BTreeSet::from([first, second]) } else { BTreeSet::new() };
        assert_eq!(BTreeSet::from_iter(erased(&accepted)), expected, "{ground}");
    }
}

#[test]
fn annulment_reaches_the_texts_of_what_was_merged() {
    let mut history = four();
    let ids: Vec<EntryId> = (0..4).map(|_| history.list(fr())).collect();
    let texts: Vec<Hex32> = ids.iter().map(|id| entry(&history, id).public_part).collect();
    let merges = [(0, 1), (1, 2)].map(|(gone, into)| {
        let ballot = history.motion(fr(), merge(&ids[gone], &ids[into]));
        history.say_yes(ballot);
        history.ballot(ballot).public_part
    });
    let accepted = history.decide(de(), delist(&ids[2], Ground::CourtAnnulment));
    let mut found = erased(&accepted);
    found.sort();
    let mut expected = [&texts[..3], &merges].concat();
    expected.sort();
    assert_eq!(found, expected, "they all said something of the same subject; the fourth entry is another's");
}

#[test]
fn an_amendment_puts_another_text_and_review_in_place() {
    let mut history = four();
    let id = history.list(fr());
    assert_eq!(entry(&history, &id).review_due, at("2027-11-23T09:00:00Z"));
    history.until("2027-01-10T00:00:00Z");
    let ballot = history.motion(de(), amend(&id, de(), 50));
    let digest = history.ballot(ballot).public_part;
    history.say_yes(ballot);
    let amended = entry(&history, &id);
    assert_eq!((amended.public_part, amended.review_due), (digest, at("2028-01-10T00:00:00Z")));
    assert_eq!((amended.proposer, amended.proposal), (fr(), history.ballot(amended.ballot).proposal().unwrap()));
    // The proposal is spent, for whatever motion.
    let spent = Refusal::AlreadyTabled(ballot);
    assert_eq!(history.refuse_motion(de(), amend(&id, de(), 50)), spent);
    assert_eq!(history.refuse_motion(de(), Motion::List { proposal: proposal_id(de(), 50) }), spent);
    let anothers = history.refuse_motion(ca(), amend(&id, de(), 51));
    assert_eq!(anothers, Refusal::NotTheOriginator(de()));
}

#[test]
fn one_proposal_is_adopted_once_whatever_is_open() {
    let mut history = four();
    let id = history.list(fr());
    let listing = history.motion(de(), Motion::List { proposal: proposal_id(de(), 50) });
    let amendment = history.motion(de(), amend(&id, de(), 50));
    history.say_yes(amendment);
    history.say_yes(listing);
    assert_eq!(state(&history, listing), &BallotState::Rejected(Rejection::Moot("ALREADY_TABLED")));
    assert_eq!(history.state.entry_count(), 1);
}

#[test]
fn one_matter_of_an_entry_is_open_at_a_time() {
    let mut history = four();
    let id = history.list(fr());
    let ballot = history.motion(de(), delist(&id, Ground::Death));
    assert_eq!(history.refuse_motion(ca(), amend(&id, ca(), 50)), Refusal::AlreadyTabled(ballot));
    assert_eq!(history.refuse_motion(fr(), delist(&id, Ground::Other)), Refusal::AlreadyTabled(ballot));
}

#[test]
fn a_merge_leaves_a_redirect_and_moves_the_measures() {
    let mut history = four();
    let (gone, stays) = (history.list(fr()), history.list(de()));
    attach(&mut history, ca(), &gone, "A");
    attach(&mut history, au(), &gone, "A");
    attach(&mut history, de(), &stays, "A");
    history.say(au(), Say::End(gone.clone(), "A".into()));
    history.decide(fr(), merge(&gone, &stays));
    assert!(matches!(&entry(&history, &gone).status, EntryStatus::Merged { into, .. } if *into == stays));
    assert!(entry(&history, &gone).measures.is_empty());
    let moved: Vec<_> = entry(&history, &stays).measures.iter().map(|m| (m.member, m.ended.is_some())).collect();
    assert_eq!(moved, [(de(), false), (ca(), false), (au(), true)]);
    assert_eq!(entry(&history, &gone).history.last(), entry(&history, &stays).history.last());
    // A measure is ended where it stands now, and its name stays used.
    let there = history.refuse_to(ca(), Say::End(gone.clone(), "A".into()));
    assert!(matches!(there, Refusal::EntryOffTheList { .. }), "{there}");
    let used = history.refuse_to(ca(), Say::Attach(stays.clone(), measure("A")));
    assert_eq!(used, Refusal::MeasureIdUsed { member: ca(), id: "A".parse().unwrap() });
    history.say(ca(), Say::End(stays.clone(), "A".into()));
    for motion in [merge(&gone, &stays), merge(&stays, &gone)] {
        assert!(matches!(history.refuse_motion(fr(), motion), Refusal::EntryOffTheList { .. }));
    }
    let itself = history.refuse_motion(fr(), merge(&stays, &stays));
    assert!(matches!(itself, Refusal::Field { field, .. } if field == "motion.merge.into"));
}

#[test]
fn two_entries_cannot_be_merged_into_each_other() {
    let mut history = four();
    let (one, two) = (history.list(fr()), history.list(de()));
    let there = history.motion(fr(), merge(&one, &two));
    let back = history.motion(de(), merge(&two, &one));
    history.say_yes(there);
    history.say_yes(back);
    assert_eq!(state(&history, back), &BallotState::Rejected(Rejection::Moot("ENTRY_OFF_THE_LIST")));
    assert!(entry(&history, &two).is_listed());
}

#[test]
fn measures_are_each_members_own() {
    let mut history = four();
    let id = history.list(fr());
    attach(&mut history, ca(), &id, "CA/1");
    attach(&mut history, au(), &id, "CA/1");
    let used = Refusal::MeasureIdUsed { member: ca(), id: "CA/1".parse().unwrap() };
    let other = history.list(de());
    for target in [&id, &other] {
        assert_eq!(history.refuse_to(ca(), Say::Attach(target.clone(), measure("CA/1"))), used);
    }
    let no_measure = |member| Refusal::NoMeasure { member, id: "CA/1".parse().unwrap() };
    assert_eq!(history.refuse_to(de(), Say::End(id.clone(), "CA/1".into())), no_measure(de()));
    assert_eq!(history.refuse_to(ca(), Say::End(other.clone(), "CA/1".into())), no_measure(ca()));
    history.say(ca(), Say::End(id.clone(), "CA/1".into()));
    assert_eq!(history.refuse_to(ca(), Say::End(id.clone(), "CA/1".into())), no_measure(ca()));
    assert_eq!(
        history.refuse_to(ca(), Say::Attach(id.clone(), measure("CA/1"))),
        used,
        "nor is an ended one's name free"
    );
    assert_eq!(entry(&history, &id).in_force().count(), 1);
    assert_eq!(history.state.public_log().size(), 5);
}

#[test]
fn an_entry_has_so_many_measures() {
    let mut history = four();
    let id = history.list(fr());
    let entry = history.state.entries.get_mut(&id).unwrap();
    let attached =
        crate::list::AttachedMeasure { member: ca(), measure: measure("X"), attached_at: entry.listed_at, ended: None };
    entry.measures = vec![attached; Entry::MAX_MEASURES];
    let refusal = history.refuse_to(ca(), Say::Attach(id, measure("A")));
    assert_eq!(refusal, Refusal::Bound { what: "measures on one entry", limit: Entry::MAX_MEASURES });
}

#[test]
fn a_review_is_due_twelve_months_after_the_last() {
    let mut history = four();
    let id = history.list(fr());
    history.until("2027-08-31T10:00:00Z");
    let accepted = history.say(au(), Say::Review(id.clone()));
    assert_eq!(entry(&history, &id).review_due, at("2028-08-31T10:00:00Z"));
    assert_eq!(accepted.events, [Event::Published(1)]);
}

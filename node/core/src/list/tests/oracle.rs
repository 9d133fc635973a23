//! The state machine against [`World`], a second and naive reading of the same rules, after every attempt of members who
//! lie, repeat, reorder and go silent.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::attempts::{Attempt, Author, NEWCOMERS, RULES, attempts};
use super::world::{End, World};
use crate::canonical::Hex32;
use crate::export::{ListExport, UnprovenExport};
use crate::genesis::Genesis;
use crate::list::{
    Authority, BallotState, Choice, Command, EntryStatus, Event, Publication, PublishedEvent, PublishedProcedure,
    Refusal, Rejection,
};
use crate::member::MemberId;
use crate::rule::{BallotKind, Rule, Rules};
use crate::testing::{Depth, Federation, History, MemberKeys, Snapshot, member};
use crate::timestamp::Timestamp;

fn end(state: &BallotState) -> Option<End> {
    match state {
        BallotState::Open => None,
        BallotState::Adopted(_) => Some(End::Adopted),
        BallotState::Rejected(Rejection::Votes) => Some(End::Votes),
        BallotState::Rejected(Rejection::Objection(_)) => Some(End::Objection),
        BallotState::Rejected(Rejection::Absence) => Some(End::Absence),
        BallotState::Rejected(Rejection::Kept) => Some(End::Kept),
        BallotState::Rejected(Rejection::Moot(_)) => Some(End::Moot),
        BallotState::Withdrawn => Some(End::Withdrawn),
    }
}

fn check_ballots(world: &World, history: &History) -> Result<(), TestCaseError> {
    let state = &history.state;
    prop_assert_eq!(state.ballots().count(), world.ballots.len());
    let mut deadlines = BTreeSet::new();
    let mut open_of: BTreeMap<MemberId, usize> = BTreeMap::new();
    for (found, expected) in state.ballots().zip(&world.ballots) {
        prop_assert_eq!((found.id, end(&found.state)), (expected.id, expected.end));
        prop_assert_eq!(&*found.electorate, &expected.electorate);
        let votes: Vec<_> = found.votes.iter().map(|(m, v)| (*m, v.command, v.choice)).collect();
        let standing: Vec<_> = expected.standing().iter().map(|v| (v.member, v.command_id, v.choice)).collect();
        prop_assert_eq!((votes, found.equivocations.len()), (standing, expected.equivocations));
        prop_assert_eq!(found.due(), expected.due(), "{:?} and {:?}", found, expected);
        if let Some(silence) = found.silence() {
            let present: BTreeSet<MemberId> = silence.acknowledged.keys().copied().collect();
            prop_assert_eq!(&present, &expected.present);
            for hold in &expected.holds {
                let found = &silence.holds[&hold.member];
                prop_assert_eq!((found.until, found.extended), (hold.until, hold.extended));
                prop_assert_eq!(found.ended.is_some(), hold.ended);
            }
        }
        if found.is_open() {
            deadlines.extend(found.due().map(|at| (at, found.number, found.id)));
            *open_of.entry(found.proposer).or_default() += 1;
        }
    }
    // What the state keeps to be fast is what it could find out slowly.
    let snapshot = history.snapshot();
    prop_assert_eq!(&snapshot.deadlines, &deadlines);
    prop_assert!(deadlines.first().is_none_or(|(at, _, _)| *at > state.list_time()), "nothing that is due is left");
    prop_assert_eq!(&snapshot.open_of, &open_of);
    prop_assert_eq!(state.matters.len(), snapshot.open.len());
    Ok(())
}

fn check_entries(world: &World, history: &History) -> Result<(), TestCaseError> {
    let mut found: Vec<_> = history.state.entries_after(None).collect();
    found.sort_by_key(|entry| entry.public_leaf);
    prop_assert_eq!(found.len(), world.entries.len());
    for (found, expected) in found.into_iter().zip(&world.entries) {
        prop_assert_eq!((&found.id, found.ballot, found.proposer), (&expected.id, expected.ballot, expected.proposer));
        prop_assert_eq!((found.public_part, found.review_due), (expected.text, expected.review_due));
        let into = match &found.status {
            EntryStatus::Merged { into, .. } => Some(into.clone()),
            _ => None,
        };
        prop_assert_eq!((!found.is_listed(), into), (expected.gone, expected.into.clone()));
        let measures: Vec<_> =
            found.measures.iter().map(|m| (m.member, m.measure.id.to_string(), m.ended.is_some())).collect();
        prop_assert_eq!(&measures, &expected.measures);
    }
    Ok(())
}

fn check_agreement(world: &World, history: &History, erased: &[Hex32]) -> Result<(), TestCaseError> {
    let state = &history.state;
    prop_assert_eq!(state.list_time(), world.now);
    let found: Vec<_> = state.roster().iter().map(|standing| (standing.row.member, standing.status)).collect();
    let expected: Vec<_> = world.roster.iter().map(|person| (person.member, person.status)).collect();
    prop_assert_eq!(found, expected);
    prop_assert_eq!(state.roster().voters().keys().copied().collect::<Vec<_>>(), world.voters());
    prop_assert_eq!(state.roster().voters_at(state.commands().size()), state.roster().voters());
    prop_assert_eq!(state.public_log().size(), world.publications as u64);
    let (mut found, mut expected) = (erased.to_vec(), world.erased.clone());
    found.sort();
    expected.sort();
    prop_assert_eq!(found, expected);
    check_ballots(world, history)?;
    check_entries(world, history)
}

/// What is published of a decision shows the consents, or the lawful silence, that its rule asks.
fn check_consents(history: &History) -> Result<(), TestCaseError> {
    for leaf in 0..history.state.public_log().size() {
        let bytes = history.state.publication(leaf).unwrap();
        let publication = Publication::from_bytes(bytes).unwrap();
        prop_assert_eq!(publication.to_bytes(), bytes);
        let Authority::Ballot(decided) = publication.by else { continue };
        let all = decided.electorate.len();
        let yes = decided.consents.len();
        match decided.procedure {
            PublishedProcedure::Rule(Rule::Unanimity) => prop_assert!(yes == all && all > 0),
            PublishedProcedure::Rule(Rule::Quorum(f)) => {
                prop_assert!(yes > 0 && yes * f.denominator as usize >= all * f.numerator as usize);
            }
            PublishedProcedure::Rule(Rule::NoObjection(s)) => {
                let present = decided.silent.len();
                prop_assert!(present > 0 && present + decided.absent.len() == all);
                prop_assert!(present * s.presence.denominator as usize >= all * s.presence.numerator as usize);
                let ballot = history.ballot(decided.ballot);
                let silence = ballot.silence().unwrap();
                prop_assert!(silence.notice_over && silence.standing_holds().next().is_none());
                prop_assert!(ballot.count(Choice::No) == 0);
            }
            PublishedProcedure::ReverseSilence { .. } => {
                let is_delisting = matches!(publication.event, PublishedEvent::Delisted { .. });
                prop_assert!(is_delisting);
            }
        }
    }
    Ok(())
}

fn check_exports(world: &World, history: &History) -> Result<(), TestCaseError> {
    let cosigners = world.cosigners();
    let agreed = cosigners.len() >= Genesis::cosigners_needed(world.voters().len());
    for depth in [Depth::Public, Depth::Members] {
        if cosigners.is_empty() {
            continue;
        }
        let export = history.export(depth, &cosigners);
        match ListExport::verify(&export.to_bytes(), &history.federation.genesis) {
            Ok(verified) => {
                prop_assert!(agreed);
                prop_assert_eq!(verified.list.entries().len(), world.entries.len());
                for expected in &world.entries {
                    let found = verified.list.get(&expected.id).unwrap();
                    let measures: Vec<_> = found
                        .measures
                        .iter()
                        .map(|(m, measure, e)| (*m, measure.id.to_string(), e.is_some()))
                        .collect();
                    prop_assert_eq!(&measures, &expected.measures);
                }
            }
            Err(UnprovenExport::NotAgreed { .. }) => prop_assert!(!agreed),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
    Ok(())
}

/// A federation of so many, each kind of ballot under its own rule, the newcomers' keys at hand.
fn federation(count: usize, rules: &[usize]) -> Federation {
    let mut federation = Federation::with(count, |document| {
        let mut all = Rules { reverse_silence_days: 20, ..Rules::uniform(Rule::Unanimity) };
        for (kind, rule) in BallotKind::ALL.into_iter().zip(rules) {
            all.set(kind, RULES[*rule].parse().unwrap());
        }
        document.rules = all;
    });
    federation.keys.extend(NEWCOMERS.iter().map(|(code, n)| (member(code), MemberKeys::of(*n))));
    federation
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_list_is_what_the_members_said(
        count in 1..=7_usize,
        rules in prop::collection::vec(0..RULES.len(), BallotKind::ALL.len()),
        acts in attempts(),
    ) {
        let federation = federation(count, &rules);
        let mut history = History::new(federation.clone());
        let mut author = Author { federation: &federation, made: Vec::new(), ballots: Vec::new() };
        let mut accepted: Vec<Attempt> = Vec::new();
        let mut commands: Vec<Command> = Vec::new();
        let mut erased: Vec<Hex32> = Vec::new();
        let mut world = World::told(&federation.genesis, &commands);
        for (act, fault) in &acts {
            let made = author.make(act, *fault, world.now, |member, ballot| {
                let standing = world.ballot(ballot).map(|b| b.standing()).unwrap_or_default();
                standing.into_iter().find(|v| v.member == member).map(|v| v.command_id)
            });
            for attempt in made {
                let before = history.snapshot();
                let checked = crate::list::check_submission(federation.genesis.federation(), &attempt.submission);
                let would_count = checked.is_ok_and(|checked| history.state.would_count(&checked));
                let result = history.apply(&attempt.submission);
                // What it says beforehand is what applying it then does.
                let counted = attempt.command.ballot().is_some() && result.as_ref().is_ok_and(|done| {
                    !done.repeated && !done.events.iter().any(|event| matches!(event, Event::Equivocated(..)))
                });
                prop_assert_eq!(would_count, counted, "{:?}: {:?}", attempt, result);
                let repeats = accepted.iter().any(|a| a.submission.envelope == attempt.submission.envelope);
                // A text that is wrong is refused even beside an envelope that was accepted before: an accepted one had
                // the right text, and the same attempt has it again.
                let expected = repeats || !attempt.fault.is_plain() && world.accepts(&attempt.command);
                prop_assert_eq!(result.is_ok(), expected, "{:?}: {:?}", attempt, result);
                match result {
                    Ok(done) if done.repeated => {
                        prop_assert!(repeats);
                        prop_assert_eq!(history.snapshot(), before);
                    }
                    Ok(done) => {
                        prop_assert!(!repeats);
                        erased.extend(done.events.iter().filter_map(|event| match event {
                            Event::TextErased(digest) => Some(*digest),
                            _ => None,
                        }));
                        commands.push(attempt.command.clone());
                        accepted.push(attempt);
                        world = World::told(&federation.genesis, &commands);
                        check_agreement(&world, &history, &erased)?;
                    }
                    Err(_) => prop_assert_eq!(history.snapshot(), before),
                }
            }
        }
        check_consents(&history)?;
        check_exports(&world, &history)?;
        // Another node, and the same node once more.
        let mut replayed = history.replayed();
        prop_assert_eq!(Snapshot::from(&replayed), history.snapshot());
        for submission in &history.accepted {
            prop_assert!(replayed.apply(submission).unwrap().repeated);
        }
        prop_assert_eq!(Snapshot::from(&replayed), history.snapshot());
    }

    #[test]
    fn a_minority_does_not_move_list_time(
        count in 3..=7_usize,
        liars in any::<prop::sample::Index>(),
        honest in prop::collection::vec((any::<prop::sample::Index>(), 1..10_000_i64), 0..20),
        lies in prop::collection::vec((any::<prop::sample::Index>(), -100_000_000_000..100_000_000_000_i64, 0..20_usize), 0..20),
    ) {
        let federation = Federation::new(count);
        let voters = federation.voters();
        // A minority: at least as many are honest.
        let liars = liars.index((count - 1) / 2) + 1;
        let (lying, truthful) = voters.split_at(liars);
        let start = federation.genesis.document().created;
        let mut history = History::new(federation.clone());
        let (mut now, mut latest) = (start, start);
        for (step, (who, minutes)) in honest.iter().enumerate() {
            for (liar, seconds, when) in &lies {
                if *when == step && let Some(time) = Timestamp::from_micros(start.as_micros() + seconds * 1_000_000) {
                    let serial = history.serial();
                    let submission = federation.attest(lying[liar.index(lying.len())], time, serial);
                    match history.apply(&submission) {
                        Ok(_) | Err(Refusal::TooSoon { .. }) => {}
                        Err(other) => prop_assert!(false, "{other}"),
                    }
                }
            }
            now = Timestamp::from_micros(now.as_micros() + minutes * 60_000_000).unwrap();
            let serial = history.serial();
            history.accept(&federation.attest(truthful[who.index(truthful.len())], now, serial));
            let before = std::mem::replace(&mut latest, history.state.list_time());
            prop_assert!(before <= latest, "list time never goes back");
            prop_assert!(latest <= now, "nor beyond what an honest member said has passed");
        }
    }
}

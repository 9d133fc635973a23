//! What accepted commands do: adoption, rejection, correction, numbers, list time, replay.

use super::{au, ca, de, four, fr};
use crate::list::{Authority, BallotState, Choice, Event, Publication, Rejection, check_accepted};
use crate::merkle;
use crate::testing::{Federation, History, Snapshot, member};
use crate::timestamp::Timestamp;

#[test]
fn a_ballot_is_adopted_by_the_vote_that_completes_the_consents() {
    let mut history = four();
    let ballot = history.table(fr());
    history.vote(fr(), ballot, Choice::Yes);
    history.vote(de(), ballot, Choice::No);
    history.vote(ca(), ballot, Choice::Yes);
    assert_eq!(history.ballot(ballot).state, BallotState::Open);
    let accepted = history.vote(au(), ballot, Choice::Yes);
    let id = "CW-2026-0001".parse().unwrap();
    assert_eq!(
        accepted.events,
        [Event::Voted(ballot, au()), Event::Published(0), Event::Listed(ballot, "CW-2026-0001".parse().unwrap())]
    );
    let entry = history.state.entry(&id).unwrap().clone();
    assert_eq!((entry.command_leaf, entry.public_leaf, entry.proposer), (accepted.leaf, 0, fr()));
    assert_eq!(entry.consents, [au(), ca(), fr()], "only those who said yes, by code");
    // The publication names the leaves of exactly those votes.
    let leaf = history.state.publication(0).unwrap();
    let publication: Publication = crate::canonical::from_slice(leaf).unwrap();
    let ballot = history.ballot(ballot);
    let Authority::Ballot(decided) = &publication.by else { panic!("no ballot listed it") };
    assert_eq!(decided.consents.len(), 3);
    for consent in &decided.consents {
        let vote = &ballot.votes[&consent.member];
        let envelope = &history.accepted[usize::try_from(vote.leaf).unwrap()].envelope;
        assert_eq!(consent.command, merkle::leaf_hash(envelope));
        let checked = check_accepted(history.federation.genesis.federation(), envelope).unwrap();
        assert_eq!(checked.command().member(), consent.member);
    }
    assert_eq!(history.state.public_log().root(), merkle::root_of([merkle::leaf_hash(leaf)]));
}

#[test]
fn a_ballot_is_rejected_once_it_cannot_be_adopted() {
    for (last, rejected) in [(Choice::No, true), (Choice::Abstain, true), (Choice::Yes, false)] {
        let mut history = four();
        let ballot = history.table(fr());
        history.vote(de(), ballot, Choice::No);
        let accepted = history.vote(ca(), ballot, last);
        assert_eq!(accepted.events.contains(&Event::Rejected(ballot)), rejected);
        assert_eq!(history.ballot(ballot).state == BallotState::Rejected(Rejection::Votes), rejected);
        assert_eq!(history.state.public_log().size(), 0, "an accusation that failed is not published");
    }
}

#[test]
fn a_correction_counts_in_place_of_the_vote() {
    let mut history = four();
    let ballot = history.table(fr());
    let first = history.vote(de(), ballot, Choice::Yes).command;
    history.vote(fr(), ballot, Choice::Yes);
    let serial = history.serial();
    let correction = history.federation.vote_command(de(), ballot, Choice::Abstain, Some(first), serial);
    let correction = history.federation.sign(&correction, None);
    history.accept(&correction);
    history.vote(ca(), ballot, Choice::Yes);
    assert_eq!(history.ballot(ballot).state, BallotState::Open, "two consents and an abstention are not three");
    assert_eq!(history.ballot(ballot).count(Choice::Yes), 2);
    history.vote(au(), ballot, Choice::Yes);
    let entry = history.state.entries_after(None).next().unwrap();
    assert!(!entry.consents.contains(&de()));
}

#[test]
fn a_consent_that_is_repeated_as_a_correction_counts_once() {
    let mut history = four();
    let ballot = history.table(fr());
    history.vote(fr(), ballot, Choice::Yes);
    let mut standing = history.vote(de(), ballot, Choice::Yes).command;
    for _ in 0..4 {
        let serial = history.serial();
        let again = history.federation.vote_command(de(), ballot, Choice::Yes, Some(standing), serial);
        let again = history.federation.sign(&again, None);
        standing = history.accept(&again).command;
    }
    assert_eq!((history.ballot(ballot).count(Choice::Yes), history.state.entry_count()), (2, 0));
    assert_eq!(history.ballot(ballot).state, BallotState::Open);
}

#[test]
fn half_is_no_majority() {
    let mut history = four();
    let start = history.state.list_time();
    let later: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    for (n, voter) in [fr(), de(), ca()].into_iter().enumerate() {
        assert_eq!(history.state.list_time(), start, "after {n} of 4");
        let serial = history.serial();
        let submission = history.federation.attest(voter, later, serial);
        history.accept(&submission);
    }
    assert_eq!(history.state.list_time(), later);
}

#[test]
fn one_member_alone_is_a_federation() {
    let mut history = History::new(Federation::ruled(1, "quorum(1/1)"));
    assert_eq!(history.list(fr()).to_string(), "CW-2026-0001");
    assert_eq!(history.list(fr()).to_string(), "CW-2026-0002");
}

#[test]
fn recipients_are_not_counted() {
    let federation = Federation::with(6, |document| {
        document.members.iter_mut().skip(3).for_each(|m| m.voting = false);
    });
    let mut history = History::new(federation);
    let ballot = history.table(fr());
    assert_eq!((history.ballot(ballot).electorate.len(), history.ballot(ballot).needed()), (3, Some(2)));
    history.vote(fr(), ballot, Choice::Yes);
    history.vote(de(), ballot, Choice::Yes);
    assert_eq!(history.state.entry_count(), 1);
}

#[test]
fn list_time_is_what_a_majority_says_has_passed() {
    let mut history = History::new(Federation::new(5));
    let start = history.state.list_time();
    let at = |minutes: i64| Timestamp::from_micros(start.as_micros() + minutes * 60_000_000).unwrap();
    let who = history.federation.voters();
    let far = at(5_000_000);
    let mut attest = |n: usize, time| {
        let serial = history.serial();
        let submission = history.federation.attest(who[n], time, serial);
        let events = history.accept(&submission).events;
        (history.state.list_time(), events)
    };
    // Two liars of five move nothing.
    assert_eq!(attest(0, far), (start, vec![]));
    assert_eq!(attest(1, far), (start, vec![]));
    assert_eq!(attest(2, at(10)), (at(10), vec![Event::TimeMoved(at(10))]));
    assert_eq!(attest(3, at(5)), (at(10), vec![]), "it does not go back");
    assert_eq!(attest(4, at(20)), (at(20), vec![Event::TimeMoved(at(20))]));
    assert_eq!(attest(3, at(30)), (at(30), vec![Event::TimeMoved(at(30))]));
}

#[test]
fn entries_are_numbered_by_the_year_of_list_time() {
    let mut history = History::new(Federation::with(1, |d| d.created = "2026-12-31T23:59:00Z".parse().unwrap()));
    assert_eq!(history.list(fr()).to_string(), "CW-2026-0001");
    let attest = history.federation.attest(fr(), "2027-01-01T00:00:00Z".parse().unwrap(), 1);
    history.accept(&attest);
    assert_eq!(history.list(fr()).to_string(), "CW-2027-0001");
    assert_eq!(history.list(fr()).to_string(), "CW-2027-0002");
    let after = "CW-2026-0001".parse().unwrap();
    let rest: Vec<String> = history.state.entries_after(Some(&after)).map(|e| e.id.to_string()).collect();
    assert_eq!(rest, ["CW-2027-0001", "CW-2027-0002"]);
}

#[test]
fn replay_leads_to_the_same_state_and_again_to_nothing() {
    let mut history = four();
    for proposer in [fr(), de(), ca(), au()] {
        history.list(proposer);
    }
    let ballot = history.table(fr());
    history.vote(de(), ballot, Choice::No);
    let mut replayed = history.replayed();
    assert_eq!(Snapshot::from(&replayed), history.snapshot());
    for (submission, leaf) in history.accepted.iter().zip(0..) {
        let accepted = replayed.apply(submission).unwrap();
        assert!(accepted.repeated && accepted.leaf == leaf && accepted.events.is_empty());
        assert_eq!(replayed.command_leaf(leaf), Some(merkle::leaf_hash(&submission.envelope)));
    }
    assert_eq!(Snapshot::from(&replayed), history.snapshot());
}

#[test]
fn the_public_log_is_known_at_every_size_of_the_command_log() {
    let mut history = four();
    let mut sizes = vec![0];
    for proposer in [fr(), de()] {
        let ballot = history.table(proposer);
        sizes.push(history.state.public_log().size());
        for voter in [fr(), de(), ca()] {
            history.vote(voter, ballot, Choice::Yes);
            sizes.push(history.state.public_log().size());
        }
    }
    let known: Vec<u64> = (0..=history.state.commands().size()).map(|n| history.state.public_size_at(n)).collect();
    assert_eq!(known, sizes);
}

#[test]
fn ballots_are_found_by_their_first_digits() {
    let mut history = four();
    let ballots: Vec<_> = (0..20).map(|_| history.table(member("CA"))).collect();
    assert_eq!(history.state.ballots().map(|b| b.id).collect::<Vec<_>>(), ballots);
    let text = ballots[7].to_string();
    assert_eq!(
        history.state.ballots_with_prefix(&text[..16], 5).iter().map(|b| b.id).collect::<Vec<_>>(),
        [ballots[7]]
    );
    assert_eq!(history.state.ballots_with_prefix("", 5).len(), 5);
    assert!(history.state.ballots_with_prefix("zz", 5).is_empty());
}

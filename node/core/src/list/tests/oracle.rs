//! The state machine against a naive one: a flat list of what was accepted, from which everything is counted anew.

use proptest::prelude::*;

use super::attempts::{Attempt, Author, attempts};
use crate::genesis::{Fraction, Rule};
use crate::list::{BallotId, BallotState, Choice, Command, CommandId, ListState, Refusal, Vote};
use crate::member::MemberId;
use crate::testing::{Federation, History, Snapshot, ballot_id};
use crate::timestamp::Timestamp;

/// How a ballot stands, counted from votes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Open,
    Adopted,
    Rejected,
    Withdrawn,
}

struct Oracle<'a> {
    federation: &'a Federation,
    fraction: Fraction,
    accepted: Vec<Attempt>,
}

impl Oracle<'_> {
    fn voters(&self) -> u64 {
        self.federation.voters().len() as u64
    }

    fn commands(&self) -> impl Iterator<Item = &Command> {
        self.accepted.iter().map(|a| &a.command)
    }

    /// The last vote of each member on a ballot, within the first `upto` accepted commands.
    fn votes(&self, ballot: BallotId, upto: usize) -> Vec<Vote> {
        let mut votes: Vec<Vote> = Vec::new();
        for command in self.commands().take(upto) {
            if let Command::Vote(vote) = command
                && vote.ballot == ballot
            {
                votes.retain(|v| v.member != vote.member);
                votes.push(vote.clone());
            }
        }
        votes
    }

    fn standing_vote(&self, member: MemberId, ballot: BallotId) -> Option<CommandId> {
        self.votes(ballot, usize::MAX).iter().find(|v| v.member == member).map(|v| v.command_id)
    }

    /// Nothing where it was never tabled; and after how many commands it closed.
    fn standing(&self, ballot: BallotId) -> Option<(Standing, usize)> {
        let tabled = |c: &Command| matches!(c, Command::Table(_)) && ballot_id(c) == ballot;
        if !self.commands().any(tabled) {
            return None;
        }
        for (n, command) in self.commands().enumerate() {
            match command {
                Command::Withdraw(w) if w.ballot == ballot => return Some((Standing::Withdrawn, n)),
                Command::Vote(v) if v.ballot == ballot => {
                    let votes = self.votes(ballot, n + 1);
                    let yes = votes.iter().filter(|v| v.choice == Choice::Yes).count() as u64;
                    let silent = self.voters() - votes.len() as u64;
                    if self.is_enough(yes) {
                        return Some((Standing::Adopted, n));
                    }
                    if !self.is_enough(yes + silent) {
                        return Some((Standing::Rejected, n));
                    }
                }
                _ => {}
            }
        }
        Some((Standing::Open, usize::MAX))
    }

    /// yes / voters >= numerator / denominator.
    fn is_enough(&self, yes: u64) -> bool {
        yes * u64::from(self.fraction.denominator) >= self.voters() * u64::from(self.fraction.numerator)
    }

    fn last_attested(&self, member: MemberId, upto: usize) -> Option<Timestamp> {
        let times = self.commands().take(upto).filter_map(|c| match c {
            Command::AttestTime(a) if a.member == member => Some(a.time),
            _ => None,
        });
        times.last()
    }

    /// The latest instant of which, at some moment, more than half had said that it has passed.
    fn list_time(&self, upto: usize) -> Timestamp {
        let mut best = self.federation.genesis.document().created;
        for n in 0..=upto.min(self.accepted.len()) {
            let said: Vec<Timestamp> =
                self.federation.voters().iter().filter_map(|m| self.last_attested(*m, n)).collect();
            for time in &said {
                let agree = said.iter().filter(|t| *t >= time).count() as u64;
                if 2 * agree > self.voters() {
                    best = best.max(*time);
                }
            }
        }
        best
    }

    /// Whether a node must accept it, where it is new.
    fn accepts(&self, attempt: &Attempt) -> bool {
        if attempt.fault.is_plain() || self.commands().any(|c| c.id() == attempt.command.id()) {
            return false;
        }
        match &attempt.command {
            Command::Table(table) => {
                let stands = |c: &Command| {
                    matches!(c, Command::Table(t) if t.proposal == table.proposal)
                        && matches!(self.standing(ballot_id(c)), Some((Standing::Open | Standing::Adopted, _)))
                };
                table.proposal.originator() == table.member && !self.commands().any(stands)
            }
            Command::Vote(vote) => {
                matches!(self.standing(vote.ballot), Some((Standing::Open, _)))
                    && self.standing_vote(vote.member, vote.ballot) == vote.replaces
            }
            Command::Withdraw(withdraw) => {
                let own = |c: &Command| {
                    matches!(c, Command::Table(t) if t.member == withdraw.member) && ballot_id(c) == withdraw.ballot
                };
                matches!(self.standing(withdraw.ballot), Some((Standing::Open, _))) && self.commands().any(own)
            }
            Command::AttestTime(attest) => self
                .last_attested(attest.member, usize::MAX)
                .is_none_or(|last| attest.time.as_micros() - last.as_micros() >= 60_000_000),
        }
    }

    /// Every entry in the order of listing: its number, its ballot, who said yes.
    fn entries(&self) -> Vec<(String, BallotId, Vec<MemberId>)> {
        let tabled = self.commands().filter(|c| matches!(c, Command::Table(_))).map(ballot_id);
        let mut adopted: Vec<(usize, BallotId)> = tabled
            .filter_map(|b| match self.standing(b) {
                Some((Standing::Adopted, at)) => Some((at, b)),
                _ => None,
            })
            .collect();
        adopted.sort();
        let mut years: Vec<i16> = Vec::new();
        let mut entries = Vec::new();
        for (at, ballot) in adopted {
            let year = self.list_time(at).year();
            years.push(year);
            let number = years.iter().filter(|y| **y == year).count();
            let yes = |v: &Vote| (v.choice == Choice::Yes).then_some(v.member);
            let mut consents: Vec<MemberId> = self.votes(ballot, at + 1).iter().filter_map(yes).collect();
            consents.sort();
            entries.push((format!("CW-{year}-{number:04}"), ballot, consents));
        }
        entries
    }
}

fn check_agreement(oracle: &Oracle<'_>, state: &ListState) -> Result<(), TestCaseError> {
    prop_assert_eq!(state.commands().size(), oracle.accepted.len() as u64);
    prop_assert_eq!(state.list_time(), oracle.list_time(usize::MAX));
    for ballot in state.ballots() {
        let expected = oracle.standing(ballot.id).map(|(standing, _)| standing);
        let found = match ballot.state {
            BallotState::Open => Standing::Open,
            BallotState::Adopted(_) => Standing::Adopted,
            BallotState::Rejected => Standing::Rejected,
            BallotState::Withdrawn => Standing::Withdrawn,
        };
        prop_assert_eq!(Some(found), expected);
    }
    let mut entries: Vec<_> = state.entries_after(None).collect();
    entries.sort_by_key(|e| e.public_leaf);
    let found: Vec<_> = entries.iter().map(|e| (e.id.to_string(), e.ballot, e.consents.clone())).collect();
    prop_assert_eq!(found, oracle.entries());
    prop_assert_eq!(state.public_log().size(), state.entry_count() as u64);
    for member in oracle.federation.voters() {
        let open = state.open_ballots().filter(|b| b.proposer == member).count();
        prop_assert_eq!(state.open.get(&member).copied().unwrap_or(0), open);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_list_is_what_the_members_said(
        count in 1..=7_usize,
        (denominator, numerator) in (1..=7_u32).prop_flat_map(|d| (Just(d), 1..=d)),
        acts in attempts(),
    ) {
        let fraction = Fraction { numerator, denominator };
        let federation = Federation::with(count, |document| document.listing_rule = Rule::Quorum(fraction));
        let mut history = History::new(federation.clone());
        let mut author = Author { federation: &federation, made: Vec::new(), ballots: Vec::new() };
        let mut oracle = Oracle { federation: &federation, fraction, accepted: Vec::new() };
        for (act, fault) in &acts {
            let attempt = author.make(act, *fault, |member, ballot| oracle.standing_vote(member, ballot));
            let before = history.snapshot();
            let result = history.apply(&attempt.submission);
            let repeats = oracle.accepted.iter().any(|a| a.submission.envelope == attempt.submission.envelope);
            // A text that is wrong is refused even beside an envelope that was accepted before: an accepted one had the
            // right text, and the same attempt has it again.
            let expected = repeats || oracle.accepts(&attempt);
            prop_assert_eq!(result.is_ok(), expected, "{:?}: {:?}", attempt, result);
            match result {
                Ok(accepted) if accepted.repeated => {
                    prop_assert!(repeats);
                    prop_assert_eq!(history.snapshot(), before);
                }
                Ok(_) => {
                    prop_assert!(!repeats);
                    oracle.accepted.push(attempt);
                }
                Err(_) => prop_assert_eq!(history.snapshot(), before),
            }
        }
        check_agreement(&oracle, &history.state)?;
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

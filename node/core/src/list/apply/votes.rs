//! Votes, corrections and withdrawals.

use crate::fault::{self, Fault};
use crate::list::apply::Step;
use crate::list::ballot::{Ballot, BallotState, CastVote, Equivocation, ReplacedVote};
use crate::list::command::{CommandId, Vote, Withdraw};
use crate::list::refusal::Refusal;
use crate::list::state::{Event, ListState};

/// The most corrections that one member may make on one ballot.
const MAX_CORRECTIONS: usize = 100;
/// The most equivocations that are kept of one ballot.
const MAX_EQUIVOCATIONS: usize = 100;

/// What a vote that is in order does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paper {
    /// It counts.
    Counts,
    /// It is a second one in the place of `replaced`, which `first` replaced already.
    Equivocates { replaced: CommandId, first: CommandId },
}

impl ListState {
    pub(super) fn may_vote(&self, vote: &Vote) -> Result<Paper, Refusal> {
        let ballot = self.own_ballot(vote.ballot, vote.member)?;
        match (ballot.votes.get(&vote.member), vote.replaces) {
            (None, None) => {}
            (Some(standing), Some(replaced)) if standing.command == replaced => {
                let corrections = ballot.replaced.iter().filter(|r| r.member == vote.member).count();
                if corrections >= MAX_CORRECTIONS {
                    return Err(Refusal::Bound {
                        what: "corrections of one member on one ballot",
                        limit: MAX_CORRECTIONS,
                    });
                }
            }
            (Some(_), None) if fault::is(Fault::ReplaceSilently) => {}
            (Some(standing), None) => {
                return Err(Refusal::AlreadyVoted {
                    member: vote.member,
                    choice: standing.choice.to_string(),
                    command: standing.command,
                });
            }
            (_, Some(replaced)) => {
                let is_first = |r: &&ReplacedVote| r.member == vote.member && r.replaced == replaced;
                let first = ballot.replaced.iter().find(is_first).ok_or(Refusal::NothingToReplace(replaced))?.by;
                if ballot.equivocations.len() >= MAX_EQUIVOCATIONS {
                    return Err(Refusal::Bound { what: "equivocations kept of one ballot", limit: MAX_EQUIVOCATIONS });
                }
                return Ok(Paper::Equivocates { replaced, first });
            }
        }
        Ok(Paper::Counts)
    }

    pub(super) fn vote(&mut self, vote: &Vote, step: &mut Step<'_>) -> Result<(), Refusal> {
        let paper = self.may_vote(vote)?;
        // Nothing is refused from here on.
        if let Paper::Equivocates { replaced, first } = paper {
            self.equivocate(vote, replaced, first, step);
            return Ok(());
        }
        let acknowledgement = self.acknowledgement(step);
        let cast = CastVote {
            command: vote.command_id,
            choice: vote.choice,
            reason: vote.reason.clone(),
            leaf: step.leaf,
            public_hash: acknowledgement.public_hash,
        };
        let before = self.ballots.get(&vote.ballot).and_then(Ballot::due);
        if let Some(ballot) = self.ballots.get_mut(&vote.ballot) {
            ballot.votes.insert(vote.member, cast);
            if let Some(replaced) = vote.replaces {
                ballot.replaced.push(ReplacedVote { member: vote.member, replaced, by: vote.command_id });
            }
            // Whoever votes has taken notice.
            if let Some(silence) = ballot.silence_mut() {
                silence.acknowledge(vote.member, acknowledgement);
            }
        }
        self.reschedule(vote.ballot, before);
        step.events.push(Event::Voted(vote.ballot, vote.member));
        self.settle(vote.ballot, step);
        Ok(())
    }

    /// A second vote in the place of one that was replaced already: kept as evidence, and it does not count.
    fn equivocate(&mut self, vote: &Vote, replaced: CommandId, first: CommandId, step: &mut Step<'_>) {
        let second = (vote.command_id, step.leaf, vote.choice);
        if let Some(ballot) = self.ballots.get_mut(&vote.ballot) {
            ballot.equivocations.push(Equivocation { member: vote.member, replaced, first, second });
        }
        step.events.push(Event::Equivocated(vote.ballot, vote.member));
    }

    pub(super) fn may_withdraw(&self, withdraw: &Withdraw) -> Result<(), Refusal> {
        let ballot = self.open_ballot(withdraw.ballot)?;
        if ballot.proposer != withdraw.member {
            return Err(Refusal::NotTheProposer { ballot: ballot.id, proposer: ballot.proposer });
        }
        Ok(())
    }

    pub(super) fn withdraw(&mut self, withdraw: &Withdraw, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.may_withdraw(withdraw)?;
        self.close(withdraw.ballot, BallotState::Withdrawn, step);
        step.events.push(Event::Withdrawn(withdraw.ballot));
        Ok(())
    }
}

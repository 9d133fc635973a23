//! What a member that lies hands in: what is forged, altered, repeated, contradictory, or from another time.

use comity_core::MemberId;
use comity_core::list::{BallotId, Choice, Command, ListState, Submission};
use comity_core::testing::{Federation, MemberKeys};
use comity_core::{Timestamp, testing};

use super::moves::choose;
use crate::world::{World, elapsed};

pub(super) fn next(world: &mut World, machine: usize, list: &ListState) -> Option<Submission> {
    let own = world.machines[machine].member;
    let others: Vec<MemberId> = world.machines.iter().map(|m| m.member).filter(|m| *m != own).collect();
    let serial = world.ledger.serial();
    let clock = world.machines[machine].clock;
    let voters = world.machines.len();
    let dice = &mut world.machines[machine].dice;
    let open: Vec<BallotId> = list.open_ballots().map(|ballot| ballot.id).collect();
    let other = dice.pick(&others).copied()?;
    match dice.between(0, 9) {
        // Another member's vote, signed with this one's key.
        0 => {
            let command = world.federation.vote_command(other, dice.pick(&open).copied()?, Choice::Yes, None, serial);
            Some(signed_by(world, own, &command))
        }
        // Another member's proposal.
        1 => {
            let text = testing::public_text(serial);
            let command = world.federation.table_command(testing::proposal_id(other, serial), &text, serial);
            Some(Submission { public_text: Some(text), ..signed_by(world, own, &command) })
        }
        // Another member's clock.
        2 => {
            let command = world.federation.attest_command(other, far(clock.at(elapsed())), serial);
            Some(signed_by(world, own, &command))
        }
        // Its own clock, far ahead.
        3 => {
            let command = world.federation.attest_command(own, far(clock.at(elapsed())), serial);
            world.keychain.sign(list, &command, None, 0)
        }
        // A second first vote.
        4 => {
            let voted = list.open_ballots().filter(|ballot| ballot.votes.contains_key(&own));
            let voted: Vec<BallotId> = voted.map(|ballot| ballot.id).collect();
            let choice = choose(dice.between(0, 99));
            let command = world.federation.vote_command(own, dice.pick(&voted).copied()?, choice, None, serial);
            world.keychain.sign(list, &command, None, 2)
        }
        // A vote from another federation.
        5 => {
            let another = Federation::ruled(voters, "quorum(1/5)");
            let command = another.vote_command(own, dice.pick(&open).copied()?, Choice::Yes, None, serial);
            world.keychain.sign(list, &command, None, 2)
        }
        // A command id that was spent.
        6 => {
            let spent = dice.between(1, serial);
            let command = world.federation.vote_command(own, dice.pick(&open).copied()?, Choice::Yes, None, spent);
            world.keychain.sign(list, &command, None, 2)
        }
        // Two votes in the place of one.
        7 => {
            let replaced = list.open_ballots().flat_map(|ballot| ballot.replaced.iter().map(|r| (ballot.id, r)));
            let own_ones = replaced.filter(|(_, r)| r.member == own).map(|(id, r)| (id, r.replaced));
            let (ballot, replaced) = dice.pick(&own_ones.collect::<Vec<_>>()).copied()?;
            let choice = choose(dice.between(0, 99));
            let command = world.federation.vote_command(own, ballot, choice, Some(replaced), serial);
            world.keychain.sign(list, &command, None, 2)
        }
        // Its own vote, without the people who must sign.
        8 => {
            let command = world.federation.vote_command(own, dice.pick(&open).copied()?, Choice::Yes, None, serial);
            world.keychain.sign(list, &command, None, 0)
        }
        // Somebody's command, altered after it was signed.
        _ => {
            let commands = world.ledger.commands();
            let mut submission = dice.pick(commands)?.submission.clone();
            let at = dice.between(0, submission.envelope.len() as u64 - 1) as usize;
            submission.envelope[at] ^= 1;
            Some(submission)
        }
    }
}

fn signed_by(world: &World, own: MemberId, command: &Command) -> Submission {
    let keys = MemberKeys::of(world.place(own));
    let key = if command.is_deciding() { &keys.decision } else { &keys.node };
    Submission { envelope: command.sign(key).to_bytes(), public_text: None }
}

/// A year on.
fn far(now: Timestamp) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_add(31_536_000_000_000)).unwrap_or(now)
}

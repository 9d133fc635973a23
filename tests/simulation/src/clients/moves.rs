//! What an honest member hands in next, going by what its own node shows.

use comity_consensus::Consensus;
use comity_core::MemberId;
use comity_core::list::{Ballot, BallotId, Choice, CommandId, ListState, Submission};

use super::lies;
use crate::world::{Machine, Shared, World};

/// Ballots that are open at one time.
const OPEN_MAX: usize = 12;

/// What this machine's member hands in next; nothing if there is nothing to do.
pub(super) fn next(world: &Shared, machine: usize, consensus: &Consensus) -> Option<Submission> {
    let world = &mut *world.borrow_mut();
    if !world.machines[machine].last.is_empty() {
        // Again and again: whoever gave up on it, or crashed, does not know what became of it.
        let Machine { dice, last, .. } = &mut world.machines[machine];
        return dice.pick(last).cloned();
    }
    let (member, lies) = (world.machines[machine].member, world.machines[machine].lies);
    let die = world.machines[machine].dice.between(0, 99);
    match die {
        0..15 => again(world, machine),
        15..35 if lies => consensus.read(|list| lies::next(world, machine, list)),
        _ => consensus.read(|list| usual(world, machine, member, list)),
    }
}

/// Something that was handed in before, by anybody: whether it was accepted, refused or lost.
fn again(world: &mut World, machine: usize) -> Option<Submission> {
    let commands = world.ledger.commands();
    world.machines[machine].dice.pick(commands).map(|command| command.submission.clone())
}

fn usual(world: &mut World, machine: usize, member: MemberId, list: &ListState) -> Option<Submission> {
    let open: Vec<&Ballot> = list.open_ballots().collect();
    let serial = world.ledger.serial();
    let dice = &mut world.machines[machine].dice;
    let not_voted: Vec<BallotId> = open.iter().filter(|b| !b.votes.contains_key(&member)).map(|b| b.id).collect();
    if let Some(ballot) = dice.pick(&not_voted).copied().filter(|_| open.len() >= OPEN_MAX || dice.percent(70)) {
        let choice = choose(dice.between(0, 99));
        return Some(world.federation.vote(member, ballot, choice, serial));
    }
    if open.len() < OPEN_MAX && dice.percent(60) {
        return Some(world.federation.table(member, serial).0);
    }
    if dice.percent(15) {
        let own: Vec<BallotId> = open.iter().filter(|b| b.proposer == member).map(|b| b.id).collect();
        let ballot = dice.pick(&own).copied()?;
        return Some(world.federation.withdraw(member, ballot, serial));
    }
    let voted: Vec<(BallotId, CommandId)> =
        open.iter().filter_map(|b| b.votes.get(&member).map(|vote| (b.id, vote.command))).collect();
    let (ballot, standing) = dice.pick(&voted).copied()?;
    let choice = choose(dice.between(0, 99));
    let command = world.federation.vote_command(member, ballot, choice, Some(standing), serial);
    Some(world.federation.sign(&command, None))
}

pub(super) fn choose(die: u64) -> Choice {
    match die {
        0..70 => Choice::Yes,
        70..85 => Choice::No,
        _ => Choice::Abstain,
    }
}

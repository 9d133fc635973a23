//! What a member hands in next, going by what its own node shows.

use comity_consensus::Consensus;
use comity_core::MemberId;
use comity_core::list::{Ballot, BallotId, Choice, Command, ListState, Procedure, Submission};
use comity_core::testing::Say;

use super::{house, lies, motions};
use crate::keychain::is_able;
use crate::world::{Shared, World};

/// Ballots that are open at one time.
const OPEN_MAX: usize = 12;

/// What this machine's member hands in next; nothing if there is nothing to do.
pub(super) fn next(world: &Shared, machine: usize, consensus: &Consensus) -> Option<Submission> {
    let world = &mut *world.borrow_mut();
    let (member, lies) = (world.machines[machine].member, world.machines[machine].lies);
    if world.closing.is_some() {
        return consensus.read(|list| closing(world, machine, member, list));
    }
    let die = world.machines[machine].dice.between(0, 99);
    match die {
        0..12 => again(world, machine),
        12..32 if lies => consensus.read(|list| lies::next(world, machine, list)),
        // Somebody tries whether those who were suspended or expelled are heard.
        32..40 => consensus.read(|list| {
            let banned = list.roster().iter().filter(|standing| !standing.is_voter());
            let banned: Vec<MemberId> = banned.map(|standing| standing.row.member).collect();
            let ghost = world.machines[machine].dice.pick(&banned).copied()?;
            usual(world, machine, ghost, list)
        }),
        _ => consensus.read(|list| usual(world, machine, member, list)),
    }
}

/// Something that was handed in before, by anybody: whether it was accepted, refused or lost.
fn again(world: &mut World, machine: usize) -> Option<Submission> {
    let commands = world.ledger.commands();
    world.machines[machine].dice.pick(commands).map(|command| command.submission.clone())
}

/// At the end all vote for one ballot, again and again: whoever gave up on it does not know what became of it.
fn closing(world: &mut World, machine: usize, member: MemberId, list: &ListState) -> Option<Submission> {
    let closing = world.closing.clone()?;
    match list.ballot(&closing.ballot) {
        None if closing.machine == machine => world.keychain.sign(list, &closing.command, Some(closing.text), 2),
        Some(ballot) if ballot.is_open() && ballot.electorate.contains(&member) && is_able(list, member) => {
            if ballot.votes.contains_key(&member) {
                return None;
            }
            let serial = world.ledger.serial();
            let command = world.federation.vote_command(member, closing.ballot, Choice::Yes, None, serial);
            world.keychain.sign(list, &command, None, 2)
        }
        _ => None,
    }
}

/// What a member does, by and large honestly.
fn usual(world: &mut World, machine: usize, member: MemberId, list: &ListState) -> Option<Submission> {
    let command = match world.machines[machine].dice.between(0, 99) {
        0..55 => decide(world, machine, member, list),
        55..75 => None,
        75..87 => house::next(world, machine, member, list),
        _ => reconsider(world, machine, member, list),
    };
    if let Some(command) = command {
        // Now and then one person too few signs.
        let people = if world.machines[machine].dice.percent(15) { 1 } else { 2 };
        return world.keychain.sign(list, &command, None, people);
    }
    if list.open_ballots().count() >= OPEN_MAX {
        return None;
    }
    motions::table(world, machine, member, list)
}

/// Takes part in a ballot in which it took no part yet.
fn decide(world: &mut World, machine: usize, member: MemberId, list: &ListState) -> Option<Command> {
    let lazy_percent = world.plan.habits.lazy_percent;
    let waits = |ballot: &&Ballot| {
        let took_part = match &ballot.procedure {
            Procedure::Silence(silence) => silence.acknowledged.contains_key(&member),
            _ => ballot.votes.contains_key(&member),
        };
        ballot.electorate.contains(&member) && !took_part && !is_lazy(ballot.id, member, lazy_percent)
    };
    let waiting: Vec<&Ballot> = list.open_ballots().filter(waits).collect();
    let serial = world.ledger.serial();
    let dice = &mut world.machines[machine].dice;
    let ballot = *dice.pick(&waiting)?;
    let (id, die) = (ballot.id, dice.between(0, 99));
    let federation = &world.federation;
    let vote = |choice| federation.vote_command(member, id, choice, None, serial);
    let say = |say: Say| say.command(federation.genesis.federation(), comity_core::testing::command_id(serial), member);
    Some(match (&ballot.procedure, die) {
        (Procedure::Silence(_), 0..65) => say(Say::Acknowledge(id)),
        (Procedure::Silence(_), 65..80) => say(Say::Hold(id)),
        (Procedure::Silence(_), 80..95) => vote(if die % 2 == 0 { Choice::Yes } else { Choice::Abstain }),
        (Procedure::Silence(_), _) => say(Say::Object(id)),
        (Procedure::ReverseSilence { .. }, 0..60) => vote(Choice::No),
        _ => vote(choose(die)),
    })
}

/// Some members leave some ballots alone.
fn is_lazy(ballot: BallotId, member: MemberId, percent: u64) -> bool {
    let digest = comity_core::sha256(format!("{ballot}{member}").as_bytes());
    u64::from(digest[0]) * 100 < percent * 256
}

/// Corrects a vote, extends or lifts a hold, withdraws.
fn reconsider(world: &mut World, machine: usize, member: MemberId, list: &ListState) -> Option<Command> {
    let open: Vec<&Ballot> = list.open_ballots().collect();
    let serial = world.ledger.serial();
    let dice = &mut world.machines[machine].dice;
    let federation = &world.federation;
    let say = |say: Say| say.command(federation.genesis.federation(), comity_core::testing::command_id(serial), member);
    let ballot = *dice.pick(&open)?;
    let held = ballot.silence().and_then(|silence| silence.standing_holds().next());
    match (dice.between(0, 9), held) {
        (0..7, Some((holder, _))) if holder == member => Some(say(Say::Lift(ballot.id))),
        (0..7, Some((holder, _))) => Some(say(Say::Extend(ballot.id, holder))),
        (0, None) if ballot.proposer == member => Some(federation.withdraw_command(member, ballot.id, serial)),
        (7, _) if ballot.silence().is_some() => Some(say(Say::Hold(ballot.id))),
        _ => {
            let standing = ballot.votes.get(&member)?.command;
            let choice = choose(dice.between(0, 99));
            Some(federation.vote_command(member, ballot.id, choice, Some(standing), serial))
        }
    }
}

pub(super) fn choose(die: u64) -> Choice {
    match die {
        0..70 => Choice::Yes,
        70..85 => Choice::No,
        _ => Choice::Abstain,
    }
}

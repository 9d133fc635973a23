//! What a member's people and its node hand in.

mod house;
mod lies;
mod motions;
mod moves;

use std::rc::Rc;
use std::time::Duration;

use comity_consensus::{Consensus, PendingCommand, SubmitError};
use comity_core::Timestamp;
use comity_core::list::{ListState, Submission};

use crate::world::{Shared, elapsed};

/// People who hand in at one time.
const DESKS: usize = 3;
/// Between two attestations.
const ATTEST_MS: u64 = 400;

/// Hands things in until the machine is crashed.
pub(crate) async fn run(world: Shared, machine: usize, consensus: Consensus) {
    for _ in 0..DESKS {
        tokio::task::spawn_local(desk(Rc::clone(&world), machine, consensus.clone()));
    }
    loop {
        attest(&world, machine, &consensus).await;
        let pause = world.borrow_mut().machines[machine].dice.between(ATTEST_MS / 2, ATTEST_MS * 2);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

async fn desk(world: Shared, machine: usize, consensus: Consensus) {
    loop {
        let (pause, patience) = {
            let dice = &mut world.borrow_mut().machines[machine].dice;
            (dice.between(20, 600), dice.between(500, 16_000))
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let Some(submission) = moves::next(&world, machine, &consensus) else { continue };
        // Whoever gives up does not know what becomes of it.
        let handed_in = hand_in(&world, machine, &consensus, submission);
        let _ = tokio::time::timeout(Duration::from_millis(patience), handed_in).await;
    }
}

async fn attest(world: &Shared, machine: usize, consensus: &Consensus) {
    let submission = {
        let mut world = world.borrow_mut();
        let serial = world.ledger.serial();
        let own = &world.machines[machine];
        // Whole seconds, rounded down: what is attested has passed.
        let seconds = own.clock.at(elapsed()).as_seconds();
        let now = Timestamp::from_micros(seconds.saturating_mul(1_000_000)).expect("an instant");
        let pending = consensus.pending_commands();
        consensus.read(|list| {
            let revoked = list.roster().get(own.member).is_none_or(|standing| standing.node_revoked);
            let command = world.federation.attest_command(own.member, in_time(list, &pending, now), serial);
            if revoked { None } else { world.keychain.sign(list, &command, None, 0) }
        })
    };
    if let Some(submission) = submission {
        hand_in(world, machine, consensus, submission).await;
    }
}

/// Not past a deadline for which a command is known that the log lacks, as members' nodes do it.
fn in_time(list: &ListState, pending: &[PendingCommand], now: Timestamp) -> Timestamp {
    let counting = pending.iter().filter(|command| list.would_count(&command.checked));
    let ballots = counting.filter_map(|command| list.ballot(&command.checked.command().ballot()?));
    let due = ballots.filter_map(|ballot| ballot.due()).filter(|due| *due <= now).min();
    let before = due.and_then(|due| Timestamp::from_micros(due.as_micros() - 1_000_000));
    before.unwrap_or(now)
}

/// Hands one command in at this machine's node, and writes down what was answered.
pub(crate) async fn hand_in(world: &Shared, machine: usize, consensus: &Consensus, submission: Submission) {
    let number = {
        let mut world = world.borrow_mut();
        let member = world.machines[machine].member;
        let number = world.ledger.hand_in(member, &submission);
        world.line(elapsed(), &format!("{member} hands in {number}"));
        number
    };
    let answer = consensus.submit(submission).await;
    let mut world = world.borrow_mut();
    let member = world.machines[machine].member;
    let what = match answer {
        Ok(accepted) => {
            if let Err(before) = world.ledger.acknowledge(number, accepted.leaf) {
                let leaf = accepted.leaf;
                world.complaint = Some(format!("{number} was acknowledged at leaf {before}, now at {leaf}"));
            }
            format!("accepted at {}", accepted.leaf)
        }
        Err(SubmitError::Refused(refusal)) => format!("refused: {}", refusal.reason()),
        Err(SubmitError::Stopped(why)) => {
            world.complaint = Some(format!("{member}'s node has stopped: {why}"));
            "stopped".to_owned()
        }
        Err(SubmitError::NoQuorum { .. }) => "no quorum".to_owned(),
        Err(SubmitError::Timeout { .. }) => "timeout".to_owned(),
        Err(_) => "busy".to_owned(),
    };
    world.line(elapsed(), &format!("{member} is answered {number}: {what}"));
}

//! What must hold at any time, whatever goes wrong: one to a file.

mod absent;
mod acknowledged_stays;
mod banned_are_mute;
mod commands_fit;
mod consents;
mod entry_numbers;
mod erased;
mod goes_on;
mod list_time;
mod logs_agree;
mod outcomes;
mod people_sign;
mod periods;
mod replays;
mod signed;
mod votes_stand;

use comity_core::list::BallotState;

use crate::history::{EndView, Leaf, NodeView};
use crate::judge::{Ballot, End, Judge};
use crate::world::World;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what}")]
pub struct Broken {
    /// Which.
    pub invariant: &'static str,
    /// How it shows.
    pub what: String,
}

/// Something that must hold. Each part says what is wrong.
pub(crate) trait Invariant {
    /// What holds, in some words.
    fn name(&self) -> &'static str;

    /// Of each leaf of the history, once, in their order, as things stood before it.
    fn leaf(&mut self, _leaf: &Leaf, _judge: &Judge) -> Result<(), String> {
        Ok(())
    }

    /// Of each node that runs, again and again.
    fn node(&mut self, _node: &NodeView<'_>) -> Result<(), String> {
        Ok(())
    }

    /// Of everything, once it has healed.
    fn end(&mut self, _end: &EndView<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// All of them. The first that fails is named, so those that say most precisely what is wrong come first.
pub(crate) fn all(world: &World) -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(logs_agree::LogsAgree),
        Box::new(votes_stand::VotesStand),
        Box::new(signed::Signed),
        Box::new(banned_are_mute::BannedAreMute),
        Box::new(people_sign::PeopleSign),
        Box::new(commands_fit::CommandsFit),
        Box::new(list_time::ListTime::default()),
        Box::new(consents::Consents::default()),
        Box::new(absent::Absent),
        Box::new(periods::Periods),
        Box::new(outcomes::Outcomes),
        Box::new(entry_numbers::EntryNumbers),
        Box::new(acknowledged_stays::AcknowledgedStays),
        Box::new(replays::Replays::new(&world.federation)),
        Box::new(erased::Erased),
        Box::new(goes_on::GoesOn),
    ]
}

/// The ballots that a node shows as adopted and that the rules do not have so, as they stand by the rules.
fn adopted_wrongly<'a>(node: &'a NodeView<'_>) -> impl Iterator<Item = &'a Ballot> {
    let size = node.list.commands().size();
    let shown = node.list.ballots().filter(|ballot| matches!(ballot.state, BallotState::Adopted(_)));
    let known = shown.filter_map(|ballot| node.judge.ballot(ballot.id));
    known.filter(move |ballot| !matches!(ballot.end, Some((End::Adopted, leaf)) if leaf < size))
}

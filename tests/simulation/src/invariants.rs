//! What must hold at any time, whatever goes wrong: one to a file.

mod acknowledged_stays;
mod consents;
mod entry_numbers;
mod goes_on;
mod list_time;
mod logs_agree;
mod replays;

use crate::history::{EndView, Leaf, NodeView};
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

    /// Of each leaf of the history, once, in their order.
    fn leaf(&mut self, _leaf: &Leaf) -> Result<(), String> {
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
        Box::new(consents::Consents::new(&world.federation)),
        Box::new(list_time::ListTime::new(&world.federation)),
        Box::new(entry_numbers::EntryNumbers::default()),
        Box::new(acknowledged_stays::AcknowledgedStays),
        Box::new(replays::Replays::new(&world.federation)),
        Box::new(goes_on::GoesOn),
    ]
}

//! What was acknowledged stands where it was said to stand, for ever.

use super::Invariant;
use crate::history::{EndView, NodeView};
use crate::ledger::Ledger;

pub(crate) struct AcknowledgedStays;

impl Invariant for AcknowledgedStays {
    fn name(&self) -> &'static str {
        "acknowledged stays"
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        // Only when something is new: what was right stays right.
        if node.has_grown() { stands(&node.world.ledger, node.leaves, false) } else { Ok(()) }
    }

    fn end(&mut self, end: &EndView<'_>) -> Result<(), String> {
        stands(&end.world.ledger, end.leaves, true)
    }
}

fn stands(ledger: &Ledger, leaves: &[crate::history::Leaf], whole: bool) -> Result<(), String> {
    for (number, command) in ledger.commands().iter().enumerate() {
        let Some(leaf) = command.acknowledged else { continue };
        match leaves.get(leaf as usize) {
            Some(known) if known.hash == command.leaf_hash => {}
            Some(known) => {
                let (by, hash) = (command.by, command.leaf_hash);
                return Err(format!(
                    "{number} of {by}, {hash}, was acknowledged at {leaf}, where {} stands",
                    known.hash
                ));
            }
            None if whole => return Err(format!("{number} of {} was acknowledged at {leaf} and is lost", command.by)),
            None => {}
        }
    }
    Ok(())
}

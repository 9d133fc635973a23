//! Who voted for one candidate votes for none before it, whatever happened to the node in between.

use comity_consensus::simulation::broken_promise;

use super::Invariant;
use crate::history::NodeView;

pub(crate) struct VotesStand;

impl Invariant for VotesStand {
    fn name(&self) -> &'static str {
        "votes in elections stand"
    }

    fn node(&mut self, _node: &NodeView<'_>) -> Result<(), String> {
        broken_promise().map_or(Ok(()), Err)
    }
}

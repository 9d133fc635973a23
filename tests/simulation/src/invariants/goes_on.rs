//! No message, command or crash stops a node for good.

use super::Invariant;
use crate::history::NodeView;

pub(crate) struct GoesOn;

impl Invariant for GoesOn {
    fn name(&self) -> &'static str {
        "nodes go on"
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        node.status.stopped.as_ref().map_or(Ok(()), |why| Err(format!("{} has stopped: {why}", node.member)))
    }
}

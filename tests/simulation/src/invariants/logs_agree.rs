//! Every honest node's command log is a beginning of the one history.

use super::Invariant;
use crate::history::NodeView;

pub(crate) struct LogsAgree;

impl Invariant for LogsAgree {
    fn name(&self) -> &'static str {
        "logs agree"
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        let size = node.list.commands().size();
        if size < node.from {
            return Err(format!("{} had {} leaves and has {size}", node.member, node.from));
        }
        for number in node.from..size {
            let known = node.leaves.get(number as usize);
            let (Some(known), Some(hash)) = (known, node.list.command_leaf(number)) else {
                return Err(format!("{} has no leaf {number} of {size}", node.member));
            };
            if known.hash != hash {
                let (member, other) = (node.member, known.shown_by);
                return Err(format!("{member} has {hash} at leaf {number}, {other} showed {}", known.hash));
            }
        }
        Ok(())
    }
}

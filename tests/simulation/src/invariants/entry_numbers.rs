//! Entry numbers are given once, in their order, and stay with the ballot that gave them.

use super::Invariant;
use crate::history::NodeView;

pub(crate) struct EntryNumbers;

impl Invariant for EntryNumbers {
    fn name(&self) -> &'static str {
        "entry numbers are given once"
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        if !node.has_grown() {
            return Ok(());
        }
        for entry in node.list.entries_after(None) {
            let (member, id) = (node.member, &entry.id);
            let known = node.judge.entries.iter().find(|known| known.id == *id);
            let known = known.ok_or_else(|| format!("{member} shows {id}, which nobody listed"))?;
            if (known.ballot, known.proposer) != (entry.ballot, entry.proposer) {
                let (found, expected) = (entry.ballot, known.ballot);
                return Err(format!("{member} shows {id} from ballot {found}, it was from {expected}"));
            }
        }
        Ok(())
    }
}

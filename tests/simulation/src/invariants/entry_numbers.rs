//! Entry numbers are given once, in their order.

use std::collections::BTreeMap;

use comity_core::canonical::Hex32;
use comity_core::list::EntryId;

use super::Invariant;
use crate::history::NodeView;

/// The ballot that each entry came from.
#[derive(Default)]
pub(crate) struct EntryNumbers(BTreeMap<EntryId, Hex32>);

impl Invariant for EntryNumbers {
    fn name(&self) -> &'static str {
        "entry numbers are given once"
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        let mut last: Option<&EntryId> = None;
        for entry in node.list.entries_after(None) {
            let expected = last.filter(|last| last.year() == entry.id.year()).map_or(1, |last| last.number() + 1);
            if entry.id.number() != expected {
                return Err(format!("{} shows {} where number {expected} follows", node.member, entry.id));
            }
            last = Some(&entry.id);
            let known = *self.0.entry(entry.id.clone()).or_insert(entry.ballot);
            if known != entry.ballot {
                let (member, id) = (node.member, &entry.id);
                return Err(format!("{member} shows {id} from ballot {}, it was from {known}", entry.ballot));
            }
        }
        Ok(())
    }
}

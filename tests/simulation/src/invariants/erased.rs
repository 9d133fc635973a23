//! The text of what failed or was annulled lies on no node's disk; the text of what stands lies on each.

use std::collections::BTreeSet;

use comity_core::canonical::Hex32;
use futures::FutureExt as _;

use super::Invariant;
use crate::history::EndView;

pub(crate) struct Erased;

impl Invariant for Erased {
    fn name(&self) -> &'static str {
        "failed texts are erased"
    }

    fn end(&mut self, end: &EndView<'_>) -> Result<(), String> {
        for (machine, size) in end.world.machines.iter().zip(end.applied) {
            let Some(node) = &machine.consensus else { continue };
            let applied = end.judge.erased.iter().filter(|(_, leaf)| leaf < size);
            let erased: BTreeSet<Hex32> = applied.map(|(text, _)| *text).collect();
            // What is tabled later this node has not seen yet.
            let tabled = node.read(|list| list.ballots().map(|ballot| ballot.public_part).collect::<Vec<_>>());
            for text in tabled {
                let lies_there = match node.public_text(text).now_or_never() {
                    Some(Ok(found)) => found.is_some(),
                    Some(Err(error)) => return Err(format!("{} cannot tell of text {text}: {error}", machine.member)),
                    None => continue,
                };
                if lies_there && erased.contains(&text) {
                    return Err(format!("{} keeps text {text}, which was to be erased", machine.member));
                }
                if !lies_there && !erased.contains(&text) && end.judge.erased.iter().all(|(known, _)| *known != text) {
                    return Err(format!("{} lacks text {text}, which stands", machine.member));
                }
            }
        }
        Ok(())
    }
}

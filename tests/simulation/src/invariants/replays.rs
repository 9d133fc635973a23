//! What a node shows is what the leaves alone come to: each is accepted once, and whatever was refused left nothing behind.

use comity_core::canonical::Hex32;
use comity_core::list::{ListState, check_accepted};
use comity_core::testing::{Federation, Snapshot};

use super::Invariant;
use crate::history::{Leaf, NodeView};
use crate::judge::Judge;

pub(crate) struct Replays {
    state: ListState,
    /// The roots of both logs after each leaf.
    roots: Vec<(Hex32, Hex32)>,
}

impl Replays {
    pub(crate) fn new(federation: &Federation) -> Self {
        let state = ListState::new(federation.genesis.clone());
        let roots = vec![(state.commands().root(), state.public_log().root())];
        Self { state, roots }
    }
}

impl Invariant for Replays {
    fn name(&self) -> &'static str {
        "the log replays"
    }

    fn leaf(&mut self, leaf: &Leaf, _: &Judge) -> Result<(), String> {
        let at = |problem: String| format!("leaf {}: {problem}", leaf.number);
        let checked = check_accepted(self.state.genesis().federation(), &leaf.envelope)
            .map_err(|refusal| at(refusal.to_string()))?;
        let accepted = self.state.apply_checked(&checked).map_err(|refusal| at(refusal.to_string()))?;
        if accepted.repeated {
            return Err(at(format!("stands at {} already", accepted.leaf)));
        }
        self.roots.push((self.state.commands().root(), self.state.public_log().root()));
        Ok(())
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        if !node.has_grown() {
            return Ok(());
        }
        let size = node.list.commands().size();
        let roots = (node.list.commands().root(), node.list.public_log().root());
        if self.roots.get(size as usize) != Some(&roots) {
            return Err(format!("{} has roots {roots:?} at {size} leaves, its leaves come to others", node.member));
        }
        if size == self.state.commands().size() && Snapshot::from(node.list) != Snapshot::from(&self.state) {
            return Err(format!("{} shows something at {size} leaves that its leaves do not come to", node.member));
        }
        Ok(())
    }
}

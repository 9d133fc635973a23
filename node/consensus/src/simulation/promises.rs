//! The votes that nodes gave in elections, as they left them: a node's promises, which outlive a crash of it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::types::{NodeId, Vote};

#[derive(Default)]
struct Promises {
    /// The highest vote that each node has given.
    given: BTreeMap<NodeId, (u64, NodeId)>,
    broken: Option<String>,
}

thread_local! {
    static PROMISES: RefCell<Promises> = RefCell::default();
}

/// Forgets them all: another simulation begins in this thread.
pub(super) fn reset() {
    PROMISES.with_borrow_mut(|promises| *promises = Promises::default());
}

/// A node answers that it votes for somebody.
pub(crate) fn given(node: NodeId, vote: &Vote) {
    let given = (vote.leader_id.term, vote.leader_id.node_id);
    PROMISES.with_borrow_mut(|promises| {
        let before = promises.given.entry(node).or_insert(given);
        if given < *before {
            let (term, candidate) = *before;
            promises.broken = Some(format!(
                "node {node} voted for node {} in term {}, after it had voted for node {candidate} in term {term}",
                given.1, given.0
            ));
        }
        *before = given.max(*before);
    });
}

/// What a node broke of what it had promised before, if one did.
pub fn broken_promise() -> Option<String> {
    PROMISES.with_borrow(|promises| promises.broken.clone())
}

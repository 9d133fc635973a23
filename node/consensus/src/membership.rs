//! Raft's membership follows the roster: whoever leads takes the steps that are missing, and a follower refuses a step that the
//! roster does not ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::Duration;

use comity_core::genesis::Genesis;
use comity_core::roster::{Roster, Voters, member_of_node, node_id};
use openraft::async_runtime::WatchReceiver as _;
use openraft::{BasicNode, ChangeMembers};

use crate::consensus::Inner;
use crate::types::{Membership, NodeId};

/// How often it is looked whether a step is missing, where nothing else calls for it.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many entries a node may be behind and yet be made a voter.
const CLOSE_ENTRIES: u64 = 1_000;

/// The nodes that decide by the roster.
pub(crate) fn nodes_of(voters: &Voters) -> BTreeSet<NodeId> {
    voters.values().map(|voter| voter.node_id).collect()
}

/// The nodes that decide by the roster, as the membership names them.
pub(crate) fn named(voters: &Voters) -> BTreeMap<NodeId, BasicNode> {
    voters.iter().map(|(member, voter)| (voter.node_id, BasicNode::new(member))).collect()
}

/// The nodes with which every log begins: those of the genesis's voters.
pub(crate) fn founders(genesis: &Genesis) -> BTreeMap<NodeId, BasicNode> {
    genesis.voters().map(|row| (node_id(row.member, 1), BasicNode::new(row.member))).collect()
}

/// INVARIANT: a membership is one that the roster asks for: voters that the roster had, never older than those that decide
/// now, and beside them only nodes that the roster names.
pub(crate) fn is_asked_for(roster: &Roster, current: &Membership, proposed: &Membership) -> bool {
    let history: Vec<BTreeSet<NodeId>> = roster.voters_history().map(|voters| nodes_of(voters)).collect();
    let now = current.get_joint_config();
    let from = now.last().and_then(|voters| history.iter().rposition(|known| known == voters)).unwrap_or(0);
    let later = history.get(from..).unwrap_or_default();
    let known: BTreeSet<NodeId> =
        later.iter().flatten().copied().chain(current.nodes().map(|(node, _)| *node)).collect();
    let steps = proposed.get_joint_config();
    let fits = |voters: &BTreeSet<NodeId>| later.contains(voters) || now.contains(voters);
    !steps.is_empty()
        && steps.iter().all(fits)
        && proposed.nodes().all(|(node, named)| {
            known.contains(node) && member_of_node(*node).is_some_and(|(member, _)| member.as_str() == named.addr)
        })
}

/// What is to be done next, where this node leads.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A node is sent the log, so that it can be made a voter.
    Learn(NodeId, BasicNode),
    /// These are the voters from now on.
    Voters(BTreeSet<NodeId>),
}

/// The next step from a membership to the roster's voters. `behind` tells how many entries a node lacks; nothing where it has
/// not answered.
fn next_step(voters: &Voters, current: &Membership, behind: impl Fn(NodeId) -> Option<u64>) -> Option<Step> {
    let wanted = nodes_of(voters);
    let names: BTreeMap<NodeId, &BasicNode> = current.nodes().map(|(node, named)| (*node, named)).collect();
    if let Some((node, named)) = named(voters).into_iter().find(|(node, _)| !names.contains_key(node)) {
        return Some(Step::Learn(node, named));
    }
    let deciding = current.get_joint_config().last().cloned().unwrap_or_default();
    // Whoever is new and far behind would hold up every decision: it is waited for, and the others are not.
    let close = |node: &NodeId| behind(*node).is_some_and(|entries| entries <= CLOSE_ENTRIES);
    let next: BTreeSet<NodeId> = wanted.iter().copied().filter(|node| deciding.contains(node) || close(node)).collect();
    let learners_left = names.keys().any(|node| !wanted.contains(node));
    let settled = next == deciding && current.get_joint_config().len() == 1;
    if next.is_empty() || settled && !(learners_left && next == wanted) { None } else { Some(Step::Voters(next)) }
}

/// Takes the missing steps for as long as this node runs, whenever it leads.
pub(crate) async fn follow(inner: Weak<Inner>) {
    loop {
        let news = {
            let Some(inner) = inner.upgrade() else { return };
            if inner.stopped().is_some() {
                return;
            }
            inner.follow_once().await;
            inner.applied.position()
        };
        let mut news = news;
        // Whether or not something was applied: a step may have failed, or another node may have caught up.
        let _ = tokio::time::timeout(LOOK_EVERY, news.changed()).await;
        tokio::time::sleep(LOOK_EVERY / 10).await;
    }
}

impl Inner {
    async fn follow_once(&self) {
        self.applied.roster(|roster| self.peers.follow(roster));
        let (current, last, replicated) = {
            let metrics = self.raft.metrics();
            let now = metrics.borrow_watched();
            if now.current_leader != Some(now.id) {
                return;
            }
            let last = now.last_log_index.unwrap_or_default();
            let replicated: BTreeMap<NodeId, Option<u64>> = now
                .replication
                .iter()
                .flatten()
                .map(|(node, matched)| (*node, matched.as_ref().map(|id| id.index)))
                .collect();
            (now.membership_config.membership().clone(), last, replicated)
        };
        let behind = |node: NodeId| {
            let matched = replicated.get(&node).copied().flatten()?;
            Some(last.saturating_sub(matched))
        };
        let voters = self.applied.read(|list| list.roster().voters().clone());
        let Some(step) = next_step(&voters, &current, behind) else { return };
        tracing::info!(?step, "the membership follows the roster");
        let done = match step {
            Step::Learn(node, named) => self.raft.add_learner(node, named, false).await.map(drop),
            Step::Voters(nodes) => {
                self.raft.change_membership(ChangeMembers::ReplaceAllVoters(nodes), false).await.map(drop)
            }
        };
        if let Err(error) = done {
            // Another leads, or a change is under way: looked at again soon.
            tracing::debug!(%error, "a step of the membership was not taken");
        }
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;

//! Raft's membership follows the roster: whoever leads takes the steps that are missing, and a follower refuses a step that the
//! roster does not ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use comity_core::genesis::Genesis;
use comity_core::list::ListState;
use comity_core::roster::{Voters, member_of_node, node_id};
use openraft::async_runtime::WatchReceiver as _;
use openraft::{BasicNode, ChangeMembers};

use crate::consensus::Inner;
use crate::types::{Membership, NodeId};

/// How often it is looked whether a step is missing, where nothing else calls for it.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How many entries a node may be behind and yet be made a voter.
const CLOSE_ENTRIES: u64 = 1_000;
/// How far the log may go on between the roster that a step follows and the step: more than can be proposed at one time.
const RECENT_LEAVES: u64 = 4_096;

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

/// INVARIANT: a membership is one that the roster asks for. Who joins is a voter by it, or was within the last
/// [`RECENT_LEAVES`]: whoever took the step may not have seen what came after. Who leaves is none any more, or was readmitted
/// since then. Who was admitted and has not come yet may be missing.
///
/// `list` is what follows from all that is committed before the step, and `since` how long its log was when `current` was what
/// counts. Whoever has no membership yet takes one in which those decide who always did.
pub(crate) fn is_asked_for(list: &ListState, since: u64, current: &Membership, proposed: &Membership) -> bool {
    let roster = list.roster();
    let history: Vec<BTreeSet<NodeId>> = roster.voters_history().map(|voters| nodes_of(voters)).collect();
    let now = current.get_joint_config();
    let from = if now.is_empty() {
        0
    } else {
        let at = roster.voters_at(since.saturating_sub(RECENT_LEAVES));
        roster.voters_history().position(|voters| Arc::ptr_eq(voters, at)).unwrap_or_default()
    };
    let recent = || history.iter().skip(from);
    let deciding = now.last().cloned().unwrap_or_default();
    let stays: BTreeSet<NodeId> = if now.is_empty() {
        let always = |node: &NodeId| history.iter().all(|voters| voters.contains(node));
        history.iter().flatten().copied().filter(always).collect()
    } else {
        let readmitted = |node: &NodeId| {
            let left = history.iter().rposition(|voters| !voters.contains(node));
            left.is_some_and(|left| left >= from && history.iter().take(left).any(|voters| voters.contains(node)))
        };
        let votes = |node: &NodeId| history.last().is_some_and(|voters| voters.contains(node));
        deciding.iter().copied().filter(|node| votes(node) && !readmitted(node)).collect()
    };
    let joins = |node: &NodeId| deciding.contains(node) || recent().any(|voters| voters.contains(node));
    let fits = |voters: &BTreeSet<NodeId>| {
        now.contains(voters) || !voters.is_empty() && voters.is_superset(&stays) && voters.iter().all(joins)
    };
    let known: BTreeSet<NodeId> = recent().flatten().copied().chain(current.nodes().map(|(node, _)| *node)).collect();
    let steps = proposed.get_joint_config();
    !steps.is_empty()
        && steps.iter().all(fits)
        && proposed.nodes().all(|(node, named)| {
            known.contains(node) && member_of_node(*node).is_some_and(|(member, _)| member.as_str() == named.addr)
        })
}

/// The nodes that decide no more by the roster and without which the others cannot take the step to a membership that leaves
/// them out: none, but where a federation shrinks by half. One of them may lead, and hold entries that the others lack: it is
/// heard, in consensus alone, until it has handed over.
pub(crate) fn still_needed(voters: &Voters, current: &Membership) -> BTreeSet<NodeId> {
    let wanted = nodes_of(voters);
    let blocked = |config: &&BTreeSet<NodeId>| config.intersection(&wanted).count() < config.len() / 2 + 1;
    current.get_joint_config().iter().filter(blocked).flatten().copied().filter(|node| !wanted.contains(node)).collect()
}

/// What is to be done next, where this node leads.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// A node is sent the log, so that it can be made a voter.
    Learn(NodeId, BasicNode),
    /// These are the voters from now on.
    Voters(BTreeSet<NodeId>),
    /// These are sent nothing any more: they left before they had become voters.
    Forget(BTreeSet<NodeId>),
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
    if next.is_empty() {
        return None;
    }
    if next != deciding || current.get_joint_config().len() != 1 {
        return Some(Step::Voters(next));
    }
    let gone: BTreeSet<NodeId> = names.into_keys().filter(|node| !wanted.contains(node)).collect();
    (!gone.is_empty()).then_some(Step::Forget(gone))
}

/// Takes the missing steps for as long as this node runs, whenever it leads.
pub(crate) async fn follow(inner: Weak<Inner>) {
    loop {
        let news = {
            let Some(inner) = inner.upgrade() else { return };
            if inner.stopped().is_some() || inner.is_retired().await {
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
    /// Stops where the members have another node of this member in this one's place: nobody hears it any more.
    async fn is_retired(&self) -> bool {
        let own = member_of_node(self.peers.own().node).map(|(_, incarnation)| incarnation);
        let now = self.applied.roster(|roster| roster.get(self.member).map(|standing| standing.incarnation));
        if now <= own {
            return false;
        }
        tracing::error!(?own, ?now, "the members count another node of this member: set up a new one as that");
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        true
    }

    async fn follow_once(&self) {
        let (leads, current, last, replicated) = {
            let metrics = self.raft.metrics();
            let now = metrics.borrow_watched();
            let last = now.last_log_index.unwrap_or_default();
            let replicated: BTreeMap<NodeId, Option<u64>> = now
                .replication
                .iter()
                .flatten()
                .map(|(node, matched)| (*node, matched.as_ref().map(|id| id.index)))
                .collect();
            let current = now.membership_config.membership().clone();
            (now.current_leader == Some(now.id), current, last, replicated)
        };
        let needed = self.applied.roster(|roster| {
            let needed = still_needed(roster.voters(), &current);
            self.peers.follow(roster, &needed);
            needed
        });
        self.applied.needs(needed);
        if !leads {
            return;
        }
        let behind = |node: NodeId| {
            let matched = replicated.get(&node).copied().flatten()?;
            Some(last.saturating_sub(matched))
        };
        let voters = self.applied.read(|list| list.roster().voters().clone());
        if !nodes_of(&voters).contains(&self.peers.own().node) {
            // The others go on without this node, and hear no more of it.
            if let Some(heir) = self.heir()
                && self.raft.trigger().transfer_leader(heir).await.is_ok()
            {
                tracing::info!(heir, "this node does not decide any more, and hands leadership on");
            }
            return;
        }
        let Some(step) = next_step(&voters, &current, behind) else { return };
        tracing::info!(?step, "the membership follows the roster");
        let done = match step {
            Step::Learn(node, named) => self.raft.add_learner(node, named, false).await.map(drop),
            Step::Voters(nodes) => {
                self.raft.change_membership(ChangeMembers::ReplaceAllVoters(nodes), false).await.map(drop)
            }
            Step::Forget(nodes) => {
                self.raft.change_membership(ChangeMembers::RemoveNodes(nodes), false).await.map(drop)
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

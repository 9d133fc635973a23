//! List time never goes back, and is never later than what a majority attested, nor than every honest clock.

use std::collections::BTreeMap;

use comity_core::testing::Federation;
use comity_core::{MemberId, Timestamp};

use super::Invariant;
use crate::history::{Leaf, NodeView};

pub(crate) struct ListTime {
    /// How many make a majority.
    majority: usize,
    attested: BTreeMap<MemberId, Timestamp>,
    /// The latest instant that a majority has attested, after each leaf; nothing before there is one.
    latest: Vec<Option<Timestamp>>,
    /// What each node showed last.
    shown: BTreeMap<MemberId, (u64, Timestamp)>,
}

impl ListTime {
    pub(crate) fn new(federation: &Federation) -> Self {
        let majority = federation.voters().len() / 2 + 1;
        Self { majority, attested: BTreeMap::new(), latest: Vec::new(), shown: BTreeMap::new() }
    }
}

impl Invariant for ListTime {
    fn name(&self) -> &'static str {
        "list time is what a majority attests"
    }

    fn leaf(&mut self, leaf: &Leaf) -> Result<(), String> {
        if let Some(time) = leaf.said.time {
            let known = self.attested.entry(leaf.said.member).or_insert(time);
            *known = time.max(*known);
        }
        let mut times: Vec<Timestamp> = self.attested.values().copied().collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        self.latest.push(times.get(self.majority - 1).copied());
        Ok(())
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        let (size, time) = (node.list.commands().size(), node.list.list_time());
        let created = node.list.genesis().document().created;
        let latest = size.checked_sub(1).and_then(|leaf| self.latest.get(leaf as usize).copied().flatten());
        if time > latest.unwrap_or(created).max(created) {
            return Err(format!("{} is at {time} with {size} leaves, a majority at {latest:?}", node.member));
        }
        if let Some((before, then)) = self.shown.insert(node.member, (size, time))
            && before <= size
            && then > time
        {
            return Err(format!("{} was at {then} and is at {time}", node.member));
        }
        let honest = node.world.machines.iter().filter(|machine| !machine.lies);
        let furthest = honest.map(|machine| machine.clock.at(node.now)).max().unwrap_or(created);
        if time > furthest.max(created) {
            return Err(format!("{} is at {time}, and no honest clock is past {furthest}", node.member));
        }
        Ok(())
    }
}

//! List time never goes back, and is what a majority attested: never later than every honest clock.

use std::collections::BTreeMap;

use comity_core::{MemberId, Timestamp};

use super::Invariant;
use crate::history::NodeView;

/// What each node showed last.
#[derive(Default)]
pub(crate) struct ListTime(BTreeMap<MemberId, (u64, Timestamp)>);

impl Invariant for ListTime {
    fn name(&self) -> &'static str {
        "list time is what a majority attests"
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        let (size, time) = (node.list.commands().size(), node.list.list_time());
        let agreed = node.judge.times.get(size as usize).copied();
        if Some(time) != agreed {
            return Err(format!("{} is at {time} with {size} leaves, a majority at {agreed:?}", node.member));
        }
        if let Some((before, then)) = self.0.insert(node.member, (size, time))
            && before <= size
            && then > time
        {
            return Err(format!("{} was at {then} and is at {time}", node.member));
        }
        let created = node.list.genesis().document().created;
        let honest = node.world.machines.iter().filter(|machine| !machine.lies);
        let furthest = honest.map(|machine| machine.clock.at(node.now)).max().unwrap_or(created);
        if time > furthest.max(created) {
            return Err(format!("{} is at {time}, and no honest clock is past {furthest}", node.member));
        }
        Ok(())
    }
}

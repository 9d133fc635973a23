//! Policies that end: which of a file are in force at an instant.

use std::sync::OnceLock;

use cedar_policy::{PolicyId as CedarId, PolicySet};
use comity_core::Timestamp;

use super::Entry;

/// The stretches of time between the ends of a file's policies.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// The policies before the first end.
    all: PolicySet,
    /// Each instant at which policies end, in order.
    ends: Vec<End>,
}

#[derive(Debug, Clone)]
struct End {
    at: Timestamp,
    ended: Vec<CedarId>,
    /// What is left from then on: made when it is first asked for, since most files are replaced before most ends.
    left: OnceLock<PolicySet>,
}

/// What is in force at an instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Term<'a> {
    /// How many of the file's ends have passed: two instants with the same number have the same policies.
    pub(crate) number: usize,
    pub(crate) policies: &'a PolicySet,
    /// The next end, whichever policy it is of.
    pub(crate) until: Option<Timestamp>,
}

impl Terms {
    pub(super) fn new(all: PolicySet, entries: &[Entry]) -> Self {
        let mut instants: Vec<Timestamp> = entries.iter().filter_map(|entry| entry.until).collect();
        instants.sort_unstable();
        instants.dedup();
        let ended = |at| {
            let ended = entries.iter().filter(|entry| entry.has_ended(at));
            ended.map(|entry| CedarId::new(entry.id.as_str())).collect()
        };
        let ends = instants.into_iter().map(|at| End { at, ended: ended(at), left: OnceLock::new() });
        Self { ends: ends.collect(), all }
    }

    pub(super) fn at(&self, at: Timestamp) -> Term<'_> {
        let number = self.ends.partition_point(|end| end.at <= at);
        let until = self.ends.get(number).map(|end| end.at);
        let last = number.checked_sub(1).and_then(|last| self.ends.get(last));
        let policies = last.map_or(&self.all, |end| end.left.get_or_init(|| self.without(&end.ended)));
        Term { number, policies, until }
    }

    fn without(&self, ended: &[CedarId]) -> PolicySet {
        let left = self.all.policies().filter(|policy| !ended.contains(policy.id())).cloned();
        // INVARIANT: the ids are those of one set, so that none clashes; if one did, nothing would be permitted.
        PolicySet::from_policies(left).unwrap_or_default()
    }
}

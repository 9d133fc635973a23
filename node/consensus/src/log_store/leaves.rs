//! Where in the replicated log the leaves of the command log stand that are not purged from it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Told by whoever applies, asked by whoever reads or purges. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leaves(Arc<Mutex<Map>>);

#[derive(Debug, Default)]
struct Map {
    /// The first leaf that is not purged.
    first: u64,
    /// Where it and those after it stand.
    indexes: VecDeque<u64>,
    /// One past the last applied entry.
    applied_end: u64,
}

/// Where leaves are to be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the table of commands, this many at least.
    Purged(u64),
    /// In the log, at these indexes.
    Logged(Vec<u64>),
}

impl Leaves {
    /// Those of a log of which `commands` leaves, and all entries below `end`, are purged.
    pub(super) fn above(commands: u64, end: u64) -> Self {
        Self(Arc::new(Mutex::new(Map { first: commands, indexes: VecDeque::new(), applied_end: end })))
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries below `end` are applied; those at `accepted` became leaves.
    pub(crate) fn applied(&self, accepted: impl IntoIterator<Item = u64>, end: u64) {
        let mut map = self.map();
        map.indexes.extend(accepted);
        map.applied_end = map.applied_end.max(end);
    }

    pub(super) fn applied_end(&self) -> u64 {
        self.map().applied_end
    }

    pub(super) fn place(&self, first: u64, limit: usize) -> Place {
        let map = self.map();
        if first < map.first {
            return Place::Purged(map.first - first);
        }
        let skip = usize::try_from(first - map.first).unwrap_or(usize::MAX);
        Place::Logged(map.indexes.iter().skip(skip).take(limit).copied().collect())
    }

    /// The first leaf that is not purged, and where it and those after it stand, below the entry `end`.
    pub(super) fn below(&self, end: u64) -> (u64, Vec<u64>) {
        let map = self.map();
        (map.first, map.indexes.iter().take_while(|index| **index < end).copied().collect())
    }

    /// Entries below `end` are purged, and `commands` leaves with them.
    pub(super) fn purged(&self, commands: u64, end: u64) {
        let mut map = self.map();
        while map.indexes.pop_front_if(|index| *index < end).is_some() {}
        map.first = commands;
        map.applied_end = map.applied_end.max(end);
    }

    #[cfg(test)]
    pub(crate) fn indexes(&self) -> Vec<u64> {
        self.map().indexes.iter().copied().collect()
    }
}

//! Which handshakes are under way, and whose gives way when there is no more room.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tokio::task::{AbortHandle, Id};

/// Whom sockets are counted by: an IPv4 address, or an IPv6 /64, which one host can fill alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

impl Source {
    pub(super) fn of(remote: SocketAddr) -> Self {
        match remote.ip().to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                Self(IpAddr::V6(Ipv6Addr::from(network)))
            }
            v4 => Self(v4),
        }
    }
}

/// The handshakes under way, each source's in the order in which they came.
#[derive(Debug)]
pub(super) struct Slots {
    max: usize,
    max_per_source: usize,
    next_number: u64,
    sources: HashMap<Source, VecDeque<Slot>>,
    by_task: HashMap<Id, Source>,
    /// Told to give way, and not yet seen to have ended.
    evicted: HashMap<Id, SocketAddr>,
}

#[derive(Debug)]
struct Slot {
    number: u64,
    remote: SocketAddr,
    task: AbortHandle,
}

impl Slots {
    pub(super) fn new(max: usize, max_per_source: usize) -> Self {
        let (max, max_per_source) = (max.max(1), max_per_source.max(1));
        Self {
            max,
            max_per_source,
            next_number: 0,
            sources: HashMap::new(),
            by_task: HashMap::new(),
            evicted: HashMap::new(),
        }
    }

    pub(super) fn insert(&mut self, source: Source, remote: SocketAddr, task: AbortHandle) {
        self.by_task.insert(task.id(), source);
        let slot = Slot { number: self.next_number, remote, task };
        self.next_number += 1;
        self.sources.entry(source).or_default().push_back(slot);
    }

    /// Forgets a task that has ended. If it was told to give way, tells whose it was.
    pub(super) fn free(&mut self, task: Id) -> Option<SocketAddr> {
        if let Some(source) = self.by_task.remove(&task)
            && let Some(slots) = self.sources.get_mut(&source)
        {
            slots.retain(|slot| slot.task.id() != task);
            if slots.is_empty() {
                self.sources.remove(&source);
            }
        }
        self.evicted.remove(&task)
    }

    /// Makes room for a new handshake from `source`, ending others where it must.
    ///
    /// A source at its own limit loses its own oldest: within a flood from one address an honest caller is the newest and
    /// has until as many more have come to finish. At the limit of all, the busiest source loses its oldest, so that
    /// whoever opens few sockets never pays for those who open many.
    pub(super) fn make_room(&mut self, source: Source) {
        while self.sources.get(&source).is_some_and(|slots| slots.len() >= self.max_per_source) {
            self.evict_oldest_of(source);
        }
        while self.by_task.len() >= self.max {
            self.evict_one();
        }
    }

    /// Ends the oldest handshake of the busiest source; among equally busy ones, the oldest of all.
    pub(super) fn evict_one(&mut self) {
        let rank = |slots: &VecDeque<Slot>| {
            (slots.len(), std::cmp::Reverse(slots.front().map_or(u64::MAX, |slot| slot.number)))
        };
        if let Some((&busiest, _)) = self.sources.iter().max_by_key(|(_, slots)| rank(slots)) {
            self.evict_oldest_of(busiest);
        }
    }

    fn evict_oldest_of(&mut self, source: Source) {
        let Some(slots) = self.sources.get_mut(&source) else { return };
        let oldest = slots.pop_front();
        if slots.is_empty() {
            self.sources.remove(&source);
        }
        if let Some(slot) = oldest {
            // INVARIANT: `by_task` holds the tasks in `sources` and no others, so that the loops above come to an end.
            self.by_task.remove(&slot.task.id());
            self.evicted.insert(slot.task.id(), slot.remote);
            slot.task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn idle(slots: &mut Slots, from: &str) {
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        slots.insert(Source::of(address(from)), address(from), task);
    }

    fn evicted(slots: &Slots) -> Vec<SocketAddr> {
        slots.evicted.values().copied().collect()
    }

    #[test]
    fn a_source_is_an_address_or_a_network() {
        let same = |a: &str, b: &str| Source::of(address(a)) == Source::of(address(b));
        assert!(same("192.0.2.1:1", "192.0.2.1:2"));
        assert!(!same("192.0.2.1:1", "192.0.2.2:1"));
        assert!(same("[2001:db8::1]:1", "[2001:db8::ffff:2]:1"));
        assert!(!same("[2001:db8::1]:1", "[2001:db8:0:1::1]:1"));
        assert!(same("[::ffff:192.0.2.1]:1", "192.0.2.1:1"));
    }

    #[tokio::test]
    async fn a_source_at_its_limit_pays_itself() {
        let mut slots = Slots::new(10, 2);
        for from in ["192.0.2.9:1", "192.0.2.1:1", "192.0.2.1:2"] {
            idle(&mut slots, from);
        }
        let source = Source::of(address("192.0.2.1:3"));
        slots.make_room(source);
        slots.make_room(source);
        assert_eq!(evicted(&slots), [address("192.0.2.1:1")]);
    }

    #[tokio::test]
    async fn the_busiest_source_pays_for_all() {
        let mut slots = Slots::new(4, 3);
        for from in ["192.0.2.9:1", "192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3"] {
            idle(&mut slots, from);
        }
        let newcomer = Source::of(address("192.0.2.2:1"));
        slots.make_room(newcomer);
        slots.make_room(newcomer);
        assert_eq!(evicted(&slots), [address("192.0.2.1:1")]);
    }

    #[tokio::test]
    async fn ended_tasks_leave_their_slot() {
        let mut slots = Slots::new(1, 1);
        let remote = address("192.0.2.1:1");
        let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
        slots.insert(Source::of(remote), remote, task.clone());
        assert_eq!(slots.free(task.id()), None);
        slots.make_room(Source::of(remote));
        assert!(slots.sources.is_empty() && slots.by_task.is_empty() && slots.evicted.is_empty());

        slots.insert(Source::of(remote), remote, task.clone());
        slots.make_room(Source::of(remote));
        assert_eq!(slots.free(task.id()), Some(remote));
        assert!(slots.sources.is_empty() && slots.by_task.is_empty() && slots.evicted.is_empty());
    }
}

//! Watching the public log: each leaf once, in order, for as long as somebody listens.
//!
//! Nothing is queued for a watcher: it asks for the next leaf and waits where there is none, so that a slow one costs a place and
//! no memory. Places are bounded, in all and for each person.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use comity_consensus::Position;
use comity_consensus::cosign::Agreed;
use comity_core::SpiffeId;
use tokio::sync::watch;

use crate::error::{AppError, InternalError};
use crate::node::Node;
use crate::publications::PublicationView;

/// How many may watch at one time.
const WATCHERS_MAX: usize = 512;
/// How many of them for one person.
const WATCHERS_MAX_PER_PERSON: usize = 16;

/// Who watches now.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Mutex<BTreeMap<SpiffeId, usize>>);

/// A place among the watchers, given back when dropped.
#[derive(Debug)]
struct Place {
    watchers: Arc<Watchers>,
    who: SpiffeId,
}

impl Watchers {
    fn enter(self: &Arc<Self>, who: &SpiffeId) -> Result<Place, AppError> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (counts.values().sum::<usize>(), counts.get(who).copied().unwrap_or_default());
        if all >= WATCHERS_MAX || own >= WATCHERS_MAX_PER_PERSON {
            return Err(AppError::Exhausted {
                reason: "TOO_MANY_WATCHERS",
                problem: format!(
                    "{all} watch this node's list, {own} of them in your name: at most {WATCHERS_MAX}, and \
                     {WATCHERS_MAX_PER_PERSON} for one person; end one first"
                ),
            });
        }
        *counts.entry(who.clone()).or_default() += 1;
        Ok(Place { watchers: Arc::clone(self), who: who.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.watchers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.who);
            }
        }
    }
}

/// Somebody who watches the public log.
#[derive(Debug)]
pub struct ListWatch {
    node: Arc<Node>,
    next: u64,
    agreed_only: bool,
    position: watch::Receiver<Position>,
    agreed: watch::Receiver<Option<Agreed>>,
    stopping: watch::Receiver<bool>,
    _place: Place,
}

/// A leaf for a watcher, and up to where the log was agreed when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedPublication {
    /// The leaf.
    pub publication: PublicationView,
    /// Up to where the public log is agreed.
    pub agreed_publications: u64,
}

impl Node {
    /// Watches the public log from a leaf on.
    ///
    /// # Errors
    /// Too many watch already.
    pub fn watch_list(self: &Arc<Self>, who: &SpiffeId, from: u64, agreed_only: bool) -> Result<ListWatch, AppError> {
        Ok(ListWatch {
            next: from,
            agreed_only,
            position: self.consensus.subscribe(),
            agreed: self.cosigner.agreed(),
            stopping: self.stopping(),
            _place: self.watchers.enter(who)?,
            node: Arc::clone(self),
        })
    }
}

impl ListWatch {
    /// The next leaf, as soon as there is one; nothing once the node stops.
    ///
    /// # Errors
    /// The list's storage cannot be read.
    pub async fn next(&mut self) -> Result<Option<WatchedPublication>, AppError> {
        loop {
            // Marked as seen before looking, so that news in between is not slept through.
            self.position.borrow_and_update();
            self.agreed.borrow_and_update();
            if *self.stopping.borrow() {
                return Ok(None);
            }
            let agreed_publications = self.node.agreed_publications();
            let may_be_sent = !self.agreed_only || self.next < agreed_publications;
            if may_be_sent && let Some(publication) = self.node.publication(self.next).await? {
                self.next = self
                    .next
                    .checked_add(1)
                    .ok_or_else(|| InternalError::Corrupt { what: "public log", problem: "it has no end".into() })?;
                return Ok(Some(WatchedPublication { publication, agreed_publications }));
            }
            let ended = tokio::select! {
                changed = self.position.changed() => changed.is_err(),
                changed = self.agreed.changed() => changed.is_err(),
                _ = self.stopping.wait_for(|stopping| *stopping) => true,
            };
            if ended {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let watchers: Arc<Watchers> = Arc::default();
        let person = |n: usize| format!("spiffe://fr.comity.example/auditor/audit-{n}").parse::<SpiffeId>().unwrap();
        let own: Vec<Place> = (0..WATCHERS_MAX_PER_PERSON).map(|_| watchers.enter(&person(0)).unwrap()).collect();
        assert!(matches!(watchers.enter(&person(0)), Err(AppError::Exhausted { reason: "TOO_MANY_WATCHERS", .. })));
        let others: Vec<Place> =
            (WATCHERS_MAX_PER_PERSON..WATCHERS_MAX).map(|n| watchers.enter(&person(n)).unwrap()).collect();
        assert!(watchers.enter(&person(9_999)).is_err());
        drop(own);
        watchers.enter(&person(0)).unwrap();
        drop(others);
        assert!(watchers.0.lock().unwrap().is_empty());
    }
}

//! Watching the public log: each leaf once, in order, for as long as somebody listens.
//!
//! Nothing is queued for a watcher: it asks for the next leaf and waits where there is none, so that a slow one costs a place and
//! no memory. Places are bounded, in all and for each person: [`crate::watchers`].

use std::sync::Arc;

use comity_consensus::Position;
use comity_consensus::cosign::Agreed;
use comity_core::SpiffeId;
use tokio::sync::watch;

use crate::error::{AppError, InternalError};
use crate::node::Node;
use crate::publications::PublicationView;
use crate::watchers::Place;

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

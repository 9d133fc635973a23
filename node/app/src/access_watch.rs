//! Watching the access log: what matches, oldest first, each leaf once, and then what is added.
//!
//! As with the public log, nothing is queued for a watcher. That it began is recorded by the access layer; that it ended, and how much
//! it was shown, here: one record for the whole of it, or a follower would be shown its own looking for ever.

use std::sync::Arc;

use comity_core::SpiffeId;
use comity_core::access::{AccessRecord, Touched};
use comity_store::access_log::{AccessFilter, Head, Order};
use tokio::sync::watch;

use crate::audit::{STEP_LEAVES, STRETCH_LEAVES, said};
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;
use crate::watchers::Place;

/// The action of the record that is left when somebody has looked.
pub const WATCH_ENDED: &str = "AuditService/WatchAccessRecords end";
/// What was looked at, in the log's own records.
pub const LOG_RESOURCE: &str = "access-log";
/// A batch is closed once its leaves hold so much, in bytes; the last of them may go beyond.
const BATCH_FULL_BYTES: usize = 512 * 1024;
/// The most records of one batch.
const BATCH_MAX_RECORDS: usize = 200;

/// Who looks, for the record of it.
#[derive(Debug, Clone)]
pub struct Looker {
    /// The auditor.
    pub who: SpiffeId,
    /// From which address and port.
    pub from: String,
    /// Ties the record of the end to that of the beginning.
    pub request_id: String,
    /// What is looked for, in the words of the record of the beginning.
    pub looked_for: String,
}

/// Where a reading of the log begins, and whether it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// No leaf before this one.
    pub from: u64,
    /// Whether to wait for what is added.
    pub follow: bool,
    /// Whether to begin with what is added from now on.
    pub only_new: bool,
}

/// Somebody who reads the access log, or follows it.
#[derive(Debug)]
pub struct AccessWatch {
    node: Arc<Node>,
    filter: AccessFilter,
    next: u64,
    /// Where it ends; a follower's has no end.
    end: Option<u64>,
    head: watch::Receiver<Head>,
    stopping: watch::Receiver<bool>,
    looker: Option<Looker>,
    shown: u64,
    _place: Place,
}

/// Some records, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessBatch {
    /// Their leaves, and what those say.
    pub records: Vec<(u64, AccessRecord)>,
    /// All leaves before this one are done with.
    pub next: u64,
}

impl Node {
    /// Reads the access log, oldest first.
    ///
    /// # Errors
    /// Too many watch already, or the log cannot be read.
    pub async fn watch_access_log(
        self: &Arc<Self>,
        looker: Looker,
        filter: AccessFilter,
        reach: Reach,
    ) -> Result<AccessWatch, AppError> {
        let place = self.watchers.enter(&looker.who)?;
        let head = self.access_log.watch();
        let size = head.borrow().size;
        let stretch = self.matching_stretch(&filter).await?;
        let from = if reach.only_new { size } else { reach.from };
        Ok(AccessWatch {
            // A follower's since may be yet to come: nothing is skipped on its account.
            next: from.max(stretch.start.min(size)),
            end: if reach.follow { None } else { Some(stretch.end) },
            filter,
            head,
            stopping: self.stopping(),
            looker: Some(looker),
            shown: 0,
            _place: place,
            node: Arc::clone(self),
        })
    }
}

impl AccessWatch {
    /// The leaf from which it goes on.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Whether all that was asked for has been shown; a follower is never done.
    pub fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// The next records, as soon as there are some; nothing once all were shown, or the node stops.
    ///
    /// # Errors
    /// The log cannot be read or, at the end, not be written.
    pub async fn next(&mut self) -> Result<Option<AccessBatch>, AppError> {
        loop {
            // Marked as seen before looking, so that news in between is not slept through.
            let size = self.head.borrow_and_update().size;
            if *self.stopping.borrow() {
                break;
            }
            let end = self.end.unwrap_or(size).min(size);
            let records = self.read_to(end).await?;
            if !records.is_empty() {
                self.shown += records.len() as u64;
                return Ok(Some(AccessBatch { records, next: self.next }));
            }
            if self.end.is_some() {
                break;
            }
            let ended = tokio::select! {
                changed = self.head.changed() => changed.is_err(),
                _ = self.stopping.wait_for(|stopping| *stopping) => true,
            };
            if ended {
                break;
            }
        }
        if let Some(looker) = self.looker.take() {
            self.node.record_access(self.ended(looker)).await?;
        }
        Ok(None)
    }

    /// A batch of what matches before a leaf. INVARIANT: whatever lies before `next` was shown or does not match.
    async fn read_to(&mut self, end: u64) -> Result<Vec<(u64, AccessRecord)>, AppError> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while self.next < end && records.len() < BATCH_MAX_RECORDS && bytes < BATCH_FULL_BYTES {
            let stretch = self.next..end.min(self.next.saturating_add(STRETCH_LEAVES));
            let log = &self.node.access_log;
            let found = log.query_within(&self.filter, Order::OldestFirst, stretch.clone(), STEP_LEAVES).await;
            let found = found.map_err(InternalError::from)?;
            self.next = match found.last() {
                Some(last) if found.len() == STEP_LEAVES => last.n + 1,
                _ => stretch.end,
            };
            for stored in found {
                bytes += stored.leaf.record.len();
                records.push((stored.n, said(&stored)?));
            }
        }
        Ok(records)
    }

    fn ended(&self, looker: Looker) -> AccessRecord {
        let seen = format!("shown={} before={} {}", self.shown, self.next, looker.looked_for);
        AccessRecord {
            who: Some(looker.who),
            member: Some(self.node.member()),
            request_id: Some(looker.request_id),
            touched: vec![Touched::resource(LOG_RESOURCE).by(seen.trim_end())],
            ..AccessRecord::new(fresh::now(), looker.from, WATCH_ENDED)
        }
    }
}

impl Drop for AccessWatch {
    /// Whoever goes away in the middle of it has seen something, too.
    fn drop(&mut self) {
        let (Some(looker), Ok(runtime)) = (self.looker.take(), tokio::runtime::Handle::try_current()) else { return };
        let (node, record) = (Arc::clone(&self.node), self.ended(looker));
        runtime.spawn(async move {
            if let Err(error) = node.record_access(record).await {
                tracing::error!(%error, "that somebody looked into the access log was recorded when it began, not when it ended");
            }
        });
    }
}

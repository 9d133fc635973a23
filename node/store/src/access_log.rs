//! The access log: append-only, RFC 9162 hashing, one leaf for each access.
//!
//! [`AccessLog::append`] returns when the leaf is on disk and not before: nothing is answered that is not recorded. One
//! task writes; whatever waits while it writes goes into its next transaction, so that a sync serves many callers. A
//! failed transaction fails everybody in it and moves nothing; the next append tries again.
//!
//! The head is in memory and on disk. At opening they are made one from the stored hashes, and held against the last
//! signed checkpoint; [`AccessLog::verify_stored`] computes everything again from the leaves.

mod checkpoints;
mod incarnation;
mod proofs;
mod query;
mod segments;
mod state;
mod types;
mod verify;
mod writer;

use std::sync::Arc;

use comity_core::access::{AccessLeaf, AccessRecord};
use comity_core::canonical::Hex32;
use tokio::sync::{Mutex, Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use incarnation::Incarnation;
pub use query::{AccessFilter, ActionFilter, Order};
pub use types::{AccessLogError, Head, StoredLeaf, Tampering, Trouble};
pub use verify::{FAULTS_MAX, Verification};

use crate::database::Database;
use writer::{Append, PreparedLeaf, Writer};

/// How many appends may wait; further ones wait for room.
pub const QUEUE_MAX: usize = 1_024;
/// The largest record and its annex, as JSON.
pub const RECORD_MAX_BYTES: usize = 256 * 1024;

/// A handle on the access log. Clones share one log.
#[derive(Debug, Clone)]
pub struct AccessLog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    database: Database,
    appends: mpsc::Sender<Append>,
    head: watch::Receiver<Head>,
    incarnation: watch::Sender<Incarnation>,
    /// The first leaf that is not in an archive.
    archived: watch::Sender<u64>,
    trouble: watch::Receiver<Option<Trouble>>,
    closing: Arc<Notify>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl AccessLog {
    /// Takes up the log where it was left.
    pub(crate) async fn open(database: Database) -> Result<Self, AccessLogError> {
        let frontier = state::restore(&mut database.read().await?).await?;
        let archived = watch::Sender::new(segments::restore(&mut database.read().await?).await?);
        let incarnation = watch::Sender::new(incarnation::restore(&mut database.read().await?).await?);
        let (appends, queue) = mpsc::channel(QUEUE_MAX);
        let (head_sender, head) = watch::channel(Head { size: frontier.size(), root: frontier.root() });
        let (trouble_sender, trouble) = watch::channel(None);
        let closing = Arc::new(Notify::new());
        let writer = Writer::new(database.clone(), frontier, head_sender, trouble_sender);
        let task = tokio::spawn(writer.run(queue, Arc::clone(&closing)));
        let inner =
            Inner { database, appends, head, incarnation, archived, trouble, closing, writer: Mutex::new(Some(task)) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Appends one record. Returns the number of its leaf once that is on disk; a caller that does not wait for the answer
    /// leaves the leaf in the log all the same.
    ///
    /// # Errors
    /// The record is larger than [`RECORD_MAX_BYTES`], the disk did not take it, or the log is closed. What depended on it
    /// must be refused.
    pub async fn append(&self, record: AccessRecord) -> Result<u64, AccessLogError> {
        self.append_with(record, None).await
    }

    /// Appends one record, which may open an incarnation.
    async fn append_with(&self, record: AccessRecord, opens: Option<u64>) -> Result<u64, AccessLogError> {
        let mut salts = [[0; 32]; 2];
        getrandom::fill(salts.as_flattened_mut()).map_err(|_| AccessLogError::Random)?;
        let leaf = AccessLeaf::new(&record, salts.map(Hex32));
        let bytes = leaf.record.len() + leaf.annex.len();
        if bytes > RECORD_MAX_BYTES {
            return Err(AccessLogError::TooLarge { bytes });
        }
        let (done, answer) = oneshot::channel();
        let append = Append { leaf: PreparedLeaf::new(&record, leaf, opens), done };
        self.inner.appends.send(append).await.map_err(|_| AccessLogError::Closed)?;
        answer.await.map_err(|_| AccessLogError::Closed)?
    }

    /// Whether the last append could be written. A log that could not be recovers by being appended to: whoever refuses to append
    /// while it is not healthy must see to it that somebody tries.
    pub fn is_healthy(&self) -> bool {
        self.trouble().is_none()
    }

    /// Why the last append could not be written, if it could not.
    pub fn trouble(&self) -> Option<Trouble> {
        if self.inner.appends.is_closed() {
            return Some(Trouble::Closed);
        }
        *self.inner.trouble.borrow()
    }

    /// Changes whenever the log begins to fail, fails for another reason, or works again.
    pub fn watch_trouble(&self) -> watch::Receiver<Option<Trouble>> {
        self.inner.trouble.clone()
    }

    /// How long the log is, and its root.
    pub fn head(&self) -> Head {
        *self.inner.head.borrow()
    }

    /// Changes whenever leaves were appended.
    pub fn watch(&self) -> watch::Receiver<Head> {
        self.inner.head.clone()
    }

    /// Writes what waits and takes nothing more.
    pub(crate) async fn close(&self) {
        self.inner.closing.notify_one();
        if let Some(task) = self.inner.writer.lock().await.take() {
            task.await.ok();
        }
    }
}

#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod tamper_tests;
#[cfg(test)]
mod tests;

//! Review: auditors read the access log and take what they need to verify it themselves.

use comity_core::access::{AccessLeaf, AccessRecord};
use comity_core::checkpoint::SignedCheckpoint;
use comity_store::access_log::{AccessFilter, Order};

use crate::error::{AppError, InternalError};
use crate::node::Node;

/// How many leaves are read at one time. The record of a page that was released may have some hundred kilobytes.
const STEP_LEAVES: usize = 32;
/// An answer is closed once its leaves hold so much, in bytes; the last of them may go beyond.
const ANSWER_FULL_BYTES: usize = 4 * 1024 * 1024;

impl Node {
    /// Records that match, newest first, before a leaf: at most so many, and fewer where they are large. And the leaf before which
    /// there may be more.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn access_records(
        &self,
        filter: &AccessFilter,
        mut before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<(u64, AccessRecord)>, Option<u64>), AppError> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < limit && bytes < ANSWER_FULL_BYTES {
            let step = STEP_LEAVES.min(limit - records.len());
            let found = self.access_log.query(filter, Order::NewestFirst, before, step).await;
            let found = found.map_err(InternalError::from)?;
            let is_last = found.len() < step;
            for stored in found {
                let record = stored
                    .record()
                    .map_err(|e| InternalError::Corrupt { what: "access record", problem: e.to_string() })?;
                bytes += stored.leaf.record.len();
                before = Some(stored.n);
                records.push((stored.n, record));
            }
            if is_last {
                return Ok((records, None));
            }
        }
        Ok((records, before))
    }

    /// Leaves exactly as they are hashed, from one on: at most so many, and fewer where they are large.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn access_leaves(&self, mut first: u64, limit: usize) -> Result<Vec<(u64, AccessLeaf)>, AppError> {
        let (mut leaves, mut bytes) = (Vec::new(), 0);
        while leaves.len() < limit && bytes < ANSWER_FULL_BYTES {
            let step = STEP_LEAVES.min(limit - leaves.len());
            let found = self.access_log.leaves(first, step).await.map_err(InternalError::from)?;
            let is_last = found.len() < step;
            for stored in found {
                bytes += stored.leaf.record.len();
                first = stored.n + 1;
                leaves.push((stored.n, stored.leaf));
            }
            if is_last {
                break;
            }
        }
        Ok(leaves)
    }

    /// Holds every stored leaf, and the columns by which records are looked up, against each other; says what does not agree.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn access_log_faults(&self) -> Result<Vec<String>, AppError> {
        let verification = self.access_log.verify_stored().await.map_err(InternalError::from)?;
        Ok(verification.faults.iter().map(ToString::to_string).collect())
    }

    /// Signs a checkpoint of the log as it is now.
    ///
    /// # Errors
    /// The log cannot be read, or the checkpoint not be kept.
    pub async fn access_checkpoint(&self) -> Result<SignedCheckpoint, AppError> {
        let origin = self.access_log_origin();
        Ok(self.access_log.checkpoint_now(&origin, &self.keys.node).await.map_err(InternalError::from)?)
    }

    /// The checkpoint that an export is held against.
    ///
    /// # Errors
    /// The log cannot be read, or the checkpoint not be kept.
    pub async fn checkpoint_to_export(&self) -> Result<SignedCheckpoint, AppError> {
        self.access_checkpoint().await
    }
}

//! Review: auditors read the access log and take what they need to verify it themselves.

use comity_core::access::{AccessLeaf, AccessRecord};
use comity_core::checkpoint::SignedCheckpoint;
use comity_store::access_log::{AccessFilter, Order};

use crate::error::{AppError, InternalError};
use crate::node::Node;

impl Node {
    /// Records that match, newest first, before a leaf.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn access_records(
        &self,
        filter: &AccessFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, AccessRecord)>, AppError> {
        let found =
            self.access_log.query(filter, Order::NewestFirst, before, limit).await.map_err(InternalError::from)?;
        let read = |stored: comity_store::access_log::StoredLeaf| {
            let record = stored
                .record()
                .map_err(|e| InternalError::Corrupt { what: "access record", problem: e.to_string() })?;
            Ok((stored.n, record))
        };
        found.into_iter().map(read).collect()
    }

    /// Leaves exactly as they are hashed, from one on.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn access_leaves(&self, first: u64, limit: usize) -> Result<Vec<(u64, AccessLeaf)>, AppError> {
        let found = self.access_log.leaves(first, limit).await.map_err(InternalError::from)?;
        Ok(found.into_iter().map(|stored| (stored.n, stored.leaf)).collect())
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
}

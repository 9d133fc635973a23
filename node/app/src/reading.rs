//! Reading with certainty, and saying how old what is read otherwise may be.

use std::time::Duration;

use comity_consensus::{Observes, ReadError};

use crate::error::AppError;
use crate::node::Node;

/// How long a reader waits until it is certain what is current.
const BARRIER: Duration = Duration::from_secs(5);

impl Node {
    /// Waits until what this node shows contains everything that any node acknowledged before.
    ///
    /// # Errors
    /// Too few of the members' nodes answer.
    pub async fn read_barrier(&self) -> Result<(), AppError> {
        Ok(self.consensus.read_barrier(BARRIER).await?)
    }

    /// Refuses what stands on the list where this node holds none.
    ///
    /// # Errors
    /// It is a recipient's.
    pub fn ensure_holds_list(&self) -> Result<(), AppError> {
        if self.consensus.observes() { Err(Observes.into()) } else { Ok(()) }
    }

    /// How long ago this node last knew of a quorum, in milliseconds; nothing where it never did.
    pub fn list_age_ms(&self) -> Option<u64> {
        self.consensus.age_ms()
    }
}

impl From<ReadError> for AppError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Observes(observes) => observes.into(),
            other => Self::NoQuorum(format!("{other}; `--stale-ok` reads what this node knew")),
        }
    }
}

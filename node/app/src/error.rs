//! What a use case answers when it cannot.

use comity_consensus::cosign::CosignError;
use comity_consensus::{Observes, SubmitError};
use comity_core::Violations;
use comity_core::list::Refusal;
use comity_store::AccessLogError;
use comity_store::{RotationError, StoreError};

/// Why a use case did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Fields of the request are not as they must be.
    #[error("{0}")]
    Invalid(#[from] Violations),
    /// There is no such thing, or the caller may not know of it: one answer.
    #[error("there is no such {0}, or you may not see it")]
    NotFound(&'static str),
    /// Somebody was faster.
    #[error("{problem}")]
    Conflict {
        /// Stable, upper-snake.
        reason: &'static str,
        /// What happened and what to do next.
        problem: String,
    },
    /// It cannot be done as things stand.
    #[error("{problem}")]
    Precondition {
        /// Stable, upper-snake.
        reason: &'static str,
        /// What stands in the way and what to do next.
        problem: String,
    },
    /// This person may not.
    #[error("{problem}")]
    Forbidden {
        /// Stable, upper-snake.
        reason: &'static str,
        /// Why not, and who may.
        problem: String,
    },
    /// The members' rules refuse the command.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// Not enough members' nodes can be reached.
    #[error("{0}")]
    NoQuorum(String),
    /// A bound is reached.
    #[error("{problem}")]
    Exhausted {
        /// Stable, upper-snake.
        reason: &'static str,
        /// Which bound, and what to do next.
        problem: String,
    },
    /// The other side belongs to another federation.
    #[error("{0}")]
    OtherFederation(String),
    /// The node itself failed. Logged, never returned.
    #[error("{0}")]
    Internal(#[from] InternalError),
}

/// What failed inside.
#[derive(Debug, thiserror::Error)]
pub enum InternalError {
    /// The national store.
    #[error("store: {0}")]
    Store(#[source] StoreError),
    /// The access log.
    #[error("access log: {0}")]
    AccessLog(#[from] AccessLogError),
    /// The checkpoints.
    #[error("checkpoints: {0}")]
    Cosign(#[from] CosignError),
    /// The list's storage.
    #[error("list: {0}")]
    List(#[source] std::io::Error),
    /// The system's random source.
    #[error("random source: {0}")]
    Random(#[from] getrandom::Error),
    /// What is stored is not what was written.
    #[error("{what} in the store cannot be read: {problem}")]
    Corrupt {
        /// What.
        what: &'static str,
        /// Why.
        problem: String,
    },
    /// The key that the store is sealed with.
    #[error("store key: {0}")]
    Rotation(#[source] RotationError),
    /// An archive of the access log.
    #[error("archive {path}: {problem}")]
    Archive {
        /// Which file.
        path: std::path::PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A policy file.
    #[error("policy file {path}: {source}")]
    PolicyFile {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl From<Observes> for AppError {
    fn from(observes: Observes) -> Self {
        Self::Precondition {
            reason: "RECIPIENT_HOLDS_NO_LIST",
            problem: format!(
                "{observes}: ask a member for the agreed list as a file, and prove it with `comity list verify FILE`"
            ),
        }
    }
}

impl From<SubmitError> for AppError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Refused(refusal) => Self::Refused(refusal),
            SubmitError::Observes(observes) => observes.into(),
            SubmitError::Busy { .. } => Self::Exhausted { reason: "TOO_BUSY", problem: error.to_string() },
            other => Self::NoQuorum(format!(
                "{other}: a majority of the members' nodes must be reachable; see `comity node status`, then try again"
            )),
        }
    }
}

//! The list as it follows from the commands that are purged from the log, at start.

use std::io;
use std::sync::Arc;

use comity_core::genesis::Genesis;
use comity_core::list::{ListState, Refusal, check_own};

use crate::log_store::LogStore;
use crate::wire::BATCH_MAX_BYTES;

/// How many commands are read at a time, and after how many it is said how far the replay has got.
const CHUNK_MAX_COMMANDS: usize = 4_096;
const PROGRESS_COMMANDS: u64 = 50_000;

/// Why the commands in `consensus.db` do not replay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file.
    #[error("consensus.db cannot be read: {0}")]
    Read(#[from] io::Error),
    /// It was accepted, and cannot have been.
    #[error(
        "consensus.db: command {leaf} cannot have been accepted: {refusal}; the file was damaged or edited, start this node anew"
    )]
    NotAccepted {
        /// Which.
        leaf: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The members decide by newer rules.
    #[error("{0}")]
    Rules(Refusal),
    /// It stands there twice, or some are missing.
    #[error(
        "consensus.db: command {leaf} is not where it must be: the file was damaged or edited, start this node anew"
    )]
    Misplaced {
        /// Which.
        leaf: u64,
    },
}

/// Applies the commands that are purged from the log.
pub(crate) async fn commands(genesis: &Arc<Genesis>, log: &LogStore) -> Result<ListState, ReplayError> {
    let mut list = ListState::new(Arc::clone(genesis));
    let all = log.purged_before().map_or(0, |purged| purged.commands);
    while list.commands().size() < all {
        let first = list.commands().size();
        let limit = usize::try_from(all - first).unwrap_or(usize::MAX).min(CHUNK_MAX_COMMANDS);
        let read = log.commands(first, limit, BATCH_MAX_BYTES).await?;
        if read.is_empty() {
            return Err(ReplayError::Misplaced { leaf: first });
        }
        for command in &read {
            let leaf = list.commands().size();
            // Its signatures were verified before it was kept.
            let checked = check_own(genesis.federation(), &command.envelope);
            let accepted = checked.and_then(|checked| list.apply_checked(&checked));
            let accepted = accepted.map_err(|refusal| match refusal {
                Refusal::RulesTooNew { .. } => ReplayError::Rules(refusal),
                refusal => ReplayError::NotAccepted { leaf, refusal },
            })?;
            if accepted.repeated {
                return Err(ReplayError::Misplaced { leaf });
            }
        }
        let commands = list.commands().size();
        if first / PROGRESS_COMMANDS != commands / PROGRESS_COMMANDS {
            tracing::info!(commands, of = all, "replaying the command log");
        }
    }
    list.ensure_known_rules().map_err(ReplayError::Rules)?;
    Ok(list)
}

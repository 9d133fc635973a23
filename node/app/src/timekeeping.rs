//! Attesting time: each node says from time to time which instant has passed, so that the list has a time of its own.

use comity_core::Timestamp;
use comity_core::list::{AttestTime, Command, Refusal, Submission};

use crate::error::AppError;
use crate::fresh;
use crate::node::Node;

impl Node {
    /// Attests the present second, unless it did so less than a minute ago.
    ///
    /// # Errors
    /// The command could not be committed.
    pub async fn attest_time(&self) -> Result<(), AppError> {
        // INVARIANT: what is attested has passed: whole seconds, rounded down.
        let seconds = fresh::now().as_seconds();
        let time = Timestamp::from_micros(seconds.saturating_mul(1_000_000)).unwrap_or_else(fresh::now);
        let command = Command::AttestTime(AttestTime {
            federation: self.genesis.federation(),
            command_id: fresh::command_id()?,
            member: self.member(),
            time,
        });
        let envelope = command.sign(&self.keys.node).to_bytes();
        match self.consensus.submit(Submission { envelope, public_text: None }).await.map_err(AppError::from) {
            Ok(_) | Err(AppError::Refused(Refusal::TooSoon { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

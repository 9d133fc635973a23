//! What ends by time: shares, onward releases, policies. What ended is decided again when its instant has come, without anybody's
//! asking.

use std::time::Duration;

use comity_core::{MemberId, Timestamp};

use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;

/// The longest sleep: clocks are set, and suspended machines wake.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl Node {
    /// Queues what has ended, and everything of partners for whom a policy has ended since `before`. Returns how long nothing more
    /// ends.
    ///
    /// # Errors
    /// The store failed.
    pub async fn end_validities(&self, before: Timestamp) -> Result<Duration, AppError> {
        let outbox = self.store.outbox();
        let now = fresh::now();
        while outbox.requeue_ended(now).await.map_err(InternalError::Store)? > 0 {}
        let policies = self.policies.load_full();
        let mut next = outbox.next_end().await.map_err(InternalError::Store)?;
        for policy in policies.iter() {
            if policy.ends().any(|end| before < end && end <= now) {
                let queued = outbox.requeue_everything(policy.party()).await.map_err(InternalError::Store)?;
                tracing::info!(party = %policy.party(), queued, "a policy has ended: all that the partner may have is decided again");
            }
            next = policy.ends().filter(|end| *end > now).chain(next).min();
        }
        let sleep = next.map_or(LOOK_AGAIN, |next| {
            Duration::from_micros((next.as_micros() - now.as_micros()).max(0).unsigned_abs())
        });
        // Just after it, so that it has ended by then.
        Ok(sleep.min(LOOK_AGAIN) + Duration::from_millis(5))
    }

    /// What [`Node::end_validities`] looks back to at first: what ended while the node was down is decided again when it starts.
    pub fn validity_begin(&self) -> Timestamp {
        Timestamp::from_micros(0).unwrap_or_else(fresh::now)
    }

    /// The instant at which this is called.
    pub fn now(&self) -> Timestamp {
        fresh::now()
    }

    /// Decides everything anew for every partner, where national wordings mean something else than when the node last ran.
    ///
    /// # Errors
    /// The store failed.
    pub async fn apply_equivalences(&self) -> Result<(), AppError> {
        let digest = comity_core::canonical::Hex32(self.equivalences.sha256()).to_string();
        let noted = self.store.notes().get(EQUIVALENCES).await.map_err(InternalError::Store)?;
        if noted.as_ref() == Some(&digest) {
            return Ok(());
        }
        // Whoever is suspended, too: it may be readmitted when nobody looks at this table any more.
        let own = self.member();
        let parties: Vec<MemberId> =
            self.roster(|roster| roster.iter().map(|s| s.row.member).filter(|member| *member != own).collect());
        for party in parties {
            self.store.outbox().requeue_everything(party).await.map_err(InternalError::Store)?;
        }
        self.store.notes().set(EQUIVALENCES, digest).await.map_err(InternalError::Store)?;
        Ok(())
    }
}

const EQUIVALENCES: &str = "equivalences_sha256";

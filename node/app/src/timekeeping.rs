//! Attesting time: each node says from time to time which instant has passed, so that the list has a time of its own.
//!
//! INVARIANT: no time past a deadline is attested while this node knows a command that would still have been in time and that
//! the log lacks. So no leader keeps a vote, a hold or an objection from the log until it is too late.

use comity_core::Timestamp;
use comity_core::list::{AttestTime, Checked, Command, ListState, Refusal, Submission};

use crate::error::AppError;
use crate::fresh;
use crate::node::Node;

/// How long before a deadline the time is that is attested instead of one past it, in microseconds: a second.
const BEFORE_MICROS: i64 = 1_000_000;

impl Node {
    /// Attests the present second, unless it did so less than a minute ago; an instant before a deadline where a command for it
    /// is under way.
    ///
    /// # Errors
    /// The command could not be committed.
    pub async fn attest_time(&self) -> Result<(), AppError> {
        // INVARIANT: what is attested has passed: whole seconds, rounded down.
        let seconds = fresh::now().as_seconds();
        let now = Timestamp::from_micros(seconds.saturating_mul(1_000_000)).unwrap_or_else(fresh::now);
        let keyring = self.roster(|roster| std::sync::Arc::clone(roster.keyring()));
        // Signatures are verified outside: nothing is applied while the list is looked at.
        let pending = self.consensus.pending_commands().into_iter();
        let pending: Vec<Checked> = pending.filter_map(|p| p.checked.verify_with(&keyring).ok()).collect();
        let missed = self.consensus.read(|list| earliest_missed(list, &pending, now));
        let time = missed.map_or(now, |due| before(due).min(now));
        let last = self.consensus.read(|list| list.attested(self.member())).map(|attested| attested.time);
        if last.is_some_and(|last| time <= last) {
            return Ok(());
        }
        let command = Command::AttestTime(AttestTime {
            federation: self.genesis.federation(),
            command_id: fresh::command_id()?,
            member: self.member(),
            time,
            supports: ListState::SUPPORTED_RULES,
        });
        let envelope = command.sign(&self.keys.node).to_bytes();
        match self.consensus.submit(Submission { envelope, public_text: None }).await.map_err(AppError::from) {
            Ok(_) | Err(AppError::Refused(Refusal::TooSoon { .. })) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn before(due: Timestamp) -> Timestamp {
    Timestamp::from_micros(due.as_micros().saturating_sub(BEFORE_MICROS)).unwrap_or(due)
}

/// The first deadline up to `now` for which a command is known that would count if it came before.
fn earliest_missed(list: &ListState, pending: &[Checked], now: Timestamp) -> Option<Timestamp> {
    let due = |checked: &Checked| {
        let due = list.ballot(&checked.command().ballot()?)?.due().filter(|due| *due <= now)?;
        list.would_count(checked).then_some(due)
    };
    pending.iter().filter_map(due).min()
}

#[cfg(test)]
#[path = "timekeeping_tests.rs"]
mod tests;

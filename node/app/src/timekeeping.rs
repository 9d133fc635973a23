//! Attesting time: each node says from time to time which instant has passed, so that the list has a time of its own.
//!
//! INVARIANT: no time past a deadline is attested while this node knows a command that would still have been in time and that
//! the log lacks. So no leader keeps a vote, a hold or an objection from the log until it is too late.

use std::collections::BTreeSet;

use comity_consensus::PendingCommand;
use comity_core::list::{AttestTime, Ballot, Checked, Command, ListState, Refusal, Submission};
use comity_core::roster::Standing;
use comity_core::{KeyId, Timestamp};

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
        let pending = self.consensus.pending_commands();
        let due = self.consensus.read(|list| deadlines_missed(list, &pending, now));
        let keyring = self.roster(|roster| std::sync::Arc::clone(roster.keyring()));
        // Signatures are verified outside: nothing is applied while the list is looked at.
        let holds = |checked: &Checked| checked.clone().verify_with(&keyring).is_ok();
        let earliest = due.into_iter().filter(|(_, checked)| holds(checked)).map(|(due, _)| due).min();
        let time = earliest.map_or(now, |due| before(due).min(now));
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

/// The deadlines up to `now` for which a command is known that would be accepted if it came before, as far as can be told without
/// verifying signatures.
fn deadlines_missed<'a>(
    list: &ListState,
    pending: &'a [PendingCommand],
    now: Timestamp,
) -> Vec<(Timestamp, &'a Checked)> {
    let due = |command: &'a PendingCommand| {
        let checked = &command.checked;
        let ballot = list.ballot(&checked.command().ballot()?)?;
        let due = ballot.due().filter(|due| *due <= now)?;
        would_count(list, ballot, checked).then_some((due, checked))
    };
    pending.iter().filter_map(due).collect()
}

/// Whether a ballot would take a command as it stands.
fn would_count(list: &ListState, ballot: &Ballot, checked: &Checked) -> bool {
    let command = checked.command();
    let member = command.member();
    let Some(standing) = list.roster().get(member) else { return false };
    if !standing.is_voter() || standing.decision_revoked || !is_signed(standing, checked) {
        return false;
    }
    if let Command::Withdraw(_) = command {
        return ballot.proposer == member;
    }
    if !ballot.electorate.contains(&member) {
        return false;
    }
    match (command, ballot.silence()) {
        (Command::Vote(vote), _) => ballot.votes.get(&member).map(|standing| standing.command) == vote.replaces,
        (Command::Acknowledge(_), Some(silence)) => !silence.notice_over && !silence.acknowledged.contains_key(&member),
        (Command::Hold(_), Some(silence)) => !silence.holds.contains_key(&member),
        (Command::ExtendHold(extend), Some(silence)) => silence.standing_holds().any(|(holder, hold)| {
            holder == extend.holder && holder != member && !hold.extended && !hold.extension_by.contains(&member)
        }),
        (Command::LiftHold(_), Some(silence)) => silence.standing_holds().any(|(holder, _)| holder == member),
        (Command::Object(_), Some(_)) => true,
        _ => false,
    }
}

/// Whether those signed who must, by the ids of their keys.
fn is_signed(standing: &Standing, checked: &Checked) -> bool {
    let signed: BTreeSet<KeyId> = checked.envelope().signatures.iter().map(|signature| signature.keyid).collect();
    let people: BTreeSet<_> = standing
        .enrolled()
        .filter(|person| signed.contains(&KeyId::of(&person.key.0)))
        .map(|person| &person.name)
        .collect();
    let needed = match (standing.personal_signatures, checked.command()) {
        (false, _) => 0,
        (true, Command::Acknowledge(_)) => 1,
        (true, _) => 2,
    };
    signed.contains(&KeyId::of(&standing.row.decision_key.0)) && people.len() >= needed
}

#[cfg(test)]
#[path = "timekeeping_tests.rs"]
mod tests;

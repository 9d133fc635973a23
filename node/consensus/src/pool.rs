//! Commands that this node knows and that the log lacks.
//!
//! A command goes to the leader, and a little later, where it is not decided by then, to every other voting node. Each keeps
//! what holds and hands it in again, so that no leader can keep it from the log, and no node attests that a deadline has
//! passed while it knows a command that would still have been in time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::list::{Checked, Submission};
use comity_proto::v1;
use futures::StreamExt as _;
use openraft::EntryPayload;
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::Instant;

use crate::consensus::{Consensus, Inner};
use crate::peers::jitter;
use crate::state_machine::Applied;
use crate::types::{Command, Outcome};
use crate::wire::{self, ANNOUNCE_MAX_COMMANDS, AppendRequest, BATCH_MAX_BYTES};

/// How many commands are kept, and how many of one member: nobody crowds the others out.
const MAX_COMMANDS: usize = 1_024;
const MAX_OF_MEMBER: usize = 64;
/// A command is given up once the log has gone on by this many entries without it.
const MAX_AGE_ENTRIES: u64 = 50_000;
/// What was handed in here is made known to the others if it is not decided by then. Most is, and costs nobody anything.
const ANNOUNCE_AFTER: Duration = Duration::from_millis(100);
/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(50);
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(3);
/// How many commands are handed in again at one time, and the longest wait before the next time, in milliseconds.
const RESUBMIT_MAX_COMMANDS: usize = 16;
const RESUBMIT_MAX_MS: u64 = 60_000;

/// A command that is known here and not decided.
#[derive(Debug, Clone)]
pub struct PendingCommand {
    /// As it was handed in.
    pub submission: Submission,
    /// What it says.
    pub checked: Checked,
}

/// How a command came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was handed in here.
    Own,
    /// Another node made it known.
    Announced,
}

/// The commands that are known and not decided. Clones share it.
#[derive(Clone)]
pub(crate) struct Pool {
    held: Arc<Mutex<Held>>,
    resubmit_ms: u64,
}

#[derive(Default)]
struct Held {
    commands: BTreeMap<Hex32, Pooled>,
    of_member: BTreeMap<MemberId, usize>,
}

struct Pooled {
    command: Command,
    checked: Checked,
    /// Where the log was when it came.
    since_entry: u64,
    announce_at: Option<Instant>,
    resubmit_at: Instant,
    /// The next wait but one.
    delay_ms: u64,
}

impl Held {
    fn remove(&mut self, leaf_hash: Hex32) {
        let Some(pooled) = self.commands.remove(&leaf_hash) else { return };
        let member = pooled.checked.command().member();
        if let Some(count) = self.of_member.get_mut(&member) {
            *count -= 1;
            if *count == 0 {
                self.of_member.remove(&member);
            }
        }
    }
}

impl Pool {
    pub(crate) fn new(resubmit_ms: u64) -> Self {
        Self { held: Arc::default(), resubmit_ms }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a command would be new here.
    pub(crate) fn lacks(&self, command: &Command) -> bool {
        !self.held().commands.contains_key(&command.leaf_hash())
    }

    /// Keeps a command that was checked, unless it is decided or there is no room.
    pub(crate) fn add(&self, command: Command, applied: &Applied, origin: Origin) {
        // Only what holds is kept; the check is remembered.
        let Ok(checked) = command.check(&applied.keys()).cloned() else { return };
        let (leaf_hash, member, now) = (checked.leaf_hash(), checked.command().member(), Instant::now());
        let since_entry = applied.position().borrow().applied;
        let announce_at = (origin == Origin::Own).then(|| now + ANNOUNCE_AFTER);
        let resubmit_at = now + Duration::from_millis(jitter(self.resubmit_ms));
        {
            let mut held = self.held();
            let of_member = held.of_member.get(&member).copied().unwrap_or_default();
            let full = held.commands.len() >= MAX_COMMANDS || of_member >= MAX_OF_MEMBER;
            if full || held.commands.contains_key(&leaf_hash) {
                return;
            }
            let (id, delay_ms) = (checked.command().id(), self.resubmit_ms.saturating_mul(2));
            held.commands
                .insert(leaf_hash, Pooled { command, checked, since_entry, announce_at, resubmit_at, delay_ms });
            held.of_member.insert(member, of_member + 1);
            drop(held);
            // INVARIANT: looked at after it was put in: what is applied in between is either seen here or dropped there.
            if applied.read(|list| list.accepted_at(id)).is_some() {
                self.held().remove(leaf_hash);
            }
        }
    }

    /// What was checked when it was made known need not be checked again when it comes in the log.
    pub(crate) fn recognise(&self, request: &AppendRequest) {
        let held = self.held();
        if held.commands.is_empty() {
            return;
        }
        for entry in &request.entries {
            if let EntryPayload::Normal(command) = &entry.payload
                && let Some(known) = held.commands.get(&command.leaf_hash())
            {
                command.adopt(&known.command);
            }
        }
    }

    /// Drops what was decided, whichever way.
    pub(crate) fn decided<'a>(&self, outcomes: impl Iterator<Item = (&'a Command, &'a Outcome)>) {
        let mut held = self.held();
        if held.commands.is_empty() {
            return;
        }
        for (command, outcome) in outcomes {
            if matches!(outcome, Outcome::Decided(_)) {
                held.remove(command.leaf_hash());
            }
        }
    }

    /// Drops what a snapshot brought and what is too old.
    fn sweep(&self, applied: &Applied) {
        let end = applied.position().borrow().applied;
        let mut held = self.held();
        let gone: Vec<Hex32> = applied.read(|list| {
            let is_gone = |pooled: &Pooled| {
                pooled.since_entry.saturating_add(MAX_AGE_ENTRIES) < end
                    || list.accepted_at(pooled.checked.command().id()).is_some()
            };
            held.commands.iter().filter(|(_, pooled)| is_gone(pooled)).map(|(hash, _)| *hash).collect()
        });
        gone.into_iter().for_each(|hash| held.remove(hash));
    }

    fn announce_due(&self, now: Instant) -> Vec<Command> {
        let mut held = self.held();
        let due = held
            .commands
            .values_mut()
            .filter_map(|pooled| pooled.announce_at.take_if(|at| *at <= now).map(|_| pooled.command.clone()));
        due.collect()
    }

    fn resubmit_due(&self, now: Instant) -> Vec<Command> {
        let mut held = self.held();
        let due = held.commands.values_mut().filter(|pooled| pooled.resubmit_at <= now);
        due.take(RESUBMIT_MAX_COMMANDS)
            .map(|pooled| {
                pooled.resubmit_at = now + Duration::from_millis(jitter(pooled.delay_ms));
                pooled.delay_ms = pooled.delay_ms.saturating_mul(2).min(RESUBMIT_MAX_MS);
                pooled.command.clone()
            })
            .collect()
    }

    fn is_empty(&self) -> bool {
        self.held().commands.is_empty()
    }
}

impl Consensus {
    /// The commands that this node knows, that hold, and that the log lacks as far as this node has applied it.
    pub fn pending_commands(&self) -> Vec<PendingCommand> {
        let Ok(part) = self.part() else { return Vec::new() };
        let held = part.pool.held();
        let pending = |pooled: &Pooled| PendingCommand {
            submission: pooled.command.submission().clone(),
            checked: pooled.checked.clone(),
        };
        held.commands.values().map(pending).collect()
    }
}

/// Makes known and hands in again what is due, until this node stops.
pub(crate) async fn run(consensus: std::sync::Weak<Inner>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(inner) = consensus.upgrade() else { return };
        if inner.stopped().is_some() {
            return;
        }
        if inner.pool.is_empty() {
            continue;
        }
        inner.pool.sweep(&inner.applied);
        let now = Instant::now();
        tokio::join!(inner.announce(inner.pool.announce_due(now)), inner.resubmit(now));
    }
}

impl Inner {
    /// Tells every other voting node. Whoever is not reached hears of it from the leader, or not at all.
    async fn announce(&self, commands: Vec<Command>) {
        let own = self.peers.own();
        let mut rest = commands.as_slice();
        while !rest.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            while let Some(command) = rest.get(count).filter(|_| count < ANNOUNCE_MAX_COMMANDS) {
                bytes += command.size_bytes();
                if count > 0 && bytes > BATCH_MAX_BYTES {
                    break;
                }
                count += 1;
            }
            let (now, later) = rest.split_at(count);
            rest = later;
            let message = v1::AnnounceRequest {
                sender: Some(own.into()),
                commands: now.iter().map(wire::from_command).collect(),
            };
            let others = self.peers.others();
            let calls = others.into_iter().map(|node| {
                let call = self.peers.call(node, ANNOUNCE_TIMEOUT, message.clone(), |mut client, request| async move {
                    client.announce(request).await
                });
                async move {
                    if let Err(error) = call.await {
                        tracing::debug!(node, %error, "commands could not be made known");
                    }
                }
            });
            futures::future::join_all(calls).await;
        }
    }

    /// Hands in again. What becomes of it is seen when it is applied.
    async fn resubmit(&self, now: Instant) {
        if self.raft.server_metrics().borrow_watched().current_leader.is_none() {
            return;
        }
        let due = futures::stream::iter(self.pool.resubmit_due(now));
        due.for_each_concurrent(RESUBMIT_MAX_COMMANDS, |command| async move {
            if let Err(error) = self.attempt(&command).await {
                tracing::debug!(%error, "a command could not be handed in again");
            }
        })
        .await;
    }
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;

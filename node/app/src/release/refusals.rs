//! What a partner is refused is recorded apart from the pages that it is sent: neither what is in a page nor when it leaves tells of
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use comity_core::access::Touched;
use comity_core::{MemberId, RecordId, VersionId};
use comity_store::outbox::Candidate;
use tokio::time::Instant;

use super::{BECAUSE_MAX, Decision, RECORD_FULL_BYTES, size_in_record};
use crate::error::{AppError, InternalError};
use crate::node::{ExchangeLine, Node};

/// How many refusals wait in memory: beyond that they are recorded at once.
const WAITING_MAX: usize = 1_024;
/// How many are recorded in one step.
const STEP: usize = 512;

/// What was refused to a partner, and is neither recorded nor off the queue yet.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    waiting: Mutex<BTreeMap<RecordId, Refused>>,
    /// One at a time, so that nothing is recorded twice.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Refused {
    ticket: u64,
    version: VersionId,
    because: Vec<String>,
    /// Whether the partner was told of it before: then it is taken back under a number, which takes it off the queue.
    told: bool,
}

impl Refusals {
    fn waiting(&self) -> MutexGuard<'_, BTreeMap<RecordId, Refused>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves out what was refused already, and not queued again since.
    pub(super) fn without(&self, mut pending: Vec<Candidate>) -> Vec<Candidate> {
        let waiting = self.waiting();
        pending.retain(|c| waiting.get(&c.record).is_none_or(|refused| refused.told || refused.ticket != c.ticket));
        pending
    }

    fn first(&self) -> Vec<(RecordId, Refused)> {
        self.waiting().iter().take(STEP).map(|(record, refused)| (*record, refused.clone())).collect()
    }

    fn done(&self, recorded: &[(RecordId, Refused)]) {
        let mut waiting = self.waiting();
        for (record, refused) in recorded {
            if waiting.get(record).is_some_and(|waits| waits.ticket == refused.ticket) {
                waiting.remove(record);
            }
        }
    }
}

impl Node {
    /// Keeps what a partner is refused for [`Node::record_refusals`], and takes it out, but for what the partner was `told` of before:
    /// that is taken back from it.
    pub(super) async fn put_off_refused(
        &self,
        partner: MemberId,
        line: &ExchangeLine,
        decided: Vec<(Candidate, Decision)>,
        told: &BTreeSet<RecordId>,
    ) -> Result<Vec<(Candidate, Decision)>, AppError> {
        let full = {
            let mut waiting = line.refusals.waiting();
            waiting.extend(decided.iter().filter(|(_, decision)| decision.level.is_none()).map(|(c, decision)| {
                let (because, told) = (decision.because.clone(), told.contains(&c.record));
                (c.record, Refused { ticket: c.ticket, version: c.version, because, told })
            }));
            waiting.len() > WAITING_MAX
        };
        let decided = decided.into_iter().filter(|(c, d)| d.level.is_some() || told.contains(&c.record)).collect();
        if full {
            self.record_refusals(partner).await?;
        }
        Ok(decided)
    }

    /// Records what was refused to a partner since the last time, and takes it off the queue. For whoever sends pages, when none is to
    /// be sent.
    ///
    /// # Errors
    /// The access log or the store failed: what is left waits.
    pub async fn record_refusals(&self, partner: MemberId) -> Result<(), AppError> {
        let Some(line) = self.line(partner) else { return Ok(()) };
        let _turn = line.refusals.turn.lock().await;
        loop {
            let refused = line.refusals.first();
            if refused.is_empty() {
                return Ok(());
            }
            let touched = refused.iter().map(|(record, refused)| Touched {
                resource: record.to_string(),
                version: Some(refused.version),
                view: None,
                because: refused.because.iter().take(BECAUSE_MAX).cloned().collect(),
            });
            // INVARIANT: a release that was refused is recorded, too, before it is off the queue; or with the page that takes back.
            for touched in in_records(touched.collect()) {
                self.record_denied_release(partner, touched).await?;
            }
            let never_told = refused.iter().filter(|(_, refused)| !refused.told);
            let tickets = never_told.map(|(record, refused)| (*record, refused.ticket)).collect();
            self.store.outbox().dismiss(partner, tickets).await.map_err(InternalError::Store)?;
            line.refusals.done(&refused);
        }
    }
}

/// When an answer leaves that does not have to leave at once: at multiples of a tick, so that how long it took to make shows no more
/// (Askarov, Zhang, Myers: Predictive black-box mitigation of timing channels, CCS 2010, with one fixed prediction).
#[derive(Debug)]
pub(crate) struct Ticks {
    start: Instant,
    every: Duration,
}

impl Ticks {
    pub(crate) fn new(every: Duration) -> Self {
        Self { start: Instant::now(), every }
    }

    /// Waits for the next one.
    pub(super) async fn next(&self) {
        let (since, every) = (self.start.elapsed().as_millis(), self.every.as_millis());
        let Some(ticks) = since.checked_div(every) else { return };
        let next = u64::try_from((ticks + 1) * every).unwrap_or(u64::MAX);
        tokio::time::sleep_until(self.start + Duration::from_millis(next)).await;
    }
}

/// Splits what was touched so that each part fits into one access record.
fn in_records(touched: Vec<Touched>) -> Vec<Vec<Touched>> {
    let (mut parts, mut bytes) = (Vec::new(), usize::MAX);
    for touched in touched {
        let size = size_in_record(&touched);
        if bytes.saturating_add(size) > RECORD_FULL_BYTES {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(part) = parts.last_mut() {
            part.push(touched);
        }
    }
    parts
}

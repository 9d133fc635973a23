//! Refused handshakes in the access log: coalesced by source, reason and minute, and within a quota of the disk, so that strangers
//! cannot fill it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use comity_app::Node;
use comity_core::Timestamp;
use comity_core::access::{AccessRecord, Outcome};
use comity_core::canonical;
use comity_identity::RefusedHandshakes;

use crate::quota::Quota;
use crate::table::Listener;

/// The most sources that are told apart within one minute; the rest share a line.
const SOURCES_MAX: usize = 256;
/// How long refused handshakes are gathered.
const COALESCE: Duration = Duration::from_secs(60);
/// What a leaf takes on disk beside its record: salt, hashes, and the columns and indices by which it is found.
const LEAF_OVERHEAD_BYTES: u64 = 640;

/// What strangers may spend of the disk, on both listeners together.
#[derive(Debug, Clone)]
pub struct StrangersQuota {
    quota: Arc<Mutex<Quota>>,
    began: Instant,
}

impl StrangersQuota {
    /// So many bytes at once, and in a day.
    pub fn new(bytes_per_day: u64) -> Self {
        Self { quota: Arc::new(Mutex::new(Quota::new(bytes_per_day))), began: Instant::now() }
    }

    fn take(&self, bytes: u64) -> bool {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, self.began.elapsed())
    }
}

/// From where and why: what is coalesced.
type Kind = (String, String);

/// Writes refused handshakes until the acceptor has ended. The first of a kind is written at once, so that it is seen while it
/// happens; what follows within the minute is one leaf more. What cannot be written is kept and counted until it can.
pub(crate) async fn record_refused(
    node: Arc<Node>,
    listener: Listener,
    mut refused: RefusedHandshakes,
    quota: StrangersQuota,
) {
    let mut gathered = Gathered::default();
    let mut flush = tokio::time::interval(COALESCE);
    loop {
        let next = tokio::select! {
            next = refused.recv() => next,
            _ = flush.tick() => {
                gathered.unnamed(refused.take_dropped());
                write_all(&node, listener, &mut gathered, &quota).await;
                continue;
            }
        };
        let Some(handshake) = next else {
            gathered.unnamed(refused.take_dropped());
            return write_all(&node, listener, &mut gathered, &quota).await;
        };
        let kind = (handshake.remote.ip().to_string(), handshake.reason);
        if let Some(record) = gathered.refused(kind.clone(), listener, |bytes| quota.take(bytes))
            && !written(&node, record).await
        {
            gathered.again(kind, 1);
        }
    }
}

async fn write_all(node: &Node, listener: Listener, gathered: &mut Gathered, quota: &StrangersQuota) {
    for (kind, record) in gathered.flush(listener, |bytes| quota.take(bytes)) {
        let count = record.count;
        if !written(node, record).await {
            gathered.again(kind, count);
        }
    }
}

async fn written(node: &Node, record: AccessRecord) -> bool {
    let written = node.record_access(record).await;
    if let Err(error) = &written {
        tracing::error!(%error, "a refused handshake could not be recorded yet");
    }
    written.is_ok()
}

/// What is still to be written.
#[derive(Debug, Default)]
struct Gathered {
    of_kind: BTreeMap<Kind, u64>,
    /// Those that are told apart no more: too many kinds, or no room in the quota.
    others: u64,
}

impl Gathered {
    /// One more. Returns what is to be written at once, if this is the first of its kind and there is room for it.
    fn refused(&mut self, kind: Kind, listener: Listener, take: impl Fn(u64) -> bool) -> Option<AccessRecord> {
        if let Some(more) = self.of_kind.get_mut(&kind) {
            *more += 1;
            return None;
        }
        let record = record(listener, &kind, 1);
        if self.of_kind.len() >= SOURCES_MAX || !take(price(&record)) {
            self.others += 1;
            return None;
        }
        self.of_kind.insert(kind, 0);
        Some(record)
    }

    /// So many of which nobody knows from where they came.
    fn unnamed(&mut self, count: u64) {
        self.others += count;
    }

    /// What has come together: a leaf for each kind that there is room for, and one for all others, for which there always is.
    fn flush(&mut self, listener: Listener, take: impl Fn(u64) -> bool) -> Vec<(Kind, AccessRecord)> {
        let mut records = Vec::new();
        for (kind, count) in std::mem::take(&mut self.of_kind) {
            let record = record(listener, &kind, count);
            if count > 0 && take(price(&record)) {
                records.push((kind, record));
            } else {
                self.others += count;
            }
        }
        let others = std::mem::take(&mut self.others);
        if others > 0 {
            records.push((unnamed(), record(listener, &unnamed(), others)));
        }
        records
    }

    /// It could not be written.
    fn again(&mut self, kind: Kind, count: u64) {
        if kind == unnamed() {
            self.others += count;
        } else {
            *self.of_kind.entry(kind).or_default() += count;
        }
    }
}

fn unnamed() -> Kind {
    ("others".to_owned(), "not_told_apart".to_owned())
}

fn record(listener: Listener, (source, reason): &Kind, count: u64) -> AccessRecord {
    let now = Timestamp::from_jiff(jiff::Timestamp::now());
    AccessRecord {
        outcome: Outcome::Denied,
        reason: Some(reason.clone()),
        count,
        ..AccessRecord::new(now, source.as_str(), format!("handshake {}", listener.as_str()))
    }
}

/// What a record takes of the quota.
fn price(record: &AccessRecord) -> u64 {
    let bytes = u64::try_from(canonical::to_vec(record).len()).unwrap_or(u64::MAX);
    bytes.saturating_add(LEAF_OVERHEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const PER_DAY: u64 = 1_000_000;

    fn kind(n: u64) -> Kind {
        (format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255), "not_tls".to_owned())
    }

    /// As many sources as there are, each only once, for two days: what is written stays within the quota but for one leaf a minute,
    /// and every handshake is counted.
    #[test]
    fn thousands_of_sources_stay_within_the_quota_and_all_are_counted() {
        let (mut gathered, quota) = (Gathered::default(), RefCell::new(Quota::new(PER_DAY)));
        let (mut refused, mut counted, mut bytes, mut unnamed_bytes) = (0, 0, 0, 0);
        let mut by_day = Vec::new();
        for minute in 0..2 * 1_440 {
            let now = minute as u32 * COALESCE;
            let take = |price| quota.borrow_mut().take(price, now);
            let mut write = |kind: &Kind, record: &AccessRecord| {
                counted += record.count;
                if *kind == unnamed() { unnamed_bytes += price(record) } else { bytes += price(record) }
            };
            for n in 0..300 {
                refused += 1;
                let kind = kind(minute * 300 + n);
                if let Some(record) = gathered.refused(kind.clone(), Listener::Peer, take) {
                    write(&kind, &record);
                }
            }
            let flushed = gathered.flush(Listener::Peer, take);
            assert!(flushed.iter().filter(|(kind, _)| *kind == unnamed()).count() <= 1);
            flushed.iter().for_each(|(kind, record)| write(kind, record));
            if (minute + 1) % 1_440 == 0 {
                by_day.push((bytes, unnamed_bytes));
            }
        }
        assert_eq!(counted, refused);
        let ((first, _), (second, unnamed)) = (by_day[0], by_day[1]);
        // Full at the beginning, and a day's refill.
        assert!(first > PER_DAY && first <= 2 * PER_DAY, "{first}");
        assert!(second - first <= PER_DAY + 1_000, "{}", second - first);
        assert!(unnamed <= 2 * 1_440 * 1_000, "{unnamed}");
    }

    #[test]
    fn the_first_is_written_at_once_and_the_others_together() {
        let mut gathered = Gathered::default();
        let room = |_| true;
        let first = gathered.refused(kind(1), Listener::Operator, room).unwrap();
        assert_eq!((first.count, first.action.as_str(), first.from.as_str()), (1, "handshake operator", "10.0.0.1"));
        assert_eq!(gathered.refused(kind(1), Listener::Operator, room), None);
        assert_eq!(gathered.refused(kind(1), Listener::Operator, room), None);
        let flushed = gathered.flush(Listener::Operator, room);
        assert_eq!(
            flushed.iter().map(|(kind, record)| (kind.clone(), record.count)).collect::<Vec<_>>(),
            [(kind(1), 2)]
        );
        // What could not be written comes again, with what comes meanwhile.
        gathered.again(kind(1), 2);
        assert_eq!(gathered.refused(kind(1), Listener::Operator, room), None);
        gathered.unnamed(5);
        let flushed = gathered.flush(Listener::Operator, room);
        assert_eq!(flushed.iter().map(|(_, record)| record.count).collect::<Vec<_>>(), [3, 5]);
        assert!(gathered.flush(Listener::Operator, room).is_empty());
    }
}

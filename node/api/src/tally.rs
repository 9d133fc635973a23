//! What the uncounted calls of connections come to, on its way into the access log: merged, bounded, and kept until it is written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use comity_app::Node;
use comity_core::access::{AccessRecord, Outcome};
use comity_core::{MemberId, SpiffeId, Timestamp};
use comity_identity::peer::Peer;
use tokio::sync::mpsc;

/// So many lines are kept as they are; then connections from one address share a line, and after twice as many a member's.
const LINES_MAX: usize = 4_096;
/// How long after a failure it is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// One leaf to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    who: Option<SpiffeId>,
    member: MemberId,
    from: String,
    rpc: &'static str,
    allowed: bool,
}

/// Where connections leave their counts when they end. Clones share it.
#[derive(Debug, Clone)]
pub struct Tally {
    lines: Arc<Mutex<Lines>>,
    /// Rung when there is something to write; gone when no connection is left.
    bell: mpsc::Sender<()>,
}

/// The other end: what there is to write.
#[derive(Debug)]
pub struct TallyToWrite {
    lines: Arc<Mutex<Lines>>,
    bell: mpsc::Receiver<()>,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> (Self, TallyToWrite) {
        let (bell, rung) = mpsc::channel(1);
        let lines = Arc::<Mutex<Lines>>::default();
        (Self { lines: Arc::clone(&lines), bell }, TallyToWrite { lines, bell: rung })
    }

    /// Adds what one connection came to: by RPC, and whether it was let in.
    pub(crate) fn add(&self, peer: &Peer, remote: SocketAddr, counts: BTreeMap<(&'static str, bool), u64>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for ((rpc, allowed), count) in counts {
            let who = Some(peer.id.clone());
            lines.add(Line { who, member: peer.member, from: remote.to_string(), rpc, allowed }, count);
        }
        // Full means that it was rung and not yet heard.
        self.bell.try_send(()).ok();
    }
}

#[derive(Debug, Default)]
struct Lines(BTreeMap<Line, u64>);

impl Lines {
    /// INVARIANT: every call is counted in one line, however many lines there are; those of the last kind are bounded by the roster
    /// and the table of RPCs.
    fn add(&mut self, line: Line, count: u64) {
        let address = line.from.parse::<SocketAddr>().map_or(line.from.clone(), |from| from.ip().to_string());
        let of_address = Line { from: address, ..line.clone() };
        let of_member = Line { who: None, from: "several addresses".to_owned(), ..line.clone() };
        let room = |line: &Line, max| self.0.len() < max || self.0.contains_key(line);
        let line = if room(&line, LINES_MAX) {
            line
        } else if room(&of_address, 2 * LINES_MAX) {
            of_address
        } else {
            of_member
        };
        let sum = self.0.entry(line).or_default();
        *sum = sum.saturating_add(count);
    }
}

/// Writes what connections came to, again and again where it cannot be written, until none is left.
pub(crate) async fn record_connections(node: Arc<Node>, mut tally: TallyToWrite) {
    loop {
        let open = tally.bell.recv().await.is_some();
        while let Err(error) = tally.write(&node).await {
            if !open {
                // The node stops, and its log cannot be written.
                return tracing::error!(%error, "what the last connections came to could not be recorded");
            }
            tracing::error!(%error, "what a connection came to could not be recorded yet");
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        if !open {
            return;
        }
    }
}

impl TallyToWrite {
    async fn write(&self, node: &Node) -> Result<(), comity_app::InternalError> {
        while let Some((line, count)) = self.take() {
            let record = AccessRecord {
                who: line.who.clone(),
                member: Some(line.member),
                outcome: if line.allowed { Outcome::Allowed } else { Outcome::Denied },
                count,
                ..AccessRecord::new(Timestamp::from_jiff(jiff::Timestamp::now()), line.from.as_str(), line.rpc)
            };
            if let Err(error) = node.record_access(record).await {
                self.lines.lock().unwrap_or_else(PoisonError::into_inner).add(line, count);
                return Err(error);
            }
        }
        Ok(())
    }

    fn take(&self) -> Option<(Line, u64)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).0.pop_first()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(n: usize) -> Line {
        Line {
            who: Some(format!("spiffe://de.comity.example/node/n-{}", n % 20_000).parse().unwrap()),
            member: "DE".parse().unwrap(),
            from: format!("10.0.{}.{}:{}", (n >> 8) & 255, n & 255, 1_000 + n % 60_000),
            rpc: "ConsensusService/Vote",
            allowed: n.is_multiple_of(2),
        }
    }

    #[test]
    fn however_many_connections_end_every_call_is_counted() {
        let mut lines = Lines::default();
        for n in 0..100_000 {
            lines.add(line(n), 3);
        }
        assert_eq!(lines.0.values().sum::<u64>(), 300_000);
        assert!(lines.0.len() <= 2 * LINES_MAX + 2, "{}", lines.0.len());
        // Whoever came first is still told apart, and is counted on.
        let before = lines.0[&line(0)];
        lines.add(line(0), 1);
        assert_eq!(lines.0[&line(0)], before + 1);
        let denied: u64 = lines.0.iter().filter(|(line, _)| !line.allowed).map(|(_, count)| count).sum();
        assert_eq!(denied, 150_000);
    }
}

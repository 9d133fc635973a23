//! Measuring: clients that go round until the time is up, and what their nodes used meanwhile.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::process::{Watched, cpu_seconds, peak_rss_mib};
use super::report::{Row, percentile};
use crate::Problem;

/// When operations count: those that begin and end within it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    from: Instant,
    until: Instant,
}

impl Window {
    /// A window of this length, after warming up.
    pub(super) fn after(warm_up: Duration, length: Duration) -> Self {
        let from = Instant::now() + warm_up;
        Self { from, until: from + length }
    }

    /// Whether another operation may begin.
    pub(super) fn is_open(&self) -> bool {
        Instant::now() < self.until
    }

    /// The latency in microseconds of an operation that has just ended, if it counts.
    pub(super) fn latency_us(&self, begin: Instant) -> Option<u64> {
        let end = Instant::now();
        (begin >= self.from && end <= self.until).then(|| micros(end - begin))
    }
}

/// In microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Taken {
    latencies_us: Vec<u64>,
    cpu_seconds: f64,
    length: Duration,
}

impl Taken {
    /// Waits until the window is over and every client has come back with the latencies that it measured.
    pub(super) async fn from(
        mut clients: JoinSet<Result<Vec<u64>, Problem>>,
        window: Window,
        nodes: &[Watched],
    ) -> Result<Self, Problem> {
        tokio::time::sleep_until(window.from.into()).await;
        let before = cpu_seconds_of(nodes);
        tokio::time::sleep_until(window.until.into()).await;
        let cpu_seconds = cpu_seconds_of(nodes) - before;
        let mut latencies_us = Vec::new();
        while let Some(done) = clients.join_next().await {
            latencies_us.extend(done??);
        }
        Ok(Self { latencies_us, cpu_seconds, length: window.until - window.from })
    }

    /// Waits until every client has come back with the latencies that it measured: all of them count.
    pub(super) async fn of_all(
        mut clients: JoinSet<Result<Vec<u64>, Problem>>,
        nodes: &[Watched],
    ) -> Result<Self, Problem> {
        let (begin, before) = (Instant::now(), cpu_seconds_of(nodes));
        let mut latencies_us = Vec::new();
        while let Some(done) = clients.join_next().await {
            latencies_us.extend(done??);
        }
        Ok(Self { latencies_us, cpu_seconds: cpu_seconds_of(nodes) - before, length: begin.elapsed() })
    }

    /// Operations that came one after the other, with other things in between: they took as long as they took, and what the nodes
    /// used for them alone cannot be told.
    pub(super) fn one_by_one(latencies_us: Vec<u64>) -> Self {
        let length = Duration::from_micros(latencies_us.iter().sum());
        Self { latencies_us, cpu_seconds: 0.0, length }
    }

    /// Adds what was measured at another time.
    pub(super) fn add(&mut self, other: Self) {
        self.latencies_us.extend(other.latencies_us);
        self.cpu_seconds += other.cpu_seconds;
        self.length += other.length;
    }

    /// As a row of the table; the nodes must still run.
    pub(super) fn row(mut self, bench: &'static str, case: String, nodes: &[Watched]) -> Row {
        self.latencies_us.sort_unstable();
        let operations = self.latencies_us.len() as u64;
        let seconds = self.length.as_secs_f64();
        Row {
            bench,
            case,
            per_s: operations as f64 / seconds,
            p50_us: percentile(&self.latencies_us, 0.5),
            p99_us: percentile(&self.latencies_us, 0.99),
            cpu_us_op: self.cpu_seconds * 1e6 / (operations.max(1) as f64),
            rss_mb: nodes.iter().map(|node| peak_rss_mib(node.pid)).fold(0.0, f64::max),
            disk_mb: nodes.iter().map(Watched::disk_mib).fold(0.0, f64::max),
            operations,
            seconds,
        }
    }
}

fn cpu_seconds_of(nodes: &[Watched]) -> f64 {
    nodes.iter().map(|node| cpu_seconds(node.pid)).sum()
}

//! `compare-etcd`: what `list-commit` measures, and puts into etcd, by turns in one run.
//!
//! A machine whose speed drifts says nothing about two programs measured one after the other: so each case is cut into short
//! slices, one of each by turns. Both clusters stay up meanwhile; the one that waits its turn only keeps its leader.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::etcd::api::PutRequest;
use super::etcd::api::kv_client::KvClient;
use super::etcd::{self, Cluster};
use super::list_commit::{CONNECTIONS, CommitOptions, TestBed, WARM_UP, cases};
use super::measure::{Taken, Window};
use super::report::{Row, note};
use super::{Options, reference};
use crate::Problem;
use crate::seed::Dice;

/// How long each of the two is measured at a time.
const SLICE: Duration = Duration::from_secs(2);
/// Not measured, at the beginning of each slice but the first.
const SLICE_WARM_UP: Duration = Duration::from_millis(500);
/// As large as a command of `list-commit`, on average.
const VALUE_BYTES: usize = 700;

/// Runs the cases, each on clusters of its own. The lines after the table say how the two compare.
pub(super) async fn run(options: &Options) -> Result<(Vec<Row>, Vec<String>), Problem> {
    let Some(version) = etcd::version()? else {
        let skipped = "etcd was skipped: no `etcd` is installed (Debian: apt-get install etcd-server)";
        note(skipped);
        return Ok((
            super::list_commit::run(&CommitOptions { options: options.clone(), people: false }).await?,
            vec![skipped.to_owned()],
        ));
    };
    let mut rows = if options.case.is_none() { reference::rows()? } else { Vec::new() };
    let mut lines = vec![version.clone()];
    for clients in cases(options)? {
        note(&format!("compare-etcd: {clients} clients, {} s of each, {version}", options.seconds));
        let comity = TestBed::start(false).await?;
        let measured = pair(&comity, clients, Duration::from_secs(options.seconds)).await;
        comity.shut_down().await;
        let (ours, theirs) = measured?;
        lines.push(format!(
            "{clients} clients: comity {:.0}/s, etcd {:.0}/s: {:.2} of etcd",
            ours.per_s,
            theirs.per_s,
            ours.per_s / theirs.per_s.max(f64::MIN_POSITIVE)
        ));
        rows.extend([ours, theirs]);
    }
    Ok((rows, lines))
}

async fn pair(comity: &TestBed, clients: usize, length: Duration) -> Result<(Row, Row), Problem> {
    let cluster = Cluster::start().await?;
    let leader = cluster.leader().await?;
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(KvClient::new(cluster.dial(leader)?));
    }
    let (mut ours, mut theirs) = (Taken::default(), Taken::default());
    let (mut left, mut warm_up) = (length, WARM_UP);
    while !left.is_zero() {
        let slice = left.min(SLICE);
        ours.add(comity.take(clients, warm_up, slice).await?);
        theirs.add(take(&cluster, &channels, clients, warm_up, slice).await?);
        left -= slice;
        warm_up = SLICE_WARM_UP;
    }
    let ours = ours.row("list-commit", clients.to_string(), &comity.nodes());
    let theirs = theirs.row("etcd", clients.to_string(), &cluster.nodes());
    Ok((ours, theirs))
}

async fn take(
    cluster: &Cluster,
    channels: &[KvClient<Channel>],
    clients: usize,
    warm_up: Duration,
    length: Duration,
) -> Result<Taken, Problem> {
    let window = Window::after(warm_up, length);
    let value: Arc<[u8]> = vec![b'v'; VALUE_BYTES].into();
    let mut tasks = JoinSet::new();
    for (_, client) in (0..clients).zip(channels.iter().cycle()) {
        tasks.spawn(put_forever(client.clone(), Arc::clone(&value), window));
    }
    Taken::from(tasks, window, &cluster.nodes()).await
}

/// One client: a key of its own, and again, until the time is up.
async fn put_forever(mut client: KvClient<Channel>, value: Arc<[u8]>, window: Window) -> Result<Vec<u64>, Problem> {
    let mut dice = Dice::fresh()?;
    let mut latencies = Vec::new();
    while window.is_open() {
        let key = dice.bytes::<16>().to_vec();
        let begin = Instant::now();
        client.put(PutRequest { key, value: value.to_vec() }).await?;
        latencies.extend(window.latency_us(begin));
    }
    Ok(latencies)
}

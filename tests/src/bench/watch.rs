//! `watch`: how long after a decision is handed in it is seen by whoever watches the list on another node; beside it a put into
//! etcd that is watched on another node, by turns.
//!
//! One operation at a time: this is about how soon, not how many. What is timed is the vote that adopts, from the moment at
//! which it is handed to the leader until the publication is there, once as soon as a follower has applied it and once when it is
//! agreed, which takes the cosignatures of most members' nodes.

use std::time::{Duration, Instant};

use comity_core::list::Choice;
use comity_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::etcd::api::kv_client::KvClient;
use super::etcd::api::watch_client::WatchClient;
use super::etcd::api::{PutRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_request};
use super::etcd::{self, Cluster};
use super::list_commit::{Clerk, TestBed, WARM_UP, hand_in_now};
use super::measure::{Taken, micros};
use super::report::{Row, note};
use super::{Options, reference};
use crate::Problem;
use crate::reader::Reader;
use crate::seed::Dice;

/// The longest that a decision may take until it is seen.
const PATIENCE: Duration = Duration::from_secs(10);
/// As large as a command of `list-commit`, on average.
const VALUE_BYTES: usize = 700;

/// Runs all three by turns, one operation of each.
pub(super) async fn run(options: &Options) -> Result<(Vec<Row>, Vec<String>), Problem> {
    if let Some(case) = &options.case {
        return Err(format!("--case {case}: this benchmark has one case").into());
    }
    let mut lines = Vec::new();
    let version = etcd::version()?;
    match &version {
        Some(version) => lines.push(version.clone()),
        None => lines.push("etcd was skipped: no `etcd` is installed (Debian: apt-get install etcd-server)".to_owned()),
    }
    note(&format!("watch: {} s", options.seconds));
    let mut rows = reference::rows()?;
    let comity = TestBed::start(false).await?;
    let measured = measure(&comity, version.is_some(), Duration::from_secs(options.seconds)).await;
    comity.shut_down().await;
    rows.extend(measured?);
    Ok((rows, lines))
}

async fn measure(comity: &TestBed, with_etcd: bool, length: Duration) -> Result<Vec<Row>, Problem> {
    let (clerk, mut dice) = (comity.clerk()?, Dice::fresh()?);
    let reader = comity.follower()?;
    let mut seen = Listed::on(&reader, false).await?;
    let mut agreed = Listed::on(&reader, true).await?;
    let cluster = if with_etcd { Some(Cluster::start().await?) } else { None };
    let mut theirs = match &cluster {
        Some(cluster) => Some(Put::on(cluster).await?),
        None => None,
    };
    let (mut at_once, mut when_agreed, mut put) = (Vec::new(), Vec::new(), Vec::new());
    let counts_from = Instant::now() + WARM_UP;
    let until = counts_from + length;
    let mut turn = 0;
    while Instant::now() < until {
        let counts = Instant::now() >= counts_from;
        // One decision for both: each watcher sees it when it does.
        let (first, second) = decide(&clerk, turn, &mut dice, &mut seen, &mut agreed).await?;
        let third = match &mut theirs {
            Some(theirs) => Some(theirs.seen(&mut dice).await?),
            None => None,
        };
        if counts {
            at_once.push(first);
            when_agreed.push(second);
            put.extend(third);
        }
        turn += 1;
    }
    let nodes = comity.nodes();
    let mut rows = vec![
        Taken::one_by_one(at_once).row("watch", "seen".to_owned(), &nodes),
        Taken::one_by_one(when_agreed).row("watch", "agreed".to_owned(), &nodes),
    ];
    if let Some(cluster) = &cluster {
        rows.push(Taken::one_by_one(put).row("etcd-watch", "seen".to_owned(), &cluster.nodes()));
    }
    Ok(rows)
}

/// Tables and votes until one vote is missing, then times that one. In microseconds: until it is seen, until it is agreed.
async fn decide(
    clerk: &Clerk,
    turn: usize,
    dice: &mut Dice,
    seen: &mut Listed,
    agreed: &mut Listed,
) -> Result<(u64, u64), Problem> {
    let table = clerk.authors.table(turn, dice).ok_or("no members")?;
    let ballot = table.ballot;
    hand_in_now(clerk, &table).await?;
    let first = clerk.authors.vote(turn, ballot, Choice::Yes, dice).ok_or("no members")?;
    hand_in_now(clerk, &first).await?;
    let last = clerk.authors.vote(turn + 1, ballot, Choice::Yes, dice).ok_or("no members")?;
    let ballot = ballot.to_string();
    let begin = Instant::now();
    let (handed_in, seen, agreed) =
        tokio::join!(hand_in_now(clerk, &last), seen.next(&ballot, begin), agreed.next(&ballot, begin));
    handed_in?;
    Ok((seen?, agreed?))
}

/// The public log of a node that does not lead, as it comes.
struct Listed(Streaming<v1::WatchListResponse>);

impl Listed {
    async fn on(reader: &Reader, agreed_only: bool) -> Result<Self, Problem> {
        Ok(Self(reader.watch(0, agreed_only).await?))
    }

    /// How long after `begin` the publication of a ballot is there, in microseconds.
    async fn next(&mut self, ballot: &str, begin: Instant) -> Result<u64, Problem> {
        let message =
            tokio::time::timeout(PATIENCE, self.0.message()).await.map_err(|_| "nothing was seen in time")??;
        let took = micros(begin.elapsed());
        let publication = message.and_then(|message| message.publication).ok_or("the watch ended")?;
        if !String::from_utf8_lossy(&publication.publication).contains(ballot) {
            return Err("another publication than the one that was decided".into());
        }
        Ok(took)
    }
}

/// A key that is put by one node and watched on another.
struct Put {
    client: KvClient<Channel>,
    events: Streaming<WatchResponse>,
    /// Kept, or the watch would end.
    _asked: mpsc::Sender<WatchRequest>,
}

const KEY: &[u8] = b"watched";

impl Put {
    async fn on(cluster: &Cluster) -> Result<Self, Problem> {
        let leader = cluster.leader().await?;
        let follower = (leader + 1) % cluster.nodes().len();
        let (asked, requests) = mpsc::channel(1);
        let create = WatchCreateRequest { key: KEY.to_vec(), range_end: Vec::new() };
        let request_union = Some(watch_request::RequestUnion::CreateRequest(create));
        asked.send(WatchRequest { request_union }).await?;
        let mut watcher = WatchClient::new(cluster.dial(follower)?);
        let mut events = watcher.watch(ReceiverStream::new(requests)).await?.into_inner();
        // The first answer says that it is set up.
        events.message().await?.filter(|answer| answer.created).ok_or("etcd did not set up the watch")?;
        Ok(Self { client: KvClient::new(cluster.dial(leader)?), events, _asked: asked })
    }

    async fn seen(&mut self, dice: &mut Dice) -> Result<u64, Problem> {
        let mut value = vec![b'v'; VALUE_BYTES];
        value.extend(dice.bytes::<16>());
        let begin = Instant::now();
        let put = self.client.put(PutRequest { key: KEY.to_vec(), value: value.clone() });
        let next = async {
            let answer = tokio::time::timeout(PATIENCE, self.events.message()).await;
            let answer = answer.map_err(|_| "etcd showed nothing in time")??.ok_or("etcd's watch ended")?;
            let took = micros(begin.elapsed());
            let is_it = answer.events.iter().any(|event| event.kv.as_ref().is_some_and(|kv| kv.value == value));
            if is_it { Ok(took) } else { Err(Problem::from("etcd showed another value")) }
        };
        let (put, took) = tokio::join!(put, next);
        put?;
        took
    }
}

//! Records from one process to another over mutual TLS, with everything on: a decision for each record, an access record before each
//! page, signatures checked, receiver durable, receipts.

mod bare;

use std::time::{Duration, Instant};

use clap::Args;
use comity_cli::demo::federation::Federation;
use comity_core::{Role, Tier};
use comity_proto::v1;
use comity_proto::v1::node_service_client::NodeServiceClient;
use tonic::transport::Channel;

use super::Options;
use super::process::{Watched, cpu_seconds, peak_rss_mib};
use super::report::{Row, note};
use crate::Problem;
use crate::federation::{certificate, dial_lazily, lay_out, plan};
use crate::stock::Stock;

/// How long a federation may take to start, and an exchange to go on.
const PATIENCE: Duration = Duration::from_secs(120);
/// About what an item has beside the record's own text.
const ITEM_OVERHEAD_BYTES: usize = 900;
const READS: &str = r#"@id("reads") permit (principal, action, resource) when { resource.tier <= 4 };"#;

/// What the benchmark takes.
#[derive(Debug, Clone, Args)]
pub(super) struct ExchangeOptions {
    #[command(flatten)]
    pub(super) options: Options,
    /// About how many bytes of JSON each record has
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(200..=100_000))]
    bytes: u32,
}

pub(super) async fn run(options: &ExchangeOptions) -> Result<Vec<Row>, Problem> {
    let records: usize = options.options.case.as_deref().unwrap_or("100000").parse()?;
    let folder = tempfile::tempdir()?;
    let program = std::env::current_exe()?;
    let mut federation = lay_out(folder.path(), &plan(&["FR", "DE", "CA"], "quorum(2/3)")?, program)?;
    let begin = Instant::now();
    let bytes = options.bytes as usize;
    let (member, parties) = ("FR".parse()?, vec!["DE".parse()?]);
    let stock = Stock { member, records, bytes, tier: Tier::Restricted, parties, policy: READS };
    stock.put(&federation).await?;
    note(&format!(
        "{records} records of {bytes} bytes are in the store of FR after {:.1} s",
        begin.elapsed().as_secs_f64()
    ));
    // The receiver is up first, so that what is measured is the exchange and no start.
    for seat in [1, 2, 0] {
        federation.spawn(seat)?;
    }
    for seat in 0..3 {
        federation.wait_serving(seat, PATIENCE).await?;
    }
    let row = measure(&federation, records).await?;
    federation.shut_down(Duration::from_secs(20)).await;
    // An item holds the documents of a record and what proves them.
    let bare = bare::measure(&federation, records, bytes + ITEM_OVERHEAD_BYTES).await?;
    Ok(vec![row, bare])
}

async fn measure(federation: &Federation, records: usize) -> Result<Row, Problem> {
    let receiver = Desk::at(federation, "DE")?;
    let (sender_pid, receiver_pid) = pids(federation)?;
    let (mut first, begin) = (None, Instant::now());
    let mut watched = (0, Instant::now());
    loop {
        let copies = receiver.copies_from("FR").await?;
        let now = Instant::now();
        if copies > 0 && first.is_none() {
            first = Some((copies, now, cpu_seconds(sender_pid) + cpu_seconds(receiver_pid)));
        }
        if copies as usize >= records {
            break;
        }
        if copies > watched.0 {
            watched = (copies, now);
        }
        if now - watched.1 > PATIENCE {
            return Err(format!(
                "the exchange stands at {copies} records after {:.0} s",
                begin.elapsed().as_secs_f64()
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (had, from, cpu_before) = first.ok_or("nothing came")?;
    let (moved, seconds) = (records as u64 - had, from.elapsed().as_secs_f64());
    let cpu = cpu_seconds(sender_pid) + cpu_seconds(receiver_pid) - cpu_before;
    note(&format!(
        "sender {:.0} MiB, receiver {:.0} MiB at most; CPU of both {cpu:.1} s in {seconds:.1} s",
        peak_rss_mib(sender_pid),
        peak_rss_mib(receiver_pid)
    ));
    let watched = Watched::nodes(federation);
    Ok(Row {
        bench: "exchange",
        case: records.to_string(),
        per_s: moved as f64 / seconds,
        p50_us: 0,
        p99_us: 0,
        cpu_us_op: cpu * 1e6 / moved as f64,
        rss_mb: peak_rss_mib(sender_pid).max(peak_rss_mib(receiver_pid)),
        disk_mb: watched.iter().map(Watched::disk_mib).fold(0.0, f64::max),
        operations: moved,
        seconds,
    })
}

fn pids(federation: &Federation) -> Result<(u32, u32), Problem> {
    let pid = |seat| federation.process_id(seat).ok_or("a node is not running");
    Ok((pid(0)?, pid(1)?))
}

/// A member's operator, who asks how the node is.
struct Desk {
    client: NodeServiceClient<Channel>,
}

impl Desk {
    fn at(federation: &Federation, member: &str) -> Result<Self, Problem> {
        let seat = federation.seat(member).ok_or("no seat")?;
        let path = certificate(federation, member, Role::Operator, "desk-1");
        let channel = dial_lazily(federation, &seat.operator, seat.member, &path)?;
        Ok(Self { client: NodeServiceClient::new(channel) })
    }

    /// How many copies of a member's records the node holds.
    async fn copies_from(&self, member: &str) -> Result<u64, Problem> {
        let mut client = self.client.clone();
        let status = client.get_node_status(v1::GetNodeStatusRequest {}).await?.into_inner();
        let peer = status.peers.iter().find(|peer| peer.member == member).ok_or("not a partner")?;
        Ok(u64::try_from(peer.copies)?)
    }
}

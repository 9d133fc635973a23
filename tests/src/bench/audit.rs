//! The access log: durable records a second beside bare SQLite commits by turns in one run, and what an append and a proof cost as the
//! log grows.

mod filled;
mod reference;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use comity_core::access::{AccessRecord, ExchangedPage, Touched};
use comity_core::canonical::Hex32;
use comity_core::{MemberId, Timestamp, VersionId};
use comity_store::{AccessLog, KeyFile, NationalStore, StoreLocation};
use tokio::task::JoinSet;

use super::Options;
use super::measure::{Taken, Window, micros};
use super::report::{Row, note, percentile};
use crate::Problem;

/// Callers at one time.
const CALLERS: [usize; 3] = [1, 16, 64];
const WARM_UP: Duration = Duration::from_secs(1);
/// Sizes at which an append is measured; the last one only where it is asked for.
const SIZES: [u64; 3] = [1_000, 1_000_000, 10_000_000];
/// The case of an exchange's pages.
const PAGE: &str = "page";
/// Items of a full page, and pages that are recorded.
const PAGE_ITEMS: u64 = 512;
const PAGES: u64 = 400;
/// Inclusion proofs that are made.
const PROOFS: u64 = 1_000;

/// What the benchmark takes.
#[derive(Debug, Clone, Args)]
pub(super) struct AuditOptions {
    #[command(flatten)]
    pub(super) options: Options,
    /// Measure appends and proofs at sizes up to N leaves: 1000, 1000000, 10000000 as far as they go; filling takes a while and some
    /// 700 bytes of disk a leaf
    #[arg(long, value_name = "N", default_value_t = 0)]
    grow: u64,
    /// Where the stores lie: on the disk that is to be measured
    #[arg(long, value_name = "FOLDER")]
    dir: Option<std::path::PathBuf>,
}

pub(super) async fn run(options: &AuditOptions) -> Result<(Vec<Row>, Vec<String>), Problem> {
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    let length = Duration::from_secs(options.options.seconds);
    let folder = || match &options.dir {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    for callers in CALLERS {
        if options.options.case.as_deref().is_some_and(|case| case != callers.to_string()) {
            continue;
        }
        let folder = folder()?;
        // By turns: before and after, since a disk's speed drifts.
        let before = reference::Bare::measure(folder.path(), length / 4).await?;
        let row = append(folder.path(), callers, length).await?;
        let bare = before.mean(reference::Bare::measure(folder.path(), length / 4).await?);
        lines.push(format!(
            "{callers} callers: {:.0} records/s; bare SQLite in the same run: {:.0} one-row commits/s, {:.0} rows/s in commits of 100; \
             {:.2} of the latter",
            row.per_s,
            bare.one_row_per_s,
            bare.hundred_rows_per_s,
            row.per_s / bare.hundred_rows_per_s
        ));
        rows.push(row);
    }
    if options.options.case.as_deref().is_none_or(|case| case == PAGE) {
        let folder = folder()?;
        let row = pages(folder.path()).await?;
        let ms = row.seconds * 1e3 / row.operations as f64;
        lines.push(format!(
            "page: the record of {PAGE_ITEMS} items takes {ms:.2} ms; an exchange of 100,000 small records has {} such pages, {:.2} s on \
             either side",
            100_000_u64.div_ceil(PAGE_ITEMS),
            100_000_f64 / PAGE_ITEMS as f64 * ms / 1e3
        ));
        rows.push(row);
    }
    for size in SIZES.into_iter().filter(|size| *size <= options.grow) {
        let folder = folder()?;
        let (append, proof) = grown(folder.path(), size, length).await?;
        rows.extend([append, proof]);
    }
    Ok((rows, lines))
}

/// A national store of its own.
async fn open(folder: &Path) -> Result<NationalStore, Problem> {
    let location = StoreLocation::File(folder.join("national.db"));
    let key = KeyFile::at(folder.join("store.key"));
    let federation = Hex32([7; 32]);
    Ok(NationalStore::open(&location, key, folder.join("erasures"), member()?, federation).await?)
}

fn member() -> Result<MemberId, Problem> {
    Ok("FR".parse()?)
}

/// What is recorded of an operator who reads a record: as long as it is in a node.
fn record(n: u64) -> Result<AccessRecord, Problem> {
    let touched = Touched {
        because: vec!["own-people".to_owned()],
        view: Some("read".to_owned()),
        ..Touched::resource(format!("FR-P-{:016}", n % 10_000))
    };
    Ok(AccessRecord {
        who: Some(format!("spiffe://fr.comity.example/operator/desk-{}", n % 50).parse()?),
        member: Some(member()?),
        touched: vec![touched],
        request_id: Some(format!("{n:032x}")),
        ..AccessRecord::new(
            Timestamp::from_jiff(jiff::Timestamp::now()),
            "10.20.30.40:50607",
            "RecordService/GetRecord",
        )
    })
}

/// Callers that append one record after the other, each waiting until it is durable.
async fn append(folder: &Path, callers: usize, length: Duration) -> Result<Row, Problem> {
    let store = open(folder).await?;
    let window = Window::after(WARM_UP, length);
    let mut tasks = JoinSet::new();
    for caller in 0..callers as u64 {
        tasks.spawn(append_on(store.access_log().clone(), caller << 32, window));
    }
    let taken = Taken::from(tasks, window, &[]).await?;
    store.close().await;
    Ok(taken.row("audit", callers.to_string(), &[]))
}

async fn append_on(log: AccessLog, from: u64, window: Window) -> Result<Vec<u64>, Problem> {
    let (mut latencies, mut n) = (Vec::new(), from);
    while window.is_open() {
        let record = record(n)?;
        let begin = Instant::now();
        log.append(record).await?;
        latencies.extend(window.latency_us(begin));
        n += 1;
    }
    Ok(latencies)
}

/// The records of full pages of an exchange, one after the other, as each side of it writes them.
async fn pages(folder: &Path) -> Result<Row, Problem> {
    let store = open(folder).await?;
    let (mut latencies, begin) = (Vec::new(), Instant::now());
    for page in 0..PAGES {
        let touched = |n| Touched {
            version: Some(VersionId::new([7; 16])),
            view: Some("read".to_owned()),
            because: vec!["reads".to_owned()],
            ..Touched::resource(format!("FR-I-{n:016}"))
        };
        let (first, end) = (page * PAGE_ITEMS, (page + 1) * PAGE_ITEMS);
        let record = AccessRecord {
            touched: (first..end).map(touched).collect(),
            page: Some(ExchangedPage { root: Hex32([7; 32]), last_number: end }),
            ..record(page)?
        };
        let one = Instant::now();
        store.access_log().append(record).await?;
        latencies.push(micros(one.elapsed()));
    }
    let row = row(PAGE.to_owned(), latencies, begin.elapsed());
    store.close().await;
    Ok(row)
}

/// A log of so many leaves: what an append of one caller costs, and a proof that a leaf is in it.
async fn grown(folder: &Path, size: u64, length: Duration) -> Result<(Row, Row), Problem> {
    let begin = Instant::now();
    open(folder).await?.close().await;
    filled::fill(&folder.join("national.db"), size).await?;
    let store = open(folder).await?;
    let log = store.access_log();
    note(&format!("{size} leaves were filled in and opened after {:.0} s", begin.elapsed().as_secs_f64()));
    if log.head().size != size {
        return Err(format!("{} leaves, not {size}", log.head().size).into());
    }
    let mut latencies = Vec::new();
    let proofs = Instant::now();
    for n in 0..PROOFS {
        // Spread over the whole log, so that few pages are met twice.
        let leaf = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % size;
        let begin = Instant::now();
        log.prove_inclusion(size, leaf).await?;
        latencies.push(micros(begin.elapsed()));
    }
    let proof = row(format!("proof at {size}"), latencies, proofs.elapsed());
    let window = Window::after(WARM_UP, length.min(Duration::from_secs(5)));
    let begin = Instant::now() + WARM_UP;
    let latencies = append_on(log.clone(), 1 << 40, window).await?;
    let append = row(format!("append at {size}"), latencies, begin.elapsed());
    store.close().await;
    Ok((append, proof))
}

fn row(case: String, mut latencies: Vec<u64>, length: Duration) -> Row {
    latencies.sort_unstable();
    Row {
        bench: "audit",
        case,
        per_s: latencies.len() as f64 / length.as_secs_f64(),
        p50_us: percentile(&latencies, 0.5),
        p99_us: percentile(&latencies, 0.99),
        cpu_us_op: 0.0,
        rss_mb: 0.0,
        disk_mb: 0.0,
        operations: latencies.len() as u64,
        seconds: length.as_secs_f64(),
    }
}

//! `kill -9` of a node while people read at it and a partner takes its pages: whatever got an answer is in the log, and the log is
//! whole after each restart.
//!
//! `COMITY_KILLS` says how often it is killed, `COMITY_SEED` draws a campaign again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use comity_cli::demo::federation::Federation;
use comity_core::access::{AccessLeaf, AccessRecord, Outcome, PAGE_RECEIVED, PAGE_SENT};
use comity_core::canonical::Hex32;
use comity_core::{MemberId, RecordId, Role, Tier};
use comity_proto::v1;
use comity_tests::seed::Seed;
use comity_tests::staff::Staff;
use comity_tests::stock::{Stock, incident};
use comity_tests::stores;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use support::{Field, PATIENCE};
use tokio::task::JoinSet;

/// How often the node is killed where `COMITY_KILLS` does not say.
const KILLS: usize = 20;
const FR: usize = 0;
/// Operators who read at one time.
const READERS: usize = 8;
/// Records that they read.
const RECORDS: usize = 64;
const POLICY: &str = r#"@id("all") permit (principal, action in [Action::"discover", Action::"read"], resource) when { resource.tier <= 4 };"#;
const BRISK: &str = "[exchange]\nbackoff_max_ms = 500\n[access_log]\ncheckpoint_interval_s = 1\n";
/// Between the calls of one reader that got no answer.
const PAUSE: Duration = Duration::from_millis(20);

/// How often each record was read and the answer came.
type Answered = Arc<BTreeMap<RecordId, AtomicU64>>;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_answered_is_in_the_log_however_often_the_node_is_killed() {
    let kills = std::env::var("COMITY_KILLS").map_or(KILLS, |n| n.parse().unwrap());
    let seed = Seed::take().unwrap();
    let mut dice = seed.dice("log kills");
    let mut field = Field::laid_out_with(&["FR", "DE", "CA"], "quorum(2/3)", BRISK);
    let (fr, de): (MemberId, MemberId) = ("FR".parse().unwrap(), "DE".parse().unwrap());
    let stock =
        Stock { member: fr, records: RECORDS, bytes: 600, tier: Tier::Restricted, parties: vec![de], policy: POLICY };
    let records = stock.put(&field.federation).await.unwrap();
    field.federation.start(PATIENCE).await.unwrap();

    let answered: Answered = Arc::new(records.iter().map(|record| (*record, AtomicU64::new(0))).collect());
    let over = Arc::new(AtomicBool::new(false));
    let mut people = JoinSet::new();
    for _ in 0..READERS {
        let staff = Staff::of(&field.federation, fr).unwrap();
        people.spawn(read(staff, Arc::clone(&answered), Arc::clone(&over)));
    }
    people.spawn(share(Staff::of(&field.federation, fr).unwrap(), de, Arc::clone(&over)));
    let mut longest = 0;
    for kill in 0..kills {
        tokio::time::sleep(Duration::from_millis(100 + dice.below(500) as u64)).await;
        field.federation.kill(FR);
        // Before it is started again: what was answered until now is on the disk, and nothing is in its way.
        let answers: u64 = answered.values().map(|count| count.load(Ordering::SeqCst)).sum();
        let leaves = leaves_on_disk(&field.federation).await;
        assert!(leaves.len() >= longest, "kill {kill}: {} leaves, {longest} before", leaves.len());
        longest = leaves.len();
        let reads = leaves.iter().filter(|record| is_read(record)).count() as u64;
        assert!(reads >= answers, "kill {kill} of {seed:?}: {answers} answers, {reads} recorded");
        field.federation.spawn(FR).unwrap();
        // One time in four the next kill meets a node that is still starting.
        if !dice.once_in(4) {
            field.federation.wait_serving(FR, PATIENCE).await.unwrap();
        }
    }
    field.federation.start(PATIENCE).await.unwrap();
    over.store(true, Ordering::Relaxed);
    while people.join_next().await.transpose().unwrap().is_some() {}
    until_told_all(&field.federation, fr, de).await;
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
    field.federation.shut_down(Duration::from_secs(20)).await;

    let (sent, received) = (log_of(&field.federation, fr).await, log_of(&field.federation, de).await);
    for (record, count) in answered.iter() {
        let id = record.to_string();
        let reads =
            sent.iter().filter(|leaf| is_read(leaf) && leaf.touched.iter().any(|touched| touched.resource == id));
        let (reads, answers) = (reads.count() as u64, count.load(Ordering::SeqCst));
        assert!(reads >= answers, "{id}: {answers} answers, {reads} recorded");
    }
    let pages = pages(&received, PAGE_RECEIVED);
    let left = self::pages(&sent, PAGE_SENT);
    for page in pages.keys() {
        assert!(left.contains_key(page), "a page came that no leaf says was sent: {page:?}");
    }
    let answers: u64 = answered.values().map(|count| count.load(Ordering::SeqCst)).sum();
    eprintln!("{kills} kills, {answers} answers, {} leaves, {} pages", sent.len(), pages.len());
    assert!(answers > kills as u64 && pages.len() > kills / 4, "{answers} answers, {} pages", pages.len());
}

/// Reads record after record, whatever happens to the node, and counts what was answered.
async fn read(staff: Staff, answered: Answered, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        for (record, count) in answered.iter() {
            match staff.get(*record).await {
                Ok(_) => drop(count.fetch_add(1, Ordering::SeqCst)),
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
            if over.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

/// Shares one new record after the other with the partner.
async fn share(staff: Staff, with: MemberId, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        if let Ok(drafted) = staff.draft(v1::RecordKind::Incident, &incident(Tier::Restricted, &[with], "New.")).await {
            staff.share(&[drafted.id.parse().unwrap()], with).await.ok();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn until_told_all(federation: &Federation, of: MemberId, partner: MemberId) {
    let (staff, begin) = (Staff::of(federation, of).unwrap(), Instant::now());
    loop {
        match staff.partner(partner).await {
            Ok(status) if status.queued == 0 && status.unacknowledged == 0 => return,
            status => assert!(begin.elapsed() < PATIENCE, "{status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is_read(record: &AccessRecord) -> bool {
    record.action == "RecordService/GetRecord" && record.outcome == Outcome::Allowed
}

/// Pages by their root and last number.
fn pages(log: &[AccessRecord], action: &str) -> BTreeMap<(Hex32, u64), usize> {
    let mut pages = BTreeMap::new();
    for page in log.iter().filter(|record| record.action == action).filter_map(|record| record.page) {
        *pages.entry((page.root, page.last_number)).or_default() += 1;
    }
    pages
}

/// Every leaf of FR's killed node, as a shell finds it: each whole.
async fn leaves_on_disk(federation: &Federation) -> Vec<AccessRecord> {
    // A copy, so that it is the node itself that finds its files as the kill left them.
    let folder = tempfile::tempdir().unwrap();
    let data = federation.seats[FR].folder.join("data");
    for name in ["national.db", "national.db-wal"] {
        if data.join(name).exists() {
            std::fs::copy(data.join(name), folder.path().join(name)).unwrap();
        }
    }
    let options = SqliteConnectOptions::new().filename(folder.path().join("national.db"));
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let rows = sqlx::query("SELECT n, salt, record, annex FROM access_leaf ORDER BY n").fetch_all(&pool).await.unwrap();
    let leaves = rows.iter().zip(0_i64..).map(|(row, n)| {
        assert_eq!(row.get::<i64, _>("n"), n);
        let salt = Hex32(row.get::<Vec<u8>, _>("salt").try_into().unwrap());
        AccessLeaf { salt, record: row.get("record"), annex: row.get("annex") }.read().unwrap()
    });
    let leaves = leaves.collect();
    pool.close().await;
    leaves
}

/// The whole log of a node that was stopped, verified.
async fn log_of(federation: &Federation, member: MemberId) -> Vec<AccessRecord> {
    let store = stores::open(federation, member).await.unwrap();
    let log = store.access_log();
    let verified = log.verify_stored().await.unwrap();
    assert!(verified.is_sound(), "{member}: {:?}", verified.faults);
    let mut records = Vec::new();
    loop {
        let page = log.leaves(records.len() as u64, 1_000).await.unwrap();
        if page.is_empty() {
            break;
        }
        records.extend(page.iter().map(|leaf| leaf.record().unwrap()));
    }
    store.close().await;
    records
}

//! Either side of an exchange is killed at any moment, and the line between them is cut, while records are drafted, revised and
//! withdrawn and the policy narrows and widens: in the end the receiver holds what it may, no more and no less, and nothing that
//! ever reached it lacks its record at the sender, made before.
//!
//! `COMITY_KILLS` says how many processes are killed, `COMITY_SEED` draws a campaign again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use comity_core::canonical;
use comity_core::dsse::{Envelope, PublicKey};
use comity_core::merkle;
use comity_core::view::{Change, PageStatement, ViewName, verify_receipt};
use comity_core::{MemberId, RecordId, Role, Tier, Timestamp};
use comity_proto::v1;
use comity_store::NationalStore;
use comity_store::copies::StoredCopy;
use comity_store::outbox::{Numbered, ReleasedChange};
use comity_store::records::{RecordState, StoredRecord};
use comity_tests::freeze::Frozen;
use comity_tests::proxy::Net;
use comity_tests::seed::{Dice, Seed};
use comity_tests::staff::Staff;
use comity_tests::stock::{Stock, incident};
use comity_tests::stores;
use serde_json::Value;
use support::{Field, PATIENCE};

/// Processes that are killed where `COMITY_KILLS` does not say.
const KILLS: usize = 10;
/// Records of each tier that are there at the beginning.
const RECORDS: usize = 1_200;
const FR: usize = 0;
const DE: usize = 1;
/// Streams are opened again soon, so that many are cut.
const BRISK: &str = "[exchange]\nbackoff_max_ms = 500\n";
const PAUSE: Duration = Duration::from_millis(100);

/// How much of a record the policies below give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Nothing,
    Discover,
    Read,
}

/// Policies that are put into force, and what each gives of restricted and of confidential records.
const POLICIES: [(&str, Level, Level); 3] = [
    (
        r#"@id("all") permit (principal, action in [Action::"discover", Action::"read"], resource) when { resource.tier <= 4 };"#,
        Level::Read,
        Level::Read,
    ),
    (
        r#"@id("shy") permit (principal, action == Action::"discover", resource) when { resource.tier <= 4 };
           @id("low") permit (principal, action == Action::"read", resource) when { resource.tier <= 2 };"#,
        Level::Read,
        Level::Discover,
    ),
    (
        r#"@id("low") permit (principal, action in [Action::"discover", Action::"read"], resource) when { resource.tier <= 2 };"#,
        Level::Read,
        Level::Nothing,
    ),
];

/// What the node of FR acknowledged to its people.
#[derive(Debug, Default)]
struct Acknowledged {
    drafted: BTreeSet<RecordId>,
    withdrawn: BTreeSet<RecordId>,
    revised: BTreeMap<RecordId, String>,
    changes: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_holds_in_the_end_what_it_may_whichever_side_is_killed() {
    let kills = std::env::var("COMITY_KILLS").map_or(KILLS, |n| n.parse().unwrap());
    let seed = Seed::take().unwrap();
    let mut dice = seed.dice("exchange kills");
    let (mut field, net, records) = start().await;
    let staff = Staff::of(&field.federation, "FR".parse().unwrap()).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let changes = tokio::spawn(change(staff.clone(), records, seed.dice("changes"), Arc::clone(&over)));

    let mut killed = 0;
    while killed < kills {
        tokio::time::sleep(Duration::from_millis(dice.below(900) as u64)).await;
        killed += happen(&mut field, &net, &mut dice).await;
    }
    net.mend();
    field.federation.start(PATIENCE).await.unwrap();
    net.know(&field.federation);
    over.store(true, Ordering::Relaxed);
    let acknowledged = changes.await.unwrap();
    // The last word, which everything comes before.
    let (last_policy, ..) = POLICIES[dice.below(POLICIES.len())];
    let de: MemberId = "DE".parse().unwrap();
    until_ok("the last policy", async || staff.apply_policy(de, last_policy).await).await;
    until_ok("the last record", async || share_new(&staff, Tier::Restricted).await.map(drop)).await;
    until_told_all(&staff, de).await;

    let (sent, received) = (log_of(&field, "FR", "PeerService/Exchange page", "DE").await, {
        log_of(&field, "DE", "receive page", "FR").await
    });
    for member in ["FR", "DE"] {
        field.ok(member, Role::Auditor, &["audit", "verify"]).await;
    }
    for seat in [FR, DE] {
        field.federation.stop(seat, Duration::from_secs(20)).await;
    }
    let sender = stores::open(&field.federation, "FR".parse().unwrap()).await.unwrap();
    let receiver = stores::open(&field.federation, de).await.unwrap();
    nothing_acknowledged_is_lost(&sender, &acknowledged).await;
    let held = holds_what_it_may(&field, &sender, &receiver).await;
    receipts_verify(&field, &sender).await;
    nothing_arrived_unrecorded(&sent, &received);
    let arrived: usize = received.values().map(Vec::len).sum();
    eprintln!("{killed} kills, {} changes acknowledged, {arrived} items arrived, {held} held", acknowledged.changes);
    assert!(acknowledged.changes > kills, "FR's people got little done: {}", acknowledged.changes);
    assert!(arrived > RECORDS, "little arrived: {arrived}");
}

/// A federation with a proxy before each node, FR's store full of what it shares with DE.
async fn start() -> (Field, Net, Vec<RecordId>) {
    let mut field = Field::laid_out_with(&["FR", "DE", "CA"], "quorum(2/3)", BRISK);
    let net = Net::lay(&field.federation).await.unwrap();
    let mut records = Vec::new();
    for tier in [Tier::Restricted, Tier::Confidential] {
        let (member, parties) = ("FR".parse().unwrap(), vec!["DE".parse().unwrap()]);
        let stock = Stock { member, records: RECORDS, bytes: 600, tier, parties, policy: POLICIES[0].0 };
        records.extend(stock.put(&field.federation).await.unwrap());
    }
    for seat in 0..3 {
        field.federation.spawn(seat).unwrap();
    }
    net.know(&field.federation);
    field.federation.start(PATIENCE).await.unwrap();
    (field, net, records)
}

/// What happens once: a side or both are killed and come back, the line is cut meanwhile, or a side stands still. Returns how many
/// processes were killed.
async fn happen(field: &mut Field, net: &Net, dice: &mut Dice) -> usize {
    let side = [FR, DE][dice.below(2)];
    let victims: &[usize] = match dice.below(6) {
        0 => {
            let frozen = Frozen::process(field.federation.process_id(side).unwrap()).unwrap();
            tokio::time::sleep(Duration::from_millis(dice.below(1_500) as u64)).await;
            drop(frozen);
            return 0;
        }
        1 => &[FR, DE],
        _ => &[side],
    };
    let cut = dice.once_in(3);
    if cut {
        net.cut(FR, DE);
        tokio::time::sleep(Duration::from_millis(dice.below(500) as u64)).await;
    }
    victims.iter().for_each(|seat| field.federation.kill(*seat));
    tokio::time::sleep(Duration::from_millis(dice.below(500) as u64)).await;
    victims.iter().for_each(|seat| field.federation.spawn(*seat).unwrap());
    net.know(&field.federation);
    net.mend();
    // One time in four the next kill meets a node that is still starting.
    if !dice.once_in(4) {
        for seat in victims {
            field.federation.wait_serving(*seat, PATIENCE).await.unwrap();
        }
    }
    victims.len()
}

/// FR's people work until it is over, whatever happens to their node.
async fn change(staff: Staff, mut records: Vec<RecordId>, mut dice: Dice, over: Arc<AtomicBool>) -> Acknowledged {
    let de = "DE".parse().unwrap();
    let mut done = Acknowledged::default();
    while !over.load(Ordering::Relaxed) {
        let picked = dice.below(records.len());
        let outcome = match dice.below(6) {
            0 => {
                let (policy, ..) = POLICIES[dice.below(POLICIES.len())];
                staff.apply_policy(de, policy).await
            }
            1 | 2 => {
                let record = records.swap_remove(picked);
                done.revised.remove(&record);
                staff.withdraw(record).await.map(|()| done.withdrawn.extend([record]))
            }
            3 | 4 => revise(&staff, records[picked], &mut done).await,
            _ => share_new(&staff, [Tier::Restricted, Tier::Confidential][dice.below(2)]).await.map(|record| {
                records.push(record);
                done.drafted.insert(record);
            }),
        };
        done.changes += usize::from(outcome.is_ok());
        tokio::time::sleep(PAUSE).await;
    }
    done
}

/// Says something else in a record and shares it anew. Its tier is what it was, as its words say.
async fn revise(staff: &Staff, record: RecordId, done: &mut Acknowledged) -> Result<(), tonic::Status> {
    let de: MemberId = "DE".parse().unwrap();
    done.revised.remove(&record);
    let found = staff.get(record).await?;
    let words: Value = serde_json::from_slice(&found.document).unwrap();
    let tier = if words["marking"]["tier"] == "confidential" { Tier::Confidential } else { Tier::Restricted };
    let revised = staff.revise(&found, &incident(tier, &[de], "Said anew.")).await?;
    done.revised.insert(record, revised.etag);
    staff.share(&[record], de).await
}

async fn share_new(staff: &Staff, tier: Tier) -> Result<RecordId, tonic::Status> {
    let de = "DE".parse().unwrap();
    let drafted = staff.draft(v1::RecordKind::Incident, &incident(tier, &[de], "New.")).await?;
    let record = drafted.id.parse().unwrap();
    staff.share(&[record], de).await?;
    Ok(record)
}

async fn until_ok(what: &str, attempt: impl AsyncFn() -> Result<(), tonic::Status>) {
    let begin = Instant::now();
    while let Err(status) = attempt().await {
        assert!(begin.elapsed() < PATIENCE, "{what}: {status}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until the partner has signed for everything that it is to have.
async fn until_told_all(staff: &Staff, partner: MemberId) {
    let begin = Instant::now();
    loop {
        let status = staff.partner(partner).await.unwrap();
        if status.queued == 0 && status.unacknowledged == 0 {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{status:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Record, version and view of what crossed, and when it was recorded, first to last.
type Crossed = BTreeMap<(String, String, String), Vec<Timestamp>>;

/// What a member's auditor reads of what crossed.
async fn log_of(field: &Field, member: &str, action: &str, partner: &str) -> Crossed {
    let command =
        ["audit", "log", "--action", action, "--member", partner, "--outcome", "allowed", "--limit", "1000000"];
    let log = field.ok(member, Role::Auditor, &command).await;
    let mut crossed = Crossed::new();
    for record in log["records"].as_array().unwrap() {
        let at: Timestamp = record["time"].as_str().unwrap().parse().unwrap();
        for touched in record["touched"].as_array().unwrap() {
            let [id, version, view] = ["resource", "version", "view"].map(|f| touched[f].as_str().unwrap().to_owned());
            crossed.entry((id, version, view)).or_default().push(at);
        }
    }
    crossed.values_mut().for_each(|at| at.sort_unstable());
    crossed
}

/// Each arrival has a release of its own that was recorded before it.
fn nothing_arrived_unrecorded(sent: &Crossed, received: &Crossed) {
    for (what, arrivals) in received {
        let releases = sent.get(what).map(Vec::as_slice).unwrap_or_default();
        for (n, arrival) in arrivals.iter().enumerate() {
            let release = releases.get(n);
            assert!(release.is_some_and(|at| at <= arrival), "{what:?} came at {arrival}; released at {releases:?}");
        }
    }
}

async fn nothing_acknowledged_is_lost(sender: &NationalStore, acknowledged: &Acknowledged) {
    for record in &acknowledged.drafted {
        assert!(sender.records().get(*record).await.unwrap().is_some(), "{record} was drafted");
    }
    for record in &acknowledged.withdrawn {
        let state = sender.records().get(*record).await.unwrap().unwrap().state;
        assert_eq!(state, RecordState::Withdrawn, "{record} was withdrawn");
    }
    for (record, version) in &acknowledged.revised {
        let found = sender.records().get(*record).await.unwrap().unwrap().version.to_string();
        assert_eq!(&found, version, "{record} was revised");
    }
}

/// The receiver's copies are those that the sender's records, shares and policy let it have, each of the version that holds, under
/// the number that it was last given, and proves its origin. Returns how many.
async fn holds_what_it_may(field: &Field, sender: &NationalStore, receiver: &NationalStore) -> usize {
    let (fr, de): (MemberId, MemberId) = ("FR".parse().unwrap(), "DE".parse().unwrap());
    let policy = sender.policies().current(de).await.unwrap().unwrap().text;
    let (_, restricted, confidential) = *POLICIES.iter().find(|(text, ..)| *text == policy).unwrap();
    let may = |record: &StoredRecord| match record.state {
        RecordState::Shared if !record.shares.contains_key(&de) => Level::Nothing,
        RecordState::Shared if record.document.marking().tier == Tier::Restricted => restricted,
        RecordState::Shared => confidential,
        _ => Level::Nothing,
    };
    let numbered = all_numbered(sender, de).await;
    assert!(numbered.iter().zip(1..).all(|(row, n)| row.number == n), "numbers are not dense");
    let latest: BTreeMap<RecordId, Numbered> = numbered.into_iter().map(|row| (row.record, row)).collect();
    assert_eq!(
        receiver.copies().progress(fr).await.unwrap().last_number,
        sender.outbox().last_number(de).await.unwrap()
    );

    let mut copies = all_copies(receiver).await;
    let numbers: BTreeSet<u64> = copies.values().map(|copy| copy.item.number).collect();
    assert_eq!(numbers.len(), copies.len(), "one number, two copies");
    let held = copies.len();
    for record in all_records(sender).await {
        let copy = copies.remove(&record.id);
        let expected = may(&record);
        let found = copy.as_ref().map_or(Level::Nothing, level_of);
        assert_eq!(found, expected, "{} is {}, {}", record.id, record.state, record.document.marking().tier);
        let Some(copy) = copy else { continue };
        assert_eq!(copy.item.discover().unwrap().unwrap().version, record.version, "{}", record.id);
        assert_eq!(copy.item.number, latest[&record.id].number, "{}", record.id);
        assert!(
            matches!(latest[&record.id].change, ReleasedChange::Upsert { version, .. } if version == record.version)
        );
        proves_its_origin(&copy, &field.federation.genesis.member(fr).unwrap().node_key);
    }
    assert!(copies.is_empty(), "copies of records that are not there: {:?}", copies.keys());
    held
}

fn level_of(copy: &StoredCopy) -> Level {
    let Change::Upsert(documents) = &copy.item.change else { return Level::Nothing };
    if documents.iter().any(|document| document.view == ViewName::Read) { Level::Read } else { Level::Discover }
}

fn proves_its_origin(copy: &StoredCopy, key: &PublicKey) {
    let envelope = Envelope::from_bytes(&copy.page_envelope).unwrap();
    envelope.verify(&key.0).unwrap();
    let page: PageStatement = canonical::from_slice(&envelope.payload).unwrap();
    let leaf = copy.sealed.leaf();
    assert!(merkle::check_inclusion(&copy.path, page.count, page.root, copy.leaf_index, leaf), "{}", copy.record);
    assert_eq!(page.first_number + copy.leaf_index, copy.item.number);
}

/// What the sender keeps as signed for is: by the receiver's node key, about numbers that were given, the last of them too.
async fn receipts_verify(field: &Field, sender: &NationalStore) {
    let de: MemberId = "DE".parse().unwrap();
    let key = field.federation.genesis.member(de).unwrap().node_key;
    let last = sender.outbox().last_number(de).await.unwrap();
    let mut after = 0;
    loop {
        let receipts = sender.outbox().receipts(de, after, 500).await.unwrap();
        let Some(newest) = receipts.last() else { break };
        after = newest.last_number;
        for receipt in receipts {
            let signed = verify_receipt(&Envelope::from_bytes(&receipt.envelope).unwrap(), &key.0).unwrap();
            assert_eq!((signed.last_number, signed.root, signed.to), (receipt.last_number, receipt.root, de));
        }
    }
    assert_eq!(after, last, "the last number that was given is signed for");
}

async fn all_numbered(store: &NationalStore, party: MemberId) -> Vec<Numbered> {
    let mut all: Vec<Numbered> = Vec::new();
    loop {
        let after = all.last().map_or(0, |row| row.number);
        let rows = store.outbox().released_after(party, after, 1_000).await.unwrap();
        if rows.is_empty() {
            return all;
        }
        all.extend(rows);
    }
}

async fn all_records(store: &NationalStore) -> Vec<StoredRecord> {
    let mut all: Vec<StoredRecord> = Vec::new();
    loop {
        let below = all.last().map(|row| row.position);
        let rows = store.records().list(None, below, 200).await.unwrap();
        if rows.is_empty() {
            return all;
        }
        all.extend(rows);
    }
}

async fn all_copies(store: &NationalStore) -> BTreeMap<RecordId, StoredCopy> {
    let (mut all, mut below) = (BTreeMap::new(), None);
    loop {
        let rows = store.copies().list(None, below, 200).await.unwrap();
        let Some(last) = rows.last() else { return all };
        below = Some(last.position);
        all.extend(rows.into_iter().map(|copy| (copy.record, copy)));
    }
}

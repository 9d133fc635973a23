//! A thousand places at which the log is changed on disk while its node is down: each is found, and named; or it is harmless, and
//! what is signed afterwards continues everything that was signed before.

use std::path::Path;

use comity_core::access::{AccessRecord, Touched};
use comity_core::canonical::Hex32;
use comity_core::checkpoint::SignedCheckpoint;
use comity_core::merkle::{self, Frontier};
use ed25519_dalek::SigningKey;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use tempfile::TempDir;

use super::{AccessFilter, AccessLogError, Order};
use crate::test_store::{FEDERATION, TestStore, at, member, open_copy, person, skipped_without_a_file};

const ORIGIN: &str = "fr.comity.example/access-log/1";
const LEAVES: u64 = 300;
/// The last eleven leaves are not signed for.
const SIGNED: [u64; 6] = [1, 37, 100, 128, 200, 289];
const PLACES: usize = 1_000;
const BYTES: usize = 200;

fn key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn access(n: u64) -> AccessRecord {
    AccessRecord {
        who: Some(person("operator", &format!("desk-{}", n % 3))),
        member: Some(member("FR")),
        touched: vec![Touched::resource(format!("R-{}", n % 7)), Touched::resource("R-all")],
        ..AccessRecord::new(at(n as i64), "127.0.0.1:4000", "GetProposal")
    }
}

/// A generator that draws the same again for the same seed: splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A log as it was, and what somebody else kept of it.
struct Original {
    test: TestStore,
    leaves: Vec<Hex32>,
    signed: Vec<SignedCheckpoint>,
    /// As the whole file was when half of it was there.
    half: Vec<u8>,
}

impl Original {
    async fn new() -> Self {
        let test = TestStore::new().await;
        let (mut signed, mut half) = (Vec::new(), Vec::new());
        let log = test.store.access_log();
        for n in 0..LEAVES {
            log.append(access(n)).await.unwrap();
            if SIGNED.contains(&(n + 1)) {
                signed.push(log.checkpoint_now(ORIGIN, &key()).await.unwrap());
            }
            if n == 150 {
                let (folder, path) = test.crash_copy();
                open_copy(&folder, member("FR"), FEDERATION).await.unwrap().close().await;
                half = std::fs::read(path).unwrap();
            }
        }
        let leaves = log.leaves(0, 1_000).await.unwrap().into_iter().map(|leaf| leaf.hash).collect();
        test.store.close().await;
        Self { test, leaves, signed, half }
    }
}

/// What came of a change.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// In these words.
    Named(String),
    Nothing,
}

/// Opens the log and verifies all of it, as an auditor does who has the member's key.
async fn look(folder: &TempDir) -> Found {
    let store = match open_copy(folder, member("FR"), FEDERATION).await {
        Ok(store) => store,
        Err(error) => return Found::Named(sentence(&error)),
    };
    let log = store.access_log();
    let mut found = match log.verify_stored().await {
        Ok(verified) => verified.faults.first().map(ToString::to_string),
        Err(error) => Some(sentence(&error)),
    };
    if found.is_none() {
        let all = log.checkpoints(None, 1_000).await.unwrap();
        let forged = all.iter().find(|signed| signed.verify(ORIGIN, &key().verifying_key()).is_err());
        found =
            forged.map(|signed| format!("the checkpoint at {} is not signed by this member", signed.checkpoint.size));
    }
    store.close().await;
    found.map_or(Found::Nothing, Found::Named)
}

fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        text = format!("{text}: {error}");
        inner = error.source();
    }
    text
}

/// Goes on with a log in which nothing was found, and signs it: by an independent computation over the leaves as they were, that
/// continues everything that was signed before.
async fn expect_to_continue(original: &Original, folder: &TempDir, what: &str) {
    let store = open_copy(folder, member("FR"), FEDERATION).await.unwrap();
    let log = store.access_log();
    let mut leaves = original.leaves.clone();
    leaves.truncate(log.head().size as usize);
    for n in 0..3 {
        let n = log.append(access(1_000 + n)).await.unwrap();
        leaves.extend(log.leaves(n, 1).await.unwrap().iter().map(|leaf| leaf.hash));
    }
    let later = log.checkpoint_now(ORIGIN, &key()).await.unwrap().checkpoint;
    assert_eq!((later.size, later.root), (leaves.len() as u64, merkle::root_of(leaves.iter().copied())), "{what}");
    for earlier in &original.signed {
        let earlier = &earlier.checkpoint;
        assert!(earlier.size <= later.size, "{what}");
        assert_eq!(merkle::root_of(leaves.iter().take(earlier.size as usize).copied()), earlier.root, "{what}");
    }
    store.close().await;
}

/// A change, and what must be said of it: one of these. Nothing where it is harmless, with the reason.
struct Change {
    what: String,
    names: Vec<String>,
    harmless: Option<&'static str>,
}

impl Change {
    fn found(what: String, names: &[String]) -> Self {
        Self { what, names: names.to_vec(), harmless: None }
    }

    fn harmless(what: String, why: &'static str) -> Self {
        Self { what, names: Vec::new(), harmless: Some(why) }
    }
}

fn leaf(n: u64) -> String {
    format!("leaf {n} ")
}

fn hash(index: u64) -> String {
    format!("stored hash {index} ")
}

fn first_hash(n: u64) -> String {
    hash(Frontier::stored_before(n))
}

/// What is said of a checkpoint that does not hold.
fn checkpoint(size: u64) -> [String; 2] {
    [format!("checkpoint at {size} "), format!("first {size} leaves")]
}

/// What is said of a hash of the tree: which it is, which leaf's it is, or which checkpoint stands on it.
fn of_hash(index: u64) -> Vec<String> {
    let leaves = (0..LEAVES).filter(|n| Frontier::stored_before(*n) == index).map(leaf);
    leaves.chain([hash(index)]).chain(SIGNED.iter().flat_map(|size| checkpoint(*size))).collect()
}

struct Shell(SqliteConnection);

impl Shell {
    async fn open(path: &Path) -> Self {
        // What a shell does by itself: it checks nothing.
        let options = SqliteConnectOptions::new().filename(path).foreign_keys(false);
        Self(options.connect().await.unwrap())
    }

    async fn run(&mut self, sql: String) -> u64 {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut self.0).await.unwrap().rows_affected()
    }

    async fn bytes(&mut self, sql: String) -> Option<Vec<u8>> {
        sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut self.0).await.unwrap().get(0)
    }

    /// Flips one bit of a value; what is empty gets one.
    async fn flip(&mut self, table: &str, key: &str, n: u64, column: &str, text: bool, dice: &mut Dice) {
        let value = self.bytes(format!("SELECT CAST({column} AS BLOB) FROM {table} WHERE {key} = {n}")).await;
        let mut value = value.unwrap_or_default();
        if value.is_empty() {
            value.push(b'x');
        } else {
            let at = dice.below(value.len() as u64) as usize;
            value[at] ^= 1 << dice.below(6);
        }
        let value: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let value = if text { format!("CAST(x'{value}' AS TEXT)") } else { format!("x'{value}'") };
        assert_eq!(self.run(format!("UPDATE {table} SET {column} = {value} WHERE {key} = {n}")).await, 1);
    }

    /// Two rows change places.
    async fn swap(&mut self, table: &str, key: &str, a: u64, b: u64) {
        for (from, to) in [(a, 1_000_000), (b, a), (1_000_000, b)] {
            self.run(format!("UPDATE {table} SET {key} = {to} WHERE {key} = {from}")).await;
        }
    }

    async fn change(&mut self, dice: &mut Dice) -> Change {
        let (n, other) = (dice.below(LEAVES), dice.below(LEAVES));
        let hashes = Frontier::stored_before(LEAVES);
        let (index, another) = (dice.below(hashes), dice.below(hashes));
        let (size, other_size) = (SIGNED[dice.below(6) as usize], SIGNED[dice.below(6) as usize]);
        match dice.below(17) {
            0 | 1 => {
                let column = ["salt", "record", "annex", "hash"][dice.below(4) as usize];
                self.flip("access_leaf", "n", n, column, false, dice).await;
                Change::found(format!("{column} of leaf {n}"), &[leaf(n)])
            }
            2 | 3 => {
                let column = ["who", "role", "member", "action", "outcome"][dice.below(5) as usize];
                self.flip("access_leaf", "n", n, column, true, dice).await;
                Change::found(format!("{column} of leaf {n}"), &[leaf(n)])
            }
            4 => {
                self.run(format!("UPDATE access_leaf SET at = at + {} WHERE n = {n}", 1 + dice.below(9))).await;
                Change::found(format!("time of leaf {n}"), &[leaf(n)])
            }
            5 => {
                self.flip("access_hash", "idx", index, "hash", false, dice).await;
                Change::found(format!("hash {index}"), &of_hash(index))
            }
            6 => {
                self.run(format!("DELETE FROM access_hash WHERE idx = {index}")).await;
                Change::found(format!("hash {index} removed"), &of_hash(index))
            }
            7 if index != another => {
                self.swap("access_hash", "idx", index, another).await;
                Change::found(
                    format!("hashes {index} and {another} swapped"),
                    &[of_hash(index), of_hash(another)].concat(),
                )
            }
            8 => {
                self.flip("access_touched", "resource = 'R-all' AND n", n, "resource", true, dice).await;
                Change::found(format!("what leaf {n} touched"), &[leaf(n)])
            }
            9 => {
                self.run(format!("DELETE FROM access_touched WHERE n = {n} AND resource = 'R-all'")).await;
                Change::found(format!("what leaf {n} touched removed"), &[leaf(n)])
            }
            10 => {
                let at = [format!("{n}"), format!("{}", LEAVES + n), format!("-{}", n + 1)];
                let at = &at[dice.below(3) as usize];
                self.run(format!("INSERT INTO access_touched (resource, n) VALUES ('R-other', {at})")).await;
                Change::found(format!("something touched by {at}"), &[format!("leaf {at} "), format!("numbered {at},")])
            }
            11 => {
                self.run(format!("DELETE FROM access_leaf WHERE n = {n}")).await;
                let last = "beyond the last leaf".to_owned();
                let names = if n + 1 == LEAVES { vec![last, leaf(n)] } else { vec![leaf(n)] };
                Change::found(format!("leaf {n} removed"), &names)
            }
            12 if n != other => {
                self.swap("access_leaf", "n", n, other).await;
                Change::found(
                    format!("leaves {n} and {other} swapped"),
                    &[leaf(n), leaf(other), first_hash(n), first_hash(other)],
                )
            }
            13 => {
                let at = [format!("{LEAVES}"), format!("-{}", n + 1)];
                let at = &at[dice.below(2) as usize];
                let columns = "salt, record, annex, hash, at, who, role, member, action, outcome";
                self.run(format!(
                    "INSERT INTO access_leaf (n, {columns}) SELECT {at}, {columns} FROM access_leaf WHERE n = {n}"
                ))
                .await;
                Change::found(
                    format!("leaf {at} invented"),
                    &[format!("leaf {at} "), format!("numbered {at},"), first_hash(LEAVES)],
                )
            }
            14 => {
                self.flip("access_checkpoint", "size", size, "note", false, dice).await;
                Change::found(format!("checkpoint at {size}"), &checkpoint(size))
            }
            15 => {
                if size == other_size || dice.below(2) == 0 {
                    self.run(format!("DELETE FROM access_checkpoint WHERE size = {size}")).await;
                    let why = "the log still has that root, and whoever holds the checkpoint still has it";
                    return Change::harmless(format!("checkpoint at {size} removed"), why);
                }
                self.swap("access_checkpoint", "size", size, other_size).await;
                Change::found(
                    format!("checkpoints {size} and {other_size} swapped"),
                    &[checkpoint(size), checkpoint(other_size)].concat(),
                )
            }
            _ => {
                let keep = LEAVES - 1 - dice.below(40);
                self.run(format!("DELETE FROM access_touched WHERE n >= {keep}")).await;
                self.run(format!("DELETE FROM access_leaf WHERE n >= {keep}")).await;
                self.run(format!("DELETE FROM access_hash WHERE idx >= {}", Frontier::stored_before(keep))).await;
                if keep < SIGNED[5] {
                    let names = [format!("has {keep} leaves, and a checkpoint was signed for {}", SIGNED[5])];
                    return Change::found(format!("cut off after {keep} leaves"), &names);
                }
                let why = "nobody was ever shown that there were more: nothing was signed for them";
                Change::harmless(format!("cut off after {keep} leaves"), why)
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_at_a_thousand_random_places_is_found_or_harmless() {
    if skipped_without_a_file() {
        return;
    }
    let original = Original::new().await;
    let seed = std::env::var("COMITY_SEED").map_or(2_026, |seed| seed.parse().unwrap());
    let (mut dice, mut harmless) = (Dice(seed), 0);
    for place in 0..PLACES {
        let (folder, path) = original.test.closed_copy();
        let mut shell = Shell::open(&path).await;
        let change = shell.change(&mut dice).await;
        shell.0.close().await.unwrap();
        let what = format!("place {place} of seed {seed}: {}", change.what);
        match (look(&folder).await, change.harmless) {
            (Found::Named(said), None) => {
                assert!(change.names.iter().any(|name| said.contains(name)), "{what}: {said}")
            }
            (Found::Nothing, Some(_)) => {
                harmless += 1;
                expect_to_continue(&original, &folder, &what).await;
            }
            (found, why) => panic!("{what}: {found:?}; harmless since {why:?}"),
        }
    }
    eprintln!("{PLACES} places: {} found, {harmless} harmless", PLACES - harmless);
}

/// The bytes of the file itself, as a disk changes them that fails, or an administrator with an editor.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_of_the_file_that_is_changed_is_found_or_means_nothing() {
    if skipped_without_a_file() {
        return;
    }
    let original = Original::new().await;
    let seed = std::env::var("COMITY_SEED").map_or(2_027, |seed| seed.parse().unwrap());
    let (mut dice, mut found, mut harmless) = (Dice(seed), 0, 0);
    for place in 0..BYTES {
        let (folder, path) = original.test.closed_copy();
        let mut bytes = std::fs::read(&path).unwrap();
        let at = dice.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << dice.below(8);
        std::fs::write(&path, bytes).unwrap();
        let what = format!("place {place} of seed {seed}: byte {at}");
        match look(&folder).await {
            Found::Named(said) => {
                found += 1;
                // What to do, or what is wrong with which leaf, hash, checkpoint or table.
                let tells = [
                    "leaf ",
                    "stored hash",
                    "leaves",
                    "checkpoint",
                    "numbered",
                    "search",
                    "disk",
                    "backup",
                    "key",
                    "schema",
                    "store",
                ];
                assert!(tells.iter().any(|word| said.contains(word)), "{what}: {said}");
            }
            Found::Nothing => {
                harmless += 1;
                expect_searches_to_find_all(&folder, &what).await;
                expect_to_continue(&original, &folder, &what).await;
            }
        }
    }
    eprintln!("{BYTES} bytes: {found} found, {harmless} in what the log does not stand on");
    assert!(found > BYTES / 20, "{found}");
}

/// Whichever index a search goes by.
async fn expect_searches_to_find_all(folder: &TempDir, what: &str) {
    let store = open_copy(folder, member("FR"), FEDERATION).await.unwrap();
    let third = |n: u64| (0..LEAVES).filter(move |other| other % 3 == n).count();
    let filters = [
        (AccessFilter { who: Some(person("operator", "desk-1")), ..AccessFilter::default() }, third(1)),
        (AccessFilter { member: Some(member("FR")), ..AccessFilter::default() }, 300),
        (AccessFilter { since: Some(at(100)), until: Some(at(199)), ..AccessFilter::default() }, 100),
        (AccessFilter { resource: Some("R-all".to_owned()), ..AccessFilter::default() }, 300),
    ];
    for (filter, expected) in filters {
        let found = store.access_log().query(&filter, Order::OldestFirst, None, 1_000).await.unwrap();
        assert_eq!(found.len(), expected, "{what}: {filter:?}");
    }
    store.close().await;
}

/// A copy of the whole file that is put back holds together: here nothing shows. It contradicts what anybody else holds.
#[tokio::test]
async fn an_older_copy_that_is_put_back_contradicts_what_is_held_elsewhere() {
    if skipped_without_a_file() {
        return;
    }
    let original = Original::new().await;
    let (folder, path) = original.test.closed_copy();
    std::fs::write(&path, &original.half).unwrap();
    assert_eq!(look(&folder).await, Found::Nothing);
    let store = open_copy(&folder, member("FR"), FEDERATION).await.unwrap();
    let log = store.access_log();
    let held = &original.signed[5].checkpoint;
    assert!(matches!(log.root_at(held.size).await, Err(AccessLogError::BeyondEnd { .. })));
    for n in log.head().size..LEAVES {
        log.append(access(n)).await.unwrap();
    }
    // Even the same accesses make another tree: each leaf has a salt of its own.
    assert_ne!(log.root_at(held.size).await.unwrap(), held.root);
    let before = &original.signed[3].checkpoint;
    assert_eq!(log.root_at(before.size).await.unwrap(), before.root);
}

//! `audit-bundle`: a bundle of a million leaves, verified by the function that the command uses, beside one SHA-256 of the same file.

use std::fs;
use std::io::{BufWriter, Read as _, Write as _};
use std::path::Path;
use std::time::Instant;

use clap::Args;
use comity_cli::bundle::{Trust, verify};
use comity_core::access::bundle::{self, Header, Shape};
use comity_core::access::{AccessLeaf, AccessRecord, LogParty, LogRoster, Touched, log_origin};
use comity_core::canonical::Hex32;
use comity_core::checkpoint::{Checkpoint, SignedCheckpoint};
use comity_core::dsse::PublicKey;
use comity_core::merkle::MerkleLog;
use comity_core::{MemberId, Timestamp, TrustDomain};
use ed25519_dalek::SigningKey;
use sha2::{Digest as _, Sha256};

use super::Options;
use super::report::{Row, note, percentile};
use crate::Problem;

/// How often each is measured, by turns.
const ROUNDS: usize = 7;
/// How much of the file is read at one time, in bytes.
const PIECE_BYTES: usize = 256 * 1024;

/// What the benchmark takes.
#[derive(Debug, Clone, Args)]
pub(super) struct BundleOptions {
    #[command(flatten)]
    pub(super) options: Options,
    /// How many leaves the bundle has
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    leaves: u64,
}

pub(super) fn run(options: &BundleOptions) -> Result<(Vec<Row>, Vec<String>), Problem> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("whole.bundle");
    note(&format!("audit-bundle: writing {} leaves", options.leaves));
    let trust = write(&path, options.leaves)?;
    let bytes = fs::metadata(&path)?.len();
    let (mut hashed, mut verified) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        hash(&path)?;
        hashed.push(micros(begin));
        let begin = Instant::now();
        let found = verify(&path, &trust, Vec::new(), |_| {})?;
        verified.push(micros(begin));
        if found.proven.header.count != options.leaves {
            return Err("not all leaves were verified".into());
        }
    }
    hashed.sort_unstable();
    verified.sort_unstable();
    let ratio = percentile(&verified, 0.5) as f64 / percentile(&hashed, 0.5) as f64;
    let lines = vec![format!(
        "{bytes} bytes, {} a leaf: verified in {:.2} times the time of hashing them once (medians of {ROUNDS})",
        bytes / options.leaves,
        ratio
    )];
    let row = |case: &str, times: &[u64]| {
        let median = percentile(times, 0.5);
        Row {
            bench: "audit-bundle",
            case: format!("{case}, {} leaves", options.leaves),
            per_s: options.leaves as f64 / (median as f64 / 1e6),
            p50_us: median,
            p99_us: percentile(times, 0.99),
            cpu_us_op: 0.0,
            rss_mb: 0.0,
            disk_mb: bytes as f64 / (1024.0 * 1024.0),
            operations: options.leaves,
            seconds: times.iter().sum::<u64>() as f64 / 1e6,
        }
    };
    Ok((vec![row("sha256", &hashed), row("verify", &verified)], lines))
}

fn micros(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// One SHA-256 of the whole file.
fn hash(path: &Path) -> Result<[u8; 32], Problem> {
    let (mut file, mut hash, mut piece) = (fs::File::open(path)?, Sha256::new(), vec![0; PIECE_BYTES]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

/// Writes a bundle of a whole log, and says who may have signed it.
fn write(path: &Path, leaves: u64) -> Result<Trust, Problem> {
    let (member, trust_domain): (MemberId, TrustDomain) = ("FR".parse()?, "fr.comity.example".parse()?);
    let key = SigningKey::from_bytes(&[5; 32]);
    let mut log = MerkleLog::default();
    (0..leaves).for_each(|n| log.append(leaf(n).hash()));
    let checkpoint = Checkpoint { origin: log_origin(&trust_domain, 1), size: leaves, root: log.root() };
    let mut signed = SignedCheckpoint::unsigned(checkpoint);
    signed.sign(&key);
    let header = Header {
        federation: Hex32([1; 32]),
        shape: Shape::Range,
        first: 0,
        end: leaves,
        count: leaves,
        with_annex: true,
        asked: (None, None),
        older: Vec::new(),
        note: signed,
    };
    let (mut file, mut failed) = (BufWriter::new(fs::File::create(path)?), None);
    let written = bundle::whole(&header, &log, 0..leaves, leaf, |piece| {
        failed = failed.take().or(file.write_all(piece).err());
    });
    if let Some(error) = failed {
        return Err(error.into());
    }
    written.ok_or("the log does not hold its leaves")?;
    file.into_inner()?.sync_all()?;
    let node_keys = vec![PublicKey(key.verifying_key())];
    let party = LogParty { trust_domain, node_keys, witnesses: true };
    Ok(Trust { federation: Hex32([1; 32]), roster: LogRoster::new([(member, party)]) })
}

/// A record as a person's look at an entry makes it.
fn leaf(n: u64) -> AccessLeaf {
    let at = i64::try_from(n).ok().and_then(|n| Timestamp::from_micros(1_795_000_000_000_000 + n * 12_345));
    let at = at.unwrap_or_else(|| Timestamp::from_jiff(jiff::Timestamp::UNIX_EPOCH));
    let record = AccessRecord {
        who: format!("spiffe://fr.comity.example/operator/desk-{}", n % 40).parse().ok(),
        member: "FR".parse().ok(),
        touched: vec![
            Touched::resource(format!("CW-2026-{:04}", n % 9_000)).by("read"),
            Touched::resource("access-log"),
        ],
        request_id: Some(format!("0192f3a1-7c4e-7b1a-9d2e-{n:012x}")),
        ..AccessRecord::new(at, format!("10.20.{}.7:50412", n % 250), "ListService/ListPublications")
    };
    let mut salt = [0xA5; 32];
    if let Some(tail) = salt.last_chunk_mut() {
        *tail = n.to_be_bytes();
    }
    AccessLeaf::new(&record, [Hex32(salt), Hex32(salt)])
}

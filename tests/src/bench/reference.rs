//! What the machine does at this moment, in the same run: a figure means nothing without it where the machine's speed drifts.

use std::io::Write as _;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer as _, SigningKey};

use super::report::{Row, percentile};
use crate::Problem;

/// How long each reference is measured.
const LENGTH: Duration = Duration::from_secs(1);

/// Strict Ed25519 verifications on one core, and 4 KiB appends with fdatasync.
pub(super) fn rows() -> Result<Vec<Row>, Problem> {
    let key = SigningKey::from_bytes(&[7; 32]);
    let message = [0; 512];
    let signature = key.sign(&message);
    let public = key.verifying_key();
    let verify = measure("ed25519-verify", || Ok(public.verify_strict(&message, &signature)?))?;
    let mut file = tempfile::tempfile()?;
    let sync = measure("fdatasync", || {
        file.write_all(&[0; 4096])?;
        Ok(file.sync_data()?)
    })?;
    Ok(vec![verify, sync])
}

fn measure(case: &str, mut operation: impl FnMut() -> Result<(), Problem>) -> Result<Row, Problem> {
    let begin = Instant::now();
    let mut latencies = Vec::new();
    while begin.elapsed() < LENGTH {
        let one = Instant::now();
        operation()?;
        latencies.push(u64::try_from(one.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    let seconds = begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok(Row {
        bench: "reference",
        case: case.to_owned(),
        per_s: latencies.len() as f64 / seconds,
        p50_us: percentile(&latencies, 0.5),
        p99_us: percentile(&latencies, 0.99),
        cpu_us_op: 0.0,
        rss_mb: 0.0,
        disk_mb: 0.0,
        operations: latencies.len() as u64,
        seconds,
    })
}

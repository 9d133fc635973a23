//! Many seeds, on as many threads as there are processors.

use std::num::NonZero;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::plan::Plan;
use crate::run::{Failure, Report, run};

/// Runs the plan of each seed and tells `ended` how it went and how many seconds it took; answers those that broke something.
/// `until_one` is content with one.
pub fn run_seeds(
    seeds: Range<u64>,
    plan: impl Fn(u64) -> Plan + Sync,
    until_one: bool,
    ended: impl Fn(u64, &Result<Report, Failure>, f64) + Sync,
) -> Vec<(u64, Failure)> {
    let (next, enough, failed) = (AtomicU64::new(seeds.start), AtomicBool::new(false), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || enough.load(Ordering::Relaxed) {
                return;
            }
            let began = Instant::now();
            let result = run(&plan(seed));
            ended(seed, &result, began.elapsed().as_secs_f64());
            if let Err(failure) = result {
                enough.store(until_one, Ordering::Relaxed);
                failed.lock().unwrap_or_else(PoisonError::into_inner).push((seed, failure));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|(seed, _)| *seed);
    failed
}

//! What happened, line by line, and one hash over all of it: two runs of a seed are the same exactly where their hashes are.

use std::io::Write as _;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

/// What happened so far.
pub(crate) struct Trace {
    hash: Sha256,
    lines: u64,
    shown: bool,
    seed: u64,
}

impl Trace {
    /// Nothing yet; `shown` writes each line to stderr as well.
    pub(crate) fn new(seed: u64, shown: bool) -> Self {
        Self { hash: Sha256::new(), lines: 0, shown, seed }
    }

    pub(crate) fn line(&mut self, at: Duration, what: &str) {
        let line = format!("{:>9.3} {what}\n", at.as_secs_f64());
        self.hash.update(line.as_bytes());
        self.lines += 1;
        if self.shown {
            // A closed stderr is no reason to stop.
            let _ = std::io::stderr().write_all(format!("{:>4} {line}", self.seed).as_bytes());
        }
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// The hash over the lines so far.
    pub(crate) fn hash(&self) -> String {
        hex::encode(self.hash.clone().finalize())
    }
}

//! The whole log computed again from its leaves, and held against everything that was stored or signed about it.

use std::collections::BTreeMap;

use comity_core::access::{ArchivedSegment, InvalidLeaf};
use comity_core::canonical::Hex32;
use comity_core::checkpoint::SignedCheckpoint;
use comity_core::merkle::Frontier;

use super::types::{AccessLogError, Head, Tampering};
use super::writer::LeafKeys;
use super::{AccessLog, checkpoints, incarnation, query, segments};
use crate::columns::{self, sql_int};
use crate::database::{Connection, Dialect};
use crate::sql::{self, Row};

/// The most faults that one verification lists.
pub const FAULTS_MAX: usize = 100;
/// Leaves to a step: other readers and the writer go on in between.
const STEP_LEAVES: u64 = 500;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// How many leaves were considered: those that there were when it began.
    pub size: u64,
    /// The root computed from them.
    pub root: Hex32,
    /// How many stored checkpoints were compared.
    pub checkpoints: u64,
    /// Everything that contradicts; at most [`FAULTS_MAX`].
    pub faults: Vec<Tampering>,
}

impl Verification {
    /// Whether nothing contradicts.
    pub fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

impl AccessLog {
    /// Computes every hash again: leaves against their hashes and the columns they are found by, the tree against the
    /// stored hashes, the checkpoints' roots, and the head that this process has in memory. Whether checkpoints are signed
    /// by the right key is for the caller, who knows it. Reads the whole log.
    ///
    /// # Errors
    /// The log could not be read; what it says is in [`Verification::faults`].
    pub async fn verify_stored(&self) -> Result<Verification, AccessLogError> {
        let head = self.head();
        let archived = segments::all(&mut self.inner.database.read().await?).await?;
        let mut run = Run { archived: archived.last().map_or(0, |last| last.end), ..Run::default() };
        let mut signed = Signed::default();
        signed.advance(self, 0, &mut run).await?;
        while run.frontier.size() < head.size && run.faults.len() < FAULTS_MAX {
            let from = run.frontier.size();
            let to = head.size.min(from + STEP_LEAVES);
            let leaves = load(&mut self.inner.database.read().await?, from, to).await?;
            for n in from..to {
                run.leaf(n, &leaves);
                signed.advance(self, n + 1, &mut run).await?;
            }
        }
        if run.frontier.size() == head.size {
            if run.frontier.root() != head.root {
                run.fault(Tampering::Head);
            }
            signed.expect_no_more(self, head, &mut run).await?;
            strays(&mut self.inner.database.read().await?, &mut run).await?;
            indices(&mut self.inner.database.read().await?, &mut run).await?;
            let mut next = 0;
            for segment in &archived {
                if segment.first != next || !run.segments.contains(segment) {
                    run.fault(Tampering::Segment { first: segment.first });
                }
                next = segment.end;
            }
            let stored = incarnation::all(&mut self.inner.database.read().await?).await?;
            for (number, n) in &stored {
                if *n < head.size && !run.opened.contains(&(*number, *n)) {
                    run.fault(Tampering::Incarnation { number: *number });
                }
            }
            for (number, n) in std::mem::take(&mut run.opened) {
                if !stored.contains(&(number, n)) {
                    run.fault(Tampering::Incarnation { number });
                }
            }
        }
        run.faults.truncate(FAULTS_MAX);
        Ok(Verification {
            size: run.frontier.size(),
            root: run.frontier.root(),
            checkpoints: signed.compared,
            faults: run.faults,
        })
    }
}

/// Goes on from a tree that holds to `size` leaves, each computed from what is stored of it.
///
/// # Errors
/// The first thing that contradicts.
pub(super) async fn extend(
    connection: &mut Connection,
    frontier: Frontier,
    size: u64,
) -> Result<Frontier, AccessLogError> {
    let mut run = Run { frontier, ..Run::default() };
    while run.frontier.size() < size {
        let from = run.frontier.size();
        let to = size.min(from + STEP_LEAVES);
        let step = load(connection, from, to).await?;
        (from..to).for_each(|n| run.leaf(n, &step));
        if let Some(fault) = run.faults.first() {
            return Err(fault.clone().into());
        }
    }
    Ok(run.frontier)
}

/// The indices by which leaves are searched hold what the tables do: else a search would miss some.
async fn indices(connection: &mut Connection, run: &mut Run) -> Result<(), AccessLogError> {
    if connection.dialect() != Dialect::Sqlite {
        return Ok(());
    }
    for sql in ["PRAGMA integrity_check(access_leaf)", "PRAGMA integrity_check(access_touched)"] {
        for row in sql::query(sql).fetch_all(&mut *connection).await? {
            let problem = columns::text(&row, "integrity_check")?;
            if problem != "ok" {
                run.fault(Tampering::Index { problem });
            }
        }
    }
    Ok(())
}

/// Rows that are numbered below the first leaf, or beyond the last one: of the log's leaves none is found by them, and searches would
/// show them.
async fn strays(connection: &mut Connection, run: &mut Run) -> Result<(), AccessLogError> {
    let queries = [
        ("access_leaf", "SELECT MIN(n) AS first, CAST(NULL AS BIGINT) AS last FROM access_leaf WHERE n < 0"),
        (
            "access_touched",
            "SELECT (SELECT MIN(n) FROM access_touched WHERE n < 0) AS first,
                    (SELECT MAX(n) FROM access_touched WHERE n > (SELECT COALESCE(MAX(n), -1) FROM access_leaf)) AS last",
        ),
        ("access_hash", "SELECT MIN(idx) AS first, CAST(NULL AS BIGINT) AS last FROM access_hash WHERE idx < 0"),
        ("access_checkpoint", "SELECT MIN(size) AS first, CAST(NULL AS BIGINT) AS last FROM access_checkpoint WHERE size < 0"),
    ];
    for (table, sql) in queries {
        let row = sql::query(sql).fetch_one(&mut *connection).await?;
        for column in ["first", "last"] {
            if let Some(n) = row.get::<Option<i64>>(column)? {
                run.fault(Tampering::Stray { table, n });
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Run {
    frontier: Frontier,
    faults: Vec<Tampering>,
    /// Incarnations, by what the leaves say.
    opened: Vec<(u64, u64)>,
    /// Segments that were archived, by what the leaves say.
    segments: Vec<ArchivedSegment>,
    /// Leaves before this one may lie in files: their stored hashes stand for them.
    archived: u64,
}

/// What is stored of a step's leaves.
struct Step {
    leaves: BTreeMap<u64, Row>,
    resources: BTreeMap<u64, Vec<String>>,
    hashes: BTreeMap<u64, Hex32>,
}

impl Run {
    fn fault(&mut self, fault: Tampering) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    fn leaf(&mut self, n: u64, step: &Step) {
        let first = Frontier::stored_before(n);
        let stored = step.hashes.get(&first).copied();
        let computed = match step.leaves.get(&n) {
            None if n < self.archived => None,
            None => {
                self.fault(Tampering::MissingLeaf { n });
                None
            }
            Some(row) => self.read(n, row, step.resources.get(&n)),
        };
        // Where a leaf is gone or edited, what was stored of it stands in, so that the other faults are found, too.
        let hash = match (computed, stored) {
            (Some(computed), _) => computed,
            (None, Some(stored)) => stored,
            (None, None) => Hex32([0; 32]),
        };
        for (hash, index) in self.frontier.append(hash).into_iter().zip(first..) {
            if step.hashes.get(&index) != Some(&hash) {
                self.fault(Tampering::StoredHash { index });
            }
        }
    }

    /// The leaf's hash, if its row holds together.
    fn read(&mut self, n: u64, row: &Row, resources: Option<&Vec<String>>) -> Option<Hex32> {
        let (Ok(leaf), Ok(hash)) = (query::leaf(row), columns::digest(row, "hash")) else {
            self.fault(Tampering::Leaf { n });
            return None;
        };
        // The annex is no part of the hash: only the record speaks for it.
        if leaf.hash() != hash || leaf.read() == Err(InvalidLeaf::Annex) {
            self.fault(Tampering::Leaf { n });
            return None;
        }
        let record = leaf.read();
        if let Ok(Some(loss)) = record.as_ref().map(|record| &record.loss) {
            self.opened.push((loss.incarnation, n));
        }
        if let Ok(Some(segment)) = record.as_ref().map(|record| &record.archived) {
            self.segments.push(segment.clone());
        }
        let says = record.map(|record| LeafKeys::of(&record));
        if says.ok() != keys(row, resources) {
            self.fault(Tampering::Columns { n });
        }
        Some(hash)
    }
}

fn keys(row: &Row, resources: Option<&Vec<String>>) -> Option<LeafKeys> {
    Some(LeafKeys {
        at: row.get("at").ok()?,
        who: row.get("who").ok()?,
        role: row.get("role").ok()?,
        member: row.get("member").ok()?,
        action: row.get("action").ok()?,
        outcome: row.get("outcome").ok()?,
        resources: resources.cloned().unwrap_or_default(),
    })
}

async fn load(connection: &mut Connection, from: u64, to: u64) -> Result<Step, AccessLogError> {
    let mut step = Step { leaves: BTreeMap::new(), resources: BTreeMap::new(), hashes: BTreeMap::new() };
    let leaves = sql::query("SELECT * FROM access_leaf WHERE n >= $1 AND n < $2")
        .bind(sql_int(from))
        .bind(sql_int(to))
        .fetch_all(&mut *connection)
        .await?;
    for row in leaves {
        step.leaves.insert(columns::count(&row, "n")?, row);
    }
    let touched = sql::query("SELECT n, resource FROM access_touched WHERE n >= $1 AND n < $2 ORDER BY n, resource")
        .bind(sql_int(from))
        .bind(sql_int(to))
        .fetch_all(&mut *connection)
        .await?;
    for row in &touched {
        step.resources.entry(columns::count(row, "n")?).or_default().push(columns::text(row, "resource")?);
    }
    let hashes = sql::query("SELECT idx, hash FROM access_hash WHERE idx >= $1 AND idx < $2")
        .bind(sql_int(Frontier::stored_before(from)))
        .bind(sql_int(Frontier::stored_before(to)))
        .fetch_all(&mut *connection)
        .await?;
    for row in &hashes {
        // A hash of another length is as good as none.
        if let Ok(hash) = columns::digest(row, "hash") {
            step.hashes.insert(columns::count(row, "idx")?, hash);
        }
    }
    Ok(step)
}

/// The stored checkpoints, a page at a time, alongside the leaves.
#[derive(Default)]
struct Signed {
    page: std::collections::VecDeque<SignedCheckpoint>,
    last: Option<u64>,
    exhausted: bool,
    compared: u64,
}

impl Signed {
    /// Compares the checkpoint of this size, if there is one.
    async fn advance(&mut self, log: &AccessLog, size: u64, run: &mut Run) -> Result<(), AccessLogError> {
        self.fill(log, run).await?;
        if self.page.front().is_none_or(|next| next.checkpoint.size != size) {
            return Ok(());
        }
        if let Some(next) = self.page.pop_front() {
            self.compared += 1;
            if next.checkpoint.root != run.frontier.root() {
                run.fault(Tampering::Root { size });
            }
        }
        Ok(())
    }

    /// Checkpoints beyond the leaves there are: leaves were cut off.
    async fn expect_no_more(&mut self, log: &AccessLog, head: Head, run: &mut Run) -> Result<(), AccessLogError> {
        self.fill(log, run).await?;
        let size = log.head().size.max(head.size);
        if let Some(last) = self.page.back()
            && last.checkpoint.size > size
        {
            run.fault(Tampering::Shorter { size, checkpoint: last.checkpoint.size });
        }
        Ok(())
    }

    async fn fill(&mut self, log: &AccessLog, run: &mut Run) -> Result<(), AccessLogError> {
        if !self.page.is_empty() || self.exhausted {
            return Ok(());
        }
        match checkpoints::page(&mut log.inner.database.read().await?, self.last, 100).await {
            Ok(page) => {
                self.exhausted = page.len() < 100;
                self.last = page.last().map(|signed| signed.checkpoint.size).or(self.last);
                self.page.extend(page);
            }
            Err(AccessLogError::Tampered(fault)) => {
                self.exhausted = true;
                run.fault(fault);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

//! The one task that appends: many leaves to a transaction.

use std::sync::Arc;

use comity_core::access::{AccessLeaf, AccessRecord};
use comity_core::canonical::Hex32;
use comity_core::merkle::Frontier;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::state;
use super::types::{AccessLogError, Head, Trouble};
use crate::columns::sql_int;
use crate::database::{Connection, Database};
use crate::error::StoreError;
use crate::sql::insert_rows;

/// The most leaves in one transaction.
const BATCH_MAX_LEAVES: usize = 256;

/// A record on its way into the log.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) leaf: PreparedLeaf,
    pub(super) done: oneshot::Sender<Result<u64, AccessLogError>>,
}

/// A leaf and the columns by which it is found.
#[derive(Debug)]
pub(super) struct PreparedLeaf {
    leaf: AccessLeaf,
    hash: Hex32,
    keys: LeafKeys,
    /// The incarnation that it opens.
    opens: Option<u64>,
}

/// What queries look for, taken from the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeafKeys {
    pub(super) at: i64,
    pub(super) who: Option<String>,
    pub(super) role: Option<String>,
    pub(super) member: Option<String>,
    pub(super) action: String,
    pub(super) outcome: String,
    /// Sorted, each once.
    pub(super) resources: Vec<String>,
}

impl LeafKeys {
    pub(super) fn of(record: &AccessRecord) -> Self {
        let mut resources: Vec<String> = record.touched.iter().map(|touched| touched.resource.clone()).collect();
        resources.sort_unstable();
        resources.dedup();
        Self {
            at: record.at.as_micros(),
            who: record.who.as_ref().map(ToString::to_string),
            role: record.who.as_ref().map(|who| who.role().as_str().to_owned()),
            member: record.member.map(|member| member.as_str().to_owned()),
            action: record.action.clone(),
            outcome: record.outcome.as_str().to_owned(),
            resources,
        }
    }
}

impl PreparedLeaf {
    pub(super) fn new(record: &AccessRecord, leaf: AccessLeaf, opens: Option<u64>) -> Self {
        Self { hash: leaf.hash(), keys: LeafKeys::of(record), leaf, opens }
    }
}

pub(super) struct Writer {
    database: Database,
    frontier: Frontier,
    /// Whether the disk may be ahead: after a failed commit nobody knows which side of it the disk is on.
    doubtful: bool,
    head: watch::Sender<Head>,
    trouble: watch::Sender<Option<Trouble>>,
}

impl Writer {
    pub(super) fn new(
        database: Database,
        frontier: Frontier,
        head: watch::Sender<Head>,
        trouble: watch::Sender<Option<Trouble>>,
    ) -> Self {
        Self { database, frontier, doubtful: false, head, trouble }
    }

    /// Runs until every handle is gone, or until told to close and nothing waits any more.
    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Append>, closing: Arc<Notify>) {
        let mut batch = Vec::with_capacity(BATCH_MAX_LEAVES);
        loop {
            let received = tokio::select! {
                biased;
                () = closing.notified() => {
                    queue.close();
                    continue;
                }
                received = queue.recv_many(&mut batch, BATCH_MAX_LEAVES) => received,
            };
            if received == 0 {
                return;
            }
            let (leaves, waiting): (Vec<_>, Vec<_>) = batch.drain(..).map(|append| (append.leaf, append.done)).unzip();
            let result = self.commit(leaves).await;
            let trouble = result.as_ref().err().map(Trouble::of);
            self.trouble.send_if_modified(|known| std::mem::replace(known, trouble) != trouble);
            if let Err(error) = &result {
                tracing::error!(leaves = waiting.len(), error = %cause(error), "access log not written");
            }
            for (done, offset) in waiting.into_iter().zip(0..) {
                // Whoever went away has its leaf all the same.
                done.send(result.clone().map(|first| first + offset)).ok();
            }
        }
    }

    /// Writes the leaves; returns the number of the first.
    async fn commit(&mut self, leaves: Vec<PreparedLeaf>) -> Result<u64, AccessLogError> {
        if self.doubtful {
            self.look_again().await?;
        }
        let first = self.frontier.size();
        let mut frontier = self.frontier.clone();
        let hashes: Vec<Hex32> = leaves.iter().flat_map(|leaf| frontier.append(leaf.hash)).collect();
        let written = self.database.write(move |connection| Box::pin(insert(connection, first, leaves, hashes))).await;
        if let Err(error) = written {
            self.doubtful = true;
            return Err(AccessLogError::Unwritable(Arc::new(error)));
        }
        self.advance(frontier);
        Ok(first)
    }

    async fn look_again(&mut self) -> Result<(), AccessLogError> {
        // What is taken for written must be on the disk, not in the system's memory alone.
        self.database.settled().await.map_err(|error| AccessLogError::Unwritable(Arc::new(error)))?;
        let on_disk = state::restore(&mut self.database.read().await?).await?;
        // INVARIANT: the head never moves back nor aside, whatever the disk did.
        state::expect_extends(&mut self.database.read().await?, &on_disk, &self.frontier).await?;
        self.doubtful = false;
        self.advance(on_disk);
        Ok(())
    }

    fn advance(&mut self, frontier: Frontier) {
        self.frontier = frontier;
        self.head.send_replace(Head { size: self.frontier.size(), root: self.frontier.root() });
    }
}

/// The innermost reason, which the messages above it leave out.
fn cause(error: &AccessLogError) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

async fn insert(
    connection: &mut Connection,
    first: u64,
    leaves: Vec<PreparedLeaf>,
    hashes: Vec<Hex32>,
) -> Result<(), StoreError> {
    let (mut touched, mut opened) = (Vec::new(), Vec::new());
    let mut rows = Vec::with_capacity(leaves.len());
    for (leaf, n) in leaves.into_iter().zip(first..) {
        let keys = leaf.keys;
        opened.extend(leaf.opens.map(|incarnation| [sql_int(incarnation).into(), sql_int(n).into()]));
        touched.extend(keys.resources.into_iter().map(|resource| [resource.into(), sql_int(n).into()]));
        rows.push([
            sql_int(n).into(),
            leaf.leaf.salt.0.to_vec().into(),
            leaf.leaf.record.into(),
            leaf.leaf.annex.into(),
            leaf.hash.0.to_vec().into(),
            keys.at.into(),
            keys.who.into(),
            keys.role.into(),
            keys.member.into(),
            keys.action.into(),
            keys.outcome.into(),
        ]);
    }
    let insert = "INSERT INTO access_leaf (n, salt, record, annex, hash, at, who, role, member, action, outcome)";
    insert_rows(connection, insert, "", rows).await?;
    let index = Frontier::stored_before(first);
    let rows = hashes.iter().zip(index..).map(|(hash, n)| [sql_int(n).into(), hash.0.to_vec().into()]).collect();
    insert_rows(connection, "INSERT INTO access_hash (idx, hash)", "", rows).await?;
    insert_rows(connection, "INSERT INTO access_touched (resource, n)", "", touched).await?;
    insert_rows(connection, "INSERT INTO access_incarnation (incarnation, opened_by)", "", opened).await
}

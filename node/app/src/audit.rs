//! Review: auditors read the access log and take what they need to verify it themselves.

use std::ops::Range;

use comity_core::access::{AccessLeaf, AccessRecord};
use comity_core::canonical::Hex32;
use comity_core::checkpoint::SignedCheckpoint;
use comity_store::access_log::{AccessFilter, Order, StoredLeaf};

use crate::error::{AppError, InternalError};
use crate::node::Node;

/// How many leaves are read at one time. The record of a page that was released may have some hundred kilobytes.
pub(crate) const STEP_LEAVES: usize = 32;
/// An answer is closed once its leaves hold so much, in bytes; the last of them may go beyond.
const ANSWER_FULL_BYTES: usize = 4 * 1024 * 1024;
/// So many leaves are looked at by one query, however few of them match: no query keeps the store long.
pub(crate) const STRETCH_LEAVES: u64 = 65_536;
/// So many stretches are looked through for one answer; the token says where to go on.
const ANSWER_STRETCHES: usize = 64;

/// A leaf as it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadLeaf {
    /// Exactly as it is hashed.
    Here(AccessLeaf),
    /// It lies in a file: its hash.
    Archived(Hex32),
}

/// What a stored leaf says.
pub(crate) fn said(stored: &StoredLeaf) -> Result<AccessRecord, AppError> {
    let corrupt = |problem: String| InternalError::Corrupt { what: "access record", problem };
    Ok(stored.record().map_err(|e| corrupt(e.to_string()))?)
}

impl Node {
    /// Records that match, newest first, before a leaf: at most so many, and fewer where they are large or few of many match. And the
    /// leaf before which there may be more.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn access_records(
        &self,
        filter: &AccessFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<(u64, AccessRecord)>, Option<u64>), AppError> {
        let Range { start, mut end } = self.matching_stretch(filter).await?;
        end = end.min(before.unwrap_or(u64::MAX));
        let (mut records, mut bytes, mut stretches) = (Vec::new(), 0, 0);
        while end > start && records.len() < limit && bytes < ANSWER_FULL_BYTES && stretches < ANSWER_STRETCHES {
            let stretch = end.saturating_sub(STRETCH_LEAVES).max(start)..end;
            let step = STEP_LEAVES.min(limit - records.len());
            let found = self.access_log.query_within(filter, Order::NewestFirst, stretch.clone(), step).await;
            let found = found.map_err(InternalError::from)?;
            end = match found.last() {
                Some(last) if found.len() == step => last.n,
                _ => stretch.start,
            };
            stretches += usize::from(end == stretch.start);
            for stored in found {
                bytes += stored.leaf.record.len();
                records.push((stored.n, said(&stored)?));
            }
        }
        Ok((records, Some(end).filter(|end| *end > start)))
    }

    /// All leaves that can match a filter, as the log is now: its instants as leaves.
    pub(crate) async fn matching_stretch(&self, filter: &AccessFilter) -> Result<Range<u64>, AppError> {
        let log = &self.access_log;
        let size = log.head().size;
        let start = match filter.since {
            None => 0,
            Some(since) => log.first_since(since).await.map_err(InternalError::from)?.unwrap_or(size),
        };
        let end = match filter.until {
            None => size,
            Some(until) => log.last_until(until).await.map_err(InternalError::from)?.map_or(0, |last| last + 1),
        };
        Ok(start..end)
    }

    /// Leaves exactly as they are hashed, from one on, or what is known here of those that were archived: at most so many, and fewer where they are large.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn access_leaves(&self, mut first: u64, limit: usize) -> Result<Vec<(u64, ReadLeaf)>, AppError> {
        let (mut leaves, mut bytes) = (Vec::new(), 0);
        let archived = self.access_log.archived();
        if first < archived {
            let end = archived.min(first.saturating_add(limit as u64));
            let hashes = self.access_log.leaf_hashes(first, end).await.map_err(InternalError::from)?;
            return Ok(hashes.into_iter().map(|(n, hash)| (n, ReadLeaf::Archived(hash))).collect());
        }
        while leaves.len() < limit && bytes < ANSWER_FULL_BYTES {
            let step = STEP_LEAVES.min(limit - leaves.len());
            let found = self.access_log.leaves(first, step).await.map_err(InternalError::from)?;
            let is_last = found.len() < step;
            for stored in found {
                bytes += stored.leaf.record.len();
                first = stored.n + 1;
                leaves.push((stored.n, ReadLeaf::Here(stored.leaf)));
            }
            if is_last {
                break;
            }
        }
        Ok(leaves)
    }

    /// Holds every stored leaf, and the columns by which records are looked up, against each other; says what does not agree.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn access_log_faults(&self) -> Result<Vec<String>, AppError> {
        let verification = self.access_log.verify_stored().await.map_err(InternalError::from)?;
        Ok(verification.faults.iter().map(ToString::to_string).collect())
    }

    /// One round of cosigning at a time.
    pub async fn offering_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.offering.lock().await
    }

    /// Signs a checkpoint of the log as it is now.
    ///
    /// # Errors
    /// The log cannot be read, or the checkpoint not be kept.
    pub async fn access_checkpoint(&self) -> Result<SignedCheckpoint, AppError> {
        let origin = self.access_log_origin();
        Ok(self.access_log.checkpoint_now(&origin, &self.keys.node).await.map_err(InternalError::from)?)
    }

    /// The checkpoint that an export is held against: the newest that enough members cosigned; the newest of all where there is none,
    /// or where the leaf that is wanted came after it.
    ///
    /// # Errors
    /// The log cannot be read, or the checkpoint not be kept.
    pub(crate) async fn checkpoint_to_export(&self, leaf: Option<u64>) -> Result<SignedCheckpoint, AppError> {
        match self.witnessed_checkpoint().await? {
            Some(note) if leaf.is_none_or(|leaf| leaf < note.checkpoint.size) => Ok(note),
            _ => self.access_checkpoint().await,
        }
    }
}

//! Snapshots of the list. A snapshot is the envelopes of the command log, which every node has at hand: what is handed around
//! is how many there are and the root over them. Whoever lacks some pulls and replays them before the snapshot is used.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use comity_core::canonical::Hex32;
use comity_core::list::ListState;
use openraft::storage::RaftSnapshotBuilder;

use crate::types::{Snapshot, SnapshotMeta, TypeConfig};

/// What a snapshot holds.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotData {
    /// Leaves of the command log.
    pub(crate) commands: u64,
    /// The root over them.
    pub(crate) root: Hex32,
    /// The list that follows from them, where this node had to pull some.
    pub(crate) staged: Option<Arc<Staged>>,
}

/// A list that goes on from this node's own, replayed from commands that were put aside.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    /// The first leaf that was pulled.
    pub(crate) from: u64,
    /// The list, signatures and rules checked.
    pub(crate) list: ListState,
    /// The texts that are to be erased by what was replayed, whether they came with it or are here already.
    pub(crate) erased: Vec<Hex32>,
}

impl Staged {
    /// Nothing pulled yet.
    pub(crate) fn on(own: &ListState) -> Self {
        Self { from: own.commands().size(), list: own.clone(), erased: Vec::new() }
    }

    /// Leaves of its command log.
    pub(crate) fn size(&self) -> u64 {
        self.list.commands().size()
    }

    /// Whether what is applied is its beginning.
    pub(crate) fn goes_on_from(&self, own: &ListState) -> bool {
        self.list.commands().root_at(own.commands().size()) == Some(own.commands().root())
    }
}

/// Why a snapshot is no continuation of what this node has applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a snapshot of {commands} commands under root {root} does not go on from the {own} that are applied here: both logs are to be kept as evidence"
)]
pub(crate) struct NoContinuation {
    pub(crate) commands: u64,
    pub(crate) root: Hex32,
    pub(crate) own: u64,
}

impl SnapshotData {
    /// That of a list.
    pub(crate) fn of(list: &ListState) -> Self {
        Self { commands: list.commands().size(), root: list.commands().root(), staged: None }
    }

    /// Whether a list is the one that this stands for.
    pub(crate) fn is_of(&self, list: &ListState) -> bool {
        (self.commands, self.root) == (list.commands().size(), list.commands().root())
    }

    /// What is left of it when it is installed over `own`: the claim alone, and what was pulled for it, if the list becomes
    /// another.
    pub(crate) fn list_on(self, own: &ListState) -> Result<(Self, Option<Staged>), NoContinuation> {
        let claim = Self { staged: None, ..self };
        let refused = NoContinuation { commands: claim.commands, root: claim.root, own: own.commands().size() };
        if claim.is_of(own) {
            return Ok((claim, None));
        }
        // The list may have gone on since the snapshot was pulled.
        let goes_on = |staged: &Staged| claim.is_of(&staged.list) && staged.goes_on_from(own);
        let staged = self.staged.filter(|staged| goes_on(staged)).ok_or(refused)?;
        Ok((claim, Some(Arc::unwrap_or_clone(staged))))
    }
}

/// The latest snapshot; clones share it. It is not kept over a restart: openraft has one made then.
#[derive(Clone, Default)]
pub(crate) struct Current(Arc<Mutex<Option<Snapshot>>>);

impl Current {
    pub(crate) fn get(&self) -> Option<Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps it, unless a later one is kept already.
    pub(crate) fn set(&self, snapshot: Snapshot) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_none_or(|current| current.meta.last_log_id <= snapshot.meta.last_log_id) {
            *current = Some(snapshot);
        }
    }
}

/// Makes a snapshot, which costs nothing: the envelopes are kept anyway.
pub(crate) struct SnapshotBuilder {
    snapshot: Snapshot,
    current: Current,
}

impl SnapshotBuilder {
    pub(crate) fn new(meta: SnapshotMeta, data: SnapshotData, current: Current) -> Self {
        Self { snapshot: Snapshot { meta, snapshot: data }, current }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        self.current.set(self.snapshot.clone());
        Ok(self.snapshot.clone())
    }
}

//! What the access log returns, and what can be wrong with it.

use std::sync::Arc;

use comity_core::access::{AccessLeaf, AccessRecord, InvalidLeaf};
use comity_core::canonical::Hex32;

use super::RECORD_MAX_BYTES;
use crate::error::StoreError;

/// What the log is at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many leaves.
    pub size: u64,
    /// The RFC 9162 root over them.
    pub root: Hex32,
}

/// A leaf as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLeaf {
    /// Its number, from 0.
    pub n: u64,
    /// Salt, record and annex.
    pub leaf: AccessLeaf,
    /// The hash that was stored with it.
    pub hash: Hex32,
}

impl StoredLeaf {
    /// What the leaf says.
    ///
    /// # Errors
    /// It is no access record: something else than comity wrote it.
    pub fn record(&self) -> Result<AccessRecord, InvalidLeaf> {
        self.leaf.read()
    }
}

/// A sign that something else than comity changed the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Tampering {
    /// The log ends before a checkpoint that was signed for it.
    #[error("it has {size} leaves, and a checkpoint was signed for {checkpoint}")]
    Shorter {
        /// How many there are.
        size: u64,
        /// How many there were.
        checkpoint: u64,
    },
    /// What is stored does not have the root that was signed.
    #[error("its first {size} leaves do not have the root of the checkpoint that was signed for them")]
    Root {
        /// The checkpoint's size.
        size: u64,
    },
    /// A stored checkpoint cannot be read.
    #[error("the checkpoint at {size} is not what was signed")]
    Checkpoint {
        /// The checkpoint's size.
        size: u64,
    },
    /// A leaf is gone.
    #[error("leaf {n} is missing")]
    MissingLeaf {
        /// Which.
        n: u64,
    },
    /// A leaf was edited.
    #[error("leaf {n} does not have its hash")]
    Leaf {
        /// Which.
        n: u64,
    },
    /// The columns by which a leaf is found contradict it.
    #[error("leaf {n} would be found under something else than it says")]
    Columns {
        /// Which.
        n: u64,
    },
    /// A hash of the tree is gone or another.
    #[error("stored hash {index} is missing or not that of its leaves")]
    StoredHash {
        /// Which, in the order of storage.
        index: u64,
    },
    /// A row where there can be none.
    #[error("{table} has a row that is numbered {n}, where there is no leaf")]
    Stray {
        /// In which table.
        table: &'static str,
        /// Its number.
        n: i64,
    },
    /// An index contradicts its table.
    #[error("a search would miss something or find too much: {problem}")]
    Index {
        /// As the database says it.
        problem: String,
    },
    /// There are more hashes than leaves.
    #[error("hashes are stored beyond the last leaf")]
    BeyondLastLeaf,
    /// Leaves are said to be archived, and no leaf of the log says so.
    #[error("leaves from {first} on are said to be archived, and no leaf says where")]
    Segment {
        /// The first of them.
        first: u64,
    },
    /// What an incarnation began with is not the leaf that declares it.
    #[error("incarnation {number} is not opened by the leaf that it is said to be opened by")]
    Incarnation {
        /// Which.
        number: u64,
    },
    /// The leaves on disk are not those that this process appended to.
    #[error("it was rewritten while the node was running")]
    Head,
}

/// Why the access log did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccessLogError {
    /// The disk did not take the leaf.
    #[error("the access log could not be written, so nothing may be answered: see whether the disk is full or broken")]
    Unwritable(#[source] Arc<StoreError>),
    /// It could not be read.
    #[error("the access log could not be read")]
    Unreadable(#[source] Arc<StoreError>),
    /// The node is stopping.
    #[error("the access log is closed: the node is stopping")]
    Closed,
    /// The system gave no random bytes for the salt.
    #[error("the system gave no random bytes for the leaf's salt")]
    Random,
    /// The record touches too much.
    #[error("the access record has {bytes} bytes: at most {RECORD_MAX_BYTES}; touch fewer records at once")]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// An incarnation comes after the ones before it.
    #[error("the record declares incarnation {declared} of the log, which is in incarnation {now}")]
    NoLaterIncarnation {
        /// What the record says; 0 where it declares none.
        declared: u64,
        /// What the log is.
        now: u64,
    },
    /// Something else than comity changed it.
    #[error(
        "the access log was tampered with: {0}; keep the disk as evidence and compare with a checkpoint held elsewhere"
    )]
    Tampered(#[from] Tampering),
    /// The log is not that long.
    #[error("{asked} is not in the access log's first {size} leaves")]
    BeyondEnd {
        /// What was asked for: a leaf or a size.
        asked: u64,
        /// How many leaves there are, or were to be considered.
        size: u64,
    },
}

/// Why the log cannot be written, in words that this member's own people may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There is no room.
    DiskFull,
    /// Nothing may be written there.
    ReadOnly,
    /// The file is not where it was.
    Moved,
    /// Reading, writing or syncing failed.
    DiskFailing,
    /// The server that holds the database is not to be reached.
    ServerAway,
    /// Another node has the store.
    Taken,
    /// Something else than comity changed the log.
    Tampered,
    /// The node is stopping.
    Closed,
    /// Anything else.
    Other,
}

impl Trouble {
    /// What an error comes to.
    pub(super) fn of(error: &AccessLogError) -> Self {
        match error {
            AccessLogError::Unwritable(error) | AccessLogError::Unreadable(error) => Self::of_store(error),
            AccessLogError::Tampered(_) => Self::Tampered,
            AccessLogError::Closed => Self::Closed,
            _ => Self::Other,
        }
    }

    fn of_store(error: &StoreError) -> Self {
        match error {
            StoreError::Moved { .. } => Self::Moved,
            StoreError::LeaseLost => Self::Taken,
            StoreError::Interrupted => Self::Closed,
            StoreError::Database(sqlx::Error::Database(error)) => match error.code().as_deref() {
                Some("53100") => Self::DiskFull,
                Some("25006") => Self::ReadOnly,
                Some(code) => Self::of_sqlite(code),
                None => Self::Other,
            },
            StoreError::Database(sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut) => Self::ServerAway,
            _ => Self::Other,
        }
    }

    /// SQLite's codes; the lowest eight bits say what it is, the others where it happened.
    fn of_sqlite(code: &str) -> Self {
        match code.parse::<u32>().map(|code| code & 0xff) {
            Ok(13) => Self::DiskFull,
            Ok(8) => Self::ReadOnly,
            Ok(10 | 14) => Self::DiskFailing,
            Ok(11 | 26) => Self::Tampered,
            _ => Self::Other,
        }
    }

    /// As a sentence has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DiskFull => "the disk is full",
            Self::ReadOnly => "its file system is read-only",
            Self::Moved => "its file was moved, removed or replaced",
            Self::DiskFailing => "the disk fails",
            Self::ServerAway => "its database cannot be reached",
            Self::Taken => "another node has taken the national store",
            Self::Tampered => "it was changed by something else than this node",
            Self::Closed => "the node is stopping",
            Self::Other => "its database refuses",
        }
    }
}

impl From<StoreError> for AccessLogError {
    fn from(error: StoreError) -> Self {
        Self::Unreadable(Arc::new(error))
    }
}

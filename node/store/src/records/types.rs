//! What goes into and comes out of the table of records.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use comity_core::canonical::Hex32;
use comity_core::document::Document;
use comity_core::{MemberId, RecordId, SpiffeId, Timestamp, VersionId};

use crate::error::StoreError;

/// Where a record stands with its member. What became of a proposal on the list is the list's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordState {
    /// Nobody outside has it.
    Draft,
    /// Some parties may have it.
    Shared,
    /// A ballot decides on it.
    Tabled,
    /// Taken back.
    Withdrawn,
}

impl RecordState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Draft, Self::Shared, Self::Tabled, Self::Withdrawn];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Shared => "shared",
            Self::Tabled => "tabled",
            Self::Withdrawn => "withdrawn",
        }
    }
}

impl fmt::Display for RecordState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no state of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected draft, shared, tabled or withdrawn")]
pub struct InvalidRecordState;

impl FromStr for RecordState {
    type Err = InvalidRecordState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(InvalidRecordState)
    }
}

/// A record to be written for the first time. It has been checked.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// Fresh, and of the document's kind.
    pub id: RecordId,
    /// Fresh.
    pub version: VersionId,
    /// What its author wrote.
    pub document: Document,
    /// Who wrote it.
    pub author: SpiffeId,
    /// When.
    pub at: Timestamp,
    /// 64 fresh random bytes, for the commitments to the read and sources documents.
    pub salts: [Hex32; 2],
    /// Makes a repeated call harmless; chosen by the client, unique for its author.
    pub request_id: Option<String>,
}

/// A new version of a record.
#[derive(Debug, Clone)]
pub struct Revision {
    /// Fresh.
    pub version: VersionId,
    /// The whole document as it is now. It has been checked.
    pub document: Document,
    /// Who wrote it.
    pub author: SpiffeId,
    /// When.
    pub at: Timestamp,
    /// 64 fresh random bytes.
    pub salts: [Hex32; 2],
}

/// On what terms two people decided to show a record to a party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredShare {
    /// When it ends, if it does.
    pub until: Option<Timestamp>,
    /// Where it is an onward release: by which grant, and what for.
    pub onward: Option<Onward>,
}

impl StoredShare {
    /// Without an end, and by the marking alone.
    pub const PLAIN: Self = Self { until: None, onward: None };
}

/// An onward release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onward {
    /// By which grant.
    pub grant: RecordId,
    /// What for.
    pub purpose: String,
}

/// A record with its current version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Which.
    pub id: RecordId,
    /// Order of creation: what [`super::Records::list`] continues from. For the node alone.
    pub position: u64,
    /// Where it stands.
    pub state: RecordState,
    /// Its current version.
    pub version: VersionId,
    /// 1 for the first version; for the member's own eyes alone.
    pub ordinal: u64,
    /// When the current version was written.
    pub written: Timestamp,
    /// The current version's content.
    pub document: Document,
    /// Who drafted it.
    pub author: SpiffeId,
    /// When it was drafted.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// To whom it is shown, as far as the policy allows.
    pub shares: BTreeMap<MemberId, StoredShare>,
    /// The ballot that decides on it.
    pub ballot: Option<Hex32>,
    /// When it was recalled from everybody.
    pub recalled: Option<Timestamp>,
}

impl StoredRecord {
    pub(super) fn expect_version(&self, expected: VersionId) -> Result<(), RecordError> {
        if self.version == expected {
            Ok(())
        } else {
            Err(RecordError::Conflict { id: self.id, current: self.version })
        }
    }

    pub(super) fn expect_state(&self, wanted: &'static [RecordState]) -> Result<(), RecordError> {
        if let Some(at) = self.recalled {
            return Err(RecordError::Recalled { id: self.id, at });
        }
        if wanted.contains(&self.state) {
            Ok(())
        } else {
            Err(RecordError::WrongState { id: self.id, state: self.state, wanted })
        }
    }
}

/// One version, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// Which.
    pub version: VersionId,
    /// 1 for the first.
    pub ordinal: u64,
    /// Who wrote it.
    pub author: SpiffeId,
    /// When.
    pub at: Timestamp,
}

/// Why a record was not written. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is none.
    #[error("no record {id}")]
    NotFound {
        /// Which was asked for.
        id: RecordId,
    },
    /// Somebody else changed it in between.
    #[error("{id} is at version {current} by now: read it again and decide on what it says")]
    Conflict {
        /// Which.
        id: RecordId,
        /// Its version now.
        current: VersionId,
    },
    /// It cannot be done to a record in this state.
    #[error("{id} is {state}: expected {}", one_of(wanted))]
    WrongState {
        /// Which.
        id: RecordId,
        /// Where it stands.
        state: RecordState,
        /// Where it would have to stand.
        wanted: &'static [RecordState],
    },
    /// It was recalled, and stays so.
    #[error("{id} was recalled on {at}: what is to be shown again is drafted anew")]
    Recalled {
        /// Which.
        id: RecordId,
        /// When.
        at: Timestamp,
    },
    /// A new version does not continue the old one.
    #[error("{id}: {reason}")]
    NotAppended {
        /// Which.
        id: RecordId,
        /// What was rewritten.
        reason: comity_core::document::NotAppended,
    },
    /// The document is of another kind than the record.
    #[error("{id} is a {}, and the document is a {}", id.kind(), kind)]
    Kind {
        /// Which.
        id: RecordId,
        /// What the document is.
        kind: comity_core::RecordKind,
    },
    /// The author used the request id for another record.
    #[error("this request id was used for another record, {id}: use a fresh one")]
    RequestIdReused {
        /// What it made.
        id: RecordId,
    },
    /// The record id is not fresh.
    #[error("{id} exists already: draw a fresh id")]
    IdTaken {
        /// Which.
        id: RecordId,
    },
    /// The id names another originator.
    #[error("{id} is not a record of {member}: only the originator writes it")]
    NotOurs {
        /// Which.
        id: RecordId,
        /// Whose store this is.
        member: MemberId,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn one_of(states: &[RecordState]) -> String {
    states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(" or ")
}

//! What goes into and comes out of the table of proposals.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use comity_core::canonical::Hex32;
use comity_core::proposal::Proposal;
use comity_core::{MemberId, RecordId, SpiffeId, Timestamp, VersionId};

use crate::error::StoreError;

/// Where a proposal stands with its member. What became of it on the list is the list's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProposalState {
    /// Nobody outside has it.
    Draft,
    /// Some parties may have it.
    Shared,
    /// A ballot decides on it.
    Tabled,
    /// Taken back.
    Withdrawn,
}

impl ProposalState {
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

impl fmt::Display for ProposalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no state of a proposal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected draft, shared, tabled or withdrawn")]
pub struct InvalidProposalState;

impl FromStr for ProposalState {
    type Err = InvalidProposalState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(InvalidProposalState)
    }
}

/// A proposal to be written for the first time. It has been checked.
#[derive(Debug, Clone)]
pub struct NewProposal {
    /// Fresh.
    pub id: RecordId,
    /// Fresh.
    pub version: VersionId,
    /// What the operator wrote.
    pub proposal: Proposal,
    /// Who wrote it.
    pub author: SpiffeId,
    /// When.
    pub at: Timestamp,
    /// 64 fresh random bytes, for the commitments to the read and sources documents.
    pub salts: [Hex32; 2],
    /// Makes a repeated call harmless; chosen by the client, unique for its author.
    pub request_id: Option<String>,
}

/// A new version of a proposal.
#[derive(Debug, Clone)]
pub struct Revision {
    /// Fresh.
    pub version: VersionId,
    /// The whole proposal as it is now. It has been checked.
    pub proposal: Proposal,
    /// Who wrote it.
    pub author: SpiffeId,
    /// When.
    pub at: Timestamp,
    /// 64 fresh random bytes.
    pub salts: [Hex32; 2],
}

/// A proposal with its current version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredProposal {
    /// Which.
    pub id: RecordId,
    /// Where it stands.
    pub state: ProposalState,
    /// Its current version.
    pub version: VersionId,
    /// 1 for the first version; for the member's own eyes alone.
    pub ordinal: u64,
    /// The current version's content.
    pub proposal: Proposal,
    /// Who drafted it.
    pub author: SpiffeId,
    /// When it was drafted.
    pub created: Timestamp,
    /// When version or state last changed.
    pub updated: Timestamp,
    /// To whom two people decided to show it. Kept after a withdrawal.
    pub shared_with: BTreeSet<MemberId>,
    /// The ballot that decides on it, once tabled.
    pub ballot: Option<Hex32>,
}

impl StoredProposal {
    pub(super) fn expect_version(&self, expected: VersionId) -> Result<(), ProposalError> {
        if self.version == expected {
            Ok(())
        } else {
            Err(ProposalError::Conflict { id: self.id, current: self.version })
        }
    }

    pub(super) fn expect_state(&self, wanted: &'static [ProposalState]) -> Result<(), ProposalError> {
        if wanted.contains(&self.state) {
            Ok(())
        } else {
            Err(ProposalError::WrongState { id: self.id, state: self.state, wanted })
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

/// Why a proposal was not written. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ProposalError {
    /// There is none.
    #[error("no proposal {id}")]
    NotFound {
        /// Which was asked for.
        id: RecordId,
    },
    /// Somebody else changed it in between.
    #[error("proposal {id} is at version {current} by now: read it again and decide on what it says")]
    Conflict {
        /// Which.
        id: RecordId,
        /// Its version now.
        current: VersionId,
    },
    /// It cannot be done to a proposal in this state.
    #[error("proposal {id} is {state}: expected {}", one_of(wanted))]
    WrongState {
        /// Which.
        id: RecordId,
        /// Where it stands.
        state: ProposalState,
        /// Where it would have to stand.
        wanted: &'static [ProposalState],
    },
    /// The author used the request id for another proposal.
    #[error("this request id was used for another proposal, {id}: use a fresh one")]
    RequestIdReused {
        /// What it made.
        id: RecordId,
    },
    /// The record id is not fresh.
    #[error("proposal {id} exists already: draw a fresh id")]
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

impl From<sqlx::Error> for ProposalError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

fn one_of(states: &[ProposalState]) -> String {
    states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(" or ")
}

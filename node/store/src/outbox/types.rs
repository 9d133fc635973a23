//! What goes into and comes out of the outbox.

use std::fmt;
use std::sync::Arc;

use comity_core::canonical::Hex32;
use comity_core::document::LinkTarget;
use comity_core::release::Action;
use comity_core::{Marking, MemberId, RecordId, Timestamp, VersionId};

use crate::error::StoreError;
use crate::records::StoredShare;

/// A record and a party that are to be decided on, with all that the decision needs to know of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub record: RecordId,
    /// Goes into [`Decided`] unchanged: a decision stands only if nothing queued the pair again meanwhile. 0 where it does not wait.
    pub ticket: u64,
    /// The version that is decided on: the current one.
    pub version: VersionId,
    /// When that was written.
    pub written: Timestamp,
    /// What restricts it.
    pub marking: Arc<Marking>,
    /// The record of another that it answers.
    pub about: Option<RecordId>,
    /// Whether it was withdrawn or recalled: then it goes to nobody.
    pub taken_back: bool,
    /// On what terms two people decided to show it to the party, if they did.
    pub share: Option<StoredShare>,
    /// Where it points.
    pub links: Vec<LinkTarget>,
    /// For [`super::Outbox::documents`], where they were asked for.
    pub(crate) sealed: Option<SealedDocuments>,
}

/// The documents of a version as they are at rest: read together with what the decision needs, opened only for whom it allows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SealedDocuments {
    pub(crate) key: Vec<u8>,
    pub(crate) views: Vec<u8>,
}

impl fmt::Debug for SealedDocuments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedDocuments")
    }
}

/// What was decided on a queued record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Which.
    pub record: RecordId,
    /// From [`Candidate`].
    pub ticket: u64,
    /// The version that was decided on.
    pub version: VersionId,
    /// What the party is to have; nothing at all if `None`.
    pub telling: Option<Telling>,
}

/// What a party is to have of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Telling {
    /// How much of it.
    pub level: Action,
    /// SHA-256 of the links and terms that go with it; `None` where there are neither.
    pub shown: Option<Hex32>,
    /// When it must be decided again.
    pub until: Option<Timestamp>,
}

/// One numbered change for a party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// Dense for each party, from 1.
    pub number: u64,
    /// Which record.
    pub record: RecordId,
    /// What the party is told.
    pub change: ReleasedChange,
    /// Whether a later number is about the same record. Sent again, such a change may be a retraction without loss: what
    /// follows says what holds, and an old version need not travel again.
    pub superseded: bool,
}

/// What a party is told of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleasedChange {
    /// Hold this version, so much of it.
    Upsert {
        /// Which version.
        version: VersionId,
        /// How much of it.
        level: Action,
        /// What went with it, as in [`Telling::shown`].
        shown: Option<Hex32>,
    },
    /// Hold nothing of it.
    Retract,
}

/// A party's signed word that it stored everything up to a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Up to which number.
    pub last_number: u64,
    /// The page's root.
    pub root: Hex32,
    /// The DSSE envelope, as it came.
    pub envelope: Vec<u8>,
    /// When it came.
    pub at: Timestamp,
}

/// How far a party is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// Records that wait for a decision.
    pub queued: u64,
    /// The last number given.
    pub last_number: u64,
    /// The highest number that it signed for.
    pub receipted: u64,
    /// When that receipt came.
    pub receipt_at: Option<Timestamp>,
}

/// Why the outbox did not do it. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The number was never given.
    #[error("number {number} was not given to {party}: expected 1 to {last_number}")]
    NoSuchNumber {
        /// To whom.
        party: MemberId,
        /// What was asked for.
        number: u64,
        /// The last that was given.
        last_number: u64,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

//! What goes into and comes out of the tables of recalls.

use comity_core::recall::Answer;
use comity_core::{Marking, MemberId, RecordId, SpiffeId, Timestamp};

use crate::error::StoreError;
use crate::records::RecordError;

/// A recall that this member made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecall {
    /// Its own id.
    pub recall: RecordId,
    /// What is recalled.
    pub record: RecordId,
    /// Why, for this member's own people.
    pub reason: String,
    /// How secret the reason is.
    pub marking: Marking,
    /// Who asked for it.
    pub author: SpiffeId,
    /// Since when.
    pub started: Timestamp,
    /// Everybody who ever received the record, by code.
    pub parties: Vec<PartyAnswer>,
}

/// How a recall stands with one party.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartyAnswer {
    /// Who.
    pub party: MemberId,
    /// When its node was first told.
    pub fetched: Option<Timestamp>,
    /// What it answered.
    pub answer: Option<Answer>,
    /// The signed answer.
    pub envelope: Option<Vec<u8>>,
    /// When that came.
    pub answered: Option<Timestamp>,
}

/// A recall as a party is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldRecall {
    /// Its place among this party's.
    pub position: u64,
    /// The recall.
    pub recall: RecordId,
    /// What is recalled.
    pub record: RecordId,
    /// Since when.
    pub started: Timestamp,
}

/// A recall that reached this node, and what it answers.
#[derive(Debug, Clone)]
pub struct NewReceivedRecall {
    /// The recall.
    pub recall: RecordId,
    /// What is recalled.
    pub record: RecordId,
    /// Whose record it is.
    pub origin: MemberId,
    /// The originator's signed statement, as it came.
    pub envelope: Vec<u8>,
    /// When it came.
    pub at: Timestamp,
    /// What this node answers.
    pub answer: Answer,
    /// The signed answer.
    pub reply: Vec<u8>,
}

/// What became of a recall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakenRecall {
    /// It is answered so.
    Taken,
    /// A hold came or went since the answer was signed: decide again.
    Overtaken,
}

/// A recall that this node has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRecall {
    /// The recall.
    pub recall: RecordId,
    /// What is recalled.
    pub record: RecordId,
    /// Whose record it is.
    pub origin: MemberId,
    /// When it came.
    pub received: Timestamp,
    /// What was answered.
    pub answer: Answer,
    /// The signed answer.
    pub reply: Vec<u8>,
    /// When the originator had it.
    pub delivered: Option<Timestamp>,
}

/// Why it was not done. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum RecallError {
    /// The record is no recall.
    #[error("{id} is no recall")]
    NotARecall {
        /// Which.
        id: RecordId,
    },
    /// Nobody was ever given it.
    #[error("{record} was never released to anybody: withdraw it with `comity proposal withdraw`, or its kind's own")]
    NobodyHasIt {
        /// Which.
        record: RecordId,
    },
    /// The party never received what is recalled.
    #[error("{party} was not asked by {recall}")]
    NotAsked {
        /// Which recall.
        recall: RecordId,
        /// Who answered.
        party: MemberId,
    },
    /// The record itself.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

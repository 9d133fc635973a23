//! Entries of the agreed list.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::canonical::{self, Hex32};
use crate::edtf::PartialDate;
use crate::list::command::{BallotId, Ground, Measure};
use crate::member::MemberId;
use crate::record::RecordId;
use crate::timestamp::Timestamp;

/// The number of an entry, never used twice: `CW-2026-0001`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    prefix: String,
    year: i16,
    number: u32,
}

impl EntryId {
    /// The highest number of a year.
    pub const MAX_NUMBER: u32 = 9_999_999;

    pub(crate) fn new(prefix: &str, year: i16, number: u32) -> Self {
        Self { prefix: prefix.to_owned(), year, number }
    }

    /// The year, by list time.
    pub fn year(&self) -> i16 {
        self.year
    }

    /// The number within the year, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{:04}-{:04}", self.prefix, self.year, self.number))
    }
}

/// A text is no entry id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an entry such as CW-2026-0001")]
pub struct InvalidEntryId;

impl FromStr for EntryId {
    type Err = InvalidEntryId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('-');
        let (Some(prefix), Some(year), Some(number), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidEntryId);
        };
        let digits =
            |t: &str, min: usize, max: usize| (min..=max).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_digit());
        let prefix_fits = (1..=8).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_uppercase());
        if !prefix_fits || !digits(year, 4, 4) || !digits(number, 4, 7) {
            return Err(InvalidEntryId);
        }
        let id = Self {
            prefix: prefix.to_owned(),
            year: year.parse().map_err(|_| InvalidEntryId)?,
            number: number.parse().map_err(|_| InvalidEntryId)?,
        };
        if id.to_string() == text { Ok(id) } else { Err(InvalidEntryId) }
    }
}

impl Serialize for EntryId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EntryId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        canonical::parse_str(d)
    }
}

/// How an entry stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryStatus {
    /// On the list.
    Listed,
    /// Taken off it: a tombstone.
    Delisted {
        /// Why.
        ground: Ground,
        /// When, in list time.
        at: Timestamp,
    },
    /// It turned out to be another entry's subject: a redirect.
    Merged {
        /// Which entry stands for it.
        into: EntryId,
        /// When, in list time.
        at: Timestamp,
    },
}

/// A member's measure on an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachedMeasure {
    /// Whose.
    pub member: MemberId,
    /// What.
    pub measure: Measure,
    /// When it was attached, in list time.
    pub attached_at: Timestamp,
    /// When it ended, as the member says; nothing while it is in force.
    pub ended: Option<PartialDate>,
}

/// A subject that is or was on the list. Its text lies beside the log, under [`Entry::public_part`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: EntryId,
    /// How it stands.
    pub status: EntryStatus,
    /// The ballot that listed it.
    pub ballot: BallotId,
    /// Who proposed it.
    pub proposer: MemberId,
    /// The proposal.
    pub proposal: RecordId,
    /// The salted digest of its present text.
    pub public_part: Hex32,
    /// When it was listed, in list time.
    pub listed_at: Timestamp,
    /// When its next review is due, in list time.
    pub review_due: Timestamp,
    /// Who said yes to the listing.
    pub consents: Vec<MemberId>,
    /// The leaf of the command that completed the decision to list it, in the command log.
    pub command_leaf: u64,
    /// The leaf of its listing, in the public log.
    pub public_leaf: u64,
    /// Every leaf of the public log that is about it, the listing first.
    pub history: Vec<u64>,
    /// Members' measures, in the order in which they were attached.
    pub measures: Vec<AttachedMeasure>,
}

impl Entry {
    /// The most measures that one entry may ever have.
    pub const MAX_MEASURES: usize = 1_000;

    /// Whether it is on the list.
    pub fn is_listed(&self) -> bool {
        self.status == EntryStatus::Listed
    }

    /// The measures in force.
    pub fn in_force(&self) -> impl Iterator<Item = &AttachedMeasure> {
        self.measures.iter().filter(|measure| measure.ended.is_none())
    }

    /// Whether it had measures and all have ended; those of `except` do not count as had: nobody makes an entry ripe for delisting
    /// by attaching a measure and ending it.
    pub fn all_measures_ended(&self, except: MemberId) -> bool {
        self.measures.iter().any(|measure| measure.member != except) && self.in_force().next().is_none()
    }
}

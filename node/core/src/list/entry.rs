//! Entries of the agreed list.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::canonical::{self, Hex32};
use crate::list::command::BallotId;
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

/// A subject on the agreed list. Its text lies beside the log, under [`Entry::public_part`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: EntryId,
    /// The ballot that listed it.
    pub ballot: BallotId,
    /// Who proposed it.
    pub proposer: MemberId,
    /// The proposal.
    pub proposal: RecordId,
    /// The salted digest of its text.
    pub public_part: Hex32,
    /// When, in list time.
    pub listed_at: Timestamp,
    /// Who said yes.
    pub consents: Vec<MemberId>,
    /// The leaf of the command that completed the consents, in the command log.
    pub command_leaf: u64,
    /// The leaf of its publication, in the public log.
    pub public_leaf: u64,
}

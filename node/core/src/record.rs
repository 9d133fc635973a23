//! Records: everything a member shares with another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::canonical::parse_str;
use crate::member::MemberId;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// A member's case for designating a subject.
    Proposal,
    /// A partner's non-binding answer to a proposal that was shared with it.
    Opinion,
    /// An attack: when, where, with what, and who found what.
    Incident,
    /// A pointer to material that stays with its originator.
    Evidence,
    /// A holder asks that another's record be released to somebody else.
    Request,
    /// The originator's answer to a request.
    Grant,
    /// The originator asks for a record back.
    Recall,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Proposal, Self::Opinion, Self::Incident, Self::Evidence, Self::Request, Self::Grant, Self::Recall];

    /// As it stands in documents and policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposal => "proposal",
            Self::Opinion => "opinion",
            Self::Incident => "incident",
            Self::Evidence => "evidence",
            Self::Request => "request",
            Self::Grant => "grant",
            Self::Recall => "recall",
        }
    }

    /// As it stands in ids.
    const fn letter(self) -> &'static str {
        match self {
            Self::Proposal => "P",
            Self::Opinion => "O",
            Self::Incident => "I",
            Self::Evidence => "E",
            Self::Request => "Q",
            Self::Grant => "G",
            Self::Recall => "R",
        }
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no kind of record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected proposal, opinion, incident, evidence, request, grant or recall")]
pub struct InvalidRecordKind;

impl FromStr for RecordKind {
    type Err = InvalidRecordKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(InvalidRecordKind)
    }
}

/// Names one record in the whole federation: `FR-P-8K3M9QXT2V4N6R7W`. The letter is its kind's; the last part is 80 random bits that the
/// originator's node drew, in Crockford's base 32, so that an id tells nothing of how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    originator: MemberId,
    kind: RecordKind,
    random: [u8; 10],
}

impl RecordId {
    /// An id from fresh random bytes.
    pub fn new(originator: MemberId, kind: RecordKind, random: [u8; 10]) -> Self {
        Self { originator, kind, random }
    }

    /// Whose record it is.
    pub fn originator(&self) -> MemberId {
        self.originator
    }

    /// What it is.
    pub fn kind(&self) -> RecordKind {
        self.kind
    }
}

/// A text is no record id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a record id such as FR-P-8K3M9QXT2V4N6R7W")]
pub struct InvalidRecordId;

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// What each digit stands for; 32 where it is none.
#[allow(clippy::indexing_slicing, reason = "evaluated at compile time, where nothing else can be used")]
const VALUES: [u8; 128] = {
    let (mut values, mut value) = ([32; 128], 0);
    while value < 32 {
        values[CROCKFORD[value] as usize] = value as u8;
        value += 1;
    }
    values
};

impl FromStr for RecordId {
    type Err = InvalidRecordId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('-');
        let (Some(originator), Some(letter), Some(digits), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidRecordId);
        };
        let kind = RecordKind::ALL.into_iter().find(|kind| kind.letter() == letter).ok_or(InvalidRecordId)?;
        if digits.len() != 16 {
            return Err(InvalidRecordId);
        }
        let mut bits: u128 = 0;
        for digit in digits.bytes() {
            let value = VALUES.get(usize::from(digit)).filter(|value| **value < 32).ok_or(InvalidRecordId)?;
            bits = (bits << 5) | u128::from(*value);
        }
        let mut random = [0; 10];
        for (to, from) in random.iter_mut().zip(bits.to_be_bytes().into_iter().skip(6)) {
            *to = from;
        }
        Ok(Self { originator: originator.parse().map_err(|_| InvalidRecordId)?, kind, random })
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.random.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
        let mut text = String::with_capacity(32);
        text.extend([self.originator.as_str(), "-", self.kind.letter(), "-"]);
        text.extend(
            (0..16).rev().filter_map(|i| CROCKFORD.get((bits >> (5 * i)) as usize & 31)).map(|c| char::from(*c)),
        );
        f.pad(&text)
    }
}

impl Serialize for RecordId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        parse_str(d)
    }
}

/// One version of a record: 16 random bytes, so that versions cannot be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionId([u8; 16]);

impl VersionId {
    /// An id from fresh random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }
}

/// A text is no version id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a version id: 32 lower-case hexadecimal digits")]
pub struct InvalidVersionId;

impl FromStr for VersionId {
    type Err = InvalidVersionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut out = [0; 16];
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidVersionId);
        }
        hex::decode_to_slice(text, &mut out).map_err(|_| InvalidVersionId)?;
        Ok(Self(out))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::canonical::write_hex(&self.0, &mut [0; 32], f)
    }
}

impl Serialize for VersionId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VersionId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        parse_str(d)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_survive_their_text(kind in 0..7_usize, random in any::<[u8; 10]>(), version in any::<[u8; 16]>()) {
            let id = RecordId::new("FR".parse().unwrap(), RecordKind::ALL[kind], random);
            prop_assert_eq!(id.to_string().parse::<RecordId>().unwrap(), id);
            let version = VersionId::new(version);
            prop_assert_eq!(version.to_string().parse::<VersionId>().unwrap(), version);
        }

        #[test]
        fn any_text_is_safe(text in "\\PC{0,40}") {
            let _ = text.parse::<RecordId>();
        }
    }
}

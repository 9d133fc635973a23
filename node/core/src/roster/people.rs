//! People who sign: a pseudonym, a role and a key, enrolled and revoked by their member.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::dsse::PublicKey;
use crate::spiffe::Role;

/// What a member calls one of its people before the other members: the last part of the SPIFFE id, such as `desk-7`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonName(String);

impl PersonName {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text is no pseudonym.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a pseudonym of 1 to 64 of a-z, 0-9, `-`, `_` and `.`, beginning with a letter or digit, such as desk-7"
)]
pub struct InvalidPersonName;

impl FromStr for PersonName {
    type Err = InvalidPersonName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidPersonName) }
    }
}

impl fmt::Display for PersonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for PersonName {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PersonName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

/// One of a member's people and the key that signs for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What the member calls it. One person may have had several keys.
    pub name: PersonName,
    /// In which role.
    pub role: Role,
    /// What it signs with.
    pub key: PublicKey,
    /// Whether the key counts no more.
    pub revoked: bool,
}

//! Members and recipients of the federation, by code.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A member or recipient: an ISO 3166-1 alpha-2 code (`FR`), `EU`, or the upper-case acronym of a body (`OPCW`).
///
/// Two letters are checked against ISO 3166-1; three to eight letters are read as a body's acronym, since recipients
/// are not states.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    letters: [u8; Self::MAX_LETTERS],
    len: u8,
}

/// Why a text is not a [`MemberId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a member: expected an ISO 3166-1 alpha-2 code such as FR, EU, or a body's acronym such as OPCW"
)]
pub struct InvalidMemberId {
    text: String,
}

impl MemberId {
    /// The longest acronym accepted.
    pub const MAX_LETTERS: usize = 8;

    /// The code as text.
    pub fn as_str(&self) -> &str {
        // INVARIANT: only `from_str` makes one, from ASCII capitals.
        self.letters.get(..usize::from(self.len)).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default()
    }

    /// The code in lower case, as it stands in trust domains and file names.
    pub fn to_lowercase(&self) -> String {
        self.as_str().to_ascii_lowercase()
    }
}

impl FromStr for MemberId {
    type Err = InvalidMemberId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidMemberId { text: text.chars().take(20).collect() };
        if !(2..=Self::MAX_LETTERS).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(invalid());
        }
        if text.len() == 2 && text != "EU" && !crate::subject::is_country_code(text) {
            return Err(invalid());
        }
        let mut letters = [0; Self::MAX_LETTERS];
        for (to, from) in letters.iter_mut().zip(text.bytes()) {
            *to = from;
        }
        Ok(Self { letters, len: u8::try_from(text.len()).map_err(|_| invalid())? })
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for MemberId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MemberId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_states_and_bodies_only() {
        for good in ["FR", "EU", "OPCW", "IIIM"] {
            assert_eq!(good.parse::<MemberId>().unwrap().to_string(), good);
        }
        for bad in ["", "F", "fr", "ZZ", "XX", "F1", "NINELETRS", "FR "] {
            assert!(bad.parse::<MemberId>().is_err(), "{bad}");
        }
    }
}

//! Measures: a member's own national sanction on an entry. Each state's fact, which no ballot decides.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::edtf::PartialDate;
use crate::subject::{Slug, Subject, check_text};
use crate::violation::Violations;

/// Names a measure among its member's: chosen by the member, never used twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeasureId(String);

impl MeasureId {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text is no measure's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 40 of A-Z, a-z, 0-9, `-`, `.`, `_` and `/`, such as DGT-2026-0014")]
pub struct InvalidMeasureId;

impl FromStr for MeasureId {
    type Err = InvalidMeasureId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits =
            (1..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._/".contains(&b));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidMeasureId) }
    }
}

impl fmt::Display for MeasureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for MeasureId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MeasureId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

/// A member's national sanction on an entry, as it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Its name among the member's.
    pub id: MeasureId,
    /// The sanctions programme, as the member calls it.
    pub programme: String,
    /// The legal act.
    pub legal_act: String,
    /// Where the member's own list has it: its reference there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// What it imposes: `asset_freeze`, `travel_ban`, ...
    pub imposes: Vec<Slug>,
    /// In force from. A claim of the member.
    pub from: PartialDate,
    /// In force until, where that is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<PartialDate>,
}

impl Measure {
    /// The most things that one measure imposes.
    const MAX_IMPOSED: usize = 20;

    /// Notes what is not as it must be.
    pub fn check(&self, field: &str, v: &mut Violations) {
        check_text(v, &format!("{field}.programme"), &self.programme, Subject::TEXT_MAX_CHARS);
        check_text(v, &format!("{field}.legal_act"), &self.legal_act, Subject::TEXT_MAX_CHARS);
        if let Some(reference) = &self.reference {
            check_text(v, &format!("{field}.reference"), reference, Subject::TEXT_MAX_CHARS);
        }
        if !(1..=Self::MAX_IMPOSED).contains(&self.imposes.len()) {
            v.push(format!("{field}.imposes"), format!("expected 1 to {}, such as asset_freeze", Self::MAX_IMPOSED));
        }
    }
}

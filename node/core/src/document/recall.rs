//! Recalls: the originator asks for a record back, from everybody who ever received any version of it.

use serde::{Deserialize, Serialize};

use crate::marking::Marking;
use crate::proposal::Proposal;
use crate::record::RecordId;
use crate::subject::check_prose;
use crate::violation::Violations;

/// The originator asks for a record back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recall {
    /// How secret the reason is. It is for the originator's own people: those who received the record are told the id alone.
    pub marking: Marking,
    /// The record.
    pub about: RecordId,
    /// Why.
    pub reason: String,
}

impl Recall {
    pub(super) fn check(&self, violations: &mut Violations) {
        check_prose(violations, "reason", &self.reason, Proposal::PROSE_MAX_CHARS);
    }
}

//! Onward release: a holder asks, the originator grants or refuses, and releases the record itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::marking::Marking;
use crate::member::MemberId;
use crate::proposal::Proposal;
use crate::record::{RecordId, RecordKind};
use crate::subject::check_prose;
use crate::timestamp::Timestamp;
use crate::violation::Violations;

/// A holder of a copy asks its originator to release the record to somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Who may have it at all: the record's originator.
    pub marking: Marking,
    /// The record.
    pub about: RecordId,
    /// To whom it is to go.
    pub to: MemberId,
    /// What for.
    pub purpose: String,
    /// Until when; for good where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// The originator's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who may have it at all: whoever asked.
    pub marking: Marking,
    /// The record.
    pub about: RecordId,
    /// What it answers; none where the originator acts unasked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RecordId>,
    /// To whom the record goes, or does not.
    pub to: MemberId,
    /// Yes or no.
    pub decision: GrantDecision,
    /// What for, or why not.
    pub purpose: String,
    /// Until when; for good where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantDecision {
    /// The originator releases it.
    Granted,
    /// It does not.
    Refused,
}

impl fmt::Display for GrantDecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
        })
    }
}

impl Request {
    pub(super) fn check(&self, violations: &mut Violations) {
        check_prose(violations, "purpose", &self.purpose, Proposal::PROSE_MAX_CHARS);
        check_releasable(self.about, violations);
        if self.to == self.about.originator() {
            violations.push("to", format!("{} is whose record it is", self.to));
        }
    }
}

impl Grant {
    pub(super) fn check(&self, violations: &mut Violations) {
        check_prose(violations, "purpose", &self.purpose, Proposal::PROSE_MAX_CHARS);
        check_releasable(self.about, violations);
        if self.request.is_some_and(|request| request.kind() != RecordKind::Request) {
            violations.push("request", "expected a request, such as DE-Q-8K3M9QXT2V4N6R7W");
        }
        if self.decision == GrantDecision::Refused && self.until.is_some() {
            violations.push("until", "a refusal has no end");
        }
    }
}

/// What can go onward: what states say of the case, not what they say to each other about it.
fn check_releasable(about: RecordId, violations: &mut Violations) {
    if !matches!(about.kind(), RecordKind::Proposal | RecordKind::Incident | RecordKind::Evidence) {
        violations
            .push("about", "expected a proposal, an incident or an evidence reference, such as FR-E-8K3M9QXT2V4N6R7W");
    }
}

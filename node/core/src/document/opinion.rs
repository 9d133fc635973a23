//! Opinions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::marking::Marking;
use crate::proposal::Proposal;
use crate::record::{RecordId, RecordKind};
use crate::subject::check_prose;
use crate::violation::Violations;

/// A partner's non-binding answer to a proposal that was shared with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opinion {
    /// Who may have it at all: the proposal's originator.
    pub marking: Marking,
    /// The proposal.
    pub about: RecordId,
    /// What is thought of it.
    pub stance: Stance,
    /// Why, or what is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What a partner thinks of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stance {
    /// It would vote for it.
    Support,
    /// It would propose it, too.
    CoSponsor,
    /// It asks something first.
    Question,
    /// It has doubts.
    Concern,
}

impl Stance {
    /// Every stance.
    pub const ALL: [Self; 4] = [Self::Support, Self::CoSponsor, Self::Question, Self::Concern];

    /// As people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Support => "support",
            Self::CoSponsor => "co-sponsor",
            Self::Question => "question",
            Self::Concern => "concern",
        }
    }
}

impl fmt::Display for Stance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no stance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected support, co-sponsor, question or concern")]
pub struct InvalidStance;

impl FromStr for Stance {
    type Err = InvalidStance;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|stance| stance.as_str() == text).ok_or(InvalidStance)
    }
}

impl Opinion {
    pub(super) fn check(&self, violations: &mut Violations) {
        if self.about.kind() != RecordKind::Proposal {
            violations.push("about", "expected a proposal, such as FR-P-8K3M9QXT2V4N6R7W");
        }
        match &self.text {
            Some(text) => check_prose(violations, "text", text, Proposal::PROSE_MAX_CHARS),
            None if matches!(self.stance, Stance::Question | Stance::Concern) => {
                violations.push("text", format!("a {} says what it is about", self.stance));
            }
            None => {}
        }
    }
}

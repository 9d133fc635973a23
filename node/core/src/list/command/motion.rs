//! What a ballot can decide.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dsse::PublicKey;
use crate::genesis::RosterMember;
use crate::list::EntryId;
use crate::member::MemberId;
use crate::record::RecordId;
use crate::rule::{BallotKind, Rule};

/// What is laid before the members to be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Motion {
    /// A subject joins the list.
    List {
        /// The proposal, whose originator tables it.
        proposal: RecordId,
    },
    /// An entry gets another text.
    Amend {
        /// Which entry.
        entry: EntryId,
        /// The proposal that holds the new text; its originator tables it.
        proposal: RecordId,
    },
    /// An entry leaves the list.
    Delist {
        /// Which entry.
        entry: EntryId,
        /// Why.
        ground: Ground,
    },
    /// Two entries are one subject: the first becomes a redirect to the second.
    Merge {
        /// The entry that gives way.
        entry: EntryId,
        /// The entry that stays.
        into: EntryId,
    },
    /// A member or recipient joins.
    Admit {
        /// Its row.
        member: Box<RosterMember>,
    },
    /// A member or recipient takes part no more, until it is readmitted.
    Suspend {
        /// Whom.
        target: MemberId,
    },
    /// A suspended member or recipient takes part again.
    Readmit {
        /// Whom.
        target: MemberId,
    },
    /// A member or recipient belongs to the federation no more.
    Expel {
        /// Whom.
        target: MemberId,
    },
    /// A member that lost its keys gets others. Its enrolled people start afresh.
    ReplaceKeys {
        /// Whose.
        target: MemberId,
        /// The new keys.
        keys: Box<ReplacedKeys>,
    },
    /// Ballots of a kind that are tabled from now on are decided by another rule.
    ChangeRule {
        /// Of which kind.
        kind: BallotKind,
        /// By which rule.
        rule: Rule,
    },
    /// The commands mean what this version of the rules says.
    RaiseVersion {
        /// The next version.
        version: u32,
    },
}

/// What replaces a member's lost keys, and the rest of its row where that was lost, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplacedKeys {
    /// Signs its deciding commands.
    pub decision_key: PublicKey,
    /// Signs what its node says.
    pub node_key: PublicKey,
    /// Kept offline.
    pub recovery_key: PublicKey,
    /// Its CA's certificates, PEM.
    pub roots_pem: Vec<String>,
    /// Where its node listens for peers.
    pub endpoint: String,
    /// The incarnation of its node: that of now, or the next where the machine was lost.
    pub incarnation: u32,
}

/// Why an entry leaves the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// A court annulled the designation: its text is erased.
    CourtAnnulment,
    /// The subject died, or the body was dissolved.
    Death,
    /// Somebody else was meant: the text is erased.
    MistakenIdentity,
    /// The reasons do not hold any more.
    CriteriaNoLongerMet,
    /// Another reason, which the statement gives.
    Other,
}

impl Ground {
    /// Every ground, in the order of the documents.
    pub const ALL: [Self; 5] =
        [Self::CourtAnnulment, Self::Death, Self::MistakenIdentity, Self::CriteriaNoLongerMet, Self::Other];

    /// As it stands in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CourtAnnulment => "court_annulment",
            Self::Death => "death",
            Self::MistakenIdentity => "mistaken_identity",
            Self::CriteriaNoLongerMet => "criteria_no_longer_met",
            Self::Other => "other",
        }
    }

    /// Whether the listing should never have been: its text is erased everywhere.
    pub const fn annuls(self) -> bool {
        matches!(self, Self::CourtAnnulment | Self::MistakenIdentity)
    }
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no ground.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected court_annulment, death, mistaken_identity, criteria_no_longer_met or other")]
pub struct InvalidGround;

impl std::str::FromStr for Ground {
    type Err = InvalidGround;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|ground| ground.as_str() == text).ok_or(InvalidGround)
    }
}

impl Motion {
    /// Which rule applies.
    pub fn kind(&self) -> BallotKind {
        match self {
            Self::List { .. } => BallotKind::List,
            Self::Amend { .. } => BallotKind::Amend,
            Self::Delist { .. } => BallotKind::Delist,
            Self::Merge { .. } => BallotKind::Merge,
            Self::Admit { .. } | Self::Readmit { .. } => BallotKind::Admit,
            Self::Suspend { .. } => BallotKind::Suspend,
            Self::Expel { .. } => BallotKind::Expel,
            Self::ReplaceKeys { .. } => BallotKind::ReplaceKeys,
            Self::ChangeRule { .. } => BallotKind::ChangeRule,
            Self::RaiseVersion { .. } => BallotKind::RaiseVersion,
        }
    }

    /// The proposal that it comes from, where it comes from one.
    pub fn proposal(&self) -> Option<RecordId> {
        match self {
            Self::List { proposal } | Self::Amend { proposal, .. } => Some(*proposal),
            _ => None,
        }
    }

    /// The entry that it changes.
    pub fn entry(&self) -> Option<&EntryId> {
        match self {
            Self::Amend { entry, .. } | Self::Delist { entry, .. } | Self::Merge { entry, .. } => Some(entry),
            _ => None,
        }
    }

    /// The member or recipient whose standing it changes.
    pub fn target(&self) -> Option<MemberId> {
        match self {
            Self::Admit { member } => Some(member.member),
            Self::Suspend { target }
            | Self::Readmit { target }
            | Self::Expel { target }
            | Self::ReplaceKeys { target, .. } => Some(*target),
            _ => None,
        }
    }

    /// Who has neither vote nor hold on it: the target of a suspension or an expulsion.
    pub fn excluded(&self) -> Option<MemberId> {
        match self {
            Self::Suspend { target } | Self::Expel { target } => Some(*target),
            _ => None,
        }
    }

    /// Whether the text beside it describes a subject; else it is a [`super::Statement`].
    pub fn has_subject(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Amend { .. })
    }
}

impl fmt::Display for Motion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List { proposal } => write!(f, "list {proposal}"),
            Self::Amend { entry, proposal } => write!(f, "amend {entry} as {proposal} has it"),
            Self::Delist { entry, ground } => write!(f, "delist {entry}: {ground}"),
            Self::Merge { entry, into } => write!(f, "merge {entry} into {into}"),
            Self::Admit { member } if member.voting => write!(f, "admit {} as a member", member.member),
            Self::Admit { member } => write!(f, "admit {} as a recipient", member.member),
            Self::Suspend { target } => write!(f, "suspend {target}"),
            Self::Readmit { target } => write!(f, "readmit {target}"),
            Self::Expel { target } => write!(f, "expel {target}"),
            Self::ReplaceKeys { target, .. } => write!(f, "replace the keys of {target}"),
            Self::ChangeRule { kind, rule } => write!(f, "decide ballots of kind {kind} by {rule}"),
            Self::RaiseVersion { version } => write!(f, "raise the rules version to {version}"),
        }
    }
}

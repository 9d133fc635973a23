//! Publications: the leaves of the public log. They name states, their consents and reasons, never people, holds, objections or
//! endpoints.

use serde::{Deserialize, Serialize};

use crate::canonical::{self, Hex32};
use crate::dsse::PublicKey;
use crate::edtf::PartialDate;
use crate::genesis::RosterMember;
use crate::list::EntryId;
use crate::list::command::{BallotId, Ground, Measure, MeasureId};
use crate::member::MemberId;
use crate::merkle;
use crate::roster::Standing;
use crate::rule::{BallotKind, Rule};
use crate::spiffe::TrustDomain;
use crate::timestamp::Timestamp;

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PublishedEvent {
    /// An entry was added.
    Listed {
        /// Which.
        entry: EntryId,
    },
    /// An entry has another text.
    Amended {
        /// Which.
        entry: EntryId,
    },
    /// An entry left the list.
    Delisted {
        /// Which.
        entry: EntryId,
        /// Why.
        ground: Ground,
    },
    /// An entry became a redirect; its measures stand on the other from now on.
    Merged {
        /// Which gave way.
        entry: EntryId,
        /// Which stays.
        into: EntryId,
    },
    /// A member attached a measure.
    MeasureAttached {
        /// To which entry.
        entry: EntryId,
        /// What.
        measure: Measure,
    },
    /// A member ended a measure.
    MeasureEnded {
        /// On which entry.
        entry: EntryId,
        /// Which.
        measure: MeasureId,
        /// When, as the member says.
        ended: PartialDate,
    },
    /// A member reviewed an entry and keeps it.
    Reviewed {
        /// Which.
        entry: EntryId,
    },
    /// A member or recipient joined.
    Admitted {
        /// Its row, as far as verifying needs it.
        member: PublishedMember,
    },
    /// A member or recipient was suspended.
    Suspended {
        /// Whom.
        member: MemberId,
    },
    /// A suspended member or recipient takes part again.
    Readmitted {
        /// Whom.
        member: MemberId,
    },
    /// A member or recipient was expelled.
    Expelled {
        /// Whom.
        member: MemberId,
    },
    /// A member's lost keys were replaced.
    KeysReplaced {
        /// Its row.
        member: PublishedMember,
    },
    /// A member rotated its keys.
    KeysRotated {
        /// Its row.
        member: PublishedMember,
    },
    /// A member's recovery key revoked its other keys.
    KeysRevoked {
        /// Whose.
        member: MemberId,
        /// The decision key.
        decision: bool,
        /// The node key.
        node: bool,
    },
    /// A rule changed.
    RuleChanged {
        /// Of which kind of ballot.
        kind: BallotKind,
        /// The rule from now on.
        rule: Rule,
    },
    /// The rules version was raised.
    VersionRaised {
        /// The version from now on.
        version: u32,
    },
}

/// A member's row as it is published: what is needed to verify, and no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedMember {
    /// Who.
    pub member: MemberId,
    /// Its trust domain, under which its node cosigns.
    pub trust_domain: TrustDomain,
    /// Whether it votes.
    pub voting: bool,
    /// Signs its deciding commands.
    pub decision_key: PublicKey,
    /// Signs what its node says.
    pub node_key: PublicKey,
    /// Can revoke the other two.
    pub recovery_key: PublicKey,
}

impl From<&RosterMember> for PublishedMember {
    fn from(row: &RosterMember) -> Self {
        Self {
            member: row.member,
            trust_domain: row.trust_domain.clone(),
            voting: row.voting,
            decision_key: row.decision_key,
            node_key: row.node_key,
            recovery_key: row.recovery_key,
        }
    }
}

impl From<&Standing> for PublishedMember {
    fn from(standing: &Standing) -> Self {
        Self::from(&standing.row)
    }
}

/// A state's consent, and the leaf hash of the signed command that gave it: its envelope with the decision key's signature
/// alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Who.
    pub member: MemberId,
    /// RFC 9162 leaf hash.
    pub command: Hex32,
}

/// Why something is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Authority {
    /// The members decided it.
    Ballot(Box<Decided>),
    /// One member did it on its own authority.
    Member(Consent),
}

/// A ballot that was adopted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    /// Which: SHA-256 of the tabling payload.
    pub ballot: BallotId,
    /// Who tabled it.
    pub proposer: MemberId,
    /// The salted digest of the text beside it.
    pub public_part: Hex32,
    /// By which rule.
    pub procedure: PublishedProcedure,
    /// Who could decide, when it was adopted.
    pub electorate: Vec<MemberId>,
    /// Who said yes.
    pub consents: Vec<Consent>,
    /// Who was present and silent, with its acknowledgement of notice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<Consent>,
    /// Who was absent, and is not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<MemberId>,
}

/// How a ballot was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PublishedProcedure {
    /// By the rule of its kind, as it was when the ballot was tabled.
    Rule(Rule),
    /// Adopted after these days because not all other voting members voted to keep the entry.
    ReverseSilence {
        /// Days.
        days: u32,
    },
}

/// One leaf of the public log, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// What happened.
    pub event: PublishedEvent,
    /// On whose authority.
    pub by: Authority,
    /// When, in list time.
    pub list_time: Timestamp,
}

impl Publication {
    /// The leaf's exact bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_vec(self)
    }

    /// Reads a leaf.
    ///
    /// # Errors
    /// It is no publication.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, canonical::InvalidJson> {
        canonical::from_slice(bytes)
    }

    /// The hash of exact bytes.
    pub fn leaf_hash(bytes: &[u8]) -> Hex32 {
        merkle::leaf_hash(bytes)
    }
}

impl PublishedEvent {
    /// As it stands in documents: `listed`, `amended`, ...
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Listed { .. } => "listed",
            Self::Amended { .. } => "amended",
            Self::Delisted { .. } => "delisted",
            Self::Merged { .. } => "merged",
            Self::MeasureAttached { .. } => "measure_attached",
            Self::MeasureEnded { .. } => "measure_ended",
            Self::Reviewed { .. } => "reviewed",
            Self::Admitted { .. } => "admitted",
            Self::Suspended { .. } => "suspended",
            Self::Readmitted { .. } => "readmitted",
            Self::Expelled { .. } => "expelled",
            Self::KeysReplaced { .. } => "keys_replaced",
            Self::KeysRotated { .. } => "keys_rotated",
            Self::KeysRevoked { .. } => "keys_revoked",
            Self::RuleChanged { .. } => "rule_changed",
            Self::VersionRaised { .. } => "version_raised",
        }
    }

    /// The entry that it is about, where it is about one.
    pub fn entry(&self) -> Option<&EntryId> {
        match self {
            Self::Listed { entry }
            | Self::Amended { entry }
            | Self::Delisted { entry, .. }
            | Self::Merged { entry, .. }
            | Self::MeasureAttached { entry, .. }
            | Self::MeasureEnded { entry, .. }
            | Self::Reviewed { entry } => Some(entry),
            _ => None,
        }
    }

    /// Whether the text beside it says something of a subject: it is erased where the subject's entry is annulled. The text that
    /// says why it was annulled stays.
    pub fn has_text_of_subject(&self) -> bool {
        matches!(self, Self::Listed { .. } | Self::Amended { .. } | Self::Merged { .. })
    }
}

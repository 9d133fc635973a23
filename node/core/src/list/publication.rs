//! Publications: the leaves of the public log. They name states and their consents, never people.

use serde::{Deserialize, Serialize};

use crate::canonical::{self, Hex32};
use crate::list::EntryId;
use crate::list::command::BallotId;
use crate::member::MemberId;
use crate::merkle;
use crate::timestamp::Timestamp;

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishedEvent {
    /// An entry was added.
    Listed,
}

/// A state's consent, and the leaf hash of the signed vote that gave it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Who.
    pub member: MemberId,
    /// RFC 9162 leaf hash of the vote's envelope.
    pub vote: Hex32,
}

/// One leaf of the public log, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    /// What happened.
    pub event: PublishedEvent,
    /// To which entry.
    pub entry: EntryId,
    /// By which ballot.
    pub ballot: BallotId,
    /// Who proposed it.
    pub proposer: MemberId,
    /// The salted digest of the entry's text.
    pub public_part: Hex32,
    /// Who consented.
    pub consents: Vec<Consent>,
    /// When, in list time.
    pub list_time: Timestamp,
}

impl Publication {
    /// The leaf's exact bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_vec(self)
    }

    /// The hash of exact bytes.
    pub fn leaf_hash(bytes: &[u8]) -> Hex32 {
        merkle::leaf_hash(bytes)
    }
}

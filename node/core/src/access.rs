//! The access log's leaves: who looked at what, when, and with what outcome. NIST SP 800-53 AU-3 asks for the six things.

use serde::{Deserialize, Serialize};

use crate::canonical::{self, Hex32};
use crate::member::MemberId;
use crate::merkle;
use crate::record::{RecordId, VersionId};
use crate::spiffe::{SpiffeId, TrustDomain};
use crate::timestamp::Timestamp;

/// How an access ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was allowed, and what was asked was given or done.
    Allowed,
    /// It was refused.
    Denied,
    /// It was allowed and failed.
    Failed,
}

impl Outcome {
    /// As it stands in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// One record that an access touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Touched {
    /// Which record, entry, ballot or approval, by its id.
    pub resource: String,
    /// Which version, where it has versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<VersionId>,
    /// How much of it: `discover`, `read`, `read_sources`, `retract`, or nothing for the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<String>,
    /// The policies or hard rules that decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
}

impl Touched {
    /// A record without view or policy.
    pub fn record(record: RecordId, version: Option<VersionId>) -> Self {
        Self { resource: record.to_string(), version, view: None, because: Vec::new() }
    }

    /// Anything else that has an id.
    pub fn resource(id: impl Into<String>) -> Self {
        Self { resource: id.into(), version: None, view: None, because: Vec::new() }
    }
}

/// One access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRecord {
    /// When it was decided.
    pub at: Timestamp,
    /// Who: nothing for a stranger whose certificate was refused, and for the node itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<SpiffeId>,
    /// Whose person or node that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// From which address and port; a listener's own name for what begins here.
    pub from: String,
    /// What was asked: the RPC's name, `handshake`, or an action of the node itself.
    pub action: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was not allowed, or failed: a stable reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The records it touched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touched: Vec<Touched>,
    /// Ties the leaf to the node's own log lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// How many accesses alike this leaf stands for; 1 unless it is a connection's or coalesced.
    pub count: u64,
}

/// A leaf as it is stored: 32 random bytes, so that its hash reveals nothing, and the record's JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLeaf {
    /// Fresh random bytes.
    pub salt: Hex32,
    /// The record.
    pub record: Vec<u8>,
}

impl AccessLeaf {
    /// Seals a record.
    pub fn new(record: &AccessRecord, salt: Hex32) -> Self {
        Self { salt, record: canonical::to_vec(record) }
    }

    /// The leaf's hash: RFC 9162 over salt and record.
    pub fn hash(&self) -> Hex32 {
        let mut data = self.salt.0.to_vec();
        data.extend_from_slice(&self.record);
        merkle::leaf_hash(&data)
    }
}

/// The origin of a member's access log; a restored log is another incarnation.
pub fn log_origin(trust_domain: &TrustDomain, incarnation: u64) -> String {
    format!("{trust_domain}/access-log/{incarnation}")
}

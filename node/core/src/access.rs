//! The access log's leaves: who looked at what, when, and with what outcome. NIST SP 800-53 AU-3 asks for the six things.

mod attestation;
pub mod bundle;
mod loss;
pub mod reconcile;
mod segment;
pub mod witness;

use serde::{Deserialize, Serialize};

pub use self::attestation::{Attested, LogParty, LogRoster, Unattested};
pub use self::loss::{DeclaredLoss, LOST_RANGES_MAX, LostRange};
pub use self::segment::{ArchivedSegment, SEGMENT_ARCHIVED};

use crate::canonical::{self, Hex32, InvalidJson};
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

    /// Anything else that has an id. What is longer than [`FIELD_MAX_BYTES`] stands there by its beginning and its digest.
    pub fn resource(id: impl Into<String>) -> Self {
        Self { resource: bounded(id.into()), version: None, view: None, because: Vec::new() }
    }

    /// The same, with what was looked for in it.
    #[must_use]
    pub fn by(mut self, view: impl Into<String>) -> Self {
        self.view = Some(bounded(view.into()));
        self
    }
}

/// The longest that a caller's own words stand in a leaf, in bytes.
pub const FIELD_MAX_BYTES: usize = 256;
/// So much of what is longer is kept as it is.
const FIELD_KEPT_BYTES: usize = 160;

/// A caller's own words, so that no leaf grows with them.
fn bounded(text: String) -> String {
    if text.len() <= FIELD_MAX_BYTES {
        return text;
    }
    let end = (0..=FIELD_KEPT_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let digest = Hex32(crate::sha256(text.as_bytes()));
    format!("{}... ({} bytes, sha256 {digest})", text.get(..end).unwrap_or_default(), text.len())
}

/// The action of a page that left for a partner.
pub const PAGE_SENT: &str = "PeerService/Exchange page";
/// The action of a partner's page that was stored.
pub const PAGE_RECEIVED: &str = "receive page";
/// The action of a node whose access log could not be written for a time, and now can.
pub const LOG_WRITTEN_AGAIN: &str = "access log written again";

/// A page of an exchange, as both sides name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangedPage {
    /// The root that was signed over its items.
    pub root: Hex32,
    /// The number of its last item; the others' come before it without a gap.
    pub last_number: u64,
}

/// What is kept beside a leaf and never shown to the partner that the leaf is about. The leaf commits to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Annex {
    /// What decided, for each of [`AccessRecord::touched`].
    because: Vec<Vec<String>>,
}

/// One access. A record of a page commits to its policies and does not name them, so that the partner can be shown its leaf.
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
    /// The page that went out or came in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<ExchangedPage>,
    /// What was lost, where the leaf opens another incarnation of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Box<DeclaredLoss>>,
    /// Which leaves were moved to which file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<ArchivedSegment>,
    /// The digest of the leaf's annex. [`AccessLeaf`] sets it and takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annex: Option<Hex32>,
}

impl AccessRecord {
    /// An access of the node itself that succeeded; whoever makes one of another kind says so.
    pub fn new(at: Timestamp, from: impl Into<String>, action: impl Into<String>) -> Self {
        Self {
            at,
            who: None,
            member: None,
            from: from.into(),
            action: action.into(),
            outcome: Outcome::Allowed,
            reason: None,
            touched: Vec::new(),
            request_id: None,
            count: 1,
            page: None,
            loss: None,
            archived: None,
            annex: None,
        }
    }
}

/// A leaf as it is stored: 32 random bytes, so that its hash reveals nothing, the record's JSON, and what the record only commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLeaf {
    /// Fresh random bytes.
    pub salt: Hex32,
    /// The record.
    pub record: Vec<u8>,
    /// 32 random bytes and JSON, by the record's `annex`; empty where it commits to nothing, and where it is withheld.
    pub annex: Vec<u8>,
}

/// Why a leaf says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLeaf {
    /// The record is none.
    #[error("no access record: {0}")]
    Record(InvalidJson),
    /// The annex is not what the record commits to.
    #[error("the annex is not the one that the record commits to")]
    Annex,
}

impl AccessLeaf {
    /// Seals a record; `salts` are fresh random bytes, the second for the annex.
    pub fn new(record: &AccessRecord, salts: [Hex32; 2]) -> Self {
        let [salt, annex_salt] = salts;
        if record.page.is_none() || record.touched.iter().all(|touched| touched.because.is_empty()) {
            return Self { salt, record: canonical::to_vec(record), annex: Vec::new() };
        }
        let mut record = record.clone();
        let because = record.touched.iter_mut().map(|touched| std::mem::take(&mut touched.because)).collect();
        let mut annex = annex_salt.0.to_vec();
        annex.extend(canonical::to_vec(&Annex { because }));
        record.annex = Some(Hex32(crate::sha256(&annex)));
        Self { salt, record: canonical::to_vec(&record), annex }
    }

    /// What it says; with its policies, where the annex is at hand.
    ///
    /// # Errors
    /// It is no access record, or the annex is another's.
    pub fn read(&self) -> Result<AccessRecord, InvalidLeaf> {
        let mut record: AccessRecord = canonical::from_slice(&self.record).map_err(InvalidLeaf::Record)?;
        if self.annex.is_empty() {
            return Ok(record);
        }
        if record.annex != Some(Hex32(crate::sha256(&self.annex))) {
            return Err(InvalidLeaf::Annex);
        }
        let json = self.annex.get(32..).ok_or(InvalidLeaf::Annex)?;
        let Annex { because } = canonical::from_slice(json).map_err(|_| InvalidLeaf::Annex)?;
        if because.len() != record.touched.len() {
            return Err(InvalidLeaf::Annex);
        }
        for (touched, because) in record.touched.iter_mut().zip(because) {
            touched.because = because;
        }
        record.annex = None;
        Ok(record)
    }

    /// The leaf's hash: RFC 9162 over salt and record.
    pub fn hash(&self) -> Hex32 {
        merkle::leaf_hash_of(&[&self.salt.0, &self.record])
    }
}

/// The origin of a member's access log; a restored log is another incarnation.
pub fn log_origin(trust_domain: &TrustDomain, incarnation: u64) -> String {
    format!("{trust_domain}/access-log/{incarnation}")
}

/// Whose access log an origin is, and which incarnation; nothing where it is of another log.
pub fn parse_log_origin(origin: &str) -> Option<(TrustDomain, u64)> {
    let (trust_domain, incarnation) = origin.split_once("/access-log/")?;
    let parsed = (trust_domain.parse().ok()?, incarnation.parse().ok()?);
    // One spelling alone: neither a sign nor zeros in front.
    (parsed.1 > 0 && log_origin(&parsed.0, parsed.1) == origin).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> AccessRecord {
        let touched = Touched { because: vec!["for-de".into()], ..Touched::resource("FR-P-0000000000000000") };
        AccessRecord {
            page: Some(ExchangedPage { root: Hex32([7; 32]), last_number: 9 }),
            touched: vec![touched, Touched::resource("FR-P-0000000000000001")],
            ..AccessRecord::new(Timestamp::from_micros(1_000_000).unwrap(), "10.0.0.1:5", "PeerService/Exchange page")
        }
    }

    #[test]
    fn a_pages_policies_are_committed_to_and_can_be_withheld() {
        let leaf = AccessLeaf::new(&page(), [Hex32([1; 32]), Hex32([2; 32])]);
        assert_eq!(leaf.read().unwrap(), page());
        assert!(!String::from_utf8(leaf.record.clone()).unwrap().contains("for-de"));
        let withheld = AccessLeaf { annex: Vec::new(), ..leaf.clone() };
        assert_eq!(withheld.hash(), leaf.hash());
        assert!(withheld.read().unwrap().touched.iter().all(|touched| touched.because.is_empty()));
        let other = AccessLeaf::new(&page(), [Hex32([1; 32]), Hex32([3; 32])]);
        assert_eq!(AccessLeaf { annex: other.annex, ..leaf }.read(), Err(InvalidLeaf::Annex));
    }

    #[test]
    fn an_origin_is_read_as_it_is_written_and_in_no_other_way() {
        let domain: TrustDomain = "fr.comity.example".parse().unwrap();
        assert_eq!(parse_log_origin(&log_origin(&domain, 12)), Some((domain, 12)));
        for other in ["fr.comity.example/access-log/", "fr.comity.example/access-log/01", "x/access-log/+1", "x/public"]
        {
            assert_eq!(parse_log_origin(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_not_of_a_page_has_no_annex() {
        let record = AccessRecord { page: None, ..page() };
        let leaf = AccessLeaf::new(&record, [Hex32([1; 32]), Hex32([2; 32])]);
        assert!(leaf.annex.is_empty());
        assert_eq!(leaf.read().unwrap(), record);
    }

    #[test]
    fn a_callers_words_are_bounded_and_stay_one_record() {
        let hostile = "\u{1b}[2J\n".repeat(200_000);
        let touched = Touched::resource(hostile);
        assert!(
            touched.resource.len() < 2 * FIELD_MAX_BYTES && touched.resource.contains("sha256"),
            "{}",
            touched.resource
        );
        let record =
            AccessRecord { touched: vec![touched], ..AccessRecord::new(Timestamp::from_micros(0).unwrap(), "a", "b") };
        let leaf = AccessLeaf::new(&record, [Hex32([1; 32]), Hex32([2; 32])]);
        assert!(!leaf.record.iter().any(|byte| byte.is_ascii_control()));
        assert_eq!(leaf.read().unwrap(), record);
        assert_eq!(Touched::resource("é".repeat(1_000)).resource.chars().next(), Some('é'));
    }
}

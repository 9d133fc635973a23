//! The genesis: the members that found the federation, their keys and the rule by which they decide. Everything on the
//! list is proved from this one file; its SHA-256 is the federation's name.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::canonical::{self, Hex32};
use crate::dsse::PublicKey;
use crate::marking::Tier;
use crate::member::MemberId;
use crate::spiffe::TrustDomain;
use crate::timestamp::Timestamp;
use crate::violation::Violations;

/// One member or recipient, as the roster has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterMember {
    /// Who.
    pub member: MemberId,
    /// The trust domain of its people and nodes.
    pub trust_domain: TrustDomain,
    /// Its CA's certificates, PEM.
    pub roots_pem: Vec<String>,
    /// Signs its deciding commands.
    pub decision_key: PublicKey,
    /// Signs its node's deliveries, times, pages, receipts and checkpoints.
    pub node_key: PublicKey,
    /// Kept offline; can revoke the other two.
    pub recovery_key: PublicKey,
    /// Where its node listens for peers: `host:port`.
    pub endpoint: String,
    /// Its node's accreditation.
    pub ceiling: Tier,
    /// Whether it votes; recipients do not.
    pub voting: bool,
}

/// How a ballot is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// `yes` from at least this fraction of the voting members.
    Quorum(Fraction),
}

/// A fraction in (0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fraction {
    /// Above the line.
    pub numerator: u32,
    /// Below the line.
    pub denominator: u32,
}

impl Rule {
    /// How many `yes` of so many voters adopt.
    pub fn needed(&self, voters: usize) -> usize {
        let Self::Quorum(Fraction { numerator, denominator }) = *self;
        let voters = voters as u64;
        usize::try_from((voters * u64::from(numerator)).div_ceil(u64::from(denominator).max(1))).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Quorum(Fraction { numerator, denominator }) = *self;
        write!(f, "quorum({numerator}/{denominator})")
    }
}

/// A text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected quorum(N/D) with 0 < N/D <= 1, such as quorum(2/3)")]
pub struct InvalidRule;

impl std::str::FromStr for Rule {
    type Err = InvalidRule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text.strip_prefix("quorum(").and_then(|t| t.strip_suffix(')')).ok_or(InvalidRule)?;
        let (n, d) = inner.split_once('/').ok_or(InvalidRule)?;
        let number = |t: &str| t.trim().parse::<u32>().map_err(|_| InvalidRule);
        let fraction = Fraction { numerator: number(n)?, denominator: number(d)? };
        if fraction.is_valid() { Ok(Self::Quorum(fraction)) } else { Err(InvalidRule) }
    }
}

impl Fraction {
    fn is_valid(self) -> bool {
        self.numerator > 0 && self.numerator <= self.denominator && self.denominator <= 1_000
    }
}

/// The file as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisDocument {
    /// `comity-genesis/1`.
    pub format: String,
    /// What the coalition calls itself.
    pub name: String,
    /// When it was drawn up: where list time begins.
    pub created: Timestamp,
    /// The prefix of entry ids: `CW`.
    pub entry_prefix: String,
    /// How listings are decided.
    pub listing_rule: Rule,
    /// Who founds it.
    pub members: Vec<RosterMember>,
}

/// A genesis that has been checked, and the hash that names the federation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    document: GenesisDocument,
    federation: Hex32,
    members: BTreeMap<MemberId, RosterMember>,
}

impl Genesis {
    /// The format that this software writes and reads.
    pub const FORMAT: &'static str = "comity-genesis/1";
    /// The most members and recipients.
    pub const MAX_MEMBERS: usize = 200;
    /// The largest file.
    pub const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// Reads and checks a genesis file. Its exact bytes are what is hashed.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Violations> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(Violations::one("genesis", format!("{} bytes: at most {}", bytes.len(), Self::MAX_BYTES)));
        }
        let document: GenesisDocument = canonical::from_slice(bytes)?;
        check(&document)?;
        let members = document.members.iter().map(|m| (m.member, m.clone())).collect();
        Ok(Self { federation: Hex32(crate::sha256(bytes)), document, members })
    }

    /// The name of the federation: SHA-256 of the file.
    pub fn federation(&self) -> Hex32 {
        self.federation
    }

    /// The file as written.
    pub fn document(&self) -> &GenesisDocument {
        &self.document
    }

    /// Everybody, by code.
    pub fn members(&self) -> &BTreeMap<MemberId, RosterMember> {
        &self.members
    }

    /// One member or recipient.
    pub fn member(&self, member: MemberId) -> Option<&RosterMember> {
        self.members.get(&member)
    }

    /// Those who vote, by code.
    pub fn voters(&self) -> impl Iterator<Item = &RosterMember> {
        self.members.values().filter(|m| m.voting)
    }

    /// The name under which a member's node cosigns: its trust domain and `/node`.
    pub fn cosigner_name(member: &RosterMember) -> String {
        format!("{}/node", member.trust_domain)
    }

    /// The origin of the command log's checkpoints.
    pub fn command_log_origin(&self) -> String {
        format!("comity/{}/commands", self.federation)
    }

    /// The origin of the public log's checkpoints.
    pub fn public_log_origin(&self) -> String {
        format!("comity/{}/public", self.federation)
    }

    /// How many of the voting members must have cosigned before a position is agreed: ceil((n + f + 1) / 2) with
    /// f = floor((n - 1) / 3), so that two agreed positions always share an honest cosigner.
    pub fn cosigners_needed(voters: usize) -> usize {
        let f = voters.saturating_sub(1) / 3;
        (voters + f + 1).div_ceil(2)
    }
}

fn check(document: &GenesisDocument) -> Result<(), Violations> {
    let mut v = Violations::default();
    if document.format != Genesis::FORMAT {
        v.push("format", format!("`{}`: this software reads {}", document.format, Genesis::FORMAT));
    }
    crate::subject::check_text(&mut v, "name", &document.name, 200);
    let prefix = &document.entry_prefix;
    if !(1..=8).contains(&prefix.len()) || !prefix.bytes().all(|b| b.is_ascii_uppercase()) {
        v.push("entry_prefix", "expected 1 to 8 capitals, such as CW");
    }
    // Entry ids carry a year of four digits, cosignatures count their seconds from 1970.
    if !(1970..=9999).contains(&document.created.year()) {
        v.push("created", format!("{}: expected a year from 1970 to 9999", document.created));
    }
    let Rule::Quorum(fraction) = document.listing_rule;
    if !fraction.is_valid() {
        v.push("listing_rule.quorum", "expected 0 < numerator/denominator <= 1");
    }
    if !(1..=Genesis::MAX_MEMBERS).contains(&document.members.len()) {
        v.push("members", format!("{} members: expected 1 to {}", document.members.len(), Genesis::MAX_MEMBERS));
    }
    if !document.members.iter().any(|m| m.voting) {
        v.push("members", "nobody votes: at least one member must");
    }
    let (mut codes, mut domains, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for (i, member) in document.members.iter().enumerate() {
        let at = format!("members[{i}]");
        if !codes.insert(member.member) {
            v.push(format!("{at}.member"), format!("{} is there twice", member.member));
        }
        if !domains.insert(member.trust_domain.clone()) {
            v.push(format!("{at}.trust_domain"), format!("{} belongs to another member", member.trust_domain));
        }
        if member.roots_pem.is_empty() || member.roots_pem.len() > 8 {
            v.push(format!("{at}.roots_pem"), "expected 1 to 8 CA certificates");
        }
        for (name, key) in [
            ("decision_key", member.decision_key),
            ("node_key", member.node_key),
            ("recovery_key", member.recovery_key),
        ] {
            if let Some(other) = keys.insert(key.to_string(), format!("{at}.{name}")) {
                v.push(
                    format!("{at}.{name}"),
                    format!("the same key as {other}: each key has one purpose and one owner"),
                );
            }
        }
        if !is_endpoint(&member.endpoint) {
            v.push(format!("{at}.endpoint"), format!("`{}`: expected host:port", member.endpoint));
        }
    }
    v.into_result()
}

fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_name =
        |h: &str| !h.is_empty() && h.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    let address = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let is_host = address.map_or_else(|| is_name(host), |h| h.parse::<std::net::Ipv6Addr>().is_ok());
    // `parse` alone would take a sign as well.
    let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port != 0);
    text.len() <= 255 && is_host && is_port
}

#[cfg(test)]
#[path = "genesis_tests.rs"]
mod tests;

//! The genesis: the members that found the federation, their keys and the rule by which they decide. Everything on the
//! list is proved from this one file; its SHA-256 is the federation's name.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::canonical::{self, Hex32};
use crate::dsse::PublicKey;
use crate::marking::Tier;
use crate::member::MemberId;
use crate::rule::Rules;
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

impl RosterMember {
    /// The most CA certificates: two overlap during a rotation.
    const MAX_ROOTS: usize = 8;
    /// The longest CA certificate, in PEM.
    const ROOT_MAX_BYTES: usize = 8 * 1024;

    /// The three keys and their names as fields.
    pub fn keys(&self) -> [(&'static str, PublicKey); 3] {
        [("decision_key", self.decision_key), ("node_key", self.node_key), ("recovery_key", self.recovery_key)]
    }

    /// Notes what of the row is not as it must be, as far as the row alone can tell.
    pub(crate) fn check(&self, at: &str, v: &mut Violations) {
        check_roots(&self.roots_pem, at, v);
        check_endpoint(&self.endpoint, at, v);
        let keys: BTreeSet<[u8; 32]> = self.keys().iter().map(|(_, key)| *key.0.as_bytes()).collect();
        if keys.len() < 3 {
            v.push(format!("{at}.decision_key"), "the same key stands for two purposes: each key has one purpose");
        }
    }
}

/// Notes what of a row's CA certificates is not as it must be.
pub(crate) fn check_roots(roots_pem: &[String], at: &str, v: &mut Violations) {
    if roots_pem.is_empty() || roots_pem.len() > RosterMember::MAX_ROOTS {
        v.push(format!("{at}.roots_pem"), format!("expected 1 to {} CA certificates", RosterMember::MAX_ROOTS));
    }
    if roots_pem.iter().any(|pem| pem.len() > RosterMember::ROOT_MAX_BYTES) {
        let problem = format!("a certificate is longer than {} bytes", RosterMember::ROOT_MAX_BYTES);
        v.push(format!("{at}.roots_pem"), problem);
    }
}

/// Notes an endpoint that is no `host:port`.
pub(crate) fn check_endpoint(endpoint: &str, at: &str, v: &mut Violations) {
    if !is_endpoint(endpoint) {
        let shown: String = endpoint.chars().take(80).collect();
        v.push(format!("{at}.endpoint"), format!("`{shown}`: expected host:port"));
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
    /// How each kind of ballot is decided.
    pub rules: Rules,
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
    pub fn cosigner_name(trust_domain: &TrustDomain) -> String {
        format!("{trust_domain}/node")
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
    document.rules.check("rules", &mut v);
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
        check_roots(&member.roots_pem, &at, &mut v);
        check_endpoint(&member.endpoint, &at, &mut v);
        for (name, key) in member.keys() {
            if let Some(other) = keys.insert(key.to_string(), format!("{at}.{name}")) {
                v.push(
                    format!("{at}.{name}"),
                    format!("the same key as {other}: each key has one purpose and one owner"),
                );
            }
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

//! SPIFFE ids of nodes and people: `spiffe://fr.comity.example/operator/desk-7`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a certificate lets its holder be. One role to a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A member's node.
    Node,
    /// Drafts, shares, tables and votes, each subject to approval.
    Operator,
    /// The second pair of eyes.
    Approver,
    /// Writes the policy for each partner.
    Policy,
    /// Reads and proves the access log, nothing else.
    Auditor,
    /// Runs the node.
    Admin,
}

impl Role {
    /// Every role, in the order of the tables in the documentation.
    pub const ALL: [Self; 6] = [Self::Node, Self::Operator, Self::Approver, Self::Policy, Self::Auditor, Self::Admin];

    /// The path segment of the SPIFFE id.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Policy => "policy",
            Self::Auditor => "auditor",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a text is not a [`SpiffeId`], [`TrustDomain`] or [`Role`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpiffeId {
    /// Not `spiffe://…`.
    #[error("a SPIFFE id begins with spiffe://")]
    Scheme,
    /// The trust domain has another shape.
    #[error("trust domain: expected 1 to 100 of a-z, 0-9, `.`, `-`, `_`")]
    TrustDomain,
    /// The path is not `/role/name`.
    #[error("path: expected /ROLE/NAME, such as /operator/desk-7")]
    Path,
    /// The first segment is no role.
    #[error("role: expected node, operator, approver, policy, auditor or admin")]
    Role,
    /// The second segment has another shape.
    #[error("name: expected 1 to 64 of a-z, 0-9, `-`, `_`, `.`, beginning with a letter or digit")]
    Name,
}

impl FromStr for Role {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(InvalidSpiffeId::Role)
    }
}

impl Serialize for Role {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Role {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

/// The trust domain of one member: it has a CA of its own. SPIFFE-ID, section 2.1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=100).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidSpiffeId::TrustDomain) }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for TrustDomain {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TrustDomain {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

/// Who a certificate says its holder is: trust domain, role and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    role: Role,
    name: String,
}

impl SpiffeId {
    /// The longest name of a person or node.
    pub const NAME_MAX_CHARS: usize = 64;

    /// Puts an id together; the name is checked.
    pub fn new(trust_domain: TrustDomain, role: Role, name: &str) -> Result<Self, InvalidSpiffeId> {
        let fits = (1..=Self::NAME_MAX_CHARS).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b))
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !fits {
            return Err(InvalidSpiffeId::Name);
        }
        Ok(Self { trust_domain, role, name: name.to_owned() })
    }

    /// Whose CA vouches for it.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// What its holder may be.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The name within trust domain and role.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether both certificates belong to one person: a person keeps their name from role to role, so `operator/desk-7`
    /// and `approver/desk-7` are the same pair of eyes.
    pub fn is_same_person(&self, other: &Self) -> bool {
        self.trust_domain == other.trust_domain && self.name == other.name
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("spiffe://").ok_or(InvalidSpiffeId::Scheme)?;
        let (domain, path) = rest.split_once('/').ok_or(InvalidSpiffeId::Path)?;
        let (role, name) = path.split_once('/').ok_or(InvalidSpiffeId::Path)?;
        Self::new(domain.parse()?, role.parse()?, name)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/{}/{}", self.trust_domain, self.role, self.name)
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["spiffe://fr.comity.example/node/paris-1", "spiffe://fr.comity.example/operator/desk-7"] {
            assert_eq!(text.parse::<SpiffeId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_other_shapes() {
        for bad in [
            "https://fr.comity.example/node/a",
            "spiffe://fr.comity.example/node",
            "spiffe://fr.comity.example/node/",
            "spiffe://fr.comity.example/node/a/b",
            "spiffe://fr.comity.example/king/a",
            "spiffe://FR.comity.example/node/a",
            "spiffe:///node/a",
            "spiffe://fr.comity.example:443/node/a",
            "spiffe://u@fr.comity.example/node/a",
            "spiffe://fr.comity.example/node/a?x=1",
            "spiffe://fr.comity.example/node/..",
            "spiffe://fr.comity.example/node/%61",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_person_is_one_whatever_the_role() {
        let operator: SpiffeId = "spiffe://fr.comity.example/operator/desk-7".parse().unwrap();
        let approver: SpiffeId = "spiffe://fr.comity.example/approver/desk-7".parse().unwrap();
        let other: SpiffeId = "spiffe://de.comity.example/approver/desk-7".parse().unwrap();
        assert!(operator.is_same_person(&approver));
        assert!(!operator.is_same_person(&other));
    }
}

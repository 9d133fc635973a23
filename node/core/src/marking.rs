//! Markings: how secret a record is, and to whom it may go at all.
//!
//! A marking only ever restricts. [`Marking::combine`] is the join of the lattice: the result is at least as strict as
//! both, whatever is combined.

pub mod equivalence;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::member::MemberId;
use crate::violation::Violations;

/// How much harm disclosure does, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// For everybody.
    Public,
    /// For official use.
    Official,
    /// RESTRICTED and its national equivalents.
    Restricted,
    /// CONFIDENTIAL.
    Confidential,
    /// SECRET.
    Secret,
    /// TOP SECRET.
    TopSecret,
}

impl Tier {
    /// Every tier, lowest first.
    pub const ALL: [Self; 6] =
        [Self::Public, Self::Official, Self::Restricted, Self::Confidential, Self::Secret, Self::TopSecret];

    /// As it stands in documents and policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Official => "official",
            Self::Restricted => "restricted",
            Self::Confidential => "confidential",
            Self::Secret => "secret",
            Self::TopSecret => "top_secret",
        }
    }

    /// 0 for `public` to 5 for `top_secret`: what a policy compares.
    pub const fn level(self) -> u8 {
        self as u8
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no tier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected public, official, restricted, confidential, secret or top_secret")]
pub struct InvalidTier;

impl FromStr for Tier {
    type Err = InvalidTier;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|tier| tier.as_str() == text).ok_or(InvalidTier)
    }
}

/// A restriction on what a receiver may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caveat {
    /// No onward release without the originator's consent.
    Orcon,
}

impl Caveat {
    /// As it stands in documents and policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orcon => "orcon",
        }
    }
}

/// Whether the material may be used in proceedings, laxest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handling {
    /// May be used in proceedings.
    Free,
    /// With the originator's consent.
    WithConsent,
    /// Never in proceedings.
    Never,
}

impl Handling {
    /// As it stands in documents and policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::WithConsent => "with_consent",
            Self::Never => "never",
        }
    }
}

/// A group of people with a need to know: 1 to 32 of `A-Z`, `0-9`, `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Compartment(String);

impl Compartment {
    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text is no compartment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a compartment is 1 to 32 of A-Z, 0-9 and `-`")]
pub struct InvalidCompartment;

impl FromStr for Compartment {
    type Err = InvalidCompartment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidCompartment) }
    }
}

impl Serialize for Compartment {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Compartment {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::canonical::parse_str(d)
    }
}

/// What restricts a record. Every record has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marking {
    /// How secret.
    pub tier: Tier,
    /// What receivers must not do.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub caveats: BTreeSet<Caveat>,
    /// The parties it may go to at all. Empty: the originator alone.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub releasable_to: BTreeSet<MemberId>,
    /// Need to know, all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub compartments: BTreeSet<Compartment>,
    /// Use in proceedings. Silence means `with_consent`.
    #[serde(default = "Marking::default_handling")]
    pub handling: Handling,
    /// The wording on the originator's own document, kept as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub national: Option<String>,
}

impl Marking {
    /// The most compartments, and the most parties, of one marking.
    pub const MAX_ITEMS: usize = 64;
    /// The longest national wording.
    pub const NATIONAL_MAX_CHARS: usize = 200;

    fn default_handling() -> Handling {
        Handling::WithConsent
    }

    /// A marking of that tier for the originator alone.
    pub fn originator_only(tier: Tier) -> Self {
        Self {
            tier,
            caveats: BTreeSet::new(),
            releasable_to: BTreeSet::new(),
            compartments: BTreeSet::new(),
            handling: Handling::WithConsent,
            national: None,
        }
    }

    /// The least strict marking that is at least as strict as both: highest tier, all caveats and compartments, the parties
    /// that both name, the stricter handling. The national wording survives only where one marking alone has it or both agree.
    #[must_use]
    pub fn combine(&self, other: &Self) -> Self {
        let national = match (&self.national, &other.national) {
            (Some(a), Some(b)) if a != b => None,
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Self {
            tier: self.tier.max(other.tier),
            caveats: &self.caveats | &other.caveats,
            releasable_to: &self.releasable_to & &other.releasable_to,
            compartments: &self.compartments | &other.compartments,
            handling: self.handling.max(other.handling),
            national,
        }
    }

    /// Whether this marking protects at least as well as `other` in every respect.
    pub fn is_at_least(&self, other: &Self) -> bool {
        self.tier >= other.tier
            && self.caveats.is_superset(&other.caveats)
            && self.releasable_to.is_subset(&other.releasable_to)
            && self.compartments.is_superset(&other.compartments)
            && self.handling >= other.handling
    }

    /// Checks the bounds that types do not carry.
    pub fn check(&self, field: &str, violations: &mut Violations) {
        if self.releasable_to.len() > Self::MAX_ITEMS {
            violations.push(format!("{field}.releasable_to"), format!("more than {} parties", Self::MAX_ITEMS));
        }
        if self.compartments.len() > Self::MAX_ITEMS {
            violations.push(format!("{field}.compartments"), format!("more than {} compartments", Self::MAX_ITEMS));
        }
        if self.national.as_ref().is_some_and(|n| n.chars().count() > Self::NATIONAL_MAX_CHARS) {
            violations
                .push(format!("{field}.national"), format!("longer than {} characters", Self::NATIONAL_MAX_CHARS));
        }
    }
}

/// One line as it stands in banners: `CONFIDENTIAL//ORCON//TIGER//REL TO DE, GB`.
impl fmt::Display for Marking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tier.as_str().replace('_', " ").to_ascii_uppercase())?;
        for caveat in &self.caveats {
            write!(f, "//{}", caveat.as_str().to_ascii_uppercase())?;
        }
        for compartment in &self.compartments {
            write!(f, "//{}", compartment.as_str())?;
        }
        if !self.releasable_to.is_empty() {
            let parties: Vec<&str> = self.releasable_to.iter().map(MemberId::as_str).collect();
            write!(f, "//REL TO {}", parties.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marking() -> impl Strategy<Value = Marking> {
        let parties = ["FR", "DE", "CA", "AU"];
        (0..6_usize, any::<bool>(), proptest::sample::subsequence(parties.to_vec(), 0..4), 0..3_usize, 0..3_usize)
            .prop_map(|(tier, orcon, parties, compartments, handling)| Marking {
                tier: Tier::ALL[tier],
                caveats: orcon.then_some(Caveat::Orcon).into_iter().collect(),
                releasable_to: parties.iter().map(|p| p.parse().unwrap()).collect(),
                compartments: (0..compartments).map(|n| format!("C{n}").parse().unwrap()).collect(),
                handling: [Handling::Free, Handling::WithConsent, Handling::Never][handling],
                national: None,
            })
    }

    proptest! {
        #[test]
        fn combining_is_the_join(a in marking(), b in marking(), c in marking()) {
            let ab = a.combine(&b);
            prop_assert!(ab.is_at_least(&a) && ab.is_at_least(&b));
            prop_assert_eq!(&ab, &b.combine(&a));
            prop_assert_eq!(ab.combine(&c), a.combine(&b.combine(&c)));
            prop_assert_eq!(&a.combine(&a), &a);
            if c.is_at_least(&a) && c.is_at_least(&b) {
                prop_assert!(c.is_at_least(&ab), "the least upper bound");
            }
        }

        #[test]
        fn survives_json(a in marking()) {
            let bytes = crate::canonical::to_vec(&a);
            prop_assert_eq!(crate::canonical::from_slice::<Marking>(&bytes).unwrap(), a);
        }
    }

    #[test]
    fn a_banner_reads_as_officers_write_it() {
        let marking: Marking = crate::canonical::from_slice(
            br#"{"tier":"top_secret","caveats":["orcon"],"compartments":["TIGER"],"releasable_to":["DE","AU"]}"#,
        )
        .unwrap();
        assert_eq!(marking.to_string(), "TOP SECRET//ORCON//TIGER//REL TO AU, DE");
    }
}

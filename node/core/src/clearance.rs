//! What a member's own people may see: how far each is cleared, and which compartments they are in.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::marking::{Compartment, Marking, Tier};
use crate::spiffe::SpiffeId;
use crate::violation::Violations;

/// How far a person is cleared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clearance {
    /// Up to which tier, inclusive.
    pub tier: Tier,
    /// The compartments that the person is in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub compartments: BTreeSet<Compartment>,
}

impl Clearance {
    /// The first thing about a marking that this clearance does not cover; `tier` is what the record counts as.
    pub fn lacks(&self, tier: Tier, marking: &Marking) -> Option<Lacking> {
        if tier > self.tier {
            return Some(Lacking::Tier);
        }
        // Need to know means all of them, not any.
        marking.compartments.iter().find(|c| !self.compartments.contains(c)).map(|_| Lacking::Compartment)
    }
}

/// What a person's clearance does not cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// The record is above it.
    Tier,
    /// The record is in a compartment that the person is not in.
    Compartment,
}

/// The clearances of a member's people: one document, put into force by two persons like a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct People {
    /// Of everybody who is not named.
    pub default: Clearance,
    /// By the name in the certificate: `desk-7` of `spiffe://fr.comity.example/operator/desk-7`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub people: BTreeMap<String, Clearance>,
}

impl People {
    /// The most people of one document.
    pub const MAX_PEOPLE: usize = 2_000;
    /// The largest document, as JSON.
    pub const MAX_BYTES: usize = 512 * 1024;

    /// What holds before a document was put into force: the node's accreditation is everybody's clearance, and nobody is in a
    /// compartment.
    pub fn before_any(ceiling: Tier) -> Self {
        Self { default: Clearance { tier: ceiling, compartments: BTreeSet::new() }, people: BTreeMap::new() }
    }

    /// Reads and checks a JSON document.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Violations> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(Violations::one("document", format!("{} bytes: at most {}", bytes.len(), Self::MAX_BYTES)));
        }
        let people: Self = crate::canonical::from_slice(bytes)?;
        let mut violations = Violations::default();
        if people.people.len() > Self::MAX_PEOPLE {
            violations.push("people", format!("{} people: at most {}", people.people.len(), Self::MAX_PEOPLE));
        }
        for (name, clearance) in
            std::iter::once(("", &people.default)).chain(people.people.iter().map(|(n, c)| (n.as_str(), c)))
        {
            let field = if name.is_empty() { "default".to_owned() } else { format!("people.{name}") };
            if !name.is_empty() && format!("spiffe://a/operator/{name}").parse::<SpiffeId>().is_err() {
                violations.push(&field, "expected the name in a certificate, such as desk-7");
            }
            if clearance.compartments.len() > Marking::MAX_ITEMS {
                violations
                    .push(format!("{field}.compartments"), format!("more than {} compartments", Marking::MAX_ITEMS));
            }
        }
        violations.into_result()?;
        Ok(people)
    }

    /// How far a person is cleared, in whatever role.
    pub fn of(&self, person: &SpiffeId) -> &Clearance {
        self.people.get(person.name()).unwrap_or(&self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> People {
        People::from_json(
            br#"{"default":{"tier":"official"},"people":{"desk-7":{"tier":"secret","compartments":["TIGER","LION"]}}}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_person_needs_the_tier_and_every_compartment() {
        let of = |id: &str| people().of(&id.parse().unwrap()).clone();
        let (desk, other) =
            (of("spiffe://fr.comity.example/operator/desk-7"), of("spiffe://fr.comity.example/operator/desk-8"));
        assert_eq!(of("spiffe://fr.comity.example/approver/desk-7"), desk, "the same person in another role");
        let mut marking = Marking::originator_only(Tier::Secret);
        assert_eq!(
            (desk.lacks(Tier::Secret, &marking), other.lacks(Tier::Secret, &marking)),
            (None, Some(Lacking::Tier))
        );
        assert_eq!(desk.lacks(Tier::TopSecret, &marking), Some(Lacking::Tier));
        marking.compartments.insert("TIGER".parse().unwrap());
        assert_eq!(desk.lacks(Tier::Secret, &marking), None);
        marking.compartments.insert("WOLF".parse().unwrap());
        assert_eq!(desk.lacks(Tier::Secret, &marking), Some(Lacking::Compartment));
        assert_eq!(other.lacks(Tier::Official, &marking), Some(Lacking::Compartment));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, field) in [
            (r#"{"people":{}}"#, "default"),
            (r#"{"default":{"tier":"cosmic"}}"#, "tier"),
            (r#"{"default":{"tier":"secret","deputy":true}}"#, "deputy"),
            (r#"{"default":{"tier":"secret"},"people":{"Desk 7":{"tier":"secret"}}}"#, "people.Desk 7"),
        ] {
            let refused = People::from_json(text.as_bytes()).unwrap_err();
            assert!(refused.to_string().contains(field), "{refused}");
        }
    }
}

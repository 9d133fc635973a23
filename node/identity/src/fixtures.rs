//! Authorities and instants for the unit tests of this crate.

use comity_core::Timestamp;

use crate::pki::{AUTHORITY_VALID_DAYS, Authority};

/// The instant at which the tests take place.
pub(crate) fn now() -> Timestamp {
    "2026-11-23T09:00:00Z".parse().unwrap()
}

/// A new authority of a member.
pub(crate) fn authority(member: &str, trust_domain: &str) -> Authority {
    Authority::create(member.parse().unwrap(), &trust_domain.parse().unwrap(), now(), AUTHORITY_VALID_DAYS).unwrap()
}

//! The domain of comity: members, markings, subjects, the list and its commands, and the formats that are signed.
//!
//! Pure: no async, clock, randomness, files, sockets or prost. Time, ids and salts arrive as arguments, so that two
//! nodes which are given the same input reach the same result (`clippy.toml` beside this crate bans the rest).

pub mod access;
pub mod anomaly;
pub mod calendar;
pub mod canonical;
pub mod checkpoint;
pub mod clearance;
pub mod document;
pub mod dsse;
pub mod edtf;
pub mod export;
pub mod fault;
pub mod genesis;
pub mod list;
pub mod marking;
pub mod member;
pub mod merkle;
pub mod proposal;
pub mod recall;
pub mod record;
pub mod release;
pub mod roster;
pub mod rule;
pub mod spiffe;
pub mod subject;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod timestamp;
pub mod view;
pub mod violation;

#[cfg(test)]
mod hostile_tests;

pub use dsse::{Envelope, KeyId};
pub use marking::{Marking, Tier};
pub use member::MemberId;
pub use record::{RecordId, RecordKind, VersionId};
pub use spiffe::{Role, SpiffeId, TrustDomain};
pub use timestamp::Timestamp;
pub use violation::{FieldViolation, Violations};

/// SHA-256 of one byte string.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).into()
}

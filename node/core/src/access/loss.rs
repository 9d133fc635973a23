//! A log that was restored: what it lost, said in its own first leaf since.

use serde::{Deserialize, Serialize};

use crate::canonical::Hex32;
use crate::spiffe::SpiffeId;

/// The most ranges of one declaration: each witness may have seen another head.
pub const LOST_RANGES_MAX: usize = 256;

/// Leaves that were signed over and are not there any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LostRange {
    /// The origin under which they were signed.
    pub origin: String,
    /// The first leaf that is lost; what was before it, is kept.
    pub first: u64,
    /// How many leaves the log had come to.
    pub end: u64,
    /// The root that was signed over them.
    pub root: Hex32,
}

/// The declaration that opens another incarnation of a log, by two people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredLoss {
    /// The incarnation that the leaf opens.
    pub incarnation: u64,
    /// What is lost, for each head that a witness knew.
    pub lost: Vec<LostRange>,
    /// Who declared it.
    pub declared_by: SpiffeId,
    /// Who approved it.
    pub approved_by: SpiffeId,
    /// Why, in their words.
    pub reason: String,
}

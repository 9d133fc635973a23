//! Leaves that were moved into a file: the log says so itself.

use serde::{Deserialize, Serialize};

use crate::canonical::Hex32;

/// The action of the leaf that names an archive.
pub const SEGMENT_ARCHIVED: &str = "archive segment";

/// Leaves that lie in a file, which is a bundle that proves them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchivedSegment {
    /// The first leaf.
    pub first: u64,
    /// The leaf after the last.
    pub end: u64,
    /// The file's name, without its folder.
    pub file: String,
    /// The SHA-256 of the whole file.
    pub digest: Hex32,
}

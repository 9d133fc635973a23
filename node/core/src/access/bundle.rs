//! A part of an access log that proves itself: `comity audit export` writes it, anybody with the roster verifies it offline.
//!
//! `docs/access-bundle.md` is the format, to the byte, for whoever writes another verifier. Here nothing is read or written: a writer
//! is asked for pieces, [`BundleVerifier`] is pushed whatever was read. Neither needs memory that grows with the bundle.

mod header;
mod verify;
mod write;

#[cfg(test)]
mod independent_tests;
#[cfg(test)]
mod tamper_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vector_tests;

pub use self::header::{Header, OlderHead, Shape};
pub use self::verify::{BundleVerifier, LeafBytes, Proven};
pub use self::write::{hashes_after_run, hashes_before, leaf_block, run_end, whole};
use crate::canonical::Hex32;
use crate::checkpoint::InvalidCheckpoint;

/// The format that this software writes and reads: the first line.
pub const FORMAT: &str = "comity/access-bundle/v1";
/// How many leaves lie between two places where the leaves of a range are held against the signed root.
pub const RUN_LEAVES: u64 = 1_024;
/// The longest header, in bytes.
pub const HEADER_MAX_BYTES: usize = 16 * 1024;
/// The longest checkpoint with its signatures, in bytes.
pub const NOTE_MAX_BYTES: usize = 64 * 1024;
/// The longest record and annex together, in bytes.
pub const RECORD_MAX_BYTES: usize = 256 * 1024;
/// The most older heads that a bundle carries proofs for.
pub const OLDER_MAX: usize = 16;
/// The longest log: what an integer of I-JSON can count.
pub const SIZE_MAX: u64 = crate::canonical::MAX_INTEGER;

/// Why a bundle does not prove what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBundle {
    /// Another format, or none.
    #[error("not an access bundle: the first line is not {FORMAT}")]
    Format,
    /// A line of the header is not as it must be.
    #[error("header, line {line}: expected {expected}")]
    Header {
        /// Which, from 1.
        line: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// The checkpoint is none.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] InvalidCheckpoint),
    /// The checkpoint covers fewer leaves than the bundle holds, or more than any log has.
    #[error("checkpoint: a log of {size} leaves does not hold leaves {first} to {last}")]
    Size {
        /// How many the checkpoint covers.
        size: u64,
        /// The first that the header names.
        first: u64,
        /// The last that it names.
        last: u64,
    },
    /// The bundle ends too soon.
    #[error("CUT SHORT: the bundle ends {}", match .leaf { Some(leaf) => format!("where leaf {leaf} or its proof should be"), None => "within its header".to_owned() })]
    Truncated {
        /// Which leaf should follow; none where not even the header is whole.
        leaf: Option<u64>,
    },
    /// Something comes after the end.
    #[error("something follows after the last leaf, {last}: expected the end of the file")]
    Trailing {
        /// The last leaf that the header names.
        last: u64,
    },
    /// A length is beyond all bounds.
    #[error(
        "leaf {leaf}: its length says {bytes} bytes, expected 32 of salt and at most {RECORD_MAX_BYTES} of record and annex"
    )]
    Length {
        /// Which leaf.
        leaf: u64,
        /// What the length says.
        bytes: u64,
    },
    /// A leaf does not come where it should.
    #[error("REMOVAL: leaf {expected} is missing: leaf {found} comes in its place")]
    Missing {
        /// Which should be there.
        expected: u64,
        /// Which is.
        found: u64,
    },
    /// A selected leaf comes out of order, twice, or from outside of what was selected from.
    #[error("leaf {found} does not come after {after}, or is not one of those that the header names")]
    Order {
        /// The one before it, or the first that may come.
        after: u64,
        /// Which comes.
        found: u64,
    },
    /// A leaf is not what its hash says.
    #[error("EDIT: leaf {leaf} was changed: it gives hash {found}, beside it stands {expected}")]
    Edited {
        /// Which.
        leaf: u64,
        /// The hash of what is there.
        found: Hex32,
        /// The hash that stands there.
        expected: Hex32,
    },
    /// Leaves and the hashes beside them agree, and are not those that were signed.
    #[error(
        "EDIT: one or more of the leaves {first} to {last} were changed, and their hashes with them: they are not those that the checkpoint covers"
    )]
    EditedAmong {
        /// Not before this one.
        first: u64,
        /// Nor after this one.
        last: u64,
    },
    /// A selected leaf is not in the log.
    #[error("EDIT: leaf {leaf} is not leaf {leaf} of the log that was signed: its proof of inclusion does not hold")]
    NotIncluded {
        /// Which.
        leaf: u64,
    },
    /// What stands beside a leaf is not what it commits to.
    #[error("EDIT: leaf {leaf}: its annex is not the one that the record commits to")]
    Annex {
        /// Which.
        leaf: u64,
    },
    /// A leaf of a bundle with annexes lacks its own, or one without has one.
    #[error("leaf {leaf}: {}", if *.has { "it has an annex that its record does not commit to, or that the header says is withheld" } else { "REMOVAL: its annex is missing, and the header says that annexes are in the bundle" })]
    AnnexPresence {
        /// Which.
        leaf: u64,
        /// Whether there is one.
        has: bool,
    },
    /// A leaf that must be read is no access record.
    #[error("leaf {leaf}: {problem}")]
    Record {
        /// Which.
        leaf: u64,
        /// Why it cannot be read.
        problem: String,
    },
    /// A proof of an older head does not hold.
    #[error(
        "the log that was signed does not continue the one of {size} leaves that the header names: the proof does not hold"
    )]
    Older {
        /// The older size.
        size: u64,
    },
}

impl InvalidBundle {
    /// The leaves that it is about, the first and the last, as narrowly as can be told; nothing where it is about none.
    pub fn leaves(&self) -> Option<(u64, u64)> {
        match *self {
            Self::Truncated { leaf } => leaf.map(|leaf| (leaf, leaf)),
            Self::EditedAmong { first, last } => Some((first, last)),
            Self::Missing { expected: leaf, .. }
            | Self::Order { found: leaf, .. }
            | Self::Length { leaf, .. }
            | Self::Edited { leaf, .. }
            | Self::NotIncluded { leaf }
            | Self::Annex { leaf }
            | Self::AnnexPresence { leaf, .. }
            | Self::Record { leaf, .. } => Some((leaf, leaf)),
            Self::Format
            | Self::Header { .. }
            | Self::Checkpoint(_)
            | Self::Size { .. }
            | Self::Trailing { .. }
            | Self::Older { .. } => None,
        }
    }
}

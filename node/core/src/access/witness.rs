//! What a member does with the head of another's access log: it cosigns what continues the last one that it saw, and nothing else
//! (c2sp.org/tlog-witness). Of the leaves it learns nothing.

use crate::canonical::Hex32;
use crate::checkpoint::Checkpoint;
use crate::merkle;
use crate::spiffe::TrustDomain;

use super::{AccessLeaf, parse_log_origin};

/// How many of the other voting members must have cosigned a head of an access log before it counts as witnessed: more than half. Half
/// of them, rounded up, are then enough to ask what the log had come to: one of them knows.
pub const fn witnesses_needed(others: usize) -> usize {
    if others == 0 { 0 } else { others / 2 + 1 }
}

/// Of how many of the others a node must hear at its start what they last saw of its log.
pub const fn answers_needed(others: usize) -> usize {
    others.div_ceil(2)
}

/// The incarnation in the origin of a member's access log; nothing where it is another log's origin.
pub fn incarnation_of(origin: &str, trust_domain: &TrustDomain) -> Option<u64> {
    parse_log_origin(origin).filter(|(domain, _)| domain == trust_domain).map(|(_, incarnation)| incarnation)
}

/// The leaf that opened an incarnation, and the proof that it is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Its number.
    pub n: u64,
    /// The leaf, whole.
    pub leaf: AccessLeaf,
    /// RFC 9162, section 2.1.3, for the size of the head that is offered.
    pub inclusion: Vec<Hex32>,
}

/// A head that a log offers for cosigning. That the log signed it was checked before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The head.
    pub head: Checkpoint,
    /// Its incarnation.
    pub incarnation: u64,
    /// The size that the log believes this witness to have seen last.
    pub old_size: u64,
    /// RFC 9162, section 2.1.4, from there.
    pub consistency: Vec<Hex32>,
    /// How the incarnation began, unless it is the first.
    pub opening: Option<Opening>,
}

/// The last head of a log that a witness cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The head.
    pub head: Checkpoint,
    /// Its incarnation.
    pub incarnation: u64,
}

/// Why a head is not cosigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwitnessed {
    /// The log takes this witness to be elsewhere: it is told where it is.
    #[error("this witness saw another size last")]
    OtherSize,
    /// The log was longer, or of a later incarnation, when it was seen last.
    #[error("the log went back behind what this witness saw")]
    WentBack,
    /// Another root at the size that was cosigned.
    #[error("another root at a size that this witness cosigned")]
    OtherRoot,
    /// It does not continue what was cosigned.
    #[error("the log does not continue what this witness cosigned")]
    NotContinued,
    /// An incarnation that no leaf of the log opens, or whose declaration leaves out what this witness saw.
    #[error("an incarnation whose declared loss does not cover what this witness saw")]
    NotDeclared,
}

impl Unwitnessed {
    /// Whether both heads together prove that the log was rewritten: they are kept.
    pub const fn is_evidence(self) -> bool {
        matches!(self, Self::OtherRoot | Self::NotContinued | Self::NotDeclared)
    }

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtherSize => "other_size",
            Self::WentBack => "went_back",
            Self::OtherRoot => "other_root",
            Self::NotContinued => "not_continued",
            Self::NotDeclared => "not_declared",
        }
    }
}

impl Offered {
    /// Whether a witness that last saw `known` may cosign.
    ///
    /// # Errors
    /// Why not. INVARIANT: of one incarnation nothing is cosigned that does not continue what was cosigned before.
    pub fn judge(&self, known: Option<&Known>) -> Result<(), Unwitnessed> {
        let Some(known) = known else {
            return if self.incarnation == 1 { Ok(()) } else { self.opening().map(drop) };
        };
        let (old, new) = (&known.head, &self.head);
        if self.incarnation < known.incarnation {
            return Err(Unwitnessed::WentBack);
        }
        if self.incarnation > known.incarnation {
            let loss = self.opening()?;
            let names =
                |lost: &super::LostRange| lost.end > old.size || (lost.end == old.size && lost.root == old.root);
            let covers = loss.lost.iter().any(|lost| lost.origin == old.origin && names(lost));
            let continues = || self.old_size == old.size && self.continues(old);
            return if covers || continues() { Ok(()) } else { Err(Unwitnessed::NotDeclared) };
        }
        if new.size < old.size {
            return Err(Unwitnessed::WentBack);
        }
        if new.size == old.size {
            return if new.root == old.root { Ok(()) } else { Err(Unwitnessed::OtherRoot) };
        }
        if self.old_size != old.size {
            return Err(Unwitnessed::OtherSize);
        }
        if self.continues(old) { Ok(()) } else { Err(Unwitnessed::NotContinued) }
    }

    fn continues(&self, old: &Checkpoint) -> bool {
        old.size <= self.head.size
            && merkle::check_consistency(&self.consistency, self.head.size, self.head.root, old.size, old.root)
    }

    /// What the incarnation's first leaf declares.
    fn opening(&self) -> Result<Box<super::DeclaredLoss>, Unwitnessed> {
        let opening = self.opening.as_ref().ok_or(Unwitnessed::NotDeclared)?;
        let hash = opening.leaf.hash();
        if !merkle::check_inclusion(&opening.inclusion, self.head.size, self.head.root, opening.n, hash) {
            return Err(Unwitnessed::NotDeclared);
        }
        let loss = opening.leaf.read().ok().and_then(|record| record.loss).ok_or(Unwitnessed::NotDeclared)?;
        // What is said to be kept ends where the incarnation begins.
        let fits = loss.incarnation == self.incarnation && loss.lost.iter().all(|lost| lost.first <= opening.n);
        if fits { Ok(loss) } else { Err(Unwitnessed::NotDeclared) }
    }
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;

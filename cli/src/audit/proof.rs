//! The proof itself: leaves in, one verdict out. No node, no files.

use std::collections::BTreeMap;

use comity_core::access::AccessLeaf;
use comity_core::canonical::Hex32;
use comity_core::checkpoint::Checkpoint;
use comity_core::merkle::Frontier;

/// What a record has that names an archive.
const ARCHIVED_FIELD: &[u8] = b"\"archived\":";

/// A checkpoint seen before, which the log must continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Older {
    /// Where it comes from, for the verdict.
    pub(crate) source: String,
    /// What it says.
    pub(crate) checkpoint: Checkpoint,
}

/// What was done to the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Tampering {
    /// It is shorter than it was.
    #[error("REMOVAL: the log had {had} leaves by {source_name}; the node now signs {has}")]
    RolledBack {
        /// The older checkpoint's size.
        had: u64,
        /// Where that comes from.
        source_name: String,
        /// The new checkpoint's size.
        has: u64,
    },
    /// Leaves are missing.
    #[error("REMOVAL: leaf {expected} is missing{}; the signed checkpoint covers {size} leaves", found.map(|f| format!(" (leaf {f} comes in its place)")).unwrap_or_default())]
    Missing {
        /// The first leaf that is not there.
        expected: u64,
        /// What the node sent in its place, if anything.
        found: Option<u64>,
        /// How many leaves were signed.
        size: u64,
    },
    /// Leaves are said to be archived, and the log does not say so.
    #[error("REMOVAL: leaves {first} to {last} are withheld: no leaf of the log says that they were archived")]
    Withheld {
        /// The first of them.
        first: u64,
        /// The last.
        last: u64,
    },
    /// Leaves do not have the hashes that were signed.
    #[error(
        "EDIT: leaves {first} to {last} were changed after they were signed: they give root {found}, the signed checkpoint over {size} leaves says {signed}"
    )]
    Edited {
        /// The edit is not before this leaf.
        first: u64,
        /// Nor after this one.
        last: u64,
        /// How many leaves were signed.
        size: u64,
        /// The root that the leaves give.
        found: Hex32,
        /// The root that was signed.
        signed: Hex32,
    },
    /// The log is consistent and signed, and is another log than before.
    #[error(
        "REWRITE: the log is signed anew and does not continue {source_name}: its first {size} leaves give root {found}, that checkpoint says {expected}"
    )]
    Rewritten {
        /// Where the older checkpoint comes from.
        source_name: String,
        /// Its size.
        size: u64,
        /// The root that the leaves give at that size.
        found: Hex32,
        /// The root that was signed then.
        expected: Hex32,
    },
}

/// Recomputes a log leaf by leaf, in memory that does not grow with it.
#[derive(Debug)]
pub(crate) struct LogProof {
    signed: Checkpoint,
    /// By size, smallest first, each with the root found at that size.
    older: Vec<(Older, Option<Hex32>)>,
    frontier: Frontier,
    /// How many leaves, from the first on, were taken by their hashes alone.
    archived: u64,
    /// Which leaves were archived, by what leaves of the log say: the first, and the one after the last.
    segments: BTreeMap<u64, u64>,
}

impl LogProof {
    /// Begins. A log that got shorter is told at once.
    pub(crate) fn new(signed: Checkpoint, mut older: Vec<Older>) -> Result<Self, Tampering> {
        older.sort_by_key(|o| o.checkpoint.size);
        if let Some(longest) = older.last().filter(|o| o.checkpoint.size > signed.size) {
            let (had, has) = (longest.checkpoint.size, signed.size);
            return Err(Tampering::RolledBack { had, source_name: longest.source.clone(), has });
        }
        let mut proof = Self {
            signed,
            older: older.into_iter().map(|o| (o, None)).collect(),
            frontier: Frontier::default(),
            archived: 0,
            segments: BTreeMap::new(),
        };
        proof.note_roots();
        Ok(proof)
    }

    /// The leaf wanted next; nothing once the checkpoint is covered.
    pub(crate) fn wanted(&self) -> Option<u64> {
        (self.frontier.size() < self.signed.size).then(|| self.frontier.size())
    }

    /// Takes the next leaf.
    pub(crate) fn push(&mut self, number: u64, leaf: &AccessLeaf) -> Result<(), Tampering> {
        let (expected, size) = (self.frontier.size(), self.signed.size);
        if number != expected {
            return Err(Tampering::Missing { expected, found: Some(number), size });
        }
        self.frontier.append(leaf.hash());
        self.note_roots();
        // Few leaves name archives: the others are not read.
        if leaf.record.windows(ARCHIVED_FIELD.len()).any(|part| part == ARCHIVED_FIELD)
            && let Ok(Some(segment)) = leaf.read().map(|record| record.archived)
        {
            self.segments.insert(segment.first, segment.end);
        }
        Ok(())
    }

    /// Takes the next leaf by its hash alone: it lies in an archive.
    pub(crate) fn push_archived(&mut self, number: u64, hash: Hex32) -> Result<(), Tampering> {
        let (expected, size) = (self.frontier.size(), self.signed.size);
        if number != expected {
            return Err(Tampering::Missing { expected, found: Some(number), size });
        }
        // What is archived is what the log begins with.
        if number != self.archived {
            return Err(Tampering::Withheld { first: number, last: number });
        }
        self.archived += 1;
        self.frontier.append(hash);
        self.note_roots();
        Ok(())
    }

    /// How many leaves were taken by their hashes alone.
    pub(crate) fn archived(&self) -> u64 {
        self.archived
    }

    fn note_roots(&mut self) {
        let size = self.frontier.size();
        if self.older.iter().any(|(o, found)| found.is_none() && o.checkpoint.size == size) {
            let root = self.frontier.root();
            for (_, found) in self.older.iter_mut().filter(|(o, _)| o.checkpoint.size == size) {
                *found = Some(root);
            }
        }
    }

    /// INVARIANT: a leaf is known by its hash alone only where the log says that it was archived.
    fn expect_archived(&self) -> Result<(), Tampering> {
        let mut said = 0;
        while said < self.archived {
            match self.segments.get(&said) {
                Some(end) if *end > said => said = *end,
                _ => return Err(Tampering::Withheld { first: said, last: self.archived - 1 }),
            }
        }
        Ok(())
    }

    /// The verdict.
    pub(crate) fn finish(self) -> Result<(), Tampering> {
        let size = self.signed.size;
        if let Some(expected) = self.wanted() {
            return Err(Tampering::Missing { expected, found: None, size });
        }
        self.expect_archived()?;
        let found = self.frontier.root();
        let holds = |(older, found): &(Older, Option<Hex32>)| *found == Some(older.checkpoint.root);
        if found == self.signed.root {
            // INVARIANT: every older size was passed on the way, since none is above the signed one.
            return match self.older.into_iter().find(|o| !holds(o)) {
                None => Ok(()),
                Some((older, found)) => Err(Tampering::Rewritten {
                    source_name: older.source,
                    size: older.checkpoint.size,
                    found: found.unwrap_or(older.checkpoint.root),
                    expected: older.checkpoint.root,
                }),
            };
        }
        // Older checkpoints narrow down where the edit is: after the largest that still holds, before the first that does not.
        let first = self.older.iter().filter(|o| holds(o)).map(|(o, _)| o.checkpoint.size).max().unwrap_or(0);
        let end = self.older.iter().filter(|o| !holds(o)).map(|(o, _)| o.checkpoint.size).min().unwrap_or(size);
        let last = end.saturating_sub(1).max(first);
        Err(Tampering::Edited { first, last, size, found, signed: self.signed.root })
    }
}

#[cfg(test)]
mod tests {
    use comity_core::access::{AccessRecord, ArchivedSegment, SEGMENT_ARCHIVED};

    use super::*;

    fn leaf(n: u64) -> AccessLeaf {
        AccessLeaf { salt: Hex32([n as u8; 32]), record: format!("record {n}").into_bytes(), annex: Vec::new() }
    }

    fn checkpoint(leaves: &[AccessLeaf]) -> Checkpoint {
        let root = comity_core::merkle::root_of(leaves.iter().map(AccessLeaf::hash));
        Checkpoint { origin: "fr.comity.example/access-log/1".into(), size: leaves.len() as u64, root }
    }

    fn older(leaves: &[AccessLeaf]) -> Older {
        Older { source: "monday".into(), checkpoint: checkpoint(leaves) }
    }

    fn prove(signed: Checkpoint, older: Vec<Older>, leaves: &[AccessLeaf]) -> Result<(), Tampering> {
        let mut proof = LogProof::new(signed, older)?;
        for (n, leaf) in (0..).zip(leaves) {
            assert_eq!(proof.wanted(), Some(n));
            proof.push(n, leaf)?;
        }
        proof.finish()
    }

    #[test]
    fn an_honest_log_is_proven_against_every_checkpoint_of_its_past() {
        let log: Vec<AccessLeaf> = (0..20).map(leaf).collect();
        for size in 0..=20 {
            prove(checkpoint(&log), vec![older(&log[..size]), older(&log[..7])], &log).unwrap();
        }
        prove(checkpoint(&[]), vec![], &[]).unwrap();
    }

    #[test]
    fn an_edit_is_found_and_narrowed_down() {
        let log: Vec<AccessLeaf> = (0..20).map(leaf).collect();
        let mut edited = log.clone();
        edited[12].record = b"nobody looked".to_vec();
        let found = prove(checkpoint(&log), vec![older(&log[..10]), older(&log[..15])], &edited);
        assert!(matches!(found, Err(Tampering::Edited { first: 10, last: 14, .. })), "{found:?}");
        let found = prove(checkpoint(&log), vec![], &edited);
        assert!(matches!(found, Err(Tampering::Edited { first: 0, last: 19, .. })), "{found:?}");
        let mut resalted = log.clone();
        resalted[0].salt = Hex32([99; 32]);
        assert!(matches!(prove(checkpoint(&log), vec![], &resalted), Err(Tampering::Edited { .. })));
    }

    #[test]
    fn a_removal_is_found() {
        let log: Vec<AccessLeaf> = (0..20).map(leaf).collect();
        let short = prove(checkpoint(&log), vec![], &log[..19]);
        assert!(matches!(short, Err(Tampering::Missing { expected: 19, found: None, .. })), "{short:?}");
        let mut proof = LogProof::new(checkpoint(&log), vec![]).unwrap();
        proof.push(0, &log[0]).unwrap();
        assert!(matches!(proof.push(2, &log[2]), Err(Tampering::Missing { expected: 1, found: Some(2), .. })));
        let rolled_back = prove(checkpoint(&log[..10]), vec![older(&log)], &log[..10]);
        assert!(matches!(rolled_back, Err(Tampering::RolledBack { had: 20, has: 10, .. })), "{rolled_back:?}");
    }

    #[test]
    fn a_leaf_is_known_by_its_hash_alone_only_where_the_log_says_so() {
        let names = |first: u64, end: u64| {
            let segment = ArchivedSegment { first, end, file: "x.bundle".into(), digest: Hex32([1; 32]) };
            let at = comity_core::Timestamp::from_micros(0).unwrap();
            let record =
                AccessRecord { archived: Some(segment), ..AccessRecord::new(at, "this node", SEGMENT_ARCHIVED) };
            AccessLeaf::new(&record, [Hex32([1; 32]), Hex32([2; 32])])
        };
        let mut log: Vec<AccessLeaf> = (0..20).map(leaf).collect();
        log.extend([names(0, 4), names(4, 6)]);
        let taken = |hidden: &[u64]| {
            let mut proof = LogProof::new(checkpoint(&log), vec![]).unwrap();
            for (n, leaf) in (0..).zip(&log) {
                match hidden.contains(&n) {
                    true => proof.push_archived(n, leaf.hash())?,
                    false => proof.push(n, leaf)?,
                }
            }
            proof.finish()
        };
        taken(&[]).unwrap();
        taken(&[0, 1, 2, 3, 4, 5]).unwrap();
        assert_eq!(taken(&[0, 1, 2, 3, 4, 5, 6]), Err(Tampering::Withheld { first: 6, last: 6 }));
        assert_eq!(taken(&[9]), Err(Tampering::Withheld { first: 9, last: 9 }));
        // Nor where the leaf that says so is itself withheld.
        assert!(taken(&(0..=20).collect::<Vec<_>>()).is_err());
    }

    #[test]
    fn a_rewrite_is_found_although_it_is_signed_anew() {
        let log: Vec<AccessLeaf> = (0..20).map(leaf).collect();
        let mut rewritten = log.clone();
        rewritten[3].record = b"nobody looked".to_vec();
        let found = prove(checkpoint(&rewritten), vec![older(&log[..10])], &rewritten);
        assert!(matches!(found, Err(Tampering::Rewritten { size: 10, .. })), "{found:?}");
        let same_size = prove(checkpoint(&rewritten), vec![older(&log)], &rewritten);
        assert!(matches!(same_size, Err(Tampering::Rewritten { size: 20, .. })), "{same_size:?}");
        prove(checkpoint(&rewritten), vec![], &rewritten).unwrap();
    }
}

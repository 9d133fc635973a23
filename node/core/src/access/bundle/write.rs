//! The pieces of a bundle's body, for whoever has the leaves and the stored hashes.

use crate::access::AccessLeaf;
use crate::access::bundle::{Header, RUN_LEAVES, Shape};
use crate::canonical::Hex32;
use crate::merkle::{MerkleLog, Subtree};

/// The subtrees whose hashes come before the first leaf: those left of a range. None for selected leaves.
pub fn hashes_before(shape: Shape, first: u64) -> Vec<Subtree> {
    match shape {
        Shape::Range => Subtree::covering(0, first),
        Shape::Selected => Vec::new(),
    }
}

/// Where the run of leaves ends that a leaf of a range is in.
pub fn run_end(leaf: u64, end: u64) -> u64 {
    (leaf / RUN_LEAVES + 1).saturating_mul(RUN_LEAVES).min(end)
}

/// The subtrees whose hashes come after the run that ends here: all that the log has right of it.
pub fn hashes_after_run(run_end: u64, size: u64) -> Vec<Subtree> {
    Subtree::covering(run_end, size)
}

/// Writes one leaf. The path to the root follows it where it is a selected one.
pub fn leaf_block(number: u64, leaf: &AccessLeaf, with_annex: bool, out: &mut Vec<u8>) {
    let annex: &[u8] = if with_annex { &leaf.annex } else { &[] };
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    out.extend(number.to_be_bytes());
    out.extend(leaf.hash().0);
    out.extend(length(leaf.salt.0.len() + leaf.record.len()));
    out.extend(leaf.salt.0);
    out.extend(&leaf.record);
    out.extend(length(annex.len()));
    out.extend(annex);
}

/// Writes a whole bundle piece by piece, out of a log whose hashes are at hand: the numbers say which leaves, in order. Nothing where
/// the log does not hold what the header names.
pub fn whole(
    header: &Header,
    log: &MerkleLog,
    numbers: impl IntoIterator<Item = u64>,
    leaf: impl Fn(u64) -> AccessLeaf,
    mut out: impl FnMut(&[u8]),
) -> Option<()> {
    let size = header.note.checkpoint.size;
    let hashes = |subtrees: Vec<Subtree>| -> Option<Vec<u8>> {
        let hashes: Option<Vec<Hex32>> = subtrees.into_iter().map(|subtree| log.subtree(subtree)).collect();
        Some(hashes?.iter().flat_map(|hash| hash.0).collect())
    };
    out(&header.to_bytes());
    out(&hashes(hashes_before(header.shape, header.first))?);
    let mut block = Vec::new();
    for number in numbers {
        block.clear();
        leaf_block(number, &leaf(number), header.with_annex, &mut block);
        match header.shape {
            Shape::Selected => block.extend(log.prove_inclusion(size, number)?.iter().flat_map(|hash| hash.0)),
            Shape::Range if number + 1 == run_end(number, header.end) => {
                block.extend(hashes(hashes_after_run(number + 1, size))?);
            }
            Shape::Range => {}
        }
        out(&block);
    }
    Some(())
}

//! Merkle logs: RFC 9162, section 2.1 hashing, over `tlog_tiles`.
//!
//! A log keeps every complete subtree's hash, insert-only, in the order of `tlog_tiles::stored_hash_index`: leaf n first,
//! then each subtree that leaf n completes. [`Frontier`] is what appending and the root need; proofs read the rest.

use sha2::{Digest as _, Sha256};
use tlog_tiles::tlog::{self, Hash, HashReader};

use crate::canonical::Hex32;

/// The hash of a leaf: `SHA-256(0x00 || data)`.
pub fn leaf_hash(data: &[u8]) -> Hex32 {
    Hex32(tlog::record_hash(data).0)
}

/// The hash of a leaf whose data lies in pieces, without putting them together.
pub fn leaf_hash_of(pieces: &[&[u8]]) -> Hex32 {
    let mut hash = Sha256::new_with_prefix([0]);
    pieces.iter().for_each(|piece| hash.update(piece));
    Hex32(hash.finalize().into())
}

/// The complete subtrees at the right edge of a log: enough to append and to know the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Roots of the complete subtrees, largest first.
    peaks: Vec<Hex32>,
}

impl Frontier {
    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf. Returns the hashes to store, from index [`Frontier::stored_before`] of the old size on.
    pub fn append(&mut self, leaf: Hex32) -> Vec<Hex32> {
        let mut stored = vec![leaf];
        let mut hash = leaf;
        let mut n = self.size;
        while n & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(left, hash);
            stored.push(hash);
            n >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
        stored
    }

    /// Appends a leaf whose hashes are not to be stored.
    pub fn push(&mut self, leaf: Hex32) {
        self.push_subtree(0, leaf);
    }

    /// Appends a complete subtree of `2^level` leaves by its hash. Says whether one can begin at this size.
    pub fn push_subtree(&mut self, level: u32, subtree: Hex32) -> bool {
        let Some(size) = 1_u64.checked_shl(level).and_then(|leaves| self.size.checked_add(leaves)) else {
            return false;
        };
        if self.size.trailing_zeros() < level {
            return false;
        }
        let (mut hash, mut n) = (subtree, self.size >> level);
        while n & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(left, hash);
            n >>= 1;
        }
        self.peaks.push(hash);
        self.size = size;
        true
    }

    /// The root.
    pub fn root(&self) -> Hex32 {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Hex32(tlog::EMPTY_HASH.0),
            Some(last) => peaks.fold(*last, |right, left| node_hash(*left, right)),
        }
    }

    /// How many hashes a log of `size` leaves has stored.
    pub fn stored_before(size: u64) -> u64 {
        tlog::stored_hash_count(size)
    }

    /// The stored indexes that [`Frontier::restore`] wants for a log of `size` leaves, largest subtree first.
    pub fn peak_indexes(size: u64) -> Vec<u64> {
        tlog::sub_tree_index(0, size, Vec::new())
    }

    /// Takes up a log of `size` leaves again, from the hashes at [`Frontier::peak_indexes`].
    pub fn restore(size: u64, peaks: Vec<Hex32>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }
}

/// A complete subtree: `2^level` leaves from leaf `n * 2^level` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// Its height.
    pub level: u32,
    /// Its place among those of its height.
    pub n: u64,
}

impl Subtree {
    /// The largest complete subtrees that together cover the leaves `from` to `to - 1`, in order: of two times 64 at the most.
    pub fn covering(mut from: u64, to: u64) -> Vec<Self> {
        let mut cover = Vec::new();
        while from < to {
            let level = from.trailing_zeros().min((to - from).ilog2());
            cover.push(Self { level, n: from >> level });
            from += 1 << level;
        }
        cover
    }

    /// Where its hash is stored.
    pub fn stored_index(self) -> u64 {
        // INVARIANT: a level is below 64.
        tlog::stored_hash_index(u8::try_from(self.level).unwrap_or(u8::MAX), self.n)
    }
}

/// How many hashes the inclusion proof of leaf `n` among `size` has (RFC 9162, section 2.1.3.2).
pub fn inclusion_path_len(n: u64, size: u64) -> usize {
    let (mut n, mut last, mut len) = (n, size.saturating_sub(1), 0);
    while last > 0 {
        if n & 1 == 1 || n < last {
            len += 1;
        }
        n >>= 1;
        last >>= 1;
    }
    len
}

fn node_hash(left: Hex32, right: Hex32) -> Hex32 {
    Hex32(tlog::node_hash(Hash(left.0), Hash(right.0)).0)
}

/// A log whose stored hashes are in memory: 64 bytes a leaf.
#[derive(Debug, Clone, Default)]
pub struct MerkleLog {
    frontier: Frontier,
    stored: Vec<Hex32>,
}

impl MerkleLog {
    /// How many leaves.
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The root.
    pub fn root(&self) -> Hex32 {
        self.frontier.root()
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf: Hex32) {
        self.stored.extend(self.frontier.append(leaf));
    }

    /// The hash of a complete subtree; nothing if the log is not that long yet.
    pub fn subtree(&self, subtree: Subtree) -> Option<Hex32> {
        usize::try_from(subtree.stored_index()).ok().and_then(|index| self.stored.get(index)).copied()
    }

    /// The root that the log had at `size`; nothing if it is not that long yet.
    pub fn root_at(&self, size: u64) -> Option<Hex32> {
        if size > self.size() {
            return None;
        }
        tlog::tree_hash(size, self).ok().map(|h| Hex32(h.0))
    }

    /// The inclusion proof of leaf `n` in the tree of `size` leaves.
    pub fn prove_inclusion(&self, size: u64, n: u64) -> Option<Vec<Hex32>> {
        if size > self.size() || n >= size {
            return None;
        }
        tlog::prove_record(size, n, self).ok().map(from_hashes)
    }

    /// The proof that the tree of `old` leaves is a prefix of the tree of `new`.
    pub fn prove_consistency(&self, new: u64, old: u64) -> Option<Vec<Hex32>> {
        if new > self.size() || old > new || old == 0 {
            return None;
        }
        tlog::prove_tree(new, old, self).ok().map(from_hashes)
    }
}

impl HashReader for MerkleLog {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        indexes
            .iter()
            .map(|i| {
                usize::try_from(*i)
                    .ok()
                    .and_then(|i| self.stored.get(i))
                    .map(|h| Hash(h.0))
                    .ok_or_else(|| tlog::Error::InvalidInput(format!("no stored hash {i}")))
            })
            .collect()
    }
}

/// The root over leaves that are all at hand, as for one page.
pub fn root_of(leaves: impl IntoIterator<Item = Hex32>) -> Hex32 {
    let mut frontier = Frontier::default();
    for leaf in leaves {
        frontier.append(leaf);
    }
    frontier.root()
}

/// Whether `leaf` is leaf `n` of the tree of `size` leaves under `root`.
pub fn check_inclusion(proof: &[Hex32], size: u64, root: Hex32, n: u64, leaf: Hex32) -> bool {
    n < size && tlog::check_record(&to_hashes(proof), size, Hash(root.0), n, Hash(leaf.0)).is_ok()
}

/// Whether the tree of `old` leaves under `old_root` is a prefix of the tree of `new` leaves under `new_root`.
pub fn check_consistency(proof: &[Hex32], new: u64, new_root: Hex32, old: u64, old_root: Hex32) -> bool {
    if old == new {
        return old_root == new_root;
    }
    if old == 0 {
        return old_root.0 == tlog::EMPTY_HASH.0;
    }
    old < new && tlog::check_tree(&to_hashes(proof), new, Hash(new_root.0), old, Hash(old_root.0)).is_ok()
}

fn to_hashes(hashes: &[Hex32]) -> Vec<Hash> {
    hashes.iter().map(|h| Hash(h.0)).collect()
}

fn from_hashes(hashes: Vec<Hash>) -> Vec<Hex32> {
    hashes.into_iter().map(|h| Hex32(h.0)).collect()
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use proptest::prelude::*;

    use super::*;

    fn log_of(size: u64) -> (MerkleLog, Vec<Hex32>) {
        let mut log = MerkleLog::default();
        let leaves: Vec<Hex32> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        leaves.iter().for_each(|leaf| log.append(*leaf));
        (log, leaves)
    }

    #[test]
    fn roots_are_those_of_an_independent_implementation() {
        let mut other = MemoryBackedTree::<sha2_next::Sha256, Vec<u8>>::new();
        let mut log = MerkleLog::default();
        assert_eq!(log.root().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for n in 0_u64..70 {
            other.push(n.to_be_bytes().to_vec());
            log.append(leaf_hash(&n.to_be_bytes()));
            assert_eq!(log.root().0.as_slice(), other.root().as_bytes().as_slice(), "at {n}");
        }
    }

    proptest! {
        #[test]
        fn proofs_prove_and_nothing_else_does(size in 1_u64..200, pick in any::<u64>(), old in any::<u64>(), flip in any::<usize>()) {
            let (log, leaves) = log_of(size);
            let (n, old) = (pick % size, old % size + 1);
            let proof = log.prove_inclusion(size, n).unwrap();
            let leaf = leaves[n as usize];
            prop_assert!(check_inclusion(&proof, size, log.root(), n, leaf));
            prop_assert!(!check_inclusion(&proof, size, log.root(), n, leaf_hash(b"other")));
            let consistency = log.prove_consistency(size, old).unwrap();
            let old_root = log.root_at(old).unwrap();
            prop_assert!(check_consistency(&consistency, size, log.root(), old, old_root));
            prop_assert!(!check_consistency(&consistency, size, log.root(), old, leaf_hash(b"rewritten")));
            if !proof.is_empty() {
                let mut bent = proof.clone();
                let at = flip % bent.len();
                bent[at].0[0] ^= 1;
                prop_assert!(!check_inclusion(&bent, size, log.root(), n, leaf));
            }
        }

        #[test]
        fn subtrees_beside_a_range_give_the_root(size in 1_u64..300, a in any::<u64>(), b in any::<u64>()) {
            let (log, leaves) = log_of(size);
            let (a, b) = (a % (size + 1), b % (size + 1));
            let (first, end) = (a.min(b), a.max(b));
            let mut frontier = Frontier::default();
            for subtree in Subtree::covering(0, first) {
                prop_assert!(frontier.push_subtree(subtree.level, log.subtree(subtree).unwrap()));
            }
            leaves[first as usize..end as usize].iter().for_each(|leaf| frontier.push(*leaf));
            prop_assert_eq!(frontier.root(), log.root_at(end).unwrap());
            for subtree in Subtree::covering(end, size) {
                prop_assert!(frontier.push_subtree(subtree.level, log.subtree(subtree).unwrap()));
            }
            prop_assert_eq!((frontier.size(), frontier.root()), (size, log.root()));
        }

        #[test]
        fn proofs_are_as_long_as_is_told(size in 1_u64..300, n in any::<u64>()) {
            let (log, _) = log_of(size);
            let n = n % size;
            prop_assert_eq!(log.prove_inclusion(size, n).unwrap().len(), inclusion_path_len(n, size));
        }

        #[test]
        fn a_restored_frontier_goes_on_alike(size in 0_u64..200) {
            let (mut log, _) = log_of(size);
            let peaks = Frontier::peak_indexes(size).iter().map(|i| log.stored[*i as usize]).collect();
            let mut frontier = Frontier::restore(size, peaks).unwrap();
            prop_assert_eq!(frontier.root(), log.root());
            frontier.append(leaf_hash(b"next"));
            log.append(leaf_hash(b"next"));
            prop_assert_eq!(frontier.root(), log.root());
            prop_assert_eq!(log.stored.len() as u64, Frontier::stored_before(size + 1));
        }
    }
}

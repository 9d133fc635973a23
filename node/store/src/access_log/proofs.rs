//! Inclusion and consistency proofs from stored hashes.

use std::cell::RefCell;
use std::collections::BTreeMap;

use comity_core::canonical::Hex32;
use comity_core::merkle::{Frontier, Subtree};
use tlog_tiles::tlog::{self, Hash, HashReader};

use super::AccessLog;
use super::types::{AccessLogError, Tampering};
use crate::columns;
use crate::database::Connection;
use crate::sql::Builder;

impl AccessLog {
    /// The root that the log had when it was `size` leaves long.
    ///
    /// # Errors
    /// It is not that long, or could not be read.
    pub async fn root_at(&self, size: u64) -> Result<Hex32, AccessLogError> {
        self.expect_size(size)?;
        Ok(frontier_at(&mut self.inner.database.read().await?, size).await?.root())
    }

    /// The proof that leaf `n` is in the tree of the first `size` leaves (RFC 9162, section 2.1.3).
    ///
    /// # Errors
    /// There is no such leaf, the log is not that long, or it could not be read.
    pub async fn prove_inclusion(&self, size: u64, n: u64) -> Result<Vec<Hex32>, AccessLogError> {
        self.expect_size(size)?;
        if n >= size {
            return Err(AccessLogError::BeyondEnd { asked: n, size });
        }
        self.prove(|reader| tlog::prove_record(size, n, reader)).await
    }

    /// The proof that the tree of the first `old` leaves is a prefix of that of the first `new` (RFC 9162, section 2.1.4).
    /// Empty where `old` is 0 or `new`.
    ///
    /// # Errors
    /// `old` is above `new`, the log is not that long, or it could not be read.
    pub async fn prove_consistency(&self, old: u64, new: u64) -> Result<Vec<Hex32>, AccessLogError> {
        self.expect_size(new)?;
        if old > new {
            return Err(AccessLogError::BeyondEnd { asked: old, size: new });
        }
        if old == 0 || old == new {
            return Ok(Vec::new());
        }
        self.prove(|reader| tlog::prove_tree(new, old, reader)).await
    }

    /// The hashes of complete subtrees, in the order asked for.
    ///
    /// # Errors
    /// The log is not that long, or one could not be read.
    pub async fn subtree_hashes(&self, subtrees: &[Subtree]) -> Result<Vec<Hex32>, AccessLogError> {
        let indexes: Vec<u64> = subtrees.iter().map(|subtree| subtree.stored_index()).collect();
        let stored = fetch(&mut self.inner.database.read().await?, &indexes).await?;
        let hash = |index: u64| stored.get(&index).copied().ok_or(Tampering::StoredHash { index }.into());
        indexes.into_iter().map(hash).collect()
    }

    fn expect_size(&self, asked: u64) -> Result<(), AccessLogError> {
        let size = self.head().size;
        if asked > size { Err(AccessLogError::BeyondEnd { asked, size }) } else { Ok(()) }
    }

    /// Runs the library's proof twice: it asks for hashes synchronously, so the first run notes which it wants.
    async fn prove(
        &self,
        proof: impl Fn(&Wanted) -> Result<Vec<Hash>, tlog::Error>,
    ) -> Result<Vec<Hex32>, AccessLogError> {
        let indexes = {
            let wanted = Wanted::default();
            proof(&wanted).ok();
            wanted.indexes.into_inner()
        };
        let stored = fetch(&mut self.inner.database.read().await?, &indexes).await?;
        if let Some(index) = indexes.iter().find(|index| !stored.contains_key(index)) {
            return Err(Tampering::StoredHash { index: *index }.into());
        }
        let first = indexes.first().copied().unwrap_or_default();
        let found = Wanted { indexes: RefCell::default(), stored: Some(stored) };
        let proof = proof(&found).map_err(|_| Tampering::StoredHash { index: first })?;
        Ok(proof.into_iter().map(|hash| Hex32(hash.0)).collect())
    }
}

/// Answers with stored hashes or, on the first run, with zeros.
#[derive(Default)]
struct Wanted {
    indexes: RefCell<Vec<u64>>,
    stored: Option<BTreeMap<u64, Hex32>>,
}

impl HashReader for Wanted {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog::Error> {
        self.indexes.borrow_mut().extend_from_slice(indexes);
        let Some(stored) = &self.stored else { return Ok(vec![Hash::default(); indexes.len()]) };
        indexes
            .iter()
            .map(|index| stored.get(index).map(|hash| Hash(hash.0)).ok_or(tlog::Error::IndexesNotInTree))
            .collect()
    }
}

/// The frontier at an earlier size.
pub(super) async fn frontier_at(connection: &mut Connection, size: u64) -> Result<Frontier, AccessLogError> {
    let indexes = Frontier::peak_indexes(size);
    let stored = fetch(connection, &indexes).await?;
    let mut peaks = Vec::with_capacity(indexes.len());
    for index in indexes {
        peaks.push(*stored.get(&index).ok_or(Tampering::StoredHash { index })?);
    }
    // INVARIANT: there is one peak for each bit of the size.
    Frontier::restore(size, peaks).ok_or_else(|| Tampering::StoredHash { index: 0 }.into())
}

/// Stored hashes by their index; those that are missing are left out.
pub(super) async fn fetch(
    connection: &mut Connection,
    indexes: &[u64],
) -> Result<BTreeMap<u64, Hex32>, AccessLogError> {
    if indexes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut query = Builder::new("SELECT idx, hash FROM access_hash WHERE idx IN ");
    query.push_list(indexes.iter().map(|index| columns::sql_int(*index).into()));
    let rows = query.build().fetch_all(connection).await?;
    rows.iter().map(|row| Ok((columns::count(row, "idx")?, columns::digest(row, "hash")?))).collect()
}

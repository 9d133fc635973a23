//! The public log, leaf by leaf.

use comity_core::list::{Authority, EntryId, Publication};

use crate::error::{AppError, InternalError};
use crate::node::Node;

/// A leaf of the public log and the text that was decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicationView {
    /// Which leaf.
    pub leaf: u64,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// The text; empty where there is none, or where it was erased.
    pub text: Vec<u8>,
    /// Whether enough members have cosigned a position that holds it.
    pub agreed: bool,
}

impl Node {
    /// Leaves from one on, all of them or those about one entry.
    ///
    /// # Errors
    /// There is no such entry, or the list's storage cannot be read.
    pub async fn publications(
        &self,
        from: u64,
        entry: Option<&EntryId>,
        limit: usize,
    ) -> Result<Vec<PublicationView>, AppError> {
        let leaves: Vec<u64> = self.consensus.read(|list| match entry {
            None => Ok((from..list.public_log().size()).take(limit).collect()),
            Some(id) => {
                let entry = list.entry(id).ok_or(AppError::NotFound("entry"))?;
                Ok::<_, AppError>(entry.history.iter().copied().filter(|leaf| *leaf >= from).take(limit).collect())
            }
        })?;
        let mut views = Vec::with_capacity(leaves.len());
        for leaf in leaves {
            views.extend(self.publication(leaf).await?);
        }
        Ok(views)
    }

    /// One leaf; nothing where this node has not got so far.
    pub(crate) async fn publication(&self, leaf: u64) -> Result<Option<PublicationView>, AppError> {
        let Some(bytes) = self.consensus.read(|list| list.publication(leaf).map(<[u8]>::to_vec)) else {
            return Ok(None);
        };
        let publication = Publication::from_bytes(&bytes)
            .map_err(|e| InternalError::Corrupt { what: "publication", problem: e.to_string() })?;
        let text = match &publication.by {
            Authority::Ballot(decided) => self.public_bytes(decided.public_part).await?,
            Authority::Member(_) => Vec::new(),
        };
        Ok(Some(PublicationView { leaf, bytes, text, agreed: leaf < self.agreed_publications() }))
    }

    /// Up to where the public log is agreed.
    pub(crate) fn agreed_publications(&self) -> u64 {
        self.cosigner.agreed().borrow().as_ref().map_or(0, |agreed| agreed.heads.public.checkpoint.size)
    }
}

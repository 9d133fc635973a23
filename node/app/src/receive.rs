//! Receiving: what partners' nodes release to this one.

use comity_core::access::Touched;
use comity_core::canonical::from_slice;
use comity_core::dsse::{Envelope, PublicKey};
use comity_core::merkle::MerkleLog;
use comity_core::view::{Change, DiscoverView, ReceiptStatement, SealedItem, sign_receipt, verify_page};
use comity_core::{MemberId, Violations};
use comity_store::copies::{CopyError, ReceivedItem, ReceivedPage};

use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;

impl Node {
    /// Where the next pull from a partner begins.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn cursor_from(&self, partner: MemberId) -> Result<Vec<u8>, AppError> {
        Ok(self.store.copies().progress(partner).await.map_err(InternalError::Store)?.cursor)
    }

    /// Checks a partner's page as a whole, stores it with its cursor in one transaction, and signs a receipt.
    ///
    /// # Errors
    /// Something in it is not as it must be: then nothing of it is kept.
    pub async fn receive(
        &self,
        from: MemberId,
        page: &[u8],
        items: Vec<SealedItem>,
        next_cursor: Vec<u8>,
    ) -> Result<Vec<u8>, AppError> {
        let refuse = |problem: String| AppError::from(Violations::one("page", problem));
        self.pull_line(from).ok_or(AppError::NotFound("partner"))?;
        let (node_key, ceiling) = (self.node_key_of(from)?, self.own().ceiling);
        let envelope = Envelope::from_bytes(page).map_err(|e| refuse(e.to_string()))?;
        let federation = self.genesis.federation();
        let (statement, read) = verify_page(&envelope, &items, &node_key.0, federation, from, self.member())
            .map_err(|e| refuse(e.to_string()))?;
        let mut tree = MerkleLog::default();
        items.iter().for_each(|item| tree.append(item.leaf()));
        let (mut received, mut touched) = (Vec::new(), Vec::new());
        for ((sealed, item), leaf) in items.into_iter().zip(read).zip(0..) {
            let mut version = None;
            if let Change::Upsert(documents) = &item.change {
                let discover = documents.first().map_or("", |d| d.text.as_str());
                let discover: DiscoverView = from_slice(discover.as_bytes()).map_err(|e| refuse(e.to_string()))?;
                // INVARIANT: nothing above this node's accreditation is stored on it.
                if discover.marking.tier > ceiling {
                    return Err(refuse(format!("{} is above this node's accreditation", item.record)));
                }
                version = Some(discover.version);
            }
            let view = match &item.change {
                Change::Upsert(documents) => documents.last().map(|d| d.view),
                Change::Retract => None,
            };
            touched.push(Touched {
                resource: item.record.to_string(),
                version,
                view: Some(view.map_or("retract", view_name).to_owned()),
                because: Vec::new(),
            });
            let path = tree.prove_inclusion(statement.count, leaf).unwrap_or_default();
            received.push(ReceivedItem { sealed, item, leaf_index: leaf, path });
        }
        let last_number = (statement.first_number + statement.count).saturating_sub(1);
        // Recorded first: a copy that nobody knows of would be worse than a record without its copy.
        self.record_own("receive page", format!("node of {from}"), Some(from), touched).await?;
        let received =
            ReceivedPage { from, envelope: page.to_vec(), items: received, cursor: next_cursor, at: fresh::now() };
        self.store.copies().apply_page(received).await.map_err(|error| match error {
            CopyError::Store(error) => AppError::Internal(InternalError::Store(error)),
            other => refuse(other.to_string()),
        })?;
        let receipt = ReceiptStatement {
            federation,
            from,
            to: self.member(),
            root: statement.root,
            last_number,
            received_at: fresh::now(),
        };
        Ok(sign_receipt(&receipt, &self.keys.node).to_bytes())
    }
}

impl Node {
    /// The key with which a partner's node signs what it says.
    pub(crate) fn node_key_of(&self, partner: MemberId) -> Result<PublicKey, AppError> {
        let known = self.roster(|roster| roster.get(partner).map(|s| (s.row.node_key, s.node_revoked)));
        match known {
            None => Err(AppError::NotFound("partner")),
            Some((key, false)) => Ok(key),
            Some((_, true)) => Err(AppError::Precondition {
                reason: "KEY_REVOKED",
                problem: format!(
                    "the node key of {partner} was revoked: nothing that it signs counts until it is replaced"
                ),
            }),
        }
    }
}

fn view_name(view: comity_core::view::ViewName) -> &'static str {
    use comity_core::view::ViewName;
    match view {
        ViewName::Discover => "discover",
        ViewName::Read => "read",
        ViewName::ReadSources => "read_sources",
    }
}

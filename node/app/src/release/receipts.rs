//! Receipts: a partner's signed word for what it was sent.

use comity_core::dsse::Envelope;
use comity_core::view::verify_receipt;
use comity_core::{MemberId, Violations};
use comity_store::outbox::{OutboxError, Receipt};

use super::{SentPage, outbox_error};
use crate::error::AppError;
use crate::fresh;
use crate::node::Node;

impl Node {
    /// Keeps a partner's receipt for one of the pages that are on their way to it. Returns the number up to which the partner has
    /// everything.
    ///
    /// # Errors
    /// It is not the partner's, or not about what it was given.
    pub async fn acknowledge(
        &self,
        partner: MemberId,
        receipt: &[u8],
        underway: impl IntoIterator<Item = SentPage>,
    ) -> Result<u64, AppError> {
        let refuse = |problem: String| AppError::from(Violations::one("receipt", problem));
        self.line(partner).ok_or(AppError::NotFound("partner"))?;
        let node_key = self.node_key_of(partner)?;
        let envelope = Envelope::from_bytes(receipt).map_err(|e| refuse(e.to_string()))?;
        let statement = verify_receipt(&envelope, &node_key.0).map_err(|e| refuse(e.to_string()))?;
        let about_us = statement.federation == self.genesis.federation()
            && statement.from == self.member()
            && statement.to == partner;
        if !about_us {
            return Err(refuse("is about another exchange".into()));
        }
        // INVARIANT: a receipt that is kept is for what was sent, so that it is evidence of it.
        let named = SentPage { last_number: statement.last_number, root: statement.root };
        if !underway.into_iter().any(|sent| sent == named) {
            return Err(refuse("is not for a page that is on its way to you".into()));
        }
        let receipt = Receipt {
            last_number: statement.last_number,
            root: statement.root,
            envelope: receipt.to_vec(),
            at: fresh::now(),
        };
        self.store.outbox().record_receipt(partner, receipt).await.map_err(|error| match error {
            OutboxError::NoSuchNumber { .. } => refuse("names a number that was not given yet".into()),
            other => outbox_error(other),
        })?;
        Ok(statement.last_number)
    }
}

//! Receiving: what partners' nodes release to this one.

use comity_core::access::{self, AccessRecord, ExchangedPage, Touched};
use comity_core::dsse::{Envelope, PublicKey};
use comity_core::view::{
    self, Change, DiscoverView, PageStatement, ReceiptStatement, SealedItem, sign_receipt, verify_page,
};
use comity_core::{MemberId, Violations};
use comity_store::copies::{CopyError, ReceivedItem, ReceivedPage};

use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;

/// A page that holds together and is for this node: to be stored.
#[derive(Debug)]
pub struct VerifiedPage {
    page: ReceivedPage,
    touched: Vec<Touched>,
    statement: PageStatement,
}

impl Node {
    /// Where the next stream from a partner begins.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn cursor_from(&self, partner: MemberId) -> Result<Vec<u8>, AppError> {
        Ok(self.store.copies().progress(partner).await.map_err(InternalError::Store)?.cursor)
    }

    /// Checks a partner's page as a whole.
    ///
    /// # Errors
    /// Something in it is not as it must be: then nothing of it is kept.
    pub fn verify_page(
        &self,
        from: MemberId,
        page: Vec<u8>,
        items: Vec<SealedItem>,
        next_cursor: Vec<u8>,
    ) -> Result<VerifiedPage, AppError> {
        let refuse = |problem: String| AppError::from(Violations::one("page", problem));
        self.line(from).ok_or(AppError::NotFound("partner"))?;
        let (node_key, ceiling) = (self.node_key_of(from)?, self.roster_row().ceiling);
        let envelope = Envelope::from_bytes(&page).map_err(|e| refuse(e.to_string()))?;
        let federation = self.genesis.federation();
        let verified = verify_page(&envelope, &items, &node_key.0, federation, from, self.member());
        let view::VerifiedPage { statement, items: read, tree } = verified.map_err(|e| refuse(e.to_string()))?;
        let (mut received, mut touched) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        let now = fresh::now();
        for ((sealed, (item, discover)), leaf) in items.into_iter().zip(read).zip(0..) {
            if let Some(discover) = &discover {
                self.ensure_for_us(discover, ceiling, now).map_err(refuse)?;
            }
            let view = match &item.change {
                Change::Upsert(documents) => documents.iter().rev().find_map(|d| d.view.level()),
                Change::Retract => None,
            };
            touched.push(Touched {
                resource: item.record.to_string(),
                version: discover.map(|discover| discover.version),
                view: Some(view.unwrap_or("retract").to_owned()),
                because: Vec::new(),
            });
            let path = tree.prove_inclusion(statement.count, leaf).unwrap_or_default();
            received.push(ReceivedItem { sealed, item, leaf_index: leaf, path });
        }
        let page = ReceivedPage { from, envelope: page, items: received, cursor: next_cursor, at: now };
        Ok(VerifiedPage { page, touched, statement })
    }

    /// Stores a verified page and its cursor in one transaction, and signs a receipt.
    ///
    /// # Errors
    /// Its numbers do not follow what is here, or the store or the access log failed: then nothing of it is kept.
    pub async fn store_page(&self, verified: VerifiedPage) -> Result<Vec<u8>, AppError> {
        let VerifiedPage { page, touched, statement } = verified;
        let from = page.from;
        // Recorded first: a copy that nobody knows of would be worse than a record without its copy.
        let last_number = (statement.first_number + statement.count).saturating_sub(1);
        let record = AccessRecord {
            member: Some(from),
            touched,
            page: Some(ExchangedPage { root: statement.root, last_number }),
            ..AccessRecord::new(fresh::now(), format!("node of {from}"), access::PAGE_RECEIVED)
        };
        self.record_access(record).await?;
        self.store.copies().apply_page(page).await.map_err(|error| match error {
            CopyError::Store(error) => AppError::Internal(InternalError::Store(error)),
            other => Violations::one("page", other.to_string()).into(),
        })?;
        let receipt = ReceiptStatement {
            federation: statement.federation,
            from,
            to: self.member(),
            root: statement.root,
            last_number,
            received_at: fresh::now(),
        };
        Ok(sign_receipt(&receipt, &self.keys.node).to_bytes())
    }

    /// Refuses what this node must not hold, whoever sends it.
    fn ensure_for_us(
        &self,
        discover: &DiscoverView,
        ceiling: comity_core::Tier,
        now: comity_core::Timestamp,
    ) -> Result<(), String> {
        // INVARIANT: nothing above this node's accreditation is stored on it, by its tier or by what its national wording means.
        if self.equivalences.tier(discover.originator, &discover.marking, now) > ceiling {
            return Err(format!("{} is above this node's accreditation", discover.record));
        }
        // Whoever comes to be a party is so before anything can be releasable to it: a node that is behind asks again once it is not.
        // A recipient's node has the roster of the day on which it was given one: it cannot tell who is a stranger.
        let known = |party: &MemberId| self.consensus.observes() || self.party(*party).is_some();
        if let Some(stranger) = discover.marking.releasable_to.iter().find(|party| !known(party)) {
            return Err(format!("{} is releasable to {stranger}, which is not in the roster", discover.record));
        }
        if !discover.is_for(self.member()) {
            return Err(format!("{} is not releasable to this member, and was not released onward", discover.record));
        }
        Ok(())
    }

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

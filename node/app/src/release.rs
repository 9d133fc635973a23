//! Release: what a partner's pull is answered.
//!
//! INVARIANT: nothing leaves without a decision. Each row is decided once more when it is pulled, what was queued notwithstanding,
//! and the access record of the page is durable before the page leaves (the access layer sees to that).

use std::time::Duration;

use comity_core::access::Touched;
use comity_core::dsse::Envelope;
use comity_core::merkle;
use comity_core::release::{Action as View, RecordHeader};
use comity_core::view::{Change, PageItem, PageStatement, SealedItem, sign_page, verify_receipt};
use comity_core::{MemberId, RecordId, VersionId, Violations};
use comity_store::outbox::{Decided, Numbered, OutboxError, Queued, Receipt, ReleasedChange};

use comity_store::proposals::ProposalState;

use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;

/// The most items of a page.
const PAGE_MAX_ITEMS: usize = 100;
/// The most reasons that the access record names for one item, so that a page's record stays within its bound.
const BECAUSE_MAX: usize = 16;
/// A page is closed once it holds so much, in bytes; its last item may go beyond.
const PAGE_FULL_BYTES: usize = 1024 * 1024;

/// A signed page.
#[derive(Debug, Clone)]
pub struct Page {
    /// The DSSE envelope over the items' root.
    pub envelope: Vec<u8>,
    /// The items.
    pub items: Vec<SealedItem>,
    /// What the partner carries to its next pull.
    pub next_cursor: Vec<u8>,
    /// For the access record.
    pub touched: Vec<Touched>,
}

impl Node {
    /// The next page of what a partner may see, as soon as there is one; nothing once the wait is over.
    ///
    /// # Errors
    /// The cursor is not one that this node gave to this partner.
    pub async fn pull(&self, partner: MemberId, cursor: &[u8], wait: Duration) -> Result<Option<Page>, AppError> {
        // INVARIANT: whoever is suspended or expelled is given nothing. Strangers do not get here: TLS admits members' nodes only.
        let line = self.pull_line(partner).ok_or(AppError::NotFound("partner"))?;
        let _waiting = line.waits.try_acquire().map_err(|_| AppError::Exhausted {
            reason: "TOO_MANY_PULLS",
            problem: "too many of your pulls wait here already: let one end first".into(),
        })?;
        let mut news = self.store.outbox().watch();
        let has = self.cursors.open(partner, cursor).ok_or_else(|| {
            Violations::one("cursor", "not a cursor that this node gave you: pull again with an empty one")
        })?;
        let mut stopping = self.stopping();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            // Marked as seen before looking, so that news in between is not slept through.
            news.borrow_and_update();
            {
                let _turn = line.turn.lock().await;
                // It may have been suspended while it waited.
                self.pull_line(partner).ok_or(AppError::NotFound("partner"))?;
                if let Some(page) = self.next_page(partner, has).await? {
                    return Ok(Some(page));
                }
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() { return Ok(None) },
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(None),
                () = tokio::time::sleep_until(deadline) => return Ok(None),
            }
        }
    }

    async fn next_page(&self, partner: MemberId, has: u64) -> Result<Option<Page>, AppError> {
        let last = self.store.outbox().last_number(partner).await.map_err(InternalError::Store)?;
        if has > last {
            return Err(Violations::one(
                "cursor",
                "is ahead of this node: it was restored; pull again with an empty one",
            )
            .into());
        }
        let numbered = if has < last { self.again(partner, has).await? } else { self.release_pending(partner).await? };
        if numbered.is_empty() { Ok(None) } else { self.page(partner, numbered).await.map(Some) }
    }

    /// Rows that were released before and did not arrive, each decided anew.
    async fn again(&self, partner: MemberId, has: u64) -> Result<Vec<(Numbered, Vec<String>)>, AppError> {
        let rows =
            self.store.outbox().released_after(partner, has, PAGE_MAX_ITEMS).await.map_err(InternalError::Store)?;
        let mut out = Vec::with_capacity(rows.len());
        for mut row in rows {
            let mut because = Vec::new();
            if let ReleasedChange::Upsert { version, level } = row.change {
                let (current, allowed, reasons) = self.level(partner, row.record).await?;
                because = reasons;
                // An older version is not sent again under today's decision: what holds follows under a later number.
                if row.superseded || version != current || allowed.is_none_or(|allowed| allowed < level) {
                    // The same number, so that nothing shows.
                    row = self.store.outbox().rewrite_as_retraction(partner, row.number).await.map_err(outbox_error)?;
                }
            }
            out.push((row, because));
        }
        Ok(out)
    }

    async fn release_pending(&self, partner: MemberId) -> Result<Vec<(Numbered, Vec<String>)>, AppError> {
        loop {
            let pending = self.store.outbox().pending(partner, PAGE_MAX_ITEMS).await.map_err(InternalError::Store)?;
            if pending.is_empty() {
                return Ok(Vec::new());
            }
            let numbered = self.release_batch(partner, pending).await?;
            // What was refused takes no time of what is not.
            if !numbered.is_empty() {
                return Ok(numbered);
            }
        }
    }

    async fn release_batch(
        &self,
        partner: MemberId,
        pending: Vec<Queued>,
    ) -> Result<Vec<(Numbered, Vec<String>)>, AppError> {
        let mut denied = Vec::new();
        let mut decided = Vec::with_capacity(pending.len());
        let mut reasons = std::collections::BTreeMap::new();
        let mut bytes = 0;
        for Queued { record, ticket } in pending {
            let (version, level, because) = self.level(partner, record).await?;
            if level.is_some() {
                bytes += self.size_of(record, version).await?;
            }
            if level.is_none() {
                let because: Vec<String> = because.iter().take(BECAUSE_MAX).cloned().collect();
                denied.push(Touched { resource: record.to_string(), version: Some(version), view: None, because });
            }
            reasons.insert(record, because);
            decided.push(Decided { record, ticket, version, level });
            if bytes >= PAGE_FULL_BYTES {
                break;
            }
        }
        // INVARIANT: a release that was refused is recorded, too, before it is off the queue.
        if !denied.is_empty() {
            self.record_denied_release(partner, denied).await?;
        }
        let numbered =
            self.store.outbox().release(partner, decided, fresh::now()).await.map_err(InternalError::Store)?;
        let because = |row: &Numbered| reasons.get(&row.record).cloned().unwrap_or_default();
        Ok(numbered.into_iter().map(|row| (row, because(&row))).collect())
    }

    /// What a partner may have of a record now: the version, the highest action, and why.
    async fn level(
        &self,
        partner: MemberId,
        record: RecordId,
    ) -> Result<(VersionId, Option<View>, Vec<String>), AppError> {
        let missing = || InternalError::Corrupt { what: "outbox", problem: format!("{record} is not in the store") };
        let row = self.store.proposals().get(record).await.map_err(InternalError::Store)?.ok_or_else(missing)?;
        if row.state == ProposalState::Withdrawn {
            return Ok((row.version, None, vec!["withdrawn".into()]));
        }
        let Some(party) = self.party(partner) else { return Ok((row.version, None, vec!["unknown-party".into()])) };
        let header = RecordHeader {
            id: row.id,
            kind: row.id.kind(),
            originator: row.id.originator(),
            marking: row.proposal.marking,
            shared_with: row.shared_with,
        };
        let level = self.policies.load().level(self.member(), &party, &header);
        Ok((row.version, level.action, level.because))
    }

    async fn size_of(&self, record: RecordId, version: VersionId) -> Result<usize, AppError> {
        let views = self.store.proposals().views(record, version).await.map_err(InternalError::Store)?;
        Ok(views.map_or(0, |v| v.discover.len() + v.read.len() + v.read_sources.len()))
    }

    async fn page(&self, partner: MemberId, numbered: Vec<(Numbered, Vec<String>)>) -> Result<Page, AppError> {
        let (mut items, mut touched, mut bytes) = (Vec::new(), Vec::new(), 0);
        let first_number = numbered.first().map_or(0, |(row, _)| row.number);
        let mut last_number = first_number;
        for (row, because) in numbered {
            let mut change = Change::Retract;
            let (mut view, mut sent) = ("retract", None);
            if let ReleasedChange::Upsert { version, level } = row.change {
                let views = self.store.proposals().views(row.record, version).await.map_err(InternalError::Store)?;
                let views = views.ok_or(InternalError::Corrupt {
                    what: "version",
                    problem: format!("{} lacks the documents of a released version", row.record),
                })?;
                change = Change::Upsert(views.up_to(level));
                (view, sent) = (level.as_str(), Some(version));
            }
            let sealed = SealedItem::new(&PageItem { number: row.number, record: row.record, change }, fresh::salt()?);
            bytes += sealed.bytes.len();
            items.push(sealed);
            last_number = row.number;
            touched.push(Touched {
                resource: row.record.to_string(),
                version: sent,
                view: Some(view.to_owned()),
                because: because.into_iter().take(BECAUSE_MAX).collect(),
            });
            if bytes >= PAGE_FULL_BYTES {
                break;
            }
        }
        let statement = PageStatement {
            federation: self.genesis.federation(),
            from: self.member(),
            to: partner,
            first_number,
            count: items.len() as u64,
            root: merkle::root_of(items.iter().map(SealedItem::leaf)),
            released_at: fresh::now(),
        };
        let envelope = sign_page(&statement, &self.keys.node).to_bytes();
        let next_cursor = self.cursors.seal(partner, last_number);
        Ok(Page { envelope, items, next_cursor, touched })
    }

    /// Keeps a partner's receipt.
    ///
    /// # Errors
    /// It is not the partner's, or not about what it was given.
    pub async fn acknowledge(&self, partner: MemberId, receipt: &[u8]) -> Result<(), AppError> {
        let refuse = |problem: String| AppError::from(Violations::one("receipt", problem));
        self.pull_line(partner).ok_or(AppError::NotFound("partner"))?;
        let node_key = self.node_key_of(partner)?;
        let envelope = Envelope::from_bytes(receipt).map_err(|e| refuse(e.to_string()))?;
        let statement = verify_receipt(&envelope, &node_key.0).map_err(|e| refuse(e.to_string()))?;
        let about_us = statement.federation == self.genesis.federation()
            && statement.from == self.member()
            && statement.to == partner;
        if !about_us {
            return Err(refuse("is about another exchange".into()));
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
        })
    }
}

fn outbox_error(error: OutboxError) -> AppError {
    AppError::Internal(match error {
        OutboxError::Store(error) => InternalError::Store(error),
        other => InternalError::Corrupt { what: "outbox", problem: other.to_string() },
    })
}

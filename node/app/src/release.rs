//! Release: the pages that a partner is sent.
//!
//! INVARIANT: nothing leaves without a decision. Each row is decided once more when its page is made, what was queued
//! notwithstanding, and the access record of the page is durable before the page leaves ([`Node::record_access`] by whoever sends it).

mod receipts;
mod refusals;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use comity_core::access::{ExchangedPage, Touched};
use comity_core::canonical::{self, Hex32};
use comity_core::document::LinkTarget;
use comity_core::merkle;
use comity_core::release::{Action as View, Party, RecordHeader, Share};
use comity_core::view::{Change, PAGE_MAX_ITEMS, PageItem, PageStatement, SealedItem, Terms, Views, sign_page};
use comity_core::{MemberId, RecordId, Timestamp, Violations};
use comity_policy::Level;
use comity_store::StoreError;
use comity_store::outbox::{Candidate, Decided, Numbered, OutboxError, ReleasedChange, Telling};
use comity_store::records::StoredShare;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinHandle;

use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::{ExchangeLine, Node};

pub(crate) use refusals::{Refusals, Ticks};

/// The fewest rows of the queue that are looked at in one step.
const PENDING_MIN: usize = 64;
/// The most reasons that the access record names for one item.
const BECAUSE_MAX: usize = 16;
/// A page is closed once it holds so much, in bytes; its last item may go beyond.
const PAGE_FULL_BYTES: usize = 1024 * 1024;
/// A page is closed once its access record holds so much, in bytes.
const RECORD_FULL_BYTES: usize = 160 * 1024;

/// A signed page.
#[derive(Debug, Clone)]
pub struct Page {
    /// The DSSE envelope over the items' root.
    pub envelope: Vec<u8>,
    /// The items.
    pub items: Vec<SealedItem>,
    /// What the partner carries to its next stream.
    pub next_cursor: Vec<u8>,
    /// What a receipt for it names.
    pub sent: SentPage,
    /// For the access record, which must be durable before the page leaves.
    pub touched: Vec<Touched>,
}

/// Where the pages for a partner have got to.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The record that was told last: the next is the one after it.
    after: Option<RecordId>,
    /// How many items a page takes, by what the last ones took: what is numbered and does not fit is decided once more.
    fits: usize,
    /// What waits after this record, read while the rows up to it are released.
    ahead: Option<(RecordId, Ahead)>,
}

type Ahead = JoinHandle<Result<Vec<Candidate>, StoreError>>;

impl Default for Turn {
    fn default() -> Self {
        Self { after: None, fits: PAGE_MAX_ITEMS, ahead: None }
    }
}

impl Turn {
    fn learn(&mut self, count: usize, fitted: usize) {
        self.fits = if fitted < count { fitted.max(1) } else { (self.fits * 2).min(PAGE_MAX_ITEMS) };
    }
}

/// A page that was sent, as its receipt names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentPage {
    /// The number of the last item: what the next page follows.
    pub last_number: u64,
    /// The root over the items.
    pub root: Hex32,
}

impl SentPage {
    /// As the access log names it.
    pub fn exchanged(self) -> ExchangedPage {
        ExchangedPage { root: self.root, last_number: self.last_number }
    }
}

/// What a party is to have of a record, and why.
struct Decision {
    level: Option<View>,
    because: Vec<String>,
    until: Option<Timestamp>,
    terms: Option<Terms>,
    links: Vec<LinkTarget>,
}

impl Decision {
    fn telling(&self) -> Option<Telling> {
        let level = self.level?;
        Some(Telling { level, shown: shown(self.terms.as_ref(), &self.links), until: self.until })
    }
}

/// A candidate, what was decided on it, and what it is told under which number.
struct Released {
    row: Numbered,
    candidate: Option<Candidate>,
    decision: Decision,
}

impl Node {
    /// Leave for one more stream of a partner.
    ///
    /// # Errors
    /// It takes no part, or has too many open.
    pub fn exchange_permit(&self, partner: MemberId) -> Result<OwnedSemaphorePermit, AppError> {
        let line = self.line(partner).ok_or(AppError::NotFound("partner"))?;
        Arc::clone(&line.streams).try_acquire_owned().map_err(|_| AppError::Exhausted {
            reason: "TOO_MANY_STREAMS",
            problem: "too many of your exchanges are open here already: let one end first".into(),
        })
    }

    /// Changes whenever something was queued for any party.
    pub fn outbox_news(&self) -> watch::Receiver<u64> {
        self.store.outbox().watch()
    }

    /// How far a partner has got, by the cursor that it was given.
    ///
    /// # Errors
    /// This node did not give it to this partner.
    pub async fn resume(&self, partner: MemberId, cursor: &[u8]) -> Result<u64, AppError> {
        let has = self.cursors.open(partner, cursor).ok_or_else(|| {
            Violations::one("cursor", "not a cursor that this node gave you: begin with an empty one")
        })?;
        let last = self.store.outbox().last_number(partner).await.map_err(InternalError::Store)?;
        if has > last {
            // Only this node makes cursors: it gave these numbers, and lost them in a backup. What the partner made of them is open.
            tracing::warn!(%partner, has, last, "this node's store is behind what the partner was given: all is told anew");
            self.store.outbox().catch_up(partner, has).await.map_err(InternalError::Store)?;
        }
        Ok(has)
    }

    /// The next page of what a partner may see, after what it was sent already; nothing where there is no news.
    ///
    /// # Errors
    /// The partner takes no part any more.
    pub async fn next_page(&self, partner: MemberId, sent: u64) -> Result<Option<Page>, AppError> {
        // INVARIANT: whoever is suspended or expelled is given nothing. Strangers do not get here: TLS admits members' nodes only.
        let line = self.line(partner).ok_or(AppError::NotFound("partner"))?;
        let mut turn = line.turn.lock().await;
        let party = self.party(partner).ok_or(AppError::NotFound("partner"))?;
        let last = self.store.outbox().last_number(partner).await.map_err(InternalError::Store)?;
        let released = match sent < last {
            true => self.again(&party, sent, turn.fits).await?,
            false => self.release_pending(&party, &line, &mut turn).await?,
        };
        let (count, full) = (released.len(), released.len() >= turn.fits);
        let page = match released.is_empty() {
            true => None,
            false => Some(self.page(partner, released).await?),
        };
        if let Some(page) = &page {
            turn.learn(count, page.items.len());
        }
        drop(turn);
        // INVARIANT: when a page leaves follows from the clock, or from that it is full.
        if !full {
            self.ticks.next().await;
        }
        Ok(page)
    }

    /// Rows that were released before and did not arrive, each decided anew.
    async fn again(&self, party: &Party, sent: u64, limit: usize) -> Result<Vec<Released>, AppError> {
        let outbox = self.store.outbox();
        let rows = outbox.released_after(party.member, sent, limit).await.map_err(InternalError::Store)?;
        let records: Vec<RecordId> = rows.iter().map(|row| row.record).collect();
        let candidates =
            outbox.candidates_with_documents(party.member, &records).await.map_err(InternalError::Store)?;
        let decisions = self.decide_all(party, &candidates).await?;
        let mut known: BTreeMap<RecordId, (Candidate, Decision)> =
            candidates.into_iter().zip(decisions).map(|(c, d)| (c.record, (c, d))).collect();
        let mut released = Vec::with_capacity(rows.len());
        for mut row in rows {
            let decided = match row.superseded {
                // What holds follows under a later number, and takes the candidate with it.
                true => None,
                false => known.remove(&row.record),
            };
            if let ReleasedChange::Upsert { version, level, shown } = row.change {
                let stands = decided.as_ref().is_some_and(|(candidate, decision)| {
                    let allowed = decision.telling().filter(|told| told.level >= level && told.shown == shown);
                    candidate.version == version && allowed.is_some()
                });
                if !stands {
                    // The same number, so that nothing shows.
                    row = outbox.rewrite_as_retraction(party.member, row.number).await.map_err(outbox_error)?;
                }
            }
            let (candidate, decision) = decided.map_or((None, None), |(c, d)| (Some(c), Some(d)));
            released.push(Released { row, candidate, decision: decision.unwrap_or_else(|| denied("superseded")) });
        }
        Ok(released)
    }

    /// INVARIANT: how many items a page has, and in which order they come, follows from what its partner is told alone. What was refused
    /// takes the place of nothing: rows are taken off the queue until the page is full or nothing waits any more, round from the one
    /// that was told last.
    async fn release_pending(
        &self,
        party: &Party,
        line: &ExchangeLine,
        turn: &mut Turn,
    ) -> Result<Vec<Released>, AppError> {
        let mut begin = turn.after;
        let (mut released, mut after, mut round) = (Vec::new(), begin, begin.is_none());
        // What an earlier pull read ahead lacks what was queued since: another round looks for it.
        let mut fresh = turn.ahead.is_none();
        while released.len() < turn.fits {
            let room = turn.fits - released.len();
            let pending = self.waiting(party.member, turn, after, room.max(PENDING_MIN)).await?;
            let Some(last) = pending.last().map(|last| last.record) else {
                if round && fresh {
                    break;
                }
                (begin, after, round) = (begin.filter(|_| fresh), None, true);
                (fresh, turn.ahead) = (true, None);
                continue;
            };
            let waits = line.refusals.without(pending);
            let (told, taken) = self.release_batch(party, line, waits, room).await?;
            released.extend(told);
            after = Some(taken.unwrap_or(last));
            // In the order of the queue, which is that of the texts.
            if round && fresh && begin.is_some_and(|begin| last.to_string() >= begin.to_string()) && taken.is_none() {
                break;
            }
        }
        turn.after = released.last().map_or(turn.after, |told| Some(told.row.record));
        Ok(released)
    }

    /// What waits for a decision after a record. Where there is more, that is read on while this is released: the tickets tell what has
    /// changed by then.
    async fn waiting(
        &self,
        partner: MemberId,
        turn: &mut Turn,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<Candidate>, AppError> {
        let ahead = match turn.ahead.take() {
            Some((record, ahead)) if Some(record) == after => ahead.await.ok(),
            _ => None,
        };
        let pending = match ahead {
            Some(pending) => pending,
            None => self.store.outbox().pending(partner, after, limit).await,
        };
        let pending = pending.map_err(InternalError::Store)?;
        if let Some(last) = pending.last().filter(|_| pending.len() >= limit) {
            let (outbox, after, limit) = (self.store.outbox().clone(), last.record, turn.fits);
            let ahead = tokio::spawn(async move { outbox.pending(partner, Some(after), limit).await });
            turn.ahead = Some((after, ahead));
        }
        Ok(pending)
    }

    /// Releases what waits, in order, as far as there is room for what the partner is told or was told before. Returns the last record
    /// that found room where others did not.
    async fn release_batch(
        &self,
        party: &Party,
        line: &ExchangeLine,
        pending: Vec<Candidate>,
        room: usize,
    ) -> Result<(Vec<Released>, Option<RecordId>), AppError> {
        let decisions = self.decide_all(party, &pending).await?;
        let mut decided: Vec<(Candidate, Decision)> = pending.into_iter().zip(decisions).collect();
        let refused: Vec<RecordId> =
            decided.iter().filter(|(_, decision)| decision.level.is_none()).map(|(c, _)| c.record).collect();
        let told = self.store.outbox().ever_told(party.member, &refused).await.map_err(InternalError::Store)?;
        // What would not find room is left for the next page, and decided then. What was refused needs none.
        let fits = decided.iter().scan(0, |items, (candidate, decision)| {
            *items += usize::from(decision.level.is_some() || told.contains(&candidate.record));
            (*items <= room).then_some(())
        });
        let fits = fits.count();
        let taken =
            (fits < decided.len()).then(|| decided.get(fits.saturating_sub(1))).flatten().map(|(c, _)| c.record);
        decided.truncate(fits);
        let decided = self.put_off_refused(party.member, line, decided, &told).await?;
        if decided.is_empty() {
            return Ok((Vec::new(), taken));
        }
        let decisions = decided.iter().map(|(candidate, decision)| Decided {
            record: candidate.record,
            ticket: candidate.ticket,
            version: candidate.version,
            telling: decision.telling(),
        });
        let rows = self.store.outbox().release(party.member, decisions.collect(), room, fresh::now()).await;
        let rows = rows.map_err(InternalError::Store)?;
        let mut known: BTreeMap<RecordId, (Candidate, Decision)> =
            decided.into_iter().map(|(c, d)| (c.record, (c, d))).collect();
        let released = rows.into_iter().filter_map(|row| {
            let (candidate, decision) = known.remove(&row.record)?;
            Some(Released { row, candidate: Some(candidate), decision })
        });
        Ok((released.collect(), taken))
    }

    /// What a party may have of records now.
    async fn decide_all(&self, party: &Party, candidates: &[Candidate]) -> Result<Vec<Decision>, AppError> {
        let now = fresh::now();
        let levels: Vec<Level> = candidates.iter().map(|candidate| self.level(party, candidate, now)).collect();
        let targets: BTreeSet<RecordId> =
            candidates.iter().flat_map(|candidate| &candidate.links).filter_map(own_target(self.member())).collect();
        let mut discovers = BTreeSet::new();
        if !targets.is_empty() {
            let targets: Vec<RecordId> = targets.into_iter().collect();
            let found = self.store.outbox().candidates(party.member, &targets).await.map_err(InternalError::Store)?;
            discovers.extend(found.iter().filter(|t| self.level(party, t, now).action.is_some()).map(|t| t.record));
        }
        // INVARIANT: no view names what its reader may not discover.
        let named = |target: &LinkTarget| match target {
            LinkTarget::Entry(_) => true,
            LinkTarget::Record(record) => discovers.contains(record) || record.originator() == party.member,
        };
        let decisions = candidates.iter().zip(levels).map(|(candidate, level)| Decision {
            links: match level.action {
                Some(View::Read | View::ReadSources) => candidate.links.iter().filter(|l| named(l)).cloned().collect(),
                _ => Vec::new(),
            },
            terms: level.action.and(candidate.share.as_ref()).and_then(terms),
            level: level.action,
            because: level.because,
            until: level.until,
        });
        Ok(decisions.collect())
    }

    /// How much of a record a party may have, and why.
    pub(crate) fn level(&self, party: &Party, candidate: &Candidate, at: Timestamp) -> Level {
        if candidate.taken_back {
            return Level { action: None, because: vec!["taken-back".into()], until: None };
        }
        let share = candidate.share.as_ref().map(share_of);
        self.policies.load().level(self.member(), party, &self.candidate_header(candidate), share.as_ref(), at)
    }

    /// What decisions look at, of a candidate.
    pub(crate) fn candidate_header(&self, candidate: &Candidate) -> RecordHeader {
        let header = RecordHeader::new(candidate.record, candidate.marking.as_ref().clone());
        let tier = self.equivalences.tier(candidate.record.originator(), &header.marking, candidate.written);
        RecordHeader { tier, about: candidate.about, ..header }
    }

    async fn page(&self, partner: MemberId, released: Vec<Released>) -> Result<Page, AppError> {
        let (mut items, mut touched) = (Vec::with_capacity(released.len()), Vec::with_capacity(released.len()));
        let (mut bytes, mut record_bytes) = (0, 0);
        let first_number = released.first().map_or(0, |r| r.row.number);
        let mut last_number = first_number;
        let salts = fresh::salts(released.len())?;
        for (Released { row, candidate, decision }, salt) in released.into_iter().zip(salts) {
            let (change, access) = match (row.change, candidate) {
                (ReleasedChange::Upsert { level, .. }, Some(candidate)) => {
                    let views = self.store.outbox().documents(&candidate).await.map_err(InternalError::Store)?;
                    upsert(views, level, &candidate, decision)
                }
                (_, _) => (Change::Retract, retracted(row.record, decision.because)),
            };
            let sealed = SealedItem::new(&PageItem { number: row.number, record: row.record, change }, salt);
            bytes += sealed.bytes.len();
            record_bytes += size_in_record(&access);
            items.push(sealed);
            touched.push(access);
            last_number = row.number;
            if bytes >= PAGE_FULL_BYTES || record_bytes >= RECORD_FULL_BYTES {
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
        let sent = SentPage { last_number, root: statement.root };
        Ok(Page { envelope, items, next_cursor, sent, touched })
    }
}

fn upsert(views: Option<Views>, level: View, candidate: &Candidate, decision: Decision) -> (Change, Touched) {
    // INVARIANT: what is sent is the version that was decided on, never one that came between.
    let Some(views) = views else {
        return (Change::Retract, retracted(candidate.record, vec!["overtaken".into()]));
    };
    let access = Touched {
        resource: candidate.record.to_string(),
        version: Some(candidate.version),
        view: Some(level.as_str().to_owned()),
        because: decision.because.into_iter().take(BECAUSE_MAX).collect(),
    };
    (Change::Upsert(views.up_to(level, &candidate.marking, decision.terms, decision.links)), access)
}

fn retracted(record: RecordId, because: Vec<String>) -> Touched {
    let because = because.into_iter().take(BECAUSE_MAX).collect();
    Touched { resource: record.to_string(), version: None, view: Some("retract".to_owned()), because }
}

fn denied(because: &str) -> Decision {
    Decision { level: None, because: vec![because.to_owned()], until: None, terms: None, links: Vec::new() }
}

fn own_target(own: MemberId) -> impl Fn(&LinkTarget) -> Option<RecordId> {
    move |target| match target {
        LinkTarget::Record(record) if record.originator() == own => Some(*record),
        _ => None,
    }
}

/// A share as the decision sees it.
pub(crate) fn share_of(share: &StoredShare) -> Share {
    Share { until: share.until, granted: share.onward.is_some() }
}

/// What the receiver is told of the terms on which it has a record.
fn terms(share: &StoredShare) -> Option<Terms> {
    let purpose = share.onward.as_ref().map(|onward| onward.purpose.clone());
    (share.until.is_some() || purpose.is_some()).then_some(Terms { until: share.until, purpose })
}

/// What goes with the views, in one digest: a change of it alone is a change to be told.
fn shown(terms: Option<&Terms>, links: &[LinkTarget]) -> Option<Hex32> {
    if terms.is_none() && links.is_empty() {
        return None;
    }
    Some(Hex32(comity_core::sha256(&canonical::to_vec(&(terms, links)))))
}

/// About how many bytes of the access record something takes.
fn size_in_record(touched: &Touched) -> usize {
    120 + touched.resource.len() + touched.because.iter().map(|because| because.len() + 3).sum::<usize>()
}

fn outbox_error(error: OutboxError) -> AppError {
    AppError::Internal(match error {
        OutboxError::Store(error) => InternalError::Store(error),
        other => InternalError::Corrupt { what: "outbox", problem: other.to_string() },
    })
}

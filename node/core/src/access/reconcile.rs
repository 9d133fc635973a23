//! Two-sided accounting: each release of one member against its receipt in the log of the other, and each receipt against its release.
//!
//! Pages match by their root, which commits to their items. A page whose receipt was lost is made anew, under the same numbers and
//! another root: its items are then looked for by number, record, version and view.

use std::collections::BTreeMap;

use crate::access::bundle::{InvalidBundle, LeafBytes, Proven};
use crate::access::{AccessRecord, PAGE_RECEIVED, PAGE_SENT};
use crate::canonical::Hex32;
use crate::member::MemberId;
use crate::record::VersionId;
use crate::timestamp::Timestamp;

/// The most items of one side that are held at one time.
pub const ITEMS_MAX: usize = 5_000_000;

/// Why two logs cannot be held against each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Irreconcilable {
    /// A leaf cannot be read.
    #[error(transparent)]
    Leaf(#[from] InvalidBundle),
    /// A page says what no page can.
    #[error("leaf {leaf}: a page of {items} items that ends with number {last_number}: expected numbers from 1 on")]
    Numbers {
        /// Which leaf.
        leaf: u64,
        /// How many items it names.
        items: usize,
        /// The number of the last.
        last_number: u64,
    },
    /// There is more than fits into memory.
    #[error("more than {ITEMS_MAX} items: export both sides for a shorter time")]
    TooMany,
}

/// One item of one page, as one side's log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The leaf of its page.
    pub leaf: u64,
    /// When that was written, by that side's clock.
    pub at: Timestamp,
    /// The page's root.
    pub root: Hex32,
    /// Its number on the line between the two.
    pub number: u64,
    /// Which record.
    pub record: String,
    /// Which version; none of what was taken back.
    pub version: Option<VersionId>,
    /// How much of it, or `retract`.
    pub view: Option<String>,
}

impl Item {
    fn says_as(&self, other: &Self) -> bool {
        (&self.record, &self.version, &self.view) == (&other.record, &other.version, &other.view)
    }
}

/// The items of one direction by their number, in the order of the log.
type Items = BTreeMap<u64, Vec<Item>>;

/// What one member's bundle says of its exchange with another.
#[derive(Debug, Clone)]
pub struct Side {
    partner: MemberId,
    sent: Items,
    received: Items,
    count: usize,
    span: Span,
}

/// Which part of a log a bundle has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    /// Since when; nothing where it is from the log's beginning.
    from: Option<Timestamp>,
    /// Until when.
    to: Option<Timestamp>,
}

impl Side {
    /// Begins, for what went to and came from this partner.
    pub fn with(partner: MemberId) -> Self {
        Self { partner, sent: Items::new(), received: Items::new(), count: 0, span: Span::default() }
    }

    /// Takes a leaf of the bundle. Those that are about no page of the partner's are passed over.
    ///
    /// # Errors
    /// It cannot be read, or there are too many.
    pub fn take(&mut self, leaf: LeafBytes<'_>) -> Result<(), Irreconcilable> {
        let record = leaf.read()?;
        if record.member != Some(self.partner) {
            return Ok(());
        }
        let items = match record.action.as_str() {
            PAGE_SENT => &mut self.sent,
            PAGE_RECEIVED => &mut self.received,
            _ => return Ok(()),
        };
        self.count += add(items, leaf.number, record)?;
        if self.count > ITEMS_MAX { Err(Irreconcilable::TooMany) } else { Ok(()) }
    }

    /// Notes which part of the log the bundle has, once it was proven.
    pub fn covers(&mut self, proven: &Proven) {
        let (first, last) = proven.times;
        // INVARIANT: of a range the beginning is proved. That leaves were selected from the beginning on is its exporter's word; one that
        // lies about it has things missing in its own log.
        self.span = Span { from: (proven.header.first > 0).then_some(first), to: Some(last) };
    }

    /// How many items it has, in both directions.
    pub fn items(&self) -> usize {
        self.count
    }
}

fn add(items: &mut Items, leaf: u64, record: AccessRecord) -> Result<usize, Irreconcilable> {
    let Some(page) = record.page else { return Ok(0) };
    let count = record.touched.len();
    let before = page.last_number.checked_sub(count as u64);
    let before = before.ok_or(Irreconcilable::Numbers { leaf, items: count, last_number: page.last_number })?;
    for (touched, number) in record.touched.into_iter().zip(before.saturating_add(1)..) {
        let (at, root) = (record.at, page.root);
        let item =
            Item { leaf, at, root, number, record: touched.resource, version: touched.version, view: touched.view };
        items.entry(number).or_default().push(item);
    }
    Ok(count)
}

/// What came of one direction: from the one that released to the one that received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Direction {
    /// How many items have the same page on both sides.
    pub matched: u64,
    /// How many were released in one page and received in a later one, after a cut, under the same number and as the same.
    pub sent_again: u64,
    /// Released, never received, and replaced under the same number by what was received.
    pub superseded: Vec<Item>,
    /// Released, and the other log has no receipt.
    pub no_receipt: Vec<Item>,
    /// Received, and the other log has no release.
    pub no_release: Vec<Item>,
    /// The same page, of which the two say different things: (release, receipt).
    pub differ: Vec<(Item, Item)>,
    /// Releases that the receiver's bundle does not reach to.
    pub releases_not_covered: Vec<Item>,
    /// Receipts that the releaser's bundle does not reach to.
    pub receipts_not_covered: Vec<Item>,
}

impl Direction {
    /// Whether both logs tell the same, as far as both reach.
    pub fn agrees(&self) -> bool {
        self.no_receipt.is_empty() && self.no_release.is_empty() && self.differ.is_empty()
    }
}

/// Holds what `releaser` sent against what `receiver` got.
pub fn reconcile(releaser: &Side, receiver: &Side) -> Direction {
    let mut found = Direction::default();
    let none: &[Item] = &[];
    for (number, releases) in &releaser.sent {
        let receipts = receiver.received.get(number).map_or(none, Vec::as_slice);
        if let (true, Some(release)) = (receipts.is_empty(), releases.last()) {
            // However often it was sent: it is one item that never arrived.
            // What was released within the span was not received before it.
            let within = receiver.span.from.is_none_or(|from| release.at >= from);
            match reaches(receiver.span, &receiver.received, release, within) {
                true => found.no_receipt.push(release.clone()),
                false => found.releases_not_covered.push(release.clone()),
            }
            continue;
        }
        for release in releases {
            release_with_receipts(&mut found, release, releases, receipts);
        }
    }
    for (number, receipts) in &receiver.received {
        let releases = releaser.sent.get(number).map_or(none, Vec::as_slice);
        for (at, receipt) in receipts.iter().enumerate() {
            let before = receipts.get(..at).unwrap_or_default();
            // A page is recorded before it is stored, and once more where storing it failed.
            let is_repeated = before.iter().any(|earlier| earlier.root == receipt.root);
            if is_repeated || releases.iter().any(|release| release.root == receipt.root) {
                continue;
            }
            let within = releaser.span.from.is_none();
            match reaches(releaser.span, &releaser.sent, receipt, within) {
                true => found.no_release.push(receipt.clone()),
                false => found.receipts_not_covered.push(receipt.clone()),
            }
        }
    }
    found
}

/// What became of one release whose number was received.
fn release_with_receipts(found: &mut Direction, release: &Item, releases: &[Item], receipts: &[Item]) {
    if let Some(receipt) = receipts.iter().find(|receipt| receipt.root == release.root) {
        match receipt.says_as(release) {
            true => found.matched += 1,
            false => found.differ.push((release.clone(), receipt.clone())),
        }
        return;
    }
    // Another page under this number arrived: one that was released, or the receipt is listed as one without a release.
    let arrived = releases.iter().filter(|other| receipts.iter().any(|receipt| receipt.root == other.root));
    let mut arrived = arrived.peekable();
    if arrived.peek().is_none() {
        found.no_receipt.push(release.clone());
    } else if arrived.any(|other| other.says_as(release)) {
        found.sent_again += 1;
    } else {
        found.superseded.push(release.clone());
    }
}

/// Whether a bundle reaches to where the counterpart of an item must be, given whether that is known not to be before it. Numbers are
/// given in order: what lies between two that a bundle has must be in it, whatever the clocks say. After the last, the clocks decide.
fn reaches(span: Span, items: &Items, item: &Item, within: bool) -> bool {
    let (lowest, highest) = (items.keys().next(), items.keys().next_back());
    let after_first = within || lowest.is_some_and(|lowest| *lowest <= item.number);
    let before_last = highest.is_some_and(|highest| item.number <= *highest) || span.to.is_some_and(|to| item.at <= to);
    after_first && before_last
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;

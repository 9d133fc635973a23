//! Views: what `discover`, `read` and `read_sources` give are three documents, and pages of them are signed as sent.
//!
//! The discover document carries a salted commitment to each of the others; what a record points to is a document beside them,
//! made for one receiver. A page is a list of items; each item's leaf is
//! `leaf_hash(salt || item bytes)`, the page's signature covers the root over them, so that one stored item, its salt, its
//! path and the page's envelope prove its origin alone.

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::canonical::{self, Hex32, InvalidJson};
use crate::document::{Document, LinkTarget, ReadBody, SourcesBody};
use crate::dsse::{Envelope, InvalidEnvelope};
use crate::marking::Marking;
use crate::member::MemberId;
use crate::merkle::{self, MerkleLog};
use crate::record::{RecordId, RecordKind, VersionId};
use crate::release::Action;
use crate::timestamp::Timestamp;

/// That a record exists: no title, no subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiscoverView {
    /// Which record.
    pub record: RecordId,
    /// Which version.
    pub version: VersionId,
    /// What it is.
    pub kind: RecordKind,
    /// Whose it is.
    pub originator: MemberId,
    /// What restricts it.
    pub marking: Marking,
    /// Commitment to the exact bytes of the read document.
    pub read_commitment: Hex32,
    /// Commitment to the exact bytes of the sources document.
    pub read_sources_commitment: Hex32,
    /// On what terms this receiver has it, where they are not those of the marking alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
}

/// On what terms a receiver has a record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Until when: the receiver shows it to nobody from then on, whether or not it can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// It was released onward, for this purpose: the marking need not name the receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

impl DiscoverView {
    /// Whether its receiver may have it at all: the marking names it, or the originator released it onward.
    pub fn is_for(&self, receiver: MemberId) -> bool {
        self.marking.releasable_to.contains(&receiver) || self.terms.as_ref().is_some_and(|t| t.purpose.is_some())
    }

    /// When its receiver must give it up.
    pub fn until(&self) -> Option<Timestamp> {
        self.terms.as_ref().and_then(|terms| terms.until)
    }
}

/// The body, without what reveals sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadView {
    /// Which record.
    pub record: RecordId,
    /// Which version.
    pub version: VersionId,
    /// What it says.
    pub body: ReadBody,
}

/// What reveals sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadSourcesView {
    /// Which record.
    pub record: RecordId,
    /// Which version.
    pub version: VersionId,
    /// Where it comes from.
    pub body: SourcesBody,
}

/// What the record points to, as far as this receiver may discover it. It is not committed to: how many links it leaves out is
/// nobody's to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinksView {
    /// Which record.
    pub record: RecordId,
    /// Which version.
    pub version: VersionId,
    /// Where it points.
    pub links: Vec<LinkTarget>,
}

/// The two documents of one version that are committed to, and the salts that open the commitments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Views {
    /// Which record.
    pub record: RecordId,
    /// Which version.
    pub version: VersionId,
    /// The read document.
    pub read: Vec<u8>,
    /// Opens the commitment to it.
    pub read_salt: Hex32,
    /// The sources document.
    pub read_sources: Vec<u8>,
    /// Opens the commitment to it.
    pub read_sources_salt: Hex32,
}

impl Views {
    /// Makes the documents of one version. The salts are fresh random bytes.
    pub fn of(record: RecordId, version: VersionId, document: &Document, salts: [Hex32; 2]) -> Self {
        let [read_salt, read_sources_salt] = salts;
        let read = canonical::to_vec(&ReadView { record, version, body: document.read_body() });
        let read_sources = canonical::to_vec(&ReadSourcesView { record, version, body: document.sources_body() });
        Self { record, version, read, read_salt, read_sources, read_sources_salt }
    }

    /// The documents that an allowed action gives one receiver, least first.
    pub fn up_to(
        &self,
        action: Action,
        marking: &Marking,
        terms: Option<Terms>,
        links: Vec<LinkTarget>,
    ) -> Vec<ItemDocument> {
        let (record, version) = (self.record, self.version);
        let discover = canonical::to_vec(&DiscoverView {
            record,
            version,
            kind: record.kind(),
            originator: record.originator(),
            marking: marking.clone(),
            read_commitment: commitment(self.read_salt, &self.read),
            read_sources_commitment: commitment(self.read_sources_salt, &self.read_sources),
            terms,
        });
        let mut documents = vec![ItemDocument { view: ViewName::Discover, salt: None, text: lossless(&discover) }];
        if action >= Action::Read {
            documents.push(ItemDocument {
                view: ViewName::Read,
                salt: Some(self.read_salt),
                text: lossless(&self.read),
            });
        }
        if action >= Action::ReadSources {
            documents.push(ItemDocument {
                view: ViewName::ReadSources,
                salt: Some(self.read_sources_salt),
                text: lossless(&self.read_sources),
            });
        }
        if action >= Action::Read && !links.is_empty() {
            let links = canonical::to_vec(&LinksView { record, version, links });
            documents.push(ItemDocument { view: ViewName::Links, salt: None, text: lossless(&links) });
        }
        documents
    }

    /// Length in bytes of the largest set of documents, but for what frames them.
    pub fn len(&self) -> usize {
        self.read.len() + self.read_sources.len()
    }

    /// Never so: each document names its record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn lossless(bytes: &[u8]) -> String {
    // INVARIANT: the documents are JSON that `to_vec` wrote, so they are UTF-8.
    String::from_utf8_lossy(bytes).into_owned()
}

/// A commitment to bytes that are not shown: `SHA-256("comity-commitment/1" 0x00 salt bytes)`, the salt 32 random bytes.
pub fn commitment(salt: Hex32, bytes: &[u8]) -> Hex32 {
    let mut hasher = Sha256::new();
    hasher.update(b"comity-commitment/1\0");
    hasher.update(salt.0);
    hasher.update(bytes);
    Hex32(hasher.finalize().into())
}

/// Which of the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewName {
    /// That it exists.
    Discover,
    /// The body.
    Read,
    /// The sources.
    ReadSources,
    /// What it points to.
    Links,
}

impl ViewName {
    /// As it stands in documents and in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Read => "read",
            Self::ReadSources => "read_sources",
            Self::Links => "links",
        }
    }

    /// The action that gives it; none where it only goes with another.
    pub const fn level(self) -> Option<&'static str> {
        match self {
            Self::Links => None,
            view => Some(view.as_str()),
        }
    }
}

/// One document in an item: its exact text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ItemDocument {
    /// Which document.
    pub view: ViewName,
    /// Opens the commitment in the discover document; none for that one itself, and for links.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<Hex32>,
    /// The document.
    pub text: String,
}

/// What happens to one record at the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Change {
    /// Hold these documents, and nothing older of this record.
    Upsert(Vec<ItemDocument>),
    /// Hold nothing of this record any more.
    Retract,
}

/// One numbered change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageItem {
    /// Given at release: dense for each receiver, so that gaps tell nothing.
    pub number: u64,
    /// Which record.
    pub record: RecordId,
    /// What happens to it.
    pub change: Change,
}

impl PageItem {
    /// That the record exists and what restricts it, where the item brings that.
    ///
    /// # Errors
    /// The document is not as it must be; [`verify_page`] excludes that.
    pub fn discover(&self) -> Result<Option<DiscoverView>, InvalidJson> {
        match &self.change {
            Change::Upsert(documents) => {
                let text = documents.first().map_or("", |document| document.text.as_str());
                canonical::from_slice(text.as_bytes()).map(Some)
            }
            Change::Retract => Ok(None),
        }
    }
}

/// What the originator's node signs for a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageStatement {
    /// Which federation.
    pub federation: Hex32,
    /// Who releases.
    pub from: MemberId,
    /// To whom.
    pub to: MemberId,
    /// The number of the first item.
    pub first_number: u64,
    /// How many items.
    pub count: u64,
    /// The root over the items' leaves.
    pub root: Hex32,
    /// When.
    pub released_at: Timestamp,
}

/// What the receiver's node signs once a page is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptStatement {
    /// Which federation.
    pub federation: Hex32,
    /// Who released.
    pub from: MemberId,
    /// Who received: the signer.
    pub to: MemberId,
    /// The page's root.
    pub root: Hex32,
    /// The number of the last item.
    pub last_number: u64,
    /// When it was durable.
    pub received_at: Timestamp,
}

/// The payload type of a page's envelope.
pub const PAGE_TYPE: &str = "application/vnd.comity.page.v1+json";
/// The payload type of a receipt's envelope.
pub const RECEIPT_TYPE: &str = "application/vnd.comity.receipt.v1+json";

/// The most items of a page.
pub const PAGE_MAX_ITEMS: usize = 512;
/// The largest item, in bytes: a document of the largest size, each of whose characters is escaped once more as it is put into the
/// item, and what goes with it.
pub const ITEM_MAX_BYTES: usize = 3 * Document::MAX_BYTES;

/// One item as it is sent: its salt and exact bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedItem {
    /// 32 fresh random bytes.
    pub salt: Hex32,
    /// The item, as JSON.
    pub bytes: Vec<u8>,
}

impl SealedItem {
    /// Seals an item.
    pub fn new(item: &PageItem, salt: Hex32) -> Self {
        Self { salt, bytes: canonical::to_vec(item) }
    }

    /// Its leaf in the page's tree.
    pub fn leaf(&self) -> Hex32 {
        merkle::leaf_hash(&[self.salt.0.as_slice(), &self.bytes].concat())
    }
}

/// Why a page or a receipt is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedPage {
    /// Not signed by the sender's node key.
    #[error("page signature: {0}")]
    Signature(#[from] InvalidEnvelope),
    /// Another kind of statement.
    #[error("payload type `{0}`: expected a page or receipt of version 1")]
    PayloadType(String),
    /// The statement or an item is not the JSON that was expected.
    #[error("page content: {0}")]
    Content(#[from] InvalidJson),
    /// The statement is about something else.
    #[error("page {field}: {found}, expected {expected}")]
    Mismatch {
        /// What differs.
        field: &'static str,
        /// What it says.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// No items, or more than a page may have.
    #[error("page items: {found}, expected 1 to {PAGE_MAX_ITEMS}")]
    Items {
        /// How many it has.
        found: usize,
    },
    /// An item that no record can make so large.
    #[error("item {number}: {bytes} bytes, expected at most {ITEM_MAX_BYTES}")]
    Size {
        /// The item.
        number: u64,
        /// How large it is.
        bytes: usize,
    },
    /// The items do not hash to the signed root.
    #[error("the items do not hash to the signed root")]
    Root,
    /// An item speaks of another member's record.
    #[error("item {number}: record {record} is not the sender's: only the originator sends it")]
    ForeignRecord {
        /// The item.
        number: u64,
        /// The record.
        record: RecordId,
    },
    /// The documents of an item contradict each other.
    #[error("item {number}: {problem}")]
    Documents {
        /// The item.
        number: u64,
        /// What is wrong.
        problem: &'static str,
    },
}

/// Signs a page of items numbered from `first_number`.
pub fn sign_page(statement: &PageStatement, key: &SigningKey) -> Envelope {
    Envelope::sign(PAGE_TYPE, canonical::to_vec(statement), key)
}

/// Signs a receipt.
pub fn sign_receipt(statement: &ReceiptStatement, key: &SigningKey) -> Envelope {
    Envelope::sign(RECEIPT_TYPE, canonical::to_vec(statement), key)
}

/// Checks a receipt's signature and reads it.
///
/// # Errors
/// The signature or the content is not as it must be.
pub fn verify_receipt(envelope: &Envelope, key: &VerifyingKey) -> Result<ReceiptStatement, RefusedPage> {
    if envelope.payload_type != RECEIPT_TYPE {
        return Err(RefusedPage::PayloadType(envelope.payload_type.clone()));
    }
    envelope.verify(key)?;
    Ok(canonical::from_slice(&envelope.payload)?)
}

/// A page that holds together.
#[derive(Debug)]
pub struct VerifiedPage {
    /// What was signed.
    pub statement: PageStatement,
    /// What each item says; with the discover document that an upsert begins with.
    pub items: Vec<(PageItem, Option<DiscoverView>)>,
    /// The tree that the signed root stands for, to prove single items from.
    pub tree: MerkleLog,
}

/// Checks a whole page: signature, addressee, numbers, root, and that each item is the sender's own and consistent.
///
/// # Errors
/// The first thing that is not as it must be; nothing of the page is to be kept then.
pub fn verify_page(
    envelope: &Envelope,
    items: &[SealedItem],
    key: &VerifyingKey,
    federation: Hex32,
    from: MemberId,
    to: MemberId,
) -> Result<VerifiedPage, RefusedPage> {
    if envelope.payload_type != PAGE_TYPE {
        return Err(RefusedPage::PayloadType(envelope.payload_type.clone()));
    }
    envelope.verify(key)?;
    let statement: PageStatement = canonical::from_slice(&envelope.payload)?;
    let same = |field, found: String, expected: String| {
        if found == expected { Ok(()) } else { Err(RefusedPage::Mismatch { field, found, expected }) }
    };
    same("federation", statement.federation.to_string(), federation.to_string())?;
    same("from", statement.from.to_string(), from.to_string())?;
    same("to", statement.to.to_string(), to.to_string())?;
    same("count", statement.count.to_string(), items.len().to_string())?;
    if items.is_empty() || items.len() > PAGE_MAX_ITEMS {
        return Err(RefusedPage::Items { found: items.len() });
    }
    if let Some((item, number)) =
        items.iter().zip(statement.first_number..).find(|(i, _)| i.bytes.len() > ITEM_MAX_BYTES)
    {
        return Err(RefusedPage::Size { number, bytes: item.bytes.len() });
    }
    let mut tree = MerkleLog::default();
    items.iter().for_each(|item| tree.append(item.leaf()));
    if tree.root() != statement.root {
        return Err(RefusedPage::Root);
    }
    let mut read = Vec::with_capacity(items.len());
    for (sealed, number) in items.iter().zip(statement.first_number..) {
        let item: PageItem = canonical::from_slice(&sealed.bytes)?;
        if item.number != number {
            same("number", item.number.to_string(), number.to_string())?;
        }
        if item.record.originator() != from {
            return Err(RefusedPage::ForeignRecord { number, record: item.record });
        }
        let discover = match &item.change {
            Change::Upsert(documents) => Some(check_documents(number, item.record, documents)?),
            Change::Retract => None,
        };
        read.push((item, discover));
    }
    Ok(VerifiedPage { statement, items: read, tree })
}

/// Checks the documents of an upsert against each other; returns the first of them.
fn check_documents(number: u64, record: RecordId, documents: &[ItemDocument]) -> Result<DiscoverView, RefusedPage> {
    let refuse = |problem| Err(RefusedPage::Documents { number, problem });
    let Some((first, rest)) = documents.split_first() else {
        return refuse("no document");
    };
    let discover: DiscoverView = canonical::from_slice(first.text.as_bytes())?;
    if first.view != ViewName::Discover
        || first.salt.is_some()
        || discover.kind != record.kind()
        || discover.record != record
        || discover.originator != record.originator()
    {
        return refuse("the first document is not this record's discover view");
    }
    let mut last = first.view;
    for document in rest {
        let view = document.view;
        let (committed, named, version) = match view {
            ViewName::Discover => return refuse("two discover views"),
            ViewName::Read => {
                let view: ReadView = canonical::from_slice(document.text.as_bytes())?;
                if view.body.kind() != record.kind() {
                    return refuse("a read view of another kind");
                }
                (Some(discover.read_commitment), view.record, view.version)
            }
            ViewName::ReadSources => {
                let view: ReadSourcesView = canonical::from_slice(document.text.as_bytes())?;
                (Some(discover.read_sources_commitment), view.record, view.version)
            }
            ViewName::Links => {
                let view: LinksView = canonical::from_slice(document.text.as_bytes())?;
                (None, view.record, view.version)
            }
        };
        if view <= last || named != record || version != discover.version {
            return refuse("a document of another record or version");
        }
        match (committed, document.salt) {
            (Some(committed), Some(salt)) => {
                if commitment(salt, document.text.as_bytes()) != committed {
                    return refuse("a document does not open its commitment");
                }
            }
            (None, None) => {}
            _ => return refuse("a document without the salt of its commitment"),
        }
        last = view;
    }
    Ok(discover)
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;

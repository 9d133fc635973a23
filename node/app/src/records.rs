//! Records: drafting, revising, showing, withdrawing; asking to share.

use comity_core::document::{Document, ReadBody, check_answer};
use comity_core::list::{BallotId, BallotState};
use comity_core::release::{Action as View, RecordHeader};
use comity_core::view::{Change, DiscoverView, ItemDocument, ReadView, ViewName};
use comity_core::{Marking, MemberId, RecordId, RecordKind, SpiffeId, Timestamp, VersionId, Violations};
use comity_policy::Held;
use comity_store::copies::StoredCopy;
use comity_store::records::{NewRecord, NewShare, RecordError, RecordState, Revision, StoredRecord, StoredShare};
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::approve::ApprovalView;
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;

/// The longest request id.
const REQUEST_ID_MAX_CHARS: usize = 64;
/// The most records that one decision shares.
const SHARE_MAX_RECORDS: usize = 1_000;
/// How many rows are looked at for a page at most, so that a list full of what somebody may not see ends.
const ROWS_PER_PAGE: usize = 200;

/// An own record, and the ballot it stands under.
#[derive(Debug, Clone)]
pub struct OwnRecord {
    /// What the store holds.
    pub row: StoredRecord,
    /// The ballot, if it is a proposal that is tabled.
    pub ballot: Option<BallotId>,
}

/// A record that this node's people may see.
#[derive(Debug, Clone)]
pub enum RecordView {
    /// This member's.
    Own(Box<OwnRecord>),
    /// A partner's, as far as it was released.
    Received(Box<ReceivedCopy>),
}

/// A partner's record, read.
#[derive(Debug, Clone)]
pub struct ReceivedCopy {
    /// Which.
    pub record: RecordId,
    /// That it exists, its marking, and on what terms this member has it.
    pub discover: DiscoverView,
    /// What it says, if so much was released.
    pub body: Option<ReadBody>,
    /// Every document that was released, exactly as signed.
    pub documents: Vec<ItemDocument>,
    /// When this version came.
    pub received: Timestamp,
}

impl ReceivedCopy {
    pub(crate) fn read(copy: StoredCopy) -> Result<Self, InternalError> {
        let corrupt = |problem: String| InternalError::Corrupt { what: "received copy", problem };
        let Change::Upsert(documents) = copy.item.change else { return Err(corrupt("it is a retraction".into())) };
        let text = |view| documents.iter().find(|d| d.view == view).map(|d| d.text.as_bytes());
        let discover = comity_core::canonical::from_slice(text(ViewName::Discover).unwrap_or_default());
        let discover = discover.map_err(|e| corrupt(e.to_string()))?;
        let read = text(ViewName::Read).map(comity_core::canonical::from_slice::<ReadView>).transpose();
        let body = read.map_err(|e| corrupt(e.to_string()))?.map(|read| read.body);
        Ok(Self { record: copy.record, discover, body, documents, received: copy.received })
    }
}

/// A page of a list.
#[derive(Debug, Clone)]
pub struct RecordPage {
    /// What this person may see, newest first: own records, then received ones.
    pub records: Vec<RecordView>,
    /// Where the next page begins; empty at the end.
    pub next: String,
}

/// What a withdrawal came to.
#[derive(Debug, Clone)]
pub enum Withdrawal {
    /// Done.
    Done(Box<OwnRecord>),
    /// It is tabled, so another person must approve.
    Waits(Box<ApprovalView>),
}

impl Node {
    /// Stores a draft. The same request id with the same document answers what it did the first time.
    ///
    /// # Errors
    /// The document is not as it must be, its marking is above this node's accreditation or the author's clearance, or the request
    /// id was used for another one.
    pub async fn create_record(
        &self,
        author: &SpiffeId,
        kind: RecordKind,
        document: &[u8],
        request_id: Option<String>,
    ) -> Result<OwnRecord, AppError> {
        if matches!(kind, RecordKind::Grant | RecordKind::Recall) {
            return Err(Violations::one("kind", format!("a {kind} is made by its own command, and approved")).into());
        }
        let document = self.read_document(author, kind, document).await?;
        if request_id.as_ref().is_some_and(|id| id.len() > REQUEST_ID_MAX_CHARS) {
            return Err(Violations::one("request_id", format!("longer than {REQUEST_ID_MAX_CHARS} characters")).into());
        }
        let new = NewRecord { request_id, ..self.new_record(author, document)? };
        let row = self.store.records().create(new).await?;
        Ok(self.own(row))
    }

    /// A fresh record of this member.
    pub(crate) fn new_record(&self, author: &SpiffeId, document: Document) -> Result<NewRecord, InternalError> {
        Ok(NewRecord {
            id: fresh::record(self.member(), document.kind())?,
            version: fresh::version()?,
            document,
            author: author.clone(),
            at: fresh::now(),
            salts: [fresh::salt()?, fresh::salt()?],
            request_id: None,
        })
    }

    /// Replaces the document of an own record.
    ///
    /// # Errors
    /// There is none, somebody was faster, or it is tabled, withdrawn or recalled.
    pub async fn update_record(
        &self,
        author: &SpiffeId,
        id: RecordId,
        expected: VersionId,
        document: &[u8],
    ) -> Result<OwnRecord, AppError> {
        self.own_row(author, id).await?;
        let document = self.read_document(author, id.kind(), document).await?;
        let revision = Revision {
            version: fresh::version()?,
            document,
            author: author.clone(),
            at: fresh::now(),
            salts: [fresh::salt()?, fresh::salt()?],
        };
        let row = self.store.records().revise(id, expected, revision).await?;
        Ok(self.own(row))
    }

    async fn read_document(&self, author: &SpiffeId, kind: RecordKind, document: &[u8]) -> Result<Document, AppError> {
        let document = Document::from_json(kind, document)?;
        let mut violations = Violations::default();
        self.check_marking(author, document.marking(), &mut violations);
        if let Some(about) = document.about() {
            let of = self.marking_of(author, about).await?;
            check_answer(self.member(), about, &of, document.marking(), &mut violations);
        }
        violations.into_result()?;
        Ok(document)
    }

    /// Checks a marking against this node's accreditation, its author's clearance and the roster.
    pub(crate) fn check_marking(&self, author: &SpiffeId, marking: &Marking, violations: &mut Violations) {
        let counts_as = self.equivalences.tier(self.member(), marking, fresh::now());
        let ceiling = self.roster_row().ceiling;
        if counts_as > ceiling {
            let problem = format!("{counts_as} is above this node's accreditation, {ceiling}");
            violations.push("marking.tier", problem);
        }
        if counts_as > marking.tier {
            let wording = marking.national.as_deref().unwrap_or_default();
            let problem = format!("`{wording}` means {counts_as}, which is above {}: raise the tier", marking.tier);
            violations.push("marking.national", problem);
        }
        if let Some(lacking) = self.clearance(author).lacks(counts_as, marking) {
            use comity_core::clearance::Lacking;
            violations.push(
                match lacking {
                    Lacking::Tier => "marking.tier",
                    Lacking::Compartment => "marking.compartments",
                },
                "is beyond your own clearance: see `comity policy people`",
            );
        }
        for party in &marking.releasable_to {
            if self.party(*party).is_none() {
                violations.push("marking.releasable_to", format!("{party} is not in this federation's roster"));
            }
        }
    }

    /// The marking of a record that a person may see, own or received.
    pub(crate) async fn marking_of(&self, person: &SpiffeId, record: RecordId) -> Result<Marking, AppError> {
        Ok(match self.record(person, record).await? {
            RecordView::Own(own) => own.row.document.marking().clone(),
            RecordView::Received(copy) => copy.discover.marking,
        })
    }

    /// A record that this person may see.
    ///
    /// # Errors
    /// There is none, or it may not be seen: one answer.
    pub async fn record(&self, person: &SpiffeId, id: RecordId) -> Result<RecordView, AppError> {
        if id.originator() == self.member() {
            return Ok(RecordView::Own(Box::new(self.own(self.own_row(person, id).await?))));
        }
        let copy = self.store.copies().get(id).await.map_err(InternalError::Store)?;
        let copy = copy.map(ReceivedCopy::read).transpose()?.filter(|copy| self.may_see_copy(person, copy));
        Ok(RecordView::Received(Box::new(copy.ok_or(AppError::NotFound(id.kind().as_str()))?)))
    }

    /// INVARIANT: the originator's limits bind this node's own people on its record, whether or not it can be reached.
    pub(crate) fn may_see_copy(&self, person: &SpiffeId, copy: &ReceivedCopy) -> bool {
        let header = RecordHeader::new(copy.record, copy.discover.marking.clone());
        let header =
            RecordHeader { tier: self.equivalences.tier(header.originator, &header.marking, copy.received), ..header };
        let held = Held { for_us: copy.discover.is_for(self.member()), until: copy.discover.until() };
        self.may_see(person, View::Read, &header, Some(held))
    }

    fn may_see_own(&self, person: &SpiffeId, row: &StoredRecord) -> bool {
        self.may_see(person, View::ReadSources, &self.header_of(row), None)
    }

    pub(crate) fn may_see(&self, person: &SpiffeId, view: View, header: &RecordHeader, held: Option<Held>) -> bool {
        let clearance = self.clearance(person);
        let now = fresh::now();
        comity_policy::decide_local(self.member(), person.role(), &clearance, view, header, held.as_ref(), now).allow
    }

    /// What decisions look at, of an own record.
    pub(crate) fn header_of(&self, row: &StoredRecord) -> RecordHeader {
        let header = RecordHeader::new(row.id, row.document.marking().clone());
        let tier = self.equivalences.tier(row.id.originator(), &header.marking, row.written);
        RecordHeader { tier, about: row.document.about(), ..header }
    }

    /// Records that this person may see, newest first: own ones, then received ones. Pages are full whatever lies hidden between.
    ///
    /// # Errors
    /// The token is not one that this node gave to this person, or the store cannot be read.
    pub async fn records(
        &self,
        person: &SpiffeId,
        kind: Option<RecordKind>,
        about: Option<RecordId>,
        token: &str,
        size: usize,
    ) -> Result<RecordPage, AppError> {
        let list =
            format!("{}/{}", kind.map_or("", RecordKind::as_str), about.map(|a| a.to_string()).unwrap_or_default());
        let mut place = match token {
            "" => Place::OWN,
            token => self.tokens.open(&list, person.name(), token).map(Place::of).ok_or_else(|| {
                Violations::one("page_token", "is not one that this list gave you: begin without one")
            })?,
        };
        let mut records = Vec::new();
        loop {
            let rows = self.rows_from(kind, place).await?;
            let last = rows.len() < ROWS_PER_PAGE;
            for (position, record) in rows {
                place.below = Some(position);
                if !self.may_see_view(person, &record) || about.is_some_and(|about| record.about() != Some(about)) {
                    continue;
                }
                records.push(record);
                if records.len() >= size {
                    return Ok(RecordPage { records, next: self.tokens.seal(&list, person.name(), place.number()) });
                }
            }
            match (last, place.received) {
                (false, _) => {}
                (true, false) => place = Place::RECEIVED,
                (true, true) => return Ok(RecordPage { records, next: String::new() }),
            }
        }
    }

    async fn rows_from(&self, kind: Option<RecordKind>, place: Place) -> Result<Vec<(u64, RecordView)>, AppError> {
        if place.received {
            let copies =
                self.store.copies().list(kind, place.below, ROWS_PER_PAGE).await.map_err(InternalError::Store)?;
            let read = |copy: StoredCopy| {
                let position = copy.position;
                Ok((position, RecordView::Received(Box::new(ReceivedCopy::read(copy)?))))
            };
            return copies.into_iter().map(read).collect();
        }
        let rows = self.store.records().list(kind, place.below, ROWS_PER_PAGE).await.map_err(InternalError::Store)?;
        Ok(rows.into_iter().map(|row| (row.position, RecordView::Own(Box::new(self.own(row))))).collect())
    }

    fn may_see_view(&self, person: &SpiffeId, record: &RecordView) -> bool {
        match record {
            RecordView::Own(own) => self.may_see_own(person, &own.row),
            RecordView::Received(copy) => self.may_see_copy(person, copy),
        }
    }

    /// Asks that records be shared, all of them or none.
    ///
    /// # Errors
    /// One of them is not there or another's, its marking does not let it go there, it is withdrawn, or somebody was faster.
    pub async fn ask_share(
        &self,
        author: &SpiffeId,
        records: Vec<(RecordId, Option<VersionId>)>,
        parties: Vec<MemberId>,
        until: Option<Timestamp>,
    ) -> Result<ApprovalView, AppError> {
        let mut violations = Violations::default();
        if records.is_empty() || records.len() > SHARE_MAX_RECORDS {
            violations.push("records", format!("name 1 to {SHARE_MAX_RECORDS}"));
        }
        if parties.is_empty() {
            violations.push("parties", "name at least one, as --with DE");
        }
        if until.is_some_and(|until| until <= fresh::now()) {
            violations.push("until", "is past: expected an instant to come");
        }
        for (i, party) in parties.iter().enumerate() {
            let field = format!("parties[{i}]");
            if let Err(AppError::Invalid(v)) = self.ensure_partner(*party, &field) {
                v.as_slice().iter().for_each(|v| violations.push(&v.field, &v.description));
            } else if self.line(*party).is_none() {
                violations
                    .push(field, format!("{party} is suspended: nothing is shared with it until it is readmitted"));
            }
        }
        violations.into_result()?;
        let mut seen = Vec::with_capacity(records.len());
        for (id, expected) in records {
            // INVARIANT: one that is not there, or another's, and nothing is asked for.
            let row = self.current(author, id, expected).await?;
            ensure_not_taken_back(&row)?;
            self.ensure_releasable(&row, &parties)?;
            seen.push(row);
        }
        let names: Vec<String> = parties.iter().map(ToString::to_string).collect();
        let end = until.map(|until| format!(", until {until}")).unwrap_or_default();
        let (summary, version) = match seen.as_slice() {
            [row] => (
                format!("share {}, {}, with {}{end}", row.id, row.document.marking(), names.join(", ")),
                Some(row.version),
            ),
            rows => (format!("share {} records with {}{end}", rows.len(), names.join(", ")), None),
        };
        let records = seen.iter().map(|row| SharedVersion { record: row.id, version: row.version }).collect();
        self.ask(author, Action::Share { records, parties, until }, summary, version).await
    }

    fn ensure_releasable(&self, row: &StoredRecord, parties: &[MemberId]) -> Result<(), AppError> {
        let mut violations = Violations::default();
        for (i, party) in parties.iter().enumerate() {
            if !row.document.marking().releasable_to.contains(party) {
                let problem = format!(
                    "marking.releasable_to of {} does not name {party}: edit the record's marking first",
                    row.id
                );
                violations.push(format!("parties[{i}]"), problem);
            }
            if row
                .document
                .about()
                .is_some_and(|about| about.originator() != *party && about.originator() != self.member())
            {
                violations
                    .push(format!("parties[{i}]"), format!("{} answers a record of another than {party}", row.id));
            }
        }
        Ok(violations.into_result()?)
    }

    pub(crate) async fn share(
        &self,
        records: &[SharedVersion],
        parties: &[MemberId],
        until: Option<Timestamp>,
    ) -> Result<String, AppError> {
        let new = NewShare {
            records: records.iter().map(|shared| (shared.record, shared.version)).collect(),
            parties: parties.iter().copied().collect(),
            terms: StoredShare { until, onward: None },
            at: fresh::now(),
        };
        self.store.records().share(new).await?;
        let names: Vec<String> = parties.iter().map(ToString::to_string).collect();
        let what = match records {
            [shared] => format!("{} is", shared.record),
            records => format!("{} records are", records.len()),
        };
        Ok(format!("{what} shared with {}, as far as the policy for each allows", names.join(", ")))
    }

    /// Withdraws a record; where it is a proposal that is tabled, asks for it.
    ///
    /// # Errors
    /// There is none, it is withdrawn already, or somebody was faster.
    pub async fn withdraw_record(
        &self,
        author: &SpiffeId,
        id: RecordId,
        expected: Option<VersionId>,
    ) -> Result<Withdrawal, AppError> {
        let row = self.current(author, id, expected).await?;
        ensure_not_taken_back(&row)?;
        let open = self.consensus.read(|list| list.ballot_of(id).map(|b| (b.id, b.state.clone())));
        match open {
            Some((ballot, BallotState::Open)) => {
                let summary = format!("take {id} back from the members, ballot {}", short(&ballot.to_string()));
                let action = Action::Withdraw { proposal: Some(id), ballot, command_id: fresh::command_id()? };
                Ok(Withdrawal::Waits(Box::new(self.ask(author, action, summary, Some(row.version)).await?)))
            }
            Some((_, state)) => Err(AppError::Precondition {
                reason: "BALLOT_CLOSED",
                problem: format!("its ballot is {state}: a decision of the members is not withdrawn by one of them"),
            }),
            None => {
                let row = self.store.records().withdraw(id, fresh::now()).await?;
                Ok(Withdrawal::Done(Box::new(self.own(row))))
            }
        }
    }

    /// An own record that this person may see.
    pub(crate) async fn own_row(&self, person: &SpiffeId, id: RecordId) -> Result<StoredRecord, AppError> {
        let row = self.store.records().get(id).await.map_err(InternalError::Store)?;
        row.filter(|row| self.may_see_own(person, row)).ok_or(AppError::NotFound(id.kind().as_str()))
    }

    /// The record in the version that the caller looked at.
    pub(crate) async fn current(
        &self,
        person: &SpiffeId,
        id: RecordId,
        expected: Option<VersionId>,
    ) -> Result<StoredRecord, AppError> {
        let row = self.own_row(person, id).await?;
        if expected.is_some_and(|expected| expected != row.version) {
            return Err(changed(id));
        }
        Ok(row)
    }

    pub(crate) fn own(&self, row: StoredRecord) -> OwnRecord {
        let ballot = self.consensus.read(|list| list.ballot_of(row.id).map(|b| b.id));
        OwnRecord { ballot, row }
    }
}

impl RecordView {
    /// Which.
    pub fn id(&self) -> RecordId {
        match self {
            Self::Own(own) => own.row.id,
            Self::Received(copy) => copy.record,
        }
    }

    /// The record that it answers, as far as that is shown.
    pub fn about(&self) -> Option<RecordId> {
        match self {
            Self::Own(own) => own.row.document.about(),
            Self::Received(copy) => copy.body.as_ref().and_then(ReadBody::about),
        }
    }
}

/// A version that somebody looked at and asked to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedVersion {
    /// Which record.
    pub record: RecordId,
    /// Which version.
    pub version: VersionId,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy)]
struct Place {
    received: bool,
    below: Option<u64>,
}

impl Place {
    const OWN: Self = Self { received: false, below: None };
    const RECEIVED: Self = Self { received: true, below: None };
    /// Positions are far below it.
    const RECEIVED_BIT: u64 = 1 << 62;

    fn number(self) -> u64 {
        self.below.unwrap_or(Self::RECEIVED_BIT - 1) | if self.received { Self::RECEIVED_BIT } else { 0 }
    }

    fn of(number: u64) -> Self {
        Self { received: number & Self::RECEIVED_BIT != 0, below: Some(number & !Self::RECEIVED_BIT) }
    }
}

pub(crate) fn ensure_not_taken_back(row: &StoredRecord) -> Result<(), AppError> {
    let (reason, what) = match (row.recalled, row.state) {
        (Some(_), _) => ("RECORD_RECALLED", "recalled"),
        (None, RecordState::Withdrawn) => ("RECORD_WITHDRAWN", "withdrawn"),
        (None, _) => return Ok(()),
    };
    Err(AppError::Precondition { reason, problem: format!("{} is {what}: draft it anew", row.id) })
}

pub(crate) fn changed(id: RecordId) -> AppError {
    AppError::Conflict {
        reason: "VERSION_CHANGED",
        problem: format!("{id} has changed since you looked: see what it says now, then try again"),
    }
}

/// The first digits of a ballot's name, as people say it.
pub(crate) fn short(ballot: &str) -> &str {
    ballot.get(..10).unwrap_or(ballot)
}

impl From<RecordError> for AppError {
    fn from(error: RecordError) -> Self {
        let problem = error.to_string();
        match error {
            RecordError::NotFound { id } | RecordError::NotOurs { id, .. } => Self::NotFound(id.kind().as_str()),
            RecordError::Conflict { id, .. } => changed(id),
            RecordError::WrongState { .. } | RecordError::Kind { .. } => {
                Self::Precondition { reason: "RECORD_STATE", problem }
            }
            RecordError::Recalled { .. } => Self::Precondition { reason: "RECORD_RECALLED", problem },
            RecordError::NotAppended { .. } => Self::Precondition { reason: "NOT_APPENDED", problem },
            RecordError::RequestIdReused { .. } => Self::Conflict { reason: "REQUEST_ID_REUSED", problem },
            RecordError::IdTaken { .. } => Self::Conflict { reason: "ID_TAKEN", problem },
            RecordError::Store(error) => Self::Internal(InternalError::Store(error)),
        }
    }
}

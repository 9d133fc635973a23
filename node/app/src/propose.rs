//! Proposals: drafting, revising, showing; asking to share, table and withdraw.

use comity_core::list::{BallotState, EntryId, Motion};
use comity_core::proposal::Proposal;
use comity_core::release::{Action as View, RecordHeader};
use comity_core::view::{Change, DiscoverView, ItemDocument, ViewName};
use comity_core::{MemberId, RecordId, RecordKind, Role, SpiffeId, Timestamp, VersionId, Violations};
use comity_store::proposals::{NewProposal, ProposalError, ProposalState, Revision, StoredProposal};

use crate::action::Action;
use crate::approve::ApprovalView;
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;

/// The longest request id.
const REQUEST_ID_MAX_CHARS: usize = 64;

/// An own proposal, and the ballot it stands under.
#[derive(Debug, Clone)]
pub struct OwnProposal {
    /// What the store holds.
    pub row: StoredProposal,
    /// The ballot, if it is tabled.
    pub ballot: Option<comity_core::list::BallotId>,
}

/// A proposal that this node's people may see.
#[derive(Debug, Clone)]
pub enum ProposalView {
    /// This member's.
    Own(Box<OwnProposal>),
    /// A partner's, as far as it was released.
    Received(Box<ReceivedCopy>),
}

/// A partner's record, read.
#[derive(Debug, Clone)]
pub struct ReceivedCopy {
    /// Which.
    pub record: RecordId,
    /// That it exists, and its marking.
    pub discover: DiscoverView,
    /// Every document that was released, exactly as signed.
    pub documents: Vec<ItemDocument>,
    /// When this version came.
    pub received: Timestamp,
}

impl ReceivedCopy {
    fn read(copy: comity_store::copies::StoredCopy) -> Result<Self, InternalError> {
        let corrupt = |problem: String| InternalError::Corrupt { what: "received copy", problem };
        let Change::Upsert(documents) = copy.item.change else { return Err(corrupt("it is a retraction".into())) };
        let discover = documents.first().map_or("", |d| d.text.as_str());
        let discover = comity_core::canonical::from_slice(discover.as_bytes()).map_err(|e| corrupt(e.to_string()))?;
        Ok(Self { record: copy.record, discover, documents, received: copy.received })
    }

    /// The exact text of one document, if it was released.
    pub fn document(&self, view: ViewName) -> Option<&str> {
        self.documents.iter().find(|d| d.view == view).map(|d| d.text.as_str())
    }
}

/// What a withdrawal came to.
#[derive(Debug, Clone)]
pub enum Withdrawal {
    /// Done.
    Done(Box<OwnProposal>),
    /// It is tabled, so another person must approve.
    Waits(Box<ApprovalView>),
}

impl Node {
    /// Stores a draft. The same request id with the same document answers what it did the first time.
    ///
    /// # Errors
    /// The document is not as it must be, its marking is above this node's accreditation, or the request id was used for
    /// another one.
    pub async fn create_proposal(
        &self,
        author: &SpiffeId,
        document: &[u8],
        request_id: Option<String>,
    ) -> Result<OwnProposal, AppError> {
        let proposal = self.read_document(document)?;
        if request_id.as_ref().is_some_and(|id| id.len() > REQUEST_ID_MAX_CHARS) {
            return Err(Violations::one("request_id", format!("longer than {REQUEST_ID_MAX_CHARS} characters")).into());
        }
        let new = NewProposal {
            id: fresh::record(self.member(), RecordKind::Proposal)?,
            version: fresh::version()?,
            proposal,
            author: author.clone(),
            at: fresh::now(),
            salts: [fresh::salt()?, fresh::salt()?],
            request_id,
        };
        let row = self.store.proposals().create(new).await?;
        Ok(self.own(row))
    }

    /// Replaces the document of an own proposal.
    ///
    /// # Errors
    /// There is none, somebody was faster, or it is tabled or withdrawn.
    pub async fn update_proposal(
        &self,
        author: &SpiffeId,
        id: RecordId,
        expected: VersionId,
        document: &[u8],
    ) -> Result<OwnProposal, AppError> {
        let proposal = self.read_document(document)?;
        let revision = Revision {
            version: fresh::version()?,
            proposal,
            author: author.clone(),
            at: fresh::now(),
            salts: [fresh::salt()?, fresh::salt()?],
        };
        let row = self.store.proposals().revise(id, expected, revision).await?;
        Ok(self.own(row))
    }

    fn read_document(&self, document: &[u8]) -> Result<Proposal, AppError> {
        let proposal = Proposal::from_json(document)?;
        let mut violations = Violations::default();
        let ceiling = self.own().ceiling;
        if proposal.marking.tier > ceiling {
            let problem = format!("{} is above this node's accreditation, {ceiling}", proposal.marking.tier);
            violations.push("marking.tier", problem);
        }
        for party in &proposal.marking.releasable_to {
            if self.party(*party).is_none() {
                violations.push("marking.releasable_to", format!("{party} is not in this federation's roster"));
            }
        }
        violations.into_result()?;
        Ok(proposal)
    }

    /// A proposal that this person may see.
    ///
    /// # Errors
    /// There is none, or it may not be seen: one answer.
    pub async fn proposal(&self, role: Role, id: RecordId) -> Result<ProposalView, AppError> {
        if id.originator() == self.member() {
            return Ok(ProposalView::Own(Box::new(self.own(self.own_row(id).await?))));
        }
        let copy = self.store.copies().get(id).await.map_err(InternalError::Store)?;
        let copy = copy.map(ReceivedCopy::read).transpose()?.filter(|copy| self.may_see(role, copy));
        let copy = copy.ok_or(AppError::NotFound("proposal"))?;
        Ok(ProposalView::Received(Box::new(copy)))
    }

    /// INVARIANT: the originator's limits bind this node's own people on its record.
    fn may_see(&self, role: Role, copy: &ReceivedCopy) -> bool {
        let header = RecordHeader {
            id: copy.record,
            kind: copy.record.kind(),
            originator: copy.record.originator(),
            marking: copy.discover.marking.clone(),
            shared_with: [self.member()].into(),
        };
        comity_policy::decide_local(self.member(), role, View::Read, &header).allow
    }

    /// Own proposals, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn own_proposals(&self, after: Option<RecordId>, limit: usize) -> Result<Vec<OwnProposal>, AppError> {
        let rows = self.store.proposals().list(after, limit).await?;
        Ok(rows.into_iter().map(|row| self.own(row)).collect())
    }

    /// Received proposals that this person may see, newest first, and where the next page begins.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn received_proposals(
        &self,
        role: Role,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<ReceivedCopy>, Option<u64>), AppError> {
        let copies = self.store.copies().list(before, limit).await.map_err(InternalError::Store)?;
        let next = copies.last().filter(|_| copies.len() >= limit).map(|copy| copy.position);
        let mut seen = Vec::with_capacity(copies.len());
        for copy in copies {
            let copy = ReceivedCopy::read(copy)?;
            if self.may_see(role, &copy) {
                seen.push(copy);
            }
        }
        Ok((seen, next))
    }

    /// Asks that a proposal be shared.
    ///
    /// # Errors
    /// The marking does not let it go there, it is withdrawn, or somebody was faster.
    pub async fn ask_share(
        &self,
        author: &SpiffeId,
        id: RecordId,
        expected: Option<VersionId>,
        parties: Vec<MemberId>,
    ) -> Result<ApprovalView, AppError> {
        let row = self.current(id, expected).await?;
        ensure_not_withdrawn(&row)?;
        let mut violations = Violations::default();
        if parties.is_empty() {
            violations.push("parties", "name at least one, as --with DE");
        }
        for (i, party) in parties.iter().enumerate() {
            let field = format!("parties[{i}]");
            if let Err(AppError::Invalid(v)) = self.ensure_partner(*party, &field) {
                v.as_slice().iter().for_each(|v| violations.push(&v.field, &v.description));
            } else if self.pull_line(*party).is_none() {
                violations
                    .push(field, format!("{party} is suspended: nothing is shared with it until it is readmitted"));
            } else if !row.proposal.marking.releasable_to.contains(party) {
                let problem = format!("marking.releasable_to does not name {party}: edit the proposal's marking first");
                violations.push(field, problem);
            }
        }
        violations.into_result()?;
        let names: Vec<String> = parties.iter().map(ToString::to_string).collect();
        let summary = format!("share {id}, {}, with {}", row.proposal.marking, names.join(", "));
        self.ask(author, Action::Share { proposal: id, version: row.version, parties }, summary, Some(row.version))
            .await
    }

    pub(crate) async fn share(
        &self,
        proposal: RecordId,
        version: VersionId,
        parties: &[MemberId],
    ) -> Result<String, AppError> {
        self.store.proposals().share(proposal, version, parties.iter().copied().collect(), fresh::now()).await?;
        let names: Vec<String> = parties.iter().map(ToString::to_string).collect();
        Ok(format!("{proposal} is shared with {}, as far as the policy for each allows", names.join(", ")))
    }

    /// Asks that a proposal's public part be laid before all members: to list its subject, or to give an entry its text.
    ///
    /// # Errors
    /// It is tabled or withdrawn, somebody was faster, or the entry is not on the list.
    pub async fn ask_table(
        &self,
        author: &SpiffeId,
        id: RecordId,
        expected: Option<VersionId>,
        amends: Option<EntryId>,
    ) -> Result<ApprovalView, AppError> {
        let row = self.current(id, expected).await?;
        ensure_not_withdrawn(&row)?;
        if let Some(ballot) = self.own(row.clone()).ballot {
            return Err(comity_core::list::Refusal::AlreadyTabled(ballot).into());
        }
        let motion = match amends.clone() {
            None => Motion::List { proposal: id },
            Some(entry) => Motion::Amend { entry, proposal: id },
        };
        self.consensus.read(|list| list.enactable(&motion))?;
        let name = row.proposal.subject.primary_name();
        let aim = amends.as_ref().map_or("list it".to_owned(), |entry| format!("amend {entry}"));
        let summary = format!("lay the public part of {id} ({name}) before all members, to {aim}");
        let (command_id, salt) = (fresh::command_id()?, fresh::salt()?);
        let action = Action::Table { proposal: id, version: row.version, amends, command_id, salt };
        self.ask(author, action, summary, Some(row.version)).await
    }

    /// Withdraws a proposal; where it is tabled, asks for it.
    ///
    /// # Errors
    /// There is none, it is withdrawn already, or somebody was faster.
    pub async fn withdraw_proposal(
        &self,
        author: &SpiffeId,
        id: RecordId,
        expected: Option<VersionId>,
    ) -> Result<Withdrawal, AppError> {
        let row = self.current(id, expected).await?;
        ensure_not_withdrawn(&row)?;
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
                let row = self.store.proposals().withdraw(id, fresh::now()).await?;
                Ok(Withdrawal::Done(Box::new(self.own(row))))
            }
        }
    }

    pub(crate) async fn own_row(&self, id: RecordId) -> Result<StoredProposal, AppError> {
        let row = self.store.proposals().get(id).await.map_err(InternalError::Store)?;
        row.ok_or(AppError::NotFound("proposal"))
    }

    /// The proposal in the version that the caller looked at.
    pub(crate) async fn current(&self, id: RecordId, expected: Option<VersionId>) -> Result<StoredProposal, AppError> {
        let row = self.own_row(id).await?;
        if expected.is_some_and(|expected| expected != row.version) {
            return Err(changed(id));
        }
        Ok(row)
    }

    pub(crate) fn own(&self, row: StoredProposal) -> OwnProposal {
        let ballot = self.consensus.read(|list| list.ballot_of(row.id).map(|b| b.id));
        OwnProposal { ballot, row }
    }
}

fn ensure_not_withdrawn(row: &StoredProposal) -> Result<(), AppError> {
    if row.state == ProposalState::Withdrawn {
        return Err(AppError::Precondition {
            reason: "PROPOSAL_WITHDRAWN",
            problem: format!("{} is withdrawn: draft it anew", row.id),
        });
    }
    Ok(())
}

pub(crate) fn changed(id: RecordId) -> AppError {
    AppError::Conflict {
        reason: "VERSION_CHANGED",
        problem: format!("{id} has changed since you looked: see `comity proposal show {id}`, then try again"),
    }
}

/// The first digits of a ballot's name, as people say it.
pub(crate) fn short(ballot: &str) -> &str {
    ballot.get(..10).unwrap_or(ballot)
}

impl From<ProposalError> for AppError {
    fn from(error: ProposalError) -> Self {
        let problem = error.to_string();
        match error {
            ProposalError::NotFound { .. } | ProposalError::NotOurs { .. } => Self::NotFound("proposal"),
            ProposalError::Conflict { id, .. } => changed(id),
            ProposalError::WrongState { .. } => Self::Precondition { reason: "PROPOSAL_STATE", problem },
            ProposalError::RequestIdReused { .. } => Self::Conflict { reason: "REQUEST_ID_REUSED", problem },
            ProposalError::IdTaken { .. } => Self::Conflict { reason: "ID_TAKEN", problem },
            ProposalError::Store(error) => Self::Internal(InternalError::Store(error)),
        }
    }
}

//! Two people: what one asks for, another approves or refuses, and then it is done.

use comity_core::list::{Choice, Command, PublicText, Submission, TableProposal, Vote, WithdrawBallot};
use comity_core::proposal::{Proposal, PublicPart};
use comity_core::view::commitment;
use comity_core::{SpiffeId, Timestamp, VersionId, Violations};
use comity_store::approvals::{Approval, ApprovalError, ApprovalState, NewApproval};

use crate::action::Action;
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;
use crate::propose::short;

/// How long something waits for approval, in seconds: two weeks.
const APPROVAL_SECONDS: i64 = 14 * 24 * 3_600;
/// The longest reason of a refusal.
const REASON_MAX_CHARS: usize = 1_000;

/// What waits or was decided, and what it is.
#[derive(Debug, Clone)]
pub struct ApprovalView {
    /// What the store holds.
    pub approval: Approval,
    /// What will be done.
    pub action: Action,
}

/// What an approver is shown.
#[derive(serde::Serialize)]
struct ApprovalDetails<'a> {
    action: &'a Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposal: Option<Proposal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_part: Option<PublicPart>,
}

/// How an approver decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// Do it.
    Yes,
    /// Do not, because.
    No(String),
}

impl Node {
    pub(crate) async fn ask(
        &self,
        author: &SpiffeId,
        action: Action,
        summary: String,
        version: Option<VersionId>,
    ) -> Result<ApprovalView, AppError> {
        let now = fresh::now();
        let expires = now.as_micros().saturating_add(APPROVAL_SECONDS * 1_000_000);
        let new = NewApproval {
            id: fresh::approval_id()?,
            kind: action.kind(),
            author: author.clone(),
            payload: comity_core::canonical::to_vec(&action),
            summary,
            resource: action.resource(),
            resource_version: version,
            created: now,
            expires: Timestamp::from_micros(expires).unwrap_or(now),
        };
        let approval = self.store.approvals().create(new).await?;
        Ok(ApprovalView { approval, action })
    }

    /// What waits, or all of it, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn approvals(&self, all: bool, before: Option<u64>, limit: usize) -> Result<Vec<ApprovalView>, AppError> {
        let state = if all { None } else { Some(ApprovalState::Pending) };
        let found = self.store.approvals().list(state, before, limit).await.map_err(InternalError::Store)?;
        found.into_iter().map(view).collect()
    }

    /// One approval.
    ///
    /// # Errors
    /// There is none.
    pub async fn approval(&self, id: &str) -> Result<ApprovalView, AppError> {
        let found = self.store.approvals().get(id).await.map_err(InternalError::Store)?;
        view(found.ok_or(AppError::NotFound("approval"))?)
    }

    /// Everything that an approver needs to see of an action, as JSON: the action, and the document that it is about.
    ///
    /// # Errors
    /// The document is gone, or cannot be read.
    pub async fn approval_details(&self, action: &Action) -> Result<Vec<u8>, AppError> {
        let mut details = ApprovalDetails { action, proposal: None, public_part: None };
        match action {
            Action::Share { proposal, .. } | Action::Table { proposal, .. } | Action::Withdraw { proposal, .. } => {
                details.proposal = Some(self.own_row(*proposal).await?.proposal);
            }
            Action::Vote { ballot, .. } => {
                let digest = self.consensus.read(|list| list.ballot(ballot).map(|b| b.public_part));
                if let Some(digest) = digest {
                    details.public_part = PublicPart::from_json(&self.public_bytes(digest).await?).ok();
                }
            }
            Action::Policy { .. } => {}
        }
        Ok(comity_core::canonical::to_vec(&details))
    }

    /// Decides, and carries out what is approved. What fails on the way can be tried again; what the rules refuse cannot.
    ///
    /// # Errors
    /// The approver is its author, it is decided already, or it could not be done.
    pub async fn decide(&self, approver: &SpiffeId, id: &str, decided: Decided) -> Result<ApprovalView, AppError> {
        let now = fresh::now();
        if let Decided::No(reason) = &decided {
            if reason.chars().count() > REASON_MAX_CHARS {
                return Err(Violations::one("reason", format!("longer than {REASON_MAX_CHARS} characters")).into());
            }
            return view(self.store.approvals().refuse(id, approver, reason, now).await?);
        }
        let claimed = view(self.store.approvals().claim(id, approver, now).await?)?;
        let outcome = self.carry_out(&claimed, approver).await;
        match outcome {
            Ok(outcome) => view(self.store.approvals().finish(id, Ok(outcome)).await?),
            // The network may come back: it goes on waiting, and the next approval tries the very same command.
            Err(error @ AppError::NoQuorum(_)) => {
                self.store.approvals().put_back(id).await?;
                Err(error)
            }
            Err(error) => {
                self.store.approvals().finish(id, Err(error.to_string())).await?;
                Err(error)
            }
        }
    }

    async fn carry_out(&self, view: &ApprovalView, approver: &SpiffeId) -> Result<String, AppError> {
        match &view.action {
            Action::Share { proposal, version, parties } => self.share(*proposal, *version, parties).await,
            Action::Policy { party, text } => {
                self.apply_policy(*party, text.clone(), &view.approval.author, approver).await
            }
            Action::Table { proposal, version, command_id, salt } => {
                let row = self.current(*proposal, Some(*version)).await?;
                let views = self.store.proposals().views(*proposal, *version).await.map_err(InternalError::Store)?;
                let views = views.ok_or(AppError::NotFound("proposal"))?;
                let text =
                    PublicText { salt: *salt, bytes: comity_core::canonical::to_vec(&row.proposal.public_part()) };
                let command = Command::Table(TableProposal {
                    federation: self.genesis.federation(),
                    command_id: *command_id,
                    member: self.member(),
                    proposal: *proposal,
                    public_part: text.digest(),
                    commitments: vec![
                        commitment(views.read_salt, &views.read),
                        commitment(views.read_sources_salt, &views.read_sources),
                    ],
                });
                let ballot = comity_core::canonical::Hex32(comity_core::sha256(&command.to_payload()));
                self.submit(&command, Some(text)).await?;
                self.store.proposals().mark_tabled(*proposal, *version, ballot, fresh::now()).await?;
                Ok(format!("tabled as ballot {ballot}"))
            }
            Action::Vote { ballot, choice, reason, replaces, command_id } => {
                let command = Command::Vote(Vote {
                    federation: self.genesis.federation(),
                    command_id: *command_id,
                    member: self.member(),
                    ballot: *ballot,
                    choice: *choice,
                    replaces: *replaces,
                    reason: reason.clone(),
                });
                self.submit(&command, None).await?;
                let state = self.consensus.read(|list| list.ballot(ballot).map(|b| b.state.to_string()));
                let state = state.unwrap_or_else(|| "open".into());
                Ok(format!("voted {choice} on ballot {}, which is now {state}", short(&ballot.to_string())))
            }
            Action::Withdraw { proposal, ballot, command_id } => {
                let command = Command::Withdraw(WithdrawBallot {
                    federation: self.genesis.federation(),
                    command_id: *command_id,
                    member: self.member(),
                    ballot: *ballot,
                });
                self.submit(&command, None).await?;
                self.store.proposals().withdraw(*proposal, fresh::now()).await?;
                Ok(format!("withdrew {proposal} and ballot {}", short(&ballot.to_string())))
            }
        }
    }

    async fn submit(&self, command: &Command, text: Option<PublicText>) -> Result<(), AppError> {
        let envelope = command.sign(&self.keys.decision).to_bytes();
        self.consensus.submit(Submission { envelope, public_text: text }).await?;
        Ok(())
    }

    /// Asks that this member vote.
    ///
    /// # Errors
    /// There is no such ballot, it is closed, or a vote stands that is not to be corrected.
    pub async fn ask_vote(
        &self,
        author: &SpiffeId,
        ballot: &str,
        choice: Choice,
        reason: Option<String>,
        correct: bool,
    ) -> Result<ApprovalView, AppError> {
        let ballot = self.ballot(ballot)?;
        if !matches!(ballot.state, comity_core::list::BallotState::Open) {
            let (ballot, state) = (ballot.id, ballot.state.to_string());
            return Err(comity_core::list::Refusal::BallotClosed { ballot, state }.into());
        }
        let standing = ballot.votes.get(&self.member());
        let replaces = match (standing, correct) {
            (Some(vote), true) => Some(vote.command),
            (Some(vote), false) => {
                return Err(AppError::Precondition {
                    reason: "ALREADY_VOTED",
                    problem: format!("this member voted {} already: correct it with --correct", vote.choice),
                });
            }
            (None, true) => {
                return Err(AppError::Precondition {
                    reason: "NOTHING_TO_REPLACE",
                    problem: "this member has not voted yet: vote without --correct".into(),
                });
            }
            (None, false) => None,
        };
        let subject = self.subject_of(ballot.public_part).await?;
        let summary = format!("vote {choice} on listing {subject} (ballot {})", short(&ballot.id.to_string()));
        let action = Action::Vote { ballot: ballot.id, choice, reason, replaces, command_id: fresh::command_id()? };
        self.ask(author, action, summary, None).await
    }
}

fn view(approval: Approval) -> Result<ApprovalView, AppError> {
    let action = comity_core::canonical::from_slice(&approval.payload)
        .map_err(|e| InternalError::Corrupt { what: "approval", problem: e.to_string() })?;
    Ok(ApprovalView { approval, action })
}

impl From<ApprovalError> for AppError {
    fn from(error: ApprovalError) -> Self {
        let problem = error.to_string();
        match error {
            ApprovalError::NotFound { .. } => Self::NotFound("approval"),
            ApprovalError::SamePerson { .. } => Self::Forbidden { reason: "SAME_PERSON", problem },
            ApprovalError::TooMany { .. } => Self::Exhausted { reason: "TOO_MANY_WAITING", problem },
            ApprovalError::Expired { .. } => Self::Precondition { reason: "APPROVAL_EXPIRED", problem },
            ApprovalError::NotPending { .. } | ApprovalError::NotRunning { .. } => {
                Self::Conflict { reason: "APPROVAL_DECIDED", problem }
            }
            ApprovalError::IdTaken { .. } => Self::Conflict { reason: "ID_TAKEN", problem },
            ApprovalError::Store(error) => Self::Internal(InternalError::Store(error)),
        }
    }
}

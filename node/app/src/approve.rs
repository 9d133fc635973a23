//! Two people: what one asks for, another approves or refuses, and then it is done.

use comity_core::dsse::EnvelopeSignature;
use comity_core::list::{Choice, Motion, Statement};
use comity_core::proposal::PublicPart;
use comity_core::{RecordId, RecordKind, Role, SpiffeId, Timestamp, VersionId, Violations};
use comity_store::approvals::{Approval, ApprovalError, ApprovalState, NewApproval};

use crate::action::Action;
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;
use crate::records::short;
use crate::signing::Signing;

/// How long something waits for approval, in seconds: two weeks.
const APPROVAL_SECONDS: i64 = 14 * 24 * 3_600;
/// How many rows are looked at in one step for a page.
const ROWS_PER_PAGE: usize = 200;
/// The longest reason of a refusal.
const REASON_MAX_CHARS: usize = 1_000;

/// What is said of a command that was handed in and is not known to be decided.
const UNDERWAY: &str = "handed in, and not decided yet: it may still be; approve it again to know";

/// What waits or was decided, and what it is.
#[derive(Debug, Clone)]
pub struct ApprovalView {
    /// What the store holds.
    pub approval: Approval,
    /// What will be done.
    pub action: Action,
    /// What people sign of it, where this member requires that.
    pub signing: Option<Signing>,
}

/// What an approver is shown.
#[derive(serde::Serialize)]
struct ApprovalDetails<'a> {
    action: &'a Action,
    /// What it is about, in the version that is decided on: one record, or the first of many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<RecordDetails>,
    /// What the ballot that it acts on decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    motion: Option<Motion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_part: Option<PublicPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<String>,
}

/// A record as an approver is shown it.
#[derive(serde::Serialize)]
struct RecordDetails {
    id: RecordId,
    kind: RecordKind,
    document: serde_json::Value,
}

/// The most documents that an approver is shown of one action.
const DETAILS_MAX_RECORDS: usize = 20;

/// How an approver decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// Do it; with the approver's own signature where this member requires it.
    Yes(Option<EnvelopeSignature>),
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
        if let Some(prepared) = self.prepare(&action).await? {
            self.ensure_form(&prepared)?;
        }
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
        self.view(approval, true).await
    }

    async fn view(&self, approval: Approval, whole: bool) -> Result<ApprovalView, AppError> {
        let action = comity_core::canonical::from_slice(&approval.payload)
            .map_err(|e| InternalError::Corrupt { what: "approval", problem: e.to_string() })?;
        let signing = self.signing(&approval, &action, whole).await?;
        Ok(ApprovalView { approval, action, signing })
    }

    /// What waits, or all of it, newest first.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn approvals(
        &self,
        person: &SpiffeId,
        all: bool,
        token: &str,
        size: usize,
    ) -> Result<(Vec<ApprovalView>, String), AppError> {
        let state = if all { None } else { Some(ApprovalState::Pending) };
        let list = if all { "approvals/all" } else { "approvals" };
        let mut below = match token {
            "" => None,
            token => Some(self.tokens.open(list, person.name(), token).ok_or_else(|| {
                Violations::one("page_token", "is not one that this list gave you: begin without one")
            })?),
        };
        let mut views = Vec::new();
        loop {
            let found = self.store.approvals().list(state, below, ROWS_PER_PAGE).await.map_err(InternalError::Store)?;
            let last = found.len() < ROWS_PER_PAGE;
            for approval in found {
                let position = approval.position;
                below = Some(position);
                let view = self.view(approval, false).await?;
                if !self.may_see_action(person, &view.action).await? {
                    continue;
                }
                views.push(view);
                if views.len() >= size {
                    return Ok((views, self.tokens.seal(list, person.name(), position)));
                }
            }
            if last {
                return Ok((views, String::new()));
            }
        }
    }

    /// Whether a person is cleared for what an action is about.
    async fn may_see_action(&self, person: &SpiffeId, action: &Action) -> Result<bool, AppError> {
        match person.role() {
            Role::Operator | Role::Approver => {}
            // A policy officer reads no bodies, so only policies of what waits: the others' summaries name subjects.
            Role::Policy => return Ok(matches!(action, Action::Policy { .. } | Action::People { .. })),
            Role::Admin => return Ok(matches!(action, Action::Keys { .. } | Action::DeclareLoss { .. })),
            Role::Auditor | Role::Node => return Ok(false),
        }
        for record in action.records() {
            match self.own_row(person, record).await {
                Ok(_) => {}
                Err(AppError::NotFound(_)) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// One approval.
    ///
    /// # Errors
    /// There is none, or it is about what this person is not cleared for: one answer.
    pub async fn approval(&self, person: &SpiffeId, id: &str) -> Result<ApprovalView, AppError> {
        let found = self.store.approvals().get(id).await.map_err(InternalError::Store)?;
        let view = self.view(found.ok_or(AppError::NotFound("approval"))?, true).await?;
        if !self.may_see_action(person, &view.action).await? {
            return Err(AppError::NotFound("approval"));
        }
        Ok(view)
    }

    /// Everything that an approver needs to see of an action, as JSON: the action, and the document that it is about.
    ///
    /// # Errors
    /// The document is gone, or cannot be read.
    pub async fn approval_details(&self, person: &SpiffeId, action: &Action) -> Result<Vec<u8>, AppError> {
        let mut details =
            ApprovalDetails { action, records: Vec::new(), motion: None, public_part: None, statement: None };
        for id in action.records().into_iter().take(DETAILS_MAX_RECORDS) {
            let row = self.own_row(person, id).await?;
            let document = serde_json::from_slice(&row.document.to_json())
                .map_err(|e| InternalError::Corrupt { what: "document", problem: e.to_string() })?;
            details.records.push(RecordDetails { id, kind: id.kind(), document });
        }
        let about = self.consensus.read(|list| match (action.ballot(), action.entry()) {
            (Some(ballot), _) => list.ballot(&ballot).map(|b| (Some(b.motion.clone()), b.public_part)),
            (None, Some(entry)) => list.entry(entry).map(|e| (None, e.public_part)),
            (None, None) => None,
        });
        if let Some((motion, digest)) = about {
            let text = self.public_bytes(digest).await?;
            details.motion = motion;
            details.public_part = PublicPart::from_json(&text).ok();
            details.statement = Statement::from_json(&text).ok().map(|s| s.statement);
        }
        Ok(comity_core::canonical::to_vec(&details))
    }

    /// Decides, and carries out what is approved. What fails on the way can be tried again; what the rules refuse cannot.
    ///
    /// # Errors
    /// The approver is its author, it is decided already, a signature is missing, or it could not be done.
    pub async fn decide(&self, approver: &SpiffeId, id: &str, decided: Decided) -> Result<ApprovalView, AppError> {
        let signature = match decided {
            Decided::No(reason) if reason.chars().count() > REASON_MAX_CHARS => {
                return Err(Violations::one("reason", format!("longer than {REASON_MAX_CHARS} characters")).into());
            }
            Decided::No(reason) => {
                self.approval(approver, id).await?;
                let refused = self.store.approvals().refuse(id, approver, &reason, fresh::now()).await?;
                return self.view(refused, false).await;
            }
            Decided::Yes(signature) => signature,
        };
        let waiting = self.approval(approver, id).await?;
        // INVARIANT: nobody is the second person to themselves, and nothing is signed by whoever cannot approve it.
        if waiting.approval.author.is_same_person(approver) {
            return Err(ApprovalError::SamePerson { id: id.to_owned() }.into());
        }
        // Where it is not pending any more, claiming it says so.
        let mut people = Vec::new();
        if waiting.approval.state == ApprovalState::Pending {
            if let Some(signature) = signature.filter(|_| waiting.signing.is_some()) {
                self.keep_signature(approver, &waiting, &signature).await?;
            }
            people = self.people_signed(&waiting, approver).await?;
        }
        let claimed = self.store.approvals().claim(id, approver, fresh::now()).await?;
        let outcome = self.carry_out(&waiting, approver, people).await;
        match outcome {
            Ok(outcome) => {
                let done = self.store.approvals().finish(&claimed.id, Ok(outcome)).await?;
                self.view(done, false).await
            }
            // The network may come back: it goes on waiting, and the next approval tries the very same command.
            Err(error) if can_be_tried_again(&error) => {
                // INVARIANT: a command that other nodes may know of is not called refused.
                let underway = matches!(error, AppError::NoQuorum(_)).then(|| UNDERWAY.to_owned());
                self.store.approvals().put_back(id, underway).await?;
                Err(error)
            }
            Err(error) => {
                self.store.approvals().finish(id, Err(error.to_string())).await?;
                Err(error)
            }
        }
    }

    async fn carry_out(
        &self,
        view: &ApprovalView,
        approver: &SpiffeId,
        people: Vec<EnvelopeSignature>,
    ) -> Result<String, AppError> {
        let author = &view.approval.author;
        match &view.action {
            Action::Share { records, parties, until } => return self.share(records, parties, *until).await,
            Action::Policy { party, text } => return self.apply_policy(*party, text.clone(), author, approver).await,
            Action::People { document } => return self.apply_people(document.clone(), author, approver).await,
            Action::Grant { grant, id, version, grant_version, salts } => {
                return self.grant(author, grant, (*id, *version, *grant_version), *salts).await;
            }
            Action::Recall { recall, id, version, salts } => {
                return self.recall(author, recall, *id, *version, *salts).await;
            }
            Action::HoldCopy { record, because } => {
                return self.hold_copy(*record, because.clone(), author, approver).await;
            }
            Action::CannotComply { recall, because } => return self.cannot_comply(*recall, because.clone()).await,
            Action::DeclareLoss { lost, reason } => {
                return self.declare_loss(author, approver, lost.clone(), reason.clone()).await;
            }
            _ => {}
        }
        let missing = || InternalError::Corrupt { what: "approval", problem: "it comes to no command".into() };
        let prepared = self.prepare(&view.action).await?.ok_or_else(missing)?;
        let ballot = comity_core::canonical::Hex32(comity_core::sha256(&prepared.command.to_payload()));
        let leaf = self.hand_in(prepared, people).await?;
        match &view.action {
            Action::Table { proposal, version, .. } => {
                self.store.records().mark_tabled(*proposal, *version, ballot, fresh::now()).await?;
            }
            Action::Withdraw { proposal: Some(proposal), .. } => {
                self.store.records().withdraw(*proposal, fresh::now()).await?;
            }
            _ => {}
        }
        Ok(self.outcome_of(&view.action, ballot, leaf))
    }

    /// What was done, in words.
    fn outcome_of(&self, action: &Action, tabled: comity_core::list::BallotId, leaf: u64) -> String {
        let state = |ballot: &comity_core::list::BallotId| {
            let state = self.consensus.read(|list| list.ballot(ballot).map(|b| b.state.to_string()));
            format!("ballot {}, which is now {}", short(&ballot.to_string()), state.unwrap_or_else(|| "open".into()))
        };
        match action {
            Action::Table { .. } | Action::Motion { .. } => format!("tabled as ballot {tabled}"),
            Action::Vote { choice, ballot, .. } => format!("voted {choice} on {}", state(ballot)),
            Action::Withdraw { proposal, ballot, .. } => {
                let proposal = proposal.map(|p| format!("{p} and ")).unwrap_or_default();
                format!("withdrew {proposal}ballot {}", short(&ballot.to_string()))
            }
            Action::Hold { ballot, .. } => format!("placed a hold on {}", state(ballot)),
            Action::ExtendHold { ballot, holder, .. } => {
                format!("consented to the extension of the hold of {holder} on {}", state(ballot))
            }
            Action::LiftHold { ballot, .. } => format!("lifted the hold on {}", state(ballot)),
            Action::Object { ballot, .. } => format!("objected to {}", state(ballot)),
            Action::AttachMeasure { entry, measure, .. } => format!("attached measure {} to {entry}", measure.id),
            Action::EndMeasure { entry, measure, .. } => format!("ended measure {measure} on {entry}"),
            Action::Review { entry, .. } => format!("recorded the review of {entry}"),
            Action::Keys { .. } => format!("command {leaf} of the log changed this member's keys or people"),
            Action::Share { .. }
            | Action::Policy { .. }
            | Action::People { .. }
            | Action::Grant { .. }
            | Action::Recall { .. }
            | Action::HoldCopy { .. }
            | Action::CannotComply { .. }
            | Action::DeclareLoss { .. } => String::new(),
        }
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
        let ballot = self.open_ballot(ballot)?;
        self.ensure_elector(&ballot)?;
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
        // To abstain is to take notice, too, and silence may then adopt.
        if choice != Choice::No {
            self.ensure_text(&ballot).await?;
        }
        let summary = format!("vote {choice} to {}", self.about(&ballot).await?);
        let action = Action::Vote { ballot: ballot.id, choice, reason, replaces, command_id: fresh::command_id()? };
        self.ask(author, action, summary, None).await
    }
}

/// Whether nothing was decided: the network may come back, or a restart bring the key that is missing.
fn can_be_tried_again(error: &AppError) -> bool {
    matches!(
        error,
        AppError::NoQuorum(_)
            | AppError::Exhausted { reason: "TOO_BUSY", .. }
            | AppError::Precondition { reason: "KEY_NOT_HERE", .. }
    )
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
            ApprovalError::Underway { .. } => Self::Conflict { reason: "APPROVAL_UNDERWAY", problem },
            ApprovalError::IdTaken { .. } => Self::Conflict { reason: "ID_TAKEN", problem },
            ApprovalError::Store(error) => Self::Internal(InternalError::Store(error)),
        }
    }
}

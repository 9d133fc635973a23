//! The silence procedure's acts: taking notice, which one person does at once, and those that two people decide.

use comity_core::dsse::EnvelopeSignature;
use comity_core::list::{Acknowledge, Ballot, Command, CommandId, Refusal, SilenceState};
use comity_core::{MemberId, SpiffeId};

use crate::action::Action;
use crate::approve::ApprovalView;
use crate::ballots::BallotView;
use crate::commands::Prepared;
use crate::error::AppError;
use crate::fresh;
use crate::node::Node;

impl Node {
    /// A ballot that is open, that silence decides, and that this member decides, too.
    fn silent_ballot(&self, digits: &str) -> Result<Ballot, AppError> {
        let ballot = self.open_ballot(digits)?;
        self.ensure_elector(&ballot)?;
        silence(&ballot)?;
        Ok(ballot)
    }

    /// Says that a person of this member has taken notice of a ballot. Saying so twice changes nothing.
    ///
    /// # Errors
    /// There is no such ballot, it is not decided by silence, notice is over, or the person did not sign where they must.
    pub async fn acknowledge_ballot(
        &self,
        who: &SpiffeId,
        ballot: &str,
        signed: Option<(CommandId, EnvelopeSignature)>,
    ) -> Result<BallotView, AppError> {
        let ballot = self.silent_ballot(ballot)?;
        let silence = silence(&ballot)?;
        if silence.acknowledged.contains_key(&self.member()) {
            return self.ballot_view(&ballot.id.to_string()).await;
        }
        if silence.notice_over {
            return Err(Refusal::NoticeOver(silence.notice_until).into());
        }
        self.ensure_text(&ballot).await?;
        let command = |command_id| {
            let (federation, member) = (self.genesis.federation(), self.member());
            Command::Acknowledge(Acknowledge { federation, command_id, member, ballot: ballot.id })
        };
        let (command, people) = match (self.needs_people(), signed) {
            (false, _) => (command(fresh::command_id()?), Vec::new()),
            (true, Some((command_id, signature))) => {
                let command = command(command_id);
                self.ensure_signed_by(who, &command, &signature)?;
                (command, vec![signature])
            }
            (true, None) => {
                return Err(AppError::Precondition {
                    reason: "SIGNATURE_MISSING",
                    problem: format!(
                        "{} requires its people's signatures: sign the acknowledgement with your signing key",
                        self.member()
                    ),
                });
            }
        };
        match self.hand_in(Prepared::from(command), people).await {
            // Another person was faster.
            Ok(_) | Err(AppError::Refused(Refusal::Acknowledged(_))) => {}
            Err(error) => return Err(error),
        }
        self.ballot_view(&ballot.id.to_string()).await
    }

    /// Asks that this member stop silence for a time.
    ///
    /// # Errors
    /// There is no such ballot, it is not decided by silence, or this member's hold is spent.
    pub async fn ask_hold(&self, author: &SpiffeId, ballot: &str, reason: String) -> Result<ApprovalView, AppError> {
        let ballot = self.silent_ballot(ballot)?;
        if silence(&ballot)?.holds.contains_key(&self.member()) {
            return Err(Refusal::HoldSpent(self.member()).into());
        }
        let summary = format!("place a hold: {}", self.about(&ballot).await?);
        let action = Action::Hold { ballot: ballot.id, reason, command_id: fresh::command_id()? };
        self.ask(author, action, summary, None).await
    }

    /// Asks that this member consent to the extension of another's hold.
    ///
    /// # Errors
    /// There is no such ballot or hold, or this member cannot extend it.
    pub async fn ask_extend_hold(
        &self,
        author: &SpiffeId,
        ballot: &str,
        holder: MemberId,
    ) -> Result<ApprovalView, AppError> {
        let ballot = self.silent_ballot(ballot)?;
        let by = self.member();
        let hold = silence(&ballot)?.standing_holds().find(|(member, _)| *member == holder).map(|(_, hold)| hold);
        let hold = hold.ok_or(Refusal::NoHold(holder))?;
        let problem = match hold {
            _ if holder == by => Some("a member's own hold is extended by the others"),
            hold if hold.extended => Some("the hold was extended already: once is all"),
            hold if hold.extension_by.contains(&by) => Some("has consented to the extension already"),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(Refusal::Extension { by, problem }.into());
        }
        let summary = format!("consent to extending the hold of {holder}: {}", self.about(&ballot).await?);
        let action = Action::ExtendHold { ballot: ballot.id, holder, command_id: fresh::command_id()? };
        self.ask(author, action, summary, None).await
    }

    /// Asks that this member lift its hold.
    ///
    /// # Errors
    /// There is no such ballot, or no hold of this member stands.
    pub async fn ask_lift_hold(&self, author: &SpiffeId, ballot: &str) -> Result<ApprovalView, AppError> {
        let ballot = self.silent_ballot(ballot)?;
        if !silence(&ballot)?.standing_holds().any(|(member, _)| member == self.member()) {
            return Err(Refusal::NoHold(self.member()).into());
        }
        let summary = format!("lift the hold: {}", self.about(&ballot).await?);
        let action = Action::LiftHold { ballot: ballot.id, command_id: fresh::command_id()? };
        self.ask(author, action, summary, None).await
    }

    /// Asks that this member object, which ends the ballot.
    ///
    /// # Errors
    /// There is no such ballot, or it is not decided by silence.
    pub async fn ask_object(&self, author: &SpiffeId, ballot: &str, reason: String) -> Result<ApprovalView, AppError> {
        let ballot = self.silent_ballot(ballot)?;
        let summary = format!("object, which ends it: {}", self.about(&ballot).await?);
        let action = Action::Object { ballot: ballot.id, reason, command_id: fresh::command_id()? };
        self.ask(author, action, summary, None).await
    }
}

fn silence(ballot: &Ballot) -> Result<&SilenceState, AppError> {
    Ok(ballot.silence().ok_or(Refusal::NoSilence(ballot.id))?)
}

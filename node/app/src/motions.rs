//! Motions: laying before the members what comes from no proposal, and taking it back.

use comity_core::SpiffeId;
use comity_core::Violations;
use comity_core::list::{Motion, Refusal, Statement};

use crate::action::Action;
use crate::approve::ApprovalView;
use crate::error::AppError;
use crate::fresh;
use crate::node::Node;

impl Node {
    /// Asks that this member lay a motion before all members.
    ///
    /// # Errors
    /// It is no motion, it comes from a proposal, or it could not be carried out as things stand.
    pub async fn ask_motion(
        &self,
        author: &SpiffeId,
        motion: &[u8],
        statement: String,
    ) -> Result<ApprovalView, AppError> {
        let motion: Motion = comity_core::canonical::from_slice(motion)
            .map_err(|e| Violations::one(format!("motion_json.{}", e.path), e.problem))?;
        if motion.has_subject() {
            let problem = "a listing or an amendment comes from a proposal: table that (`comity proposal table`)";
            return Err(Violations::one("motion_json", problem).into());
        }
        Statement::from_json(&comity_core::canonical::to_vec(&Statement { statement: statement.clone() }))?;
        self.consensus.read(|list| list.enactable(&motion))?;
        if let Motion::Suspend { target } | Motion::Expel { target } = &motion
            && *target == self.member()
        {
            return Err(Violations::one("motion_json", "is about this member itself: another member tables it").into());
        }
        let summary = format!("lay before all members: {motion}");
        let (command_id, salt) = (fresh::command_id()?, fresh::salt()?);
        self.ask(author, Action::Motion { motion, statement, command_id, salt }, summary, None).await
    }

    /// Asks that this member take back what it tabled.
    ///
    /// # Errors
    /// There is no such ballot, it is decided, or another member tabled it.
    pub async fn ask_withdraw(&self, author: &SpiffeId, ballot: &str) -> Result<ApprovalView, AppError> {
        let ballot = self.open_ballot(ballot)?;
        if ballot.proposer != self.member() {
            return Err(Refusal::NotTheProposer { ballot: ballot.id, proposer: ballot.proposer }.into());
        }
        let summary = format!("take back: {}", self.about(&ballot).await?);
        let (proposal, ballot, command_id) = (ballot.proposal(), ballot.id, fresh::command_id()?);
        self.ask(author, Action::Withdraw { proposal, ballot, command_id }, summary, None).await
    }
}

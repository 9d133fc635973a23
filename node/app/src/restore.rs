//! Going on after a loss: what others saw of this node's access log and is not here any more is declared, by two people, in the leaf
//! that opens another incarnation.

use comity_core::access::{AccessRecord, DeclaredLoss, LOST_RANGES_MAX, LostRange, Touched};
use comity_core::{SpiffeId, Violations};

use crate::action::Action;
use crate::approve::ApprovalView;
use crate::confirmation::{Standing, check_reason};
use crate::error::{AppError, InternalError};
use crate::fresh;
use crate::node::Node;

impl Node {
    /// Asks that what is lost of the access log be declared.
    ///
    /// # Errors
    /// Nobody knows more of the log than there is.
    pub async fn ask_declare_loss(&self, author: &SpiffeId, reason: String) -> Result<ApprovalView, AppError> {
        check_reason(&reason)?;
        let Standing::Behind { lost, known_by } = self.standing() else { return Err(nothing_lost()) };
        if lost.len() > LOST_RANGES_MAX {
            return Err(Violations::one("lost", format!("{} heads: at most {LOST_RANGES_MAX}", lost.len())).into());
        }
        let names: Vec<String> = known_by.iter().map(ToString::to_string).collect();
        let ranges: Vec<String> = lost.iter().map(range).collect();
        let summary = format!("declare as lost, as seen by {}: {}", names.join(", "), ranges.join("; "));
        self.ask(author, Action::DeclareLoss { lost, reason }, summary, None).await
    }

    /// Opens another incarnation of the access log with what is declared, and looks again whether this node may serve.
    pub(crate) async fn declare_loss(
        &self,
        author: &SpiffeId,
        approver: &SpiffeId,
        lost: Vec<LostRange>,
        reason: String,
    ) -> Result<String, AppError> {
        if !matches!(self.standing(), Standing::Behind { .. }) {
            return Err(nothing_lost());
        }
        // INVARIANT: no origin is ever used for two histories, be it that this store never knew of the first.
        let incarnation = self.latest_incarnation().saturating_add(1);
        let touched = lost.iter().map(|lost| Touched::resource(lost.origin.as_str()).by(range(lost))).collect();
        let loss =
            DeclaredLoss { incarnation, lost, declared_by: author.clone(), approved_by: approver.clone(), reason };
        let record = AccessRecord {
            who: Some(author.clone()),
            member: Some(self.member()),
            touched,
            loss: Some(Box::new(loss)),
            ..AccessRecord::new(fresh::now(), "this node", "declare loss")
        };
        let leaf = self.access_log.open_incarnation(record).await.map_err(InternalError::from)?;
        self.decide_standing().await?;
        let stands = match self.standing() {
            Standing::Serving => "the node serves",
            Standing::Waiting { .. } => "the node waits for more members",
            Standing::Behind { .. } => "a member saw more meanwhile: it is to be declared, too",
        };
        Ok(format!("leaf {leaf} opened incarnation {incarnation} of the access log; {stands}"))
    }
}

fn range(lost: &LostRange) -> String {
    format!("leaves {} to {} of {}", lost.first, lost.end.saturating_sub(1), lost.origin)
}

fn nothing_lost() -> AppError {
    AppError::Precondition {
        reason: "NOTHING_LOST",
        problem:
            "no member that has answered knows more of the access log than this node has: see `comity node status`"
                .into(),
    }
}

//! Asking to lay a proposal before all members.

use comity_core::document::Document;
use comity_core::list::{EntryId, Motion};
use comity_core::proposal::Proposal;
use comity_core::{RecordId, SpiffeId, VersionId, Violations};
use comity_store::records::StoredRecord;

use crate::action::Action;
use crate::approve::ApprovalView;
use crate::error::AppError;
use crate::fresh;
use crate::node::Node;
use crate::records::ensure_not_taken_back;

impl Node {
    /// Asks that a proposal's public part be laid before all members: to list its subject, or to give an entry its text.
    ///
    /// # Errors
    /// It is no proposal, tabled or withdrawn, somebody was faster, or the entry is not on the list.
    pub async fn ask_table(
        &self,
        author: &SpiffeId,
        id: RecordId,
        expected: Option<VersionId>,
        amends: Option<EntryId>,
    ) -> Result<ApprovalView, AppError> {
        let row = self.current(author, id, expected).await?;
        ensure_not_taken_back(&row)?;
        let proposal = proposal_of(&row)?;
        if let Some(ballot) = self.own(row.clone()).ballot {
            return Err(comity_core::list::Refusal::AlreadyTabled(ballot).into());
        }
        let motion = match amends.clone() {
            None => Motion::List { proposal: id },
            Some(entry) => Motion::Amend { entry, proposal: id },
        };
        self.consensus.read(|list| list.enactable(&motion))?;
        let name = proposal.subject.primary_name();
        let aim = amends.as_ref().map_or("list it".to_owned(), |entry| format!("amend {entry}"));
        let summary = format!("lay the public part of {id} ({name}) before all members, to {aim}");
        let (command_id, salt) = (fresh::command_id()?, fresh::salt()?);
        let action = Action::Table { proposal: id, version: row.version, amends, command_id, salt };
        self.ask(author, action, summary, Some(row.version)).await
    }
}

/// The proposal that a record is.
pub(crate) fn proposal_of(row: &StoredRecord) -> Result<&Proposal, AppError> {
    match &row.document {
        Document::Proposal(proposal) => Ok(proposal),
        other => Err(Violations::one("id", format!("{} is a {}: expected a proposal", row.id, other.kind())).into()),
    }
}

//! Measures and reviews: this member's own facts about an entry, which no ballot decides.

use comity_core::SpiffeId;
use comity_core::edtf::PartialDate;
use comity_core::list::{Entry, EntryId, EntryStatus, Measure, MeasureId, Refusal};

use crate::action::Action;
use crate::approve::ApprovalView;
use crate::error::AppError;
use crate::fresh;
use crate::node::Node;

impl Node {
    fn known_entry(&self, id: &EntryId) -> Result<Entry, AppError> {
        self.consensus.read(|list| list.entry(id).cloned()).ok_or(AppError::NotFound("entry"))
    }

    fn listed_entry(&self, id: &EntryId) -> Result<Entry, AppError> {
        let entry = self.known_entry(id)?;
        let status = match &entry.status {
            EntryStatus::Listed => return Ok(entry),
            EntryStatus::Delisted { ground, .. } => format!("delisted ({ground})"),
            EntryStatus::Merged { into, .. } => format!("merged into {into}"),
        };
        Err(Refusal::EntryOffTheList { entry: id.clone(), status }.into())
    }

    /// Asks that this member attach a measure of its own to an entry.
    ///
    /// # Errors
    /// There is no such entry, it is off the list, or the measure is not as it must be.
    pub async fn ask_attach_measure(
        &self,
        author: &SpiffeId,
        entry: EntryId,
        measure: Measure,
    ) -> Result<ApprovalView, AppError> {
        let listed = self.listed_entry(&entry)?;
        let used = |known: &comity_core::list::AttachedMeasure| {
            known.member == self.member() && known.measure.id == measure.id
        };
        if listed.measures.iter().any(used) {
            return Err(Refusal::MeasureIdUsed { member: self.member(), id: measure.id }.into());
        }
        let summary = format!("attach measure {} ({}) to {entry}", measure.id, measure.legal_act);
        let action = Action::AttachMeasure { entry, measure: Box::new(measure), command_id: fresh::command_id()? };
        self.ask(author, action, summary, None).await
    }

    /// Asks that this member end a measure of its own.
    ///
    /// # Errors
    /// There is no such entry, or no such measure of this member is in force on it.
    pub async fn ask_end_measure(
        &self,
        author: &SpiffeId,
        entry: EntryId,
        measure: MeasureId,
        ended: PartialDate,
    ) -> Result<ApprovalView, AppError> {
        let known = self.known_entry(&entry)?;
        if let EntryStatus::Merged { into, .. } = &known.status {
            let status = format!("merged into {into}, where its measures stand now");
            return Err(Refusal::EntryOffTheList { entry, status }.into());
        }
        if !known.in_force().any(|m| m.member == self.member() && m.measure.id == measure) {
            return Err(Refusal::NoMeasure { member: self.member(), id: measure }.into());
        }
        let summary = format!("end measure {measure} on {entry}, as of {ended}");
        let action = Action::EndMeasure { entry, measure, ended, command_id: fresh::command_id()? };
        self.ask(author, action, summary, None).await
    }

    /// Asks that this member record that it has reviewed an entry and keeps it.
    ///
    /// # Errors
    /// There is no such entry, or it is off the list.
    pub async fn ask_review(&self, author: &SpiffeId, entry: EntryId) -> Result<ApprovalView, AppError> {
        let listed = self.listed_entry(&entry)?;
        let summary = format!("record that {entry} was reviewed and is kept; it was due {}", listed.review_due);
        let action = Action::Review { entry, command_id: fresh::command_id()? };
        self.ask(author, action, summary, None).await
    }
}

//! Measures and reviews: each member's own facts about an entry.

use crate::calendar::months_after;
use crate::list::apply::Step;
use crate::list::command::{AttachMeasure, EndMeasure, Review};
use crate::list::entry::{AttachedMeasure, Entry, EntryStatus};
use crate::list::publication::{Authority, PublishedEvent};
use crate::list::refusal::Refusal;
use crate::list::state::ListState;

impl ListState {
    pub(super) fn attach_measure(&mut self, attach: &AttachMeasure, step: &mut Step<'_>) -> Result<(), Refusal> {
        let AttachMeasure { member, entry: id, measure, .. } = attach;
        let entry = self.listed_entry(id)?;
        if entry.measures.len() >= Entry::MAX_MEASURES {
            return Err(Refusal::Bound { what: "measures on one entry", limit: Entry::MAX_MEASURES });
        }
        let key = (*member, measure.id.clone());
        if self.measures.contains_key(&key) {
            return Err(Refusal::MeasureIdUsed { member: *member, id: measure.id.clone() });
        }
        // Nothing is refused from here on.
        self.measures.insert(key, id.clone());
        let attached_at = self.list_time;
        if let Some(entry) = self.entries.get_mut(id) {
            let (member, measure) = (*member, measure.clone());
            entry.measures.push(AttachedMeasure { member, measure, attached_at, ended: None });
        }
        let event = PublishedEvent::MeasureAttached { entry: id.clone(), measure: measure.clone() };
        self.publish(event, Authority::Member(step.consent(*member)), step);
        Ok(())
    }

    pub(super) fn end_measure(&mut self, end: &EndMeasure, step: &mut Step<'_>) -> Result<(), Refusal> {
        let EndMeasure { member, entry: id, measure, ended, .. } = end;
        let none = || Refusal::NoMeasure { member: *member, id: measure.clone() };
        let entry = self.entries.get_mut(id).ok_or_else(|| Refusal::NoSuchEntry(id.clone()))?;
        if let EntryStatus::Merged { into, .. } = &entry.status {
            let status = format!("merged into {into}, where its measures stand now");
            return Err(Refusal::EntryOffTheList { entry: id.clone(), status });
        }
        let attached = entry
            .measures
            .iter_mut()
            .find(|attached| attached.member == *member && attached.measure.id == *measure && attached.ended.is_none());
        // Nothing is refused from here on.
        attached.ok_or_else(none)?.ended = Some(*ended);
        let event = PublishedEvent::MeasureEnded { entry: id.clone(), measure: measure.clone(), ended: *ended };
        self.publish(event, Authority::Member(step.consent(*member)), step);
        Ok(())
    }

    pub(super) fn review(&mut self, review: &Review, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.listed_entry(&review.entry)?;
        let due = months_after(self.list_time, self.roster.rules().review_months);
        if let Some(entry) = self.entries.get_mut(&review.entry) {
            entry.review_due = due;
        }
        let event = PublishedEvent::Reviewed { entry: review.entry.clone() };
        self.publish(event, Authority::Member(step.consent(review.member)), step);
        Ok(())
    }
}

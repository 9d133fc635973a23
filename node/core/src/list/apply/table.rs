//! Tabling: a motion is laid before the members.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::list::EntryId;
use crate::list::apply::Step;
use crate::list::ballot::{Ballot, BallotState, Procedure};
use crate::list::command::{Motion, Table};
use crate::list::refusal::Refusal;
use crate::list::silence::{Acknowledged, SilenceState};
use crate::list::state::{Event, ListState, Matter};
use crate::member::MemberId;
use crate::rule::Rule;

/// The most ballots of one member that may be open at once.
pub(super) const MAX_OPEN_BALLOTS: usize = 1_000;

impl ListState {
    pub(super) fn table(&mut self, table: &Table, step: &mut Step<'_>) -> Result<(), Refusal> {
        let (member, motion) = (table.member, &table.motion);
        let matter = Matter::of(motion);
        let standing = self.matters.get(&matter);
        if let Some(ballot) = standing.or_else(|| motion.proposal().and_then(|proposal| self.adopted.get(&proposal))) {
            return Err(Refusal::AlreadyTabled(*ballot));
        }
        if self.open_of.get(&member).is_some_and(|open| *open >= MAX_OPEN_BALLOTS) {
            return Err(Refusal::TooManyOpen { member, limit: MAX_OPEN_BALLOTS });
        }
        // INVARIANT: a digest belongs to one ballot, so that erasing what failed never erases what stands.
        if self.digests.contains(&table.public_part) {
            return Err(Refusal::TextReused);
        }
        self.enactable(motion)?;
        let electorate: BTreeSet<MemberId> =
            self.roster.voters().keys().copied().filter(|voter| Some(*voter) != motion.excluded()).collect();
        if electorate.is_empty() {
            return Err(Refusal::NoElectorate);
        }
        // Or whoever is to go would keep the matter occupied: table, withdraw and table again.
        if motion.excluded() == Some(member) {
            return Err(Refusal::NotInElectorate(member));
        }
        // Nothing is refused from here on.
        let id = step.checked.payload_hash();
        let number = self.tabled.len() as u64;
        let ballot = Ballot {
            id,
            number,
            proposer: member,
            motion: motion.clone(),
            public_part: table.public_part,
            electorate: self.shared(electorate),
            procedure: self.procedure(motion, member, step),
            tabled_at: self.list_time,
            leaf: step.leaf,
            public_hash: step.public_hash(),
            votes: Default::default(),
            replaced: Vec::new(),
            equivocations: Vec::new(),
            state: BallotState::Open,
        };
        *self.open_of.entry(member).or_default() += 1;
        self.open.insert(number, id);
        self.matters.insert(matter, id);
        self.digests.insert(table.public_part);
        self.tabled.push(id);
        if let Some(due) = ballot.due() {
            self.deadlines.insert((due, number, id));
        }
        self.ballots.insert(id, ballot);
        step.events.push(Event::Tabled(id));
        Ok(())
    }

    fn procedure(&self, motion: &Motion, member: MemberId, step: &Step<'_>) -> Procedure {
        let rules = self.roster.rules();
        if let Motion::Delist { entry, .. } = motion
            && self.is_for_reverse_silence(entry, member)
        {
            let days = rules.reverse_silence_days;
            return Procedure::ReverseSilence { days, until: crate::calendar::days_after(self.list_time, days) };
        }
        match rules.of(motion.kind()) {
            rule @ (Rule::Unanimity | Rule::Quorum(_)) => Procedure::Consents(rule),
            Rule::NoObjection(rule) => {
                let tabled = self.acknowledgement(step);
                Procedure::Silence(Box::new(SilenceState::tabled(rule, member, tabled)))
            }
        }
    }

    /// An electorate; the last one where it is the same, since most are.
    fn shared(&mut self, electorate: BTreeSet<MemberId>) -> Arc<BTreeSet<MemberId>> {
        if *self.electorate != electorate {
            self.electorate = Arc::new(electorate);
        }
        Arc::clone(&self.electorate)
    }

    /// Whether reverse silence delists an entry at a member's motion: its proposer's, or anybody's once every measure has ended and
    /// another member had one.
    pub(super) fn is_for_reverse_silence(&self, entry: &EntryId, member: MemberId) -> bool {
        self.entries.get(entry).is_some_and(|entry| entry.proposer == member || entry.all_measures_ended(member))
    }

    pub(super) fn acknowledgement(&self, step: &Step<'_>) -> Acknowledged {
        Acknowledged { at: self.list_time, leaf: step.leaf, public_hash: step.public_hash() }
    }
}

//! What a change comes to: ballots that are decided now, those that are due, and what else follows from them.

use std::sync::Arc;

use litemap::LiteMap;

use crate::fault::{self, Fault};
use crate::list::apply::Step;
use crate::list::ballot::{Ballot, BallotState, Rejection, Verdict};
use crate::list::command::BallotId;
use crate::list::state::{Event, ListState, Matter};
use crate::member::MemberId;
use crate::timestamp::Timestamp;

impl ListState {
    /// Decides a ballot if its votes have decided it, and notes when it is next due.
    pub(super) fn settle(&mut self, id: BallotId, step: &mut Step<'_>) {
        let Some(ballot) = self.ballots.get(&id).filter(|ballot| ballot.is_open()) else { return };
        match ballot.verdict() {
            Verdict::Undecided => self.note_due(id),
            verdict => self.conclude(id, verdict, step),
        }
    }

    /// Decides what time alone has decided, in the order in which it was due.
    pub(super) fn advance(&mut self, step: &mut Step<'_>) {
        let now = self.list_time;
        while let Some((due, number, id)) = self.deadlines.first().copied().filter(|(due, _, _)| *due <= now) {
            self.deadlines.remove(&(due, number, id));
            // INVARIANT: no ballot is taken further than this instant: another may be due before its next.
            let verdict = self.ballots.get_mut(&id).map_or(Verdict::Undecided, |ballot| ballot.advance(due));
            match verdict {
                Verdict::Undecided => self.note_due(id),
                verdict => self.conclude(id, verdict, step),
            }
        }
    }

    fn conclude(&mut self, id: BallotId, verdict: Verdict, step: &mut Step<'_>) {
        match verdict {
            Verdict::Undecided => {}
            Verdict::Rejected(why) => self.reject(id, why, step),
            Verdict::Adopted => {
                let Some(ballot) = self.ballots.get(&id).cloned() else { return };
                match self.enactable_now(&ballot) {
                    // What it was to change is another thing by now.
                    Err(why) => self.reject(id, Rejection::Moot(why), step),
                    Ok(()) => self.adopt(&ballot, step),
                }
            }
        }
    }

    fn reject(&mut self, id: BallotId, why: Rejection, step: &mut Step<'_>) {
        self.close(id, BallotState::Rejected(why), step);
        step.events.push(Event::Rejected(id));
    }

    fn adopt(&mut self, ballot: &Ballot, step: &mut Step<'_>) {
        // Closed first: what follows from it may look at the ballots that are open.
        self.close(ballot.id, BallotState::Adopted(None), step);
        let entry = self.enact(ballot, step);
        match entry {
            Some(entry) => {
                if let Some(ballot) = self.ballots.get_mut(&ballot.id) {
                    ballot.state = BallotState::Adopted(Some(entry.clone()));
                }
                step.events.push(Event::Listed(ballot.id, entry));
            }
            None => step.events.push(Event::Adopted(ballot.id)),
        }
    }

    /// Ends a ballot. The text of one that was not adopted is to be erased everywhere.
    pub(super) fn close(&mut self, id: BallotId, state: BallotState, step: &mut Step<'_>) {
        let Some(ballot) = self.ballots.get_mut(&id) else { return };
        if let Some(due) = ballot.due() {
            self.deadlines.remove(&(due, ballot.number, id));
        }
        if !matches!(state, BallotState::Adopted(_)) {
            step.events.push(Event::TextErased(ballot.public_part));
        }
        ballot.state = state;
        // It stays as it is from now on: no room is kept for more.
        let mut votes = LiteMap::with_capacity(ballot.votes.len());
        votes.extend(std::mem::take(&mut ballot.votes));
        ballot.votes = votes;
        self.open.remove(&ballot.number);
        self.matters.remove(&Matter::of(&ballot.motion));
        if let Some(open) = self.open_of.get_mut(&ballot.proposer) {
            *open = open.saturating_sub(1);
        }
    }

    /// A member takes part no more: it decides no open ballot, and its votes and holds on them count no more.
    pub(super) fn drop_out(&mut self, member: MemberId, step: &mut Step<'_>) {
        self.attested.remove(&member);
        let now = self.list_time;
        let open: Vec<BallotId> = self.open.values().copied().collect();
        for id in &open {
            let Some(ballot) = self.ballots.get_mut(id) else { continue };
            let before = ballot.due();
            if fault::is(Fault::KeepVotesOfTheExpelled) || !ballot.electorate.contains(&member) {
                continue;
            }
            Arc::make_mut(&mut ballot.electorate).remove(&member);
            ballot.votes.remove(&member);
            ballot.drop_out_of_silence(member, now);
            self.reschedule(*id, before);
        }
        // Only then is decided what follows, so that no ballot sees half of it.
        for id in open {
            self.settle(id, step);
        }
    }

    /// A member can say nothing any more, neither hold nor object: to the ballots that silence decides it is absent.
    pub(super) fn fall_silent(&mut self, member: MemberId) {
        for id in self.open.values() {
            if let Some(silence) = self.ballots.get_mut(id).and_then(Ballot::silence_mut) {
                silence.acknowledged.remove(&member);
            }
        }
    }

    /// Notes when a ballot is due that was due at another instant before.
    pub(super) fn reschedule(&mut self, id: BallotId, before: Option<Timestamp>) {
        let Some(ballot) = self.ballots.get(&id) else { return };
        if let Some(before) = before {
            self.deadlines.remove(&(before, ballot.number, id));
        }
        self.note_due(id);
    }

    fn note_due(&mut self, id: BallotId) {
        if let Some(ballot) = self.ballots.get(&id)
            && let Some(due) = ballot.due()
        {
            self.deadlines.insert((due, ballot.number, id));
        }
    }
}

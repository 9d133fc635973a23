//! The acts of the silence procedure: taking notice, holding, extending, lifting, objecting.

use crate::list::apply::Step;
use crate::list::ballot::{BallotState, Rejection};
use crate::list::command::{Acknowledge, BallotId, ExtendHold, Hold, LiftHold, Object};
use crate::list::refusal::Refusal;
use crate::list::silence::{HoldEnd, SilenceState};
use crate::list::state::{Event, ListState};
use crate::member::MemberId;

impl ListState {
    /// The silence of an open ballot that this member decides, too.
    fn own_silence(&self, ballot: BallotId, member: MemberId) -> Result<&SilenceState, Refusal> {
        self.own_ballot(ballot, member)?.silence().ok_or(Refusal::NoSilence(ballot))
    }

    /// Changes the silence of a ballot, and notes when it is next due.
    fn change_silence(&mut self, ballot: BallotId, change: impl FnOnce(&mut SilenceState)) {
        let before = self.ballots.get(&ballot).and_then(crate::list::Ballot::due);
        if let Some(silence) = self.ballots.get_mut(&ballot).and_then(crate::list::Ballot::silence_mut) {
            change(silence);
        }
        self.reschedule(ballot, before);
    }

    pub(super) fn may_acknowledge(&self, command: &Acknowledge) -> Result<(), Refusal> {
        let silence = self.own_silence(command.ballot, command.member)?;
        if silence.acknowledged.contains_key(&command.member) {
            return Err(Refusal::Acknowledged(command.member));
        }
        if silence.notice_over {
            return Err(Refusal::NoticeOver(silence.notice_until));
        }
        Ok(())
    }

    pub(super) fn acknowledge(&mut self, command: &Acknowledge, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.may_acknowledge(command)?;
        let acknowledgement = self.acknowledgement(step);
        self.change_silence(command.ballot, |silence| {
            silence.acknowledge(command.member, acknowledgement);
        });
        step.events.push(Event::Acknowledged(command.ballot, command.member));
        Ok(())
    }

    pub(super) fn may_hold(&self, command: &Hold) -> Result<(), Refusal> {
        let silence = self.own_silence(command.ballot, command.member)?;
        if silence.holds.contains_key(&command.member) {
            return Err(Refusal::HoldSpent(command.member));
        }
        Ok(())
    }

    pub(super) fn hold(&mut self, command: &Hold, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.may_hold(command)?;
        let (acknowledgement, now) = (self.acknowledgement(step), self.list_time);
        self.change_silence(command.ballot, |silence| {
            silence.acknowledge(command.member, acknowledgement);
            silence.hold(command.member, command.reason.clone(), now);
        });
        step.events.push(Event::Held(command.ballot, command.member));
        Ok(())
    }

    pub(super) fn may_extend_hold(&self, command: &ExtendHold) -> Result<(), Refusal> {
        let ExtendHold { ballot, member: by, holder, .. } = *command;
        let silence = self.own_silence(ballot, by)?;
        let hold = silence.holds.get(&holder).filter(|hold| hold.ended.is_none()).ok_or(Refusal::NoHold(holder))?;
        let problem = match hold {
            _ if holder == by => Some("a member's own hold is extended by the others"),
            hold if hold.extended => Some("the hold was extended already: once is all"),
            hold if hold.extension_by.contains(&by) => Some("has consented to the extension already"),
            _ => None,
        };
        match problem {
            Some(problem) => Err(Refusal::Extension { by, problem }),
            None => Ok(()),
        }
    }

    pub(super) fn extend_hold(&mut self, command: &ExtendHold, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.may_extend_hold(command)?;
        let ExtendHold { ballot, member: by, holder, .. } = *command;
        let electorate = self.open_ballot(ballot)?.electorate.clone();
        let mut extended = false;
        self.change_silence(ballot, |silence| extended = silence.extend(holder, by, &electorate));
        if extended {
            step.events.push(Event::HoldExtended(ballot, holder));
        }
        Ok(())
    }

    pub(super) fn may_lift_hold(&self, command: &LiftHold) -> Result<(), Refusal> {
        let silence = self.own_silence(command.ballot, command.member)?;
        if !silence.standing_holds().any(|(member, _)| member == command.member) {
            return Err(Refusal::NoHold(command.member));
        }
        Ok(())
    }

    pub(super) fn lift_hold(&mut self, command: &LiftHold, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.may_lift_hold(command)?;
        let now = self.list_time;
        self.change_silence(command.ballot, |silence| {
            silence.end_hold(command.member, HoldEnd::Lifted, now);
        });
        step.events.push(Event::HoldLifted(command.ballot, command.member));
        Ok(())
    }

    pub(super) fn may_object(&self, command: &Object) -> Result<(), Refusal> {
        self.own_silence(command.ballot, command.member).map(drop)
    }

    pub(super) fn object(&mut self, command: &Object, step: &mut Step<'_>) -> Result<(), Refusal> {
        self.may_object(command)?;
        self.change_silence(command.ballot, |silence| silence.objection = Some(command.reason.clone()));
        let rejection = Rejection::Objection(command.member);
        self.close(command.ballot, BallotState::Rejected(rejection), step);
        step.events.push(Event::Rejected(command.ballot));
        Ok(())
    }
}

//! A ballot as the judge knows it: every vote in its order, and days that are counted one by one.

use std::collections::BTreeSet;

use comity_core::calendar::months_after;
use comity_core::canonical::Hex32;
use comity_core::list::{BallotId, BallotState, Choice, Command, Motion, Rejection, Vote};
use comity_core::rule::{Rule, Silence};
use comity_core::{MemberId, Timestamp};

/// How a ballot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Adopted,
    Votes,
    Objection,
    Absence,
    Kept,
    Moot,
    Withdrawn,
}

impl End {
    /// How a node has it; nothing while it is open.
    pub(crate) fn of(state: &BallotState) -> Option<Self> {
        Some(match state {
            BallotState::Open => return None,
            BallotState::Adopted(_) => Self::Adopted,
            BallotState::Rejected(Rejection::Votes) => Self::Votes,
            BallotState::Rejected(Rejection::Objection(_)) => Self::Objection,
            BallotState::Rejected(Rejection::Absence) => Self::Absence,
            BallotState::Rejected(Rejection::Kept) => Self::Kept,
            BallotState::Rejected(Rejection::Moot(_)) => Self::Moot,
            BallotState::Withdrawn => Self::Withdrawn,
        })
    }
}

#[derive(Debug, Clone)]
pub(crate) enum How {
    Consents(Rule),
    Silence(Silence),
    Reverse(Timestamp),
}

/// What happened to the silence of a ballot.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    /// It is counted anew.
    Anew,
    /// A hold stands where none stood.
    Stop,
    /// The last hold ended.
    Go,
}

#[derive(Debug, Clone)]
pub(super) struct Hold {
    pub(super) member: MemberId,
    pub(super) until: Timestamp,
    pub(super) consents: Vec<MemberId>,
    pub(super) extended: bool,
    pub(super) ended: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Ballot {
    pub(crate) id: BallotId,
    pub(crate) proposer: MemberId,
    pub(super) motion: Motion,
    pub(crate) text: Hex32,
    pub(crate) electorate: BTreeSet<MemberId>,
    pub(crate) how: How,
    pub(super) tabled: Timestamp,
    /// Every vote that counted, in order, and its public leaf hash: the last of each member stands.
    pub(super) votes: Vec<(Vote, Hex32)>,
    /// Who has taken notice, and by which public leaf hash.
    pub(crate) present: Vec<(MemberId, Hex32)>,
    pub(super) holds: Vec<Hold>,
    pub(super) marks: Vec<(Timestamp, Mark)>,
    pub(super) notice_over: bool,
    /// How it ended, and at which leaf.
    pub(crate) end: Option<(End, u64)>,
}

const DAY_MICROS: i64 = 86_400_000_000;

fn day(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(DAY_MICROS)
}

/// The day zero of the epoch was a Thursday.
fn is_working(day: i64) -> bool {
    !matches!(day.rem_euclid(7), 2 | 3)
}

fn nth_working_day(after: i64, n: u32) -> i64 {
    (after + 1..).filter(|day| is_working(*day)).nth(n as usize - 1).expect("days go on")
}

fn close(day: i64, hour: u32) -> Timestamp {
    Timestamp::from_micros(day * DAY_MICROS + i64::from(hour) * 3_600_000_000).expect("an instant")
}

pub(super) fn at_least(count: usize, of: usize, numerator: u32, denominator: u32) -> bool {
    count as u64 * u64::from(denominator) >= of as u64 * u64::from(numerator)
}

impl Ballot {
    pub(crate) fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// The votes that stand.
    pub(crate) fn standing(&self) -> Vec<&(Vote, Hex32)> {
        let last = |member: &MemberId| self.votes.iter().rfind(|(vote, _)| vote.member == *member);
        self.electorate.iter().filter_map(last).collect()
    }

    pub(super) fn vote_of(&self, member: MemberId) -> Option<&Vote> {
        self.standing().into_iter().map(|(vote, _)| vote).find(|vote| vote.member == member)
    }

    pub(super) fn count(&self, choice: Choice) -> usize {
        self.standing().iter().filter(|(vote, _)| vote.choice == choice).count()
    }

    pub(crate) fn is_present(&self, member: MemberId) -> bool {
        self.present.iter().any(|(known, _)| *known == member)
    }

    pub(super) fn notice_until(&self, rule: &Silence) -> Timestamp {
        close(nth_working_day(day(self.tabled), rule.notice_days), rule.closing_hour)
    }

    /// When silence is complete, if no hold stands.
    pub(super) fn complete_at(&self, rule: &Silence) -> Option<Timestamp> {
        let (mut from, mut left, mut stopped) = (day(self.tabled), rule.period_days, false);
        for (at, mark) in &self.marks {
            match mark {
                Mark::Anew => (from, left) = (day(*at), rule.period_days),
                Mark::Stop => {
                    let ran = (from + 1..=day(*at)).filter(|day| is_working(*day)).count() as u32;
                    left = left.saturating_sub(ran).max(1);
                    stopped = true;
                }
                Mark::Go => {
                    from = day(*at);
                    stopped = false;
                }
            }
        }
        (!stopped).then(|| close(nth_working_day(from, left), rule.closing_hour))
    }

    pub(super) fn held(&self) -> bool {
        self.holds.iter().any(|hold| !hold.ended)
    }

    pub(super) fn notices(&mut self, member: MemberId, public: Hex32, now: Timestamp) {
        if matches!(self.how, How::Silence(_)) && !self.notice_over && !self.is_present(member) {
            self.present.push((member, public));
            self.marks.push((now, Mark::Anew));
        }
    }

    pub(super) fn is_present_enough(&self, rule: &Silence) -> bool {
        let present = self.electorate.iter().filter(|member| self.is_present(**member)).count();
        present > 0 && at_least(present, self.electorate.len(), rule.presence.numerator, rule.presence.denominator)
    }

    pub(super) fn end_hold(&mut self, member: MemberId, at: Timestamp) {
        let was_held = self.held();
        self.holds.iter_mut().filter(|hold| hold.member == member).for_each(|hold| hold.ended = true);
        if was_held && !self.held() {
            self.marks.push((at, Mark::Go));
        }
    }

    /// More than half of the others have consented.
    pub(super) fn try_extend(&mut self, rule: &Silence) {
        let electorate = self.electorate.clone();
        for hold in self.holds.iter_mut().filter(|hold| !hold.ended && !hold.extended) {
            let others = electorate.iter().filter(|member| **member != hold.member).count();
            let consents = hold.consents.iter().filter(|member| electorate.contains(member)).count();
            if consents * 2 > others {
                hold.extended = true;
                hold.until = months_after(hold.until, rule.extension_months);
            }
        }
    }

    /// The next instant at which something happens by itself.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if !self.is_open() {
            return None;
        }
        match &self.how {
            How::Consents(_) => None,
            How::Reverse(until) => Some(*until),
            How::Silence(rule) => {
                let notice = (!self.notice_over).then(|| self.notice_until(rule));
                let lapse = self.holds.iter().filter(|hold| !hold.ended).map(|hold| hold.until).min();
                [notice, self.complete_at(rule), lapse].into_iter().flatten().min()
            }
        }
    }

    /// Whether the ballot takes this of its electorate.
    pub(super) fn takes(&self, by: MemberId, command: &Command) -> bool {
        if let Command::Vote(vote) = command {
            let standing = self.vote_of(by).map(|v| v.command_id);
            let replaced_before =
                self.votes.iter().any(|(v, _)| v.member == by && v.replaces.is_some() && v.replaces == vote.replaces);
            return standing == vote.replaces || replaced_before;
        }
        let How::Silence(_) = self.how else { return false };
        let of = |member: MemberId| self.holds.iter().find(|hold| hold.member == member);
        match command {
            Command::Acknowledge(_) => !self.notice_over && !self.is_present(by),
            Command::Hold(_) => of(by).is_none(),
            Command::LiftHold(_) => of(by).is_some_and(|hold| !hold.ended),
            Command::ExtendHold(c) => of(c.holder)
                .is_some_and(|hold| !hold.ended && !hold.extended && c.holder != by && !hold.consents.contains(&by)),
            Command::Object(_) => true,
            _ => false,
        }
    }
}

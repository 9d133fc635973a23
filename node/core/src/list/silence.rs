//! The silence procedure of one ballot: who has taken notice, whose holds stand, and until when silence must last.
//!
//! Silence runs from the last acknowledgement of notice. A member that has not acknowledged in time is absent and not counted;
//! with too few present nothing is adopted, so that a member which is cut off never consents by being unreachable. A hold
//! stops the clock; when the last hold ends it runs on with the working days that were left.

use std::collections::{BTreeMap, BTreeSet};

use crate::calendar::{close_of_working_day, months_after, working_days_between};
use crate::canonical::Hex32;
use crate::fault::{self, Fault};
use crate::list::ballot::{Rejection, Verdict};
use crate::member::MemberId;
use crate::rule::Silence;
use crate::timestamp::Timestamp;

/// A member's acknowledgement of notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// When, in list time.
    pub at: Timestamp,
    /// The leaf of the command that acknowledged.
    pub leaf: u64,
    /// The leaf hash by which publications name it.
    pub public_hash: Hex32,
}

/// Why a hold stands no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldEnd {
    /// Its member lifted it.
    Lifted,
    /// Its time ran out.
    Lapsed,
    /// Its member was suspended or expelled.
    Suspended,
}

impl std::fmt::Display for HoldEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Lifted => "lifted",
            Self::Lapsed => "lapsed",
            Self::Suspended => "ended by suspension",
        })
    }
}

/// A member's hold. It may place one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Why, for the other members.
    pub reason: String,
    /// When it was placed, in list time.
    pub placed_at: Timestamp,
    /// When it lapses, in list time.
    pub until: Timestamp,
    /// Who has consented to its extension.
    pub extension_by: BTreeSet<MemberId>,
    /// Whether it was extended: once at most.
    pub extended: bool,
    /// Whether and why it stands no more.
    pub ended: Option<HoldEnd>,
}

impl Hold {
    /// Extends it, once, where more than half of the other members have consented.
    fn extend(&mut self, holder: MemberId, months: u32, electorate: &BTreeSet<MemberId>) -> bool {
        let others = electorate.iter().filter(|member| **member != holder).count();
        let consents = self.extension_by.iter().filter(|member| electorate.contains(member)).count();
        let extends = !self.extended && consents * 2 > others;
        if extends {
            self.extended = true;
            self.until = months_after(self.until, months);
        }
        extends
    }
}

/// Until when silence must last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// It runs, and silence is complete then.
    Running {
        /// In list time.
        until: Timestamp,
    },
    /// A hold stands; so many working days are left.
    Held {
        /// Working days.
        days_left: u32,
    },
}

/// How the silence procedure of a ballot stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SilenceState {
    /// The parameters, as they were at tabling.
    pub rule: Silence,
    /// Who has acknowledged notice.
    pub acknowledged: BTreeMap<MemberId, Acknowledged>,
    /// Until when notice can be acknowledged, in list time.
    pub notice_until: Timestamp,
    /// Whether that time is over.
    pub notice_over: bool,
    /// Until when silence must last.
    pub clock: Clock,
    /// Every member's hold, those that stand no more among them.
    pub holds: BTreeMap<MemberId, Hold>,
    /// Why a member objected, where one did.
    pub objection: Option<String>,
}

impl SilenceState {
    /// At tabling. Whoever tables has taken notice.
    pub(crate) fn tabled(rule: Silence, proposer: MemberId, tabled: Acknowledged) -> Self {
        let mut silence = Self {
            rule,
            acknowledged: BTreeMap::new(),
            notice_until: close_of_working_day(tabled.at, rule.notice_days, rule.closing_hour),
            notice_over: false,
            clock: Clock::Held { days_left: rule.period_days },
            holds: BTreeMap::new(),
            objection: None,
        };
        silence.clock = silence.running(tabled.at, rule.period_days);
        silence.acknowledged.insert(proposer, tabled);
        silence
    }

    fn running(&self, from: Timestamp, days: u32) -> Clock {
        Clock::Running { until: close_of_working_day(from, days, self.rule.closing_hour) }
    }

    /// Takes note of an acknowledgement, from which silence is counted anew. Whoever is late, or has acknowledged, changes
    /// nothing.
    pub(crate) fn acknowledge(&mut self, member: MemberId, acknowledged: Acknowledged) -> bool {
        if self.notice_over || self.acknowledged.contains_key(&member) {
            return false;
        }
        self.acknowledged.insert(member, acknowledged);
        self.clock = match self.clock {
            Clock::Running { .. } => self.running(acknowledged.at, self.rule.period_days),
            Clock::Held { .. } => Clock::Held { days_left: self.rule.period_days },
        };
        true
    }

    /// The holds that stand.
    pub fn standing_holds(&self) -> impl Iterator<Item = (MemberId, &Hold)> {
        self.holds.iter().filter(|(_, hold)| hold.ended.is_none()).map(|(member, hold)| (*member, hold))
    }

    pub(crate) fn hold(&mut self, member: MemberId, reason: String, at: Timestamp) {
        if let Clock::Running { until } = self.clock
            && !fault::is(Fault::HoldsHoldNothing)
        {
            // At least one: what was not over when it was held is not over the moment the hold ends.
            self.clock = Clock::Held { days_left: working_days_between(at, until).max(1) };
        }
        let until = months_after(at, self.rule.hold_months);
        let hold = Hold { reason, placed_at: at, until, extension_by: BTreeSet::new(), extended: false, ended: None };
        self.holds.insert(member, hold);
    }

    /// Notes a consent to the extension of a hold; extends it once more than half of the other members have consented.
    pub(crate) fn extend(&mut self, holder: MemberId, by: MemberId, electorate: &BTreeSet<MemberId>) -> bool {
        let Some(hold) = self.holds.get_mut(&holder) else { return false };
        hold.extension_by.insert(by);
        hold.extend(holder, self.rule.extension_months, electorate)
    }

    /// Ends a hold that stands. When it was the last, silence runs on.
    pub(crate) fn end_hold(&mut self, member: MemberId, end: HoldEnd, at: Timestamp) -> bool {
        match self.holds.get_mut(&member) {
            Some(hold) if hold.ended.is_none() => hold.ended = Some(end),
            _ => return false,
        }
        if let Clock::Held { days_left } = self.clock
            && self.standing_holds().next().is_none()
        {
            self.clock = self.running(at, days_left);
        }
        true
    }

    /// Somebody takes part no more; the electorate is what is left.
    pub(crate) fn drop_out(&mut self, member: MemberId, at: Timestamp, electorate: &BTreeSet<MemberId>) {
        self.acknowledged.remove(&member);
        self.end_hold(member, HoldEnd::Suspended, at);
        // Of the others that are left more than half may have consented by now.
        let months = self.rule.extension_months;
        for (holder, hold) in self.holds.iter_mut().filter(|(_, hold)| hold.ended.is_none()) {
            hold.extend(*holder, months, electorate);
        }
    }

    /// Those of the electorate who have acknowledged notice.
    pub fn present<'a>(&'a self, electorate: &'a BTreeSet<MemberId>) -> impl Iterator<Item = MemberId> + 'a {
        electorate.iter().copied().filter(|member| self.acknowledged.contains_key(member))
    }

    /// How many must be present for anything to be adopted.
    pub fn presence_needed(&self, electorate: &BTreeSet<MemberId>) -> usize {
        self.rule.presence.of(electorate.len()).max(1)
    }

    fn is_quorate(&self, electorate: &BTreeSet<MemberId>) -> bool {
        fault::is(Fault::CountTheAbsent) || self.present(electorate).count() >= self.presence_needed(electorate)
    }

    /// The next instant at which something happens by itself.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let notice = (!self.notice_over).then_some(self.notice_until);
        let clock = match self.clock {
            Clock::Running { until } => Some(until),
            Clock::Held { .. } => self.standing_holds().map(|(_, hold)| hold.until).min(),
        };
        [notice, clock].into_iter().flatten().min()
    }

    /// What time brings about by `now`, step by step in its order.
    pub(crate) fn advance(&mut self, now: Timestamp, electorate: &BTreeSet<MemberId>) -> Verdict {
        while let Some(at) = self.due().filter(|at| *at <= now) {
            if !self.notice_over && self.notice_until == at {
                self.notice_over = true;
                if !self.is_quorate(electorate) {
                    return Verdict::Rejected(Rejection::Absence);
                }
                continue;
            }
            match self.clock {
                Clock::Held { .. } => {
                    let lapsed: Vec<MemberId> =
                        self.standing_holds().filter(|(_, hold)| hold.until <= at).map(|(member, _)| member).collect();
                    for member in lapsed {
                        self.end_hold(member, HoldEnd::Lapsed, at);
                    }
                }
                // INVARIANT: silence consents only for those who took notice, and only where enough did.
                Clock::Running { .. } if self.is_quorate(electorate) => return Verdict::Adopted,
                Clock::Running { .. } => return Verdict::Rejected(Rejection::Absence),
            }
        }
        Verdict::Undecided
    }
}

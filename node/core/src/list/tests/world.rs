//! A second, slow and plain reading of the rules: the whole world is told anew from the commands that were accepted, with
//! lists that are searched from end to end, days that are counted one by one, and no clock that is kept running.

use std::collections::BTreeSet;

use crate::calendar::{days_after, months_after};
use crate::canonical::Hex32;
use crate::genesis::Genesis;
use crate::list::{BallotId, Choice, Command, CommandId, EntryId, Motion, Vote};
use crate::member::MemberId;
use crate::record::RecordId;
use crate::roster::MemberStatus;
use crate::rule::{Rule, Rules, Silence};
use crate::testing::ballot_id;
use crate::timestamp::Timestamp;

/// How a ballot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Adopted,
    Votes,
    Objection,
    Absence,
    Kept,
    Moot,
    Withdrawn,
}

#[derive(Debug, Clone)]
enum How {
    Consents(Rule),
    Silence(Silence),
    Reverse(Timestamp),
}

/// What happened to the silence of a ballot, by day.
#[derive(Debug, Clone, Copy)]
enum Mark {
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
    consents: Vec<MemberId>,
    pub(super) extended: bool,
    pub(super) ended: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Ballot {
    pub(super) id: BallotId,
    proposer: MemberId,
    motion: Motion,
    pub(super) text: Hex32,
    pub(super) electorate: BTreeSet<MemberId>,
    how: How,
    tabled: Timestamp,
    /// Every vote that counted, in order: the last of each member stands.
    votes: Vec<Vote>,
    pub(super) equivocations: usize,
    pub(super) present: BTreeSet<MemberId>,
    pub(super) holds: Vec<Hold>,
    marks: Vec<(Timestamp, Mark)>,
    notice_over: bool,
    pub(super) end: Option<End>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    pub(super) ballot: BallotId,
    pub(super) proposer: MemberId,
    pub(super) text: Hex32,
    /// Of the listing, of every amendment, and of the merge that made it a redirect.
    texts: Vec<Hex32>,
    pub(super) gone: bool,
    pub(super) into: Option<EntryId>,
    /// Whose, its name, whether it has ended.
    pub(super) measures: Vec<(MemberId, String, bool)>,
    pub(super) review_due: Timestamp,
}

#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) member: MemberId,
    voting: bool,
    pub(super) status: MemberStatus,
    decision_revoked: bool,
    node_revoked: bool,
    attested: Option<Timestamp>,
}

/// How everything stands after some commands.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) roster: Vec<Person>,
    rules: Rules,
    pub(super) now: Timestamp,
    pub(super) ballots: Vec<Ballot>,
    pub(super) entries: Vec<Entry>,
    adopted: Vec<RecordId>,
    names: Vec<(MemberId, String)>,
    spent: Vec<CommandId>,
    pub(super) erased: Vec<Hex32>,
    pub(super) publications: usize,
}

const DAY: i64 = 86_400_000_000;

fn day(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(DAY)
}

/// The day zero of the epoch was a Thursday.
fn is_working(day: i64) -> bool {
    !matches!(day.rem_euclid(7), 2 | 3)
}

fn nth_working_day(after: i64, n: u32) -> i64 {
    (after + 1..).filter(|day| is_working(*day)).nth(n as usize - 1).unwrap()
}

fn close(day: i64, hour: u32) -> Timestamp {
    Timestamp::from_micros(day * DAY + i64::from(hour) * 3_600_000_000).unwrap()
}

fn at_least(count: usize, of: usize, numerator: u32, denominator: u32) -> bool {
    count as u64 * u64::from(denominator) >= of as u64 * u64::from(numerator)
}

impl Ballot {
    pub(super) fn is_open(&self) -> bool {
        self.end.is_none()
    }

    pub(super) fn standing(&self) -> Vec<&Vote> {
        let last = |member: &MemberId| self.votes.iter().rfind(|vote| vote.member == *member);
        self.electorate.iter().filter_map(last).collect()
    }

    fn count(&self, choice: Choice) -> usize {
        self.standing().iter().filter(|vote| vote.choice == choice).count()
    }

    fn notice_until(&self, rule: &Silence) -> Timestamp {
        close(nth_working_day(day(self.tabled), rule.notice_days), rule.closing_hour)
    }

    /// When silence is complete, if no hold stands.
    fn complete_at(&self, rule: &Silence) -> Option<Timestamp> {
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

    fn held(&self) -> bool {
        self.holds.iter().any(|hold| !hold.ended)
    }

    fn notices(&mut self, member: MemberId, now: Timestamp) {
        if matches!(self.how, How::Silence(_)) && !self.notice_over && self.present.insert(member) {
            self.marks.push((now, Mark::Anew));
        }
    }

    fn is_present_enough(&self, rule: &Silence) -> bool {
        let present = self.electorate.intersection(&self.present).count();
        present > 0 && at_least(present, self.electorate.len(), rule.presence.numerator, rule.presence.denominator)
    }

    fn end_hold(&mut self, member: MemberId, at: Timestamp) {
        let was_held = self.held();
        self.holds.iter_mut().filter(|hold| hold.member == member).for_each(|hold| hold.ended = true);
        if was_held && !self.held() {
            self.marks.push((at, Mark::Go));
        }
    }

    /// More than half of the others have consented.
    fn try_extend(&mut self, rule: &Silence) {
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
}

impl World {
    /// What the commands have led to.
    pub(super) fn told(genesis: &Genesis, accepted: &[Command]) -> Self {
        let mut world = Self {
            roster: Vec::new(),
            rules: genesis.document().rules,
            now: genesis.document().created,
            ballots: Vec::new(),
            entries: Vec::new(),
            adopted: Vec::new(),
            names: Vec::new(),
            spent: Vec::new(),
            erased: Vec::new(),
            publications: 0,
        };
        genesis.members().values().for_each(|row| world.join(row.member, row.voting));
        for command in accepted {
            assert!(world.accepts(command), "an accepted command that is none: {command:?}");
            world.hear(command);
            world.spent.push(command.id());
        }
        world
    }

    fn join(&mut self, member: MemberId, voting: bool) {
        self.roster.push(Person {
            member,
            voting,
            status: MemberStatus::Active,
            decision_revoked: false,
            node_revoked: false,
            attested: None,
        });
        self.roster.sort_by_key(|person| person.member);
    }

    fn person(&self, member: MemberId) -> Option<&Person> {
        self.roster.iter().find(|person| person.member == member)
    }

    fn person_mut(&mut self, member: MemberId) -> &mut Person {
        self.roster.iter_mut().find(|person| person.member == member).unwrap()
    }

    fn is(&self, member: MemberId, status: MemberStatus) -> bool {
        self.person(member).is_some_and(|person| person.status == status)
    }

    pub(super) fn voters(&self) -> Vec<MemberId> {
        let voters = self.roster.iter().filter(|person| person.voting && person.status == MemberStatus::Active);
        voters.map(|person| person.member).collect()
    }

    /// Those who vote and whose node keys count.
    pub(super) fn cosigners(&self) -> Vec<MemberId> {
        let voters = self.voters();
        voters.into_iter().filter(|member| !self.person(*member).unwrap().node_revoked).collect()
    }

    pub(super) fn ballot(&self, id: BallotId) -> Option<&Ballot> {
        self.ballots.iter().find(|ballot| ballot.id == id)
    }

    fn ballot_mut(&mut self, id: BallotId) -> &mut Ballot {
        self.ballots.iter_mut().find(|ballot| ballot.id == id).unwrap()
    }

    fn entry(&self, id: &EntryId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == *id)
    }

    fn entry_mut(&mut self, id: &EntryId) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.id == *id).unwrap()
    }

    fn is_listed(&self, id: &EntryId) -> bool {
        self.entry(id).is_some_and(|entry| !entry.gone)
    }

    /// Whether a node must accept it, where it is new, well formed and well signed.
    pub(super) fn accepts(&self, command: &Command) -> bool {
        let by = command.member();
        let Some(person) = self.person(by) else { return false };
        if self.spent.contains(&command.id()) {
            return false;
        }
        if let Command::RevokeKeys(revoke) = command {
            let changes = revoke.decision && !person.decision_revoked || revoke.node && !person.node_revoked;
            return person.status != MemberStatus::Expelled && changes;
        }
        if person.status != MemberStatus::Active || !person.voting {
            return false;
        }
        if let Command::AttestTime(attest) = command {
            let last = person.attested.map(Timestamp::as_micros);
            return !person.node_revoked && last.is_none_or(|last| attest.time.as_micros() - last >= 60_000_000);
        }
        if person.decision_revoked {
            return false;
        }
        if let Command::Table(table) = command {
            return self.may_table(by, &table.motion) && self.ballots.iter().all(|b| b.text != table.public_part);
        }
        if let Some(id) = command.ballot() {
            let Some(ballot) = self.ballot(id).filter(|ballot| ballot.is_open()) else { return false };
            if let Command::Withdraw(_) = command {
                return ballot.proposer == by;
            }
            return ballot.electorate.contains(&by) && may_say(ballot, by, command);
        }
        match command {
            Command::AttachMeasure(c) => {
                self.is_listed(&c.entry) && !self.names.contains(&(by, c.measure.id.to_string()))
            }
            Command::EndMeasure(c) => self.entry(&c.entry).is_some_and(|entry| {
                entry.into.is_none() && entry.measures.contains(&(by, c.measure.to_string(), false))
            }),
            Command::Review(c) => self.is_listed(&c.entry),
            other => panic!("no such command is tried: {other:?}"),
        }
    }

    fn may_table(&self, by: MemberId, motion: &Motion) -> bool {
        let same = |one: &Motion, other: &Motion| match (one, other) {
            (Motion::List { proposal: one }, Motion::List { proposal: other }) => one == other,
            (Motion::ChangeRule { kind: one, .. }, Motion::ChangeRule { kind: other, .. }) => one == other,
            _ => {
                one.entry().is_some() && one.entry() == other.entry()
                    || one.target().is_some() && one.target() == other.target()
            }
        };
        let is_open = self.ballots.iter().any(|ballot| ballot.is_open() && same(&ballot.motion, motion));
        let own = motion.proposal().is_none_or(|proposal| proposal.originator() == by);
        let distinct = !matches!(motion, Motion::Merge { entry, into } if entry == into);
        !is_open && own && distinct && self.can_be_done(motion) && motion.excluded() != Some(by)
    }

    /// Whether a motion, adopted now, could be carried out.
    fn can_be_done(&self, motion: &Motion) -> bool {
        if motion.proposal().is_some_and(|proposal| self.adopted.contains(&proposal)) {
            return false;
        }
        match motion {
            Motion::List { .. } => true,
            Motion::Amend { entry, .. } | Motion::Delist { entry, .. } => self.is_listed(entry),
            Motion::Merge { entry, into } => self.is_listed(entry) && self.is_listed(into),
            Motion::Suspend { target } => self.is(*target, MemberStatus::Active),
            Motion::Readmit { target } => self.is(*target, MemberStatus::Suspended),
            Motion::Expel { target } => {
                self.is(*target, MemberStatus::Active) || self.is(*target, MemberStatus::Suspended)
            }
            // A newcomer has one set of keys, and keys are used once.
            Motion::Admit { member } => self.person(member.member).is_none(),
            Motion::ChangeRule { kind, rule } => self.rules.of(*kind) != *rule,
            other => panic!("no such motion is tried: {other}"),
        }
    }

    fn is_for_reverse(&self, motion: &Motion, by: MemberId) -> bool {
        let Motion::Delist { entry, .. } = motion else { return false };
        self.entry(entry).is_some_and(|entry| {
            let had = entry.measures.iter().any(|(whose, _, _)| *whose != by);
            let ended = had && entry.measures.iter().all(|(_, _, ended)| *ended);
            entry.proposer == by || ended
        })
    }

    fn hear(&mut self, command: &Command) {
        let (by, now) = (command.member(), self.now);
        match command {
            Command::Table(table) => {
                let how = match self.rules.of(table.motion.kind()) {
                    _ if self.is_for_reverse(&table.motion, by) => {
                        How::Reverse(days_after(now, self.rules.reverse_silence_days))
                    }
                    Rule::NoObjection(silence) => How::Silence(silence),
                    rule => How::Consents(rule),
                };
                let electorate = self.voters().into_iter().filter(|m| Some(*m) != table.motion.excluded()).collect();
                self.ballots.push(Ballot {
                    id: ballot_id(command),
                    proposer: by,
                    motion: table.motion.clone(),
                    text: table.public_part,
                    electorate,
                    how,
                    tabled: now,
                    votes: Vec::new(),
                    equivocations: 0,
                    present: BTreeSet::from([by]),
                    holds: Vec::new(),
                    marks: Vec::new(),
                    notice_over: false,
                    end: None,
                });
            }
            Command::Vote(vote) => {
                let ballot = self.ballot_mut(vote.ballot);
                let standing = ballot.standing().into_iter().find(|v| v.member == by).map(|v| v.command_id);
                if standing != vote.replaces {
                    ballot.equivocations += 1;
                    return;
                }
                ballot.votes.push(vote.clone());
                ballot.notices(by, now);
                self.settle(vote.ballot);
            }
            Command::Withdraw(c) => self.finish(c.ballot, End::Withdrawn),
            Command::Object(c) => self.finish(c.ballot, End::Objection),
            Command::Acknowledge(c) => self.ballot_mut(c.ballot).notices(by, now),
            Command::Hold(c) => {
                let ballot = self.ballot_mut(c.ballot);
                let How::Silence(rule) = ballot.how.clone() else { panic!() };
                ballot.notices(by, now);
                if !ballot.held() {
                    ballot.marks.push((now, Mark::Stop));
                }
                let until = months_after(now, rule.hold_months);
                ballot.holds.push(Hold { member: by, until, consents: Vec::new(), extended: false, ended: false });
            }
            Command::ExtendHold(c) => {
                let ballot = self.ballot_mut(c.ballot);
                let How::Silence(rule) = ballot.how.clone() else { panic!() };
                ballot.holds.iter_mut().filter(|hold| hold.member == c.holder).for_each(|h| h.consents.push(by));
                ballot.try_extend(&rule);
            }
            Command::LiftHold(c) => self.ballot_mut(c.ballot).end_hold(by, now),
            Command::AttachMeasure(c) => {
                self.names.push((by, c.measure.id.to_string()));
                self.entry_mut(&c.entry).measures.push((by, c.measure.id.to_string(), false));
                self.publications += 1;
            }
            Command::EndMeasure(c) => {
                let name = c.measure.to_string();
                let measures = self.entry_mut(&c.entry).measures.iter_mut();
                measures.filter(|(m, n, _)| *m == by && *n == name).for_each(|measure| measure.2 = true);
                self.publications += 1;
            }
            Command::Review(c) => {
                self.entry_mut(&c.entry).review_due = months_after(now, self.rules.review_months);
                self.publications += 1;
            }
            Command::RevokeKeys(c) => {
                let person = self.person_mut(by);
                person.decision_revoked |= c.decision;
                person.node_revoked |= c.node;
                if c.node {
                    person.attested = None;
                }
                if c.decision {
                    // It can neither hold nor object any more: its silence says nothing.
                    for ballot in self.ballots.iter_mut().filter(|ballot| ballot.is_open()) {
                        ballot.present.remove(&by);
                    }
                }
                self.publications += 1;
            }
            Command::AttestTime(c) => {
                self.person_mut(by).attested = Some(c.time);
                let voters = self.voters();
                let said: Vec<Timestamp> = voters.iter().filter_map(|m| self.person(*m).unwrap().attested).collect();
                for time in &said {
                    let agree = said.iter().filter(|other| *other >= time).count();
                    if 2 * agree > voters.len() && *time > self.now {
                        self.now = *time;
                    }
                }
                self.pass();
            }
            other => panic!("no such command is tried: {other:?}"),
        }
    }

    /// What has become due happens: the earliest first, of one instant in the order of tabling.
    fn pass(&mut self) {
        loop {
            let due = self.ballots.iter().enumerate().filter_map(|(n, ballot)| Some((ballot.due()?, n)));
            let Some((at, n)) = due.min().filter(|(at, _)| *at <= self.now) else { return };
            let id = self.ballots[n].id;
            match self.ballots[n].how.clone() {
                How::Consents(_) => panic!("consents are never due"),
                How::Reverse(_) => self.adopt(id),
                How::Silence(rule) => {
                    let ballot = self.ballot_mut(id);
                    let enough = ballot.is_present_enough(&rule);
                    if !ballot.notice_over && ballot.notice_until(&rule) == at {
                        ballot.notice_over = true;
                        if !enough {
                            self.finish(id, End::Absence);
                        }
                    } else if ballot.complete_at(&rule) == Some(at) {
                        if enough { self.adopt(id) } else { self.finish(id, End::Absence) }
                    } else {
                        let over: Vec<MemberId> =
                            ballot.holds.iter().filter(|h| !h.ended && h.until <= at).map(|h| h.member).collect();
                        over.into_iter().for_each(|member| ballot.end_hold(member, at));
                    }
                }
            }
        }
    }

    fn settle(&mut self, id: BallotId) {
        let ballot = self.ballot(id).unwrap();
        if !ballot.is_open() {
            return;
        }
        let (all, voted) = (ballot.electorate.len(), ballot.standing().len());
        match &ballot.how {
            How::Consents(rule) => {
                let enough = |count: usize| {
                    count > 0
                        && match rule {
                            Rule::Unanimity => count == all,
                            Rule::Quorum(f) => at_least(count, all, f.numerator, f.denominator),
                            Rule::NoObjection(_) => false,
                        }
                };
                let yes = ballot.count(Choice::Yes);
                if enough(yes) {
                    self.adopt(id);
                } else if !enough(yes + all - voted) {
                    self.finish(id, End::Votes);
                }
            }
            How::Silence(_) if ballot.count(Choice::No) > 0 => self.finish(id, End::Objection),
            How::Silence(_) => {}
            How::Reverse(_) => {
                let keep = |m: &MemberId| ballot.standing().iter().any(|v| v.member == *m && v.choice == Choice::No);
                let others: Vec<MemberId> =
                    ballot.electorate.iter().copied().filter(|m| *m != ballot.proposer).collect();
                if !others.is_empty() && others.iter().all(keep) {
                    self.finish(id, End::Kept);
                }
            }
        }
    }

    fn finish(&mut self, id: BallotId, end: End) {
        let ballot = self.ballot_mut(id);
        ballot.end = Some(end);
        let text = ballot.text;
        if end != End::Adopted {
            self.erased.push(text);
        }
    }

    fn adopt(&mut self, id: BallotId) {
        let ballot = self.ballot(id).unwrap().clone();
        let still_reverse =
            !matches!(ballot.how, How::Reverse(_)) || self.is_for_reverse(&ballot.motion, ballot.proposer);
        if !self.can_be_done(&ballot.motion) || !still_reverse {
            return self.finish(id, End::Moot);
        }
        self.finish(id, End::Adopted);
        self.publications += 1;
        self.adopted.extend(ballot.motion.proposal());
        let (now, review_due) = (self.now, months_after(self.now, self.rules.review_months));
        match &ballot.motion {
            Motion::List { .. } => {
                let year = format!("CW-{}-", now.year());
                let before = self.entries.iter().filter(|entry| entry.id.to_string().starts_with(&year)).count();
                self.entries.push(Entry {
                    id: format!("{year}{:04}", before + 1).parse().unwrap(),
                    ballot: id,
                    proposer: ballot.proposer,
                    text: ballot.text,
                    texts: vec![ballot.text],
                    gone: false,
                    into: None,
                    measures: Vec::new(),
                    review_due,
                });
            }
            Motion::Amend { entry, .. } => {
                let entry = self.entry_mut(entry);
                entry.text = ballot.text;
                entry.texts.push(ballot.text);
                entry.review_due = review_due;
            }
            Motion::Delist { entry, ground } => {
                self.entry_mut(entry).gone = true;
                if ground.annuls() {
                    let texts = self.texts_of(entry);
                    self.erased.extend(texts);
                }
            }
            Motion::Merge { entry, into } => {
                let gone = self.entry_mut(entry);
                gone.gone = true;
                gone.texts.push(ballot.text);
                gone.into = Some(into.clone());
                let measures = std::mem::take(&mut gone.measures);
                self.entry_mut(into).measures.extend(measures);
            }
            Motion::Suspend { target } => self.leave(*target, MemberStatus::Suspended),
            Motion::Expel { target } => self.leave(*target, MemberStatus::Expelled),
            Motion::Readmit { target } => self.person_mut(*target).status = MemberStatus::Active,
            Motion::Admit { member } => self.join(member.member, member.voting),
            Motion::ChangeRule { kind, rule } => self.rules.set(*kind, *rule),
            other => panic!("no such motion is tried: {other}"),
        }
    }

    /// The texts of an entry and of all that were merged into it.
    fn texts_of(&self, id: &EntryId) -> Vec<Hex32> {
        let own = self.entry(id).unwrap().texts.clone();
        let merged = self.entries.iter().filter(|entry| entry.into.as_ref() == Some(id));
        own.into_iter().chain(merged.flat_map(|entry| self.texts_of(&entry.id))).collect()
    }

    fn leave(&mut self, member: MemberId, status: MemberStatus) {
        let now = self.now;
        let person = self.person_mut(member);
        person.status = status;
        person.attested = None;
        let mut left = Vec::new();
        for ballot in self.ballots.iter_mut().filter(|ballot| ballot.is_open()) {
            if ballot.electorate.remove(&member) {
                ballot.votes.retain(|vote| vote.member != member);
                ballot.present.remove(&member);
                ballot.end_hold(member, now);
                if let How::Silence(rule) = ballot.how.clone() {
                    ballot.try_extend(&rule);
                }
            }
            left.push(ballot.id);
        }
        left.into_iter().for_each(|id| self.settle(id));
    }
}

fn may_say(ballot: &Ballot, by: MemberId, command: &Command) -> bool {
    if let Command::Vote(vote) = command {
        let standing = ballot.standing().into_iter().find(|v| v.member == by).map(|v| v.command_id);
        let replaced_before = ballot.votes.iter().any(|v| v.member == by && v.replaces == vote.replaces);
        return standing == vote.replaces || vote.replaces.is_some() && replaced_before;
    }
    let How::Silence(_) = ballot.how else { return false };
    let of = |member: MemberId| ballot.holds.iter().find(|hold| hold.member == member);
    match command {
        Command::Acknowledge(_) => !ballot.notice_over && !ballot.present.contains(&by),
        Command::Hold(_) => of(by).is_none(),
        Command::LiftHold(_) => of(by).is_some_and(|hold| !hold.ended),
        Command::ExtendHold(c) => of(c.holder)
            .is_some_and(|hold| !hold.ended && !hold.extended && c.holder != by && !hold.consents.contains(&by)),
        Command::Object(_) => true,
        other => panic!("no such command is tried: {other:?}"),
    }
}

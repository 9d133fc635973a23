//! A second, slow and plain reading of the rules: what happened is told anew from the envelopes that were accepted, with lists
//! that are searched from end to end, days that are counted one by one, and signatures that are verified here.

mod ballot;
mod person;
mod seals;
mod standing;

use std::collections::BTreeSet;

use comity_core::calendar::{days_after, months_after};
use comity_core::canonical::Hex32;
use comity_core::genesis::Genesis;
use comity_core::list::{BallotId, Choice, Command, CommandId, EntryId, Motion};
use comity_core::merkle;
use comity_core::roster::MemberStatus;
use comity_core::rule::{Rule, Rules};
use comity_core::{Envelope, KeyId, MemberId, RecordId, Timestamp};
use sha2::{Digest as _, Sha256};

pub(crate) use ballot::{Ballot, End, How};
use ballot::{Hold, Mark, at_least};
use person::Clerk;
pub(crate) use person::Person;

use crate::history::Leaf;

/// An entry as the judge knows it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) ballot: BallotId,
    pub(crate) proposer: MemberId,
    /// Of the listing and of every amendment.
    texts: Vec<Hex32>,
    gone: bool,
    into: Option<EntryId>,
    /// Whose, its name, whether it has ended.
    measures: Vec<(MemberId, String, bool)>,
}

/// On what a leaf of the public log stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Authority {
    Ballot(BallotId),
    Member(MemberId),
}

/// How everything stands after the leaves that were heard.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    pub(crate) federation: Hex32,
    pub(crate) roster: Vec<Person>,
    rules: Rules,
    now: Timestamp,
    /// List time after each number of leaves.
    pub(crate) times: Vec<Timestamp>,
    pub(crate) ballots: Vec<Ballot>,
    pub(crate) entries: Vec<Entry>,
    adopted: Vec<RecordId>,
    names: Vec<(MemberId, String)>,
    spent: BTreeSet<CommandId>,
    /// Every key that anybody ever had.
    keys: BTreeSet<[u8; 32]>,
    /// The texts that are to be erased, and the leaf that asks it.
    pub(crate) erased: Vec<(Hex32, u64)>,
    /// Who caused each leaf of the public log, and the leaf of the command log that did.
    pub(crate) published: Vec<(u64, Authority)>,
    /// The leaf that is being heard.
    leaf: u64,
}

/// What an open ballot is about: one at a time about the same.
fn matter(motion: &Motion) -> String {
    match (motion, motion.entry(), motion.target()) {
        (Motion::ReplaceKeys { target, .. }, ..) => format!("keys of {target}"),
        (_, Some(entry), _) => format!("entry {entry}"),
        (_, _, Some(target)) => format!("member {target}"),
        (Motion::List { proposal }, ..) => format!("proposal {proposal}"),
        (Motion::ChangeRule { kind, .. }, ..) => format!("rule {kind}"),
        _ => "version".to_owned(),
    }
}

impl Judge {
    /// Before any command.
    pub(crate) fn new(genesis: &Genesis) -> Self {
        let created = genesis.document().created;
        let rows = || genesis.members().values();
        let keys = rows().flat_map(|row| [row.decision_key, row.node_key, row.recovery_key]);
        Self {
            federation: genesis.federation(),
            roster: rows().map(Person::new).collect(),
            rules: genesis.document().rules,
            now: created,
            times: vec![created],
            ballots: Vec::new(),
            entries: Vec::new(),
            adopted: Vec::new(),
            names: Vec::new(),
            spent: BTreeSet::new(),
            keys: keys.map(|key| *key.0.as_bytes()).collect(),
            erased: Vec::new(),
            published: Vec::new(),
            leaf: 0,
        }
    }

    pub(crate) fn person(&self, member: MemberId) -> Option<&Person> {
        self.roster.iter().find(|person| person.member == member)
    }

    fn person_mut(&mut self, member: MemberId) -> &mut Person {
        self.roster.iter_mut().find(|person| person.member == member).expect("somebody in the roster")
    }

    fn voters(&self) -> Vec<MemberId> {
        self.roster.iter().filter(|person| person.is_voter()).map(|person| person.member).collect()
    }

    pub(crate) fn ballot(&self, id: BallotId) -> Option<&Ballot> {
        self.ballots.iter().find(|ballot| ballot.id == id)
    }

    fn ballot_mut(&mut self, id: BallotId) -> &mut Ballot {
        self.ballots.iter_mut().find(|ballot| ballot.id == id).expect("a ballot that was tabled")
    }

    fn entry(&self, id: &EntryId) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == *id)
    }

    fn entry_mut(&mut self, id: &EntryId) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.id == *id).expect("an entry that was listed")
    }

    fn is_for_reverse(&self, motion: &Motion, by: MemberId) -> bool {
        let Motion::Delist { entry, .. } = motion else { return false };
        self.entry(entry).is_some_and(|entry| {
            let had = entry.measures.iter().any(|(whose, _, _)| *whose != by);
            let ended = had && entry.measures.iter().all(|(_, _, ended)| *ended);
            entry.proposer == by || ended
        })
    }

    fn publish(&mut self, by: Authority) {
        self.published.push((self.leaf, by));
    }

    /// Takes up a leaf that every node accepted.
    pub(crate) fn hear(&mut self, leaf: &Leaf) {
        self.leaf = leaf.number;
        self.obey(&leaf.command, &leaf.signed);
        self.spent.insert(leaf.command.id());
        self.times.push(self.now);
    }

    fn obey(&mut self, command: &Command, envelope: &Envelope) {
        let (by, now) = (command.member(), self.now);
        let decision = self.person(by).map(|person| KeyId::of(&person.decision.0)).expect("somebody in the roster");
        let public = merkle::leaf_hash(&envelope.reduced_to(decision).to_bytes());
        match command {
            Command::Table(table) => self.table(by, &table.motion, table.public_part, public, envelope),
            Command::Vote(vote) => {
                let ballot = self.ballot_mut(vote.ballot);
                // A second vote in the place of one that was replaced is evidence and no more.
                if ballot.vote_of(by).map(|v| v.command_id) == vote.replaces {
                    ballot.votes.push((vote.clone(), public));
                    ballot.notices(by, public, now);
                    self.settle(vote.ballot);
                }
            }
            Command::Withdraw(c) => self.finish(c.ballot, End::Withdrawn),
            Command::Object(c) => self.finish(c.ballot, End::Objection),
            Command::Acknowledge(c) => self.ballot_mut(c.ballot).notices(by, public, now),
            Command::Hold(c) => {
                let ballot = self.ballot_mut(c.ballot);
                let How::Silence(rule) = ballot.how.clone() else { return };
                ballot.notices(by, public, now);
                if !ballot.held() {
                    ballot.marks.push((now, Mark::Stop));
                }
                let until = months_after(now, rule.hold_months);
                ballot.holds.push(Hold { member: by, until, consents: Vec::new(), extended: false, ended: false });
            }
            Command::ExtendHold(c) => {
                let ballot = self.ballot_mut(c.ballot);
                let How::Silence(rule) = ballot.how.clone() else { return };
                ballot.holds.iter_mut().filter(|hold| hold.member == c.holder).for_each(|h| h.consents.push(by));
                ballot.try_extend(&rule);
            }
            Command::LiftHold(c) => self.ballot_mut(c.ballot).end_hold(by, now),
            Command::AttachMeasure(c) => {
                self.names.push((by, c.measure.id.to_string()));
                self.entry_mut(&c.entry).measures.push((by, c.measure.id.to_string(), false));
                self.publish(Authority::Member(by));
            }
            Command::EndMeasure(c) => {
                let name = c.measure.to_string();
                let measures = self.entry_mut(&c.entry).measures.iter_mut();
                measures.filter(|(m, n, _)| *m == by && *n == name).for_each(|measure| measure.2 = true);
                self.publish(Authority::Member(by));
            }
            Command::Review(_) => self.publish(Authority::Member(by)),
            Command::AttestTime(c) => {
                self.person_mut(by).attested = Some(c.time);
                let voters = self.voters();
                let said: Vec<Timestamp> = voters.iter().filter_map(|m| self.person(*m)?.attested).collect();
                let agreed = |time: &&Timestamp| 2 * said.iter().filter(|other| other >= time).count() > voters.len();
                self.now = said.iter().filter(agreed).copied().max().unwrap_or(now).max(now);
                self.pass();
            }
            housekeeping => self.keep_house(by, housekeeping),
        }
    }

    fn table(&mut self, by: MemberId, motion: &Motion, text: Hex32, public: Hex32, envelope: &Envelope) {
        let how = match self.rules.of(motion.kind()) {
            _ if self.is_for_reverse(motion, by) => How::Reverse(days_after(self.now, self.rules.reverse_silence_days)),
            Rule::NoObjection(silence) => How::Silence(silence),
            rule => How::Consents(rule),
        };
        self.ballots.push(Ballot {
            id: Hex32(Sha256::digest(&envelope.payload).into()),
            proposer: by,
            motion: motion.clone(),
            text,
            electorate: self.voters().into_iter().filter(|m| Some(*m) != motion.excluded()).collect(),
            how,
            tabled: self.now,
            votes: Vec::new(),
            present: vec![(by, public)],
            holds: Vec::new(),
            marks: Vec::new(),
            notice_over: false,
            end: None,
        });
    }

    fn keep_house(&mut self, by: MemberId, command: &Command) {
        let person = self.roster.iter_mut().find(|person| person.member == by).expect("somebody in the roster");
        match command {
            Command::RotateKeys(c) => {
                person.decision = c.decision_key.unwrap_or(person.decision);
                person.node = c.node_key.unwrap_or(person.node);
                person.node_revoked &= c.node_key.is_none();
                self.keys.extend(c.decision_key.iter().chain(&c.node_key).map(|key| *key.0.as_bytes()));
                if c.decision_key.is_some() || c.node_key.is_some() {
                    self.publish(Authority::Member(by));
                }
            }
            Command::RevokeKeys(c) => {
                person.decision_revoked |= c.decision;
                person.node_revoked |= c.node;
                if c.node {
                    person.attested = None;
                }
                if c.decision {
                    self.fall_silent(by);
                }
                self.publish(Authority::Member(by));
            }
            Command::EnrollPerson(c) => {
                person.clerks.push(Clerk { name: c.person.clone(), key: c.key, revoked: false });
                self.keys.insert(*c.key.0.as_bytes());
            }
            Command::RevokePerson(c) => {
                person.clerks.iter_mut().filter(|clerk| clerk.key == c.key).for_each(|clerk| clerk.revoked = true);
            }
            Command::RequireSignatures(c) => person.personal = c.required,
            _ => {}
        }
    }

    /// What has become due happens: the earliest first, of one instant in the order of tabling.
    fn pass(&mut self) {
        loop {
            let due = self.ballots.iter().enumerate().filter_map(|(n, ballot)| Some((ballot.due()?, n)));
            let Some((at, n)) = due.min().filter(|(at, _)| *at <= self.now) else { return };
            let id = self.ballots[n].id;
            let How::Silence(rule) = self.ballots[n].how.clone() else {
                self.adopt(id);
                continue;
            };
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

    fn settle(&mut self, id: BallotId) {
        let Some(ballot) = self.ballot(id).filter(|ballot| ballot.is_open()) else { return };
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
                let others = all - usize::from(ballot.electorate.contains(&ballot.proposer));
                let keep = ballot.standing().into_iter().map(|(vote, _)| vote);
                let keep = keep.filter(|vote| vote.choice == Choice::No && vote.member != ballot.proposer).count();
                if others > 0 && keep == others {
                    self.finish(id, End::Kept);
                }
            }
        }
    }

    fn finish(&mut self, id: BallotId, end: End) {
        let leaf = self.leaf;
        let ballot = self.ballot_mut(id);
        ballot.end = Some((end, leaf));
        let text = ballot.text;
        if end != End::Adopted {
            self.erased.push((text, leaf));
        }
    }

    fn adopt(&mut self, id: BallotId) {
        let ballot = self.ballot_mut(id).clone();
        let still_reverse =
            !matches!(ballot.how, How::Reverse(_)) || self.is_for_reverse(&ballot.motion, ballot.proposer);
        if !self.can_be_done(&ballot.motion) || !still_reverse {
            return self.finish(id, End::Moot);
        }
        self.finish(id, End::Adopted);
        self.publish(Authority::Ballot(id));
        self.adopted.extend(ballot.motion.proposal());
        match &ballot.motion {
            Motion::List { .. } => self.list(&ballot),
            Motion::Amend { entry, .. } => self.entry_mut(entry).texts.push(ballot.text),
            Motion::Delist { entry, ground } => {
                self.entry_mut(entry).gone = true;
                if ground.annuls() {
                    let (texts, leaf) = (self.texts_of(entry), self.leaf);
                    self.erased.extend(texts.into_iter().map(|text| (text, leaf)));
                }
            }
            Motion::Merge { entry, into } => {
                let gone = self.entry_mut(entry);
                gone.gone = true;
                gone.into = Some(into.clone());
                gone.texts.push(ballot.text);
                let measures = std::mem::take(&mut gone.measures);
                self.entry_mut(into).measures.extend(measures);
            }
            Motion::Suspend { target } => self.leave(*target, MemberStatus::Suspended),
            Motion::Expel { target } => self.leave(*target, MemberStatus::Expelled),
            Motion::Readmit { target } => self.person_mut(*target).status = MemberStatus::Active,
            Motion::Admit { member } => {
                let before = self.person(member.member).map_or(0, |person| person.incarnation);
                self.roster.retain(|person| person.member != member.member);
                self.roster.push(Person { incarnation: before + 1, ..Person::new(member) });
                self.keys
                    .extend([&member.decision_key, &member.node_key, &member.recovery_key].map(|k| *k.0.as_bytes()));
            }
            Motion::ReplaceKeys { target, keys } => {
                self.keys.extend([&keys.decision_key, &keys.node_key, &keys.recovery_key].map(|k| *k.0.as_bytes()));
                let person = self.person_mut(*target);
                (person.decision, person.node, person.recovery) = (keys.decision_key, keys.node_key, keys.recovery_key);
                person.incarnation = keys.incarnation;
                (person.decision_revoked, person.node_revoked, person.personal) = (false, false, false);
                person.attested = None;
                person.clerks.clear();
                self.fall_silent(*target);
            }
            Motion::ChangeRule { kind, rule } => self.rules.set(*kind, *rule),
            Motion::RaiseVersion { .. } => {}
        }
    }

    /// It can neither hold nor object: its silence says nothing.
    fn fall_silent(&mut self, member: MemberId) {
        for ballot in self.ballots.iter_mut().filter(|ballot| ballot.is_open()) {
            ballot.present.retain(|(present, _)| *present != member);
        }
    }

    fn list(&mut self, ballot: &Ballot) {
        let year = format!("CW-{}-", self.now.year());
        let before = self.entries.iter().filter(|entry| entry.id.to_string().starts_with(&year)).count();
        self.entries.push(Entry {
            id: format!("{year}{:04}", before + 1).parse().expect("an entry's number"),
            ballot: ballot.id,
            proposer: ballot.proposer,
            texts: vec![ballot.text],
            gone: false,
            into: None,
            measures: Vec::new(),
        });
    }

    /// The texts of an entry and of all that were merged into it.
    fn texts_of(&self, id: &EntryId) -> Vec<Hex32> {
        let own = self.entry(id).map(|entry| entry.texts.clone()).unwrap_or_default();
        let merged = self.entries.iter().filter(|entry| entry.into.as_ref() == Some(id));
        own.into_iter().chain(merged.flat_map(|entry| self.texts_of(&entry.id))).collect()
    }

    fn leave(&mut self, member: MemberId, status: MemberStatus) {
        let now = self.now;
        let person = self.person_mut(member);
        person.status = status;
        person.attested = None;
        let mut open = Vec::new();
        for ballot in self.ballots.iter_mut().filter(|ballot| ballot.is_open()) {
            if ballot.electorate.remove(&member) {
                ballot.votes.retain(|(vote, _)| vote.member != member);
                ballot.present.retain(|(known, _)| *known != member);
                ballot.end_hold(member, now);
                if let How::Silence(rule) = ballot.how.clone() {
                    ballot.try_extend(&rule);
                }
            }
            open.push(ballot.id);
        }
        open.into_iter().for_each(|id| self.settle(id));
    }
}

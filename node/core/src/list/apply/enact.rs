//! Carrying out what was adopted, and publishing it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::calendar::months_after;
use crate::genesis::RosterMember;
use crate::list::apply::Step;
use crate::list::ballot::{Ballot, Procedure};
use crate::list::command::{Choice, Ground, Motion, ReplacedKeys};
use crate::list::entry::{Entry, EntryId, EntryStatus};
use crate::list::publication::{
    Authority, Consent, Decided, Publication, PublishedEvent, PublishedMember, PublishedProcedure,
};
use crate::list::state::{Event, ListState};
use crate::member::MemberId;
use crate::record::RecordId;
use crate::roster::{MemberStatus, Standing};
use crate::rule::Rule;

impl ListState {
    /// Whether an adopted ballot can still be carried out; else the reason of the refusal that its motion would meet.
    pub(super) fn enactable_now(&self, ballot: &Ballot) -> Result<(), &'static str> {
        self.enactable(&ballot.motion).map_err(|refusal| refusal.reason())?;
        // INVARIANT: only the entry's proposer has an entry that is in force delisted by silence.
        if let (Procedure::ReverseSilence { .. }, Some(id)) = (&ballot.procedure, ballot.motion.entry())
            && !self.is_for_reverse_silence(id, ballot.proposer)
        {
            return Err("MEASURE_IN_FORCE");
        }
        if matches!(ballot.motion, Motion::List { .. }) && self.next_number() > EntryId::MAX_NUMBER {
            return Err("ENTRY_NUMBERS_SPENT");
        }
        Ok(())
    }

    fn next_number(&self) -> u32 {
        self.numbers.get(&self.list_time.year()).copied().unwrap_or(0).saturating_add(1)
    }

    /// Carries it out; returns the entry that was listed, if one was.
    pub(super) fn enact(&mut self, ballot: &Ballot, step: &mut Step<'_>) -> Option<EntryId> {
        match &ballot.motion {
            Motion::List { proposal } => return Some(self.list(ballot, *proposal, step)),
            Motion::Amend { entry, proposal } => self.amend(ballot, entry, *proposal, step),
            Motion::Delist { entry, ground } => self.delist(ballot, entry, *ground, step),
            Motion::Merge { entry, into } => self.merge(ballot, entry, into, step),
            Motion::Admit { member } => self.admit(ballot, member, step),
            Motion::Suspend { target } => {
                self.set_status(*target, MemberStatus::Suspended, step);
                self.publish(PublishedEvent::Suspended { member: *target }, decided(ballot), step);
                self.drop_out(*target, step);
            }
            Motion::Readmit { target } => {
                self.set_status(*target, MemberStatus::Active, step);
                self.publish(PublishedEvent::Readmitted { member: *target }, decided(ballot), step);
            }
            Motion::Expel { target } => {
                self.set_status(*target, MemberStatus::Expelled, step);
                self.publish(PublishedEvent::Expelled { member: *target }, decided(ballot), step);
                self.drop_out(*target, step);
            }
            Motion::ReplaceKeys { target, keys } => self.replace_keys(ballot, *target, keys, step),
            Motion::ChangeRule { kind, rule } => {
                self.roster.rules.set(*kind, *rule);
                self.roster_changed(step);
                self.publish(PublishedEvent::RuleChanged { kind: *kind, rule: *rule }, decided(ballot), step);
            }
            Motion::RaiseVersion { version } => {
                self.rules_version = *version;
                self.publish(PublishedEvent::VersionRaised { version: *version }, decided(ballot), step);
            }
        }
        None
    }

    fn list(&mut self, ballot: &Ballot, proposal: RecordId, step: &mut Step<'_>) -> EntryId {
        let (year, number) = (self.list_time.year(), self.next_number());
        let id = EntryId::new(&self.genesis.document().entry_prefix, year, number);
        self.numbers.insert(year, number);
        self.adopted.insert(proposal, ballot.id);
        let consents = ballot.votes.iter().filter(|(_, vote)| vote.choice == Choice::Yes).map(|(member, _)| *member);
        let entry = Entry {
            id: id.clone(),
            status: EntryStatus::Listed,
            ballot: ballot.id,
            proposer: ballot.proposer,
            proposal,
            public_part: ballot.public_part,
            listed_at: self.list_time,
            review_due: months_after(self.list_time, self.roster.rules().review_months),
            consents: consents.collect(),
            command_leaf: step.leaf,
            public_leaf: self.public_log.size(),
            history: Vec::new(),
            measures: Vec::new(),
        };
        self.entries.insert(id.clone(), entry);
        self.publish(PublishedEvent::Listed { entry: id.clone() }, decided(ballot), step);
        id
    }

    fn amend(&mut self, ballot: &Ballot, entry: &EntryId, proposal: RecordId, step: &mut Step<'_>) {
        self.adopted.insert(proposal, ballot.id);
        let due = months_after(self.list_time, self.roster.rules().review_months);
        if let Some(entry) = self.entries.get_mut(entry) {
            entry.public_part = ballot.public_part;
            entry.review_due = due;
        }
        self.publish(PublishedEvent::Amended { entry: entry.clone() }, decided(ballot), step);
    }

    fn delist(&mut self, ballot: &Ballot, id: &EntryId, ground: Ground, step: &mut Step<'_>) {
        let at = self.list_time;
        if let Some(entry) = self.entries.get_mut(id) {
            entry.status = EntryStatus::Delisted { ground, at };
        }
        self.publish(PublishedEvent::Delisted { entry: id.clone(), ground }, decided(ballot), step);
        if ground.annuls() {
            // The designation should never have been: what it said of the subject is erased, with every later text.
            let texts = self.texts_of(id);
            step.events.extend(texts.into_iter().map(Event::TextErased));
        }
    }

    /// An entry and every other that became a redirect to it: one subject.
    fn merged_into<'a>(&'a self, id: &'a EntryId) -> Vec<&'a EntryId> {
        let mut found = vec![id];
        let mut at = 0;
        // Redirects go one way, so none is found twice.
        while let Some(target) = found.get(at).copied() {
            let merged = self
                .entries
                .values()
                .filter(|entry| matches!(&entry.status, EntryStatus::Merged { into, .. } if into == target));
            found.extend(merged.map(|entry| &entry.id));
            at += 1;
        }
        found
    }

    /// The digests of every text that described an entry's subject, those of the entries merged into it among them, and why they
    /// were merged.
    fn texts_of(&self, id: &EntryId) -> BTreeSet<crate::canonical::Hex32> {
        let histories = self.merged_into(id).into_iter().filter_map(|id| self.entries.get(id));
        let publications = histories.flat_map(|entry| &entry.history).filter_map(|leaf| self.publication(*leaf));
        let read = publications.filter_map(|bytes| Publication::from_bytes(bytes).ok());
        read.filter_map(|publication| match (publication.event, publication.by) {
            (event, Authority::Ballot(decided)) if event.has_text_of_subject() => Some(decided.public_part),
            _ => None,
        })
        .collect()
    }

    fn merge(&mut self, ballot: &Ballot, id: &EntryId, into: &EntryId, step: &mut Step<'_>) {
        let at = self.list_time;
        let measures = match self.entries.get_mut(id) {
            Some(entry) => {
                entry.status = EntryStatus::Merged { into: into.clone(), at };
                std::mem::take(&mut entry.measures)
            }
            None => Vec::new(),
        };
        for attached in &measures {
            self.measures.insert((attached.member, attached.measure.id.clone()), into.clone());
        }
        if let Some(entry) = self.entries.get_mut(into) {
            entry.measures.extend(measures);
            // The redirect belongs to both histories.
            entry.history.push(self.public_log.size());
        }
        self.publish(PublishedEvent::Merged { entry: id.clone(), into: into.clone() }, decided(ballot), step);
    }

    fn admit(&mut self, ballot: &Ballot, row: &RosterMember, step: &mut Step<'_>) {
        // Whoever was expelled and comes back comes with another node.
        let incarnation = self.roster.get(row.member).map_or(1, |before| before.incarnation.saturating_add(1));
        Arc::make_mut(&mut self.roster.keyring).add_row(row);
        self.roster.domains.insert(row.trust_domain.clone(), row.member);
        let standing = Standing::admitted(row.clone(), self.list_time, incarnation);
        self.roster.members.insert(row.member, standing);
        self.roster_changed(step);
        self.publish(PublishedEvent::Admitted { member: PublishedMember::from(row) }, decided(ballot), step);
    }

    fn set_status(&mut self, member: MemberId, status: MemberStatus, step: &mut Step<'_>) {
        let since = self.list_time;
        if let Some(standing) = self.roster.members.get_mut(&member) {
            standing.status = status;
            standing.since = since;
        }
        self.roster_changed(step);
    }

    fn replace_keys(&mut self, ballot: &Ballot, target: MemberId, keys: &ReplacedKeys, step: &mut Step<'_>) {
        // What was attested with a lost key counts no more, and whoever lost its keys could not object either.
        self.attested.remove(&target);
        self.fall_silent(target);
        let Some(standing) = self.roster.members.get_mut(&target) else { return };
        let row = RosterMember {
            decision_key: keys.decision_key,
            node_key: keys.node_key,
            recovery_key: keys.recovery_key,
            roots_pem: keys.roots_pem.clone(),
            endpoint: keys.endpoint.clone(),
            ..standing.row.clone()
        };
        let (status, since) = (standing.status, standing.since);
        // Whoever stole the keys may have enrolled people: the member enrols its own anew.
        *standing = Standing { status, since, ..Standing::admitted(row.clone(), since, keys.incarnation) };
        Arc::make_mut(&mut self.roster.keyring).add_row(&row);
        self.roster_changed(step);
        self.publish(PublishedEvent::KeysReplaced { member: PublishedMember::from(&row) }, decided(ballot), step);
    }
}

/// What is published of a ballot that was adopted.
fn decided(ballot: &Ballot) -> Authority {
    let yes = ballot.votes.iter().filter(|(_, vote)| vote.choice == Choice::Yes);
    let consents = yes.map(|(member, vote)| Consent { member: *member, command: vote.public_hash }).collect();
    let (mut silent, mut absent) = (Vec::new(), Vec::new());
    let procedure = match &ballot.procedure {
        Procedure::Consents(rule) => PublishedProcedure::Rule(*rule),
        Procedure::ReverseSilence { days, .. } => PublishedProcedure::ReverseSilence { days: *days },
        Procedure::Silence(silence) => {
            for member in ballot.electorate.iter() {
                match silence.acknowledged.get(member) {
                    Some(acknowledged) => {
                        silent.push(Consent { member: *member, command: acknowledged.public_hash });
                    }
                    None => absent.push(*member),
                }
            }
            PublishedProcedure::Rule(Rule::NoObjection(silence.rule))
        }
    };
    Authority::Ballot(Box::new(Decided {
        ballot: ballot.id,
        proposer: ballot.proposer,
        public_part: ballot.public_part,
        procedure,
        electorate: ballot.electorate.iter().copied().collect(),
        consents,
        silent,
        absent,
    }))
}

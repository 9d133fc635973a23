//! The entries as the public log tells them: what anybody who holds the publications can say of the list, at any position.

use std::collections::{BTreeMap, BTreeSet};

use crate::edtf::PartialDate;
use crate::export::ExportedText;
use crate::genesis::Genesis;
use crate::list::{Authority, BallotId, EntryId, Ground, ListState, Measure, Publication, PublishedEvent, Refusal};
use crate::member::MemberId;
use crate::proposal::PublicPart;
use crate::timestamp::Timestamp;

/// How an entry stands, by the public log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishedStatus {
    /// On the list.
    Listed,
    /// Taken off it.
    Delisted(Ground),
    /// A redirect.
    Merged(EntryId),
}

/// An entry as the public log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicEntry {
    /// Its number.
    pub id: EntryId,
    /// How it stands.
    pub status: PublishedStatus,
    /// Who proposed it.
    pub proposer: MemberId,
    /// Who consented to the listing by a vote.
    pub consents: Vec<MemberId>,
    /// Who consented to it by silence.
    pub silent: Vec<MemberId>,
    /// When it was listed, in list time.
    pub list_time: Timestamp,
    /// Its present text; nothing where it was annulled and erased.
    pub public_part: Option<PublicPart>,
    /// Members' measures, and when each ended, where it did.
    pub measures: Vec<(MemberId, Measure, Option<PartialDate>)>,
    /// The publications about it: leaf, what happened, when, on whose authority.
    pub history: Vec<(u64, Publication)>,
}

impl PublicEntry {
    /// As [`crate::list::Entry::all_measures_ended`].
    pub fn all_measures_ended(&self, except: MemberId) -> bool {
        let of_others = self.measures.iter().any(|(whose, _, _)| *whose != except);
        of_others && self.measures.iter().all(|(_, _, ended)| ended.is_some())
    }
}

/// The list at one position of the public log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicList {
    entry_prefix: String,
    list_time: Timestamp,
    rules_version: u32,
    numbers: BTreeMap<i16, u32>,
    ballots: BTreeSet<BallotId>,
    entries: BTreeMap<EntryId, PublicEntry>,
    /// Texts that were not there, by leaf.
    erased: Vec<(u64, EntryId)>,
}

impl PublicList {
    /// Before any publication.
    pub fn new(genesis: &Genesis) -> Self {
        Self {
            entry_prefix: genesis.document().entry_prefix.clone(),
            list_time: genesis.document().created,
            rules_version: 1,
            numbers: BTreeMap::new(),
            ballots: BTreeSet::new(),
            entries: BTreeMap::new(),
            erased: Vec::new(),
        }
    }

    /// An entry.
    pub fn get(&self, id: &EntryId) -> Option<&PublicEntry> {
        self.entries.get(id)
    }

    /// Every entry that there ever was, by number.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &PublicEntry> {
        self.entries.values()
    }

    /// What one more publication changes, after those before it: time does not go back, numbers of a year are dense, a ballot is
    /// published once, and what is off the list changes no more.
    ///
    /// # Errors
    /// What does not follow.
    pub fn follow(&mut self, leaf: u64, publication: &Publication, text: Option<&ExportedText>) -> Result<(), String> {
        if self.rules_version > ListState::SUPPORTED_RULES {
            let (found, known) = (self.rules_version, ListState::SUPPORTED_RULES);
            return Err(Refusal::RulesTooNew { found, known }.to_string());
        }
        if publication.list_time < self.list_time {
            return Err(format!("it is dated {}, before {}", publication.list_time, self.list_time));
        }
        if let Authority::Ballot(decided) = &publication.by
            && !self.ballots.insert(decided.ballot)
        {
            return Err(format!("ballot {} was published before", decided.ballot));
        }
        self.list_time = publication.list_time;
        let part = text.and_then(|text| PublicPart::from_json(text.text.as_bytes()).ok());
        match &publication.event {
            PublishedEvent::Listed { entry } => self.listed(entry, publication, part.clone())?,
            PublishedEvent::Amended { entry } => self.on_the_list(entry)?.public_part = part.clone(),
            PublishedEvent::Delisted { entry, ground } => {
                self.on_the_list(entry)?.status = PublishedStatus::Delisted(*ground);
                if ground.annuls() {
                    self.forget(entry);
                }
            }
            PublishedEvent::Merged { entry, into } => {
                self.on_the_list(into)?;
                let gone = self.on_the_list(entry)?;
                gone.status = PublishedStatus::Merged(into.clone());
                let measures = std::mem::take(&mut gone.measures);
                let stays = self.on_the_list(into)?;
                stays.measures.extend(measures);
                stays.history.push((leaf, publication.clone()));
            }
            PublishedEvent::MeasureAttached { entry, measure } => {
                let member = member_of(publication)?;
                let entry = self.on_the_list(entry)?;
                entry.measures.push((member, measure.clone(), None));
            }
            PublishedEvent::MeasureEnded { entry, measure, ended } => {
                let member = member_of(publication)?;
                let entry = self.entries.get_mut(entry).ok_or_else(|| format!("there is no entry {entry}"))?;
                let attached = entry
                    .measures
                    .iter_mut()
                    .find(|(whose, attached, ended)| *whose == member && attached.id == *measure && ended.is_none());
                attached.ok_or_else(|| format!("no measure {measure} of {member} is in force"))?.2 = Some(*ended);
            }
            PublishedEvent::VersionRaised { version } => self.rules_version = *version,
            PublishedEvent::Reviewed { entry } => self.on_the_list(entry).map(drop)?,
            _ => {}
        }
        if let Some(id) = publication.event.entry() {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.history.push((leaf, publication.clone()));
            }
            if publication.event.has_text_of_subject() && text.is_none() {
                self.erased.push((leaf, id.clone()));
            }
        }
        Ok(())
    }

    /// No text of an annulled subject is kept, that of a redirect to it neither.
    fn forget(&mut self, annulled: &EntryId) {
        let ids: Vec<EntryId> = self.entries.keys().filter(|id| self.is_annulled(id)).cloned().collect();
        for id in ids.iter().chain([annulled]) {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.public_part = None;
            }
        }
    }

    fn on_the_list(&mut self, id: &EntryId) -> Result<&mut PublicEntry, String> {
        let entry = self.entries.get_mut(id).ok_or_else(|| format!("there is no entry {id}"))?;
        if entry.status == PublishedStatus::Listed { Ok(entry) } else { Err(format!("{id} is off the list")) }
    }

    fn listed(&mut self, id: &EntryId, publication: &Publication, part: Option<PublicPart>) -> Result<(), String> {
        let Authority::Ballot(decided) = &publication.by else { return Err("no ballot listed it".into()) };
        let year = publication.list_time.year();
        let number = self.numbers.entry(year).or_default();
        *number = number.saturating_add(1);
        let expected = EntryId::new(&self.entry_prefix, year, *number);
        if *id != expected {
            return Err(format!("the next number is {expected}"));
        }
        let entry = PublicEntry {
            id: id.clone(),
            status: PublishedStatus::Listed,
            proposer: decided.proposer,
            consents: decided.consents.iter().map(|consent| consent.member).collect(),
            silent: decided.silent.iter().map(|consent| consent.member).collect(),
            list_time: publication.list_time,
            public_part: part,
            measures: Vec::new(),
            history: Vec::new(),
        };
        self.entries.insert(id.clone(), entry);
        Ok(())
    }

    /// Whether an entry was annulled, or one that it was merged into: then no text of it is shown any more.
    pub fn is_annulled(&self, id: &EntryId) -> bool {
        let mut at = id;
        loop {
            match self.entries.get(at).map(|entry| &entry.status) {
                Some(PublishedStatus::Merged(into)) => at = into,
                Some(PublishedStatus::Delisted(ground)) => return ground.annuls(),
                Some(PublishedStatus::Listed) | None => return false,
            }
        }
    }

    /// A text is missing only where the entry was annulled, or one that it was merged into.
    pub(super) fn check_erased(&self) -> Result<(), (u64, EntryId)> {
        match self.erased.iter().find(|(_, id)| !self.is_annulled(id)) {
            Some(found) => Err(found.clone()),
            None => Ok(()),
        }
    }
}

fn member_of(publication: &Publication) -> Result<MemberId, String> {
    match &publication.by {
        Authority::Member(consent) => Ok(consent.member),
        Authority::Ballot(_) => Err("a measure is a member's own".into()),
    }
}

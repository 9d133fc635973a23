//! Answers that are remembered: what the policies decide depends on few things, and a hundred thousand records ask the
//! same few questions.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use comity_core::MemberId;
use comity_core::release::{Action, Party, RecordHeader};

/// What the policies say of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) allow: bool,
    /// As in [`super::Decision::because`].
    pub(crate) because: Vec<String>,
}

/// What the policies say of every action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) discover: Verdict,
    pub(crate) read: Verdict,
    pub(crate) read_sources: Verdict,
}

impl Answer {
    pub(crate) fn on(&self, action: Action) -> &Verdict {
        match action {
            Action::Discover => &self.discover,
            Action::Read => &self.read,
            Action::ReadSources => &self.read_sources,
        }
    }
}

/// The answers of one version of the policies, shared by its clones.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) answers: RwLock<HashMap<Key, Arc<Answer>>>,
}

impl Memory {
    /// The most answers that are remembered; a federation's records share a few hundred markings.
    const MAX: usize = 4_096;

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Answer>> {
        self.answers.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(super) fn put(&self, key: Key, answer: Arc<Answer>) {
        let mut answers = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= Self::MAX {
            answers.clear();
        }
        answers.insert(key, answer);
    }
}

/// A question: SHA-256 of everything that the policies can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// The question of a party and a record in one [`crate::partner_policy::Term`], which is in the key so that no answer
    /// outlives a policy that it is of. `named`: some policy names this very record.
    // INVARIANT: whatever `Model::entities` and `Model::request` show to Cedar is here, and no two questions read alike: each
    // part has one length, or says its length or its count first.
    pub(super) fn new(party: &Party, header: &RecordHeader, onward: bool, term: usize, named: bool) -> Self {
        let marking = &header.marking;
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(&(term as u64).to_be_bytes());
        put(&mut bytes, party.member.as_str());
        bytes.extend_from_slice(&[u8::from(party.voting), party.ceiling.level()]);
        put(&mut bytes, header.kind.as_str());
        put(&mut bytes, header.originator.as_str());
        bytes.extend_from_slice(&[header.tier.level(), u8::from(onward), u8::from(header.about.is_some())]);
        put_all(&mut bytes, marking.caveats.iter().map(|c| c.as_str()));
        put_all(&mut bytes, marking.compartments.iter().map(|c| c.as_str()));
        put(&mut bytes, marking.handling.as_str());
        put_all(&mut bytes, marking.releasable_to.iter().map(MemberId::as_str));
        if named {
            put(&mut bytes, &header.id.to_string());
        }
        Self(comity_core::sha256(&bytes))
    }
}

fn put(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn put_all<'a>(bytes: &mut Vec<u8>, texts: impl ExactSizeIterator<Item = &'a str>) {
    bytes.extend_from_slice(&(texts.len() as u64).to_be_bytes());
    texts.for_each(|text| put(bytes, text));
}

//! Everybody's private keys, and how a member signs as the roster has it.

use std::collections::{BTreeMap, BTreeSet};

use comity_core::MemberId;
use comity_core::dsse::PublicKey;
use comity_core::list::{Command, ListState, PublicText, Submission};
use comity_core::roster::Standing;
use comity_core::testing::MemberKeys;
use ed25519_dalek::SigningKey;

/// Private keys by their public ones.
#[derive(Debug, Default)]
pub(crate) struct Keychain {
    keys: BTreeMap<[u8; 32], SigningKey>,
    made: u64,
}

impl Keychain {
    /// The keys with which the first `count` members begin.
    pub(crate) fn of(count: usize) -> Self {
        let mut chain = Self::default();
        for keys in (0..count).map(MemberKeys::of) {
            [keys.decision, keys.node, keys.recovery].into_iter().for_each(|key| _ = chain.add(key));
        }
        chain
    }

    fn add(&mut self, key: SigningKey) -> PublicKey {
        let public = key.verifying_key();
        self.keys.insert(*public.as_bytes(), key);
        PublicKey(public)
    }

    /// A key that nobody ever had.
    pub(crate) fn make(&mut self) -> PublicKey {
        self.made += 1;
        self.add(SigningKey::from_bytes(&comity_core::sha256(format!("made/{}", self.made).as_bytes())))
    }

    pub(crate) fn get(&self, key: &PublicKey) -> &SigningKey {
        self.keys.get(key.0.as_bytes()).expect("a key that was made here")
    }

    /// Signs as the roster of this list asks, with so many people where people must sign.
    pub(crate) fn sign(
        &self,
        list: &ListState,
        command: &Command,
        text: Option<PublicText>,
        people: usize,
    ) -> Option<Submission> {
        let standing = list.roster().get(command.member())?;
        let mut keys = match command {
            Command::AttestTime(_) => vec![standing.row.node_key],
            Command::RevokeKeys(_) => vec![standing.row.recovery_key],
            Command::RotateKeys(c) => {
                [Some(standing.row.decision_key), c.decision_key, c.node_key].into_iter().flatten().collect()
            }
            Command::EnrollPerson(c) => vec![standing.row.decision_key, c.key],
            _ => vec![standing.row.decision_key],
        };
        if standing.personal_signatures && command.is_deciding() {
            keys.extend(clerks(standing).into_iter().take(people));
        }
        let (first, others) = keys.split_first()?;
        let mut envelope = command.sign(self.get(first));
        others.iter().for_each(|key| envelope.add_signature(self.get(key)));
        Some(Submission { envelope: envelope.to_bytes(), public_text: text })
    }
}

/// One key of each person who can sign.
fn clerks(standing: &Standing) -> Vec<PublicKey> {
    let mut names = BTreeSet::new();
    standing.enrolled().filter(|person| names.insert(&person.name)).map(|person| person.key).collect()
}

/// Whether a member can still decide, and say that time has passed.
pub(crate) fn is_able(list: &ListState, member: MemberId) -> bool {
    let has_keys = |standing: &Standing| !standing.decision_revoked && !standing.node_revoked;
    list.roster().get(member).is_some_and(|standing| standing.is_voter() && has_keys(standing))
}

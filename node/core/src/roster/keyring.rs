//! Every key that ever stood in the roster, by its id: what lets signatures be verified before a command is applied, many at
//! once. Whether a key may sign a command is decided when it is applied.

use std::collections::BTreeMap;

use crate::dsse::{KeyId, PublicKey};
use crate::genesis::RosterMember;
use crate::member::MemberId;

/// Whose a key is, and what it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// Whose.
    pub member: MemberId,
    /// The key.
    pub key: PublicKey,
}

/// Every key that ever stood in the roster.
#[derive(Debug, Clone, Default)]
pub struct Keyring(BTreeMap<KeyId, KeyUse>);

impl Keyring {
    /// The key with this id.
    pub fn get(&self, id: KeyId) -> Option<&KeyUse> {
        self.0.get(&id)
    }

    /// Whether a key, or one with the same id, ever stood in the roster. Such a key is nobody's to register again: each has one
    /// owner and one purpose for ever.
    pub fn knows(&self, key: PublicKey) -> bool {
        self.0.contains_key(&KeyId::of(&key.0))
    }

    /// Every key that a member ever had, of whatever purpose.
    pub fn of(&self, member: MemberId) -> impl Iterator<Item = &PublicKey> {
        self.0.values().filter(move |known| known.member == member).map(|known| &known.key)
    }

    pub(crate) fn add(&mut self, member: MemberId, key: PublicKey) {
        self.0.entry(KeyId::of(&key.0)).or_insert(KeyUse { member, key });
    }

    pub(crate) fn add_row(&mut self, row: &RosterMember) {
        for (_, key) in row.keys() {
            self.add(row.member, key);
        }
    }
}

//! The roster as it stands: members and recipients, their keys and people, and the rules. It begins as the genesis has it and
//! changes by commands alone, so that every node that applied the same commands has the same.

mod keyring;
mod node_id;
mod people;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::keyring::{KeyUse, Keyring};
pub use self::node_id::{MAX_INCARNATION, member_of_node, node_id};
pub use self::people::{InvalidPersonName, Person, PersonName};
use crate::dsse::PublicKey;
use crate::genesis::{Genesis, RosterMember};
use crate::member::MemberId;
use crate::rule::Rules;
use crate::spiffe::TrustDomain;
use crate::timestamp::Timestamp;

/// Whether a member or recipient takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberStatus {
    /// It takes part.
    Active,
    /// It neither decides nor receives, until it is readmitted.
    Suspended,
    /// It belongs to the federation no more. Its earlier votes still verify.
    Expelled,
}

impl std::fmt::Display for MemberStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Expelled => "expelled",
        })
    }
}

/// A member or recipient as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The row: trust domain, roots, keys, endpoint, ceiling, vote.
    pub row: RosterMember,
    /// Whether it takes part.
    pub status: MemberStatus,
    /// Since when, in list time.
    pub since: Timestamp,
    /// Which of its consensus nodes counts, from 1: a member whose machine is lost comes back as another.
    pub incarnation: u32,
    /// Its recovery key has revoked the decision key: it decides nothing until its keys are replaced.
    pub decision_revoked: bool,
    /// Its recovery key has revoked the node key: it attests and cosigns nothing until its keys are replaced.
    pub node_revoked: bool,
    /// Its deciding commands need the signatures of two different enrolled people besides the decision key.
    pub personal_signatures: bool,
    /// Its people's keys, those revoked among them.
    pub people: Vec<Person>,
}

impl Standing {
    /// The most keys of people that a member may have enrolled over time.
    pub const MAX_PEOPLE: usize = 256;

    fn founding(row: &RosterMember, since: Timestamp) -> Self {
        Self::admitted(row.clone(), since, 1)
    }

    pub(crate) fn admitted(row: RosterMember, since: Timestamp, incarnation: u32) -> Self {
        Self {
            row,
            status: MemberStatus::Active,
            since,
            incarnation,
            decision_revoked: false,
            node_revoked: false,
            personal_signatures: false,
            people: Vec::new(),
        }
    }

    /// Whether it takes part and votes.
    pub fn is_voter(&self) -> bool {
        self.status == MemberStatus::Active && self.row.voting
    }

    /// Its consensus node's id.
    pub fn node_id(&self) -> u64 {
        node_id(self.row.member, self.incarnation)
    }

    /// The people whose keys count now.
    pub fn enrolled(&self) -> impl Iterator<Item = &Person> {
        self.people.iter().filter(|person| !person.revoked)
    }

    /// How many different people are enrolled now.
    pub fn enrolled_count(&self) -> usize {
        let names: std::collections::BTreeSet<&PersonName> = self.enrolled().map(|person| &person.name).collect();
        names.len()
    }
}

/// A voting member as consensus and cosigning need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Whose cosignatures it makes, under `<trust domain>/node`.
    pub trust_domain: TrustDomain,
    /// The key that it cosigns and attests with; nothing while it is revoked.
    pub node_key: Option<PublicKey>,
    /// Its consensus node's id.
    pub node_id: u64,
}

/// The voting members at one time, by code.
pub type Voters = BTreeMap<MemberId, Voter>;

/// The roster, and who voted when.
#[derive(Debug, Clone)]
pub struct Roster {
    pub(crate) members: BTreeMap<MemberId, Standing>,
    pub(crate) rules: Rules,
    /// How often it has changed.
    pub(crate) version: u64,
    pub(crate) keyring: Arc<Keyring>,
    /// Every trust domain that there ever was, and whose it is.
    pub(crate) domains: BTreeMap<TrustDomain, MemberId>,
    founders: Arc<Voters>,
    /// Size of the command log, and who votes from there on.
    changes: Vec<(u64, Arc<Voters>)>,
}

impl Roster {
    pub(crate) fn new(genesis: &Genesis) -> Self {
        let created = genesis.document().created;
        let members: BTreeMap<MemberId, Standing> =
            genesis.members().values().map(|row| (row.member, Standing::founding(row, created))).collect();
        let mut keyring = Keyring::default();
        for row in genesis.members().values() {
            keyring.add_row(row);
        }
        let founders = Arc::new(voters_of(&members));
        let rules = genesis.document().rules;
        let domains = members.values().map(|s| (s.row.trust_domain.clone(), s.row.member)).collect();
        Self { members, rules, version: 0, keyring: Arc::new(keyring), domains, founders, changes: Vec::new() }
    }

    /// A member or recipient, whatever its status.
    pub fn get(&self, member: MemberId) -> Option<&Standing> {
        self.members.get(&member)
    }

    /// Everybody who ever belonged to it, by code.
    pub fn iter(&self) -> impl Iterator<Item = &Standing> {
        self.members.values()
    }

    /// Members and recipients that take part, by code.
    pub fn active(&self) -> impl Iterator<Item = &Standing> {
        self.iter().filter(|standing| standing.status == MemberStatus::Active)
    }

    /// Those who vote now.
    pub fn voters(&self) -> &Arc<Voters> {
        self.changes.last().map_or(&self.founders, |(_, voters)| voters)
    }

    /// Those who voted when the command log had so many leaves.
    pub fn voters_at(&self, commands: u64) -> &Arc<Voters> {
        let after = self.changes.partition_point(|(from, _)| *from <= commands);
        let change = after.checked_sub(1).and_then(|last| self.changes.get(last));
        change.map_or(&self.founders, |(_, voters)| voters)
    }

    /// Each set of voters that there was, the oldest first.
    pub fn voters_history(&self) -> impl DoubleEndedIterator<Item = &Arc<Voters>> {
        std::iter::once(&self.founders).chain(self.changes.iter().map(|(_, voters)| voters))
    }

    /// The rule of each kind of ballot.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How often the roster has changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Every key that ever stood in the roster.
    pub fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// Notes that the command which makes the log `commands` leaves long has changed something.
    pub(crate) fn changed(&mut self, commands: u64) {
        self.version += 1;
        let voters = voters_of(&self.members);
        if voters != **self.voters() {
            match self.changes.last_mut() {
                // One command may change it several times.
                Some((from, last)) if *from == commands => *last = Arc::new(voters),
                _ => self.changes.push((commands, Arc::new(voters))),
            }
        }
    }
}

fn voters_of(members: &BTreeMap<MemberId, Standing>) -> Voters {
    let voters = members.iter().filter(|(_, standing)| standing.is_voter());
    voters
        .map(|(member, standing)| {
            let node_key = (!standing.node_revoked).then_some(standing.row.node_key);
            let voter =
                Voter { trust_domain: standing.row.trust_domain.clone(), node_key, node_id: standing.node_id() };
            (*member, voter)
        })
        .collect()
}

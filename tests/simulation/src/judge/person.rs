//! A member as the judge knows it.

use std::collections::BTreeSet;

use comity_core::dsse::PublicKey;
use comity_core::genesis::RosterMember;
use comity_core::list::Command;
use comity_core::roster::{MemberStatus, PersonName};
use comity_core::{Envelope, MemberId, Timestamp};

use super::seals::is_signed_by;

/// One enrolled person.
#[derive(Debug, Clone)]
pub(super) struct Clerk {
    pub(super) name: PersonName,
    pub(super) key: PublicKey,
    pub(super) revoked: bool,
}

/// One member or recipient.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) member: MemberId,
    pub(super) voting: bool,
    pub(crate) status: MemberStatus,
    pub(super) decision: PublicKey,
    pub(super) node: PublicKey,
    pub(super) recovery: PublicKey,
    pub(super) incarnation: u32,
    pub(super) decision_revoked: bool,
    pub(super) node_revoked: bool,
    pub(super) attested: Option<Timestamp>,
    pub(super) clerks: Vec<Clerk>,
    /// Whether people must sign.
    pub(super) personal: bool,
}

impl Person {
    pub(super) fn new(row: &RosterMember) -> Self {
        Self {
            member: row.member,
            voting: row.voting,
            status: MemberStatus::Active,
            decision: row.decision_key,
            node: row.node_key,
            recovery: row.recovery_key,
            incarnation: 1,
            decision_revoked: false,
            node_revoked: false,
            attested: None,
            clerks: Vec::new(),
            personal: false,
        }
    }

    pub(crate) fn is_voter(&self) -> bool {
        self.voting && self.status == MemberStatus::Active
    }

    /// The people whose keys count.
    pub(super) fn enrolled(&self) -> impl Iterator<Item = &Clerk> {
        self.clerks.iter().filter(|clerk| !clerk.revoked)
    }

    /// How many different people would be left without a key.
    pub(super) fn people_without(&self, key: Option<&PublicKey>) -> usize {
        let left = self.enrolled().filter(|clerk| Some(&clerk.key) != key);
        left.map(|clerk| &clerk.name).collect::<BTreeSet<_>>().len()
    }

    /// Whether its keys signed a command, and nobody else.
    pub(crate) fn has_signed(&self, command: &Command, envelope: &Envelope) -> Result<(), String> {
        let member = self.member;
        let alone = |key: &PublicKey, which: &str| match envelope.signatures.len() {
            1 if is_signed_by(envelope, key) => Ok(()),
            count => Err(format!("{count} signatures where the {which} key of {member} alone signs")),
        };
        let mut keys = match command {
            Command::AttestTime(_) if self.node_revoked => return Err(format!("the node key of {member} is revoked")),
            Command::AttestTime(_) => return alone(&self.node, "node"),
            Command::RevokeKeys(_) => return alone(&self.recovery, "recovery"),
            _ if self.decision_revoked => return Err(format!("the decision key of {member} is revoked")),
            Command::RotateKeys(c) => c.decision_key.into_iter().chain(c.node_key).collect(),
            Command::EnrollPerson(c) => vec![c.key],
            _ => Vec::new(),
        };
        keys.push(self.decision);
        if let Some(missing) = keys.iter().find(|key| !is_signed_by(envelope, key)) {
            return Err(format!("{} of {member} lacks the signature of {missing:?}", command.name()));
        }
        let people = self.enrolled().filter(|clerk| is_signed_by(envelope, &clerk.key)).count();
        if keys.len() + people == envelope.signatures.len() {
            Ok(())
        } else {
            Err(format!("{} of {member} bears a stranger's signature", command.name()))
        }
    }

    /// Whether as many people signed as must.
    pub(crate) fn people_have_signed(&self, command: &Command, envelope: &Envelope) -> Result<(), String> {
        let needed = match command {
            Command::AttestTime(_) | Command::RevokeKeys(_) => 0,
            _ if !self.personal => 0,
            Command::Acknowledge(_) => 1,
            _ => 2,
        };
        let signed = self.enrolled().filter(|clerk| is_signed_by(envelope, &clerk.key));
        let found = signed.map(|clerk| &clerk.name).collect::<BTreeSet<_>>().len();
        if found < needed {
            return Err(format!("{} of {} is signed by {found} people of {needed}", command.name(), self.member));
        }
        Ok(())
    }

    /// Whether it may still say anything of this kind.
    pub(crate) fn is_heard(&self, command: &Command) -> Result<(), String> {
        let heard = match (self.status, command) {
            (MemberStatus::Active, _) => true,
            (MemberStatus::Suspended, Command::RevokeKeys(_)) => true,
            (MemberStatus::Suspended | MemberStatus::Expelled, _) => false,
        };
        if heard { Ok(()) } else { Err(format!("{} of {}, which is {}", command.name(), self.member, self.status)) }
    }
}

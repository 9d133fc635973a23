//! Whether a node must accept what a command asks, where it is new and well signed.

use comity_core::MemberId;
use comity_core::dsse::PublicKey;
use comity_core::list::{Command, EntryId, Motion};
use comity_core::roster::MemberStatus;

use super::{Judge, matter};

impl Judge {
    /// What is wrong with it as things stand.
    pub(crate) fn fits(&self, command: &Command) -> Result<(), String> {
        let by = command.member();
        if self.spent.contains(&command.id()) {
            return Err(format!("id {} is spent", command.id()));
        }
        if self.is_due_to(by, command) {
            return Ok(());
        }
        Err(format!("{} of {by} cannot be taken as things stand: {command:?}", command.name()))
    }

    fn is_due_to(&self, by: MemberId, command: &Command) -> bool {
        let Some(person) = self.person(by) else { return false };
        match command {
            Command::RevokeKeys(c) => c.decision && !person.decision_revoked || c.node && !person.node_revoked,
            Command::RotateKeys(c) => {
                c.decision_key.is_none_or(|key| self.is_fresh(&key))
                    && c.node_key.is_none_or(|key| self.is_fresh(&key))
                    && (c.decision_key.is_none() || c.decision_key != c.node_key)
            }
            Command::EnrollPerson(c) => self.is_fresh(&c.key),
            Command::RevokePerson(c) => {
                let counts = person.enrolled().any(|clerk| clerk.key == c.key);
                counts && (!person.personal || person.people_without(Some(&c.key)) >= 2)
            }
            Command::RequireSignatures(c) => {
                person.personal != c.required && (!c.required || person.people_without(None) >= 2)
            }
            _ if !person.is_voter() => false,
            Command::AttestTime(c) => {
                person.attested.is_none_or(|last| c.time.as_micros() - last.as_micros() >= 60_000_000)
            }
            Command::Table(c) => {
                let open = self.ballots.iter().any(|b| b.is_open() && matter(&b.motion) == matter(&c.motion));
                let own = c.motion.proposal().is_none_or(|proposal| proposal.originator() == by);
                let new_text = self.ballots.iter().all(|ballot| ballot.text != c.public_part);
                !open && own && new_text && self.can_be_done(&c.motion) && c.motion.excluded() != Some(by)
            }
            Command::Withdraw(c) => self.ballot(c.ballot).is_some_and(|b| b.is_open() && b.proposer == by),
            Command::AttachMeasure(c) => {
                self.is_listed(&c.entry) && !self.names.contains(&(by, c.measure.id.to_string()))
            }
            Command::EndMeasure(c) => self.entry(&c.entry).is_some_and(|entry| {
                entry.into.is_none() && entry.measures.contains(&(by, c.measure.to_string(), false))
            }),
            Command::Review(c) => self.is_listed(&c.entry),
            other => {
                let ballot = other.ballot().and_then(|id| self.ballot(id)).filter(|ballot| ballot.is_open());
                ballot.is_some_and(|ballot| ballot.electorate.contains(&by) && ballot.takes(by, other))
            }
        }
    }

    fn is_fresh(&self, key: &PublicKey) -> bool {
        !self.keys.contains(key.0.as_bytes())
    }

    fn is_listed(&self, id: &EntryId) -> bool {
        self.entry(id).is_some_and(|entry| !entry.gone)
    }

    fn is(&self, member: MemberId, fits: impl FnOnce(MemberStatus) -> bool) -> bool {
        self.person(member).is_some_and(|person| fits(person.status))
    }

    /// Whether a motion, adopted now, could be carried out.
    pub(super) fn can_be_done(&self, motion: &Motion) -> bool {
        if motion.proposal().is_some_and(|proposal| self.adopted.contains(&proposal)) {
            return false;
        }
        match motion {
            Motion::List { .. } => true,
            Motion::Amend { entry, .. } | Motion::Delist { entry, .. } => self.is_listed(entry),
            Motion::Merge { entry, into } => entry != into && self.is_listed(entry) && self.is_listed(into),
            Motion::Suspend { target } => self.is(*target, |status| status == MemberStatus::Active),
            Motion::Readmit { target } => self.is(*target, |status| status == MemberStatus::Suspended),
            Motion::Expel { target } => self.is(*target, |status| status != MemberStatus::Expelled),
            Motion::Admit { member } => {
                let keys = [&member.decision_key, &member.node_key, &member.recovery_key];
                self.person(member.member).is_none_or(|person| person.status == MemberStatus::Expelled)
                    && keys.into_iter().all(|key| self.is_fresh(key))
            }
            Motion::ReplaceKeys { target, keys: new } => {
                let keys = [&new.decision_key, &new.node_key, &new.recovery_key];
                self.person(*target).is_some_and(|person| {
                    person.status != MemberStatus::Expelled
                        && (person.incarnation..=person.incarnation + 1).contains(&new.incarnation)
                }) && keys.into_iter().all(|key| self.is_fresh(key))
            }
            Motion::ChangeRule { kind, rule } => self.rules.of(*kind) != *rule,
            // Nobody's software can follow another.
            Motion::RaiseVersion { .. } => false,
        }
    }
}

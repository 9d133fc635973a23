//! Whether a motion could be carried out as things stand: asked when it is tabled, and again when it is adopted.

use crate::dsse::{KeyId, PublicKey};
use crate::genesis::{Genesis, RosterMember};
use crate::list::command::{Motion, ReplacedKeys};
use crate::list::refusal::Refusal;
use crate::list::state::ListState;
use crate::member::MemberId;
use crate::roster::{MAX_INCARNATION, MemberStatus, Standing};

impl ListState {
    /// Whether a motion could be carried out as things stand: what tabling it would be refused for, besides its form.
    ///
    /// # Errors
    /// What stands in its way.
    pub fn enactable(&self, motion: &Motion) -> Result<(), Refusal> {
        match motion {
            Motion::List { proposal } => match self.adopted.get(proposal) {
                Some(ballot) => Err(Refusal::AlreadyTabled(*ballot)),
                None => Ok(()),
            },
            Motion::Amend { entry, proposal } => {
                self.listed_entry(entry)?;
                match self.adopted.get(proposal) {
                    Some(ballot) => Err(Refusal::AlreadyTabled(*ballot)),
                    None => Ok(()),
                }
            }
            Motion::Delist { entry, .. } => self.listed_entry(entry).map(drop),
            Motion::Merge { entry, into } => {
                self.listed_entry(entry)?;
                self.listed_entry(into).map(drop)
            }
            Motion::Admit { member } => self.admissible(member),
            Motion::Suspend { target } => {
                self.standing(*target, "active", |status| status == MemberStatus::Active).map(drop)
            }
            Motion::Readmit { target } => {
                self.standing(*target, "suspended", |status| status == MemberStatus::Suspended).map(drop)
            }
            Motion::Expel { target } => {
                let stands = self.standing(*target, "active or suspended", |status| status != MemberStatus::Expelled);
                stands.map(drop)
            }
            Motion::ReplaceKeys { target, keys } => {
                let standing =
                    self.standing(*target, "active or suspended", |status| status != MemberStatus::Expelled)?;
                self.replaceable(standing, keys)
            }
            Motion::ChangeRule { kind, rule } if self.roster.rules().of(*kind) == *rule => {
                Err(Refusal::NoChange("this is the rule already"))
            }
            Motion::ChangeRule { .. } => Ok(()),
            Motion::RaiseVersion { version } => self.raisable(*version),
        }
    }

    fn standing(
        &self,
        member: MemberId,
        expected: &'static str,
        fits: impl FnOnce(MemberStatus) -> bool,
    ) -> Result<&Standing, Refusal> {
        let standing = self.roster.get(member).ok_or_else(|| Refusal::Standing {
            member,
            found: "not in the roster".to_owned(),
            expected,
        })?;
        if fits(standing.status) {
            Ok(standing)
        } else {
            Err(Refusal::Standing { member, found: standing.status.to_string(), expected })
        }
    }

    fn admissible(&self, row: &RosterMember) -> Result<(), Refusal> {
        let member = row.member;
        if let Some(standing) = self.roster.get(member) {
            if standing.status != MemberStatus::Expelled {
                let expected = "not in the roster, or expelled";
                return Err(Refusal::Standing { member, found: standing.status.to_string(), expected });
            }
            if standing.incarnation >= MAX_INCARNATION {
                return Err(Refusal::Bound {
                    what: "incarnations of one member's node",
                    limit: MAX_INCARNATION as usize,
                });
            }
        } else if self.roster.iter().count() >= Genesis::MAX_MEMBERS {
            return Err(Refusal::Bound { what: "members and recipients", limit: Genesis::MAX_MEMBERS });
        }
        // A trust domain is one member's for ever, too: certificates of an expelled member must not become another's.
        if self.roster.iter().any(|other| other.row.member != member && other.row.trust_domain == row.trust_domain) {
            return Err(Refusal::TrustDomainTaken(row.trust_domain.clone()));
        }
        row.keys().into_iter().try_for_each(|(field, key)| self.fresh_key(field, key))
    }

    fn replaceable(&self, standing: &Standing, keys: &ReplacedKeys) -> Result<(), Refusal> {
        let now = standing.incarnation;
        let next = now.saturating_add(1).min(MAX_INCARNATION);
        if keys.incarnation != now && keys.incarnation != next {
            return Err(Refusal::Incarnation { found: keys.incarnation, now, next });
        }
        let all =
            [("decision_key", keys.decision_key), ("node_key", keys.node_key), ("recovery_key", keys.recovery_key)];
        for (at, (field, key)) in all.into_iter().enumerate() {
            self.fresh_key(field, key)?;
            if all.iter().take(at).any(|(_, other)| *other == key) {
                return Err(Refusal::KeyInUse { field, key: KeyId::of(&key.0) });
            }
        }
        Ok(())
    }

    /// INVARIANT: a key has one owner and one purpose for ever, so that an old signature is never taken for another's.
    pub(super) fn fresh_key(&self, field: &'static str, key: PublicKey) -> Result<(), Refusal> {
        if self.roster.keyring().knows(key) { Err(Refusal::KeyInUse { field, key: KeyId::of(&key.0) }) } else { Ok(()) }
    }

    fn raisable(&self, version: u32) -> Result<(), Refusal> {
        let fail = |problem: String| Err(Refusal::RulesVersion { version, problem });
        let next = self.rules_version.saturating_add(1);
        if version != next {
            return fail(format!("version {} is in force: the next is {next}", self.rules_version));
        }
        let behind = self.roster.voters().keys().copied();
        let behind: Vec<String> = behind
            .filter(|member| self.attested(*member).is_none_or(|attested| attested.supports < version))
            .map(|member| member.to_string())
            .collect();
        if behind.is_empty() {
            Ok(())
        } else {
            fail(format!("the nodes of these voting members cannot follow it yet: {}", behind.join(", ")))
        }
    }
}

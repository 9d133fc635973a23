//! A member's own keys and people.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::dsse::KeyId;
use crate::list::apply::Step;
use crate::list::command::{EnrollPerson, RequireSignatures, RevokeKeys, RevokePerson, RotateKeys};
use crate::list::publication::{Authority, Consent, PublishedEvent, PublishedMember};
use crate::list::refusal::Refusal;
use crate::list::state::ListState;
use crate::member::MemberId;
use crate::roster::{Person, PersonName, Standing};

impl ListState {
    fn standing_of(&self, member: MemberId) -> Result<&Standing, Refusal> {
        self.roster.get(member).ok_or(Refusal::NotAMember(member))
    }

    pub(super) fn rotate_keys(&mut self, rotate: &RotateKeys, step: &mut Step<'_>) -> Result<(), Refusal> {
        let mut row = self.standing_of(rotate.member)?.row.clone();
        for (field, key) in [("decision_key", rotate.decision_key), ("node_key", rotate.node_key)] {
            if let Some(key) = key {
                self.fresh_key(field, key)?;
            }
        }
        if let (Some(decision), Some(node)) = (rotate.decision_key, rotate.node_key)
            && decision == node
        {
            return Err(Refusal::KeyInUse { field: "node_key", key: KeyId::of(&node.0) });
        }
        // Nothing is refused from here on.
        let keys_change = rotate.decision_key.is_some() || rotate.node_key.is_some();
        row.decision_key = rotate.decision_key.unwrap_or(row.decision_key);
        row.node_key = rotate.node_key.unwrap_or(row.node_key);
        row.roots_pem = rotate.roots_pem.clone().unwrap_or(row.roots_pem);
        row.endpoint = rotate.endpoint.clone().unwrap_or(row.endpoint);
        Arc::make_mut(&mut self.roster.keyring).add_row(&row);
        let published = PublishedMember::from(&row);
        if let Some(standing) = self.roster.members.get_mut(&rotate.member) {
            standing.row = row;
            // A node key that was revoked stays revoked until another takes its place.
            standing.node_revoked &= rotate.node_key.is_none();
        }
        self.roster_changed(step);
        // Roots and endpoints are the members' affair: nobody verifies the public log with them.
        if keys_change {
            let by = Authority::Member(step.consent(rotate.member));
            self.publish(PublishedEvent::KeysRotated { member: published }, by, step);
        }
        Ok(())
    }

    pub(super) fn revoke_keys(&mut self, revoke: &RevokeKeys, step: &mut Step<'_>) -> Result<(), Refusal> {
        let RevokeKeys { member, decision, node, .. } = *revoke;
        let standing = self.standing_of(member)?;
        if (standing.decision_revoked || !decision) && (standing.node_revoked || !node) {
            return Err(Refusal::NoChange("these keys are revoked already"));
        }
        // Nothing is refused from here on.
        if let Some(standing) = self.roster.members.get_mut(&member) {
            standing.decision_revoked |= decision;
            standing.node_revoked |= node;
        }
        if node {
            self.attested.remove(&member);
        }
        if decision {
            self.fall_silent(member);
        }
        self.roster_changed(step);
        let by = Authority::Member(Consent { member, command: step.checked.leaf_hash() });
        self.publish(PublishedEvent::KeysRevoked { member, decision, node }, by, step);
        Ok(())
    }

    pub(super) fn enroll_person(&mut self, enroll: &EnrollPerson, step: &mut Step<'_>) -> Result<(), Refusal> {
        let standing = self.standing_of(enroll.member)?;
        if standing.people.len() >= Standing::MAX_PEOPLE {
            return Err(Refusal::Bound { what: "people's keys of one member", limit: Standing::MAX_PEOPLE });
        }
        self.fresh_key("key", enroll.key)?;
        // Nothing is refused from here on.
        Arc::make_mut(&mut self.roster.keyring).add(enroll.member, enroll.key);
        if let Some(standing) = self.roster.members.get_mut(&enroll.member) {
            let (name, role, key) = (enroll.person.clone(), enroll.role, enroll.key);
            standing.people.push(Person { name, role, key, revoked: false });
        }
        self.roster_changed(step);
        Ok(())
    }

    pub(super) fn revoke_person(&mut self, revoke: &RevokePerson, step: &mut Step<'_>) -> Result<(), Refusal> {
        let member = revoke.member;
        let standing = self.standing_of(member)?;
        if !standing.enrolled().any(|person| person.key == revoke.key) {
            return Err(Refusal::NoSuchPerson(member));
        }
        let left: BTreeSet<&PersonName> =
            standing.enrolled().filter(|person| person.key != revoke.key).map(|person| &person.name).collect();
        if standing.personal_signatures && left.len() < 2 {
            return Err(Refusal::TooFewPeople { member });
        }
        // Nothing is refused from here on.
        if let Some(standing) = self.roster.members.get_mut(&member) {
            for person in standing.people.iter_mut().filter(|person| person.key == revoke.key) {
                person.revoked = true;
            }
        }
        self.roster_changed(step);
        Ok(())
    }

    /// Whether a member's requirement of its people's signatures can change as it says, as things stand.
    ///
    /// # Errors
    /// Why not.
    pub fn may_require_signatures(&self, require: &RequireSignatures) -> Result<(), Refusal> {
        let standing = self.standing_of(require.member)?;
        if standing.personal_signatures == require.required {
            return Err(Refusal::NoChange("personal signatures are required, or not, as this command says"));
        }
        if require.required && standing.enrolled_count() < 2 {
            return Err(Refusal::TooFewPeople { member: require.member });
        }
        Ok(())
    }

    pub(super) fn require_signatures(
        &mut self,
        require: &RequireSignatures,
        step: &mut Step<'_>,
    ) -> Result<(), Refusal> {
        self.may_require_signatures(require)?;
        // Nothing is refused from here on.
        if let Some(standing) = self.roster.members.get_mut(&require.member) {
            standing.personal_signatures = require.required;
        }
        self.roster_changed(step);
        Ok(())
    }
}

//! Reads one file: each policy by itself, then all of them against the schema.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    Effect, EntityUid, Policy, PolicyId as CedarId, PolicySet, ValidationMode, ValidationWarning, Validator,
};
use comity_core::{MemberId, RecordId, Timestamp};

use super::{Entry, PolicyId};
use crate::bounds::Outline;
use crate::finding::{Fault, Finding, Note, Place, Problem, Warning, shorten};
use crate::schema::Model;
use crate::vocabulary;

/// Gathers the policies of one file, and what is to be said of them.
pub(super) struct Reader<'a> {
    party: MemberId,
    text: &'a str,
    model: &'a Model,
    outline: Outline,
    named: BTreeMap<PolicyId, Place>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Warning>,
    /// In no order, as Cedar keeps them.
    pub(super) entries: Vec<Entry>,
    /// The records that policies name.
    pub(super) records: BTreeSet<RecordId>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(party: MemberId, text: &'a str, model: &'a Model, outline: Outline) -> Self {
        let (problems, warnings, entries) = (Vec::new(), Vec::new(), Vec::new());
        let (named, records) = (BTreeMap::new(), BTreeSet::new());
        Self { party, text, model, outline, named, problems, warnings, entries, records }
    }

    /// Checks each policy by itself, and gives it its own id.
    pub(super) fn read(&mut self, parsed: &PolicySet) -> PolicySet {
        for template in parsed.templates() {
            let place = self.place(template.id()).map(|(_, place)| place);
            let policy = template.annotation("id").map(shorten);
            self.problems.push(Finding { place, policy, what: Fault::Template { party: self.party } });
        }
        let mut set = PolicySet::new();
        let mut permits = false;
        for policy in parsed.policies() {
            let (number, place) = self.place(policy.id()).unwrap_or((0, Place { line: 1, column: 1 }));
            permits |= policy.effect() == Effect::Permit;
            let Some(id) = self.name(policy, number, place) else { continue };
            self.check(policy, &id, place);
            let until = self.until(policy, &id, place);
            let policy = policy.new_id(CedarId::new(id.as_str()));
            // Ids are distinct here, so that this cannot fail; if it did, the policy must not be lost in silence.
            if set.add(policy.clone()).is_err() {
                self.problem(place, &id, Fault::DuplicateId { first: place });
            }
            self.entries.push(Entry { id, place, until, policy });
        }
        if !permits {
            self.warnings.push(Finding { place: None, policy: None, what: Note::PermitsNothing });
        }
        set
    }

    /// Number in the file and place of a policy that still has the id which Cedar's parser gave it (`policy0`, …).
    fn place(&self, id: &CedarId) -> Option<(usize, Place)> {
        let id: &str = id.as_ref();
        let number: usize = id.strip_prefix("policy")?.parse().ok()?;
        Some((number, Place::of(self.text, *self.outline.policies.get(number)?)))
    }

    fn name(&mut self, policy: &Policy, number: usize, place: Place) -> Option<PolicyId> {
        let id = match policy.annotation("id") {
            Some(text) => match PolicyId::parse(text) {
                Ok(id) => id,
                Err(what) => {
                    self.problems.push(Finding { place: Some(place), policy: None, what });
                    return None;
                }
            },
            None => {
                let id = PolicyId(format!("{}.{number}", self.party));
                self.warning(place, &id, Note::NoId);
                id
            }
        };
        // Cedar keeps policies in no order: whichever is met first, the later in the file is the duplicate.
        match self.named.get(&id).copied() {
            None => {
                self.named.insert(id.clone(), place);
                Some(id)
            }
            Some(other) => {
                self.problem(place.max(other), &id, Fault::DuplicateId { first: place.min(other) });
                self.named.insert(id, place.min(other));
                None
            }
        }
    }

    fn until(&mut self, policy: &Policy, id: &PolicyId, place: Place) -> Option<Timestamp> {
        for (name, _) in policy.annotations() {
            if !matches!(name, "id" | "until") {
                self.warning(place, id, Note::Annotation { name: shorten(name) });
            }
        }
        let text = policy.annotation("until")?;
        let until = text.parse().ok();
        if until.is_none() {
            self.problem(place, id, Fault::BadUntil { text: text.chars().take(40).collect() });
        }
        until
    }

    fn check(&mut self, policy: &Policy, id: &PolicyId, place: Place) {
        let mut literals: Vec<EntityUid> = policy.entity_literals();
        literals.sort_by_cached_key(EntityUid::to_string);
        literals.dedup();
        for uid in literals {
            let named: &str = uid.id().as_ref();
            if self.model.is_party(&uid) && uid != self.model.party_uid(self.party) {
                self.problem(place, id, Fault::OtherParty { party: self.party, named: shorten(named) });
            } else if self.model.is_record(&uid) {
                match named.parse() {
                    Ok(record) => _ = self.records.insert(record),
                    Err(_) => self.problem(place, id, Fault::NotARecord { id: shorten(named) }),
                }
            }
        }
        match policy.to_json() {
            Ok(json) => {
                let mut faults = Vec::new();
                vocabulary::check(self.party, &json, &mut faults);
                faults.dedup();
                faults.into_iter().for_each(|fault| self.problem(place, id, fault));
            }
            Err(error) => self.problem(place, id, Fault::Syntax { message: shorten(&error.to_string()), help: None }),
        }
    }

    pub(super) fn validate(&mut self, set: &PolicySet) {
        let result = Validator::new(self.model.schema.clone()).validate(set, ValidationMode::Strict);
        for error in result.validation_errors() {
            let (message, help, place) = self.explain(DetailedError::from(error), error.policy_id());
            let policy = Some(error.policy_id().to_string());
            self.problems.push(Finding { place, policy, what: Fault::Schema { message, help } });
        }
        for warning in result.validation_warnings() {
            // Told in our own words, of more policies than Cedar finds.
            if matches!(warning, ValidationWarning::ImpossiblePolicy(_)) {
                continue;
            }
            let (message, help, place) = self.explain(DetailedError::from(warning), warning.policy_id());
            let policy = Some(warning.policy_id().to_string());
            self.warnings.push(Finding { place, policy, what: Note::Cedar { message, help } });
        }
    }

    /// Message without its "for policy …", help, and place of what the validator says.
    fn explain(&self, error: DetailedError, policy: &CedarId) -> (String, Option<String>, Option<Place>) {
        let prefix = format!("for policy `{policy}`, ");
        let message = shorten(error.message.strip_prefix(&prefix).unwrap_or(&error.message));
        let place = error.source_locations.first().map(|label| Place::of(self.text, label.loc.start));
        let known = || self.named.iter().find(|(id, _)| id.as_str() == policy.as_ref() as &str).map(|(_, at)| *at);
        (message, error.help.as_deref().map(shorten), place.or_else(known))
    }

    fn problem(&mut self, place: Place, id: &PolicyId, what: Fault) {
        self.problems.push(Finding { place: Some(place), policy: Some(id.to_string()), what });
    }

    fn warning(&mut self, place: Place, id: &PolicyId, what: Note) {
        self.warnings.push(Finding { place: Some(place), policy: Some(id.to_string()), what });
    }
}

pub(super) fn syntax(text: &str, errors: &cedar_policy::ParseErrors) -> Vec<Problem> {
    let problem = |error: DetailedError| Finding {
        place: error.source_locations.first().map(|label| Place::of(text, label.loc.start)),
        policy: None,
        what: Fault::Syntax { message: shorten(&error.message), help: error.help.as_deref().map(shorten) },
    };
    errors.iter().map(|error| problem(DetailedError::from(error))).collect()
}

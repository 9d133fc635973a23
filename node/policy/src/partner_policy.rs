//! The policy file for one partner.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    Effect, EntityUid, Policy, PolicyId as CedarId, PolicySet, ResourceConstraint, ValidationMode, Validator,
};
use comity_core::{MemberId, RecordId};

use crate::bounds::{Outline, outline};
use crate::finding::{Fault, Finding, InvalidPolicy, Note, Place, Problem, Warning, shorten};
use crate::schema::{Model, model};
use crate::vocabulary;

/// Names one policy, in the access log and to the policy officer: 1 to 64 letters, digits, `-`, `_`, `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId(String);

impl PolicyId {
    /// The longest id.
    pub const MAX_CHARS: usize = 64;
    /// What the access log says where no policy permits; no policy may be called so.
    pub const RESERVED: &str = "default-deny";

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    // INVARIANT: an id has no `:`, so that none reads like `hard:…`, `error:…` or `local:…` in the access log.
    fn parse(text: &str) -> Result<Self, Fault> {
        let fits = (1..=Self::MAX_CHARS).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
            && text != Self::RESERVED;
        if fits { Ok(Self(text.to_owned())) } else { Err(Fault::BadId { id: text.chars().take(40).collect() }) }
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The policies for one partner: read, checked against the schema, ready to decide.
#[derive(Debug, Clone)]
pub struct PartnerPolicy {
    party: MemberId,
    text: String,
    sha256: [u8; 32],
    ids: Vec<PolicyId>,
    warnings: Vec<Warning>,
    set: PolicySet,
}

impl PartnerPolicy {
    /// The longest file, in bytes.
    pub const TEXT_MAX_BYTES: usize = 64 * 1024;
    /// The most policies in a file.
    pub const POLICIES_MAX: usize = 200;
    /// The deepest nesting of brackets.
    pub const NESTING_MAX: usize = 20;
    /// The most operators in one policy.
    pub const OPERATORS_MAX: usize = 500;

    /// Reads the file for `party`. An empty file is valid, and permits nothing.
    ///
    /// A policy's id is its `@id("…")`, or `DE.0`, `DE.1`, … by its place in the file. Its principal is
    /// `Party::"DE"` or nobody in particular, which means the same, since the file decides for that party alone.
    ///
    /// # Errors
    /// Everything that is wrong with it: bounds, syntax, ids, another party's name, types that do not fit the schema,
    /// values that an attribute never has.
    pub fn parse(party: MemberId, text: &str) -> Result<Self, InvalidPolicy> {
        let whole = |what| InvalidPolicy::new(party, vec![Finding { place: None, policy: None, what }]);
        if text.len() > Self::TEXT_MAX_BYTES {
            return Err(whole(Fault::TooLong { bytes: text.len() }));
        }
        let model = model().ok_or_else(|| whole(Fault::NoSchema))?;
        let outline = outline(text).map_err(|(at, what)| {
            InvalidPolicy::new(party, vec![Finding { place: Some(Place::of(text, at)), policy: None, what }])
        })?;
        if outline.policies.len() > Self::POLICIES_MAX {
            return Err(whole(Fault::TooMany { policies: outline.policies.len() }));
        }
        let parsed: PolicySet = text.parse().map_err(|errors| InvalidPolicy::new(party, syntax(text, &errors)))?;
        let mut reader =
            Reader { party, text, model, outline, problems: Vec::new(), warnings: Vec::new(), named: BTreeMap::new() };
        let set = reader.read(&parsed);
        reader.validate(&set);
        if !reader.problems.is_empty() {
            return Err(InvalidPolicy::new(party, reader.problems));
        }
        let mut named: Vec<(Place, PolicyId)> = reader.named.into_iter().map(|(id, at)| (at, id)).collect();
        named.sort();
        reader.warnings.sort_by_key(|warning| warning.place);
        Ok(Self {
            party,
            text: text.to_owned(),
            sha256: comity_core::sha256(text.as_bytes()),
            ids: named.into_iter().map(|(_, id)| id).collect(),
            warnings: reader.warnings,
            set,
        })
    }

    /// Whom it decides for.
    pub fn party(&self) -> MemberId {
        self.party
    }

    /// The file, as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the file.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The policies, in the order of the file.
    pub fn ids(&self) -> &[PolicyId] {
        &self.ids
    }

    /// What deserves a second look, in the order of the file.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    pub(crate) fn set(&self) -> &PolicySet {
        &self.set
    }
}

/// Gathers the findings of one file.
struct Reader<'a> {
    party: MemberId,
    text: &'a str,
    model: &'a Model,
    outline: Outline,
    problems: Vec<Problem>,
    warnings: Vec<Warning>,
    named: BTreeMap<PolicyId, Place>,
}

impl Reader<'_> {
    /// Checks each policy by itself, and gives it its own id.
    fn read(&mut self, parsed: &PolicySet) -> PolicySet {
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
            // Ids are distinct here, so that this cannot fail; if it did, the policy must not be lost in silence.
            if set.add(policy.new_id(CedarId::new(id.as_str()))).is_err() {
                self.problem(place, &id, Fault::DuplicateId { first: place });
            }
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

    fn check(&mut self, policy: &Policy, id: &PolicyId, place: Place) {
        let mut literals: Vec<EntityUid> = policy.entity_literals();
        literals.sort_by_cached_key(EntityUid::to_string);
        literals.dedup();
        for uid in literals {
            let named: &str = uid.id().as_ref();
            if self.model.is_party(&uid) && uid != self.model.party_uid(self.party) {
                self.problem(place, id, Fault::OtherParty { party: self.party, named: shorten(named) });
            } else if self.model.is_record(&uid) && RecordId::from_str(named).is_err() {
                self.problem(place, id, Fault::NotARecord { id: shorten(named) });
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
        let unconditional =
            !policy.has_non_scope_constraint() && !matches!(policy.resource_constraint(), ResourceConstraint::Eq(_));
        if policy.effect() == Effect::Permit && unconditional {
            self.warning(place, id, Note::PermitsEverything);
        }
    }

    fn validate(&mut self, set: &PolicySet) {
        let result = Validator::new(self.model.schema.clone()).validate(set, ValidationMode::Strict);
        for error in result.validation_errors() {
            let (message, help, place) = self.explain(DetailedError::from(error), error.policy_id());
            let policy = Some(error.policy_id().to_string());
            self.problems.push(Finding { place, policy, what: Fault::Schema { message, help } });
        }
        for warning in result.validation_warnings() {
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

fn syntax(text: &str, errors: &cedar_policy::ParseErrors) -> Vec<Problem> {
    let problem = |error: DetailedError| Finding {
        place: error.source_locations.first().map(|label| Place::of(text, label.loc.start)),
        policy: None,
        what: Fault::Syntax { message: shorten(&error.message), help: error.help.as_deref().map(shorten) },
    };
    errors.iter().map(|error| problem(DetailedError::from(error))).collect()
}

#[cfg(test)]
mod tests;

//! The release decision.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy::{Authorizer, Decision as Answer, Entities};
use comity_core::release::{Action, HardRule, Party, RecordHeader, hard_rules};
use comity_core::{MemberId, Timestamp};

use crate::partner_policy::{PartnerPolicy, PolicyId};
use crate::schema::model;

/// What was decided, and why. The reasons are for the access log and the policy officer, never for the partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may happen.
    pub allow: bool,
    /// Sorted ids of the policies that decided, or one of `hard:…` (a rule that no policy lifts), `default-deny` (no policy
    /// permits), `error:POLICY-ID` (a policy could not be evaluated). Never empty.
    pub because: Vec<String>,
    /// When it must be decided again; `None`: when policy, roster or record change.
    pub until: Option<Timestamp>,
}

impl Decision {
    pub(crate) fn deny(reason: impl Into<String>) -> Self {
        Self { allow: false, because: vec![reason.into()], until: None }
    }

    pub(crate) fn hard(rule: HardRule) -> Self {
        Self::deny(rule.as_str())
    }
}

/// How much of a record a party may have, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// The highest action that is allowed together with all lower ones; `None`: the party must not learn that the record
    /// exists.
    pub action: Option<Action>,
    /// The reasons of the decision on that action or, where nothing is allowed, of the refusal of `discover`. As in
    /// [`Decision::because`].
    pub because: Vec<String>,
    /// When it must be decided again, as in [`Decision::until`].
    pub until: Option<Timestamp>,
}

/// The policy files of a member, one for each partner. Cheap to clone; a change makes another value.
#[derive(Debug, Clone)]
pub struct Policies {
    partners: BTreeMap<MemberId, Arc<PartnerPolicy>>,
    version: [u8; 32],
}

impl Default for Policies {
    fn default() -> Self {
        Self::new([])
    }
}

impl Policies {
    /// The files together; of two for one partner, the later counts.
    pub fn new(files: impl IntoIterator<Item = PartnerPolicy>) -> Self {
        Self::of(files.into_iter().map(|file| (file.party(), Arc::new(file))).collect())
    }

    /// These, with one file added or replaced.
    #[must_use]
    pub fn with(&self, file: PartnerPolicy) -> Self {
        let mut partners = self.partners.clone();
        partners.insert(file.party(), Arc::new(file));
        Self::of(partners)
    }

    fn of(partners: BTreeMap<MemberId, Arc<PartnerPolicy>>) -> Self {
        let mut bytes = Vec::new();
        for (party, file) in &partners {
            // Codes have no zero byte and digests one length, so that no two sets of files read alike.
            bytes.extend_from_slice(party.as_str().as_bytes());
            bytes.push(0);
            bytes.extend_from_slice(&file.sha256());
        }
        Self { partners, version: comity_core::sha256(&bytes) }
    }

    /// The file for a partner.
    pub fn get(&self, party: MemberId) -> Option<&PartnerPolicy> {
        self.partners.get(&party).map(Arc::as_ref)
    }

    /// The files, by party.
    pub fn iter(&self) -> impl Iterator<Item = &PartnerPolicy> {
        self.partners.values().map(Arc::as_ref)
    }

    /// A digest of all files: a decision that is remembered is forgotten when this changes.
    pub fn version(&self) -> [u8; 32] {
        self.version
    }

    /// Whether `own` may give `party` this much of the record.
    pub fn decide(&self, own: MemberId, party: &Party, action: Action, header: &RecordHeader) -> Decision {
        match self.question(own, party, header) {
            Ok(question) => question.ask(action),
            Err(refusal) => refusal,
        }
    }

    /// How much of the record `own` may give `party`.
    pub fn level(&self, own: MemberId, party: &Party, header: &RecordHeader) -> Level {
        let mut level = Level { action: None, because: Vec::new(), until: None };
        let question = match self.question(own, party, header) {
            Ok(question) => question,
            Err(Decision { because, until, .. }) => return Level { because, until, ..level },
        };
        for action in Action::ALL {
            let decision = question.ask(action);
            // A refusal that ends with time makes the level end then, too.
            level.until = [level.until, decision.until].into_iter().flatten().min();
            if decision.allow || level.action.is_none() {
                level.because = decision.because;
            }
            if !decision.allow {
                break;
            }
            level.action = Some(action);
        }
        level
    }

    /// What no policy is asked about is refused here.
    fn question<'a>(
        &'a self,
        own: MemberId,
        party: &'a Party,
        header: &'a RecordHeader,
    ) -> Result<Question<'a>, Decision> {
        // INVARIANT: the hard rules come first, so that no policy can lift them.
        hard_rules(own, party, header).map_err(Decision::hard)?;
        let policy = self.get(party.member).ok_or_else(|| Decision::deny(PolicyId::RESERVED))?;
        let entities = model().and_then(|model| model.entities(party, header));
        let entities = entities.ok_or_else(|| Decision::deny("error:entities"))?;
        Ok(Question { policy, party, header, entities })
    }
}

/// A party, a record, and the policies that decide between them.
struct Question<'a> {
    policy: &'a PartnerPolicy,
    party: &'a Party,
    header: &'a RecordHeader,
    entities: Entities,
}

impl Question<'_> {
    fn ask(&self, action: Action) -> Decision {
        let Some(request) = model().and_then(|model| model.request(self.party, action, self.header)) else {
            return Decision::deny("error:request");
        };
        let response = Authorizer::new().is_authorized(&request, self.policy.set(), &self.entities);
        // INVARIANT: an error denies. Cedar passes over a policy that errs, so that a forbid which errs would forbid nothing.
        let mut errors: Vec<String> = response.diagnostics().errors().map(failed).collect();
        if !errors.is_empty() {
            errors.sort();
            return Decision { allow: false, because: errors, until: None };
        }
        let mut because: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        because.sort();
        match response.decision() {
            Answer::Allow => Decision { allow: true, because, until: None },
            Answer::Deny if because.is_empty() => Decision::deny(PolicyId::RESERVED),
            Answer::Deny => Decision { allow: false, because, until: None },
        }
    }
}

fn failed(error: &cedar_policy::AuthorizationError) -> String {
    match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => format!("error:{}", error.policy_id()),
    }
}

#[cfg(test)]
mod tests;

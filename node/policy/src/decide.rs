//! The release decision.

mod memory;

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy::{Authorizer, PolicySet, Response};
use comity_core::release::{Action, HardRule, Party, RecordHeader, Share, hard_rules};
use comity_core::{MemberId, Timestamp};

pub(crate) use memory::{Answer, Verdict};
use memory::{Key, Memory};

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
    /// When it must be decided again, which it must be at that instant: the earliest end still ahead of the share or of a policy
    /// in the party's file. `None`: when policy, roster, share or record change.
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
///
/// Equal questions are answered from memory, which the clones share; another value begins with none.
#[derive(Debug, Clone)]
pub struct Policies {
    partners: Arc<BTreeMap<MemberId, Arc<PartnerPolicy>>>,
    version: [u8; 32],
    memory: Arc<Memory>,
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
        let mut partners = BTreeMap::clone(&self.partners);
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
        Self { partners: Arc::new(partners), version: comity_core::sha256(&bytes), memory: Arc::default() }
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

    /// Whether `own` may give `party` this much of the record at an instant. `share`: that two people decided to let the party
    /// have it.
    pub fn decide(
        &self,
        own: MemberId,
        party: &Party,
        action: Action,
        header: &RecordHeader,
        share: Option<&Share>,
        at: Timestamp,
    ) -> Decision {
        let until = self.until(party, share, at);
        match self.ask(own, party, header, share, at) {
            Ok(answer) => {
                let Verdict { allow, because } = answer.on(action).clone();
                Decision { allow, because, until }
            }
            Err(refusal) => Decision { until, ..Decision::deny(refusal) },
        }
    }

    /// How much of the record `own` may give `party` at an instant.
    pub fn level(
        &self,
        own: MemberId,
        party: &Party,
        header: &RecordHeader,
        share: Option<&Share>,
        at: Timestamp,
    ) -> Level {
        let until = self.until(party, share, at);
        let answer = match self.ask(own, party, header, share, at) {
            Ok(answer) => answer,
            Err(refusal) => return Level { action: None, because: vec![refusal.to_owned()], until },
        };
        let allowed = Action::ALL.into_iter().take_while(|action| answer.on(*action).allow).last();
        let because = answer.on(allowed.unwrap_or(Action::Discover)).because.clone();
        Level { action: allowed, because, until }
    }

    /// When it must be decided again: when the share or any policy of the party's file ends, whether or not it decided.
    fn until(&self, party: &Party, share: Option<&Share>, at: Timestamp) -> Option<Timestamp> {
        let share = share.filter(|share| share.holds(at)).and_then(|share| share.until);
        let policy = self.get(party.member).and_then(|file| file.term(at).until);
        [share, policy].into_iter().flatten().min()
    }

    /// What the policies say, if they are asked at all.
    fn ask(
        &self,
        own: MemberId,
        party: &Party,
        header: &RecordHeader,
        share: Option<&Share>,
        at: Timestamp,
    ) -> Result<Arc<Answer>, &'static str> {
        // INVARIANT: the hard rules come first and are never remembered, so that nothing can lift them.
        hard_rules(own, party, header, share, at).map_err(HardRule::as_str)?;
        let file = self.get(party.member).ok_or(PolicyId::RESERVED)?;
        let (term, onward) = (file.term(at), share.is_some_and(|share| share.granted));
        let key = Key::new(party, header, onward, term.number, file.names(header.id));
        if let Some(answer) = self.memory.get(&key) {
            return Ok(answer);
        }
        let answer = Arc::new(answer(term.policies, party, header, onward)?);
        self.memory.put(key, Arc::clone(&answer));
        Ok(answer)
    }
}

/// What a set of policies says of every action.
pub(crate) fn answer(
    policies: &PolicySet,
    party: &Party,
    header: &RecordHeader,
    onward: bool,
) -> Result<Answer, &'static str> {
    let model = model().ok_or("error:entities")?;
    let entities = model.entities(party, header, onward).ok_or("error:entities")?;
    let verdict = |action| -> Result<Verdict, &'static str> {
        let request = model.request(party, action, header).ok_or("error:request")?;
        Ok(verdict(&Authorizer::new().is_authorized(&request, policies, &entities)))
    };
    Ok(Answer {
        discover: verdict(Action::Discover)?,
        read: verdict(Action::Read)?,
        read_sources: verdict(Action::ReadSources)?,
    })
}

fn verdict(response: &Response) -> Verdict {
    // INVARIANT: an error denies. Cedar passes over a policy that errs, so that a forbid which errs would forbid nothing.
    let mut errors: Vec<String> = response.diagnostics().errors().map(failed).collect();
    if !errors.is_empty() {
        errors.sort();
        return Verdict { allow: false, because: errors };
    }
    let mut because: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
    because.sort();
    let allow = response.decision() == cedar_policy::Decision::Allow;
    if because.is_empty() {
        because.push(PolicyId::RESERVED.to_owned());
    }
    Verdict { allow, because }
}

fn failed(error: &cedar_policy::AuthorizationError) -> String {
    match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => format!("error:{}", error.policy_id()),
    }
}

#[cfg(test)]
mod tests;

//! Why a party may have as much of a record as it may, and what would change it: for the policy officer.

mod missing;
mod parts;

use cedar_policy::Effect;
use comity_core::release::{Action, HardRule, Party, RecordHeader, Share};
use comity_core::{MemberId, RecordId, Timestamp};

use crate::decide::{Decision, Policies};
use crate::partner_policy::{Entry, PartnerPolicy, PolicyId};
use crate::probe::{Truth, truth};
use crate::schema::model;
use parts::Parts;

/// Everything that a decision depends on. For the member's own people, never for the partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// To whom it would go.
    pub party: MemberId,
    /// What would go.
    pub record: RecordId,
    /// Every hard rule, in the order in which they are asked.
    pub rules: Vec<RuleState>,
    /// Every action, least first.
    pub actions: Vec<ActionState>,
    /// What stands in the way of `read_sources` and what would change it, one sentence for each thing, the most fundamental
    /// first. Empty where everything is allowed.
    pub missing: Vec<String>,
}

/// What a hard rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleState {
    /// Which.
    pub rule: HardRule,
    /// Whether it forbids it.
    pub forbids: bool,
}

/// What becomes of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionState {
    /// Which.
    pub action: Action,
    /// What is decided, hard rules included.
    pub decision: Decision,
    /// What each policy of the party's file says, in the order of the file; whatever the hard rules say.
    pub policies: Vec<PolicyState>,
}

/// What one policy says of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyState {
    /// Which.
    pub id: PolicyId,
    /// Whether it permits; otherwise it forbids.
    pub permits: bool,
    /// Whether its `principal` covers the party.
    pub covers_party: bool,
    /// Whether its `action` covers the action.
    pub covers_action: bool,
    /// Whether its `resource` covers the record.
    pub covers_record: bool,
    /// Its `when` and `unless`, in order.
    pub conditions: Vec<Condition>,
    /// When it ended, if it has: it counts for nothing then.
    pub ended: Option<Timestamp>,
    /// Whether it applies: scope and conditions together, ended or not.
    pub applies: Truth,
}

/// A `when` or an `unless`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `unless`; otherwise `when`.
    pub unless: bool,
    /// What its outermost `&&` join, in order.
    pub conjuncts: Vec<Conjunct>,
}

/// A part of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conjunct {
    /// In Cedar, as Cedar writes it.
    pub text: String,
    /// Whether it holds by itself.
    pub truth: Truth,
}

impl PolicyState {
    /// Whether its scope covers party, action and record.
    pub fn covers(&self) -> bool {
        self.covers_party && self.covers_action && self.covers_record
    }

    /// Whether it counts: it applies, and has not ended.
    pub fn is_in_force(&self) -> bool {
        self.applies == Truth::True && self.ended.is_none()
    }
}

impl Policies {
    /// Explains what [`Policies::decide`] decides of every action, and [`Policies::level`] of all of them.
    pub fn explain(
        &self,
        own: MemberId,
        party: &Party,
        header: &RecordHeader,
        share: Option<&Share>,
        at: Timestamp,
    ) -> Explanation {
        let rules = HardRule::ALL.map(|rule| RuleState { rule, forbids: rule.forbids(own, party, header, share, at) });
        let onward = share.is_some_and(|share| share.granted);
        let parts: Vec<(&Entry, Option<Parts>)> = self
            .get(party.member)
            .map(PartnerPolicy::entries)
            .unwrap_or_default()
            .iter()
            .map(|entry| (entry, Parts::of(&entry.policy)))
            .collect();
        let actions = Action::ALL.map(|action| ActionState {
            action,
            decision: self.decide(own, party, action, header, share, at),
            policies: states(&parts, party, action, header, onward, at),
        });
        let mut explanation = Explanation {
            party: party.member,
            record: header.id,
            rules: rules.into(),
            actions: actions.into(),
            missing: Vec::new(),
        };
        explanation.missing = missing::sentences(&explanation, self.get(party.member).is_some(), party, header, share);
        explanation
    }
}

fn states(
    parts: &[(&Entry, Option<Parts>)],
    party: &Party,
    action: Action,
    header: &RecordHeader,
    onward: bool,
    at: Timestamp,
) -> Vec<PolicyState> {
    let question =
        model().and_then(|model| Some((model.request(party, action, header)?, model.entities(party, header, onward)?)));
    // What cannot be asked is denied, and told as an error everywhere.
    let ask = |part: Option<&cedar_policy::PolicySet>| match (part, &question) {
        (Some(part), Some((request, entities))) => truth(part, request, entities),
        _ => Truth::Error,
    };
    let state = |(entry, parts): &(&Entry, Option<Parts>)| {
        let parts = parts.as_ref();
        let conditions = parts.map(|parts| parts.conditions.as_slice()).unwrap_or_default();
        PolicyState {
            id: entry.id.clone(),
            permits: entry.policy.effect() == Effect::Permit,
            covers_party: ask(parts.map(|parts| &parts.principal)) == Truth::True,
            covers_action: ask(parts.map(|parts| &parts.action)) == Truth::True,
            covers_record: ask(parts.map(|parts| &parts.resource)) == Truth::True,
            conditions: conditions
                .iter()
                .map(|condition| Condition {
                    unless: condition.unless,
                    conjuncts: condition
                        .conjuncts
                        .iter()
                        .map(|part| Conjunct { text: part.text.clone(), truth: ask(Some(&part.alone)) })
                        .collect(),
                })
                .collect(),
            ended: entry.until.filter(|_| entry.has_ended(at)),
            applies: ask(parts.map(|parts| &parts.whole)),
        }
    };
    parts.iter().map(state).collect()
}

#[cfg(test)]
mod tests;

//! A policy taken apart, so that each part can be asked alone.

use cedar_policy::{Policy, PolicySet};
use serde_json::{Value, json};

use crate::finding::shorten;

/// The parts of a policy, each as a policy of its own.
pub(super) struct Parts {
    pub(super) whole: PolicySet,
    pub(super) principal: PolicySet,
    pub(super) action: PolicySet,
    pub(super) resource: PolicySet,
    pub(super) conditions: Vec<ConditionParts>,
}

pub(super) struct ConditionParts {
    pub(super) unless: bool,
    pub(super) conjuncts: Vec<ConjunctPart>,
}

pub(super) struct ConjunctPart {
    pub(super) text: String,
    pub(super) alone: PolicySet,
}

impl Parts {
    /// `None` if Cedar cannot write it as JSON or read that back, which does not happen to a policy that it has read.
    pub(super) fn of(policy: &Policy) -> Option<Self> {
        let form = policy.to_json().ok()?;
        let scope = |name: &str| {
            let mut all = anything(json!([]));
            *all.get_mut(name)? = form.get(name)?.clone();
            alone(Policy::from_json(None, all).ok()?)
        };
        let conditions = form.get("conditions").and_then(Value::as_array).into_iter().flatten();
        Some(Self {
            whole: alone(policy.clone())?,
            principal: scope("principal")?,
            action: scope("action")?,
            resource: scope("resource")?,
            conditions: conditions.map(condition).collect::<Option<_>>()?,
        })
    }
}

fn condition(condition: &Value) -> Option<ConditionParts> {
    let mut operands = Vec::new();
    conjuncts(condition.get("body")?, &mut operands);
    let conjuncts = operands.into_iter().map(conjunct).collect::<Option<_>>()?;
    Some(ConditionParts { unless: condition.get("kind")?.as_str()? == "unless", conjuncts })
}

/// What the outermost `&&` join, from left to right.
fn conjuncts<'a>(body: &'a Value, found: &mut Vec<&'a Value>) {
    let operands = body.get("&&");
    match operands.and_then(|operands| Some((operands.get("left")?, operands.get("right")?))) {
        Some((left, right)) => {
            conjuncts(left, found);
            conjuncts(right, found);
        }
        None => found.push(body),
    }
}

fn conjunct(body: &Value) -> Option<ConjunctPart> {
    let policy = Policy::from_json(None, anything(json!([{ "kind": "when", "body": body }]))).ok()?;
    let text = policy.to_cedar()?;
    // It is `permit(…) when { HERE };`.
    let body = text.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(body, _)| body);
    Some(ConjunctPart { text: shorten(body.trim()), alone: alone(policy)? })
}

/// A permit of anything under conditions.
fn anything(conditions: Value) -> Value {
    let all = json!({ "op": "All" });
    json!({ "effect": "permit", "principal": all, "action": all, "resource": all, "conditions": conditions })
}

fn alone(policy: Policy) -> Option<PolicySet> {
    PolicySet::from_policies([policy]).ok()
}

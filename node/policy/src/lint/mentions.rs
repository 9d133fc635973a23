//! What a policy looks at, from its JSON form.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Something that policies may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aspect {
    /// Which record, where one is named.
    Record,
    Kind,
    Originator,
    Tier,
    Caveats,
    Compartments,
    Handling,
    ReleasableTo,
    Onward,
    Answers,
    Voting,
    Ceiling,
    /// Last, so that neighbouring samples differ in it alone, and share their entities.
    Action,
}

impl Aspect {
    fn of(attribute: &str) -> Option<Self> {
        Some(match attribute {
            "kind" => Self::Kind,
            "originator" => Self::Originator,
            "tier" => Self::Tier,
            "caveats" => Self::Caveats,
            "compartments" => Self::Compartments,
            "handling" => Self::Handling,
            "releasable_to" => Self::ReleasableTo,
            "onward" => Self::Onward,
            "answers" => Self::Answers,
            "voting" => Self::Voting,
            "ceiling" => Self::Ceiling,
            _ => return None,
        })
    }
}

/// What the policies of a file, or one of them, look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mentions {
    pub(super) aspects: BTreeSet<Aspect>,
    /// The texts that an attribute is compared with.
    pub(super) texts: BTreeMap<Aspect, BTreeSet<String>>,
    /// Texts that may be compared with any attribute: it cannot be told from the form.
    pub(super) loose: BTreeSet<String>,
    /// Attributes with a handful of values that are matched by pattern: every value may matter.
    pub(super) whole: BTreeSet<Aspect>,
    /// Texts are matched by pattern, or attributes with each other: which texts matter cannot be told from the form.
    pub(super) unclear: bool,
}

impl Mentions {
    /// Of one policy in its JSON form.
    pub(super) fn of(policy: &Value) -> Self {
        let mut mentions = Self::default();
        // Without conditions there is nothing but the scope to tell one action from another.
        let scope_tells = policy.get("action").and_then(|scope| scope.get("op")).and_then(Value::as_str) != Some("All");
        if scope_tells {
            mentions.aspects.insert(Aspect::Action);
        }
        if policy.get("resource").and_then(|scope| scope.get("entity")).is_some() {
            mentions.aspects.insert(Aspect::Record);
        }
        if let Some(conditions) = policy.get("conditions") {
            mentions.walk(conditions);
        }
        mentions
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.aspects.extend(&other.aspects);
        for (aspect, texts) in &other.texts {
            self.texts.entry(*aspect).or_default().extend(texts.iter().cloned());
        }
        self.loose.extend(other.loose.iter().cloned());
        self.whole.extend(&other.whole);
        self.unclear |= other.unclear;
    }

    fn walk(&mut self, expression: &Value) {
        match expression {
            Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
            Value::Object(fields) => {
                for (operator, operands) in fields {
                    self.operation(operator, operands);
                }
            }
            _ => {}
        }
    }

    fn operation(&mut self, operator: &str, operands: &Value) {
        match (operator, operands) {
            ("Var", Value::String(variable)) if variable == "action" => _ = self.aspects.insert(Aspect::Action),
            ("Value", value) => self.value(value),
            ("." | "has", operands) => {
                self.aspects.extend(operands.get("attr").and_then(Value::as_str).and_then(Aspect::of));
                operands.get("left").into_iter().for_each(|left| self.walk(left));
            }
            ("like", operands) => {
                match operands.get("left").and_then(attribute) {
                    Some("kind") => _ = self.whole.insert(Aspect::Kind),
                    Some("handling") => _ = self.whole.insert(Aspect::Handling),
                    Some("member") => {}
                    _ => self.unclear = true,
                }
                operands.get("left").into_iter().for_each(|left| self.walk(left));
            }
            ("&&" | "||", operands) => self.walk(operands),
            // Its keys are names that the policy chose, and might read like operators.
            ("Record", Value::Object(fields)) => fields.values().for_each(|field| self.walk(field)),
            (_, operands) => match (operands.get("left"), operands.get("right")) {
                (Some(left), Some(right)) => self.comparison(left, right),
                _ => self.walk(operands),
            },
        }
    }

    fn comparison(&mut self, left: &Value, right: &Value) {
        self.unclear |= has_text_attribute(left) && has_text_attribute(right);
        for (side, other) in [(left, right), (right, left)] {
            if let (Some(aspect), Some(texts)) = (attribute(side).and_then(Aspect::of), literals(other)) {
                self.aspects.insert(aspect);
                self.texts.entry(aspect).or_default().extend(texts);
                return;
            }
        }
        self.walk(left);
        self.walk(right);
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::String(text) => _ = self.loose.insert(text.clone()),
            Value::Array(items) => items.iter().for_each(|item| self.value(item)),
            Value::Object(fields) => match fields.get("__entity") {
                Some(entity) => self.entity(entity),
                None => fields.values().for_each(|value| self.value(value)),
            },
            _ => {}
        }
    }

    fn entity(&mut self, entity: &Value) {
        if entity.get("type").and_then(Value::as_str) == Some("Record") {
            self.aspects.insert(Aspect::Record);
        }
    }
}

/// `kind` for `{".": {"left": …, "attr": "kind"}}`.
fn attribute(expression: &Value) -> Option<&str> {
    expression.get(".")?.get("attr")?.as_str()
}

/// The texts of an expression that is nothing but one, or a set of them.
fn literals(expression: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match (expression.get("Value"), expression.get("Set")) {
        (Some(Value::Array(items)), _) => items.iter().map(text).collect(),
        (Some(value), _) => text(value).map(|text| vec![text]),
        (_, Some(Value::Array(items))) => items.iter().map(|item| item.get("Value").and_then(text)).collect(),
        _ => None,
    }
}

/// Whether a text, or a set of texts, of party or record is anywhere in it.
fn has_text_attribute(expression: &Value) -> bool {
    const TEXTS: [&str; 6] = ["member", "kind", "originator", "caveats", "compartments", "releasable_to"];
    let here = attribute(expression).is_some_and(|attribute| TEXTS.contains(&attribute) || attribute == "handling");
    here || match expression {
        Value::Array(items) => items.iter().any(has_text_attribute),
        Value::Object(fields) => fields.values().any(has_text_attribute),
        _ => false,
    }
}

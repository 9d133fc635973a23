//! Values that an attribute never has.
//!
//! Cedar's types know that `resource.kind` is a text, not which texts there are: `forbid … when { resource.kind ==
//! "propsal" }` validates, and never forbids. So each literal compared with such an attribute is checked.

use comity_core::marking::{Caveat, Compartment, Handling};
use comity_core::{MemberId, RecordKind};
use serde_json::Value;

use crate::finding::{Fault, shorten};

/// Adds a fault for each literal in the policy's JSON form that its attribute never has.
pub(crate) fn check(party: MemberId, policy: &Value, faults: &mut Vec<Fault>) {
    match policy {
        Value::Array(items) => items.iter().for_each(|item| check(party, item, faults)),
        Value::Object(fields) => {
            // Every comparison and membership test of Cedar's JSON form is `{op: {left, right}}`.
            if let (Some(left), Some(right)) = (fields.get("left"), fields.get("right")) {
                for (attribute, other) in [(left, right), (right, left)] {
                    if let Some(attribute) = attribute_of(attribute) {
                        literals(other, &mut |value| {
                            if let Some(expected) = unexpected(party, &attribute, value) {
                                let value = shorten(value);
                                faults.push(Fault::NeverEqual { attribute: attribute.clone(), value, expected });
                            }
                        });
                    }
                }
            }
            fields.values().for_each(|value| check(party, value, faults));
        }
        _ => {}
    }
}

/// `resource.kind` for `{".": {"left": {"Var": "resource"}, "attr": "kind"}}`.
fn attribute_of(expression: &Value) -> Option<String> {
    let access = expression.get(".")?;
    let variable = access.get("left")?.get("Var")?.as_str()?;
    Some(format!("{variable}.{}", access.get("attr")?.as_str()?))
}

/// The texts of a literal or of a set of literals.
fn literals(expression: &Value, found: &mut impl FnMut(&str)) {
    match expression.get("Value") {
        Some(Value::String(text)) => found(text),
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).for_each(&mut *found),
        _ => {}
    }
    if let Some(Value::Array(items)) = expression.get("Set") {
        for item in items {
            if let Some(text) = item.get("Value").and_then(Value::as_str) {
                found(text);
            }
        }
    }
}

/// What the attribute may be, if it may not be this.
fn unexpected(party: MemberId, attribute: &str, value: &str) -> Option<String> {
    let named = || Value::String(value.to_owned());
    let (fits, expected) = match attribute {
        "resource.kind" => (value.parse::<RecordKind>().is_ok(), one_of(&RecordKind::ALL.map(RecordKind::as_str))),
        "resource.caveats" => (serde_json::from_value::<Caveat>(named()).is_ok(), "orcon".to_owned()),
        "resource.handling" => {
            (serde_json::from_value::<Handling>(named()).is_ok(), "free, with_consent or never".to_owned())
        }
        "resource.compartments" => {
            (value.parse::<Compartment>().is_ok(), "1 to 32 of A-Z, 0-9 and `-`, such as TIGER".to_owned())
        }
        "resource.originator" | "resource.releasable_to" => {
            (value.parse::<MemberId>().is_ok(), "the code of a member or recipient, such as FR".to_owned())
        }
        "principal.member" => (value == party.as_str(), format!("{party}, whose file this is")),
        _ => return None,
    };
    (!fits).then_some(expected)
}

/// `a, b or c`.
fn one_of(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

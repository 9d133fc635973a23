//! What differs between two JSON documents, field by field, in words that a person reads.

use std::collections::BTreeSet;

use serde_json::Value;

/// The most differences that are told of one pair of documents.
const MAX: usize = 200;
/// A value is cut here.
const VALUE_MAX_CHARS: usize = 80;

/// Each field that differs: its path, what it was and what it is.
pub(crate) fn changed_fields(before: &Value, after: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", Some(before), Some(after), &mut found);
    found
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<String>) {
    if before == after || found.len() >= MAX {
        return;
    }
    match (before, after) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            // By name: which order a document's fields come in says nothing.
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&at, old.get(name), new.get(name), found);
            }
        }
        // An item that moved is no change of its own: items are told as they came and went.
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            let gone =
                old.iter().filter(|item| !new.contains(item)).map(|item| format!("{path}: without {}", short(item)));
            let came =
                new.iter().filter(|item| !old.contains(item)).map(|item| format!("{path}: with {}", short(item)));
            let before = found.len();
            found.extend(gone.chain(came).take(MAX));
            if found.len() == before {
                found.push(format!("{path}: another order"));
            }
        }
        (Some(old), Some(new)) => found.push(format!("{path}: {} is now {}", short(old), short(new))),
        (None, Some(new)) => found.push(format!("{path}: {} is new", short(new))),
        (Some(old), None) => found.push(format!("{path}: {} is gone", short(old))),
        (None, None) => {}
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.replace('\n', " "),
        other => other.to_string(),
    };
    if text.chars().count() <= VALUE_MAX_CHARS {
        return text;
    }
    let cut: String = text.chars().take(VALUE_MAX_CHARS).collect();
    format!("{cut}...")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_items_and_values_are_told() {
        let before = json!({ "subject": { "names": ["A", "B"], "kind": "person" }, "gone": 1 });
        let after = json!({ "subject": { "names": ["B", "C"], "kind": "person" }, "statement": "x".repeat(100) });
        let found = changed_fields(&before, &after);
        assert_eq!(found[0], "gone: 1 is gone");
        assert!(found[1].starts_with("statement: xxx") && found[1].ends_with("... is new"), "{found:?}");
        assert_eq!(found[2..], ["subject.names: without A", "subject.names: with C"]);
        assert!(changed_fields(&before, &before).is_empty());
        assert_eq!(changed_fields(&json!({ "a": [1, 2] }), &json!({ "a": [2, 1] })), ["a: another order"]);
    }
}

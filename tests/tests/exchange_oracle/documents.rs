//! The documents that members write, and what each view is to show of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::oracle::Marking;

/// A document, and what `read` and `read_sources` are to give of it.
pub struct Written {
    pub whole: Value,
    pub read: Value,
    pub sources: Value,
}

/// The `serial`-th document of a case.
pub fn written(kind: &str, serial: usize, marking: &Marking, links: &BTreeSet<String>) -> Written {
    let title = format!("Title {serial}");
    let source = json!([{ "description": format!("Source {serial}"), "locator": format!("drawer {serial}") }]);
    let (read, sources, kept) = match kind {
        "proposal" => (
            json!({
                "title": title,
                "subject": { "kind": "person", "names": [{ "full": format!("DOE, {serial}"), "kind": "primary", "quality": "strong" }] },
                "statement_of_case": "The case.",
                "assessment": format!("Assessment {serial}"),
            }),
            json!({ "sources": source }),
            json!({}),
        ),
        "incident" => (
            json!({ "title": title, "date": "2017-04-04", "place": format!("Place {serial}") }),
            json!({ "sources": source }),
            json!({}),
        ),
        "evidence" => (
            json!({ "title": title, "material": "audio", "description": format!("Description {serial}") }),
            json!({ "evidence": { "holder": format!("Holder {serial}"), "sha256": "ab".repeat(32) } }),
            // In no view, but for what of the links the reader may know.
            json!({ "locator": format!("vault {serial}"), "links": links }),
        ),
        other => panic!("{other} is not drafted"),
    };
    let revealing = sources.get("evidence").cloned().unwrap_or_else(|| sources.clone());
    let whole = merged([&json!({ "marking": marking.json() }), &read, &revealing, &kept]);
    Written { whole, read, sources }
}

fn merged<'a>(parts: impl IntoIterator<Item = &'a Value>) -> Value {
    let fields = parts.into_iter().flat_map(|part| part.as_object().unwrap().clone());
    Value::Object(fields.collect())
}

/// What is in an item or a copy, by the view's name, without the commitments, which are of random bytes.
pub fn shown(upsert: &[comity_core::view::ItemDocument]) -> std::collections::BTreeMap<String, Value> {
    let read = |document: &comity_core::view::ItemDocument| {
        let mut value: Value = serde_json::from_str(&document.text).unwrap();
        if let Some(discover) = value.as_object_mut().filter(|_| document.view.as_str() == "discover") {
            for commitment in ["read_commitment", "read_sources_commitment"] {
                let hash = discover.remove(commitment).unwrap();
                assert_eq!(hash.as_str().unwrap().len(), 64, "{commitment}");
            }
        }
        (document.view.as_str().to_owned(), value)
    };
    upsert.iter().map(read).collect()
}

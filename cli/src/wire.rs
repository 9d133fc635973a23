//! Small conversions from what the wire carries to what is shown.

use std::future::Future;

use serde_json::Value;

use crate::failure::Failure;

/// The most items that one call asks for.
const PAGE_MAX: usize = 200;

/// An enum value as the documents write it: `PROPOSAL_STATE_DRAFT` is `draft`.
pub(crate) fn lower(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).trim_start_matches('_').to_ascii_lowercase()
}

/// A document as JSON to embed; nothing where it is empty. What is no JSON is kept as text, so that nothing is hidden.
pub(crate) fn embedded(document: &[u8]) -> Option<Value> {
    if document.is_empty() {
        return None;
    }
    let text = || Value::String(String::from_utf8_lossy(document).into_owned());
    Some(serde_json::from_slice(document).unwrap_or_else(|_| text()))
}

/// The name within a SPIFFE id, for tables: `operator/desk-7`.
pub(crate) fn short_id(id: &str) -> String {
    match id.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) {
        Some((_, path)) => path.to_owned(),
        None => id.to_owned(),
    }
}

/// The beginning of a long id, for tables; enough for the node to find it again.
pub(crate) fn digits(id: &str) -> String {
    id.chars().take(12).collect()
}

/// Pages of a list, one after another, until `limit` items are there. Says whether there is more.
pub(crate) async fn collect<T, F, Fut>(limit: usize, mut page: F) -> Result<(Vec<T>, bool), Failure>
where
    F: FnMut(i32, String) -> Fut,
    Fut: Future<Output = Result<(Vec<T>, String), Failure>>,
{
    let (mut items, mut token) = (Vec::new(), String::new());
    // Each page holds something, so this many are enough; a node that sends empty ones for ever is left.
    for _ in 0..limit.saturating_add(16) {
        let wanted = (limit.saturating_sub(items.len())).clamp(1, PAGE_MAX);
        let (found, next) = page(i32::try_from(wanted).unwrap_or(i32::MAX), token).await?;
        items.extend(found);
        if items.len() > limit {
            items.truncate(limit);
            return Ok((items, true));
        }
        if next.is_empty() {
            return Ok((items, false));
        }
        if items.len() >= limit {
            return Ok((items, true));
        }
        token = next;
    }
    Ok((items, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_names_become_words() {
        assert_eq!(lower("PROPOSAL_STATE_DRAFT", "PROPOSAL_STATE"), "draft");
        assert_eq!(short_id("spiffe://fr.comity.example/operator/desk-7"), "operator/desk-7");
        assert_eq!(embedded(b"{\"a\":1}"), Some(serde_json::json!({ "a": 1 })));
        assert_eq!(embedded(b"{"), Some(serde_json::json!("{")));
        assert_eq!(embedded(b""), None);
    }

    #[tokio::test]
    async fn pages_are_collected_up_to_the_limit() {
        let page = |size: i32, token: String| async move {
            let from: i32 = token.parse().unwrap_or(0);
            let to = (from + size.min(3)).min(10);
            let next = if to < 10 { to.to_string() } else { String::new() };
            Ok(((from..to).collect::<Vec<_>>(), next))
        };
        assert_eq!(collect(100, page).await.unwrap(), ((0..10).collect(), false));
        assert_eq!(collect(10, page).await.unwrap(), ((0..10).collect(), false));
        assert_eq!(collect(4, page).await.unwrap(), ((0..4).collect(), true));
        let endless = |_: i32, _: String| async { Ok((Vec::<u8>::new(), "again".to_owned())) };
        assert_eq!(collect(4, endless).await.unwrap(), (vec![], true));
    }
}

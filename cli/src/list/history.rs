//! `comity list history`: everything that was published about an entry, and what each publication changed.

use comity_core::list::{EntryId, PublishedEvent, Statement};
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::list::publication::{Leaf, LeafView, authority, in_words, leaves, parties};
use crate::page::{Page, Style};
use crate::session::Session;
use crate::{changes, when, wire};

/// The most publications about one entry that are told.
const LEAVES_MAX: u64 = 10_000;

pub(super) async fn run(session: &mut Session<'_>, entry: &EntryId) -> Result<(), Failure> {
    let leaves = leaves(&session.node().await?, &entry.to_string(), LEAVES_MAX).await?;
    let changes = text_changes(&leaves);
    let publications = leaves.iter().zip(&changes);
    let view = HistoryView {
        entry: entry.to_string(),
        publications: publications
            .map(|(leaf, changed)| PublicationView { what: leaf.view(), changed: changed.clone() })
            .collect(),
    };
    session.output.show(&view, |style| page(style, entry, &leaves, &changes))
}

/// Which fields of the text each publication changed. The first text changes nothing: it is all new.
fn text_changes(leaves: &[Leaf]) -> Vec<Vec<String>> {
    let mut before: Option<Value> = None;
    let changed = leaves.iter().map(|leaf| {
        let describes =
            matches!(leaf.publication.event, PublishedEvent::Listed { .. } | PublishedEvent::Amended { .. });
        let text = describes.then(|| wire::embedded(&leaf.text)).flatten();
        let fields = match (&before, &text) {
            (Some(before), Some(text)) => changes::changed_fields(before, text),
            _ => Vec::new(),
        };
        before = text.or_else(|| before.take());
        fields
    });
    changed.collect()
}

fn page(style: &Style, entry: &EntryId, leaves: &[Leaf], changes: &[Vec<String>]) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("History of {entry}"));
    for (leaf, changed) in leaves.iter().zip(changes) {
        let publication = &leaf.publication;
        page.heading(&format!("{}  {}", when::local_core(publication.list_time), in_words(&publication.event)));
        page.field("leaf", format!("{}{}", leaf.number, if leaf.agreed { "" } else { " (not yet agreed)" }));
        page.field("by", authority(&publication.by));
        for (label, who) in parties(&publication.by) {
            page.field(label, who);
        }
        page.fields("changed", changed);
        if let Ok(statement) = comity_core::canonical::from_slice::<Statement>(&leaf.text) {
            page.field("statement", statement.statement);
        }
    }
    page.finish()
}

#[derive(Debug, Clone, Serialize)]
struct HistoryView {
    entry: String,
    publications: Vec<PublicationView>,
}

#[derive(Debug, Clone, Serialize)]
struct PublicationView {
    #[serde(flatten)]
    what: LeafView,
    /// Fields of the text, where it replaced another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<String>,
}

//! A record as it is shown.

use comity_core::RecordKind;
use comity_core::document::Document;
use comity_proto::v1;
use serde::Serialize;
use serde_json::Value;

use crate::page::{Page, Style};
use crate::{documents, when, wire};

/// A record as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RecordView {
    pub(super) id: String,
    kind: String,
    originator: String,
    pub(super) state: String,
    pub(super) etag: String,
    pub(super) title: String,
    pub(super) banner: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    about: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    views: Vec<DocumentView>,
    author: String,
    create_time: Option<String>,
    update_time: Option<String>,
    pub(super) shared_with: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shares: Vec<ShareView>,
    ballot: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    purpose: String,
}

#[derive(Debug, Clone, Serialize)]
struct DocumentView {
    view: String,
    document: Option<Value>,
}

#[derive(Debug, Clone, Serialize)]
struct ShareView {
    party: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    grant: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    purpose: String,
}

#[derive(Debug, Clone, Serialize)]
pub(super) struct RecordsView {
    pub(super) records: Vec<RecordView>,
}

impl From<v1::Record> for RecordView {
    fn from(record: v1::Record) -> Self {
        let state = wire::lower(record.state().as_str_name(), "RECORD_STATE");
        let kind = wire::lower(record.kind().as_str_name(), "RECORD_KIND");
        let views =
            record.views.iter().map(|v| DocumentView { view: v.view.clone(), document: wire::embedded(&v.document) });
        let shares = record.shares.iter().map(|share| ShareView {
            party: share.party.clone(),
            until: when::rfc3339(share.until.as_ref()),
            grant: share.grant.clone(),
            purpose: share.purpose.clone(),
        });
        Self {
            views: views.collect(),
            shared_with: record.shares.iter().map(|share| share.party.clone()).collect(),
            // A share on no terms of its own is said by its party's code alone.
            shares: shares.filter(|share| share.until.is_some() || !share.grant.is_empty()).collect(),
            state,
            kind,
            document: wire::embedded(&record.document),
            create_time: when::rfc3339(record.create_time.as_ref()),
            update_time: when::rfc3339(record.update_time.as_ref()),
            until: when::rfc3339(record.until.as_ref()),
            id: record.id,
            originator: record.originator,
            etag: record.etag,
            title: record.title,
            banner: record.banner,
            about: record.about,
            author: record.author,
            ballot: record.ballot,
            purpose: record.purpose,
        }
    }
}

pub(super) fn page(style: &Style, view: &RecordView, record: &v1::Record, kind: RecordKind) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("{}  {}", view.id, view.banner));
    page.field("title", &view.title);
    page.field("originator", &view.originator);
    page.field("state", &view.state);
    page.field("version", &view.etag);
    page.field("about", &view.about);
    page.field("author", &view.author);
    page.field("created", when::local(record.create_time.as_ref()));
    page.field("changed", when::local(record.update_time.as_ref()));
    page.fields("shared with", record.shares.iter().map(shared));
    page.field("ballot", &view.ballot);
    if !record.document.is_empty() {
        match Document::from_json(kind, &record.document) {
            Ok(document) => documents::document(&mut page, &document),
            Err(_) => documents::unknown(&mut page, "Document", &record.document),
        }
    }
    for document in &record.views {
        documents::view(&mut page, &document.view, &document.document);
    }
    page.finish()
}

fn shared(share: &v1::Share) -> String {
    let until = when::local(share.until.as_ref());
    let until = if until.is_empty() { until } else { format!(" until {until}") };
    let onward = if share.grant.is_empty() { String::new() } else { format!(", onward by {}", share.grant) };
    format!("{}{until}{onward}", share.party)
}

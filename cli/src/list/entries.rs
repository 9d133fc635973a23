//! `comity list show` and `comity list list`: entries as this node has them.

use comity_core::list::EntryId;
use comity_proto::v1;
use serde::Serialize;
use serde_json::Value;

use crate::connection::Node;
use crate::failure::Failure;
use crate::measure::{MeasureView, measure_lines};
use crate::page::{Page, Style, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::{documents, when, wire};

/// An entry, with its text.
pub(crate) async fn get(node: &Node, id: &EntryId) -> Result<v1::Entry, Failure> {
    let asked = Asked::about(format!("entry {id}"), "comity list list --all");
    let request = v1::GetEntryRequest { id: id.to_string() };
    Ok(node.list().get_entry(request).await.map_err(|s| asked.refused(s))?.into_inner())
}

pub(super) async fn show(session: &mut Session<'_>, id: &EntryId) -> Result<(), Failure> {
    let entry = get(&session.node().await?, id).await?;
    let view = EntryView::from(entry.clone());
    session.output.show(&view, |style| page(style, &view, &entry))?;
    if !view.agreed {
        session
            .output
            .note("this entry is adopted and not yet agreed: too few members have cosigned a position that holds it");
    }
    if !view.merged_into.is_empty() {
        session.output.note(&format!("next:  comity list show {}", view.merged_into));
    }
    Ok(())
}

fn page(style: &Style, view: &EntryView, entry: &v1::Entry) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("{}  {}", view.id, view.subject));
    page.field("status", standing(view, &when::local(entry.end_time.as_ref())));
    page.field("agreed", if view.agreed { "yes" } else { "not yet" });
    page.field("proposed by", &view.proposer);
    page.field("consents", consents(view, ", "));
    page.field("silent", view.silent.join(", "));
    page.field("absent", view.absent.join(", "));
    page.field("listed", when::local(entry.list_time.as_ref()));
    if view.status == "listed" {
        page.field("review due", review(entry));
    }
    page.field("proposal", &view.proposal);
    page.field("ballot", &view.ballot);
    page.field("public leaf", view.public_leaf.to_string());
    page.field("history", view.history.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    if view.status == "listed" || !view.measures.is_empty() {
        page.heading("Measures");
    }
    if view.status == "listed" && view.in_force() == 0 {
        page.prose("No measure is in force.");
    }
    for line in view.measures.iter().flat_map(measure_lines) {
        page.line(&format!("  {line}"));
    }
    if entry.public_part.is_empty() {
        page.heading("Text");
        page.prose("There is none: it was annulled and erased.");
        return page.finish();
    }
    match comity_core::canonical::from_slice(&entry.public_part) {
        Ok(part) => documents::public_part(&mut page, &part),
        Err(_) => documents::unknown(&mut page, "Public part", &entry.public_part),
    }
    page.finish()
}

/// Who voted for it; where nobody had to, it was silence that adopted it.
fn consents(view: &EntryView, between: &str) -> String {
    if view.consents.is_empty() { "by silence".into() } else { view.consents.join(between) }
}

/// How an entry stands, in words.
fn standing(view: &EntryView, ended: &str) -> String {
    match view.status.as_str() {
        "delisted" => format!("delisted on {ended}: {}", view.ground.replace('_', " ")),
        "merged" => format!("merged on {ended}: {} stands for it", view.merged_into),
        _ if view.in_force() == 0 => "listed; no measure is in force".into(),
        _ => format!("listed; {} in force", measures(view.in_force())),
    }
}

fn measures(count: usize) -> String {
    if count == 1 { "1 measure".into() } else { format!("{count} measures") }
}

/// When the next review is due; marked where that has passed.
fn review(entry: &v1::Entry) -> String {
    let text = when::local(entry.review_due_time.as_ref());
    let now = jiff::Timestamp::now().as_second();
    let is_over = entry.review_due_time.is_some_and(|due| due.seconds < now);
    if is_over { format!("{text} (overdue: comity list review {})", entry.id) } else { text }
}

pub(super) async fn list(session: &mut Session<'_>, all: bool, limit: usize) -> Result<(), Failure> {
    let client = session.node().await?.list();
    let asked = Asked::about("entries", "comity list status");
    let (entries, more) = wire::collect(limit, |page_size, page_token| {
        let (mut client, asked) = (client.clone(), asked.clone());
        async move {
            let request = v1::ListEntriesRequest { page_size, page_token, all };
            let page = client.list_entries(request).await.map_err(|s| asked.refused(s))?.into_inner();
            Ok((page.entries, page.next_page_token))
        }
    })
    .await?;
    let listed: Vec<String> = entries.iter().map(|e| when::minute(e.list_time.as_ref())).collect();
    let view = EntriesView { entries: entries.into_iter().map(EntryView::from).collect() };
    session.output.show(&view, |style| {
        let rows = view.entries.iter().zip(listed).map(|(e, listed)| {
            let agreed = if e.agreed { "yes" } else { "not yet" }.to_owned();
            let status = match e.status.as_str() {
                "merged" => format!("merged into {}", e.merged_into),
                "delisted" => format!("delisted: {}", e.ground.replace('_', " ")),
                other => other.to_owned(),
            };
            vec![
                e.id.clone(),
                status,
                agreed,
                e.subject_kind.clone(),
                e.proposer.clone(),
                consents(e, ","),
                e.in_force().to_string(),
                listed,
                e.subject.clone(),
            ]
        });
        let headings = ["ENTRY", "STATUS", "AGREED", "KIND", "PROPOSER", "CONSENTS", "MEASURES", "LISTED", "SUBJECT"];
        table(style, &headings, rows.collect())
    })?;
    if more {
        session.output.note(&format!("there are more than {limit}: ask for more with --limit"));
    }
    Ok(())
}

/// An entry as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct EntryView {
    id: String,
    status: String,
    ground: String,
    merged_into: String,
    end_time: Option<String>,
    proposer: String,
    ballot: String,
    proposal: String,
    consents: Vec<String>,
    silent: Vec<String>,
    absent: Vec<String>,
    list_time: Option<String>,
    review_due_time: Option<String>,
    agreed: bool,
    subject: String,
    subject_kind: String,
    measures: Vec<MeasureView>,
    measures_in_force: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_part: Option<Value>,
    public_leaf: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    history: Vec<u64>,
}

impl EntryView {
    fn in_force(&self) -> usize {
        self.measures_in_force
    }
}

#[derive(Debug, Clone, Serialize)]
struct EntriesView {
    entries: Vec<EntryView>,
}

impl From<v1::Entry> for EntryView {
    fn from(entry: v1::Entry) -> Self {
        let measures: Vec<MeasureView> = entry.measures.into_iter().map(MeasureView::from).collect();
        Self {
            measures_in_force: measures.iter().filter(|measure| measure.is_in_force()).count(),
            measures,
            list_time: when::rfc3339(entry.list_time.as_ref()),
            end_time: when::rfc3339(entry.end_time.as_ref()),
            review_due_time: when::rfc3339(entry.review_due_time.as_ref()),
            public_part: wire::embedded(&entry.public_part),
            id: entry.id,
            status: entry.status,
            ground: entry.ground,
            merged_into: entry.merged_into,
            proposer: entry.proposer,
            ballot: entry.ballot,
            proposal: entry.proposal,
            consents: entry.consents,
            silent: entry.silent,
            absent: entry.absent,
            agreed: entry.agreed,
            subject: entry.subject,
            subject_kind: entry.subject_kind,
            public_leaf: entry.public_leaf,
            history: entry.history,
        }
    }
}

//! Records: what the nouns `proposal`, `incident`, `evidence` and `opinion` have in common.

pub(crate) mod evidence;
pub(crate) mod incident;
pub(crate) mod opinion;
pub(crate) mod proposal;
mod view;

use clap::Args;
use comity_core::document::Document;
use comity_core::list::Command;
use comity_core::{MemberId, RecordId, RecordKind};
use comity_proto::v1;

use crate::approve;
use crate::connection::Node;
use crate::documents;
use crate::draft_file;
use crate::failure::Failure;
use crate::output::Format;
use crate::page::{Page, clean, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::tabled::Tabled;
use crate::when::Until;
use crate::{when, wire};
use view::{RecordView, RecordsView};

/// The records to share, and with whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct ShareOptions {
    /// The records; all of them are shared, or none
    #[arg(required = true, value_name = "ID")]
    ids: Vec<RecordId>,
    /// The partners, by code
    #[arg(long, value_name = "PARTY", value_delimiter = ',', required = true)]
    with: Vec<MemberId>,
    /// Until when; for good unless it is said: an instant, a last day, or how long from now, as 90d
    #[arg(long, value_name = "WHEN")]
    until: Option<Until>,
}

/// How many of a list to show.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListOptions {
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    limit: u32,
}

/// The noun of a kind, as it stands in commands.
fn noun(kind: RecordKind) -> &'static str {
    match kind {
        RecordKind::Proposal => "proposal",
        RecordKind::Opinion => "opinion",
        RecordKind::Incident => "incident",
        RecordKind::Evidence => "evidence",
        RecordKind::Request | RecordKind::Grant => "release",
        RecordKind::Recall => "recall",
    }
}

/// The noun that shows a record.
pub(crate) fn show_command(id: RecordId) -> String {
    match id.kind() {
        RecordKind::Request | RecordKind::Grant => "comity release list".to_owned(),
        RecordKind::Recall => format!("comity recall status {id}"),
        kind => format!("comity {} show {id}", noun(kind)),
    }
}

pub(crate) fn asked(id: RecordId) -> Asked {
    Asked::about(format!("{} {id}", id.kind()), show_command(id))
}

/// Refuses an id of another kind before anything is asked.
fn ensure_kind(kind: RecordKind, id: RecordId) -> Result<(), Failure> {
    if id.kind() == kind {
        return Ok(());
    }
    Err(Failure::usage(format!("{id} is a {}, not a {kind}", id.kind())).next(show_command(id)))
}

fn wire_kind(kind: RecordKind) -> v1::RecordKind {
    match kind {
        RecordKind::Proposal => v1::RecordKind::Proposal,
        RecordKind::Opinion => v1::RecordKind::Opinion,
        RecordKind::Incident => v1::RecordKind::Incident,
        RecordKind::Evidence => v1::RecordKind::Evidence,
        RecordKind::Request => v1::RecordKind::Request,
        RecordKind::Grant => v1::RecordKind::Grant,
        RecordKind::Recall => v1::RecordKind::Recall,
    }
}

fn read_document(kind: RecordKind, source: &str, verb: &str) -> Result<Document, Failure> {
    draft_file::read(kind, source)
        .map_err(|e| Failure::error(e).next(format!("comity {} {verb} --example", noun(kind))))
}

fn only_checked(session: &mut Session<'_>, document: &Document) -> Result<(), Failure> {
    let json = wire::embedded(&document.to_json());
    session.output.show(&json, |style| {
        let mut page = Page::new(style);
        page.heading(&document.title());
        documents::document(&mut page, document);
        page.finish()
    })?;
    session.output.note("the document is valid; nothing was sent (--dry-run)");
    Ok(())
}

/// Stores a draft and tells what to try next.
pub(crate) async fn create(
    session: &mut Session<'_>,
    document: &Document,
    request_id: Option<String>,
) -> Result<(), Failure> {
    let node = session.node().await?;
    let request_id = request_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let kind = document.kind();
    let request = v1::CreateRecordRequest { document: document.to_json(), request_id, kind: wire_kind(kind).into() };
    let verb = if kind == RecordKind::Proposal { "draft" } else { "add" };
    let asked = Asked::about("draft", format!("comity {} {verb} --example", noun(kind)));
    let created = node.records().create_record(request).await.map_err(|s| asked.refused(s))?.into_inner();
    let view = RecordView::from(created);
    session.output.show(&view, |_| format!("{}  {}  drafted: {}", view.id, view.banner, clean(&view.title)))?;
    let mut next = format!("next:  comity {} share {} --with PARTY", noun(kind), view.id);
    if kind == RecordKind::Proposal {
        next.push_str(&format!(", or  comity proposal table {}", view.id));
    }
    session.output.note(&next);
    Ok(())
}

async fn edit(
    session: &mut Session<'_>,
    id: RecordId,
    etag: Option<String>,
    document: &Document,
) -> Result<(), Failure> {
    let node = session.node().await?;
    let etag = match etag {
        Some(etag) => etag,
        None => get(&node, id).await?.etag,
    };
    let request = v1::UpdateRecordRequest { id: id.to_string(), etag, document: document.to_json() };
    let updated = node.records().update_record(request).await.map_err(|s| asked(id).refused(s))?.into_inner();
    let view = RecordView::from(updated);
    session.output.show(&view, |_| format!("{}  {}  changed: version {}", view.id, view.banner, view.etag))
}

async fn get(node: &Node, id: RecordId) -> Result<v1::Record, Failure> {
    let asked = Asked::about(format!("{} {id}", id.kind()), format!("comity {} list", noun(id.kind())));
    let request = v1::GetRecordRequest { id: id.to_string() };
    Ok(node.records().get_record(request).await.map_err(|s| asked.refused(s))?.into_inner())
}

async fn show(session: &mut Session<'_>, kind: RecordKind, id: RecordId) -> Result<(), Failure> {
    ensure_kind(kind, id)?;
    let record = get(&session.node().await?, id).await?;
    let view = RecordView::from(record.clone());
    session.output.show(&view, |style| view::page(style, &view, &record, kind))
}

async fn list(
    session: &mut Session<'_>,
    kind: RecordKind,
    about: Option<RecordId>,
    options: &ListOptions,
) -> Result<(), Failure> {
    let client = session.node().await?.records();
    let asked = Asked::about(format!("{kind} records"), "comity node status");
    let limit = options.limit as usize;
    let about = about.map(|about| about.to_string()).unwrap_or_default();
    let (records, more) = wire::collect(limit, |page_size, page_token| {
        let (mut client, asked, about) = (client.clone(), asked.clone(), about.clone());
        async move {
            let request = v1::ListRecordsRequest { page_size, page_token, kind: wire_kind(kind).into(), about };
            let page = client.list_records(request).await.map_err(|s| asked.refused(s))?.into_inner();
            Ok((page.records, page.next_page_token))
        }
    })
    .await?;
    let changed: Vec<String> = records.iter().map(|p| when::local(p.update_time.as_ref())).collect();
    let view = RecordsView { records: records.into_iter().map(RecordView::from).collect() };
    session.output.show(&view, |style| {
        let rows = view.records.iter().zip(changed).map(|(r, changed)| {
            let shared = r.shared_with.join(",");
            vec![r.id.clone(), r.state.clone(), r.banner.clone(), shared, changed, r.title.clone()]
        });
        table(style, &["ID", "STATE", "MARKING", "SHARED WITH", "CHANGED", "TITLE"], rows.collect())
    })?;
    if more {
        session.output.note(&format!("there are more than {limit}: ask for more with --limit"));
    }
    Ok(())
}

async fn share(session: &mut Session<'_>, kind: RecordKind, options: ShareOptions) -> Result<(), Failure> {
    let node = session.node().await?;
    let mut records = Vec::with_capacity(options.ids.len());
    for id in &options.ids {
        ensure_kind(kind, *id)?;
        // The version that is shared is the one that there is now: whoever approves looks at it.
        let etag = get(&node, *id).await?.etag;
        records.push(v1::RecordVersion { id: id.to_string(), etag });
    }
    let parties = options.with.iter().map(ToString::to_string).collect();
    let until = options.until.map(Until::to_proto);
    let request = v1::ShareRecordsRequest { records, parties, until };
    let asked = match options.ids.as_slice() {
        [id] => asked(*id),
        ids => Asked::about(format!("{} records", ids.len()), format!("comity {} list", noun(kind))),
    };
    let approval = node.records().share_records(request).await.map_err(|s| asked.refused(s))?;
    // Sharing is this member's own affair: nobody signs a command for it.
    approve::deferred(session, &node, approval.into_inner(), |_| false).await
}

async fn withdraw(session: &mut Session<'_>, kind: RecordKind, id: RecordId, yes: bool) -> Result<(), Failure> {
    ensure_kind(kind, id)?;
    session.confirm(&format!("{id} will be withdrawn, which cannot be undone"), &id.to_string(), yes)?;
    let node = session.node().await?;
    let etag = get(&node, id).await?.etag;
    let request = v1::WithdrawRecordRequest { id: id.to_string(), etag };
    let answer = node.records().withdraw_record(request).await.map_err(|s| asked(id).refused(s))?.into_inner();
    match answer.result {
        Some(v1::withdraw_record_response::Result::Approval(approval)) => {
            // The node finds the ballot of a proposal that is tabled: that it is this one's says what the ballot's id stands for.
            let tabled = approval.tabled.clone();
            let is_asked = |command: &Command| match command {
                Command::Withdraw(c) => {
                    Tabled::read(&node, c.ballot, tabled.as_ref()).is_ok_and(|tabled| tabled.proposal() == Some(id))
                }
                _ => false,
            };
            approve::deferred(session, &node, approval, is_asked).await
        }
        Some(v1::withdraw_record_response::Result::Record(record)) => {
            let view = RecordView::from(record);
            session.output.show(&view, |_| format!("{}  {}", view.id, view.state))
        }
        None => Err(Failure::error(format!("{id}: the node's answer says nothing")).next(show_command(id))),
    }
}

/// A draft on stdout, to be edited and read back by `proposal draft -f -`.
pub(crate) fn print_draft(
    session: &mut Session<'_>,
    document: &comity_core::proposal::Proposal,
) -> Result<(), Failure> {
    match session.output.format() {
        Format::Table => {
            let yaml = crate::output::yaml(document)?;
            session.output.line(&yaml)
        }
        Format::Json | Format::Yaml => session.output.show(document, |_| String::new()),
    }
}

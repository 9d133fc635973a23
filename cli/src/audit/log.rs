//! `comity audit log`.

use comity_proto::v1;
use serde::Serialize;

use super::LogFilter;
use crate::failure::Failure;
use crate::page::table;
use crate::refusal::Asked;
use crate::session::Session;
use crate::when::{self, When};
use crate::wire;

pub(crate) async fn run(session: &mut Session<'_>, filter: LogFilter) -> Result<(), Failure> {
    let limit = filter.limit as usize;
    let client = session.node().await?.audit();
    let asked = Asked::about("access log", "comity node status");
    let wanted = v1::ListAccessRecordsRequest {
        page_size: 0,
        page_token: String::new(),
        who: filter.who,
        member: filter.member.map(|m| m.to_string()).unwrap_or_default(),
        action: filter.action,
        outcome: filter.outcome.map(|o| o.as_str().to_owned()).unwrap_or_default(),
        resource: filter.resource,
        since: filter.since.map(When::to_proto),
        until: filter.until.map(When::to_proto),
    };
    let (records, more) = wire::collect(limit, |page_size, page_token| {
        let (mut client, asked) = (client.clone(), asked.clone());
        let request = v1::ListAccessRecordsRequest { page_size, page_token, ..wanted.clone() };
        async move {
            let page = client.list_access_records(request).await.map_err(|s| asked.refused(s))?.into_inner();
            Ok((page.records, page.next_page_token))
        }
    })
    .await?;
    let times: Vec<String> = records.iter().map(|r| when::local(r.time.as_ref())).collect();
    let view = RecordsView { records: records.into_iter().map(RecordView::from).collect() };
    session.output.show(&view, |style| {
        let rows = view.records.iter().zip(times).map(|(record, time)| {
            let who = match (record.who.as_str(), record.from.as_str()) {
                ("", from) => from.to_owned(),
                (who, _) => format!("{} {}", record.member, wire::short_id(who)),
            };
            let action =
                if record.count > 1 { format!("{} x{}", record.action, record.count) } else { record.action.clone() };
            let reason = if record.reason.is_empty() { "-".to_owned() } else { record.reason.clone() };
            let touched = record.touched.iter().map(TouchedView::line).collect::<Vec<_>>().join(", ");
            vec![record.leaf.to_string(), time, who, action, record.outcome.clone(), reason, touched]
        });
        table(style, &["LEAF", "TIME", "WHO", "ACTION", "OUTCOME", "REASON", "TOUCHED"], rows.collect())
    })?;
    if more {
        session.output.note(&format!(
            "there are more than {limit}: narrow it with --since or --resource, or ask for more with --limit"
        ));
    }
    Ok(())
}

/// An access as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct RecordView {
    leaf: u64,
    time: Option<String>,
    who: String,
    member: String,
    from: String,
    action: String,
    outcome: String,
    reason: String,
    touched: Vec<TouchedView>,
    request_id: String,
    count: u64,
}

#[derive(Debug, Clone, Serialize)]
struct TouchedView {
    resource: String,
    version: String,
    view: String,
    because: Vec<String>,
}

impl TouchedView {
    fn line(&self) -> String {
        let view = if self.view.is_empty() { String::new() } else { format!(" {}", self.view) };
        let because = if self.because.is_empty() { String::new() } else { format!(" [{}]", self.because.join(" ")) };
        format!("{}{view}{because}", self.resource)
    }
}

#[derive(Debug, Clone, Serialize)]
struct RecordsView {
    records: Vec<RecordView>,
}

impl From<v1::AccessRecord> for RecordView {
    fn from(record: v1::AccessRecord) -> Self {
        let touched = record.touched.into_iter().map(|t| TouchedView {
            resource: t.resource,
            version: t.version,
            view: t.view,
            because: t.because,
        });
        Self {
            time: when::rfc3339(record.time.as_ref()),
            touched: touched.collect(),
            leaf: record.leaf,
            who: record.who,
            member: record.member,
            from: record.from,
            action: record.action,
            outcome: record.outcome,
            reason: record.reason,
            request_id: record.request_id,
            count: record.count,
        }
    }
}

//! `comity audit log`.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Duration;

use clap::Args;
use comity_proto::v1;
use serde::Serialize;

use super::filter::Filter;
use super::walk::{Reach, note_archived, walk};
use crate::failure::Failure;
use crate::output::Format;
use crate::page::{one_line, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::{when, wire};

/// So many records are shown unless another number is asked for.
const LIMIT: u32 = 100;
/// So many of what one access touched are shown in a table; `-o json` has all.
const TOUCHED_SHOWN: usize = 4;

/// Which accesses are shown, in which order, and how many.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogOptions {
    #[command(flatten)]
    filter: Filter,
    /// At most so many [default: 100; without an end with --follow]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    limit: Option<u32>,
    /// The oldest first [default: the newest]
    #[arg(long)]
    oldest_first: bool,
    /// Show what is added, as it is: since --since or, without it, from now on
    #[arg(short, long)]
    follow: bool,
    /// With --follow, give up once the node was out of reach for so long
    #[arg(long, default_value_t = 3_600, value_parser = clap::value_parser!(u64).range(1..=31_536_000), value_name = "SECONDS")]
    patience_s: u64,
}

pub(crate) async fn run(session: &mut Session<'_>, options: LogOptions) -> Result<(), Failure> {
    if options.follow {
        return follow(session, options).await;
    }
    let limit = options.limit.unwrap_or(LIMIT) as usize;
    let (records, more) = if options.oldest_first {
        oldest(session, &options.filter, limit).await?
    } else {
        newest(session, &options.filter, limit).await?
    };
    let view = RecordsView { records: records.into_iter().map(RecordView::from).collect() };
    session
        .output
        .show(&view, |style| table(style, &HEADINGS, view.records.iter().map(RecordView::cells).collect()))?;
    if more {
        session.output.note(&format!(
            "there are more than {limit}: narrow it with --since or --record, or ask for more with --limit"
        ));
    }
    Ok(())
}

async fn newest(
    session: &mut Session<'_>,
    filter: &Filter,
    limit: usize,
) -> Result<(Vec<v1::AccessRecord>, bool), Failure> {
    let node = session.node().await?;
    let (client, wanted) = (node.audit(), filter.to_proto(&node)?);
    let asked = Asked::about("access log", "comity node status");
    let archived = Cell::new(0);
    let found = wire::collect(limit, |page_size, page_token| {
        let (mut client, asked, archived) = (client.clone(), asked.clone(), &archived);
        let request = v1::ListAccessRecordsRequest { page_size, page_token, filter: Some(wanted.clone()) };
        async move {
            let page = client.list_access_records(request).await.map_err(|s| asked.refused(s))?.into_inner();
            archived.set(page.archived);
            Ok((page.records, page.next_page_token))
        }
    })
    .await?;
    note_archived(session, archived.get());
    Ok(found)
}

async fn oldest(
    session: &mut Session<'_>,
    filter: &Filter,
    limit: usize,
) -> Result<(Vec<v1::AccessRecord>, bool), Failure> {
    let (mut records, mut more) = (Vec::new(), false);
    walk(session, filter, Reach::Present, |_, record| {
        more = records.len() >= limit;
        if more {
            return Ok(ControlFlow::Break(()));
        }
        records.push(record);
        Ok(ControlFlow::Continue(()))
    })
    .await?;
    Ok((records, more))
}

async fn follow(session: &mut Session<'_>, options: LogOptions) -> Result<(), Failure> {
    let mut left = options.limit.map(u64::from).unwrap_or(u64::MAX);
    let reach = Reach::Follow { patience: Duration::from_secs(options.patience_s) };
    if session.output.format() == Format::Table {
        session.output.line(&line(&HEADINGS.map(str::to_owned)))?;
        session.output.flush()?;
    }
    walk(session, &options.filter, reach, |session, record| {
        let view = RecordView::from(record);
        let text = match session.output.format() {
            Format::Table => line(&view.cells()),
            Format::Json => crate::page::clean_json(
                &serde_json::to_string(&view)
                    .map_err(|e| Failure::error(format!("the record cannot be written as JSON: {e}")))?,
            ),
            Format::Yaml => format!("---\n{}", crate::output::yaml(&view)?),
        };
        session.output.line(&text)?;
        session.output.flush()?;
        left -= 1;
        Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
    .await
}

const HEADINGS: [&str; 7] = ["LEAF", "TIME", "WHO", "ACTION", "OUTCOME", "REASON", "TOUCHED"];
/// How wide the columns are where rows come one after another, in characters.
const WIDTHS: [usize; 7] = [8, 25, 22, 32, 7, 14, 0];

/// A row that does not know those after it.
fn line<T: AsRef<str>>(cells: &[T]) -> String {
    let cells = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{:<width$}", one_line(cell.as_ref())));
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// An access as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct RecordView {
    leaf: u64,
    time: Option<String>,
    who: String,
    role: String,
    member: String,
    from: String,
    action: String,
    outcome: String,
    reason: String,
    touched: Vec<TouchedView>,
    request_id: String,
    count: u64,
    #[serde(skip)]
    stated: String,
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

impl RecordView {
    /// One line each, whatever was logged.
    fn cells(&self) -> Vec<String> {
        let who = match (self.who.as_str(), self.from.as_str()) {
            ("", from) => from.to_owned(),
            (who, _) => format!("{} {}", self.member, wire::short_id(who)),
        };
        let action = if self.count > 1 { format!("{} x{}", self.action, self.count) } else { self.action.clone() };
        let reason = if self.reason.is_empty() { "-" } else { &self.reason };
        let mut touched: Vec<String> = self.touched.iter().take(TOUCHED_SHOWN).map(TouchedView::line).collect();
        if self.touched.len() > TOUCHED_SHOWN {
            touched.push(format!("and {} more", self.touched.len() - TOUCHED_SHOWN));
        }
        let cells = [&self.leaf.to_string(), &self.stated, &who, &action, &self.outcome, reason, &touched.join(", ")];
        cells.map(one_line).to_vec()
    }
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
            stated: when::core_instant(record.time.as_ref()).map(|at| when::stated(at.to_jiff())).unwrap_or_default(),
            touched: touched.collect(),
            leaf: record.leaf,
            who: record.who,
            role: record.role,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> RecordView {
        let words = "x\n99  2026-01-01 00:00:00+00:00  FR admin/ops-1\x1b[2J\u{9b}\u{202e}";
        RecordView::from(v1::AccessRecord {
            leaf: 7,
            time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            who: words.into(),
            member: words.into(),
            from: words.into(),
            action: words.into(),
            outcome: words.into(),
            reason: words.into(),
            touched: vec![v1::TouchedResource { resource: words.into(), view: words.into(), ..Default::default() }; 9],
            ..Default::default()
        })
    }

    #[test]
    fn whatever_was_logged_is_one_line_that_drives_no_terminal() {
        let view = hostile();
        let shown = table(&crate::page::Style { colour: false, is_terminal: false }, &HEADINGS, vec![view.cells()]);
        for text in [line(&view.cells()), shown.lines().nth(1).unwrap().to_owned()] {
            assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
            assert!(text.contains("\\u{a}99") && text.contains("and 5 more"), "{text}");
        }
        assert_eq!(shown.lines().count(), 2, "{shown}");
    }

    #[test]
    fn a_row_shows_its_offset_from_utc() {
        let cells = hostile().cells();
        assert!(cells[1].starts_with("2027-01-15 ") && cells[1].as_bytes()[19..].len() == 6, "{}", cells[1]);
    }
}

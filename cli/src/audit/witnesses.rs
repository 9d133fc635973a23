//! `comity audit witnesses` and `comity audit conflicts`: who cosigns the access log, how far, and what others' logs contradict.

use comity_core::checkpoint::SignedCheckpoint;
use comity_proto::v1;
use serde::Serialize;

use crate::failure::Failure;
use crate::node_status::WitnessView;
use crate::page::{Page, Style, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::when::{self, span};

pub(crate) async fn run(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about("access log", "comity node status");
    let status = node.node().get_node_status(v1::GetNodeStatusRequest {}).await.map_err(|s| asked.refused(s))?;
    let view = WitnessesView::from(status.into_inner());
    session.output.show(&view, |style| page(style, &view))?;
    if view.conflicts > 0 {
        session.output.note(&format!(
            "{} heads of others' logs contradict what was cosigned: comity audit conflicts",
            view.conflicts
        ));
    }
    Ok(())
}

fn page(style: &Style, view: &WitnessesView) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("The access log of {}", view.member));
    page.field("leaves", view.leaves.to_string());
    if view.incarnation > 1 {
        page.field("incarnation", format!("{}: it was restored", view.incarnation));
    }
    page.field(
        "witnessed",
        format!("{} leaves, by at least {} of {} members", view.witnessed, view.needed, view.witnesses.len()),
    );
    page.field("offered", format!("every {} s while it grows", view.interval_seconds));
    let mut text = page.finish();
    if !view.witnesses.is_empty() {
        let rows = view.witnesses.iter().map(|witness| {
            let size = witness.size.map_or_else(|| "never".to_owned(), |size| size.to_string());
            let behind = witness.size.map_or(view.leaves, |size| view.leaves.saturating_sub(size));
            let problem = if witness.problem.is_empty() { "-".to_owned() } else { witness.problem.clone() };
            vec![witness.member.clone(), size, behind.to_string(), ago(witness.cosigned_seconds), problem]
        });
        text.push('\n');
        text.push_str(&table(style, &["MEMBER", "COSIGNED UP TO", "BEHIND BY", "WHEN", "PROBLEM"], rows.collect()));
        text.push('\n');
    }
    if !view.others.is_empty() {
        let mut page = Page::new(style);
        page.heading("Logs of others that this node cosigns");
        text.push('\n');
        text.push_str(&page.finish());
        let rows = view.others.iter().map(|log| {
            vec![log.member.clone(), log.incarnation.to_string(), log.size.to_string(), ago(log.cosigned_seconds)]
        });
        text.push_str(&table(style, &["MEMBER", "INCARNATION", "COSIGNED UP TO", "WHEN"], rows.collect()));
    }
    text
}

fn ago(seconds: i64) -> String {
    if seconds < 0 { "not since the start".to_owned() } else { format!("{} ago", span(seconds)) }
}

pub(crate) async fn conflicts(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about("access log", "comity node status");
    let answer = node.audit().list_witness_conflicts(v1::ListWitnessConflictsRequest {}).await;
    let answer = answer.map_err(|s| asked.refused(s))?.into_inner();
    let view = ConflictsView { conflicts: answer.conflicts.into_iter().map(ConflictView::from).collect() };
    session.output.show(&view, |style| {
        let rows = view.conflicts.iter().map(|conflict| {
            let words = match conflict.why.as_str() {
                "other_root" => "another history of the same length",
                "not_continued" => "does not continue what was cosigned",
                "not_declared" => "restored, and the declared loss leaves out what was cosigned",
                other => other,
            };
            let size = |size: Option<u64>| size.map_or_else(|| "unreadable".to_owned(), |size| size.to_string());
            vec![
                conflict.time.clone().unwrap_or_default(),
                conflict.member.clone(),
                size(conflict.known_size),
                size(conflict.offered_size),
                words.to_owned(),
            ]
        });
        table(style, &["TIME", "MEMBER", "COSIGNED", "OFFERED", "WHAT IS WRONG"], rows.collect())
    })?;
    if view.conflicts.is_empty() {
        session.output.note("none: every head that was offered continued what was cosigned");
    } else {
        session
            .output
            .note("both heads of each, as the log's own key signed them, are in -o json: they prove it to anybody");
    }
    Ok(())
}

#[derive(Debug, Clone, Serialize)]
struct WitnessesView {
    member: String,
    leaves: u64,
    incarnation: u64,
    /// How many leaves the newest head has that enough members cosigned.
    witnessed: u64,
    needed: u32,
    interval_seconds: u32,
    witnesses: Vec<WitnessView>,
    others: Vec<OtherView>,
    conflicts: u64,
}

#[derive(Debug, Clone, Serialize)]
struct OtherView {
    member: String,
    incarnation: u64,
    size: u64,
    cosigned_seconds: i64,
}

impl From<v1::NodeStatus> for WitnessesView {
    fn from(status: v1::NodeStatus) -> Self {
        let others = status.witnessed.into_iter().map(|log| OtherView {
            member: log.member,
            incarnation: log.incarnation,
            size: log.size,
            cosigned_seconds: log.cosigned_seconds,
        });
        Self {
            others: others.collect(),
            member: status.member,
            leaves: status.access_log_size,
            incarnation: status.access_log_incarnation,
            witnessed: status.access_log_witnessed,
            needed: status.witnesses_needed,
            interval_seconds: status.checkpoint_interval_seconds,
            witnesses: status.witnesses.into_iter().map(WitnessView::from).collect(),
            conflicts: status.witness_conflicts,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct ConflictsView {
    conflicts: Vec<ConflictView>,
}

#[derive(Debug, Clone, Serialize)]
struct ConflictView {
    member: String,
    why: String,
    time: Option<String>,
    known_size: Option<u64>,
    offered_size: Option<u64>,
    /// C2SP signed notes, exactly.
    known: String,
    offered: String,
}

impl From<v1::WitnessConflict> for ConflictView {
    fn from(conflict: v1::WitnessConflict) -> Self {
        let size = |note: &[u8]| SignedCheckpoint::from_bytes(note).ok().map(|note| note.checkpoint.size);
        Self {
            known_size: size(&conflict.known),
            offered_size: size(&conflict.offered),
            time: when::rfc3339(conflict.time.as_ref()),
            member: conflict.member,
            why: conflict.why,
            known: String::from_utf8_lossy(&conflict.known).into_owned(),
            offered: String::from_utf8_lossy(&conflict.offered).into_owned(),
        }
    }
}

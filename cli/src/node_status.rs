//! `comity node`: how the node is.

use clap::Subcommand;
use comity_proto::v1;
use serde::Serialize;

use crate::failure::Failure;
use crate::page::{Page, Style, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::when::span;

/// The verbs of `comity node`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum NodeCommand {
    /// Show the node's state: list, access log, how far partners are behind
    Status,
    /// Exchange the key that wraps the keys of records for a fresh one, while the node serves
    ///
    /// The new key is in the key file before anything is wrapped with it, and the old one goes out of it at the end: back the
    /// file up afterwards. What is cut short goes on when the node starts.
    RotateStoreKey,
}

pub(crate) async fn run(command: NodeCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    if let NodeCommand::RotateStoreKey = command {
        let asked = Asked::about("store key", "comity node status");
        let rotated = node.node().rotate_store_key(v1::RotateStoreKeyRequest {}).await.map_err(|s| asked.refused(s))?;
        let view = RotatedView { wrapped: rotated.into_inner().wrapped };
        session.output.show(&view, |_| format!("exchanged; {} keys of records wrapped anew", view.wrapped))?;
        session.output.note("back up the key file now: without it the store does not open");
        return Ok(());
    }
    let asked = Asked::about("node", "comity context check");
    let status =
        node.node().get_node_status(v1::GetNodeStatusRequest {}).await.map_err(|s| asked.refused(s))?.into_inner();
    let view = NodeView::from(status);
    session.output.show(&view, |style| page(style, &view))?;
    if !view.access_log_healthy {
        session.output.note("the access log cannot be written: the node refuses every access until it can");
    }
    if view.leader.is_empty() && !view.recipient {
        session.output.note("no leader is known: too few members' nodes reach one another to decide anything");
    }
    Ok(())
}

fn page(style: &Style, view: &NodeView) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("Node of {}, version {}", view.member, view.version));
    page.field("federation", &view.federation);
    page.field("you are", &view.caller);
    page.field("up", span(view.uptime_seconds));
    if view.recipient {
        page.field("part", "receives; has no vote and holds no list");
        let roster = match view.commands {
            0 => "that of the genesis".to_owned(),
            commands => format!("as of command {commands} of the list, as this node was given it"),
        };
        page.field("roster", roster);
    } else {
        let leader = match view.leader.as_str() {
            "" => "none is known".to_owned(),
            leader => format!("{leader}, term {}", view.term),
        };
        page.field("leader", leader);
        page.field("commands", view.commands.to_string());
        page.field("publications", format!("{}, of which {} agreed", view.publications, view.agreed_publications));
    }
    let healthy = if view.access_log_healthy { "healthy" } else { "CANNOT BE WRITTEN" };
    page.field("access log", format!("{healthy}, {} leaves", view.access_log_size));
    let mut text = page.finish();
    if !view.peers.is_empty() {
        let rows = view.peers.iter().map(|peer| {
            let ago = |seconds: i64| if seconds < 0 { "never".into() } else { format!("{} ago", span(seconds)) };
            let problem = if peer.problem.is_empty() { "-".to_owned() } else { peer.problem.clone() };
            let incoming = if peer.up_to_date { "up to date" } else { "not yet" };
            vec![
                peer.member.clone(),
                peer.endpoint.clone(),
                peer.queued.to_string(),
                peer.unacknowledged.to_string(),
                ago(peer.last_receipt_seconds),
                format!("{incoming}, heard {}", ago(peer.last_heard_seconds)),
                peer.copies.to_string(),
                problem,
            ]
        });
        text.push('\n');
        let headings = ["PARTNER", "ENDPOINT", "QUEUED", "UNRECEIPTED", "LAST RECEIPT", "FROM IT", "COPIES", "PROBLEM"];
        text.push_str(&table(style, &headings, rows.collect()));
    }
    text
}

#[derive(Debug, Clone, Serialize)]
struct NodeView {
    version: String,
    member: String,
    federation: String,
    caller: String,
    leader: String,
    term: u64,
    commands: u64,
    publications: u64,
    agreed_publications: u64,
    access_log_healthy: bool,
    access_log_size: u64,
    peers: Vec<PeerView>,
    uptime_seconds: i64,
    /// It receives, and holds no list.
    recipient: bool,
}

#[derive(Debug, Clone, Serialize)]
struct PeerView {
    member: String,
    endpoint: String,
    /// What waits to be decided on for it.
    queued: i64,
    /// What was released and it has not acknowledged.
    unacknowledged: i64,
    last_receipt_seconds: i64,
    last_heard_seconds: i64,
    up_to_date: bool,
    copies: i64,
    problem: String,
}

#[derive(Debug, Clone, Serialize)]
struct RotatedView {
    wrapped: u64,
}

impl From<v1::NodeStatus> for NodeView {
    fn from(status: v1::NodeStatus) -> Self {
        let peers = status.peers.into_iter().map(|peer| PeerView {
            member: peer.member,
            endpoint: peer.endpoint,
            queued: peer.queued,
            unacknowledged: peer.unacknowledged,
            last_receipt_seconds: peer.last_receipt_seconds,
            last_heard_seconds: peer.last_heard_seconds,
            up_to_date: peer.up_to_date,
            copies: peer.copies,
            problem: peer.problem,
        });
        Self {
            peers: peers.collect(),
            version: status.version,
            member: status.member,
            federation: status.federation,
            caller: status.caller,
            leader: status.leader,
            term: status.term,
            commands: status.commands,
            publications: status.publications,
            agreed_publications: status.agreed_publications,
            access_log_healthy: status.access_log_healthy,
            access_log_size: status.access_log_size,
            uptime_seconds: status.uptime_seconds,
            recipient: status.recipient,
        }
    }
}

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
    /// Show the node's state: list, access log, partners
    Status,
}

pub(crate) async fn run(command: NodeCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    let NodeCommand::Status = command;
    let node = session.node().await?;
    let asked = Asked::about("node", "comity context check");
    let status =
        node.node().get_node_status(v1::GetNodeStatusRequest {}).await.map_err(|s| asked.refused(s))?.into_inner();
    let view = NodeView::from(status);
    session.output.show(&view, |style| page(style, &view))?;
    if !view.access_log_healthy {
        session.output.note("the access log cannot be written: the node refuses every access until it can");
    }
    if view.leader.is_empty() {
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
    page.field(
        "leader",
        if view.leader.is_empty() { "none is known".into() } else { format!("{}, term {}", view.leader, view.term) },
    );
    page.field("commands", view.commands.to_string());
    page.field("publications", format!("{}, of which {} agreed", view.publications, view.agreed_publications));
    let healthy = if view.access_log_healthy { "healthy" } else { "CANNOT BE WRITTEN" };
    page.field("access log", format!("{healthy}, {} leaves", view.access_log_size));
    let mut text = page.finish();
    if !view.peers.is_empty() {
        let rows = view.peers.iter().map(|peer| {
            let pulled = if peer.last_pull_seconds < 0 {
                "never".into()
            } else {
                format!("{} ago", span(peer.last_pull_seconds))
            };
            let problem = if peer.problem.is_empty() { "-".to_owned() } else { peer.problem.clone() };
            vec![peer.member.clone(), peer.endpoint.clone(), pulled, peer.unacknowledged.to_string(), problem]
        });
        text.push('\n');
        text.push_str(&table(style, &["PARTNER", "ENDPOINT", "LAST PULL", "WAITING", "PROBLEM"], rows.collect()));
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
}

#[derive(Debug, Clone, Serialize)]
struct PeerView {
    member: String,
    endpoint: String,
    last_pull_seconds: i64,
    problem: String,
    unacknowledged: i64,
}

impl From<v1::NodeStatus> for NodeView {
    fn from(status: v1::NodeStatus) -> Self {
        let peers = status.peers.into_iter().map(|peer| PeerView {
            member: peer.member,
            endpoint: peer.endpoint,
            last_pull_seconds: peer.last_pull_seconds,
            problem: peer.problem,
            unacknowledged: peer.unacknowledged,
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
        }
    }
}

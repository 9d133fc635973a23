//! `comity node`: how the node is.

use clap::Subcommand;
use comity_proto::v1;
use serde::Serialize;

use crate::connection::Node;
use crate::failure::Failure;
use crate::page::{Page, Style, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::when::{When, span};

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
    /// Go on after the access log was rolled back: declare what is lost, which opens another incarnation of it
    ///
    /// A node that is behind what other members cosigned of its access log serves nothing. If a newer copy of the store is anywhere, put
    /// that back in place of this. If not, this asks that the loss be declared; an approver says yes. The leaf that opens the new
    /// incarnation names what was lost and who declared it, for ever; the other members keep what they saw before.
    ///
    /// Where the whole data folder came from a backup, its consensus.db must not be used any more: Raft's vote and log are never
    /// restored. Move it away and have the members vote on `comity member replace-keys --next-incarnation`.
    #[command(
        after_long_help = "Examples:\n  comity node status\n  comity node restore --declare-loss --reason \"the disk of 14 November failed; restored from the backup of the 13th\"\n  comity approve yes A-7K3M9QXT"
    )]
    Restore {
        /// Say that what is missing is lost
        #[arg(long, required = true)]
        declare_loss: bool,
        /// Why, for those who read the log later
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Move old leaves of the access log into files that prove them
    ///
    /// Each file is a bundle that `comity audit verify FILE` takes, written and read back before its leaves are taken out of the store; a leaf of the log
    /// names it with its digest. Only what enough members cosigned is moved. Proofs and checkpoints do not change, for all hashes stay;
    /// searches do not look into archives. Keep the files: nothing else holds what is in them.
    #[command(
        after_long_help = "Examples:\n  comity node archive --before 365d\n  comity node archive --before 2026-01-01"
    )]
    Archive {
        /// Leaves from before this instant, this day, or so long ago (365d)
        #[arg(long, value_name = "WHEN")]
        before: When,
    },
    /// Serve although too few members have said how far they saw the access log
    ///
    /// Until enough have answered, nobody knows whether the log was rolled back. Whoever overrides that stands in the log with
    /// the reason. A node that is known to be behind is not started by this.
    #[command(
        after_long_help = "Examples:\n  comity node start-unconfirmed --reason \"the line to both partners is cut until Monday\""
    )]
    StartUnconfirmed {
        /// Why, for those who read the log later
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(command: NodeCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        NodeCommand::Status => show(session).await,
        NodeCommand::RotateStoreKey => rotate_store_key(session).await,
        NodeCommand::Restore { declare_loss: _, reason, yes } => restore(session, reason, yes).await,
        NodeCommand::Archive { before } => archive(session, before).await,
        NodeCommand::StartUnconfirmed { reason, yes } => start_unconfirmed(session, reason, yes).await,
    }
}

async fn rotate_store_key(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about("store key", "comity node status");
    let rotated = node.node().rotate_store_key(v1::RotateStoreKeyRequest {}).await.map_err(|s| asked.refused(s))?;
    let view = RotatedView { wrapped: rotated.into_inner().wrapped };
    session.output.show(&view, |_| format!("exchanged; {} keys of records wrapped anew", view.wrapped))?;
    session.output.note("back up the key file now: without it the store does not open");
    Ok(())
}

async fn status_of(node: &Node) -> Result<v1::NodeStatus, Failure> {
    let asked = Asked::about("node", "comity context check");
    Ok(node.node().get_node_status(v1::GetNodeStatusRequest {}).await.map_err(|s| asked.refused(s))?.into_inner())
}

async fn restore(session: &mut Session<'_>, reason: String, yes: bool) -> Result<(), Failure> {
    let node = session.node().await?;
    let status = status_of(&node).await?;
    let lost: Vec<String> = status.lost.iter().map(lost_range).collect();
    if !lost.is_empty() {
        let unheard: Vec<&str> = status.witnesses.iter().filter(|w| w.size < 0).map(|w| w.member.as_str()).collect();
        if !unheard.is_empty() {
            let unheard = unheard.join(", ");
            session.output.note(&format!(
                "{unheard} has not said how far it saw the log: what it saw beyond this is to be declared again"
            ));
        }
        let what = format!("{} will be declared lost, for ever and in the open", lost.join("; "));
        session.confirm(&what, "lost", yes)?;
    }
    let asked = Asked::about("access log", "comity node status");
    let request = v1::DeclareLossRequest { reason };
    let approval = node.node().declare_loss(request).await.map_err(|s| asked.refused(s))?.into_inner();
    crate::approve::deferred(session, &node, approval, |_| false).await
}

async fn start_unconfirmed(session: &mut Session<'_>, reason: String, yes: bool) -> Result<(), Failure> {
    let node = session.node().await?;
    session.confirm("the node will serve although its access log may have been rolled back", "unconfirmed", yes)?;
    let asked = Asked::about("access log", "comity node status");
    node.node().start_unconfirmed(v1::StartUnconfirmedRequest { reason }).await.map_err(|s| asked.refused(s))?;
    session.output.note("the node serves; that you said so, and why, is in its access log");
    Ok(())
}

async fn archive(session: &mut Session<'_>, before: When) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about("access log", "comity node status");
    let (before, mut segments) = (before.to_proto(), Vec::new());
    loop {
        let request = v1::ArchiveLogRequest { before: Some(before) };
        let done = node.node().archive_log(request).await.map_err(|s| asked.refused(s))?.into_inner();
        let Some(segment) = done.segment else { break };
        if done.remaining > 0 {
            session.output.note(&format!("{}; {} leaves to go", segment.file, done.remaining));
        }
        segments.push(SegmentView::from(segment));
    }
    let view = SegmentsView { segments };
    session.output.show(&view, |style| segments_table(style, &view))?;
    if view.segments.is_empty() {
        session.output.note(
            "nothing to archive: what is older is archived, or not cosigned by enough members (comity audit witnesses)",
        );
    }
    Ok(())
}

/// Archived leaves, a file to a row.
pub(crate) fn segments_table(style: &Style, view: &SegmentsView) -> String {
    let rows = view.segments.iter().map(|segment| {
        let there = if segment.is_there { "yes" } else { "MISSING" };
        vec![
            format!("{} to {}", segment.first, segment.last),
            segment.file.clone(),
            there.to_owned(),
            segment.sha256.clone(),
        ]
    });
    table(style, &["LEAVES", "FILE", "THERE", "SHA-256"], rows.collect())
}

/// Archived leaves as `-o json` writes them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SegmentsView {
    pub(crate) segments: Vec<SegmentView>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct SegmentView {
    first: u64,
    pub(crate) last: u64,
    file: String,
    sha256: String,
    is_there: bool,
}

impl From<v1::ArchivedSegment> for SegmentView {
    fn from(segment: v1::ArchivedSegment) -> Self {
        Self {
            first: segment.first,
            last: segment.end.saturating_sub(1),
            sha256: hex::encode(&segment.digest),
            file: segment.file,
            is_there: segment.is_there,
        }
    }
}

fn lost_range(lost: &v1::LostRange) -> String {
    format!("leaves {} to {} of {}", lost.first, lost.end.saturating_sub(1), lost.origin)
}

async fn show(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let view = NodeView::from(status_of(&node).await?);
    session.output.show(&view, |style| page(style, &view))?;
    match view.standing.as_str() {
        "waiting" => session.output.note(&format!(
            "nothing is served yet: {} of {} members have said how far they saw the access log; comity node start-unconfirmed does not wait",
            view.witnesses_heard, view.witnesses_asked
        )),
        "behind" => session.output.note(
            "nothing is served: the access log was rolled back or rewritten. Put the newer store back, or: comity node restore --declare-loss",
        ),
        _ => {}
    }
    if view.witness_conflicts > 0 {
        session.output.note(
            "another member's access log was rewritten: an auditor sees the evidence with comity audit conflicts",
        );
    }
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
    if view.access_log_incarnation > 1 {
        page.field("", format!("incarnation {}: it was restored", view.access_log_incarnation));
    }
    page.field("witnessed", view.witnessed_line());
    page.fields(
        "MISSING",
        view.lost.iter().map(|lost| format!("leaves {} to {} of {}", lost.first, lost.last, lost.origin)),
    );
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
    access_log_incarnation: u64,
    /// How many leaves the newest head has that enough members cosigned.
    access_log_witnessed: u64,
    checkpoint_interval_seconds: u32,
    /// `serving`, `waiting` or `behind`.
    standing: String,
    witnesses_heard: u32,
    witnesses_asked: u32,
    witnesses_needed: u32,
    witnesses: Vec<WitnessView>,
    /// What others saw of the access log and is not here.
    lost: Vec<LostView>,
    /// How many heads of others' access logs contradict what this node had cosigned.
    witness_conflicts: u64,
    peers: Vec<PeerView>,
    uptime_seconds: i64,
    /// It receives, and holds no list.
    recipient: bool,
}

/// How far a member has cosigned the node's access log.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct WitnessView {
    pub(crate) member: String,
    pub(crate) size: Option<u64>,
    pub(crate) cosigned_seconds: i64,
    pub(crate) problem: String,
}

#[derive(Debug, Clone, Serialize)]
struct LostView {
    origin: String,
    first: u64,
    last: u64,
}

impl From<v1::WitnessStatus> for WitnessView {
    fn from(witness: v1::WitnessStatus) -> Self {
        Self {
            member: witness.member,
            size: u64::try_from(witness.size).ok(),
            cosigned_seconds: witness.cosigned_seconds,
            problem: witness.problem,
        }
    }
}

impl NodeView {
    /// How far others have cosigned the access log, in one line.
    fn witnessed_line(&self) -> String {
        if self.witnesses.is_empty() {
            return "nobody else votes: nobody cosigns it".to_owned();
        }
        let behind = self.access_log_size.saturating_sub(self.access_log_witnessed);
        let (needed, of) = (self.witnesses_needed, self.witnesses.len());
        let laggards: Vec<&str> =
            self.witnesses.iter().filter(|w| !w.problem.is_empty()).map(|w| w.member.as_str()).collect();
        let laggards = if laggards.is_empty() { String::new() } else { format!("; not by {}", laggards.join(", ")) };
        format!(
            "{} leaves by {needed} of {of} members, {behind} since; every {} s{laggards}",
            self.access_log_witnessed, self.checkpoint_interval_seconds
        )
    }
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
            access_log_incarnation: status.access_log_incarnation,
            access_log_witnessed: status.access_log_witnessed,
            checkpoint_interval_seconds: status.checkpoint_interval_seconds,
            standing: status.standing,
            witnesses_heard: status.witnesses_heard,
            witnesses_asked: status.witnesses_asked,
            witnesses_needed: status.witnesses_needed,
            witnesses: status.witnesses.into_iter().map(WitnessView::from).collect(),
            lost: status
                .lost
                .into_iter()
                .map(|lost| LostView { origin: lost.origin, first: lost.first, last: lost.end.saturating_sub(1) })
                .collect(),
            witness_conflicts: status.witness_conflicts,
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

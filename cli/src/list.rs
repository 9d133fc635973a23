//! `comity list`: the agreed list, and its proof.

mod export;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;
use comity_proto::v1;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::page::{Page, Style, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::{documents, when, wire};

/// The verbs of `comity list`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ListCommand {
    /// Show an entry: who and what, on whose consent
    Show {
        /// The entry, as CW-2026-0001
        entry: String,
    },
    /// List the entries
    List {
        /// At most so many
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
        limit: u32,
    },
    /// Show how far the list is agreed, and by whom
    Status,
    /// Write the agreed list as one file that proves itself
    #[command(
        after_long_help = "Examples:\n  comity list export -O list.json\n  comity list export --commands -O list.json     # the members' depth: every command, to be replayed\n  comity list verify list.json --genesis genesis.json"
    )]
    Export {
        /// The whole command log too, so that the reader can replay every decision
        #[arg(long)]
        commands: bool,
        /// Where to [default: stdout, unless it is a terminal]
        #[arg(short = 'O', long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file if it is there
        #[arg(long, requires = "out")]
        force: bool,
    },
    /// Verify an exported list offline, from the genesis alone
    ///
    /// Needs no node and no context. Every entry is checked against the signed consents of the members that the genesis
    /// names, and the whole against their cosignatures. Exit code 8 where it does not prove itself.
    #[command(after_long_help = "Examples:\n  comity list verify list.json --genesis genesis.json")]
    Verify {
        /// The exported list
        file: PathBuf,
        /// The federation's genesis file: all that is trusted
        #[arg(long, value_name = "FILE")]
        genesis: PathBuf,
    },
}

pub(crate) async fn run(command: ListCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        ListCommand::Show { entry } => show(session, entry).await,
        ListCommand::List { limit } => list(session, limit as usize).await,
        ListCommand::Status => status(session).await,
        ListCommand::Export { commands, out, force } => export::run(session, commands, out, force).await,
        ListCommand::Verify { file, genesis } => verify::run(session, &file, &genesis),
    }
}

async fn show(session: &mut Session<'_>, id: String) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about(format!("entry {id}"), "comity list list");
    let entry = node.list().get_entry(v1::GetEntryRequest { id }).await.map_err(|s| asked.refused(s))?.into_inner();
    let view = EntryView::from(entry.clone());
    session.output.show(&view, |style| page(style, &view, &entry))?;
    if !view.agreed {
        session
            .output
            .note("this entry is adopted and not yet agreed: too few members have cosigned a position that holds it");
    }
    Ok(())
}

fn page(style: &Style, view: &EntryView, entry: &v1::Entry) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("{}  {}", view.id, view.subject));
    page.field("agreed", if view.agreed { "yes" } else { "not yet" });
    page.field("proposed by", &view.proposer);
    page.field("consents", view.consents.join(", "));
    page.field("listed", when::local(entry.list_time.as_ref()));
    page.field("proposal", &view.proposal);
    page.field("ballot", &view.ballot);
    page.field("public leaf", view.public_leaf.to_string());
    if !entry.public_part.is_empty() {
        match comity_core::canonical::from_slice(&entry.public_part) {
            Ok(part) => documents::public_part(&mut page, &part),
            Err(_) => documents::unknown(&mut page, "Public part", &entry.public_part),
        }
    }
    page.finish()
}

async fn list(session: &mut Session<'_>, limit: usize) -> Result<(), Failure> {
    let client = session.node().await?.list();
    let asked = Asked::about("entries", "comity list status");
    let (entries, more) = wire::collect(limit, |page_size, page_token| {
        let (mut client, asked) = (client.clone(), asked.clone());
        async move {
            let request = v1::ListEntriesRequest { page_size, page_token };
            let page = client.list_entries(request).await.map_err(|s| asked.refused(s))?.into_inner();
            Ok((page.entries, page.next_page_token))
        }
    })
    .await?;
    let listed: Vec<String> = entries.iter().map(|e| when::local(e.list_time.as_ref())).collect();
    let view = EntriesView { entries: entries.into_iter().map(EntryView::from).collect() };
    session.output.show(&view, |style| {
        let rows = view.entries.iter().zip(listed).map(|(e, listed)| {
            let agreed = if e.agreed { "yes" } else { "not yet" }.to_owned();
            vec![
                e.id.clone(),
                agreed,
                e.subject_kind.clone(),
                e.proposer.clone(),
                e.consents.join(","),
                listed,
                e.subject.clone(),
            ]
        });
        table(style, &["ENTRY", "AGREED", "KIND", "PROPOSER", "CONSENTS", "LISTED", "SUBJECT"], rows.collect())
    })?;
    if more {
        session.output.note(&format!("there are more than {limit}: ask for more with --limit"));
    }
    Ok(())
}

async fn status(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about("list", "comity node status");
    let status =
        node.list().get_list_status(v1::GetListStatusRequest {}).await.map_err(|s| asked.refused(s))?.into_inner();
    let list_time = when::local(status.list_time.as_ref());
    let view = StatusView::from(status);
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&view.name);
        page.field("federation", &view.federation);
        page.field("publications", format!("{}, of which {} agreed", view.publications, view.agreed_publications));
        page.field("commands", format!("{}, of which {} agreed", view.commands, view.agreed_commands));
        page.field("cosigned by", format!("{} ({} are needed)", view.cosigners.join(", "), view.cosigners_needed));
        page.field("list time", list_time);
        page.field("leader", if view.leader.is_empty() { "none is known" } else { view.leader.as_str() });
        page.finish()
    })?;
    if view.fork_alarm {
        session
            .output
            .note("ALARM: two roots of one size were seen. The evidence is kept on the node: call the other members.");
    }
    Ok(())
}

/// An entry as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct EntryView {
    id: String,
    proposer: String,
    ballot: String,
    proposal: String,
    consents: Vec<String>,
    list_time: Option<String>,
    agreed: bool,
    subject: String,
    subject_kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_part: Option<Value>,
    public_leaf: u64,
}

#[derive(Debug, Clone, Serialize)]
struct EntriesView {
    entries: Vec<EntryView>,
}

impl From<v1::Entry> for EntryView {
    fn from(entry: v1::Entry) -> Self {
        Self {
            list_time: when::rfc3339(entry.list_time.as_ref()),
            public_part: wire::embedded(&entry.public_part),
            id: entry.id,
            proposer: entry.proposer,
            ballot: entry.ballot,
            proposal: entry.proposal,
            consents: entry.consents,
            agreed: entry.agreed,
            subject: entry.subject,
            subject_kind: entry.subject_kind,
            public_leaf: entry.public_leaf,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct StatusView {
    federation: String,
    name: String,
    commands: u64,
    publications: u64,
    agreed_publications: u64,
    agreed_commands: u64,
    cosigners: Vec<String>,
    cosigners_needed: i32,
    list_time: Option<String>,
    leader: String,
    fork_alarm: bool,
}

impl From<v1::ListStatus> for StatusView {
    fn from(status: v1::ListStatus) -> Self {
        Self {
            list_time: when::rfc3339(status.list_time.as_ref()),
            federation: status.federation,
            name: status.name,
            commands: status.commands,
            publications: status.publications,
            agreed_publications: status.agreed_publications,
            agreed_commands: status.agreed_commands,
            cosigners: status.cosigners,
            cosigners_needed: status.cosigners_needed,
            leader: status.leader,
            fork_alarm: status.fork_alarm,
        }
    }
}

//! `comity proposal`: drafting, showing, sharing, tabling and withdrawing cases for designation.

use clap::Subcommand;
use comity_core::list::{Command, EntryId, Motion};
use comity_core::{MemberId, RecordId};
use comity_proto::v1;
use serde::Serialize;
use serde_json::Value;

use crate::approve;
use crate::connection::Node;
use crate::draft_file;
use crate::failure::Failure;
use crate::output::Format;
use crate::page::{Page, Style, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::tabled::{Tabled, expected_digest};
use crate::{documents, motions, when, wire};

/// The verbs of `comity proposal`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ProposalCommand {
    /// Store a draft on the node
    ///
    /// The file is checked here first, against the same rules as on the node; each field that is not as it must be is
    /// named. A draft stays with this member until it is shared or tabled.
    #[command(
        after_long_help = "Examples:\n  comity proposal draft --example > case.yaml\n  comity proposal draft -f case.yaml --dry-run\n  comity proposal draft -f case.yaml\n  comity import ofac DIR --uid 9352 --tier confidential | comity proposal draft -f -"
    )]
    Draft {
        /// The draft, YAML or JSON; `-` reads stdin
        #[arg(short, long, value_name = "FILE", required_unless_present = "example")]
        file: Option<String>,
        /// Check it and send nothing
        #[arg(long)]
        dry_run: bool,
        /// Print an example draft to start from
        #[arg(long, conflicts_with_all = ["file", "dry_run"])]
        example: bool,
        /// Makes a repeated command store one draft: the same id with the same document answers the same
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
    },
    /// Replace the document of an own proposal
    ///
    /// A shared proposal becomes a draft again, and its partners lose it: share it anew, which another person approves.
    #[command(after_long_help = "Examples:\n  comity proposal edit FR-P-8K3M9QXT2V4N6R7W -f case.yaml")]
    Edit {
        /// The proposal
        id: RecordId,
        /// The new document, YAML or JSON; `-` reads stdin
        #[arg(short, long, value_name = "FILE")]
        file: String,
        /// Replace only this version [default: the current one]
        #[arg(long, value_name = "VERSION")]
        etag: Option<String>,
        /// Check it and send nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show a proposal: an own one, or a partner's as far as it was released
    Show {
        /// The proposal
        id: RecordId,
    },
    /// List own proposals and released ones, newest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
        limit: u32,
    },
    /// Ask that a proposal be shared with partners; another person approves
    ///
    /// What each partner then sees of it is decided by its marking and by the policy for that partner.
    #[command(after_long_help = "Examples:\n  comity proposal share FR-P-8K3M9QXT2V4N6R7W --with DE,CA")]
    Share {
        /// The proposal
        id: RecordId,
        /// The partners, by code
        #[arg(long, value_name = "PARTY", value_delimiter = ',', required = true)]
        with: Vec<MemberId>,
    },
    /// Ask that a proposal's public part be laid before all members; another person approves
    ///
    /// It becomes an entry once adopted, or the new text of one that is there already.
    #[command(
        after_long_help = "Examples:\n  comity proposal table FR-P-8K3M9QXT2V4N6R7W\n  comity proposal table FR-P-8K3M9QXT2V4N6R7W --amends CW-2026-0001"
    )]
    Table {
        /// The proposal
        id: RecordId,
        /// The entry that is to get its text
        #[arg(long, value_name = "ENTRY")]
        amends: Option<EntryId>,
    },
    /// Withdraw a proposal, and its ballot if there is one
    Withdraw {
        /// The proposal
        id: RecordId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(command: ProposalCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        ProposalCommand::Draft { example: true, .. } => session.output.line(draft_file::EXAMPLE),
        ProposalCommand::Draft { file, dry_run, request_id, .. } => {
            let document = read_document(file.as_deref().unwrap_or("-"))?;
            if dry_run {
                return only_checked(session, &document);
            }
            create(session, &document, request_id).await
        }
        ProposalCommand::Edit { id, file, etag, dry_run } => {
            let document = read_document(&file)?;
            if dry_run {
                return only_checked(session, &document);
            }
            edit(session, id, etag, &document).await
        }
        ProposalCommand::Show { id } => show(session, id).await,
        ProposalCommand::List { limit } => list(session, limit as usize).await,
        ProposalCommand::Share { id, with } => {
            let node = session.node().await?;
            let parties = with.iter().map(ToString::to_string).collect();
            let etag = get(&node, id).await?.etag;
            let request = v1::ShareProposalRequest { id: id.to_string(), etag, parties };
            let approval = node.proposals().share_proposal(request).await.map_err(|s| asked(id).refused(s))?;
            // Sharing is this member's own affair: nobody signs a command for it.
            approve::deferred(session, &node, approval.into_inner(), |_| false).await
        }
        ProposalCommand::Table { id, amends } => table_it(session, id, amends).await,
        ProposalCommand::Withdraw { id, yes } => withdraw(session, id, yes).await,
    }
}

async fn table_it(session: &mut Session<'_>, id: RecordId, amends: Option<EntryId>) -> Result<(), Failure> {
    let node = session.node().await?;
    let v1::Proposal { etag, document, .. } = get(&node, id).await?;
    let motion = match amends.clone() {
        None => Motion::List { proposal: id },
        Some(entry) => Motion::Amend { entry, proposal: id },
    };
    let amends = amends.map(|entry| entry.to_string()).unwrap_or_default();
    let request = v1::TableProposalRequest { id: id.to_string(), etag, amends };
    let approval = node.proposals().table_proposal(request).await.map_err(|s| asked(id).refused(s))?.into_inner();
    let document = comity_core::proposal::Proposal::from_json(&document).ok();
    let text = document.and_then(|d| expected_digest(&approval, comity_core::canonical::to_vec(&d.public_part())));
    approve::deferred(session, &node, approval, |command| motions::tables(command, &motion, text)).await
}

fn asked(id: RecordId) -> Asked {
    Asked::about(format!("proposal {id}"), format!("comity proposal show {id}"))
}

fn read_document(source: &str) -> Result<comity_core::proposal::Proposal, Failure> {
    draft_file::read(source).map_err(|e| Failure::error(e).next("comity proposal draft --example"))
}

fn only_checked(session: &mut Session<'_>, document: &comity_core::proposal::Proposal) -> Result<(), Failure> {
    session.output.show(document, |style| {
        let mut page = Page::new(style);
        page.heading(&document.title);
        documents::proposal(&mut page, document);
        page.finish()
    })?;
    session.output.note("the document is valid; nothing was sent (--dry-run)");
    Ok(())
}

/// Stores a draft and tells what to try next.
pub(crate) async fn create(
    session: &mut Session<'_>,
    document: &comity_core::proposal::Proposal,
    request_id: Option<String>,
) -> Result<(), Failure> {
    let node = session.node().await?;
    let request_id = request_id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let request = v1::CreateProposalRequest { document: comity_core::canonical::to_vec(document), request_id };
    let asked = Asked::about("draft", "comity proposal draft --example");
    let created = node.proposals().create_proposal(request).await.map_err(|s| asked.refused(s))?.into_inner();
    let view = ProposalView::from(created);
    session
        .output
        .show(&view, |_| format!("{}  {}  drafted: {}", view.id, view.banner, crate::page::clean(&view.title)))?;
    session
        .output
        .note(&format!("next:  comity proposal share {0} --with PARTY, or  comity proposal table {0}", view.id));
    Ok(())
}

async fn edit(
    session: &mut Session<'_>,
    id: RecordId,
    etag: Option<String>,
    document: &comity_core::proposal::Proposal,
) -> Result<(), Failure> {
    let node = session.node().await?;
    let etag = match etag {
        Some(etag) => etag,
        None => get(&node, id).await?.etag,
    };
    let request =
        v1::UpdateProposalRequest { id: id.to_string(), etag, document: comity_core::canonical::to_vec(document) };
    let updated = node.proposals().update_proposal(request).await.map_err(|s| asked(id).refused(s))?.into_inner();
    let view = ProposalView::from(updated);
    session.output.show(&view, |_| format!("{}  {}  changed: version {}", view.id, view.banner, view.etag))
}

async fn get(node: &Node, id: RecordId) -> Result<v1::Proposal, Failure> {
    let asked = Asked::about(format!("proposal {id}"), "comity proposal list");
    let request = v1::GetProposalRequest { id: id.to_string() };
    Ok(node.proposals().get_proposal(request).await.map_err(|s| asked.refused(s))?.into_inner())
}

async fn show(session: &mut Session<'_>, id: RecordId) -> Result<(), Failure> {
    let proposal = get(&session.node().await?, id).await?;
    let view = ProposalView::from(proposal.clone());
    session.output.show(&view, |style| page(style, &view, &proposal))
}

fn page(style: &Style, view: &ProposalView, proposal: &v1::Proposal) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("{}  {}", view.id, view.banner));
    page.field("title", &view.title);
    page.field("originator", &view.originator);
    page.field("state", &view.state);
    page.field("version", &view.etag);
    page.field("author", &view.author);
    page.field("created", when::local(proposal.create_time.as_ref()));
    page.field("changed", when::local(proposal.update_time.as_ref()));
    page.field("shared with", view.shared_with.join(", "));
    page.field("ballot", &view.ballot);
    if !proposal.document.is_empty() {
        match comity_core::canonical::from_slice(&proposal.document) {
            Ok(document) => documents::proposal(&mut page, &document),
            Err(_) => documents::unknown(&mut page, "Document", &proposal.document),
        }
    }
    for document in &proposal.views {
        documents::view(&mut page, &document.view, &document.document);
    }
    page.finish()
}

async fn list(session: &mut Session<'_>, limit: usize) -> Result<(), Failure> {
    let client = session.node().await?.proposals();
    let asked = Asked::about("proposals", "comity node status");
    let (proposals, more) = wire::collect(limit, |page_size, page_token| {
        let (mut client, asked) = (client.clone(), asked.clone());
        async move {
            let request = v1::ListProposalsRequest { page_size, page_token };
            let page = client.list_proposals(request).await.map_err(|s| asked.refused(s))?.into_inner();
            Ok((page.proposals, page.next_page_token))
        }
    })
    .await?;
    let changed: Vec<String> = proposals.iter().map(|p| when::local(p.update_time.as_ref())).collect();
    let view = ProposalsView { proposals: proposals.into_iter().map(ProposalView::from).collect() };
    session.output.show(&view, |style| {
        let rows = view.proposals.iter().zip(changed).map(|(p, changed)| {
            let shared = p.shared_with.join(",");
            vec![p.id.clone(), p.state.clone(), p.banner.clone(), shared, changed, p.title.clone()]
        });
        table(style, &["ID", "STATE", "MARKING", "SHARED WITH", "CHANGED", "TITLE"], rows.collect())
    })?;
    if more {
        session.output.note(&format!("there are more than {limit}: ask for more with --limit"));
    }
    Ok(())
}

async fn withdraw(session: &mut Session<'_>, id: RecordId, yes: bool) -> Result<(), Failure> {
    session.confirm(&format!("{id} will be withdrawn, which cannot be undone"), &id.to_string(), yes)?;
    let node = session.node().await?;
    let etag = get(&node, id).await?.etag;
    let request = v1::WithdrawProposalRequest { id: id.to_string(), etag };
    let answer = node.proposals().withdraw_proposal(request).await.map_err(|s| asked(id).refused(s))?.into_inner();
    match answer.result {
        Some(v1::withdraw_proposal_response::Result::Approval(approval)) => {
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
        Some(v1::withdraw_proposal_response::Result::Proposal(proposal)) => {
            let view = ProposalView::from(proposal);
            session.output.show(&view, |_| format!("{}  {}", view.id, view.state))
        }
        None => Err(Failure::error(format!("proposal {id}: the node's answer says nothing"))
            .next(format!("comity proposal show {id}"))),
    }
}

/// A proposal as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct ProposalView {
    id: String,
    originator: String,
    state: String,
    etag: String,
    title: String,
    banner: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    views: Vec<DocumentView>,
    author: String,
    create_time: Option<String>,
    update_time: Option<String>,
    shared_with: Vec<String>,
    ballot: String,
}

#[derive(Debug, Clone, Serialize)]
struct DocumentView {
    view: String,
    document: Option<Value>,
}

#[derive(Debug, Clone, Serialize)]
struct ProposalsView {
    proposals: Vec<ProposalView>,
}

impl From<v1::Proposal> for ProposalView {
    fn from(proposal: v1::Proposal) -> Self {
        let state = wire::lower(proposal.state().as_str_name(), "PROPOSAL_STATE");
        let views =
            proposal.views.iter().map(|v| DocumentView { view: v.view.clone(), document: wire::embedded(&v.document) });
        Self {
            views: views.collect(),
            state,
            document: wire::embedded(&proposal.document),
            create_time: when::rfc3339(proposal.create_time.as_ref()),
            update_time: when::rfc3339(proposal.update_time.as_ref()),
            id: proposal.id,
            originator: proposal.originator,
            etag: proposal.etag,
            title: proposal.title,
            banner: proposal.banner,
            author: proposal.author,
            shared_with: proposal.shared_with,
            ballot: proposal.ballot,
        }
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

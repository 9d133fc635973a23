//! `comity proposal`: drafting, showing, sharing, tabling and withdrawing cases for designation.

use clap::Subcommand;
use comity_core::list::{EntryId, Motion};
use comity_core::proposal::Proposal;
use comity_core::{RecordId, RecordKind};
use comity_proto::v1;

use super::{ListOptions, ShareOptions, asked, ensure_kind, get, only_checked, read_document};
use crate::failure::Failure;
use crate::session::Session;
use crate::tabled::expected_digest;
use crate::{approve, draft_file, motions};

const KIND: RecordKind = RecordKind::Proposal;

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
    List(ListOptions),
    /// Ask that proposals be shared with partners; another person approves
    ///
    /// What each partner then sees of them is decided by their marking and by the policy for that partner.
    #[command(
        after_long_help = "Examples:\n  comity proposal share FR-P-8K3M9QXT2V4N6R7W --with DE,CA\n  comity proposal share FR-P-8K3M9QXT2V4N6R7W --with DE --until 90d"
    )]
    Share(ShareOptions),
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
            let document = read_document(KIND, file.as_deref().unwrap_or("-"), "draft")?;
            if dry_run {
                return only_checked(session, &document);
            }
            super::create(session, &document, request_id).await
        }
        ProposalCommand::Edit { id, file, etag, dry_run } => {
            ensure_kind(KIND, id)?;
            let document = read_document(KIND, &file, "draft")?;
            if dry_run {
                return only_checked(session, &document);
            }
            super::edit(session, id, etag, &document).await
        }
        ProposalCommand::Show { id } => super::show(session, KIND, id).await,
        ProposalCommand::List(options) => super::list(session, KIND, None, &options).await,
        ProposalCommand::Share(options) => super::share(session, KIND, options).await,
        ProposalCommand::Table { id, amends } => table_it(session, id, amends).await,
        ProposalCommand::Withdraw { id, yes } => super::withdraw(session, KIND, id, yes).await,
    }
}

async fn table_it(session: &mut Session<'_>, id: RecordId, amends: Option<EntryId>) -> Result<(), Failure> {
    ensure_kind(KIND, id)?;
    let node = session.node().await?;
    let v1::Record { etag, document, .. } = get(&node, id).await?;
    let motion = match amends.clone() {
        None => Motion::List { proposal: id },
        Some(entry) => Motion::Amend { entry, proposal: id },
    };
    let amends = amends.map(|entry| entry.to_string()).unwrap_or_default();
    let request = v1::TableProposalRequest { id: id.to_string(), etag, amends };
    let approval = node.records().table_proposal(request).await.map_err(|s| asked(id).refused(s))?.into_inner();
    let document = Proposal::from_json(&document).ok();
    let text = document.and_then(|d| expected_digest(&approval, comity_core::canonical::to_vec(&d.public_part())));
    approve::deferred(session, &node, approval, |command| motions::tables(command, &motion, text)).await
}

//! `comity incident`: attacks, as this member knows of them.

use clap::Subcommand;
use comity_core::{RecordId, RecordKind};

use super::{ListOptions, ShareOptions, ensure_kind, only_checked, read_document};
use crate::draft_file;
use crate::failure::Failure;
use crate::session::Session;

const KIND: RecordKind = RecordKind::Incident;

/// The verbs of `comity incident`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum IncidentCommand {
    /// Store an incident on the node
    #[command(
        after_long_help = "Examples:\n  comity incident add --example > attack.yaml\n  comity incident add -f attack.yaml --dry-run\n  comity incident add -f attack.yaml"
    )]
    Add {
        /// The incident, YAML or JSON; `-` reads stdin
        #[arg(short, long, value_name = "FILE", required_unless_present = "example")]
        file: Option<String>,
        /// Check it and send nothing
        #[arg(long)]
        dry_run: bool,
        /// Print an example to start from
        #[arg(long, conflicts_with_all = ["file", "dry_run"])]
        example: bool,
        /// Makes a repeated command store one incident
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
    },
    /// Replace the document of an own incident; what was shared must be shared anew
    Edit {
        /// The incident
        id: RecordId,
        /// The new document, YAML or JSON; `-` reads stdin
        #[arg(short, long, value_name = "FILE")]
        file: String,
        /// Replace only this version [default: the current one]
        #[arg(long, value_name = "VERSION")]
        etag: Option<String>,
    },
    /// Show an incident: an own one, or a partner's as far as it was released
    Show {
        /// The incident
        id: RecordId,
    },
    /// List own incidents and released ones, newest first
    List(ListOptions),
    /// Ask that incidents be shared with partners; another person approves
    Share(ShareOptions),
    /// Withdraw an incident: partners lose it
    Withdraw {
        /// The incident
        id: RecordId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(command: IncidentCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        IncidentCommand::Add { example: true, .. } => session.output.line(draft_file::INCIDENT_EXAMPLE),
        IncidentCommand::Add { file, dry_run, request_id, .. } => {
            let document = read_document(KIND, file.as_deref().unwrap_or("-"), "add")?;
            if dry_run {
                return only_checked(session, &document);
            }
            super::create(session, &document, request_id).await
        }
        IncidentCommand::Edit { id, file, etag } => {
            ensure_kind(KIND, id)?;
            let document = read_document(KIND, &file, "add")?;
            super::edit(session, id, etag, &document).await
        }
        IncidentCommand::Show { id } => super::show(session, KIND, id).await,
        IncidentCommand::List(options) => super::list(session, KIND, None, &options).await,
        IncidentCommand::Share(options) => super::share(session, KIND, options).await,
        IncidentCommand::Withdraw { id, yes } => super::withdraw(session, KIND, id, yes).await,
    }
}

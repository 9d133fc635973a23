//! `comity opinion`: what this member thinks of partners' proposals, and they of its own.

use clap::Subcommand;
use comity_core::document::Stance;
use comity_core::{RecordId, RecordKind};
use comity_proto::v1;

use super::{ListOptions, asked};
use crate::approve;
use crate::failure::Failure;
use crate::session::Session;

const KIND: RecordKind = RecordKind::Opinion;

/// The verbs of `comity opinion`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum OpinionCommand {
    /// Ask that an opinion be given on a partner's proposal, to that partner alone; another person approves
    ///
    /// It binds nobody: the ballot decides. It is marked as the proposal is.
    #[command(
        after_long_help = "Examples:\n  comity opinion give FR-P-8K3M9QXT2V4N6R7W --stance support\n  comity opinion give FR-P-8K3M9QXT2V4N6R7W --stance question -m 'On what does paragraph 3 rest?'"
    )]
    Give {
        /// The proposal
        about: RecordId,
        /// support, co-sponsor, question or concern
        #[arg(long, value_name = "STANCE")]
        stance: Stance,
        /// Why, or what is asked; a question or a concern says it
        #[arg(short, long, value_name = "TEXT")]
        message: Option<String>,
    },
    /// Show an opinion
    Show {
        /// The opinion
        id: RecordId,
    },
    /// List opinions that this member gave and received, newest first
    List {
        /// On this proposal alone
        #[arg(long, value_name = "PROPOSAL")]
        on: Option<RecordId>,
        #[command(flatten)]
        options: ListOptions,
    },
    /// Withdraw an opinion
    Withdraw {
        /// The opinion
        id: RecordId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(command: OpinionCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        OpinionCommand::Give { about, stance, message } => {
            let node = session.node().await?;
            let text = message.unwrap_or_default();
            let request = v1::GiveOpinionRequest { about: about.to_string(), stance: stance.to_string(), text };
            let approval = node.records().give_opinion(request).await.map_err(|s| asked(about).refused(s))?;
            approve::deferred(session, &node, approval.into_inner(), |_| false).await
        }
        OpinionCommand::Show { id } => super::show(session, KIND, id).await,
        OpinionCommand::List { on, options } => super::list(session, KIND, on, &options).await,
        OpinionCommand::Withdraw { id, yes } => super::withdraw(session, KIND, id, yes).await,
    }
}

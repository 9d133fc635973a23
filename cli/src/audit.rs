//! `comity audit`: reading the access log, and proving that nobody changed it.

mod checkpoint;
mod log;
mod proof;
mod verify;
mod witnesses;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::failure::Failure;
use crate::session::Session;
use crate::when::When;

/// The verbs of `comity audit`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show who looked at what, and with what outcome
    #[command(
        after_long_help = "Examples:\n  comity audit log --since 7d\n  comity audit log --outcome denied --member CA --since 2026-11-01\n  comity audit log --resource FR-P-8K3M9QXT2V4N6R7W -o json"
    )]
    Log(LogFilter),
    /// Prove that the access log was neither edited, nor shortened, nor rewritten
    ///
    /// Reads every leaf, computes its hash and the root here, and compares with the checkpoint that the node signs. Then
    /// with older checkpoints: the one remembered from the last time on this machine, and any that you name. So even a
    /// log that was rewritten and signed anew shows. Exit code 8 where something does not fit.
    #[command(
        after_long_help = "Examples:\n  comity audit verify\n  comity audit verify --against monday.checkpoint\n  comity audit verify --save today.checkpoint"
    )]
    Verify {
        /// An older checkpoint that this log must continue
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// Write the checkpoint that was verified
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
    },
    /// Fetch the newest signed checkpoint, to keep where the node's administrator cannot reach it
    #[command(after_long_help = "Examples:\n  comity audit checkpoint -O monday.checkpoint")]
    Checkpoint {
        /// Where to [default: stdout]
        #[arg(short = 'O', long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show which members cosign the access log, how far each has got, and whose logs this node cosigns
    #[command(after_long_help = "Examples:\n  comity audit witnesses")]
    Witnesses,
    /// Show heads of other members' access logs that contradict what this node had cosigned
    #[command(
        after_long_help = "Examples:\n  comity audit conflicts\n  comity audit conflicts -o json > evidence.json"
    )]
    Conflicts,
}

/// Which accesses are shown. All of the filters must match.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogFilter {
    /// By this person or node, a SPIFFE id
    #[arg(long, default_value = "", value_name = "ID")]
    who: String,
    /// By people and nodes of this member
    #[arg(long, value_name = "PARTY")]
    member: Option<comity_core::MemberId>,
    /// Of this kind, as GetProposal or handshake
    #[arg(long, default_value = "", value_name = "ACTION")]
    action: String,
    /// That ended so
    #[arg(long, value_enum)]
    outcome: Option<OutcomeFilter>,
    /// That touched this record, entry, ballot or approval
    #[arg(long, default_value = "", value_name = "ID")]
    resource: String,
    /// Not before: an instant, a day, or how long ago (7d, 12h)
    #[arg(long, value_name = "WHEN")]
    since: Option<When>,
    /// Before: an instant, a day, or how long ago (7d, 12h)
    #[arg(long, value_name = "WHEN")]
    until: Option<When>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    limit: u32,
}

/// How an access ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutcomeFilter {
    /// What was asked was given or done
    Allowed,
    /// It was refused
    Denied,
    /// It was allowed and failed
    Failed,
}

impl OutcomeFilter {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

pub(crate) async fn run(command: AuditCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        AuditCommand::Log(filter) => log::run(session, filter).await,
        AuditCommand::Verify { against, save } => verify::run(session, against.as_deref(), save.as_deref()).await,
        AuditCommand::Checkpoint { out } => checkpoint::run(session, out.as_deref()).await,
        AuditCommand::Witnesses => witnesses::run(session).await,
        AuditCommand::Conflicts => witnesses::conflicts(session).await,
    }
}

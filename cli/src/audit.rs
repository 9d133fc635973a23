//! `comity audit`: reading the access log, and proving that nobody changed it.

mod checkpoint;
mod filter;
mod log;
mod proof;
mod verify;
mod walk;

use std::path::PathBuf;

use clap::Subcommand;

use crate::failure::Failure;
use crate::session::Session;

/// The verbs of `comity audit`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show who looked at what, and with what outcome; with --follow as it happens
    ///
    /// Times are shown in the reader's zone with its offset from UTC; -o json has them in UTC. The ends of a stretch of time belong
    /// to it. Each look into the log is itself in the log, with what was looked for.
    #[command(
        after_long_help = "Examples:\n  comity audit log --since 7d\n  comity audit log --outcome denied --partner CA --since 2026-11-01 --until 2026-11-07\n  comity audit log --person operator/desk-7 --action 'RecordService/*'\n  comity audit log --record FR-P-8K3M9QXT2V4N6R7W -o json\n  comity audit log --follow --outcome denied"
    )]
    Log(log::LogOptions),
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
}

pub(crate) async fn run(command: AuditCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        AuditCommand::Log(options) => log::run(session, options).await,
        AuditCommand::Verify { against, save } => verify::run(session, against.as_deref(), save.as_deref()).await,
        AuditCommand::Checkpoint { out } => checkpoint::run(session, out.as_deref()).await,
    }
}

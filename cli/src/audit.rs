//! `comity audit`: reading and reviewing the access log, and proving that nobody changed it.

mod access;
mod anomalies;
mod checkpoint;
mod filter;
mod log;
mod person;
mod proof;
mod sections;
mod summary;
mod thresholds;
mod verify;
mod walk;
mod who_saw;
mod witnesses;

use std::path::PathBuf;

use clap::Subcommand;
use comity_core::RecordId;

use self::filter::{Person, Stretch};
use self::summary::By;
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
    /// Show everybody who saw a record: parties it was sent to, people, refusals; each version, when, under which policy
    ///
    /// From this node's log alone: who saw a party's copy is in that party's log.
    #[command(
        name = "who-saw",
        after_long_help = "Examples:\n  comity audit who-saw FR-P-8K3M9QXT2V4N6R7W\n  comity audit who-saw FR-P-8K3M9QXT2V4N6R7W --since 2026-11-01 -o json"
    )]
    WhoSaw {
        /// The record, as FR-P-8K3M9QXT2V4N6R7W
        record: RecordId,
        #[command(flatten)]
        time: Stretch,
    },
    /// Show what a person or node did: by action and record, how often, with what outcome, from where
    #[command(
        after_long_help = "Examples:\n  comity audit person operator/desk-7\n  comity audit person spiffe://de.comity.example/node/node-1 --since 30d"
    )]
    Person {
        /// operator/desk-7 of this member, or a SPIFFE id
        person: Person,
        #[command(flatten)]
        time: Stretch,
    },
    /// Count accesses by partner, person, policy, record or action, and by day
    #[command(
        after_long_help = "Examples:\n  comity audit summary --by partner --since 7d\n  comity audit summary --by policy --since 2026-11-01 --until 2026-11-30"
    )]
    ///
    /// The last seven days, unless --since says another beginning.
    Summary {
        /// By what they are counted
        #[arg(long, value_enum, default_value = "person")]
        by: By,
        #[command(flatten)]
        time: Stretch,
    },
    /// Find what deserves a second look: first-time readers, reads out of hours, runs of denials, mass export, reads after a policy change
    ///
    /// Each finding names the rule that fired, the numbers, and the leaves that show it. The thresholds can be set in a file; a finding is no
    /// accusation. The last thirty days, unless --since says another beginning; what came before them is read to know who was seen then.
    #[command(
        after_long_help = "Examples:\n  comity audit anomalies\n  comity audit anomalies --example > thresholds.toml\n  comity audit anomalies --since 7d --rules thresholds.toml -o json"
    )]
    Anomalies {
        #[command(flatten)]
        time: Stretch,
        /// The thresholds [default: those that --example prints]
        #[arg(long, value_name = "FILE")]
        rules: Option<PathBuf>,
        /// Print a file of thresholds with every key and its default, and end
        #[arg(long)]
        example: bool,
    },
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

pub(crate) async fn run(command: AuditCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        AuditCommand::Log(options) => log::run(session, options).await,
        AuditCommand::WhoSaw { record, time } => who_saw::run(session, record, time).await,
        AuditCommand::Person { person, time } => person::run(session, person, time).await,
        AuditCommand::Summary { by, mut time } => {
            time.since = time.since.or_else(|| "7d".parse().ok());
            summary::run(session, by, time).await
        }
        AuditCommand::Anomalies { mut time, rules, example } => {
            time.since = time.since.or_else(|| "30d".parse().ok());
            anomalies::run(session, time, rules.as_deref(), example).await
        }
        AuditCommand::Verify { against, save } => verify::run(session, against.as_deref(), save.as_deref()).await,
        AuditCommand::Checkpoint { out } => checkpoint::run(session, out.as_deref()).await,
        AuditCommand::Witnesses => witnesses::run(session).await,
        AuditCommand::Conflicts => witnesses::conflicts(session).await,
    }
}

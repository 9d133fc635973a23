//! `comity audit`: reading and reviewing the access log, and proving that nobody changed it.

mod access;
mod anomalies;
mod checkpoint;
mod export;
mod filter;
mod log;
mod offline;
mod person;
mod proof;
mod reconcile;
mod sections;
mod segments;
mod summary;
mod thresholds;
mod trust;
mod verdict;
mod verify;
mod walk;
mod who_saw;
mod witnesses;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;
use comity_core::RecordId;

use self::filter::{Person, Stretch};
use self::summary::By;
use self::trust::TrustOptions;
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
    /// Prove that the access log was neither edited, nor shortened, nor rewritten; of a bundle, offline
    ///
    /// Of a bundle, no node is called: its leaves, its checkpoint and whoever signed and cosigned that are held against the genesis, or a
    /// list that was exported since. Without one, the node's log is read.
    ///
    /// Reads every leaf, computes its hash and the root here, and compares with the checkpoint that the node signs. Then
    /// with older checkpoints: the one remembered from the last time on this machine, and any that you name. So even a
    /// log that was rewritten and signed anew shows. Exit code 8 where something does not fit.
    #[command(
        after_long_help = "Examples:\n  comity audit verify\n  comity audit verify --against monday.checkpoint\n  comity audit verify --save today.checkpoint\n  comity audit verify march.bundle --genesis genesis.json\n  comity audit verify march.bundle --list list.json --against february.checkpoint"
    )]
    Verify {
        /// A bundle, as audit export and audit prove write it [default: what the node has now]
        bundle: Option<PathBuf>,
        #[command(flatten)]
        trust: TrustOptions,
        /// An older checkpoint that this log must continue; may be given several times
        #[arg(long, value_name = "FILE")]
        against: Vec<PathBuf>,
        /// Write the checkpoint that was verified
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
    },
    /// Write a part of the access log as a file that proves itself
    ///
    /// Whoever holds it verifies it without any node: comity audit verify BUNDLE, or a program of their own by docs/access-bundle.md. With
    /// --for it holds what was exchanged with one party alone, without what decided, so that the party can be given it and hold it
    /// against its own log. Only what was verified here is put in place.
    #[command(
        after_long_help = "Examples:\n  comity audit export --since 30d -O march.bundle\n  comity audit export --against february.checkpoint -O march.bundle\n  comity audit export --for DE -O for-de.bundle"
    )]
    Export(export::ExportOptions),
    /// Show one access, and prove that it is in the log; -O writes the proof
    #[command(
        after_long_help = "Examples:\n  comity audit prove 4711\n  comity audit prove 4711 -O 4711.bundle\n  comity audit verify 4711.bundle --genesis genesis.json"
    )]
    Prove {
        /// The leaf, as audit log shows it
        leaf: u64,
        /// Where to write its bundle
        #[arg(short = 'O', long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Replace the file if it is there
        #[arg(long)]
        force: bool,
    },
    /// Hold two members' bundles against each other: each release against its receipt, each receipt against its release
    ///
    /// Offline. Both bundles are verified first. Listed is what only one side has, by page, number and record; what lies beyond the time of
    /// the other bundle is told apart from what is missing.
    #[command(
        after_long_help = "Examples:\n  comity audit reconcile fr.bundle de-for-fr.bundle --genesis genesis.json\n  comity audit reconcile fr.bundle de-for-fr.bundle --exit-code || echo 'they differ'"
    )]
    Reconcile {
        /// This member's bundle
        ours: PathBuf,
        /// The other's
        theirs: PathBuf,
        #[command(flatten)]
        trust: TrustOptions,
        /// Exit with 9 where they differ
        #[arg(long)]
        exit_code: bool,
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
    /// Show which leaves lie in archives, in which files, and whether those are there
    #[command(after_long_help = "Examples:\n  comity audit segments\n  comity audit segments -o json")]
    Segments,
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
        AuditCommand::Verify { bundle: Some(bundle), trust, against, save } => {
            offline::run(session, &bundle, &trust, &against, save.as_deref())
        }
        AuditCommand::Verify { bundle: None, trust, against, save } => {
            trust.expect_unused()?;
            verify::run(session, &against, save.as_deref()).await
        }
        AuditCommand::Export(options) => export::run(session, options).await,
        AuditCommand::Prove { leaf, out, force } => export::prove(session, leaf, out.as_deref(), force).await,
        AuditCommand::Reconcile { ours, theirs, trust, exit_code } => {
            reconcile::run(session, &ours, &theirs, &trust, exit_code)
        }
        AuditCommand::Checkpoint { out } => checkpoint::run(session, out.as_deref()).await,
        AuditCommand::Witnesses => witnesses::run(session).await,
        AuditCommand::Segments => segments::run(session).await,
        AuditCommand::Conflicts => witnesses::conflicts(session).await,
    }
}

/// `audit export -o FILE`, as many would type it: `-o` names a form of output everywhere, and a file here where it looks like one.
pub(crate) fn file_for_output(mut args: Vec<OsString>) -> Vec<OsString> {
    let word = |at: usize| args.get(at).and_then(|word| word.to_str()).unwrap_or_default();
    let is_export = (1..args.len()).any(|at| word(at - 1) == "audit" && ["export", "prove"].contains(&word(at)));
    let names_file = |at: &usize| word(*at) == "-o" && word(at + 1).contains(['.', '/']);
    if let Some(at) = (1..args.len()).find(names_file).filter(|_| is_export)
        && let Some(option) = args.get_mut(at)
    {
        *option = "-O".into();
    }
    args
}

#[cfg(test)]
mod bundle_tests;

//! `comity audit`: reading the access log, and proving that nobody changed it.

mod checkpoint;
mod export;
mod log;
mod offline;
mod proof;
mod reconcile;
mod trust;
mod verdict;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use self::trust::TrustOptions;
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

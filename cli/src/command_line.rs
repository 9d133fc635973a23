//! The command line as a whole: nouns, and what goes with every one of them.

use std::io;
use std::path::PathBuf;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output::Output;
use crate::session::{GlobalOptions, Session};
use crate::{
    approve, audit, ballot, context, demo, importing, list, measure, member, node_status, pki, policy, recall, records,
    release,
};

/// The command of a sanctions coalition's operators, approvers, policy officers, auditors and administrators
///
/// A ministry drafts a proposal, shows it to the partners it chooses, tables it for decision, and sees it join a list that
/// every member holds and anybody can verify offline. Whatever leaves or decides waits for a second person.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "comity",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    subcommand_required = true,
    after_help = "Exit codes: 0 ok, 1 error, 2 usage, 3 not found or not to be seen, 4 not authenticated, 5 the role may not,\n6 conflict, 7 no quorum, 8 verification failed, 9 different",
    after_long_help = "A first walk:\n  comity pki init --member FR --endpoint node.fr.example:7101\n  comity pki issue --member FR --role operator --name desk-7\n  comity context add fr-desk-7 --endpoint 127.0.0.1:7102 --certificate pki/fr/operator-desk-7.pem \\\n      --key pki/fr/operator-desk-7.key --genesis genesis.json\n  comity context check\n  comity proposal draft --example > case.yaml\n  comity proposal draft -f case.yaml\n\nExit codes:\n  0 ok   1 error   2 usage   3 not found, or not to be seen   4 not authenticated   5 the role may not\n  6 conflict   7 no quorum   8 verification failed   9 different"
)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) options: GlobalOptions,
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

/// The nouns.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Noun {
    /// Cases for designating a subject: draft, show, share, table, withdraw
    #[command(subcommand)]
    Proposal(records::proposal::ProposalCommand),
    /// What is thought of a partner's proposal: support, co-sponsor, question, concern
    #[command(subcommand)]
    Opinion(records::opinion::OpinionCommand),
    /// Attacks: when, where, with what, and who held whom responsible
    #[command(subcommand)]
    Incident(records::incident::IncidentCommand),
    /// References to material that stays where it is: hash, custody, links
    #[command(subcommand)]
    Evidence(records::evidence::EvidenceCommand),
    /// Onward release: ask a record's originator, grant, refuse
    #[command(subcommand)]
    Release(release::ReleaseCommand),
    /// Take a record back from everybody who ever received it
    #[command(subcommand)]
    Recall(recall::RecallCommand),
    /// Read subjects from official lists into drafts
    #[command(subcommand)]
    Import(importing::ImportCommand),
    /// The second pair of eyes: what waits, and deciding it
    #[command(subcommand)]
    Approve(approve::ApproveCommand),
    /// The coalition's decisions: vote, acknowledge, hold, object
    #[command(subcommand)]
    Ballot(ballot::BallotCommand),
    /// The agreed list: show, follow, compare, export, verify offline
    #[command(subcommand)]
    List(list::ListCommand),
    /// This member's own national sanctions on entries
    #[command(subcommand)]
    Measure(measure::MeasureCommand),
    /// What each partner may see
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// The access log: read it, and prove that nobody changed it
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Who belongs to the federation; founding and joining one; keys and people
    #[command(subcommand)]
    Member(member::MemberCommand),
    /// How this member's node is
    #[command(subcommand)]
    Node(node_status::NodeCommand),
    /// A member's authority, signing keys and certificates
    #[command(subcommand)]
    Pki(pki::PkiCommand),
    /// Which nodes can be called, and as whom
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// A federation of four members on this machine, and the whole story of one designation
    #[command(after_long_help = "Examples:\n  comity demo\n  comity demo --once\n  comity demo --keep /tmp/federation")]
    Demo(demo::DemoOptions),
    /// Print a completion script for a shell
    #[command(
        after_long_help = "Examples:\n  comity completions bash > ~/.local/share/bash-completion/completions/comity\n  comity completions zsh > ~/.zfunc/_comity"
    )]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write a man page for each command into a folder
    Man {
        /// The folder
        dir: PathBuf,
    },
}

/// Carries a command out.
pub(crate) async fn run(command_line: CommandLine, output: &mut Output) -> Result<(), Failure> {
    let mut session = Session::new(command_line.options, output);
    let session = &mut session;
    let result = carry_out(command_line.noun, session).await;
    session.tell_age();
    result
}

async fn carry_out(noun: Noun, session: &mut Session<'_>) -> Result<(), Failure> {
    // Boxed: the largest of these would otherwise make every command's future as large as itself.
    match noun {
        Noun::Proposal(command) => Box::pin(records::proposal::run(command, session)).await,
        Noun::Opinion(command) => Box::pin(records::opinion::run(command, session)).await,
        Noun::Incident(command) => Box::pin(records::incident::run(command, session)).await,
        Noun::Evidence(command) => Box::pin(records::evidence::run(command, session)).await,
        Noun::Release(command) => Box::pin(release::run(command, session)).await,
        Noun::Recall(command) => Box::pin(recall::run(command, session)).await,
        Noun::Import(command) => Box::pin(importing::run(command, session)).await,
        Noun::Approve(command) => Box::pin(approve::run(command, session)).await,
        Noun::Ballot(command) => Box::pin(ballot::run(command, session)).await,
        Noun::List(command) => Box::pin(list::run(command, session)).await,
        Noun::Policy(command) => Box::pin(policy::run(command, session)).await,
        Noun::Audit(command) => Box::pin(audit::run(command, session)).await,
        Noun::Measure(command) => Box::pin(measure::run(command, session)).await,
        Noun::Member(command) => Box::pin(member::run(command, session)).await,
        Noun::Node(command) => Box::pin(node_status::run(command, session)).await,
        Noun::Pki(command) => pki::run(command, session),
        Noun::Context(command) => Box::pin(context::run(command, session)).await,
        Noun::Demo(options) => Box::pin(demo::run(options, session.output)).await,
        Noun::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut CommandLine::command(), "comity", &mut script);
            session.output.bytes(&script)
        }
        Noun::Man { dir } => {
            let failed = |e: io::Error| Failure::error(format!("{}: cannot be written: {e}", dir.display()));
            std::fs::create_dir_all(&dir).map_err(failed)?;
            clap_mangen::generate_to(CommandLine::command(), &dir).map_err(failed)?;
            session.output.note(&format!("next:  man -l {}", dir.join("comity.1").display()));
            Ok(())
        }
    }
}

#[cfg(test)]
#[path = "command_line_tests.rs"]
mod tests;

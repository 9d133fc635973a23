//! Benchmarks: what they have in common.

mod audit;
mod audit_bundle;
mod compare_etcd;
mod etcd;
mod exchange;
mod hidden;
mod list_commit;
mod list_grow;
mod measure;
mod policy;
mod process;
mod reference;
mod report;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Measures comity. Build with --release.
#[derive(Debug, Parser)]
#[command(name = "bench", arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Three node processes over mutual TLS with disks synced: signed commands committed a second
    ///
    /// A case is the number of clients: 1, 16, 64, 256.
    ListCommit(list_commit::CommitOptions),
    /// list-commit beside etcd's puts, by turns in one run; without etcd, list-commit alone
    ///
    /// A case is the number of clients: 1, 16, 64, 256. Needs an `etcd` to run, as Debian's package etcd-server has it.
    CompareEtcd(Options),
    /// How soon a decision is seen by whoever watches the list on another node, beside etcd's watch by turns
    Watch(Options),
    /// Thousands of entries listed the real way: commits over the growth, start-up, an empty node's start, memory, disk
    ///
    /// A case is the number of entries: 10000, 100000. Rows say what each tenth of the growth was like, then what it takes to
    /// start a node with that history and one with nothing; for those, an operation is a command that the node then holds.
    ListGrow(list_grow::GrowOptions),
    /// Records from one process to another over mutual TLS: decided, recorded, signed, durable, receipted
    ///
    /// A case is the number of records: 100000.
    Exchange(exchange::ExchangeOptions),
    /// Whether the time until a partner is answered tells that records it may not learn of have changed
    ///
    /// Two nodes have the same visible records; before a pull at one of them, so many hidden records change, each shared with the
    /// partner and denied by its policy. Pulls come in random order, at random moments between two ticks. A case is the number of
    /// hidden changes: 1, 10, 100. Each is tried where nothing visible is new (idle) and where one visible record is (page).
    ///
    /// What is timed is how long the node takes to make its answer, in this process, without a network: what is seen here a partner
    /// sees only through the noise of its line, so that no difference here is none there. Given is how often somebody who is shown
    /// one pull of each sort guesses right which is which: 0.5 is a coin's throw; and the Mann-Whitney p-value, two-sided. A high
    /// p-value shows only that so many pulls tell nothing: it does not prove that no number does. Not seen are changes that go on
    /// at the very moment of a pull, caches of the processor, and what another member's node can see.
    Hidden(hidden::HiddenOptions),
    /// Release decisions beside bare Cedar, a policy applied over many records, and one record changed among many
    ///
    /// A case is decide, apply or one. Rows of `apply` say how long it took until the outbox was rebuilt, the first page could be
    /// pulled, and all was decided; those of `one`, from an edit until the partner was told.
    Policy(policy::PolicyOptions),
    /// A bundle of an access log verified, beside one SHA-256 of the same file
    ///
    /// An operation is a leaf. The file is read from the disk, or from what the system has cached of it, by both alike and by turns.
    AuditBundle(audit_bundle::BundleOptions),
    /// Durable records of the access log a second, beside bare SQLite commits by turns in one run
    ///
    /// A case is the number of callers, 1, 16, 64, or page: what is recorded of an exchange's full page. With --grow, what an append and an inclusion proof cost in a long log, too.
    Audit(audit::AuditOptions),
}

/// What every benchmark takes.
#[derive(Debug, Clone, Args)]
struct Options {
    /// Write one JSON object a row to FILE, `-` for stdout (the table then goes to stderr)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Run one case alone
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// How long each case is measured, in seconds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
}

/// Runs the program with a command line.
pub fn main_with(arguments: Vec<OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    let (options, measured) = match line.bench {
        Bench::ListCommit(commit) => {
            let rows = runtime.block_on(list_commit::run(&commit));
            (commit.options, rows.map(|rows| (rows, Vec::new())))
        }
        Bench::ListGrow(grow) => {
            let rows = runtime.block_on(list_grow::run(&grow));
            (grow.options, rows.map(|rows| (rows, Vec::new())))
        }
        Bench::Exchange(exchange) => {
            let rows = runtime.block_on(exchange::run(&exchange));
            (exchange.options, rows.map(|rows| (rows, Vec::new())))
        }
        Bench::Hidden(hidden) => {
            let measured = runtime.block_on(hidden::run(&hidden));
            (hidden.options, measured)
        }
        Bench::Policy(policy) => {
            let measured = runtime.block_on(policy::run(&policy));
            (policy.options, measured)
        }
        Bench::AuditBundle(bundle) => {
            let measured = audit_bundle::run(&bundle);
            (bundle.options, measured)
        }
        Bench::Audit(audit) => {
            let measured = runtime.block_on(audit::run(&audit));
            (audit.options, measured)
        }
        Bench::Watch(options) => {
            let measured = runtime.block_on(watch::run(&options));
            (options, measured)
        }
        Bench::CompareEtcd(options) => {
            let measured = runtime.block_on(compare_etcd::run(&options));
            (options, measured)
        }
    };
    match measured {
        Ok((rows, lines)) => match report::write(&rows, &lines, options.json.as_deref()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error.to_string()),
        },
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(problem: &str) -> ExitCode {
    report::note(&format!("error: {problem}"));
    ExitCode::FAILURE
}

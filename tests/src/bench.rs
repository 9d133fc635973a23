//! Benchmarks: what they have in common.

mod list_commit;
mod process;
mod reference;
mod report;

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
    ListCommit(Options),
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
    let Bench::ListCommit(options) = line.bench;
    match runtime.block_on(list_commit::run(&options)) {
        Ok(rows) => match report::write(&rows, options.json.as_deref()) {
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

/// Whatever stops a benchmark.
type BenchError = Box<dyn std::error::Error + Send + Sync>;

//! The command line: which seeds are run, and what is said of them.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use comity_core::fault::Fault;

use crate::plan::Plan;
use crate::run::{Failure, Report};
use crate::seeds::run_seeds;

/// Runs federations whose network, disks, clocks and members go wrong as a seed says
#[derive(Debug, Clone, Parser)]
#[command(name = "simulate")]
struct Options {
    /// How many seeds are run
    #[arg(long, value_name = "N", default_value_t = 50)]
    seeds: u64,
    /// The first of them
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    from: u64,
    /// Run this seed alone
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Voting members
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    voters: u64,
    /// Switch a deliberate fault on, and stop at the first seed that finds it
    #[arg(long, value_name = "NAME")]
    fault: Option<Fault>,
    /// Write what happens to stderr, line by line
    #[arg(long)]
    trace: bool,
    /// Write what the nodes log to stderr, as `info` or `openraft=debug`
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// Runs the program with a command line.
pub fn main_with(arguments: Vec<OsString>) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    if let Some(filter) = &options.log {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    }
    let (first, count) = options.seed.map_or((options.from, options.seeds), |seed| (seed, 1));
    let failed = run_all(&options, first, count);
    match (options.fault, failed) {
        (None, 0) | (Some(_), 1..) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Runs seeds, says how each went, and answers how many failed.
fn run_all(options: &Options, first: u64, count: u64) -> usize {
    let plan = |seed| Plan::new(seed, options.voters as usize).with_fault(options.fault).shown(options.trace);
    let ended = |seed, result: &Result<Report, Failure>, seconds| say(&describe(options, seed, result, seconds));
    // A fault that was found is found.
    run_seeds(first..first + count, plan, options.fault.is_some(), ended).len()
}

fn describe(options: &Options, seed: u64, result: &Result<Report, Failure>, seconds: f64) -> String {
    match result {
        Ok(report) => {
            let Report { trace, leaves, entries, handed_in, acknowledged, .. } = report;
            let trace = trace.get(..16).unwrap_or(trace);
            format!(
                "seed {seed}: holds; {leaves} leaves, {entries} entries, {acknowledged} of {handed_in} acknowledged; \
                 trace {trace}; {seconds:.1} s"
            )
        }
        Err(failure) => {
            let fault = options.fault.map(|fault| format!(" --fault {fault}")).unwrap_or_default();
            let voters = if options.voters == 4 { String::new() } else { format!(" --voters {}", options.voters) };
            format!(
                "seed {seed}: FAILED {failure}; {seconds:.1} s\n  again: cargo run -p comity-simulation \
                 --bin simulate -- --seed {seed}{voters}{fault} --trace"
            )
        }
    }
}

fn say(line: &str) {
    // A closed stdout is no reason to stop.
    let _ = writeln!(std::io::stdout(), "{line}");
}

//! The node as a program: configuration, wiring, run. `comity-node` is a thin main over this library; `comity demo` and the tests
//! start the same code as children of their own executables.
//!
//! Wires everything below it and holds no rule of its own.

pub mod config;
mod health;
mod materials;
mod open;
mod run;
mod shutdown;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use config::Config;
use tracing_subscriber::EnvFilter;

pub use materials::{Materials, StartError};
pub use open::{Opened, open};
pub use run::run;

/// The node of a member of a sanctions coalition.
#[derive(Debug, Parser)]
#[command(name = "comity-node", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the node until it is told to stop
    Run {
        /// The node's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Stop, too, when standard input is closed: for a node that must not outlive what started it
        #[arg(long)]
        until_stdin_closes: bool,
    },
    /// Look at the configuration without running
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the configuration and every file that it names: genesis, certificate, keys
    Check {
        /// The node's configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

/// Runs the program with a command line, on a runtime of its own.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match CommandLine::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => {
            let code = if error.use_stderr() { 2 } else { 0 };
            // Nobody reading the help is no failure.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let done = match line.command {
        Command::Config(ConfigCommand::Check { config }) => check(&config),
        Command::Run { config, until_stdin_closes } => start(&config, until_stdin_closes),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&mut std::io::stderr(), &format!("error: {}", with_causes(&error)));
            ExitCode::FAILURE
        }
    }
}

fn load(config: &std::path::Path) -> Result<Config, StartError> {
    Ok(Config::load(config, std::env::vars())?)
}

fn check(path: &std::path::Path) -> Result<(), StartError> {
    let config = load(path)?;
    let materials = Materials::load(&config)?;
    let mut out = std::io::stdout();
    say(&mut out, &format!("{}: ok", path.display()));
    for (what, value) in [
        ("member", materials.own.member.to_string()),
        ("federation", materials.genesis.federation().to_string()),
        ("certificate", format!("{}, until {}", materials.credentials.id(), materials.credentials.not_after())),
        ("peer port", config.peer.listen.clone()),
        ("operator port", config.operator.listen.clone()),
        ("policies", config.policy_dir.display().to_string()),
    ] {
        say(&mut out, &format!("  {what:<14} {value}"));
    }
    Ok(())
}

fn start(path: &std::path::Path, until_stdin_closes: bool) -> Result<(), StartError> {
    let config = load(path)?;
    let filter = EnvFilter::try_from_env("COMITY_LOG").unwrap_or_else(|_| EnvFilter::new("info,openraft=off"));
    // A second subscriber in one process is a test's affair.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).try_init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartError::Runtime)?;
    let deadline = std::time::Duration::from_millis(config.shutdown_deadline_ms);
    let result = runtime.block_on(run(config, shutdown::asked(until_stdin_closes)));
    runtime.shutdown_timeout(deadline);
    result
}

fn say(to: &mut impl std::io::Write, text: &str) {
    // A reader that went away is no failure of the node.
    let _ = writeln!(to, "{text}");
}

/// An error and its causes in one line, each said once.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

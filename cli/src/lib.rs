//! The command of operators, approvers, auditors and administrators.
//!
//! Speaks to a node through `comity.v1` alone, as any other client would, with the roles' own certificates; what can be
//! checked without one (drafts, exports, checkpoints) is checked here with `comity-core`, trusting no node. Rests on core,
//! identity and proto; `comity-node`'s library serves `demo` alone. It must not reach into a node's store, policy or
//! consensus, and writes to its streams only through [`Output`]: data to stdout, the rest to stderr.

mod approve;
mod audit;
mod ballot;
pub mod bundle;
mod changes;
mod command_line;
mod connection;
mod context;
pub mod contexts;
pub mod demo;
mod documents;
pub mod draft_file;
mod exit;
mod failure;
mod following;
mod freshness;
pub mod import;
mod importing;
mod list;
mod measure;
mod member;
mod motions;
mod node_process;
mod node_status;
mod output;
mod page;
mod part_file;
mod pki;
mod policy;
mod recall;
mod records;
mod refusal;
mod release;
mod session;
mod signing;
mod tabled;
mod when;
mod wire;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

pub use crate::exit::Exit;
pub use crate::failure::Failure;
pub use crate::output::{Captured, Format, Output};

/// The first argument by which this executable is asked to be a node: `comity demo` starts its nodes as children of itself.
pub const NODE_PROCESS: &str = "node-process";

/// The whole program: the command, or, as a child of the demonstration, a node.
pub fn main_with(arguments: Vec<OsString>) -> ExitCode {
    let mut rest = arguments.iter().cloned();
    let program = rest.next();
    if rest.next().is_some_and(|first| first == NODE_PROCESS) {
        return comity_node::main_with(program.into_iter().chain(rest));
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return Exit::Error.into(),
    };
    runtime.block_on(run(arguments, &mut Output::process())).into()
}

/// Runs one command line, the program's name first, as [`std::env::args_os`] gives it. Everything that it has to say
/// goes to `output`; what is returned is for the shell.
pub async fn run<I>(args: I, output: &mut Output) -> Exit
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    let args = audit::file_for_output(args.into_iter().map(Into::into).collect());
    let command_line = match command_line::CommandLine::try_parse_from(args) {
        Ok(command_line) => command_line,
        Err(error) => return output.command_line_error(&error),
    };
    let result = Box::pin(command_line::run(command_line, output)).await.and_then(|()| output.flush());
    match result {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            // What was written before it stays readable where both streams go to one place.
            let _ = output.flush();
            output.failure(&failure);
            failure.exit()
        }
    }
}

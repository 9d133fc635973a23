//! The `comity` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    comity_cli::main_with(arguments)
}

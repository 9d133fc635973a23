//! What the tests run: the `comity` command, which is also a node when it is asked to be.

use std::process::ExitCode;

fn main() -> ExitCode {
    comity_cli::main_with(std::env::args_os().collect())
}

//! `comity-node`: runs a member's node.

use std::process::ExitCode;

fn main() -> ExitCode {
    comity_node::main_with(std::env::args_os())
}

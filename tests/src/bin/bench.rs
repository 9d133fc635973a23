//! The project's benchmarks: `cargo run --release -p comity-tests --bin bench -- list-commit`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    // The nodes that a benchmark measures are children of this executable.
    if arguments.get(1).is_some_and(|first| first == comity_cli::NODE_PROCESS) {
        return comity_cli::main_with(arguments);
    }
    comity_tests::bench::main_with(arguments)
}

//! Runs simulations: `cargo run -p comity-simulation --bin simulate -- --seeds 50`.

use std::process::ExitCode;

fn main() -> ExitCode {
    comity_simulation::command_line::main_with(std::env::args_os().collect())
}

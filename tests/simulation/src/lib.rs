//! Whole federations in one thread: real consensus over a simulated network, on simulated disks, by simulated clocks.
//!
//! A seed decides everything: who hands what in, who lies, what is cut, lost, late or crashed, and when. What a seed breaks it
//! breaks again. Only openraft's and tokio's own code and ours run here; what stands in for the machine is the network
//! (turmoil), the disk (a transaction that a crash may lose), TLS (a line that names the speaker), clocks and randomness.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a simulation that cannot go on has failed"
)]

mod clients;
mod clock;
pub mod command_line;
mod dice;
mod history;
mod invariants;
mod judge;
mod keychain;
mod ledger;
mod nemesis;
mod network;
mod node;
mod plan;
mod run;
mod seeds;
mod trace;
mod world;

pub use plan::Plan;
pub use run::{Failure, Report, run};
pub use seeds::run_seeds;

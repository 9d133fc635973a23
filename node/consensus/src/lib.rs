//! The replicated list: openraft, its log on a local SQLite file, and its network over the nodes' mutual TLS.
//!
//! Raft only orders commands. What a command is worth each node finds out for itself, through `comity_core::list`: before an
//! entry is appended its signature is verified here, and a message that would change what is committed is turned away.
//!
//! It may use core, identity, proto, openraft, sqlx and tonic. It must not know records, policies, the access log or people:
//! it takes signed commands, and shows the list that follows from them.

mod ahead;
mod config;
mod consensus;
pub mod cosign;
mod guard;
mod log_store;
mod membership;
mod network;
mod pages;
mod peers;
mod pool;
mod pull;
mod random;
mod read;
mod replay;
mod server;
#[cfg(feature = "simulation")]
pub mod simulation;
mod snapshot;
mod state_machine;
mod submit;
mod texts;
mod types;
mod verify;
mod wire;

pub use config::{ConsensusConfig, Timing, Tuning};
pub use consensus::{Consensus, ListStatus, OpenError};
pub use log_store::OpenLogError;
pub use pool::PendingCommand;
pub use read::{Observes, ReadError};
pub use replay::ReplayError;
pub use server::PeerConsensus;
pub use state_machine::Position;
pub use submit::{SUBMIT_TIMEOUT, SubmitError};

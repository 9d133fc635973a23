//! Federations with real TLS, sockets and disks, and what measures and troubles them.
//!
//! Nodes are started as children of the executable that runs: nothing here looks for programs in `target/`.

pub mod agreement;
pub mod bench;
pub mod canary;
pub mod commands;
pub mod door;
pub mod federation;
pub mod freeze;
pub mod liar;
pub mod load;
pub mod proxy;
pub mod reader;
pub mod seed;
pub mod staff;
pub mod stock;
pub mod stores;

/// Whatever stops a campaign or a benchmark.
pub type Problem = Box<dyn std::error::Error + Send + Sync>;

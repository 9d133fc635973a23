//! Federations with real TLS, sockets and disks, and what measures them.
//!
//! Nodes are started as children of the executable that runs: nothing here looks for programs in `target/`.

pub mod bench;
pub mod federation;

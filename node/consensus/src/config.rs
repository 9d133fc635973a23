//! What consensus is told at start.

use std::path::PathBuf;
use std::sync::Arc;

use comity_core::MemberId;
use comity_core::genesis::Genesis;
use comity_identity::{Credentials, SharedTrust};

/// What consensus is told at start.
#[derive(Debug, Clone)]
pub struct ConsensusConfig {
    /// Where `consensus.db` is, or will be made. A local disk.
    pub folder: PathBuf,
    /// The federation.
    pub genesis: Arc<Genesis>,
    /// Whose node this is: a voting member.
    pub member: MemberId,
    /// The node's certificate, shown to the other nodes.
    pub credentials: Credentials,
    /// Whose authority vouches for whom.
    pub trust: SharedTrust,
    /// How fast failures are noticed.
    pub timing: Timing,
}

/// How fast failures are noticed, in milliseconds. The same on all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader says that it is there.
    pub heartbeat_ms: u64,
    /// The shortest silence after which a node asks for an election: several heartbeats.
    pub election_min_ms: u64,
    /// The longest.
    pub election_max_ms: u64,
}

impl Default for Timing {
    /// For nodes that are a continent apart, or on one busy machine.
    fn default() -> Self {
        Self { heartbeat_ms: 150, election_min_ms: 900, election_max_ms: 1_800 }
    }
}

//! What consensus is told at start.

use std::path::PathBuf;
use std::sync::Arc;

use comity_core::MemberId;
use comity_core::genesis::Genesis;
use comity_core::list::ListState;
use comity_identity::{Credentials, SharedTrust};

/// What consensus is told at start.
#[derive(Debug, Clone)]
pub struct ConsensusConfig {
    /// Where `consensus.db` is, or will be made. A local disk.
    pub folder: PathBuf,
    /// The federation.
    pub genesis: Arc<Genesis>,
    /// Whose node this is: a voting member, one that is about to become one, or a recipient.
    pub member: MemberId,
    /// Whether it is a recipient's: it takes no part, and knows the roster of the genesis or of `bootstrap`, no more.
    pub observes: bool,
    /// Which of the member's nodes this is, from 1.
    pub incarnation: u32,
    /// A list that was verified, where this node does not yet hold its own: whom it trusts and whom it hears until it has
    /// caught up; a recipient's node never does.
    pub bootstrap: Option<Arc<ListState>>,
    /// The node's certificate, shown to the other nodes.
    pub credentials: Credentials,
    /// Whose authority vouches for whom.
    pub trust: SharedTrust,
    /// How fast failures are noticed.
    pub timing: Timing,
    /// How much is kept, and how often what is not decided is handed in again.
    pub tuning: Tuning,
}

/// How much is kept, and how often what is not decided is handed in again. Each node decides for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// After how many entries of the log a snapshot is made.
    pub snapshot_every_entries: u64,
    /// How many entries before the snapshot stay in the log: a node that is behind by no more needs no snapshot.
    pub keep_entries: u64,
    /// How long a command may wait to be decided before it is handed in again; then twice as long, and so on.
    pub resubmit_ms: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { snapshot_every_entries: 20_000, keep_entries: 5_000, resubmit_ms: 2_000 }
    }
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

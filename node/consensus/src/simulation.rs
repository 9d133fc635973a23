//! What the deterministic simulation needs of this crate: a seed for what is random, a disk in memory, another way to dial.
//!
//! Everything else in a simulated node is what runs in a real one. Only built with the `simulation` feature.

mod promises;
mod runtime;
mod seed;

use std::sync::Arc;

use comity_core::MemberId;
use comity_core::genesis::Genesis;
use comity_core::list::ListState;
use comity_core::roster::node_id;
use tonic::transport::{Channel, Endpoint};

use crate::config::{Timing, Tuning};
use crate::consensus::{Consensus, OpenError, Seat};
use crate::log_store::{LogOwner, LogStore};
use crate::peers::Dial;

pub use self::promises::broken_promise;
pub(crate) use self::promises::given;
pub(crate) use self::runtime::SeededRuntime;
pub use self::seed::set_seed;
pub(crate) use self::seed::{is_seeded, number};
pub use crate::log_store::{DiskHabits, SimulatedDisk};

/// Makes the channel to a member's node.
pub type Dialler = Arc<dyn Fn(MemberId, &Endpoint) -> Channel + Send + Sync>;

/// What a simulated node is told at start.
pub struct SimulatedConfig {
    /// Its disk, which outlives it.
    pub disk: SimulatedDisk,
    /// The federation.
    pub genesis: Arc<Genesis>,
    /// Whose node this is.
    pub member: MemberId,
    /// Which of the member's nodes this is, from 1.
    pub incarnation: u32,
    /// A list that was verified, where this node does not yet hold its own.
    pub bootstrap: Option<Arc<ListState>>,
    /// How it reaches the others.
    pub dialler: Dialler,
    /// How fast failures are noticed.
    pub timing: Timing,
    /// How much is kept, and how often what is not decided is handed in again.
    pub tuning: Tuning,
}

impl Consensus {
    /// As [`Self::open`], on a simulated disk and network.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_simulated(config: SimulatedConfig) -> Result<Self, OpenError> {
        let SimulatedConfig { disk, genesis, member, incarnation, bootstrap, dialler, timing, tuning } = config;
        let owner = LogOwner { federation: genesis.federation(), member, node: node_id(member, incarnation) };
        let log = LogStore::open_simulated(disk, owner);
        let seat = Seat { genesis, member, incarnation, bootstrap };
        Self::assemble(seat, timing, tuning, Dial::Simulated(dialler), log).await
    }
}

//! What stands outside the nodes: who they are, their disks and clocks, what was handed in, what was seen.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use comity_consensus::Consensus;
use comity_consensus::simulation::{DiskHabits, SimulatedDisk};
use comity_core::MemberId;
use comity_core::list::{BallotId, Command, ListState, PublicText};
use comity_core::testing::{Federation, members};

use crate::clock::Clock;
use crate::dice::Dice;
use crate::keychain::Keychain;
use crate::ledger::Ledger;
use crate::network::Network;
use crate::plan::Plan;
use crate::trace::Trace;

/// Shared by whatever runs in the thread; borrowed only for a moment.
pub(crate) type Shared = Rc<RefCell<World>>;

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) federation: Federation,
    pub(crate) network: Arc<Network>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) ledger: Ledger,
    pub(crate) keychain: Keychain,
    /// What is decided at the end, and nothing else then.
    pub(crate) closing: Option<Closing>,
    pub(crate) trace: Trace,
    /// What clients found wrong by themselves.
    pub(crate) complaint: Option<String>,
}

/// Seconds of wall time in one of the simulation: two days.
const RATE: u32 = 172_800;

/// The ballot at the end, and on whose machine it is tabled.
#[derive(Debug, Clone)]
pub(crate) struct Closing {
    pub(crate) machine: usize,
    pub(crate) ballot: BallotId,
    pub(crate) command: Command,
    pub(crate) text: PublicText,
}

/// A member's machine.
pub(crate) struct Machine {
    pub(crate) member: MemberId,
    pub(crate) disk: SimulatedDisk,
    pub(crate) clock: Clock,
    /// Decides what its member does.
    pub(crate) dice: Dice,
    /// While the node on it runs.
    pub(crate) consensus: Option<Consensus>,
    /// Whether its member lies.
    pub(crate) lies: bool,
}

impl Machine {
    /// Its name in the simulated network.
    pub(crate) fn host(&self) -> String {
        host(self.member)
    }
}

/// The name of a member's machine in the simulated network.
pub(crate) fn host(member: MemberId) -> String {
    format!("{}.comity.example", member.to_lowercase())
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let federation = Federation::with(plan.voters, |document| document.rules = plan.habits.rules);
        let everybody = members(plan.machines());
        let network = Arc::new(Network::new(plan, &everybody));
        let mut dice = Dice::new(plan.seed, "machines");
        let created = federation.genesis.document().created.as_micros();
        let habits = DiskHabits { sync_max_ms: plan.habits.sync_max_ms, dies_once_in: plan.habits.dies_once_in };
        let machine = |(n, member): (usize, MemberId)| {
            let most = plan.habits.skew_max_s.saturating_mul(1_000_000);
            let skew = i64::try_from(dice.between(0, most * 2)).unwrap_or(0) - i64::try_from(most).unwrap_or(0);
            Machine {
                member,
                disk: SimulatedDisk::new(habits),
                clock: Clock { epoch_micros: created + 86_400_000_000 * 3, rate: RATE, skew_micros: skew },
                dice: Dice::new(plan.seed, &format!("member {member}")),
                consensus: None,
                lies: plan.habits.liar && n + 1 == plan.voters,
            }
        };
        let machines = everybody.into_iter().enumerate().map(machine).collect();
        Self {
            federation,
            network,
            machines,
            ledger: Ledger::default(),
            keychain: Keychain::of(plan.machines()),
            closing: None,
            trace: Trace::new(plan.seed, plan.shown),
            plan: plan.clone(),
            complaint: None,
        }
    }

    /// The place of a member among the machines.
    pub(crate) fn place(&self, member: MemberId) -> usize {
        self.machines.iter().position(|machine| machine.member == member).expect("a member of this world")
    }

    /// Looks at the list of the running node that is furthest, where one runs.
    pub(crate) fn furthest<R>(&self, look: impl FnOnce(&ListState) -> R) -> Option<R> {
        let running = self.machines.iter().filter_map(|machine| machine.consensus.as_ref());
        let furthest = running.max_by_key(|node| node.read(|list| list.commands().size()))?;
        Some(furthest.read(look))
    }

    pub(crate) fn line(&mut self, at: Duration, what: &str) {
        self.trace.line(at, what);
    }
}

/// How long the simulation has run, asked by something in it.
pub(crate) fn elapsed() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

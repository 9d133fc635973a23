//! What a seed decides before anything runs.

use std::time::Duration;

use comity_core::fault::Fault;

use crate::dice::Dice;

/// Above so many voting members steps are longer and the whole is shorter: each member more is a link to every other.
const MANY: usize = 12;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything follows from it.
    pub(crate) seed: u64,
    /// Voting members.
    pub(crate) voters: usize,
    /// How long things go wrong, before everything is healed.
    pub(crate) turmoil: Duration,
    /// How long healing may take.
    pub(crate) healing: Duration,
    /// What the software gets wrong, if anything.
    pub(crate) fault: Option<Fault>,
    /// Write what happens to stderr.
    pub(crate) shown: bool,
    /// How long a step of the simulation is.
    pub(crate) tick: Duration,
    pub(crate) habits: Habits,
}

/// How bad it is.
#[derive(Debug, Clone)]
pub(crate) struct Habits {
    /// The longest that a sync takes.
    pub(crate) sync_max_ms: u64,
    /// Of so many syncs one is a node's last.
    pub(crate) dies_once_in: u64,
    /// Calls of which the request or the answer is lost, in a thousand.
    pub(crate) lost_per_mille: u64,
    /// The longest that a message travels.
    pub(crate) latency_max_ms: u64,
    /// Between two things that go wrong.
    pub(crate) calm_max_ms: u64,
    /// How far a clock may be off, in seconds of wall time.
    pub(crate) skew_max_s: u64,
    /// Whether the last member lies in what it hands in.
    pub(crate) liar: bool,
}

impl Plan {
    /// What this seed decides for so many voting members.
    pub fn new(seed: u64, voters: usize) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let habits = Habits {
            sync_max_ms: dice.between(1, 25),
            dies_once_in: *dice.pick(&[0, 100, 300, 1_000]).unwrap_or(&0),
            lost_per_mille: *dice.pick(&[0, 5, 20, 80]).unwrap_or(&0),
            latency_max_ms: dice.between(2, 120),
            calm_max_ms: dice.between(800, 4_000),
            skew_max_s: dice.between(0, 3_600 * 48),
            liar: dice.percent(70),
        };
        Self {
            seed,
            voters,
            turmoil: Duration::from_secs(if voters > MANY { 10 } else { 30 }),
            healing: Duration::from_secs(60),
            fault: None,
            shown: false,
            tick: Duration::from_millis(if voters > MANY { 5 } else { 1 }),
            habits,
        }
    }

    /// The same, of software that gets something wrong.
    pub fn with_fault(self, fault: Option<Fault>) -> Self {
        Self { fault, ..self }
    }

    /// The same, each line of what happens written to stderr.
    pub fn shown(self, shown: bool) -> Self {
        Self { shown, ..self }
    }
}

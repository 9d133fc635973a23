//! What a seed decides before anything runs.

use std::time::Duration;

use comity_core::fault::Fault;
use comity_core::rule::{BallotKind, Rule, Rules};

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
    /// Whether members are suspended, expelled, readmitted and admitted, and lose keys.
    pub(crate) politics: bool,
    /// Of a hundred ballots so many a member leaves alone.
    pub(crate) lazy_percent: u64,
    pub(crate) rules: Rules,
}

impl Plan {
    /// What this seed decides for so many voting members.
    pub fn new(seed: u64, voters: usize) -> Self {
        let mut dice = Dice::new(seed, "plan");
        // Now and then everything goes wrong at once, on slow disks.
        let rough = voters <= MANY && dice.percent(25);
        let habits = Habits {
            sync_max_ms: if rough { dice.between(20, 120) } else { dice.between(1, 25) },
            dies_once_in: *dice.pick::<u64>(if rough { &[20, 60] } else { &[0, 100, 300, 1_000] }).unwrap_or(&0),
            lost_per_mille: *dice.pick(&[0, 5, 20, 80]).unwrap_or(&0),
            latency_max_ms: dice.between(2, 120),
            calm_max_ms: if rough { dice.between(200, 900) } else { dice.between(800, 4_000) },
            skew_max_s: dice.between(0, 3_600 * 48),
            liar: dice.percent(70),
            politics: voters <= MANY && dice.percent(75),
            lazy_percent: *dice.pick(&[0, 15, 45]).unwrap_or(&0),
            rules: rules(&mut dice),
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

    /// The machines that there are: the voting members', and that of one who may join.
    pub(crate) fn machines(&self) -> usize {
        self.voters + usize::from(self.habits.politics)
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

/// Short enough for a simulation that lasts some weeks.
const RULES: [&str; 5] = [
    "quorum(1/2)",
    "quorum(2/3)",
    "unanimity",
    "no_objection(period=3,notice=1,presence=2/3,closing=17,hold=1,extension=1)",
    "no_objection(period=4,notice=2,presence=3/4,closing=9,hold=1,extension=1)",
];

/// Any rule.
pub(crate) fn rule(dice: &mut Dice) -> Rule {
    dice.pick(&RULES).and_then(|rule| rule.parse().ok()).unwrap_or(Rule::Unanimity)
}

/// Any for what is on the list; for who belongs, one under which something happens.
fn rules(dice: &mut Dice) -> Rules {
    let mut rules = Rules::uniform("quorum(1/2)".parse().unwrap_or(Rule::Unanimity));
    for kind in [BallotKind::List, BallotKind::Amend, BallotKind::Delist, BallotKind::Merge] {
        rules.set(kind, rule(dice));
    }
    rules.reverse_silence_days = 5;
    rules
}

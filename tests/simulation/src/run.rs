//! One simulation, from its plan to its end.

use std::any::Any;
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use comity_consensus::simulation::{DiskHabits, set_seed};
use comity_core::MemberId;
use comity_core::fault;
use comity_core::list::{Ballot, BallotState, ListState};
use comity_core::testing::{ballot_id, proposal_id, public_text};
use turmoil::Sim;

use crate::history::History;
use crate::invariants::Broken;
use crate::keychain::is_able;
use crate::ledger::Ledger;
use crate::nemesis::Nemesis;
use crate::node;
use crate::plan::Plan;
use crate::world::{Closing, Shared, World};

/// How often everything is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long after its list a node's disk may be another.
const SETTLING: Duration = Duration::from_secs(1);

/// How a simulation went that broke nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// A hash over everything that happened.
    pub trace: String,
    /// How many lines that was.
    pub lines: u64,
    /// Leaves of the command log.
    pub leaves: u64,
    /// Entries on the list.
    pub entries: u64,
    /// Commands that were handed in.
    pub handed_in: usize,
    /// Of them, those that were acknowledged.
    pub acknowledged: usize,
}

/// What a simulation broke.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// An invariant does not hold.
    #[error("after {at:?}: {broken}")]
    Broken {
        /// When it showed.
        at: Duration,
        /// What.
        broken: Broken,
    },
    /// It did not heal.
    #[error("not healed after {0:?}: {1}")]
    NotHealed(Duration, String),
    /// Something panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// A node ended by itself.
    #[error("after {0:?} a node ended: {1}")]
    Ended(Duration, String),
}

/// Runs a simulation. It is the only one in this thread.
///
/// # Errors
/// What it broke.
pub fn run(plan: &Plan) -> Result<Report, Failure> {
    set_seed(Some(plan.seed));
    fault::set(plan.fault);
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| simulate(plan)));
    fault::set(None);
    set_seed(None);
    result.unwrap_or_else(|panic| Err(Failure::Panicked(message(&*panic))))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a word".to_owned())
}

fn simulate(plan: &Plan) -> Result<Report, Failure> {
    let world: Shared = Rc::new(RefCell::new(World::new(plan)));
    let mut sim = turmoil::Builder::new()
        .rng_seed(plan.seed)
        .epoch(UNIX_EPOCH + Duration::from_secs(1_764_000_000))
        .simulation_duration(plan.turmoil + plan.healing + SETTLING * 2)
        .tick_duration(plan.tick)
        .tcp_capacity(1_024)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(plan.habits.latency_max_ms))
        .enable_random_order()
        .build();
    let machines = world.borrow().machines.len();
    for machine in 0..machines {
        let host = world.borrow().machines[machine].host();
        let world = Rc::clone(&world);
        sim.host(host, move || node::run(Rc::clone(&world), machine));
    }
    let history = History::new(&world.borrow());
    let mut course = Course { history, world, looked: Duration::ZERO };
    let mut nemesis = Nemesis::new(plan);
    while sim.elapsed() < plan.turmoil {
        nemesis.act(&mut sim, &course.world);
        course.step(&mut sim)?;
    }
    course.calm(&mut sim, &mut nemesis);
    course.heal(&mut sim, &mut nemesis, plan)?;
    course.settle(&mut sim)?;
    course.report(&sim)
}

struct Course {
    world: Shared,
    history: History,
    looked: Duration,
}

impl Course {
    fn step(&mut self, sim: &mut Sim<'_>) -> Result<(), Failure> {
        sim.step().map_err(|error| Failure::Ended(sim.elapsed(), error.to_string()))?;
        let now = sim.elapsed();
        if now >= self.looked + LOOK_EVERY {
            self.looked = now;
            self.look(now)?;
        }
        Ok(())
    }

    fn look(&mut self, now: Duration) -> Result<(), Failure> {
        let down: Vec<usize> = {
            let world = self.world.borrow();
            (0..world.machines.len()).filter(|n| world.machines[*n].consensus.is_none()).collect()
        };
        down.into_iter().for_each(|machine| self.history.forget(machine));
        self.history.look(&self.world, now).map_err(|broken| Failure::Broken { at: now, broken })
    }

    /// Nothing goes wrong any more.
    fn calm(&mut self, sim: &mut Sim<'_>, nemesis: &mut Nemesis) {
        {
            let mut world = self.world.borrow_mut();
            world.network.clear_up();
            let sync_max_ms = world.plan.habits.sync_max_ms;
            for machine in &world.machines {
                machine.disk.set_habits(DiskHabits { sync_max_ms, dies_once_in: 0 });
            }
            world.line(sim.elapsed(), "everything heals");
        }
        nemesis.bury(sim, &self.world);
        nemesis.heal(sim, &self.world);
    }

    /// Until every voting member's node runs, and a new ballot on which all vote is decided on each of them.
    fn heal(&mut self, sim: &mut Sim<'_>, nemesis: &mut Nemesis, plan: &Plan) -> Result<(), Failure> {
        let began = sim.elapsed();
        loop {
            nemesis.bury(sim, &self.world);
            nemesis.heal(sim, &self.world);
            self.step(sim)?;
            let Some(open) = self.open(sim) else { return Ok(()) };
            let waited = sim.elapsed().saturating_sub(began);
            if waited > plan.healing {
                return Err(Failure::NotHealed(waited, open));
            }
        }
    }

    /// What was applied is on the disks.
    fn settle(&mut self, sim: &mut Sim<'_>) -> Result<(), Failure> {
        self.history.note_applied(&self.world.borrow());
        let until = sim.elapsed() + SETTLING;
        while sim.elapsed() < until {
            self.step(sim)?;
        }
        Ok(())
    }

    /// What is still open; nothing once it has healed.
    fn open(&self, sim: &Sim<'_>) -> Option<String> {
        let mut world = self.world.borrow_mut();
        let Some(voters) = world.furthest(|list| list.roster().voters().keys().copied().collect::<Vec<_>>()) else {
            return Some("no node runs".to_owned());
        };
        let down = |voter: &MemberId| world.machines[world.place(*voter)].consensus.is_none();
        if let Some(down) = voters.iter().find(|voter| down(voter)) {
            return Some(format!("{down}'s node does not run"));
        }
        let able = |member: MemberId| world.furthest(|list| is_able(list, member)) == Some(true);
        let failed = |id| world.furthest(|list| list.ballot(&id).is_some_and(|ballot| has_failed(list, ballot)));
        let stands = |closing: &Closing| failed(closing.ballot) != Some(true);
        let tabling = world.closing.clone().filter(stands);
        let tabling = tabling.filter(|closing| able(world.machines[closing.machine].member));
        let Some(closing) = tabling else {
            let Some(member) = voters.into_iter().find(|voter| able(*voter)) else {
                return Some("no member is left that can decide anything".to_owned());
            };
            world.line(sim.elapsed(), &format!("every node runs, and {member} tables the last ballot"));
            let (machine, serial) = (world.place(member), world.ledger.serial());
            let text = public_text(serial);
            let command = world.federation.table_command(proposal_id(member, serial), &text, serial);
            world.closing = Some(Closing { machine, ballot: ballot_id(&command), command, text });
            return Some("nothing is tabled".to_owned());
        };
        let id = closing.ballot;
        let waits = |voter: &&MemberId| {
            let node = world.machines[world.place(**voter)].consensus.as_ref();
            !node.is_some_and(|node| node.read(|list| list.ballot(&id).is_some_and(|ballot| is_done(list, ballot))))
        };
        voters.iter().find(waits).map(|voter| format!("ballot {id} is not decided at {voter}'s node"))
    }

    fn report(mut self, sim: &Sim<'_>) -> Result<Report, Failure> {
        let now = sim.elapsed();
        self.look(now)?;
        let world = self.world.borrow();
        self.history.end(&world).map_err(|broken| Failure::Broken { at: now, broken })?;
        let entries = world.machines.iter().filter_map(|machine| machine.consensus.as_ref());
        let entries = entries.map(|node| node.read(|list| list.entry_count())).max().unwrap_or(0);
        let ledger: &Ledger = &world.ledger;
        Ok(Report {
            trace: world.trace.hash(),
            lines: world.trace.lines(),
            leaves: self.history.len(),
            entries: entries as u64,
            handed_in: ledger.commands().len(),
            acknowledged: ledger.acknowledged(),
        })
    }
}

/// Whether a ballot for which all vote has come to its end: where all can vote it is adopted.
fn is_done(list: &ListState, ballot: &Ballot) -> bool {
    let mut able = ballot.electorate.iter().filter(|member| is_able(list, **member));
    let all = ballot.electorate.iter().all(|member| is_able(list, *member));
    matches!(ballot.state, BallotState::Adopted(_))
        || !all && (!ballot.is_open() || able.all(|member| ballot.votes.contains_key(member)))
}

/// Whether a ballot that could have been adopted was not: list time had to catch up, and notice was over at once.
fn has_failed(list: &ListState, ballot: &Ballot) -> bool {
    let adopted = matches!(ballot.state, BallotState::Adopted(_));
    !ballot.is_open() && !adopted && ballot.electorate.iter().all(|member| is_able(list, *member))
}

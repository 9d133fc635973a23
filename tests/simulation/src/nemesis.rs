//! What goes wrong: machines crash, one or several at a time, links are cut or stall, in one direction or both.

use std::collections::BTreeMap;
use std::time::Duration;

use turmoil::Sim;

use crate::dice::Dice;
use crate::plan::Plan;
use crate::world::{Machine, Shared};

/// Decides what goes wrong and when it is mended.
pub(crate) struct Nemesis {
    dice: Dice,
    calm_max_ms: u64,
    next: Duration,
    /// Crashed machines, and when they start again.
    down: BTreeMap<usize, Duration>,
    /// Links that are cut, and when they are mended.
    cuts: BTreeMap<(usize, usize), (Cut, Duration)>,
}

/// What is the matter with a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Nothing passes.
    Both,
    /// Nothing passes from the first to the second.
    OneWay,
    /// Everything waits.
    Stalled,
}

impl Nemesis {
    pub(crate) fn new(plan: &Plan) -> Self {
        let dice = Dice::new(plan.seed, "nemesis");
        let next = Duration::from_millis(1_500);
        Self { dice, calm_max_ms: plan.habits.calm_max_ms, next, down: BTreeMap::new(), cuts: BTreeMap::new() }
    }

    /// Between two steps.
    pub(crate) fn act(&mut self, sim: &mut Sim<'_>, world: &Shared) {
        let now = sim.elapsed();
        self.bury(sim, world);
        let due: Vec<usize> = self.down.iter().filter(|(_, at)| **at <= now).map(|(n, _)| *n).collect();
        due.into_iter().for_each(|machine| self.restart(sim, world, machine));
        let due: Vec<_> = self.cuts.iter().filter(|(_, (_, at))| *at <= now).map(|(link, _)| *link).collect();
        due.into_iter().for_each(|link| self.mend(sim, world, link));
        if now < self.next {
            return;
        }
        self.next = now + Duration::from_millis(self.dice.between(100, self.calm_max_ms));
        let machines = world.borrow().machines.len();
        let any = self.dice.between(0, machines as u64 - 1) as usize;
        match self.dice.between(0, 11) {
            // Several at one time, as where a power cut or a bad update takes them.
            10 | 11 => {
                let struck: Vec<usize> = (0..machines).filter(|_| self.dice.percent(65)).collect();
                struck.into_iter().for_each(|machine| self.crash(sim, world, machine));
            }
            0..3 => self.crash(sim, world, any),
            // The one that leads, where one does.
            3 => {
                let leader = leader(world).unwrap_or(any);
                self.crash(sim, world, leader);
            }
            4 => self.isolate(sim, world, any, Cut::Both),
            5 => {
                let leader = leader(world).unwrap_or(any);
                let cut = if self.dice.percent(50) { Cut::Both } else { Cut::OneWay };
                self.isolate(sim, world, leader, cut);
            }
            6 | 7 => self.split(sim, world),
            _ => {
                let other = self.dice.between(0, machines as u64 - 1) as usize;
                let cut = *self.dice.pick(&[Cut::Both, Cut::OneWay, Cut::Stalled]).unwrap_or(&Cut::Both);
                self.cut(sim, world, (any, other), cut);
            }
        }
    }

    /// Crashes machines whose node came to its end in a sync.
    pub(crate) fn bury(&mut self, sim: &mut Sim<'_>, world: &Shared) {
        let died: Vec<usize> = {
            let world = world.borrow();
            world.machines.iter().enumerate().filter(|(_, m)| m.disk.take_died()).map(|(n, _)| n).collect()
        };
        died.into_iter().for_each(|machine| self.crash(sim, world, machine));
    }

    /// Everything is mended, and every machine runs again.
    pub(crate) fn heal(&mut self, sim: &mut Sim<'_>, world: &Shared) {
        let down: Vec<usize> = self.down.keys().copied().collect();
        down.into_iter().for_each(|machine| self.restart(sim, world, machine));
        let cuts: Vec<_> = self.cuts.keys().copied().collect();
        cuts.into_iter().for_each(|link| self.mend(sim, world, link));
    }

    /// As a power cut does: nobody is told.
    ///
    /// Whatever a node still says while it is taken down would be said in an order that tokio takes from a counter of the
    /// whole process, and no seed repeats that.
    fn crash(&mut self, sim: &mut Sim<'_>, world: &Shared, machine: usize) {
        if self.down.contains_key(&machine) {
            return;
        }
        self.cuts.retain(|(a, b), _| *a != machine && *b != machine);
        let (host, others) = {
            let mut world = world.borrow_mut();
            let now = sim.elapsed();
            let member = world.machines[machine].member;
            world.line(now, &format!("{member} crashes"));
            let others: Vec<String> = world.machines.iter().map(Machine::host).collect();
            (world.machines[machine].host(), others)
        };
        others.into_iter().filter(|other| *other != host).for_each(|other| sim.partition(host.as_str(), other));
        sim.crash(host);
        let mut world = world.borrow_mut();
        world.machines[machine].consensus = None;
        // What it was about to say of its disk it does not say any more.
        world.machines[machine].disk.take_died();
        let pause = self.dice.between(50, 4_000);
        self.down.insert(machine, sim.elapsed() + Duration::from_millis(pause));
    }

    fn restart(&mut self, sim: &mut Sim<'_>, world: &Shared, machine: usize) {
        self.down.remove(&machine);
        let host = {
            let world = world.borrow();
            let own = &world.machines[machine];
            for (n, other) in world.machines.iter().enumerate() {
                if n != machine && !self.down.contains_key(&n) {
                    sim.repair(own.host(), other.host());
                    world.network.mend(own.member, other.member);
                }
            }
            own.host()
        };
        sim.bounce(host);
    }

    fn isolate(&mut self, sim: &mut Sim<'_>, world: &Shared, machine: usize, cut: Cut) {
        let machines = world.borrow().machines.len();
        let outward = self.dice.percent(50);
        for other in 0..machines {
            let link = if outward { (machine, other) } else { (other, machine) };
            self.cut(sim, world, link, cut);
        }
    }

    fn split(&mut self, sim: &mut Sim<'_>, world: &Shared) {
        let machines = world.borrow().machines.len();
        let side: Vec<bool> = (0..machines).map(|_| self.dice.percent(50)).collect();
        for a in 0..machines {
            for b in a + 1..machines {
                if side[a] != side[b] {
                    self.cut(sim, world, (a, b), Cut::Both);
                }
            }
        }
    }

    fn cut(&mut self, sim: &mut Sim<'_>, world: &Shared, link: (usize, usize), cut: Cut) {
        let (a, b) = link;
        let down = |machine: usize| self.down.contains_key(&machine);
        if a == b || down(a) || down(b) || self.cuts.contains_key(&(a, b)) || self.cuts.contains_key(&(b, a)) {
            return;
        }
        let (from, to) = {
            let mut world = world.borrow_mut();
            let line = format!("{} to {}: {cut:?}", world.machines[a].member, world.machines[b].member);
            world.line(sim.elapsed(), &line);
            (world.machines[a].host(), world.machines[b].host())
        };
        match cut {
            Cut::Both => sim.partition(from, to),
            Cut::OneWay => sim.partition_oneway(from, to),
            Cut::Stalled => sim.hold(from, to),
        }
        let pause = self.dice.between(200, 6_000);
        self.cuts.insert(link, (cut, sim.elapsed() + Duration::from_millis(pause)));
    }

    fn mend(&mut self, sim: &mut Sim<'_>, world: &Shared, link: (usize, usize)) {
        let Some((cut, _)) = self.cuts.remove(&link) else { return };
        let mut world = world.borrow_mut();
        let (a, b) = (&world.machines[link.0], &world.machines[link.1]);
        let (from, to) = (a.host(), b.host());
        match cut {
            Cut::Both => sim.repair(from, to),
            Cut::OneWay => sim.repair_oneway(from, to),
            Cut::Stalled => sim.release(from, to),
        }
        if cut != Cut::Stalled {
            world.network.mend(a.member, b.member);
        }
        let line = format!("{} to {}: mended", a.member, b.member);
        world.line(sim.elapsed(), &line);
    }
}

fn leader(world: &Shared) -> Option<usize> {
    let world = world.borrow();
    let running = world.machines.iter().filter_map(|machine| machine.consensus.as_ref());
    // Of several that think that they lead, the one of the latest term does.
    let latest = running.map(|node| node.status()).max_by_key(|status| status.term)?;
    world.machines.iter().position(|machine| Some(machine.member) == latest.leader)
}

//! The one history that all honest nodes must have: gathered from them leaf by leaf, and shown to every invariant.

use std::time::Duration;

use comity_consensus::ListStatus;
use comity_core::canonical::Hex32;
use comity_core::fault;
use comity_core::list::{Command, ListState};
use comity_core::merkle;
use comity_core::{Envelope, MemberId};
use futures::FutureExt as _;

use crate::invariants::{Broken, Invariant, all};
use crate::judge::Judge;
use crate::world::{Machine, Shared, World};

/// How many leaves are fetched at a time.
const FETCH: usize = 256;

/// A leaf of the command log, as some node first showed it.
pub(crate) struct Leaf {
    pub(crate) number: u64,
    pub(crate) hash: Hex32,
    pub(crate) envelope: Vec<u8>,
    pub(crate) command: Command,
    pub(crate) signed: Envelope,
    pub(crate) shown_by: MemberId,
}

/// How a running node stands.
pub(crate) struct NodeView<'a> {
    pub(crate) member: MemberId,
    pub(crate) list: &'a ListState,
    pub(crate) status: &'a ListStatus,
    /// The leaf from which on this node has not been looked at since it started.
    pub(crate) from: u64,
    /// Everything that is known of the history, this node's leaves among it.
    pub(crate) leaves: &'a [Leaf],
    /// What they come to.
    pub(crate) judge: &'a Judge,
    pub(crate) world: &'a World,
    pub(crate) now: Duration,
}

impl NodeView<'_> {
    /// Whether it shows leaves that it was not looked at with: what was right stays right.
    pub(crate) fn has_grown(&self) -> bool {
        self.from < self.list.commands().size()
    }
}

/// How everything stands when it has healed.
pub(crate) struct EndView<'a> {
    pub(crate) leaves: &'a [Leaf],
    pub(crate) judge: &'a Judge,
    pub(crate) world: &'a World,
    /// How far each machine's node had applied a while before.
    pub(crate) applied: &'a [u64],
}

/// What was seen of the history, and what must hold of it.
pub(crate) struct History {
    leaves: Vec<Leaf>,
    judge: Judge,
    /// How far each machine's node was looked at, since it started.
    looked: Vec<u64>,
    /// How far each had applied a while before the end.
    applied: Vec<u64>,
    invariants: Vec<Box<dyn Invariant>>,
}

impl History {
    pub(crate) fn new(world: &World) -> Self {
        let judge = Judge::new(&world.federation.genesis);
        Self {
            leaves: Vec::new(),
            judge,
            looked: vec![0; world.machines.len()],
            applied: vec![0; world.machines.len()],
            invariants: all(world),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// A machine was crashed: its node is looked at anew.
    pub(crate) fn forget(&mut self, machine: usize) {
        self.looked[machine] = 0;
    }

    /// Looks at every node that runs. What is looked for must not be in what looks: there are no faults here.
    pub(crate) fn look(&mut self, world: &Shared, now: Duration) -> Result<(), Broken> {
        fault::without(|| {
            let lines = {
                let world = world.borrow();
                let mut lines = Vec::new();
                if let Some(complaint) = &world.complaint {
                    return Err(Broken { invariant: "answers are true", what: complaint.clone() });
                }
                for machine in 0..world.machines.len() {
                    lines.extend(self.look_at(&world, machine, now)?);
                }
                lines
            };
            let mut world = world.borrow_mut();
            lines.iter().for_each(|line| world.line(now, line));
            Ok(())
        })
    }

    fn look_at(&mut self, world: &World, machine: usize, now: Duration) -> Result<Option<String>, Broken> {
        let Some(consensus) = &world.machines[machine].consensus else { return Ok(None) };
        let member = world.machines[machine].member;
        let size = consensus.read(|list| list.commands().size());
        while self.len() < size {
            // A node whose log is being cut off is looked at later.
            let Some(Ok(envelopes)) = consensus.envelopes(self.len(), FETCH).now_or_never() else { return Ok(None) };
            if envelopes.is_empty() {
                return Ok(None);
            }
            for envelope in envelopes {
                let broken = |what| Broken { invariant: "leaves are commands", what };
                let (command, signed) = read(&envelope).map_err(broken)?;
                let (number, hash) = (self.len(), merkle::leaf_hash(&envelope));
                let leaf = Leaf { number, hash, envelope, command, signed, shown_by: member };
                for invariant in &mut self.invariants {
                    let held = invariant.leaf(&leaf, &self.judge);
                    held.map_err(|what| Broken { invariant: invariant.name(), what })?;
                }
                self.judge.hear(&leaf);
                self.leaves.push(leaf);
            }
        }
        let status = consensus.status();
        let from = self.looked[machine];
        let (leaves, judge, invariants) = (&self.leaves, &self.judge, &mut self.invariants);
        let (size, root) = consensus.read(|list| {
            let view = NodeView { member, list, status: &status, from, leaves, judge, world, now };
            for invariant in invariants {
                invariant.node(&view).map_err(|what| Broken { invariant: invariant.name(), what })?;
            }
            Ok((list.commands().size(), list.commands().root()))
        })?;
        self.looked[machine] = size;
        let grown = size > from;
        let leader = status.leader.map_or("nobody".to_owned(), |leader| leader.to_string());
        Ok(grown.then(|| format!("{member} has {size} leaves, root {root}; {leader} leads term {}", status.term)))
    }

    /// From here on it is given time to put down what it has applied.
    pub(crate) fn note_applied(&mut self, world: &World) {
        let size = |machine: &Machine| machine.consensus.as_ref().map_or(0, |node| node.read(|l| l.commands().size()));
        self.applied = world.machines.iter().map(size).collect();
    }

    /// Looks at everything once it has healed.
    pub(crate) fn end(&mut self, world: &World) -> Result<(), Broken> {
        let view = EndView { leaves: &self.leaves, judge: &self.judge, world, applied: &self.applied };
        fault::without(|| {
            for invariant in &mut self.invariants {
                invariant.end(&view).map_err(|what| Broken { invariant: invariant.name(), what })?;
            }
            Ok(())
        })
    }
}

/// What an envelope says, whoever signed it.
fn read(bytes: &[u8]) -> Result<(Command, Envelope), String> {
    let envelope = Envelope::from_bytes(bytes).map_err(|e| e.to_string())?;
    let command = Command::from_payload(&envelope.payload_type, &envelope.payload);
    let command = command.ok_or_else(|| format!("payload type {}", envelope.payload_type))?;
    Ok((command.map_err(|e| e.to_string())?, envelope))
}

//! What members handed in, and what they were answered. It stands outside the nodes: no crash touches it.

use std::collections::BTreeMap;

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::list::Submission;
use comity_core::merkle;

/// A command that somebody handed in.
#[derive(Debug, Clone)]
pub(crate) struct HandedIn {
    /// At whose node, first.
    pub(crate) by: MemberId,
    pub(crate) submission: Submission,
    pub(crate) leaf_hash: Hex32,
    /// The leaf that was answered.
    pub(crate) acknowledged: Option<u64>,
}

/// Everything that was handed in.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    commands: Vec<HandedIn>,
    by_hash: BTreeMap<Hex32, usize>,
    serial: u64,
}

impl Ledger {
    /// A serial that no other call returned.
    pub(crate) fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Writes a command down before it is handed in; answers its number.
    pub(crate) fn hand_in(&mut self, by: MemberId, submission: &Submission) -> usize {
        let leaf_hash = merkle::leaf_hash(&submission.envelope);
        if let Some(known) = self.by_hash.get(&leaf_hash) {
            return *known;
        }
        let number = self.commands.len();
        self.commands.push(HandedIn { by, submission: submission.clone(), leaf_hash, acknowledged: None });
        self.by_hash.insert(leaf_hash, number);
        number
    }

    /// Writes down that it was acknowledged at a leaf; answers the leaf at which it was acknowledged before, if another.
    pub(crate) fn acknowledge(&mut self, number: usize, leaf: u64) -> Result<(), u64> {
        match self.commands.get_mut(number) {
            Some(HandedIn { acknowledged: Some(before), .. }) if *before != leaf => Err(*before),
            Some(command) => {
                command.acknowledged = Some(leaf);
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(crate) fn commands(&self) -> &[HandedIn] {
        &self.commands
    }

    /// How many were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.commands.iter().filter(|command| command.acknowledged.is_some()).count()
    }
}

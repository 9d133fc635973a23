//! Every command in the log could be taken as things stood: its id new, its ballot open, its turn.

use super::Invariant;
use crate::history::Leaf;
use crate::judge::Judge;

pub(crate) struct CommandsFit;

impl Invariant for CommandsFit {
    fn name(&self) -> &'static str {
        "commands are taken where they fit"
    }

    fn leaf(&mut self, leaf: &Leaf, judge: &Judge) -> Result<(), String> {
        judge.fits(&leaf.command).map_err(|problem| format!("leaf {}: {problem}", leaf.number))
    }
}

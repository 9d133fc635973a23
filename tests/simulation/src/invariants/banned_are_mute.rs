//! Whoever is suspended or expelled says nothing that has an effect.

use super::Invariant;
use crate::history::Leaf;
use crate::judge::Judge;

pub(crate) struct BannedAreMute;

impl Invariant for BannedAreMute {
    fn name(&self) -> &'static str {
        "whoever is suspended or expelled is not heard"
    }

    fn leaf(&mut self, leaf: &Leaf, judge: &Judge) -> Result<(), String> {
        let heard = judge.person(leaf.command.member()).map(|person| person.is_heard(&leaf.command));
        heard.unwrap_or(Ok(())).map_err(|problem| format!("leaf {}: {problem}", leaf.number))
    }
}

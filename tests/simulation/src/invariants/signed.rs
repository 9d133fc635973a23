//! Every command in the log was signed by its member, with the keys that it had then, for this federation.

use super::Invariant;
use crate::history::Leaf;
use crate::judge::Judge;

pub(crate) struct Signed;

impl Invariant for Signed {
    fn name(&self) -> &'static str {
        "commands are signed by their member"
    }

    fn leaf(&mut self, leaf: &Leaf, judge: &Judge) -> Result<(), String> {
        let member = leaf.command.member();
        if leaf.command.federation() != judge.federation {
            return Err(format!("leaf {} is of federation {}", leaf.number, leaf.command.federation()));
        }
        let person = judge.person(member).ok_or_else(|| format!("leaf {}: {member} is no member", leaf.number))?;
        person.has_signed(&leaf.command, &leaf.signed).map_err(|problem| format!("leaf {}: {problem}", leaf.number))
    }
}

//! Where a member has its people sign, two different ones signed whatever it decided.

use super::Invariant;
use crate::history::Leaf;
use crate::judge::Judge;

pub(crate) struct PeopleSign;

impl Invariant for PeopleSign {
    fn name(&self) -> &'static str {
        "people sign where they must"
    }

    fn leaf(&mut self, leaf: &Leaf, judge: &Judge) -> Result<(), String> {
        let signed =
            judge.person(leaf.command.member()).map(|person| person.people_have_signed(&leaf.command, &leaf.signed));
        signed.unwrap_or(Ok(())).map_err(|problem| format!("leaf {}: {problem}", leaf.number))
    }
}

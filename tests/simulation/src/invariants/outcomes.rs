//! Every ballot stands as a plain reading of the log has it, and as many leaves are published.

use super::Invariant;
use crate::history::NodeView;
use crate::judge::End;

pub(crate) struct Outcomes;

impl Invariant for Outcomes {
    fn name(&self) -> &'static str {
        "ballots end as the rules have it"
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        if !node.has_grown() {
            return Ok(());
        }
        let (member, size) = (node.member, node.list.commands().size());
        for ballot in node.list.ballots() {
            let known = node.judge.ballot(ballot.id).ok_or_else(|| format!("{member} shows ballot {}", ballot.id))?;
            let expected = known.end.filter(|(_, leaf)| *leaf < size).map(|(end, _)| end);
            if End::of(&ballot.state) != expected {
                let (id, state) = (ballot.id, &ballot.state);
                return Err(format!("{member} shows ballot {id} as {state} at {size} leaves, it is {expected:?}"));
            }
        }
        let published = node.judge.published.iter().filter(|(leaf, _)| *leaf < size).count() as u64;
        if node.list.public_log().size() == published {
            return Ok(());
        }
        Err(format!("{member} shows {} publications at {size} leaves, not {published}", node.list.public_log().size()))
    }
}

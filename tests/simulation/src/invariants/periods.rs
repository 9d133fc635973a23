//! No period ends before its time: not because somebody lies about time, and not while a hold stands.

use super::{Invariant, adopted_wrongly};
use crate::history::NodeView;
use crate::judge::How;

pub(crate) struct Periods;

impl Invariant for Periods {
    fn name(&self) -> &'static str {
        "no period ends early"
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        if !node.has_grown() {
            return Ok(());
        }
        let size = node.list.commands().size();
        let early = |end: Option<_>| end.is_none_or(|(_, leaf)| leaf >= size);
        let wrong = adopted_wrongly(node).filter(|ballot| !matches!(ballot.how, How::Consents(_)));
        match { wrong }.find(|ballot| early(ballot.end)) {
            Some(ballot) => Err(format!("{} shows ballot {} as adopted at {size} leaves", node.member, ballot.id)),
            None => Ok(()),
        }
    }
}

//! Nothing is adopted by the silence of members who took no notice.

use super::{Invariant, adopted_wrongly};
use crate::history::NodeView;
use crate::judge::{End, How};

pub(crate) struct Absent;

impl Invariant for Absent {
    fn name(&self) -> &'static str {
        "the absent do not consent"
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        let mut wrong = adopted_wrongly(node).filter(|ballot| matches!(ballot.how, How::Silence(_)));
        match wrong.find(|ballot| matches!(ballot.end, Some((End::Absence, _)))) {
            Some(ballot) if node.has_grown() => {
                Err(format!("{} shows ballot {} as adopted, by {:?} alone", node.member, ballot.id, ballot.present))
            }
            _ => Ok(()),
        }
    }
}

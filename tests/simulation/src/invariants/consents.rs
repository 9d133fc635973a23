//! No entry stands without the consents that its rule asks for, each signed by its member: counted here anew, from the leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use comity_core::MemberId;
use comity_core::canonical::Hex32;
use comity_core::genesis::Genesis;
use comity_core::list::{BallotId, Choice, Publication};
use comity_core::testing::Federation;

use super::Invariant;
use crate::history::{Leaf, NodeView};

/// Every vote of each member on a ballot, in their order: its leaf, what it says, and its leaf hash.
type Votes = BTreeMap<MemberId, Vec<(u64, Choice, Hex32)>>;

pub(crate) struct Consents {
    genesis: Arc<Genesis>,
    votes: BTreeMap<BallotId, Votes>,
    /// Publications that were looked at.
    published: u64,
}

impl Consents {
    pub(crate) fn new(federation: &Federation) -> Self {
        Self { genesis: Arc::clone(&federation.genesis), votes: BTreeMap::new(), published: 0 }
    }

    fn publication(&self, bytes: &[u8], command_leaf: u64) -> Result<(), String> {
        let publication: Publication = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let (entry, ballot) = (&publication.entry, publication.ballot);
        let mut counted = 0;
        let none = BTreeMap::new();
        for (member, votes) in self.votes.get(&ballot).unwrap_or(&none) {
            let standing = votes.iter().rev().find(|(leaf, ..)| *leaf <= command_leaf);
            let Some((_, choice, hash)) = standing.filter(|(_, choice, _)| *choice == Choice::Yes) else { continue };
            counted += 1;
            if !publication.consents.iter().any(|c| c.member == *member && c.vote == *hash) {
                return Err(format!("{entry} does not name the consent of {member}, {choice}"));
            }
        }
        if counted != publication.consents.len() {
            return Err(format!("{entry} names {} consents, there are {counted}", publication.consents.len()));
        }
        let needed = self.genesis.document().listing_rule.needed(self.genesis.voters().count());
        if counted < needed { Err(format!("{entry} has {counted} consents of {needed}")) } else { Ok(()) }
    }
}

impl Invariant for Consents {
    fn name(&self) -> &'static str {
        "no entry without its consents"
    }

    fn leaf(&mut self, leaf: &Leaf) -> Result<(), String> {
        let at = |problem: String| format!("leaf {}: {problem}", leaf.number);
        let said = &leaf.said;
        said.verify(&leaf.signed, &self.genesis).map_err(at)?;
        if let (Some(ballot), Some(choice)) = (said.ballot, said.choice) {
            let votes = self.votes.entry(ballot).or_default().entry(said.member).or_default();
            if votes.is_empty() == said.replaces.is_some() {
                return Err(at(format!("a vote of {} that does not name the one it replaces", said.member)));
            }
            votes.push((leaf.number, choice, leaf.hash));
        }
        Ok(())
    }

    fn node(&mut self, node: &NodeView<'_>) -> Result<(), String> {
        while let Some(bytes) = node.list.publication(self.published) {
            let known = node.leaves.len() as u64;
            // The command that caused it: the first size at which it is there.
            let caused = (0..known).find(|leaf| node.list.public_size_at(leaf + 1) > self.published);
            let Some(caused) = caused else { return Ok(()) };
            self.publication(bytes, caused)?;
            self.published += 1;
        }
        Ok(())
    }
}

//! Who belongs to the federation, by the roster as it stands.

use comity_core::Timestamp;
use comity_core::roster::Standing;
use comity_core::rule::Rules;

use crate::node::Node;

/// A member or recipient, whatever its status.
#[derive(Debug, Clone)]
pub struct MemberView {
    /// How it stands.
    pub standing: Standing,
    /// What its node has attested last, in its own time.
    pub attested: Option<Timestamp>,
}

/// The roster, for display.
#[derive(Debug, Clone)]
pub struct MembersView {
    /// Everybody who ever belonged to it, by code.
    pub members: Vec<MemberView>,
    /// The rule of each kind of ballot.
    pub rules: Rules,
    /// The rules version that is in force.
    pub rules_version: u32,
}

impl Node {
    /// The roster as it stands on this node.
    pub fn members(&self) -> MembersView {
        self.consensus.read(|list| MembersView {
            members: list
                .roster()
                .iter()
                .map(|standing| MemberView {
                    standing: standing.clone(),
                    attested: list.attested(standing.row.member).map(|attested| attested.time),
                })
                .collect(),
            rules: *list.roster().rules(),
            rules_version: list.rules_version(),
        })
    }
}

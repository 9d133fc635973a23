//! The hard rules of release: what no policy can lift.

use std::collections::BTreeSet;

use crate::marking::{Marking, Tier};
use crate::member::MemberId;
use crate::record::{RecordId, RecordKind};

/// How much of a record a party may have. Each is a document of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// That it exists: an opaque id, kind, marking; no title.
    Discover,
    /// The body.
    Read,
    /// The fields that reveal sources.
    ReadSources,
}

impl Action {
    /// Every action, least first.
    pub const ALL: [Self; 3] = [Self::Discover, Self::Read, Self::ReadSources];

    /// As it stands in policies and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Read => "read",
            Self::ReadSources => "read_sources",
        }
    }
}

/// How a party stands in the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartyStatus {
    /// In good standing.
    Active,
    /// Receives nothing until it is lifted.
    Suspended,
    /// Out.
    Expelled,
}

/// A member or recipient, as far as release is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Who.
    pub member: MemberId,
    /// How it stands.
    pub status: PartyStatus,
    /// Its node's accreditation: nothing above goes there.
    pub ceiling: Tier,
    /// Whether it votes; recipients do not.
    pub voting: bool,
}

/// What a release decision knows of a record: never its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHeader {
    /// Which.
    pub id: RecordId,
    /// What it is.
    pub kind: RecordKind,
    /// Whose it is.
    pub originator: MemberId,
    /// What restricts it.
    pub marking: Marking,
    /// To whom two people decided to show it.
    pub shared_with: BTreeSet<MemberId>,
}

/// Why a hard rule says no. Goes to the access log and the policy officer, never to the partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HardRule {
    /// The party is suspended or expelled.
    NotActive,
    /// The marking is above the accreditation of the party's node.
    AboveCeiling,
    /// The marking does not name the party.
    NotReleasable,
    /// Nobody decided to share it with the party.
    NotShared,
    /// It is another's record: only its originator releases it.
    NotOriginator,
}

impl HardRule {
    /// As it stands in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotActive => "hard:not-active",
            Self::AboveCeiling => "hard:above-ceiling",
            Self::NotReleasable => "hard:not-releasable",
            Self::NotShared => "hard:not-shared",
            Self::NotOriginator => "hard:not-originator",
        }
    }
}

/// Checks a release by `own` to `party` against every hard rule.
///
/// # Errors
/// The first rule that forbids it.
pub fn hard_rules(own: MemberId, party: &Party, header: &RecordHeader) -> Result<(), HardRule> {
    // INVARIANT: what originates with a state stays that state's; received copies are never passed on.
    if header.originator != own {
        return Err(HardRule::NotOriginator);
    }
    if party.status != PartyStatus::Active {
        return Err(HardRule::NotActive);
    }
    if header.marking.tier > party.ceiling {
        return Err(HardRule::AboveCeiling);
    }
    if !header.marking.releasable_to.contains(&party.member) {
        return Err(HardRule::NotReleasable);
    }
    if !header.shared_with.contains(&party.member) {
        return Err(HardRule::NotShared);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> (MemberId, Party, RecordHeader) {
        let own: MemberId = "FR".parse().unwrap();
        let de: MemberId = "DE".parse().unwrap();
        let mut marking = Marking::originator_only(Tier::Confidential);
        marking.releasable_to.insert(de);
        let party = Party { member: de, status: PartyStatus::Active, ceiling: Tier::Secret, voting: true };
        let header = RecordHeader {
            id: RecordId::new(own, RecordKind::Proposal, [7; 10]),
            kind: RecordKind::Proposal,
            originator: own,
            marking,
            shared_with: [de].into(),
        };
        (own, party, header)
    }

    #[test]
    fn each_rule_alone_forbids() {
        let (own, party, header) = case();
        assert_eq!(hard_rules(own, &party, &header), Ok(()));
        let mut other = party.clone();
        other.status = PartyStatus::Suspended;
        assert_eq!(hard_rules(own, &other, &header), Err(HardRule::NotActive));
        other = party.clone();
        other.ceiling = Tier::Restricted;
        assert_eq!(hard_rules(own, &other, &header), Err(HardRule::AboveCeiling));
        let mut hidden = header.clone();
        hidden.marking.releasable_to.clear();
        assert_eq!(hard_rules(own, &party, &hidden), Err(HardRule::NotReleasable));
        hidden = header.clone();
        hidden.shared_with.clear();
        assert_eq!(hard_rules(own, &party, &hidden), Err(HardRule::NotShared));
        assert_eq!(hard_rules("DE".parse().unwrap(), &party, &header), Err(HardRule::NotOriginator));
    }
}

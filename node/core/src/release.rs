//! The hard rules of release: what no policy can lift.

use crate::marking::{Marking, Tier};
use crate::member::MemberId;
use crate::record::{RecordId, RecordKind};
use crate::timestamp::Timestamp;

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
    /// What it counts as: the marking's tier, or the higher one that the table of equivalences gives its national wording.
    pub tier: Tier,
    /// The record that it answers. An answer to another's record goes to that record's originator alone.
    pub about: Option<RecordId>,
}

impl RecordHeader {
    /// The header of a record whose national wording says nothing beyond its tier.
    pub fn new(id: RecordId, marking: Marking) -> Self {
        Self { kind: id.kind(), originator: id.originator(), tier: marking.tier, id, marking, about: None }
    }
}

/// That two people decided to let one party have a record, as far as marking and policy allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// When it ends; at this instant it has ended.
    pub until: Option<Timestamp>,
    /// Whether it is an onward release that the originator granted, which stands in place of the marking's naming the party.
    pub granted: bool,
}

impl Share {
    /// A share without an end.
    pub const PLAIN: Self = Self { until: None, granted: false };

    /// Whether it still holds.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.until.is_none_or(|until| at < until)
    }
}

/// Why a hard rule says no. Goes to the access log and the policy officer, never to the partner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HardRule {
    /// It is another's record: only its originator releases it.
    NotOriginator,
    /// The party is suspended or expelled.
    NotActive,
    /// The marking is above the accreditation of the party's node.
    AboveCeiling,
    /// It answers another's record, and the party is not that one's originator.
    Addressed,
    /// The marking does not name the party, and no onward release was granted.
    NotReleasable,
    /// Nobody decided to share it with the party.
    NotShared,
    /// The decision to share it has run out.
    Ended,
}

impl HardRule {
    /// Every rule, in the order in which they are asked.
    pub const ALL: [Self; 7] = [
        Self::NotOriginator,
        Self::NotActive,
        Self::AboveCeiling,
        Self::Addressed,
        Self::NotReleasable,
        Self::NotShared,
        Self::Ended,
    ];

    /// As it stands in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotOriginator => "hard:not-originator",
            Self::NotActive => "hard:not-active",
            Self::AboveCeiling => "hard:above-ceiling",
            Self::Addressed => "hard:addressed-to-another",
            Self::NotReleasable => "hard:not-releasable",
            Self::NotShared => "hard:not-shared",
            Self::Ended => "hard:ended",
        }
    }

    /// Whether this rule forbids it.
    pub fn forbids(
        self,
        own: MemberId,
        party: &Party,
        header: &RecordHeader,
        share: Option<&Share>,
        at: Timestamp,
    ) -> bool {
        match self {
            // INVARIANT: what originates with a state stays that state's; received copies are never passed on.
            Self::NotOriginator => header.originator != own,
            Self::NotActive => party.status != PartyStatus::Active,
            Self::AboveCeiling => header.tier > party.ceiling,
            Self::Addressed => {
                header.about.is_some_and(|about| about.originator() != own && about.originator() != party.member)
            }
            Self::NotReleasable => {
                !share.is_some_and(|share| share.granted) && !header.marking.releasable_to.contains(&party.member)
            }
            Self::NotShared => share.is_none(),
            Self::Ended => share.is_some_and(|share| !share.holds(at)),
        }
    }
}

/// Checks a release by `own` to `party` against every hard rule.
///
/// # Errors
/// The first rule that forbids it.
pub fn hard_rules(
    own: MemberId,
    party: &Party,
    header: &RecordHeader,
    share: Option<&Share>,
    at: Timestamp,
) -> Result<(), HardRule> {
    match HardRule::ALL.into_iter().find(|rule| rule.forbids(own, party, header, share, at)) {
        Some(rule) => Err(rule),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_alone_forbids() {
        let (own, de): (MemberId, MemberId) = ("FR".parse().unwrap(), "DE".parse().unwrap());
        let party = Party { member: de, status: PartyStatus::Active, ceiling: Tier::Secret, voting: true };
        let mut marking = Marking::originator_only(Tier::Secret);
        marking.releasable_to.insert(de);
        let header = RecordHeader::new(RecordId::new(own, RecordKind::Proposal, [7; 10]), marking);
        let now = Timestamp::from_micros(1_000).unwrap();
        let ask = |party: &Party, header: &RecordHeader, share| hard_rules(own, party, header, share, now);
        let plain = Some(&Share::PLAIN);
        assert_eq!(ask(&party, &header, plain), Ok(()));
        for status in [PartyStatus::Suspended, PartyStatus::Expelled] {
            assert_eq!(ask(&Party { status, ..party.clone() }, &header, plain), Err(HardRule::NotActive));
        }
        let low = Party { ceiling: Tier::Confidential, ..party.clone() };
        assert_eq!(ask(&low, &header, plain), Err(HardRule::AboveCeiling));
        // What the national wording means counts, even where the tier says less.
        let wording = RecordHeader { tier: Tier::TopSecret, ..header.clone() };
        assert_eq!(ask(&party, &wording, plain), Err(HardRule::AboveCeiling));
        let mut hidden = header.clone();
        hidden.marking.releasable_to.clear();
        assert_eq!(ask(&party, &hidden, plain), Err(HardRule::NotReleasable));
        let granted = Share { granted: true, until: None };
        assert_eq!(ask(&party, &hidden, Some(&granted)), Ok(()));
        assert_eq!(ask(&party, &header, None), Err(HardRule::NotShared));
        let ended = Share { until: Some(now), granted: true };
        assert_eq!(ask(&party, &header, Some(&ended)), Err(HardRule::Ended));
        let lasts = Share { until: Timestamp::from_micros(1_001), granted: false };
        assert_eq!(ask(&party, &header, Some(&lasts)), Ok(()));
        let about = |code: &str| Some(RecordId::new(code.parse().unwrap(), RecordKind::Proposal, [8; 10]));
        assert_eq!(
            ask(&party, &RecordHeader { about: about("CA"), ..header.clone() }, plain),
            Err(HardRule::Addressed)
        );
        for code in ["DE", "FR"] {
            assert_eq!(ask(&party, &RecordHeader { about: about(code), ..header.clone() }, plain), Ok(()));
        }
        assert_eq!(hard_rules(de, &party, &header, plain, now), Err(HardRule::NotOriginator));
    }
}

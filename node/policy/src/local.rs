//! The decision for the node's own people.

use comity_core::clearance::{Clearance, Lacking};
use comity_core::release::{Action, HardRule, RecordHeader};
use comity_core::{MemberId, Role, Timestamp};

use crate::decide::Decision;

/// On what terms a received copy is held, as its originator set them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Whether the marking names us, or the copy was released onward to us.
    pub for_us: bool,
    /// When it must be given up; at this instant nobody sees it any more.
    pub until: Option<Timestamp>,
}

/// Whether a person of `own` may see this much of a record that its node holds. `held` is of received copies.
///
/// | role | own records | received copies |
/// |---|---|---|
/// | operator, approver | all that they are cleared for | as far as received and cleared for, while it is for us |
/// | policy | that those exist which they are cleared for, to test a policy on them | nothing |
/// | auditor, admin, node | nothing | nothing |
///
/// Cleared means: up to the tier that the record counts as, and in every compartment of its marking.
/// An auditor reads the access log, which holds ids and no bodies; an administrator runs the node, and reads neither.
/// A received copy holds only what its originator released, so that there is nothing above it to withhold.
///
/// `because` is the role (`local:operator`), what the person lacks (`local:clearance`, `local:compartment`), or the
/// originator's limit (`hard:not-releasable`, `hard:ended`).
pub fn decide_local(
    own: MemberId,
    role: Role,
    clearance: &Clearance,
    action: Action,
    header: &RecordHeader,
    held: Option<&Held>,
    at: Timestamp,
) -> Decision {
    let is_own = header.originator == own;
    let by_role = match role {
        Role::Operator | Role::Approver => true,
        Role::Policy => is_own && action == Action::Discover,
        Role::Auditor | Role::Admin | Role::Node => false,
    };
    if !by_role {
        return Decision::deny(format!("local:{}", role.as_str()));
    }
    let mut until = None;
    if !is_own {
        // INVARIANT: the originator's limits bind our own people on its record; a copy whose terms are unknown is for nobody.
        let Some(held) = held.filter(|held| held.for_us) else {
            return Decision::hard(HardRule::NotReleasable);
        };
        if held.until.is_some_and(|until| until <= at) {
            return Decision::hard(HardRule::Ended);
        }
        until = held.until;
    }
    let (allow, because) = match clearance.lacks(header.tier, &header.marking) {
        None => (true, role.as_str()),
        Some(Lacking::Tier) => (false, "clearance"),
        Some(Lacking::Compartment) => (false, "compartment"),
    };
    Decision { allow, because: vec![format!("local:{because}")], until }
}

#[cfg(test)]
mod tests {
    use comity_core::{Marking, RecordId, RecordKind, Tier};

    use super::*;

    fn member(code: &str) -> MemberId {
        code.parse().unwrap()
    }

    fn header(originator: &str) -> RecordHeader {
        let marking = Marking::originator_only(Tier::Confidential);
        RecordHeader::new(RecordId::new(member(originator), RecordKind::Proposal, [7; 10]), marking)
    }

    fn cleared(tier: Tier, compartments: &[&str]) -> Clearance {
        Clearance { tier, compartments: compartments.iter().map(|c| c.parse().unwrap()).collect() }
    }

    fn now() -> Timestamp {
        Timestamp::from_micros(1_000).unwrap()
    }

    #[test]
    fn the_table_holds() {
        let (de, clearance) = (member("DE"), cleared(Tier::Confidential, &[]));
        let (own, copy) = (header("DE"), header("FR"));
        let (held, lost) = (Held { for_us: true, until: None }, Held { for_us: false, until: None });
        for role in Role::ALL {
            for action in Action::ALL {
                let ask = |header, held| decide_local(de, role, &clearance, action, header, held, now()).allow;
                let reads = matches!(role, Role::Operator | Role::Approver);
                let tests = role == Role::Policy && action == Action::Discover;
                assert_eq!(ask(&own, None), reads || tests, "{role} own {action:?}");
                assert_eq!(ask(&copy, Some(&held)), reads, "{role} copy {action:?}");
                assert!(!ask(&copy, Some(&lost)), "{role} copy that is no longer for us");
                assert!(!ask(&copy, None), "{role} copy of unknown terms");
            }
        }
        let because = |role, held| decide_local(de, role, &clearance, Action::Read, &copy, held, now()).because;
        assert_eq!(because(Role::Operator, Some(&lost)), ["hard:not-releasable"]);
        assert_eq!(because(Role::Operator, None), ["hard:not-releasable"]);
        assert_eq!(because(Role::Operator, Some(&held)), ["local:operator"]);
        assert_eq!(because(Role::Auditor, Some(&held)), ["local:auditor"]);
        assert_eq!(because(Role::Policy, Some(&held)), ["local:policy"]);
    }

    #[test]
    fn nobody_sees_what_they_are_not_cleared_for() {
        let de = member("DE");
        let held = Held { for_us: true, until: None };
        for originator in ["DE", "FR"] {
            let mut record = header(originator);
            record.marking.compartments.insert("TIGER".parse().unwrap());
            let ask = |role, clearance: &Clearance, record: &RecordHeader| {
                decide_local(de, role, clearance, Action::Discover, record, Some(&held), now())
            };
            let full = cleared(Tier::Confidential, &["LION", "TIGER"]);
            let wording = RecordHeader { tier: Tier::Secret, ..record.clone() };
            let roles = [Role::Operator, Role::Approver, Role::Policy];
            for role in roles.into_iter().filter(|role| *role != Role::Policy || originator == "DE") {
                assert!(ask(role, &full, &record).allow, "{role} {originator}");
                assert_eq!(ask(role, &full, &wording), Decision::deny("local:clearance"));
                let (low, outside) = (cleared(Tier::Restricted, &["TIGER"]), cleared(Tier::TopSecret, &["LION"]));
                assert_eq!(ask(role, &low, &record), Decision::deny("local:clearance"));
                assert_eq!(ask(role, &outside, &record), Decision::deny("local:compartment"));
            }
        }
    }

    #[test]
    fn a_copy_is_shown_until_its_end_and_not_at_it() {
        let (de, copy, clearance) = (member("DE"), header("FR"), cleared(Tier::Secret, &[]));
        let ask = |until| {
            let held = Held { for_us: true, until: Timestamp::from_micros(until) };
            decide_local(de, Role::Operator, &clearance, Action::Read, &copy, Some(&held), now())
        };
        assert_eq!((ask(1_001).allow, ask(1_001).until), (true, Timestamp::from_micros(1_001)));
        assert_eq!(ask(1_000), Decision::deny("hard:ended"));
        assert_eq!(ask(999), Decision::deny("hard:ended"));
    }
}

//! The decision for the node's own people.

use comity_core::release::{Action, HardRule, RecordHeader};
use comity_core::{MemberId, Role};

use crate::decide::Decision;

/// Whether a person of `own` may see this much of a record that its node holds.
///
/// | role | own records | received copies |
/// |---|---|---|
/// | operator, approver | all | what was received, while the marking names us |
/// | policy | that it exists, to test a policy on it | nothing |
/// | auditor, admin, node | nothing | nothing |
///
/// An auditor reads the access log, which holds ids and no bodies; an administrator runs the node, and reads neither.
/// A received copy holds only what its originator released, so that there is nothing above it to withhold.
pub fn decide_local(own: MemberId, role: Role, action: Action, header: &RecordHeader) -> Decision {
    let is_own = header.originator == own;
    let allow = match role {
        Role::Operator | Role::Approver => {
            // INVARIANT: the originator's limits bind our own people on its record.
            if !is_own && !header.marking.releasable_to.contains(&own) {
                return Decision::hard(HardRule::NotReleasable);
            }
            true
        }
        Role::Policy => is_own && action == Action::Discover,
        Role::Auditor | Role::Admin | Role::Node => false,
    };
    Decision { allow, because: vec![format!("local:{}", role.as_str())], until: None }
}

#[cfg(test)]
mod tests {
    use comity_core::{Marking, RecordId, RecordKind, Tier};

    use super::*;

    fn header(originator: &str, releasable_to: &[&str]) -> RecordHeader {
        let originator: MemberId = originator.parse().unwrap();
        let mut marking = Marking::originator_only(Tier::Confidential);
        marking.releasable_to = releasable_to.iter().map(|p| p.parse().unwrap()).collect();
        let id = RecordId::new(originator, RecordKind::Proposal, [7; 10]);
        RecordHeader { id, kind: RecordKind::Proposal, originator, marking, shared_with: [].into() }
    }

    #[test]
    fn the_table_holds() {
        let de: MemberId = "DE".parse().unwrap();
        let (own, copy, lost) = (header("DE", &[]), header("FR", &["DE"]), header("FR", &["CA"]));
        for role in Role::ALL {
            for action in Action::ALL {
                let reads = matches!(role, Role::Operator | Role::Approver);
                let tests = role == Role::Policy && action == Action::Discover;
                assert_eq!(decide_local(de, role, action, &own).allow, reads || tests, "{role} own {action:?}");
                assert_eq!(decide_local(de, role, action, &copy).allow, reads, "{role} copy {action:?}");
                assert!(!decide_local(de, role, action, &lost).allow, "{role} copy that no longer names us");
            }
        }
        assert_eq!(decide_local(de, Role::Operator, Action::Read, &lost).because, ["hard:not-releasable"]);
        assert_eq!(decide_local(de, Role::Auditor, Action::Read, &own).because, ["local:auditor"]);
    }
}

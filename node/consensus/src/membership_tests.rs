use comity_core::list::{Choice, Motion, PublicText};
use comity_core::testing::{Federation, History, member, roster_member, statement_text};

use super::*;

fn nodes(members: &[&str]) -> BTreeSet<NodeId> {
    members.iter().map(|code| comity_core::roster::node_id(member(code), 1)).collect()
}

fn membership(configs: &[&[&str]], learners: &[&str]) -> Membership {
    let named = configs.iter().copied().flatten().chain(learners);
    let named: BTreeMap<NodeId, BasicNode> = named.map(|code| (comity_core::roster::node_id(member(code), 1), BasicNode::new(code))).collect();
    Membership::new(configs.iter().map(|voters| nodes(voters)).collect(), named).unwrap()
}

fn decide(history: &mut History, motion: Motion) {
    let serial = history.serial();
    let text: PublicText = statement_text(serial);
    let command = history.federation.motion_command(member("FR"), motion, &text, serial);
    let ballot = comity_core::testing::ballot_id(&command);
    let submission = history.federation.sign(&command, Some(text));
    history.accept(&submission);
    for code in ["FR", "DE", "CA"] {
        if history.ballot(ballot).is_open() {
            history.vote(member(code), ballot, Choice::Yes);
        }
    }
    assert!(!history.ballot(ballot).is_open());
}

/// Three members, then JP is admitted, then CA is expelled.
fn history() -> (History, Roster, Roster) {
    let mut history = History::new(Federation::new(3));
    decide(&mut history, Motion::Admit { member: Box::new(roster_member(7, member("JP"))) });
    let four = history.state.roster().clone();
    decide(&mut history, Motion::Expel { target: member("CA") });
    let without = history.state.roster().clone();
    (history, four, without)
}

#[test]
fn only_what_the_roster_asks_for_is_taken() {
    let (_, four, without) = history();
    let three = membership(&[&["FR", "DE", "CA"]], &[]);
    let all = membership(&[&["FR", "DE", "CA", "JP"]], &[]);
    let learner = membership(&[&["FR", "DE", "CA"]], &["JP"]);
    let joint = membership(&[&["FR", "DE", "CA"], &["FR", "DE", "CA", "JP"]], &[]);
    for step in [&three, &learner, &joint, &all] {
        assert!(is_asked_for(&four, &three, step), "{step:?}");
    }
    // Expelled: the way leads on, and not back.
    let leave = membership(&[&["FR", "DE", "CA", "JP"], &["FR", "DE", "JP"]], &[]);
    let left = membership(&[&["FR", "DE", "JP"]], &[]);
    assert!(is_asked_for(&without, &all, &leave) && is_asked_for(&without, &leave, &left));
    assert!(!is_asked_for(&without, &left, &all));
    assert!(!is_asked_for(&without, &left, &three));
    // What nobody decided.
    for (from, step) in [
        (&three, membership(&[&["FR"]], &[])),
        (&three, membership(&[&["FR", "DE"]], &["CA"])),
        (&three, membership(&[&["FR", "DE", "CA"]], &["AU"])),
        (&all, membership(&[&["FR", "DE", "CA", "JP", "AU"]], &[])),
    ] {
        assert!(!is_asked_for(&four, from, &step), "{step:?}");
    }
    // A node under another member's name.
    let mut named: BTreeMap<NodeId, BasicNode> = three.nodes().map(|(node, named)| (*node, named.clone())).collect();
    named.insert(comity_core::roster::node_id(member("FR"), 1), BasicNode::new("DE"));
    let stolen = Membership::new(vec![nodes(&["FR", "DE", "CA"])], named).unwrap();
    assert!(!is_asked_for(&four, &three, &stolen));
    // Whoever joins begins with nothing.
    assert!(is_asked_for(&without, &Membership::default(), &three));
}

#[test]
fn steps_lead_to_the_roster_and_then_end() {
    let (_, four, without) = history();
    let three = membership(&[&["FR", "DE", "CA"]], &[]);
    let jp = comity_core::roster::node_id(member("JP"), 1);
    let near = |_| Some(0);
    assert_eq!(next_step(four.voters(), &three, near), Some(Step::Learn(jp, BasicNode::new("JP"))));
    let learner = membership(&[&["FR", "DE", "CA"]], &["JP"]);
    // Not before it has caught up.
    assert_eq!(next_step(four.voters(), &learner, |node| (node != jp).then_some(0)), None);
    let all = nodes(&["FR", "DE", "CA", "JP"]);
    assert_eq!(next_step(four.voters(), &learner, near), Some(Step::Voters(all)));
    let all = membership(&[&["FR", "DE", "CA", "JP"]], &[]);
    assert_eq!(next_step(four.voters(), &all, near), None);
    // An expelled member goes although another is unreachable.
    let left = nodes(&["FR", "DE", "JP"]);
    assert_eq!(next_step(without.voters(), &all, |_| None), Some(Step::Voters(left)));
    assert_eq!(next_step(without.voters(), &membership(&[&["FR", "DE", "JP"]], &[]), near), None);
    // A change that was cut short is finished.
    let joint = membership(&[&["FR", "DE", "CA", "JP"], &["FR", "DE", "JP"]], &[]);
    assert!(next_step(without.voters(), &joint, near).is_some());
}

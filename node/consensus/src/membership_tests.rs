use comity_core::list::Motion;
use comity_core::testing::{Federation, History, MemberKeys, member, roster_member};

use super::*;

fn nodes(members: &[&str]) -> BTreeSet<NodeId> {
    members.iter().map(|code| comity_core::roster::node_id(member(code), 1)).collect()
}

fn membership(configs: &[&[&str]], learners: &[&str]) -> Membership {
    let named = configs.iter().copied().flatten().chain(learners);
    let named: BTreeMap<NodeId, BasicNode> =
        named.map(|code| (comity_core::roster::node_id(member(code), 1), BasicNode::new(code))).collect();
    Membership::new(configs.iter().map(|voters| nodes(voters)).collect(), named).unwrap()
}

fn decide(history: &mut History, motion: Motion) {
    history.federation.keys.insert(member("JP"), MemberKeys::of(7));
    history.decide(member("FR"), motion);
}

/// Three members, then JP is admitted, then CA is expelled: as it stood after each.
struct Told {
    three: ListState,
    four: ListState,
    without: ListState,
}

fn told() -> Told {
    let mut history = History::new(Federation::new(3));
    let three = history.state.clone();
    decide(&mut history, Motion::Admit { member: Box::new(roster_member(7, member("JP"))) });
    let four = history.state.clone();
    decide(&mut history, Motion::Expel { target: member("CA") });
    Told { three, four, without: history.state }
}

fn asked_for(list: &ListState, current: &Membership, proposed: &Membership) -> bool {
    is_asked_for(list, list.commands().size(), current, proposed)
}

#[test]
fn only_what_the_roster_asks_for_is_taken() {
    let Told { three: before, four, without } = told();
    let three = membership(&[&["FR", "DE", "CA"]], &[]);
    let all = membership(&[&["FR", "DE", "CA", "JP"]], &[]);
    let learner = membership(&[&["FR", "DE", "CA"]], &["JP"]);
    let joint = membership(&[&["FR", "DE", "CA"], &["FR", "DE", "CA", "JP"]], &[]);
    for step in [&three, &learner, &joint, &all] {
        assert!(asked_for(&four, &three, step), "{step:?}");
        assert_eq!(asked_for(&before, &three, step), *step == three, "nobody had decided that: {step:?}");
    }
    // Expelled: the way leads on, and not back.
    let leave = membership(&[&["FR", "DE", "CA", "JP"], &["FR", "DE", "JP"]], &[]);
    let left = membership(&[&["FR", "DE", "JP"]], &[]);
    assert!(asked_for(&without, &all, &leave) && asked_for(&without, &leave, &left));
    // JP has not come yet: the others do without CA, and without it.
    let two = membership(&[&["FR", "DE", "CA"], &["FR", "DE"]], &["JP"]);
    assert!(asked_for(&without, &learner, &two));
    // What nobody decided.
    for (list, from, step) in [
        (&four, &three, membership(&[&["FR"]], &[])),
        (&four, &three, membership(&[&["FR", "DE"]], &["CA"])),
        (&four, &three, membership(&[&["FR", "DE", "CA"]], &["AU"])),
        (&four, &all, membership(&[&["FR", "DE", "CA", "JP", "AU"]], &[])),
        (&four, &all, membership(&[&["FR", "DE", "CA"]], &["JP"])),
        (&without, &left, membership(&[&["FR", "JP"]], &[])),
    ] {
        assert!(!asked_for(list, from, &step), "{step:?}");
    }
    // A node under another member's name.
    let mut named: BTreeMap<NodeId, BasicNode> = three.nodes().map(|(node, named)| (*node, named.clone())).collect();
    named.insert(comity_core::roster::node_id(member("FR"), 1), BasicNode::new("DE"));
    let stolen = Membership::new(vec![nodes(&["FR", "DE", "CA"])], named).unwrap();
    assert!(!asked_for(&four, &three, &stolen));
    // Whoever joins begins with nothing, and is told of those who always decided.
    let nothing = Membership::default();
    assert!(asked_for(&without, &nothing, &three) && asked_for(&without, &nothing, &left));
    assert!(!asked_for(&without, &nothing, &membership(&[&["FR"]], &[])));
    assert!(!asked_for(&without, &nothing, &membership(&[&["FR", "DE", "AU"]], &[])));
}

#[test]
fn a_step_may_lag_behind_the_roster_but_not_far() {
    let mut history = History::new(Federation::new(3));
    let three = membership(&[&["FR", "DE", "CA"]], &[]);
    let two = membership(&[&["FR", "DE"]], &[]);
    decide(&mut history, Motion::Suspend { target: member("CA") });
    decide(&mut history, Motion::Readmit { target: member("CA") });
    // Whoever took the step had not seen the readmission.
    assert!(asked_for(&history.state, &three, &two) && asked_for(&history.state, &two, &three));
    let long_after = history.state.commands().size() + RECENT_LEAVES;
    assert!(!is_asked_for(&history.state, long_after, &three, &two));
    assert!(is_asked_for(&history.state, long_after, &two, &three));
}

#[test]
fn a_federation_that_grew_is_not_shrunk_again() {
    let mut history = History::new(Federation::new(1));
    let alone = membership(&[&["FR"]], &[]);
    decide(&mut history, Motion::Admit { member: Box::new(roster_member(7, member("JP"))) });
    let both = membership(&[&["FR", "JP"]], &[]);
    assert!(asked_for(&history.state, &alone, &both));
    assert!(!asked_for(&history.state, &both, &alone));
    assert_eq!(still_needed(history.state.roster().voters(), &both), BTreeSet::new());
    // Shrinking by half needs the one who leaves, once more.
    decide(&mut history, Motion::Expel { target: member("JP") });
    assert!(asked_for(&history.state, &both, &alone));
    assert_eq!(still_needed(history.state.roster().voters(), &both), nodes(&["JP"]));
    assert_eq!(still_needed(history.state.roster().voters(), &alone), BTreeSet::new());
}

#[test]
fn steps_lead_to_the_roster_and_then_end() {
    let Told { four, without, .. } = told();
    let three = membership(&[&["FR", "DE", "CA"]], &[]);
    let jp = comity_core::roster::node_id(member("JP"), 1);
    let near = |_| Some(0);
    let (four, without) = (four.roster().voters(), without.roster().voters());
    assert_eq!(next_step(four, &three, near), Some(Step::Learn(jp, BasicNode::new("JP"))));
    let learner = membership(&[&["FR", "DE", "CA"]], &["JP"]);
    // Not before it has caught up.
    assert_eq!(next_step(four, &learner, |node| (node != jp).then_some(0)), None);
    let all = nodes(&["FR", "DE", "CA", "JP"]);
    assert_eq!(next_step(four, &learner, near), Some(Step::Voters(all)));
    let all = membership(&[&["FR", "DE", "CA", "JP"]], &[]);
    assert_eq!(next_step(four, &all, near), None);
    // An expelled member goes although another is unreachable.
    let left = nodes(&["FR", "DE", "JP"]);
    assert_eq!(next_step(without, &all, |_| None), Some(Step::Voters(left)));
    assert_eq!(next_step(without, &membership(&[&["FR", "DE", "JP"]], &[]), near), None);
    // A change that was cut short is finished.
    let joint = membership(&[&["FR", "DE", "CA", "JP"], &["FR", "DE", "JP"]], &[]);
    assert_eq!(next_step(without, &joint, near), Some(Step::Voters(nodes(&["FR", "DE", "JP"]))));
    // Whoever left before it had come is forgotten.
    let waited_for = membership(&[&["FR", "DE", "JP"]], &["CA"]);
    assert_eq!(next_step(without, &waited_for, near), Some(Step::Forget(nodes(&["CA"]))));
}

//! Roster changes: who joins, who takes part no more, by which rules is decided.

use super::{au, ca, de, four, fr};
use crate::genesis::{Genesis, RosterMember};
use crate::list::{BallotState, Choice, Motion, Refusal, Rejection, ReplacedKeys};
use crate::marking::Tier;
use crate::member::MemberId;
use crate::roster::{MAX_INCARNATION, MemberStatus};
use crate::rule::{BallotKind, Rule};
use crate::testing::{Federation, History, MemberKeys, Say, Snapshot, member, roster_member};

fn nz() -> MemberId {
    member("NZ")
}

fn admit(row: RosterMember) -> Motion {
    Motion::Admit { member: Box::new(row) }
}

/// NZ joins with the keys of the `n`-th member.
fn join(history: &mut History, n: usize) {
    history.decide(fr(), admit(roster_member(n, nz())));
    history.federation.keys.insert(nz(), MemberKeys::of(n));
}

fn status(history: &History, member: MemberId) -> MemberStatus {
    history.state.roster().get(member).unwrap().status
}

fn replaced(n: usize, incarnation: u32) -> ReplacedKeys {
    let row = roster_member(n, de());
    ReplacedKeys {
        decision_key: row.decision_key,
        node_key: row.node_key,
        recovery_key: row.recovery_key,
        roots_pem: row.roots_pem,
        endpoint: row.endpoint,
        incarnation,
    }
}

fn replace(target: MemberId, keys: ReplacedKeys) -> Motion {
    Motion::ReplaceKeys { target, keys: Box::new(keys) }
}

#[test]
fn a_newcomer_votes_on_what_is_tabled_after_it_joined() {
    let mut history = four();
    let before = history.table(fr());
    join(&mut history, 40);
    let size = history.state.commands().size();
    assert_eq!(history.state.roster().voters_at(size).len(), 5);
    assert_eq!(history.state.roster().voters_at(size - 1).len(), 4);
    let serial = history.serial();
    let vote = history.federation.vote(nz(), before, Choice::Yes, serial);
    assert_eq!(history.refuse(&vote), Refusal::NotInElectorate(nz()));
    let after = history.table(nz());
    assert_eq!((history.ballot(after).electorate.len(), history.ballot(after).needed()), (5, Some(4)));
    history.vote(nz(), after, Choice::Yes);
    assert_eq!(history.state.roster().get(nz()).unwrap().incarnation, 1);
}

#[test]
fn a_recipient_joins_without_a_vote_and_keeps_its_own_keys() {
    let mut history = four();
    let row = RosterMember { voting: false, ..roster_member(40, member("OPCW")) };
    history.decide(fr(), admit(row));
    history.federation.keys.insert(member("OPCW"), MemberKeys::of(40));
    assert_eq!(history.state.roster().voters().len(), 4);
    let ballot = history.table(fr());
    let vote = history.federation.vote(member("OPCW"), ballot, Choice::Yes, 1);
    assert_eq!(history.refuse(&vote), Refusal::NotAMember(member("OPCW")));
    let time = history.federation.attest(member("OPCW"), history.state.list_time(), 2);
    assert_eq!(history.refuse(&time), Refusal::NotAMember(member("OPCW")));
    history.say(member("OPCW"), Say::Revoke(true, true));
    history.decide(fr(), Motion::Suspend { target: member("OPCW") });
}

#[test]
fn a_key_has_one_owner_for_ever() {
    let mut history = four();
    let in_use = |refusal: Refusal, expected: &str| {
        assert!(matches!(&refusal, Refusal::KeyInUse { field, .. } if *field == expected), "{refusal:?}");
    };
    // Another member's key, whatever its purpose there.
    let mut row = roster_member(40, nz());
    row.node_key = roster_member(1, de()).recovery_key;
    in_use(history.refuse_motion(fr(), admit(row)), "node_key");
    let mut row = roster_member(40, nz());
    row.recovery_key = row.decision_key;
    assert!(matches!(history.refuse_motion(fr(), admit(row)), Refusal::Field { .. }));
    // A key that was replaced.
    history.decide(fr(), replace(de(), replaced(41, 2)));
    history.federation.keys.insert(de(), MemberKeys::of(41));
    let mut row = roster_member(40, nz());
    row.decision_key = roster_member(1, de()).decision_key;
    in_use(history.refuse_motion(fr(), admit(row)), "decision_key");
    // A person's key, and its own earlier ones.
    let mut keys = replaced(42, 2);
    keys.node_key = roster_member(1, de()).node_key;
    in_use(history.refuse_motion(fr(), replace(de(), keys)), "node_key");
    let mut keys = replaced(42, 2);
    keys.recovery_key = keys.node_key;
    in_use(history.refuse_motion(fr(), replace(de(), keys)), "recovery_key");
    // Whoever was expelled comes back with other keys.
    join(&mut history, 40);
    history.decide(fr(), Motion::Expel { target: nz() });
    in_use(history.refuse_motion(fr(), admit(roster_member(40, nz()))), "decision_key");
}

#[test]
fn a_key_that_another_ballot_brought_in_meanwhile_is_not_fresh() {
    let mut history = four();
    let first = history.motion(fr(), admit(roster_member(40, nz())));
    let second = history.motion(fr(), admit(RosterMember { member: member("GB"), ..roster_member(40, member("GB")) }));
    history.say_yes(first);
    history.say_yes(second);
    assert_eq!(history.ballot(second).state, BallotState::Rejected(Rejection::Moot("KEY_IN_USE")));
    assert!(history.state.roster().get(member("GB")).is_none());
}

#[test]
fn a_trust_domain_is_one_members_for_ever() {
    let mut history = four();
    let taken = |domain: &str| RosterMember { trust_domain: domain.parse().unwrap(), ..roster_member(40, nz()) };
    let refusal = history.refuse_motion(fr(), admit(taken("de.comity.example")));
    assert_eq!(refusal, Refusal::TrustDomainTaken("de.comity.example".parse().unwrap()));
    // Expelled, and come back under another: the first is still nobody else's.
    history.decide(fr(), Motion::Expel { target: de() });
    assert!(matches!(history.refuse_motion(fr(), admit(taken("de.comity.example"))), Refusal::TrustDomainTaken(_)));
    let row = RosterMember { trust_domain: "two.example".parse().unwrap(), ..roster_member(41, de()) };
    history.decide(fr(), admit(row));
    for domain in ["de.comity.example", "two.example"] {
        assert!(matches!(history.refuse_motion(fr(), admit(taken(domain))), Refusal::TrustDomainTaken(_)), "{domain}");
    }
}

#[test]
fn a_row_is_checked_as_in_the_genesis() {
    let mut history = four();
    type Edit = fn(&mut RosterMember);
    let edits: [(&str, Edit); 3] = [
        ("motion.admit.member.endpoint", |row| row.endpoint = "nowhere".into()),
        ("motion.admit.member.roots_pem", |row| row.roots_pem.clear()),
        ("motion.admit.member.decision_key", |row| row.node_key = row.decision_key),
    ];
    for (expected, edit) in edits {
        let mut row = RosterMember { ceiling: Tier::Public, ..roster_member(40, nz()) };
        edit(&mut row);
        let refusal = history.refuse_motion(fr(), admit(row));
        assert!(matches!(&refusal, Refusal::Field { field, .. } if field == expected), "{refusal:?}");
    }
    assert!(matches!(history.refuse_motion(fr(), admit(roster_member(40, de()))), Refusal::Standing { .. }));
}

#[test]
fn the_roster_has_an_end() {
    let mut history = History::new(Federation::with(Genesis::MAX_MEMBERS, |document| {
        document.members.iter_mut().skip(1).for_each(|m| m.voting = false);
        document.members.retain(|m| m.member != nz());
        document.members.push(RosterMember { voting: false, ..roster_member(300, member("OPCW")) });
    }));
    let refusal = history.refuse_motion(fr(), admit(roster_member(400, nz())));
    assert!(matches!(refusal, Refusal::Bound { limit: Genesis::MAX_MEMBERS, .. }), "{refusal:?}");
}

#[test]
fn the_suspended_decide_nothing_until_they_are_readmitted() {
    let mut history = four();
    let ballot = history.table(fr());
    history.vote(au(), ballot, Choice::Yes);
    history.decide(fr(), Motion::Suspend { target: au() });
    assert_eq!(status(&history, au()), MemberStatus::Suspended);
    assert!(!history.ballot(ballot).votes.contains_key(&au()) && history.ballot(ballot).electorate.len() == 3);
    let suspended = Refusal::Suspended(au());
    let vote = history.federation.vote(au(), ballot, Choice::Yes, 1);
    let time = history.federation.attest(au(), history.state.list_time(), 2);
    let (tabling, _) = history.federation.table(au(), 3);
    for submission in [vote, time, tabling] {
        assert_eq!(history.refuse(&submission), suspended);
    }
    assert_eq!(history.refuse_to(au(), Say::Require(true)), suspended);
    assert!(matches!(history.refuse_motion(fr(), Motion::Suspend { target: au() }), Refusal::Standing { .. }));
    // Its keys may have been stolen: it can still revoke them.
    history.say(au(), Say::Revoke(true, false));
    history.decide(fr(), Motion::Readmit { target: au() });
    assert_eq!(status(&history, au()), MemberStatus::Active);
    let after = history.table(fr());
    assert!(history.ballot(after).electorate.contains(&au()));
    assert!(matches!(history.refuse_motion(fr(), Motion::Readmit { target: au() }), Refusal::Standing { .. }));
}

#[test]
fn the_expelled_decide_nothing_any_more_and_their_earlier_votes_still_verify() {
    let mut history = four();
    let listed = history.table(fr());
    history.vote_all(&[au(), de(), ca()], listed, Choice::Yes);
    let open = history.table(fr());
    history.vote(au(), open, Choice::Yes);
    let before = history.state.publication(0).unwrap().to_vec();
    history.decide(fr(), Motion::Expel { target: au() });
    let expelled = Refusal::Expelled(au());
    let vote = history.federation.vote(au(), open, Choice::No, 1);
    assert_eq!(history.refuse(&vote), expelled);
    assert_eq!(history.refuse_to(au(), Say::Revoke(true, true)), expelled);
    assert!(!history.ballot(open).votes.contains_key(&au()));
    assert_eq!(history.state.publication(0).unwrap(), before, "what it consented to stands as it did");
    assert_eq!(Snapshot::from(&history.replayed()), history.snapshot());
    let voters = [fr(), de(), ca()];
    let export = history.export(crate::testing::Depth::Members, &voters);
    crate::export::ListExport::verify(&export.to_bytes(), &history.federation.genesis).unwrap();
    for motion in [Motion::Suspend { target: au() }, Motion::Readmit { target: au() }, Motion::Expel { target: au() }] {
        assert!(matches!(history.refuse_motion(fr(), motion), Refusal::Standing { .. }));
    }
    // Back again it is another node.
    history.decide(fr(), admit(roster_member(40, au())));
    assert_eq!(history.state.roster().get(au()).unwrap().incarnation, 2);
}

#[test]
fn the_target_neither_tables_nor_votes_nor_holds() {
    for motion in [Motion::Suspend { target: au() }, Motion::Expel { target: au() }] {
        for rule in ["quorum(2/3)", "no_objection"] {
            let mut history = History::new(Federation::ruled(4, rule));
            // Or it could table it first, and withdraw it and table it again, for ever.
            assert_eq!(history.refuse_motion(au(), motion.clone()), Refusal::NotInElectorate(au()));
            let ballot = history.motion(fr(), motion.clone());
            let vote = history.federation.vote(au(), ballot, Choice::No, 1);
            assert_eq!(history.refuse(&vote), Refusal::NotInElectorate(au()));
            for say in [Say::Hold(ballot), Say::Object(ballot), Say::Acknowledge(ballot)] {
                assert_eq!(history.refuse_to(au(), say), Refusal::NotInElectorate(au()));
            }
        }
    }
}

#[test]
fn a_member_cannot_keep_the_others_from_its_expulsion_by_a_ballot_of_its_own() {
    let mut history = four();
    history.motion(de(), replace(de(), replaced(40, 1)));
    let expulsion = history.motion(fr(), Motion::Expel { target: de() });
    history.say_yes(expulsion);
    assert_eq!(status(&history, de()), MemberStatus::Expelled);
}

#[test]
fn lost_keys_are_replaced_by_ballot() {
    let mut history = four();
    let person = MemberKeys::of(60).decision;
    let serial = history.serial();
    let command = Say::Enroll("desk-1", crate::dsse::PublicKey(person.verifying_key())).command(
        history.federation.genesis.federation(),
        crate::testing::command_id(serial),
        de(),
    );
    let mut envelope = command.sign(&history.federation.keys(de()).decision);
    envelope.add_signature(&person);
    history.accept(&crate::list::Submission { envelope: envelope.to_bytes(), public_text: None });
    let far = history.federation.attest(de(), "9000-01-01T00:00:00Z".parse().unwrap(), 5);
    history.accept(&far);
    history.say(de(), Say::Revoke(true, true));
    for incarnation in [0, 3, MAX_INCARNATION + 1] {
        let refusal = history.refuse_motion(fr(), replace(de(), replaced(40, incarnation)));
        assert_eq!(refusal, Refusal::Incarnation { found: incarnation, now: 1, next: 2 });
    }
    history.decide(fr(), replace(de(), replaced(40, 2)));
    let standing = history.state.roster().get(de()).unwrap();
    assert_eq!((standing.incarnation, standing.people.len(), standing.decision_revoked), (2, 0, false));
    assert_eq!(history.state.attested(de()), None, "what the lost key said of time counts no more");
    let ballot = history.table(fr());
    let old = history.federation.vote(de(), ballot, Choice::Yes, 1);
    assert!(matches!(history.refuse(&old), Refusal::Signature { .. }));
    history.federation.keys.insert(de(), MemberKeys::of(40));
    let new = history.federation.vote(de(), ballot, Choice::Yes, 1);
    history.accept(&new);
}

#[test]
fn what_a_lost_node_key_attested_counts_no_more() {
    let mut history = four();
    let far = history.federation.attest(de(), "9000-01-01T00:00:00Z".parse().unwrap(), 5);
    history.accept(&far);
    history.decide(fr(), replace(de(), replaced(40, 2)));
    assert_eq!(history.state.attested(de()), None);
}

#[test]
fn open_ballots_keep_the_rule_of_their_tabling() {
    let mut history = four();
    let before = history.table(fr());
    let rule = Rule::Unanimity;
    history.decide(fr(), Motion::ChangeRule { kind: BallotKind::List, rule });
    assert_eq!((history.ballot(before).needed(), history.state.roster().rules().list), (Some(3), rule));
    let after = history.table(fr());
    assert_eq!(history.ballot(after).needed(), Some(4));
    let refusal = history.refuse_motion(fr(), Motion::ChangeRule { kind: BallotKind::List, rule });
    assert!(matches!(refusal, Refusal::NoChange(_)));
    let bad = Rule::Quorum(crate::rule::Fraction { numerator: 2, denominator: 1 });
    let refusal = history.refuse_motion(fr(), Motion::ChangeRule { kind: BallotKind::List, rule: bad });
    assert!(matches!(refusal, Refusal::Field { .. }));
    // Of the two, neither is the other's: the kind alone changed.
    assert_eq!(history.state.roster().rules().amend, "quorum(2/3)".parse().unwrap());
}

fn attest_support(history: &mut History, who: MemberId, supports: u32, minutes: i64) {
    let start = history.federation.genesis.document().created.as_micros();
    let time = crate::timestamp::Timestamp::from_micros(start + minutes * 60_000_000).unwrap();
    let serial = history.serial();
    let mut command = history.federation.attest_command(who, time, serial);
    if let crate::list::Command::AttestTime(attest) = &mut command {
        attest.supports = supports;
    }
    let submission = history.federation.sign(&command, None);
    history.accept(&submission);
}

#[test]
fn the_rules_version_is_raised_once_all_voters_support_it() {
    let mut history = four();
    let raise = |version| Motion::RaiseVersion { version };
    for voter in [fr(), de(), ca()] {
        attest_support(&mut history, voter, 2, 1);
    }
    let refusal = history.refuse_motion(fr(), raise(2));
    assert!(matches!(&refusal, Refusal::RulesVersion { version: 2, problem } if problem.contains("AU")), "{refusal:?}");
    attest_support(&mut history, au(), 3, 1);
    for version in [0, 1, 3] {
        assert!(matches!(history.refuse_motion(fr(), raise(version)), Refusal::RulesVersion { .. }));
    }
    let ballot = history.motion(fr(), raise(2));
    // One of them falls back before it is adopted.
    attest_support(&mut history, de(), 1, 5);
    history.say_yes(ballot);
    assert_eq!(history.ballot(ballot).state, BallotState::Rejected(Rejection::Moot("RULES_VERSION")));
    attest_support(&mut history, de(), 2, 9);
    history.decide(fr(), raise(2));
    assert_eq!(history.state.rules_version(), 2);
}

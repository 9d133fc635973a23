//! A member's own keys and people: rotation, revocation, enrolment, personal signatures.

use ed25519_dalek::SigningKey;

use super::{ca, de, four, fr};
use crate::dsse::PublicKey;
use crate::list::{Choice, Command, Refusal, Submission};
use crate::testing::{History, MemberKeys, Say, Snapshot, command_id, measure, public_text, statement_text};

fn public(key: &SigningKey) -> PublicKey {
    PublicKey(key.verifying_key())
}

fn person(n: usize) -> SigningKey {
    MemberKeys::of(1_000 + n).decision
}

/// A command of DE, signed by these keys.
fn signed(command: &Command, keys: &[&SigningKey]) -> Submission {
    let (first, rest) = keys.split_first().unwrap();
    let mut envelope = command.sign(first);
    for key in rest {
        envelope.add_signature(key);
    }
    let text = match command {
        Command::Table(table) => {
            [public_text(7), statement_text(7)].into_iter().find(|t| t.digest() == table.public_part)
        }
        _ => None,
    };
    Submission { envelope: envelope.to_bytes(), public_text: text }
}

fn command(history: &mut History, say: Say) -> Command {
    let serial = history.serial();
    say.command(history.federation.genesis.federation(), command_id(serial), de())
}

fn decision() -> SigningKey {
    MemberKeys::of(1).decision
}

fn enroll(history: &mut History, name: &'static str, n: usize, also: &[&SigningKey]) {
    let key = person(n);
    let command = command(history, Say::Enroll(name, public(&key)));
    let (decision, mut keys) = (decision(), vec![&key]);
    keys.extend(also);
    keys.insert(0, &decision);
    history.accept(&signed(&command, &keys));
}

fn expect_signature(history: &mut History, command: &Command, keys: &[&SigningKey]) -> String {
    match history.refuse(&signed(command, keys)) {
        Refusal::Signature { member, problem } if member == de() => problem,
        other => panic!("{other:?}"),
    }
}

/// DE requires the signatures of two of `desk-1`, who has two keys, and `desk-2`.
fn personal() -> History {
    let mut history = four();
    enroll(&mut history, "desk-1", 1, &[]);
    enroll(&mut history, "desk-1", 2, &[]);
    assert_eq!(history.refuse_to(de(), Say::Require(true)), Refusal::TooFewPeople { member: de() });
    enroll(&mut history, "desk-2", 3, &[]);
    history.say(de(), Say::Require(true));
    history
}

#[test]
fn new_keys_prove_that_they_are_held() {
    let mut history = four();
    let next = MemberKeys::of(40);
    let rotation = command(&mut history, Say::Rotate(Some(public(&next.decision)), Some(public(&next.node))));
    let old = decision();
    for keys in [&[&old][..], &[&old, &next.decision], &[&old, &next.node], &[&next.decision, &next.node]] {
        expect_signature(&mut history, &rotation, keys);
    }
    let stranger = person(9);
    expect_signature(&mut history, &rotation, &[&old, &next.decision, &next.node, &stranger]);
    history.accept(&signed(&rotation, &[&old, &next.decision, &next.node]));
    // The old key is refused from here on, the new one signs.
    let ballot = history.table(fr());
    let vote = history.federation.vote_command(de(), ballot, Choice::Yes, None, 1);
    expect_signature(&mut history, &vote, &[&old]);
    history.accept(&signed(&vote, &[&next.decision]));
    let time = history.federation.attest_command(de(), history.state.list_time(), 2);
    expect_signature(&mut history, &time, &[&MemberKeys::of(1).node]);
    history.accept(&signed(&time, &[&next.node]));
    assert_eq!(Snapshot::from(&history.replayed()), history.snapshot());
    // Whoever verifies the public log knows both.
    let voters = [fr(), ca(), super::au()];
    history.vote_all(&[fr(), ca()], ballot, Choice::Yes);
    let export = history.export(crate::testing::Depth::Members, &voters);
    crate::export::ListExport::verify(&export.to_bytes(), &history.federation.genesis).unwrap();
}

#[test]
fn a_key_is_rotated_to_one_that_nobody_ever_had() {
    let mut history = four();
    let (old, other) = (decision(), MemberKeys::of(2));
    let node = MemberKeys::of(1).node;
    for key in [&other.recovery, &old, &node] {
        let rotation = command(&mut history, Say::Rotate(Some(public(key)), None));
        let keys: Vec<&SigningKey> = if public(key) == public(&old) { vec![&old] } else { vec![&old, key] };
        let refusal = history.refuse(&signed(&rotation, &keys));
        assert!(matches!(refusal, Refusal::KeyInUse { field: "decision_key", .. }), "{refusal:?}");
    }
    let next = person(9);
    let rotation = command(&mut history, Say::Rotate(Some(public(&next)), Some(public(&next))));
    let refusal = history.refuse(&signed(&rotation, &[&old, &next]));
    assert!(matches!(refusal, Refusal::KeyInUse { field: "node_key", .. }), "{refusal:?}");
    let nothing = command(&mut history, Say::Rotate(None, None));
    assert!(matches!(history.refuse(&signed(&nothing, &[&old])), Refusal::Field { .. }));
    // And never back again.
    let rotation = command(&mut history, Say::Rotate(Some(public(&next)), None));
    history.accept(&signed(&rotation, &[&old, &next]));
    let back = command(&mut history, Say::Rotate(Some(public(&old)), None));
    let refusal = history.refuse(&signed(&back, &[&next, &old]));
    assert!(matches!(refusal, Refusal::KeyInUse { .. }), "{refusal:?}");
}

#[test]
fn the_recovery_key_revokes_at_once() {
    let mut history = four();
    let ballot = history.table(fr());
    let revocation = command(&mut history, Say::Revoke(true, true));
    let keys = MemberKeys::of(1);
    for key in [&keys.decision, &keys.node, &MemberKeys::of(2).recovery] {
        expect_signature(&mut history, &revocation, &[key]);
    }
    expect_signature(&mut history, &revocation, &[&keys.recovery, &keys.decision]);
    history.accept(&signed(&revocation, &[&keys.recovery]));
    let vote = history.federation.vote(de(), ballot, Choice::Yes, 1);
    assert_eq!(history.refuse(&vote), Refusal::KeyRevoked { member: de(), which: "decision" });
    let time = history.federation.attest(de(), history.state.list_time(), 2);
    assert_eq!(history.refuse(&time), Refusal::KeyRevoked { member: de(), which: "node" });
    let next = person(9);
    let rotation = command(&mut history, Say::Rotate(Some(public(&next)), None));
    let refusal = history.refuse(&signed(&rotation, &[&keys.decision, &next]));
    assert_eq!(refusal, Refusal::KeyRevoked { member: de(), which: "decision" });
    assert!(matches!(history.refuse_to(de(), Say::Revoke(true, false)), Refusal::NoChange(_)));
    let voters = std::sync::Arc::clone(history.state.roster().voters());
    assert_eq!(voters[&de()].node_key, None, "it cosigns nothing, and is counted");
    assert_eq!(voters.len(), 4);
}

#[test]
fn a_revoked_node_key_is_replaced_by_rotation() {
    let mut history = four();
    let far = history.federation.attest(de(), "9000-01-01T00:00:00Z".parse().unwrap(), 1);
    history.accept(&far);
    history.say(de(), Say::Revoke(false, true));
    let next = person(9);
    let rotation = command(&mut history, Say::Rotate(None, Some(public(&next))));
    history.accept(&signed(&rotation, &[&decision(), &next]));
    // What the thief attested is forgotten.
    let time = history.federation.attest_command(de(), history.state.list_time(), 2);
    history.accept(&signed(&time, &[&next]));
}

#[test]
fn a_persons_key_proves_that_it_is_held_and_is_nobody_elses() {
    let mut history = four();
    let key = person(1);
    let enrolment = command(&mut history, Say::Enroll("desk-1", public(&key)));
    expect_signature(&mut history, &enrolment, &[&decision()]);
    expect_signature(&mut history, &enrolment, &[&key]);
    expect_signature(&mut history, &enrolment, &[&decision(), &person(2)]);
    history.accept(&signed(&enrolment, &[&decision(), &key]));
    let again = command(&mut history, Say::Enroll("desk-2", public(&key)));
    assert!(matches!(history.refuse(&signed(&again, &[&decision(), &key])), Refusal::KeyInUse { field: "key", .. }));
    // Revoked it is nobody's again.
    history.say(de(), Say::RevokePerson(public(&key)));
    let again = command(&mut history, Say::Enroll("desk-1", public(&key)));
    assert!(matches!(history.refuse(&signed(&again, &[&decision(), &key])), Refusal::KeyInUse { .. }));
    assert_eq!(history.refuse_to(de(), Say::RevokePerson(public(&key))), Refusal::NoSuchPerson(de()));
    assert_eq!(history.refuse_to(ca(), Say::RevokePerson(public(&key))), Refusal::NoSuchPerson(ca()));
}

#[test]
fn a_deciding_command_needs_two_different_people() {
    let mut history = personal();
    let ballot = history.table(fr());
    let id = history.list(fr());
    let federation = history.federation.clone();
    let (one, one_again, two, ours) = (person(1), person(2), person(3), decision());
    let commands = [
        federation.vote_command(de(), ballot, Choice::Yes, None, 1),
        federation.table_command(crate::testing::proposal_id(de(), 2), &public_text(7), 2),
        command(&mut history, Say::Attach(id.clone(), measure("A"))),
        command(&mut history, Say::Review(id)),
        command(&mut history, Say::RevokePerson(public(&person(2)))),
    ];
    for command in &commands {
        let needs = |found| Refusal::PersonalSignatures { member: de(), needed: 2, found };
        assert_eq!(history.refuse(&signed(command, &[&ours])), needs(0));
        assert_eq!(history.refuse(&signed(command, &[&ours, &one])), needs(1));
        let twice = history.refuse(&signed(command, &[&ours, &one, &one_again]));
        assert_eq!(twice, needs(1), "two keys of one person are one person");
        expect_signature(&mut history, command, &[&one, &two]);
        expect_signature(&mut history, command, &[&ours, &one, &person(8)]);
        let mut bent = crate::dsse::Envelope::from_bytes(&signed(command, &[&ours, &one, &two]).envelope).unwrap();
        bent.signatures[2].sig[9] ^= 1;
        let public_text = signed(command, &[&ours]).public_text;
        let refusal = history.refuse(&Submission { envelope: bent.to_bytes(), public_text });
        assert!(matches!(refusal, Refusal::Signature { .. }), "{refusal:?}");
        history.accept(&signed(command, &[&ours, &one, &two]));
    }
    // The node's word on time is no decision.
    let time = history.federation.attest(de(), history.state.list_time(), 9);
    history.accept(&time);
    let keys = history.state.roster().get(de()).unwrap().enrolled_count();
    assert_eq!(keys, 2);
}

#[test]
fn people_sign_away_neither_themselves_nor_the_rule_alone() {
    let mut history = personal();
    let (one, two, ours) = (person(1), person(3), decision());
    let revocation = command(&mut history, Say::RevokePerson(public(&two)));
    assert_eq!(history.refuse(&signed(&revocation, &[&ours, &one, &two])), Refusal::TooFewPeople { member: de() });
    for say in [Say::Require(false), Say::Enroll("desk-3", public(&person(4)))] {
        let proof = matches!(say, Say::Enroll(..)).then(|| person(4));
        let command = command(&mut history, say);
        let mut keys = vec![&ours];
        keys.extend(proof.iter());
        let refusal = history.refuse(&signed(&command, &keys));
        assert_eq!(refusal, Refusal::PersonalSignatures { member: de(), needed: 2, found: 0 });
        keys.extend([&one, &two]);
        history.accept(&signed(&command, &keys));
    }
    let ballot = history.table(fr());
    let vote = history.federation.vote(de(), ballot, Choice::Yes, 1);
    history.accept(&vote);
    assert!(matches!(history.refuse_to(de(), Say::Require(false)), Refusal::NoChange(_)));
}

#[test]
fn one_person_takes_notice() {
    let mut history = History::new(crate::testing::Federation::ruled(4, "no_objection"));
    enroll(&mut history, "desk-1", 1, &[]);
    enroll(&mut history, "desk-2", 2, &[]);
    history.say(de(), Say::Require(true));
    let ballot = history.table(fr());
    let notice = command(&mut history, Say::Acknowledge(ballot));
    let refusal = history.refuse(&signed(&notice, &[&decision()]));
    assert_eq!(refusal, Refusal::PersonalSignatures { member: de(), needed: 1, found: 0 });
    history.accept(&signed(&notice, &[&decision(), &person(1)]));
    let hold = command(&mut history, Say::Hold(ballot));
    let refusal = history.refuse(&signed(&hold, &[&decision(), &person(1)]));
    assert_eq!(refusal, Refusal::PersonalSignatures { member: de(), needed: 2, found: 1 });
}

#[test]
fn a_revoked_person_signs_nothing() {
    let mut history = four();
    enroll(&mut history, "desk-1", 1, &[]);
    let ballot = history.table(fr());
    history.say(de(), Say::RevokePerson(public(&person(1))));
    let vote = history.federation.vote_command(de(), ballot, Choice::Yes, None, 1);
    let problem = expect_signature(&mut history, &vote, &[&decision(), &person(1)]);
    assert!(problem.contains("none that signs this command"), "{problem}");
}

#[test]
fn publications_show_the_members_signature_and_never_its_peoples() {
    let mut history = personal();
    let ballot = history.table(fr());
    let vote = history.federation.vote_command(de(), ballot, Choice::Yes, None, 1);
    history.accept(&signed(&vote, &[&decision(), &person(1), &person(3)]));
    history.vote_all(&[fr(), ca()], ballot, Choice::Yes);
    let voters = history.federation.voters();
    for depth in [crate::testing::Depth::Public, crate::testing::Depth::Members] {
        let export = history.export(depth, &voters);
        crate::export::ListExport::verify(&export.to_bytes(), &history.federation.genesis).unwrap();
        for envelope in export.publications.iter().flat_map(|p| &p.evidence) {
            assert_eq!(crate::dsse::Envelope::from_bytes(envelope.as_bytes()).unwrap().signatures.len(), 1);
        }
    }
}

#[test]
fn keys_are_known_before_a_command_is_applied_and_a_strange_one_is_no_forgery() {
    let mut history = four();
    let federation = history.federation.genesis.federation();
    let ballot = history.table(fr());
    let keyring = std::sync::Arc::clone(history.state.roster().keyring());
    let vote = history.federation.vote_command(de(), ballot, Choice::Yes, None, 1);
    let check = |keys: &[&SigningKey]| {
        let checked = crate::list::check_submission(federation, &signed(&vote, keys)).unwrap();
        checked.verify_with(&keyring)
    };
    assert!(check(&[&decision()]).is_ok());
    assert!(check(&[&decision(), &person(1)]).is_ok(), "this node may be behind");
    assert!(matches!(check(&[&MemberKeys::of(2).decision]), Err(Refusal::Signature { .. })));
    // Whatever was found before, what is applied is decided by the roster.
    let checked = check(&[&decision(), &person(1)]).unwrap();
    assert!(matches!(history.state.apply_checked(&checked), Err(Refusal::Signature { .. })));
    let checked = check(&[&MemberKeys::of(1).node]).unwrap();
    assert!(matches!(history.state.apply_checked(&checked), Err(Refusal::Signature { .. })));
    let checked = check(&[&decision()]).unwrap();
    assert!(!history.state.apply_checked(&checked).unwrap().repeated);
}

#[test]
fn a_member_enrols_so_many_people() {
    let mut history = four();
    let person = crate::roster::Person {
        name: "x".parse().unwrap(),
        role: crate::Role::Operator,
        key: public(&person(1)),
        revoked: true,
    };
    let limit = crate::roster::Standing::MAX_PEOPLE;
    history.state.roster.members.get_mut(&de()).unwrap().people = vec![person; limit];
    let key = self::person(2);
    let enrolment = command(&mut history, Say::Enroll("desk-1", public(&key)));
    let refusal = history.refuse(&signed(&enrolment, &[&decision(), &key]));
    assert!(matches!(refusal, Refusal::Bound { limit: found, .. } if found == limit), "{refusal:?}");
}

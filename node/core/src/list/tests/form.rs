//! Refusals that need no state: envelope, type, payload, federation, key, text.

use super::{ca, de, four, fr};
use crate::canonical::Hex32;
use crate::dsse::Envelope;
use crate::list::{Choice, Command, PublicText, Refusal, Submission, Vote, check_accepted};
use crate::testing::{Federation, MemberKeys, ballot_id, command_id, member, proposal_id, public_text};

fn bare(envelope: Envelope) -> Submission {
    Submission { envelope: envelope.to_bytes(), public_text: None }
}

/// A vote's envelope whose payload was rewritten as text and signed again with the right key.
fn resigned(history: &crate::testing::History, command: &Command, edit: impl FnOnce(String) -> String) -> Submission {
    let payload = edit(String::from_utf8(command.to_payload()).unwrap()).into_bytes();
    bare(Envelope::sign(command.payload_type(), payload, &history.federation.keys(command.member()).decision))
}

#[test]
fn what_is_no_envelope_is_refused() {
    let mut history = four();
    let ballot = history.table(fr());
    let good = history.federation.vote(de(), ballot, Choice::Yes, 1);
    let text = String::from_utf8(good.envelope.clone()).unwrap();
    for bad in [
        String::new(),
        "null".into(),
        "[]".into(),
        format!(" {text}"),
        format!("{text}\n"),
        text.replacen(':', ": ", 1),
        text.replacen("payloadType", "payload\\u0054ype", 1),
        text.replacen("\"signatures\":[{", "\"signatures\":[],\"x\":[{", 1),
        text.replacen('{', r#"{"payloadType":"x","#, 1),
        text[..text.len() - 1].to_owned(),
    ] {
        let refusal = history.refuse(&Submission { envelope: bad.clone().into_bytes(), public_text: None });
        assert!(matches!(refusal, Refusal::Envelope(_)), "{refusal:?} for {bad}");
    }
    let many = Envelope { signatures: Vec::new(), ..Envelope::from_bytes(&good.envelope).unwrap() };
    assert!(matches!(history.refuse(&bare(many)), Refusal::Envelope(_)));
    history.accept(&good);
}

#[test]
fn an_unknown_type_is_refused_even_if_well_signed() {
    let mut history = four();
    let key = history.federation.keys(fr()).decision.clone();
    for unknown in ["application/vnd.comity.list.vote.v2+json", "", "application/json", &"x".repeat(1000)] {
        let refusal = history.refuse(&bare(Envelope::sign(unknown, b"{}".to_vec(), &key)));
        let Refusal::UnknownType(shown) = refusal else { panic!("{refusal:?}") };
        assert!(unknown.starts_with(&shown) && shown.chars().count() <= 80);
    }
}

#[test]
fn a_payload_is_one_strict_json_object() {
    let mut history = four();
    let ballot = history.table(fr());
    let vote = history.federation.vote_command(de(), ballot, Choice::Yes, None, 1);
    type Edit = fn(String) -> String;
    let edits: [(&str, Edit); 12] = [
        ("an unknown field", |t| t.replacen('{', r#"{"note":"x","#, 1)),
        ("a duplicate field", |t| t.replacen('{', r#"{"choice":"no","#, 1)),
        ("a float", |t| t.replacen(r#""choice":"yes""#, r#""choice":1.5"#, 1)),
        ("a missing field", |t| t.replacen(r#","choice":"yes""#, "", 1)),
        ("an unknown choice", |t| t.replacen(r#""yes""#, r#""maybe""#, 1)),
        ("a choice in capitals", |t| t.replacen(r#""yes""#, r#""Yes""#, 1)),
        ("digits in capitals", |t| t.replace("c0c0", "C0C0")),
        ("a member that does not exist", |t| t.replacen(r#""DE""#, r#""ZZ""#, 1)),
        ("two documents", |t| format!("{t}{t}")),
        ("no document", |_| String::new()),
        ("an array in place of the object", |t| {
            let document: serde_json::Value = serde_json::from_str(&t).unwrap();
            let fields = ["federation", "command_id", "member", "ballot", "choice", "replaces", "reason"];
            serde_json::to_string(&fields.map(|name| document[name].clone())).unwrap()
        }),
        ("a byte order mark", |t| format!("\u{FEFF}{t}")),
    ];
    for (what, edit) in edits {
        let refusal = history.refuse(&resigned(&history, &vote, edit));
        assert!(matches!(refusal, Refusal::Payload(_)), "{what}: {refusal:?}");
    }
    // What is signed are exact bytes, so another spelling of the same JSON is another, equally good payload.
    let spaced = resigned(&history, &vote, |t| t.replace(',', ",\n  "));
    history.accept(&spaced);
}

#[test]
fn another_types_payload_is_refused() {
    let mut history = four();
    let ballot = history.table(fr());
    let withdraw = history.federation.withdraw_command(fr(), ballot, 1);
    let vote = history.federation.vote_command(fr(), ballot, Choice::Yes, None, 2);
    let key = history.federation.keys(fr()).decision.clone();
    let crossed = Envelope::sign(vote.payload_type(), withdraw.to_payload(), &key);
    assert!(matches!(history.refuse(&bare(crossed)), Refusal::Payload(_)));
    // The type is under the signature: it cannot be exchanged afterwards.
    let mut relabelled = withdraw.sign(&key);
    relabelled.payload_type = vote.payload_type().into();
    assert!(matches!(history.refuse(&bare(relabelled)), Refusal::Payload(_)));
}

#[test]
fn another_federations_command_is_refused() {
    let mut history = four();
    let other = Federation::with(4, |document| document.name = "Another".into());
    let ballot = history.table(fr());
    let refusal = history.refuse(&other.vote(de(), ballot, Choice::Yes, 1));
    let expected = history.federation.genesis.federation();
    assert_eq!(refusal, Refusal::OtherFederation { found: other.genesis.federation(), expected });
}

#[test]
fn a_command_checked_against_another_genesis_is_refused() {
    let mut history = four();
    let other = Federation::with(4, |document| document.name = "Another".into());
    let (tabling, _) = other.table(fr(), 1);
    let checked = crate::list::check_submission(other.genesis.federation(), &tabling).unwrap();
    let before = history.snapshot();
    assert!(matches!(history.state.apply_checked(&checked), Err(Refusal::OtherFederation { .. })));
    assert_eq!(history.snapshot(), before);
}

#[test]
fn strangers_and_recipients_decide_nothing() {
    let federation = Federation::with(4, |document| document.members[3].voting = false);
    let mut history = crate::testing::History::new(federation);
    let ballot = history.table(fr());
    for who in ["GB", "OPCW", "AU"] {
        let who = member(who);
        let vote = history.federation.vote_command(who, ballot, Choice::Yes, None, 1);
        let refusal = history.refuse(&bare(vote.sign(&MemberKeys::of(3).decision)));
        assert_eq!(refusal, Refusal::NotAMember(who));
    }
    let now = history.state.list_time();
    let attest = history.federation.attest(member("AU"), now, 2);
    assert_eq!(history.refuse(&attest), Refusal::NotAMember(member("AU")));
}

#[test]
fn each_command_has_its_one_key() {
    let mut history = four();
    let ballot = history.table(fr());
    let keys = history.federation.keys(de()).clone();
    let stranger = MemberKeys::of(77);
    let vote = history.federation.vote_command(de(), ballot, Choice::Yes, None, 1);
    let table = history.federation.table_command(proposal_id(de(), 2), &public_text(2), 2);
    let withdraw = history.federation.withdraw_command(fr(), ballot, 3);
    for command in [&vote, &table, &withdraw] {
        let own = history.federation.keys(command.member()).clone();
        let another = history.federation.keys(ca()).decision.clone();
        for key in [&own.node, &own.recovery, &another, &stranger.decision] {
            let text = matches!(command, Command::Table(_)).then(|| public_text(2));
            let submission = Submission { envelope: command.sign(key).to_bytes(), public_text: text };
            let refusal = history.refuse(&submission);
            let Refusal::Signature { member, problem } = refusal else { panic!("{refusal:?}") };
            assert_eq!(member, command.member());
            assert!(problem.contains("decision key"), "{problem}");
        }
    }
    let attest = history.federation.attest_command(de(), history.state.list_time(), 4);
    for key in [&keys.decision, &keys.recovery, &stranger.node] {
        let refusal = history.refuse(&bare(attest.sign(key)));
        assert!(matches!(&refusal, Refusal::Signature { problem, .. } if problem.contains("node key")), "{refusal:?}");
    }
}

#[test]
fn a_bent_signature_or_payload_is_refused() {
    let mut history = four();
    let ballot = history.table(fr());
    let vote = history.federation.vote_command(de(), ballot, Choice::No, None, 1);
    let envelope = vote.sign(&history.federation.keys(de()).decision);
    let mut bent = envelope.clone();
    bent.signatures[0].sig[10] ^= 1;
    let mut turned = envelope.clone();
    turned.payload = history.federation.vote_command(de(), ballot, Choice::Yes, None, 1).to_payload();
    let mut twice = envelope.clone();
    twice.signatures.push(twice.signatures[0].clone());
    // A scalar above the group's order: the malleable twin that RFC 8032 refuses.
    let mut twin = envelope.clone();
    add_group_order(&mut twin.signatures[0].sig);
    assert!(matches!(history.refuse(&bare(twice)), Refusal::Envelope(_)));
    for bad in [bent, turned, twin] {
        let refusal = history.refuse(&bare(bad));
        assert!(matches!(&refusal, Refusal::Signature { member, .. } if *member == de()), "{refusal:?}");
    }
    history.accept(&bare(envelope));
}

/// Adds the order of the Ed25519 group to the signature's scalar, little-endian in its last 32 bytes.
fn add_group_order(sig: &mut [u8; 64]) {
    const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let mut carry = 0_u16;
    for (byte, add) in sig[32..].iter_mut().zip(hex::decode(ORDER).unwrap()) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
}

#[test]
fn the_text_stands_beside_a_tabling_and_nowhere_else() {
    let mut history = four();
    let (good, ballot) = history.federation.table(fr(), 1);
    let missing = Submission { public_text: None, ..good.clone() };
    let other = Submission { public_text: Some(public_text(2)), ..good.clone() };
    let mut salted = public_text(1);
    salted.salt = Hex32([9; 32]);
    let salted = Submission { public_text: Some(salted), ..good.clone() };
    for bad in [&missing, &other, &salted] {
        assert!(matches!(history.refuse(bad), Refusal::PublicPart(_)));
    }
    history.accept(&good);
    let mut vote = history.federation.vote(de(), ballot, Choice::Yes, 3);
    vote.public_text = Some(public_text(1));
    assert!(matches!(history.refuse(&vote), Refusal::PublicPart(_)));
    // Replay does not ask for a text that may have been erased.
    assert!(check_accepted(history.federation.genesis.federation(), &missing.envelope).is_ok());
}

#[test]
fn a_text_that_breaks_its_own_rules_is_refused_however_well_signed() {
    let mut history = four();
    let valid = String::from_utf8(public_text(1).bytes).unwrap();
    for bad in [
        String::new(),
        "[]".into(),
        valid.replacen('{', r#"{"assessment":"secret","#, 1),
        valid.replace("primary", "alias"),
        valid.replace("DOE", "D\u{202E}OE"),
        valid.replace("DOE", &"D".repeat(501)),
        valid.replace(r#""statement_of_case":"Case 1.""#, r#""statement_of_case":"  ""#),
        format!("{valid}{}", " ".repeat(crate::proposal::PublicPart::MAX_BYTES)),
    ] {
        let text = PublicText { salt: Hex32([1; 32]), bytes: bad.into_bytes() };
        let command = history.federation.table_command(proposal_id(fr(), 1), &text, 1);
        let submission = history.federation.sign(&command, Some(text));
        let refusal = history.refuse(&submission);
        assert!(matches!(refusal, Refusal::PublicPart(_)), "{refusal:?}");
    }
}

#[test]
fn fields_have_bounds() {
    let mut history = four();
    let ballot = history.table(fr());
    let reasons = ["".to_owned(), "  ".into(), "a\u{7}b".into(), "x".repeat(2_001), "left \u{2066}right".into()];
    for reason in reasons {
        let Command::Vote(vote) = history.federation.vote_command(de(), ballot, Choice::No, None, 1) else { panic!() };
        let command = Command::Vote(Vote { reason: Some(reason), ..vote });
        let submission = history.federation.sign(&command, None);
        let refusal = history.refuse(&submission);
        assert!(matches!(&refusal, Refusal::Field { field, .. } if field == "reason"), "{refusal:?}");
    }
    let text = public_text(2);
    let mut command = history.federation.table_command(proposal_id(fr(), 2), &text, 2);
    let Command::Table(table) = &mut command else { panic!() };
    table.commitments = vec![Hex32([1; 32]); 17];
    let submission = history.federation.sign(&command, Some(text.clone()));
    let refusal = history.refuse(&submission);
    assert!(matches!(&refusal, Refusal::Field { field, .. } if field == "commitments"), "{refusal:?}");
    let Command::Table(table) = &mut command else { panic!() };
    table.commitments.pop();
    let (submission, ballot) = (history.federation.sign(&command, Some(text)), ballot_id(&command));
    history.accept(&submission);
    assert_eq!(history.ballot(ballot).proposer, fr());
}

#[test]
fn only_the_originator_tables() {
    let mut history = four();
    let text = public_text(1);
    let mut command = history.federation.table_command(proposal_id(fr(), 1), &text, 1);
    let Command::Table(table) = &mut command else { panic!() };
    table.member = de();
    let submission = history.federation.sign(&command, Some(text));
    assert_eq!(history.refuse(&submission), Refusal::NotTheOriginator(fr()));
    assert_eq!(history.state.accepted_at(command_id(1)), None, "a refused command spends no id");
}

//! A history in which everything happens that is published: it is proved at both depths, and no word of it can be another,
//! however many nodes cosign that.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::dsse::PublicKey;
use crate::list::{Choice, Command, Ground, Motion, PublishedEvent, ReplacedKeys, Submission};
use crate::rule::{BallotKind, Rule, Rules};
use crate::testing::{
    Depth, Federation, History, MemberKeys, Say, command_id, measure, member, proposal_id, roster_member,
};

/// The names of everything that is published.
const EVENTS: [&str; 16] = [
    "listed",
    "amended",
    "delisted",
    "merged",
    "measure_attached",
    "measure_ended",
    "reviewed",
    "admitted",
    "suspended",
    "readmitted",
    "expelled",
    "keys_replaced",
    "keys_rotated",
    "keys_revoked",
    "rule_changed",
    "version_raised",
];

static HISTORY: LazyLock<History> = LazyLock::new(history);

/// Takes another decision key, or another node key.
fn rotate(history: &mut History, who: MemberId, next: &SigningKey, is_decision: bool) {
    let serial = history.serial();
    let federation = history.federation.genesis.federation();
    let key = Some(PublicKey(next.verifying_key()));
    let say = if is_decision { Say::Rotate(key, None) } else { Say::Rotate(None, key) };
    let mut envelope = say.command(federation, command_id(serial), who).sign(&history.federation.keys(who).decision);
    envelope.add_signature(next);
    history.accept(&Submission { envelope: envelope.to_bytes(), public_text: None });
    if let Some(keys) = history.federation.keys.get_mut(&who) {
        *(if is_decision { &mut keys.decision } else { &mut keys.node }) = next.clone();
    }
}

fn raise(history: &mut History, time: &str) {
    let voters: Vec<MemberId> = history.state.roster().voters().keys().copied().collect();
    for voter in voters {
        let serial = history.serial();
        let mut command = history.federation.attest_command(voter, time.parse().unwrap(), serial);
        if let Command::AttestTime(attest) = &mut command {
            attest.supports = 2;
        }
        let submission = history.federation.sign(&command, None);
        history.accept(&submission);
    }
    history.decide(member("FR"), Motion::RaiseVersion { version: 2 });
}

fn history() -> History {
    let [fr, de, ca, au, nz] = ["FR", "DE", "CA", "AU", "NZ"].map(member);
    let two_thirds: Rule = "quorum(2/3)".parse().unwrap();
    let mut history = History::new(Federation::with(4, |document| {
        document.rules = Rules { list: "no_objection".parse().unwrap(), ..Rules::uniform(two_thirds) };
    }));
    // Listed by silence: AU absent, CA with a vote, too.
    let ballot = history.table(fr);
    history.say(de, Say::Acknowledge(ballot));
    history.vote(ca, ballot, Choice::Yes);
    history.until("2026-12-08T00:00:00Z");
    history.decide(fr, Motion::ChangeRule { kind: BallotKind::List, rule: two_thirds });
    let second = history.list(de);
    let first = history.state.entries_after(None).next().unwrap().id.clone();
    // A vote that a rotation outlives.
    let amendment = history.motion(de, Motion::Amend { entry: second.clone(), proposal: proposal_id(de, 900) });
    history.vote(de, amendment, Choice::Yes);
    rotate(&mut history, de, &MemberKeys::of(70).decision, true);
    history.say_yes(amendment);
    history.say(ca, Say::Attach(first.clone(), measure("A")));
    history.say(ca, Say::End(first.clone(), "A".into()));
    history.say(au, Say::Attach(first.clone(), measure("B")));
    history.say(au, Say::Review(second.clone()));
    history.decide(fr, Motion::Merge { entry: first, into: second.clone() });
    history.say(au, Say::End(second.clone(), "B".into()));
    let third = history.list(fr);
    history.motion(fr, Motion::Delist { entry: third, ground: Ground::Death });
    // All measures have ended, so anybody's delisting is adopted by reverse silence; this one annuls two entries' texts.
    history.motion(ca, Motion::Delist { entry: second, ground: Ground::CourtAnnulment });
    history.until("2027-03-01T00:00:00Z");
    history.decide(fr, Motion::Admit { member: Box::new(roster_member(40, nz)) });
    history.federation.keys.insert(nz, MemberKeys::of(40));
    history.list(nz);
    let row = roster_member(41, ca);
    let keys = ReplacedKeys {
        decision_key: row.decision_key,
        node_key: row.node_key,
        recovery_key: row.recovery_key,
        roots_pem: row.roots_pem,
        endpoint: row.endpoint,
        incarnation: 2,
    };
    history.decide(fr, Motion::ReplaceKeys { target: ca, keys: Box::new(keys) });
    history.federation.keys.insert(ca, MemberKeys::of(41));
    // One drops out of an electorate that decides afterwards.
    let open = history.table(fr);
    history.decide(fr, Motion::Suspend { target: au });
    history.say_yes(open);
    history.decide(fr, Motion::Readmit { target: au });
    history.decide(fr, Motion::Expel { target: nz });
    history.say(au, Say::Revoke(false, true));
    rotate(&mut history, au, &MemberKeys::of(71).node, false);
    history.list(de);
    raise(&mut history, "2027-03-02T00:00:00Z");
    history
}

fn cosigners() -> Vec<MemberId> {
    ["FR", "DE", "CA"].map(member).to_vec()
}

fn verify(export: &ListExport) -> Result<VerifiedList, UnprovenExport> {
    ListExport::verify(&export.to_bytes(), &HISTORY.federation.genesis)
}

/// Every node computes and cosigns the root of the file's public log as it is.
fn seal(export: &mut ListExport) {
    let leaves: Vec<Hex32> = export.publications.iter().map(|p| Publication::leaf_hash(p.leaf.as_bytes())).collect();
    let origin = HISTORY.federation.genesis.public_log_origin();
    let checkpoint = Checkpoint { origin, size: leaves.len() as u64, root: merkle::root_of(leaves) };
    export.checkpoint = HISTORY.federation.cosigned(checkpoint, &cosigners());
}

#[test]
fn everything_that_is_published_is_proved_at_both_depths() {
    let history = &*HISTORY;
    let events: BTreeSet<&str> = (0..history.state.public_log().size())
        .map(|leaf| Publication::from_bytes(history.state.publication(leaf).unwrap()).unwrap().event.name())
        .collect();
    assert_eq!(events, BTreeSet::from(EVENTS));
    for depth in [Depth::Public, Depth::Members] {
        let verified = verify(&history.export(depth, &cosigners())).unwrap();
        assert_eq!(verified.voters, ["AU", "CA", "DE", "FR"].map(member));
        for entry in history.state.entries_after(None) {
            let found = verified.list.get(&entry.id).unwrap();
            assert_eq!(found.history.iter().map(|(leaf, _)| *leaf).collect::<Vec<_>>(), entry.history, "{}", entry.id);
            assert_eq!(found.measures.len(), entry.measures.len());
            assert_eq!(found.public_part.is_none(), history.state.is_annulled(&entry.id), "{}", entry.id);
        }
    }
    let first = history.state.entries_after(None).next().unwrap();
    assert!(history.state.is_annulled(&first.id), "a redirect to what was annulled shows no text either");
    // A revoked key's cosignature is none.
    let with_au = ["FR", "DE", "AU"].map(member);
    let au = member("AU");
    let mut revoked = history.clone();
    revoked.federation.keys.get_mut(&au).unwrap().node = Federation::with(4, |_| {}).keys(au).node.clone();
    let error = verify(&revoked.export(Depth::Public, &with_au)).unwrap_err();
    assert_eq!(error, UnprovenExport::NotAgreed { log: "public", found: 2, needed: 3 });
}

#[test]
fn access_logs_are_signed_with_the_keys_that_the_list_tells() {
    let key = |keys: MemberKeys| PublicKey(keys.node.verifying_key());
    for depth in [Depth::Public, Depth::Members] {
        let logs = verify(&HISTORY.export(depth, &cosigners())).unwrap().logs;
        for standing in HISTORY.state.roster().iter() {
            let party = logs.get(standing.row.member).unwrap();
            assert_eq!((&party.trust_domain, party.witnesses), (&standing.row.trust_domain, standing.is_voter()));
            assert_eq!(party.node_keys.first(), Some(&standing.row.node_key), "{}", standing.row.member);
        }
        // Of what was replaced or revoked, nothing counts.
        let keys = |code: &str| logs.get(member(code)).unwrap().node_keys.clone();
        assert_eq!((keys("CA"), keys("AU")), (vec![key(MemberKeys::of(41))], vec![key(MemberKeys::of(71))]));
    }
    // What was signed before a rotation still counts.
    let mut history = History::new(Federation::new(4));
    rotate(&mut history, member("DE"), &MemberKeys::of(72).node, false);
    history.say(member("FR"), Say::Revoke(false, true));
    let export = history.export(Depth::Public, &["DE", "CA", "AU"].map(member));
    let logs = ListExport::verify(&export.to_bytes(), &history.federation.genesis).unwrap().logs;
    let keys = |code: &str| logs.get(member(code)).unwrap().node_keys.clone();
    assert_eq!(keys("DE"), [key(MemberKeys::of(72)), key(MemberKeys::of(1))]);
    assert!(keys("FR").is_empty());
}

#[test]
fn a_text_is_missing_only_where_it_was_annulled() {
    let good = HISTORY.export(Depth::Public, &cosigners());
    let mut missing = 0;
    for at in 0..good.publications.len() {
        let mut export = good.clone();
        if export.publications[at].text.take().is_none() {
            missing += 1;
            continue;
        }
        assert!(matches!(verify(&export), Err(UnprovenExport::Publication { .. })), "{at}");
    }
    let alone = (0..HISTORY.state.public_log().size()).filter(|leaf| {
        let evidence = HISTORY.state.evidence(*leaf).unwrap();
        evidence.tabling.is_none()
    });
    assert_eq!(missing, alone.count() + 4, "two listings, an amendment and a merge were annulled");
}

/// The JSON with one of its values, the `n`-th, made another of its kind; and where that was.
fn with_another(value: &mut Value, n: &mut usize, path: &str) -> Option<String> {
    match value {
        Value::Object(fields) => {
            fields.iter_mut().find_map(|(name, field)| with_another(field, n, &format!("{path}.{name}")))
        }
        Value::Array(items) => items.iter_mut().find_map(|item| with_another(item, n, &format!("{path}[]"))),
        _ if *n > 0 => {
            *n -= 1;
            None
        }
        Value::String(text) => {
            *text = another(text);
            Some(path.to_owned())
        }
        Value::Number(number) => {
            *value = Value::from(number.as_u64().unwrap() + 1);
            Some(path.to_owned())
        }
        Value::Bool(flag) => {
            *flag = !*flag;
            Some(path.to_owned())
        }
        Value::Null => None,
    }
}

/// Another text of the same kind, so that it is not its form that is refused.
fn another(text: &str) -> String {
    if text.parse::<crate::list::EntryId>().is_ok() {
        let other = if text.ends_with("0004") { "3" } else { "4" };
        return format!("{}{other}", &text[..text.len() - 1]);
    }
    if text.parse::<PublicKey>().is_ok() {
        return PublicKey(MemberKeys::of(99).decision.verifying_key()).to_string();
    }
    if text.len() == 64 && text.parse::<Hex32>().is_ok() {
        return Hex32([7; 32]).to_string();
    }
    match text {
        "FR" => "DE".into(),
        "death" | "court_annulment" => "mistaken_identity".into(),
        "list" => "amend".into(),
        "unanimity" => "no_such_rule".into(),
        _ if text.parse::<MemberId>().is_ok() => "FR".into(),
        _ if text.parse::<crate::edtf::PartialDate>().is_ok() => "2025-01-01".into(),
        _ => format!("{text}x"),
    }
}

#[test]
fn no_word_of_a_publication_can_be_another_however_many_cosign_it() {
    let good = HISTORY.export(Depth::Public, &cosigners());
    let mut tried = BTreeSet::new();
    for at in 0..good.publications.len() {
        let leaf: Value = serde_json::from_str(&good.publications[at].leaf).unwrap();
        // The same words in another order of fields are the same.
        let mut export = good.clone();
        export.publications[at].leaf = leaf.to_string();
        seal(&mut export);
        verify(&export).unwrap();
        for n in 0.. {
            let (mut edited, mut left) = (leaf.clone(), n);
            let Some(path) = with_another(&mut edited, &mut left, "") else { break };
            // When it happened is what the cosigners say.
            if path == ".list_time" {
                continue;
            }
            export.publications[at].leaf = edited.to_string();
            seal(&mut export);
            let result = verify(&export);
            // Under another name nobody cosigns: that is found first.
            let named = path.ends_with(".trust_domain") && matches!(result, Err(UnprovenExport::NotAgreed { .. }));
            assert!(named || matches!(result, Err(UnprovenExport::Publication { .. })), "{at} {path}: {result:?}");
            tried.insert(path);
        }
    }
    assert!(tried.len() > 60, "{}: {tried:?}", tried.len());
}

#[test]
fn nothing_that_was_decided_can_be_left_out_or_said_twice() {
    let good = HISTORY.export(Depth::Members, &cosigners());
    for at in 0..good.publications.len() {
        let mut edits: Vec<fn(&mut Vec<ExportedPublication>, usize)> = vec![
            |all, at| drop(all.remove(at)),
            |all, at| {
                let again = all[at].clone();
                all.push(again);
            },
            |all, at| {
                let again = all[at].evidence[0].clone();
                all[at].evidence.push(again);
            },
            |all, at| drop(all[at].evidence.pop()),
        ];
        if at + 1 < good.publications.len() {
            edits.push(|all, at| all.swap(at, at + 1));
        }
        for (n, edit) in edits.into_iter().enumerate() {
            let mut export = good.clone();
            edit(&mut export.publications, at);
            seal(&mut export);
            assert!(verify(&export).is_err(), "{at} {n}");
        }
    }
}

#[test]
fn a_member_that_was_away_comes_to_the_same_state() {
    let export = HISTORY.export(Depth::Members, &cosigners()).to_bytes();
    let (state, envelopes) = ListExport::replay(&export, &HISTORY.federation.genesis).unwrap();
    assert_eq!(crate::testing::Snapshot::from(&state), HISTORY.snapshot());
    assert_eq!(envelopes.len(), HISTORY.accepted.len());
    let public = HISTORY.export(Depth::Public, &cosigners()).to_bytes();
    let error = ListExport::replay(&public, &HISTORY.federation.genesis).unwrap_err();
    assert_eq!(error, UnprovenExport::PublicDepth);
}

#[test]
fn publications_name_states_and_never_people_holds_or_endpoints() {
    for leaf in 0..HISTORY.state.public_log().size() {
        let text = std::str::from_utf8(HISTORY.state.publication(leaf).unwrap()).unwrap();
        assert!(!text.contains("7443") && !text.contains("desk") && !text.contains("hold\""), "{text}");
    }
    assert!(matches!(
        Publication::from_bytes(HISTORY.state.publication(0).unwrap()).unwrap().event,
        PublishedEvent::Listed { .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_edit_of_the_bytes_proves_another_list(
        members in any::<bool>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let depth = if members { Depth::Members } else { Depth::Public };
        let good = HISTORY.export(depth, &cosigners()).to_bytes();
        let mut bytes = good.clone();
        for (at, byte) in &edits {
            bytes[at.index(good.len())] = *byte;
        }
        // As many cosigners as are needed, so none of them may become illegible either.
        if let Ok(verified) = ListExport::verify(&bytes, &HISTORY.federation.genesis) {
            prop_assert_eq!(verified, ListExport::verify(&good, &HISTORY.federation.genesis).unwrap());
        }
    }
}

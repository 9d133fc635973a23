//! An export proves what it says, and nothing else can be made to. Most edits are sealed again by *every* member's node:
//! what a majority that lies about the log cannot forge are the decision keys' signatures.

use proptest::prelude::*;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::list::{Authority, Choice, Decided, PublishedEvent, Submission};
use crate::testing::{Depth, Federation, History, MemberKeys, member, public_text};

/// Two entries, FR's and DE's, listed by FR, DE and CA; three of four are needed. AU said no to the second.
fn history() -> History {
    let mut history = History::new(Federation::new(4));
    history.list(member("FR"));
    let ballot = history.table(member("DE"));
    history.vote(member("AU"), ballot, Choice::No);
    for voter in ["FR", "DE", "CA"] {
        history.vote(member(voter), ballot, Choice::Yes);
    }
    history
}

fn everybody(history: &History) -> Vec<MemberId> {
    history.federation.voters()
}

fn export(history: &History, depth: Depth) -> ListExport {
    history.export(depth, &everybody(history))
}

fn verify(history: &History, export: &ListExport) -> Result<VerifiedList, UnprovenExport> {
    ListExport::verify(&export.to_bytes(), &history.federation.genesis)
}

/// Every node computes and cosigns the roots of the file as it is.
fn seal(history: &History, export: &mut ListExport) {
    let genesis = &history.federation.genesis;
    let note = |origin, leaves: Vec<Hex32>| {
        let checkpoint = Checkpoint { origin, size: leaves.len() as u64, root: merkle::root_of(leaves) };
        history.federation.cosigned(checkpoint, &everybody(history))
    };
    let leaves = export.publications.iter().map(|p| merkle::leaf_hash(p.leaf.as_bytes())).collect();
    export.checkpoint = note(genesis.public_log_origin(), leaves);
    if let Some(commands) = &mut export.commands {
        let leaves = commands.envelopes.iter().map(|e| merkle::leaf_hash(e.as_bytes())).collect();
        commands.checkpoint = note(genesis.command_log_origin(), leaves);
    }
}

/// The problem of the publication at `leaf`, after an edit that every node sealed.
fn sealed_problem(at: u64, edit: impl FnOnce(&History, &mut ListExport)) -> String {
    let history = history();
    let mut export = export(&history, Depth::Public);
    edit(&history, &mut export);
    seal(&history, &mut export);
    match verify(&history, &export) {
        Err(UnprovenExport::Publication { leaf, problem, .. }) if leaf == at => problem,
        other => panic!("{other:?}"),
    }
}

fn edit_leaf(publication: &mut ExportedPublication, edit: impl FnOnce(&mut Publication)) {
    let mut leaf: Publication = canonical::from_slice(publication.leaf.as_bytes()).unwrap();
    edit(&mut leaf);
    publication.leaf = String::from_utf8(leaf.to_bytes()).unwrap();
}

fn edit_decided(publication: &mut ExportedPublication, edit: impl FnOnce(&mut Decided)) {
    edit_leaf(publication, |leaf| match &mut leaf.by {
        Authority::Ballot(decided) => edit(decided),
        Authority::Member(_) => panic!("no ballot decided this"),
    });
}

fn set_entry(leaf: &mut Publication, id: &str) {
    leaf.event = PublishedEvent::Listed { entry: id.parse().unwrap() };
}

/// Puts a vote in place of another, in the leaf as well.
fn put_vote(publication: &mut ExportedPublication, at: usize, member: MemberId, vote: &Submission) {
    publication.evidence[at + 1] = String::from_utf8(vote.envelope.clone()).unwrap();
    edit_decided(publication, |decided| {
        decided.consents[at] = crate::list::Consent { member, command: merkle::leaf_hash(&vote.envelope) };
    });
}

#[test]
fn proves_the_list_at_both_depths() {
    let history = history();
    for (depth, replayed) in [(Depth::Public, None), (Depth::Members, Some(9))] {
        let verified = verify(&history, &export(&history, depth)).unwrap();
        assert_eq!((verified.size, verified.root), (2, history.state.public_log().root()));
        assert_eq!(verified.replayed, replayed);
        assert_eq!(verified.cosigners, ["AU", "CA", "DE", "FR"].map(member));
        assert_eq!(verified.latest_cosignature_seconds, 1_795_424_400);
        let ids: Vec<String> = verified.list.entries().map(|e| e.id.to_string()).collect();
        assert_eq!(ids, ["CW-2026-0001", "CW-2026-0002"]);
        for (found, entry) in verified.list.entries().zip(history.state.entries_after(None)) {
            assert_eq!((found.proposer, &found.consents), (entry.proposer, &entry.consents));
            let part = found.public_part.as_ref().unwrap();
            assert!(part.subject.primary_name().starts_with("DOE, Ada"));
        }
    }
    // As many cosigners as are needed, and no more.
    let three = ["FR", "DE", "AU"].map(member);
    assert!(verify(&history, &history.export(Depth::Members, &three)).is_ok());
}

#[test]
fn an_empty_list_is_proved_too() {
    let history = History::new(Federation::new(1));
    for depth in [Depth::Public, Depth::Members] {
        let verified = verify(&history, &export(&history, depth)).unwrap();
        assert_eq!((verified.size, verified.list.entries().len()), (0, 0));
    }
}

#[test]
fn another_text_is_not_the_one_that_was_agreed() {
    for seal_again in [false, true] {
        let history = history();
        let mut export = export(&history, Depth::Public);
        let text = export.publications[1].text.as_mut().unwrap();
        text.text = text.text.replace("Ada", "Eve");
        if seal_again {
            seal(&history, &mut export);
        }
        let error = verify(&history, &export).unwrap_err();
        assert!(
            matches!(&error, UnprovenExport::Publication { leaf: 1, problem, .. } if problem.contains("the text")),
            "{error}"
        );
    }
    sealed_problem(0, |_, e| e.publications[0].text.as_mut().unwrap().salt = Hex32([0; 32]));
    // The leaf follows the text; the signed tabling does not.
    let problem = sealed_problem(0, |_, e| {
        let other = public_text(5);
        e.publications[0].text = Some((&other).into());
        edit_decided(&mut e.publications[0], |decided| decided.public_part = other.digest());
    });
    assert!(problem.contains("tabling command"), "{problem}");
}

#[test]
fn leaves_are_all_there_and_in_order() {
    let history = history();
    for depth in [Depth::Public, Depth::Members] {
        let good = export(&history, depth);
        for edit in [
            (|p| drop(p.remove(0))) as fn(&mut Vec<ExportedPublication>),
            |p| drop(p.pop()),
            |p| p.swap(0, 1),
            |p| p.push(p[0].clone()),
            |p| p[1].leaf.push(' '),
        ] {
            let mut export = good.clone();
            edit(&mut export.publications);
            let error = verify(&history, &export).unwrap_err();
            assert!(matches!(error, UnprovenExport::Root { log: "public", .. }), "{error}");
        }
    }
    let problem = sealed_problem(0, |_, e| e.publications.swap(0, 1));
    assert!(problem.contains("the next number is CW-2026-0001"), "{problem}");
    let problem = sealed_problem(0, |_, e| drop(e.publications.remove(0)));
    assert!(problem.contains("the next number is CW-2026-0001"), "{problem}");
}

#[test]
fn a_ballot_is_published_once_and_its_number_is_the_next() {
    let problem = sealed_problem(2, |_, e| e.publications.push(e.publications[1].clone()));
    assert!(problem.contains("was published before"), "{problem}");
    let problem = sealed_problem(2, |_, e| {
        let mut again = e.publications[1].clone();
        edit_leaf(&mut again, |leaf| set_entry(leaf, "CW-2026-0003"));
        e.publications.push(again);
    });
    assert!(problem.contains("was published before"), "{problem}");
    for wrong in ["CW-2026-0001", "CW-2026-0003", "CW-2027-0001", "CX-2026-0002"] {
        sealed_problem(1, |_, e| edit_leaf(&mut e.publications[1], |l| set_entry(l, wrong)));
    }
    let problem = sealed_problem(1, |_, e| {
        edit_leaf(&mut e.publications[1], |l| l.list_time = "2026-11-23T08:59:59Z".parse().unwrap());
    });
    assert!(problem.contains("before"), "{problem}");
    // Nor before the entry that precedes it.
    let problem = sealed_problem(1, |_, e| {
        edit_leaf(&mut e.publications[0], |l| l.list_time = "2026-11-23T10:00:00Z".parse().unwrap());
        edit_leaf(&mut e.publications[1], |l| l.list_time = "2026-11-23T09:30:00Z".parse().unwrap());
    });
    assert!(problem.contains("before 2026-11-23T10:00:00Z"), "{problem}");
}

#[test]
fn a_majority_of_nodes_cannot_forge_a_vote() {
    let ballot =
        |history: &History, n: u64| history.state.entries_after(None).find(|e| e.public_leaf == n).unwrap().ballot;
    // Signed by the node's key, a stranger's, another member's.
    for key in [MemberKeys::of(3).node, MemberKeys::of(50).decision, MemberKeys::of(0).decision] {
        let problem = sealed_problem(0, |h, e| {
            let au = member("AU");
            let command = h.federation.vote_command(au, ballot(h, 0), Choice::Yes, None, 7);
            let vote = Submission { envelope: command.sign(&key).to_bytes(), public_text: None };
            put_vote(&mut e.publications[0], 0, au, &vote);
        });
        assert_eq!(problem, "the command of AU is not signed with a key of its own");
    }
    // Well signed, but no consent to this: a no, a vote on the other ballot, another's name beside it.
    let problem = sealed_problem(1, |h, e| {
        let vote = h.federation.vote(member("AU"), ballot(h, 1), Choice::No, 7);
        put_vote(&mut e.publications[1], 0, member("AU"), &vote);
    });
    assert_eq!(problem, "the vote of AU is not a consent to this");
    let problem = sealed_problem(1, |h, e| {
        let vote = h.federation.vote(member("AU"), ballot(h, 0), Choice::Yes, 7);
        put_vote(&mut e.publications[1], 0, member("AU"), &vote);
    });
    assert_eq!(problem, "the vote of AU is not a consent to this");
    let problem = sealed_problem(1, |h, e| {
        let vote = h.federation.vote(member("FR"), ballot(h, 1), Choice::Yes, 7);
        put_vote(&mut e.publications[1], 0, member("AU"), &vote);
    });
    assert_eq!(problem, "a command of FR stands for AU");
    // One member twice, under two ids.
    let problem = sealed_problem(0, |h, e| {
        let vote = h.federation.vote(member("FR"), ballot(h, 0), Choice::Yes, 7);
        put_vote(&mut e.publications[0], 0, member("FR"), &vote);
    });
    assert_eq!(problem, "the vote of FR is not a consent to this");
    let problem = sealed_problem(0, |h, e| {
        let tabling = h.federation.withdraw(member("FR"), ballot(h, 0), 7);
        put_vote(&mut e.publications[0], 0, member("FR"), &tabling);
    });
    assert_eq!(problem, "the vote of FR is not a consent to this");
    // A good consent, but not the one that the leaf names.
    let problem = sealed_problem(0, |h, e| {
        let vote = h.federation.vote(member("FR"), ballot(h, 0), Choice::Yes, 7);
        let at = e.publications[0].evidence.len() - 1;
        e.publications[0].evidence[at] = String::from_utf8(vote.envelope).unwrap();
    });
    assert_eq!(problem, "the command of FR is not the one that was published");
    // Not sealed: the votes are simply not in their places.
    let history = history();
    let mut export = export(&history, Depth::Public);
    export.publications[0].evidence.swap(1, 2);
    assert!(matches!(verify(&history, &export), Err(UnprovenExport::Publication { leaf: 0, .. })));
}

#[test]
fn too_few_consents_list_nothing() {
    let problem = sealed_problem(0, |_, e| {
        e.publications[0].evidence.pop();
        edit_decided(&mut e.publications[0], |decided| decided.consents.truncate(2));
    });
    assert_eq!(problem, "2 consents, 3 are needed");
    let problem = sealed_problem(0, |_, e| drop(e.publications[0].evidence.pop()));
    assert_eq!(problem, "3 commands, expected 4");
    sealed_problem(0, |_, e| {
        e.publications[0].evidence.truncate(1);
        edit_decided(&mut e.publications[0], |decided| decided.consents.clear());
    });
}

#[test]
fn an_entry_stands_on_its_own_tabling() {
    let problem = sealed_problem(0, |_, e| e.publications[0].evidence[0] = e.publications[1].evidence[0].clone());
    assert_eq!(problem, "the tabling command is of another ballot or text");
    let problem = sealed_problem(0, |_, e| e.publications[0].evidence[0] = e.publications[0].evidence[1].clone());
    assert_eq!(problem, "it was not tabled by the command that it names");
    let problem = sealed_problem(0, |_, e| e.publications[0].evidence[0].clear());
    assert!(problem.starts_with("tabling: "), "{problem}");
    let problem =
        sealed_problem(1, |_, e| edit_decided(&mut e.publications[1], |decided| decided.proposer = member("CA")));
    assert_eq!(problem, "the tabling command is of another ballot or text");
    let problem =
        sealed_problem(1, |_, e| e.publications[1].leaf = e.publications[1].leaf.replacen('{', r#"{"x":1,"#, 1));
    assert!(problem.contains("unknown field"), "{problem}");
}

#[test]
fn an_entry_stands_on_the_tabling_of_its_own_ballot() {
    let mut history = History::new(Federation::new(1));
    let fr = member("FR");
    let (first, withdrawn) = history.federation.table(fr, 1);
    history.accept(&first);
    let withdrawal = history.federation.withdraw(fr, withdrawn, 2);
    history.accept(&withdrawal);
    let again = history.federation.table_command(crate::testing::proposal_id(fr, 1), &public_text(3), 3);
    let ballot = crate::testing::ballot_id(&again);
    let again = history.federation.sign(&again, Some(public_text(3)));
    history.accept(&again);
    history.vote(fr, ballot, Choice::Yes);
    let mut export = export(&history, Depth::Public);
    assert!(verify(&history, &export).is_ok());
    export.publications[0].evidence[0] = String::from_utf8(first.envelope).unwrap();
    let error = verify(&history, &export).unwrap_err();
    assert!(
        matches!(&error, UnprovenExport::Publication { problem, .. } if problem.contains("another ballot")),
        "{error}"
    );
}

#[test]
fn a_position_is_agreed_by_enough_nodes() {
    let history = history();
    for depth in [Depth::Public, Depth::Members] {
        // A note without any signature is not even a note.
        let error = verify(&history, &history.export(depth, &[])).unwrap_err();
        assert_eq!(error, UnprovenExport::Checkpoint(InvalidCheckpoint::Note));
        for cosigners in [vec![member("FR")], ["FR", "DE"].map(member).to_vec(), vec![member("FR"); 3]] {
            let error = verify(&history, &history.export(depth, &cosigners)).unwrap_err();
            let mut found = cosigners;
            found.dedup();
            assert_eq!(error, UnprovenExport::NotAgreed { log: "public", found: found.len(), needed: 3 });
        }
    }
    let mut export = export(&history, Depth::Members);
    let few = ["FR", "DE"].map(member);
    export.commands.as_mut().unwrap().checkpoint =
        history.note(history.federation.genesis.command_log_origin(), history.state.commands(), &few);
    assert_eq!(verify(&history, &export), Err(UnprovenExport::NotAgreed { log: "command", found: 2, needed: 3 }));
}

#[test]
fn a_cosignature_counts_for_its_key_name_and_log_alone() {
    let history = history();
    let federation = &history.federation;
    let genesis = &federation.genesis;
    let good = export(&history, Depth::Public);
    let head = SignedCheckpoint::from_bytes(good.checkpoint.as_bytes()).unwrap().checkpoint;
    let with = |note: String| verify(&history, &ListExport { checkpoint: note, ..good.clone() });
    let name = |m: MemberId| Genesis::cosigner_name(&genesis.member(m).unwrap().trust_domain);

    // Decision keys, strangers' keys and the log's own signature are not cosignatures.
    let mut note = SignedCheckpoint::unsigned(head.clone());
    for m in everybody(&history) {
        note.cosign(&name(m), &federation.keys(m).decision, genesis.document().created);
        note.cosign(&name(m), &MemberKeys::of(60).node, genesis.document().created);
        note.cosign("stranger.example/node", &federation.keys(m).node, genesis.document().created);
        note.sign(&federation.keys(m).node);
    }
    let error = with(String::from_utf8(note.to_bytes()).unwrap()).unwrap_err();
    assert_eq!(error, UnprovenExport::NotAgreed { log: "public", found: 0, needed: 3 });

    // A cosignature of another checkpoint, carried over.
    let other = federation.cosigned(Checkpoint { size: 1, ..head.clone() }, &everybody(&history));
    let (_, block) = other.split_once("\n\n").unwrap();
    let error = with(format!("{}\n{block}", head.text())).unwrap_err();
    assert!(matches!(error, UnprovenExport::Checkpoint(InvalidCheckpoint::BadSignature(_))), "{error}");

    // Another log of the same federation, another federation's log.
    let commands = history.note(genesis.command_log_origin(), history.state.commands(), &everybody(&history));
    let other = Federation::with(4, |d| d.name = "Another".into());
    let others = Checkpoint { origin: other.genesis.public_log_origin(), ..head.clone() };
    for note in [commands, federation.cosigned(others, &everybody(&history))] {
        let error = with(note).unwrap_err();
        assert!(matches!(error, UnprovenExport::Checkpoint(InvalidCheckpoint::OtherOrigin { .. })), "{error}");
    }

    // Another size or root, well signed.
    for (size, root) in [(1, head.root), (3, head.root), (0, head.root), (2, Hex32([1; 32])), (u64::MAX, head.root)] {
        let note = federation.cosigned(Checkpoint { size, root, ..head.clone() }, &everybody(&history));
        assert!(matches!(with(note), Err(UnprovenExport::Root { log: "public", .. })));
    }
    for note in ["", "x", "\n\n", &good.checkpoint.replace("\n\n", "\nextension\n\n")] {
        assert!(matches!(with(note.to_owned()), Err(UnprovenExport::Checkpoint(_))), "{note}");
    }
}

#[test]
fn stands_on_one_genesis() {
    let history = history();
    let export = export(&history, Depth::Members);
    let other = Federation::with(4, |d| d.name = "Another".into());
    let (found, expected) = (history.federation.genesis.federation(), other.genesis.federation());
    let error = ListExport::verify(&export.to_bytes(), &other.genesis).unwrap_err();
    assert_eq!(error, UnprovenExport::OtherFederation { found, expected });
    let relabelled = ListExport { federation: expected, ..export };
    let error = ListExport::verify(&relabelled.to_bytes(), &other.genesis).unwrap_err();
    assert!(matches!(error, UnprovenExport::Checkpoint(InvalidCheckpoint::OtherOrigin { .. })), "{error}");
}

#[test]
fn the_file_is_strict() {
    let history = history();
    let good = export(&history, Depth::Members);
    let text = String::from_utf8(good.to_bytes()).unwrap();
    let verify_text = |t: String| ListExport::verify(t.as_bytes(), &history.federation.genesis);
    for bad in [
        text.replacen('{', r#"{"comment":"x","#, 1),
        text.replacen(r#"{"leaf":"#, r#"{"comment":"x","leaf":"#, 1),
        text.replacen(r#"{"salt":"#, r#"{"comment":"x","salt":"#, 1),
        text.replacen(r#"{"checkpoint":"#, r#"{"comment":"x","checkpoint":"#, 1),
        text.replacen(r#""format":"#, r#""format":"x","format":"#, 1),
        format!("{text}{text}"),
        text[..text.len() - 1].to_owned(),
    ] {
        assert_ne!(bad, text);
        assert!(matches!(verify_text(bad), Err(UnprovenExport::Json(_))));
    }
    let next = ListExport { format: "comity-list-export/2".into(), ..good };
    assert_eq!(verify(&history, &next), Err(UnprovenExport::Format("comity-list-export/2".into())));
}

#[test]
fn the_commands_are_replayed_and_must_lead_to_the_list() {
    let history = history();
    let edited = |edit: &dyn Fn(&mut Vec<String>)| {
        let mut export = export(&history, Depth::Members);
        edit(&mut export.commands.as_mut().unwrap().envelopes);
        let unsealed = verify(&history, &export);
        assert!(matches!(unsealed, Err(UnprovenExport::Root { log: "command", .. })), "{unsealed:?}");
        seal(&history, &mut export);
        verify(&history, &export)
    };
    let text = |s: Submission| String::from_utf8(s.envelope).unwrap();
    let first = history.state.ballots().next().unwrap().id;
    let late = text(history.federation.vote(member("AU"), first, Choice::No, 1));

    // A vote on a ballot that is closed by then, a command twice, one that is no command, one out of order.
    let error = edited(&|e| e.insert(4, late.clone())).unwrap_err();
    assert!(matches!(error, UnprovenExport::Command { leaf: 4, refusal: Refusal::BallotClosed { .. } }), "{error}");
    let error = edited(&|e| e.push(e[0].clone())).unwrap_err();
    assert!(matches!(error, UnprovenExport::Command { leaf: 9, refusal: Refusal::CommandIdSpent(_) }), "{error}");
    let error = edited(&|e| e.insert(0, "{}".into())).unwrap_err();
    assert!(matches!(error, UnprovenExport::Command { leaf: 0, refusal: Refusal::Envelope(_) }), "{error}");
    let error = edited(&|e| e.swap(0, 1)).unwrap_err();
    assert!(matches!(error, UnprovenExport::Command { leaf: 0, refusal: Refusal::NoSuchBallot(_) }), "{error}");
    let au = history.federation.keys(member("FR")).decision.clone();
    let forged = history.federation.vote_command(member("AU"), first, Choice::No, None, 1).sign(&au).to_bytes();
    let error = edited(&|e| e.insert(2, String::from_utf8(forged.clone()).unwrap())).unwrap_err();
    assert!(matches!(error, UnprovenExport::Command { leaf: 2, refusal: Refusal::Signature { .. } }), "{error}");

    // Accepted, every one of them, but they lead elsewhere: the last vote is missing, another consented before.
    assert_eq!(edited(&|e| drop(e.pop())), Err(UnprovenExport::Replay));
    let yes = text(history.federation.vote(member("AU"), first, Choice::Yes, 1));
    assert_eq!(edited(&|e| e[2] = yes.clone()), Err(UnprovenExport::Replay));

    // Longer than the public log needs is no contradiction.
    let time = history.state.list_time();
    let attested = text(history.federation.attest(member("FR"), time, 1));
    assert_eq!(edited(&|e| e.push(attested.clone())).unwrap().replayed, Some(10));
}

#[test]
fn the_public_log_of_the_file_may_not_be_shorter_than_its_commands() {
    let history = history();
    let mut export = export(&history, Depth::Members);
    export.publications.pop();
    seal(&history, &mut export);
    assert_eq!(verify(&history, &export), Err(UnprovenExport::Replay));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn no_edit_of_the_bytes_proves_another_list(
        members in any::<bool>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let history = history();
        let depth = if members { Depth::Members } else { Depth::Public };
        let good = export(&history, depth).to_bytes();
        let mut bytes = good.clone();
        for (at, byte) in &edits {
            bytes[at.index(good.len())] = *byte;
        }
        if let Ok(verified) = ListExport::verify(&bytes, &history.federation.genesis) {
            // A cosigner may have been made illegible; then the others were enough.
            let expected = ListExport::verify(&good, &history.federation.genesis).unwrap();
            let cosigners = verified.cosigners.clone();
            prop_assert!(cosigners.len() >= 3 && cosigners.iter().all(|c| expected.cosigners.contains(c)));
            prop_assert_eq!(VerifiedList { cosigners: expected.cosigners.clone(), ..verified }, expected);
        }
    }
}

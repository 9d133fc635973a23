//! A list in which the members have suspended one of them, as a file that proves itself: what a node begins with that was away.

use std::sync::Arc;

use comity_cli::demo::federation::Federation;
use comity_core::canonical::Hex32;
use comity_core::checkpoint::{Checkpoint, SignedCheckpoint};
use comity_core::dsse::Envelope;
use comity_core::export::{ExportedCommands, ExportedPublication, ExportedText, ListExport};
use comity_core::genesis::Genesis;
use comity_core::list::{Choice, Command, CommandId, ListState, Motion, PublicText, Submission, Table, Vote};
use comity_core::merkle::MerkleLog;
use comity_core::{MemberId, Timestamp};
use comity_identity::SigningKeyFile;
use ed25519_dalek::SigningKey;

fn key(federation: &Federation, member: MemberId, which: &str) -> SigningKey {
    let folder = &federation.seat(member.as_str()).unwrap().folder;
    SigningKeyFile::load(&folder.join(format!("signing-{which}.key"))).unwrap().signing_key().clone()
}

/// Everybody else votes for it.
pub fn list_without(federation: &Federation, genesis: &Arc<Genesis>, target: MemberId) -> Vec<u8> {
    let others: Vec<MemberId> = genesis.voters().map(|row| row.member).filter(|member| *member != target).collect();
    let named = |n: u8| (genesis.federation(), CommandId::new([n; 16]));
    let sign = |command: &Command, member| command.sign(&key(federation, member, "decision")).to_bytes();
    let text = PublicText { salt: Hex32([7; 32]), bytes: br#"{"statement":"A breach."}"#.to_vec() };
    let (id, command_id) = named(0);
    let tabling = Command::Table(Table {
        federation: id,
        command_id,
        member: others[0],
        motion: Motion::Suspend { target },
        public_part: text.digest(),
        commitments: Vec::new(),
    });
    let ballot = Hex32(comity_core::sha256(&tabling.to_payload()));
    let mut submissions = vec![Submission { envelope: sign(&tabling, others[0]), public_text: Some(text.clone()) }];
    for (n, member) in (1..).zip(&others) {
        let (federation, command_id) = named(n);
        let choice = Choice::Yes;
        let vote = Vote { federation, command_id, member: *member, ballot, choice, replaces: None, reason: None };
        submissions.push(Submission { envelope: sign(&Command::Vote(vote), *member), public_text: None });
    }
    let mut state = ListState::new(Arc::clone(genesis));
    for submission in &submissions {
        state.apply(submission).unwrap();
    }
    assert!(state.roster().active().all(|standing| standing.row.member != target), "the vote carried");
    let note = |origin: String, log: &MerkleLog| {
        let mut note = SignedCheckpoint::unsigned(Checkpoint { origin, size: log.size(), root: log.root() });
        for member in &others {
            let name = Genesis::cosigner_name(&genesis.member(*member).unwrap().trust_domain);
            note.cosign(&name, &key(federation, *member, "node"), Timestamp::from_jiff(jiff::Timestamp::now()));
        }
        String::from_utf8(note.to_bytes()).unwrap()
    };
    let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let publication = |leaf: u64| {
        let evidence = state.evidence(leaf).unwrap().commands.into_iter().map(|(command, hash)| {
            let envelope = &submissions[usize::try_from(command).unwrap()].envelope;
            text_of(&Envelope::from_bytes(envelope).unwrap().published_as(hash).unwrap().to_bytes())
        });
        ExportedPublication {
            leaf: text_of(state.publication(leaf).unwrap()),
            text: Some(ExportedText::from(&text)),
            evidence: evidence.collect(),
        }
    };
    ListExport {
        format: ListExport::FORMAT.into(),
        federation: genesis.federation(),
        checkpoint: note(genesis.public_log_origin(), state.public_log()),
        publications: (0..state.public_log().size()).map(publication).collect(),
        commands: Some(ExportedCommands {
            checkpoint: note(genesis.command_log_origin(), state.commands()),
            envelopes: submissions.iter().map(|submission| text_of(&submission.envelope)).collect(),
        }),
    }
    .to_bytes()
}

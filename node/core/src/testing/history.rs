//! A list state together with what it was made from, so that it can be exported and replayed.

use std::sync::Arc;

use crate::checkpoint::{Checkpoint, SignedCheckpoint};
use crate::dsse::Envelope;
use crate::export::{ExportedCommands, ExportedPublication, ExportedText, ListExport};
use crate::genesis::Genesis;
use crate::list::{Accepted, Ballot, BallotId, Choice, EntryId, Event, ListState, Publication, Refusal, Submission};
use crate::member::MemberId;
use crate::merkle::MerkleLog;
use crate::testing::{Federation, Snapshot};

/// How much an export holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The public log and what it stands on.
    Public,
    /// The command log besides.
    Members,
}

/// A federation, its list state, and every submission that was accepted.
#[derive(Debug, Clone)]
pub struct History {
    /// Who.
    pub federation: Federation,
    /// What they decided.
    pub state: ListState,
    /// From which submissions, in order: number n is leaf n of the command log.
    pub accepted: Vec<Submission>,
    serial: u64,
}

impl History {
    /// Nothing yet.
    pub fn new(federation: Federation) -> Self {
        let state = ListState::new(Arc::clone(&federation.genesis));
        // Far from the serials that a test writes by hand.
        Self { federation, state, accepted: Vec::new(), serial: 1 << 40 }
    }

    /// A serial that no other call returned.
    pub fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Applies a submission and keeps it if it was accepted.
    ///
    /// # Errors
    /// As [`ListState::apply`].
    pub fn apply(&mut self, submission: &Submission) -> Result<Accepted, Refusal> {
        let accepted = self.state.apply(submission)?;
        if !accepted.repeated {
            self.accepted.push(submission.clone());
        }
        Ok(accepted)
    }

    /// Applies what must be accepted.
    pub fn accept(&mut self, submission: &Submission) -> Accepted {
        self.apply(submission).unwrap_or_else(|refusal| panic!("refused: {refusal}"))
    }

    /// Applies what must be refused, and checks that nothing changed.
    pub fn refuse(&mut self, submission: &Submission) -> Refusal {
        let before = self.snapshot();
        let refusal = self.apply(submission).expect_err("this submission must be refused");
        assert!(self.snapshot() == before, "a refused command changed the state: {refusal}");
        refusal
    }

    /// Tables a fresh proposal of `member`.
    pub fn table(&mut self, member: MemberId) -> BallotId {
        let serial = self.serial();
        let (submission, ballot) = self.federation.table(member, serial);
        self.accept(&submission);
        ballot
    }

    /// Votes.
    pub fn vote(&mut self, member: MemberId, ballot: BallotId, choice: Choice) -> Accepted {
        let serial = self.serial();
        let submission = self.federation.vote(member, ballot, choice, serial);
        self.accept(&submission)
    }

    /// Several members vote alike.
    pub fn vote_all(&mut self, members: &[MemberId], ballot: BallotId, choice: Choice) {
        for member in members {
            self.vote(*member, ballot, choice);
        }
    }

    /// Tables a fresh proposal of `member` and has the members say yes, in their order, until it is listed.
    pub fn list(&mut self, member: MemberId) -> EntryId {
        let ballot = self.table(member);
        for voter in self.federation.voters() {
            let accepted = self.vote(voter, ballot, Choice::Yes);
            let listed = accepted.events.iter().find_map(|event| match event {
                Event::Listed(_, entry) => Some(entry.clone()),
                _ => None,
            });
            if let Some(entry) = listed {
                return entry;
            }
        }
        panic!("everybody said yes and nothing was listed")
    }

    /// A ballot that must be there.
    pub fn ballot(&self, ballot: BallotId) -> &Ballot {
        self.state.ballot(&ballot).expect("the ballot")
    }

    /// Everything that the state holds.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::from(&self.state)
    }

    /// The state that another node reaches from the same submissions.
    pub fn replayed(&self) -> ListState {
        let mut state = ListState::new(Arc::clone(&self.federation.genesis));
        for submission in &self.accepted {
            state.apply(submission).unwrap_or_else(|refusal| panic!("replay: {refusal}"));
        }
        state
    }

    /// A head of a log, cosigned.
    pub fn note(&self, origin: String, log: &MerkleLog, cosigners: &[MemberId]) -> String {
        self.federation.cosigned(Checkpoint { origin, size: log.size(), root: log.root() }, cosigners)
    }

    /// The list as a file, its checkpoints cosigned by these members.
    pub fn export(&self, depth: Depth, cosigners: &[MemberId]) -> ListExport {
        let genesis = &self.federation.genesis;
        let commands = (depth == Depth::Members).then(|| ExportedCommands {
            checkpoint: self.note(genesis.command_log_origin(), self.state.commands(), cosigners),
            envelopes: self.accepted.iter().map(envelope).collect(),
        });
        ListExport {
            format: ListExport::FORMAT.into(),
            federation: genesis.federation(),
            checkpoint: self.note(genesis.public_log_origin(), self.state.public_log(), cosigners),
            publications: (0..self.state.public_log().size()).map(|leaf| self.publication(leaf)).collect(),
            commands,
        }
    }

    fn publication(&self, leaf: u64) -> ExportedPublication {
        let bytes = self.state.publication(leaf).expect("the leaf");
        let evidence = self.state.evidence(leaf).expect("what the leaf stands on");
        let commands = evidence.commands.iter().map(|(command, hash)| {
            let envelope = Envelope::from_bytes(&self.submission(*command).envelope).expect("an envelope");
            let published = envelope.published_as(*hash).expect("what was published of it");
            String::from_utf8(published.to_bytes()).expect("an envelope is JSON")
        });
        let text = evidence.tabling.map(|command| {
            let tabling = self.submission(command);
            ExportedText::from(tabling.public_text.as_ref().expect("a tabling has a text"))
        });
        let annulled = |id| self.state.is_annulled(id);
        let publication = Publication::from_bytes(bytes).expect("a publication");
        let describes = publication.event.has_text_of_subject();
        let text = text.filter(|_| !(describes && publication.event.entry().is_some_and(annulled)));
        ExportedPublication {
            leaf: String::from_utf8(bytes.to_vec()).expect("JSON"),
            text,
            evidence: commands.collect(),
        }
    }

    fn submission(&self, leaf: u64) -> &Submission {
        usize::try_from(leaf).ok().and_then(|n| self.accepted.get(n)).expect("an accepted submission")
    }
}

impl Federation {
    /// A checkpoint with the cosignatures of these members' nodes, as a note.
    pub fn cosigned(&self, checkpoint: Checkpoint, cosigners: &[MemberId]) -> String {
        let mut note = SignedCheckpoint::unsigned(checkpoint);
        for member in cosigners {
            let trust_domain = format!("{}.comity.example", member.to_lowercase()).parse().expect("a trust domain");
            note.cosign(
                &Genesis::cosigner_name(&trust_domain),
                &self.keys(*member).node,
                self.genesis.document().created,
            );
        }
        String::from_utf8(note.to_bytes()).expect("a note is text")
    }
}

fn envelope(submission: &Submission) -> String {
    String::from_utf8(submission.envelope.clone()).expect("an envelope is JSON")
}

//! The one place where an action becomes a command: what an approver is shown, what people sign and what is handed in is this.

use comity_core::dsse::{Envelope, EnvelopeSignature};
use comity_core::list::{
    Accepted, AttachMeasure, Command, CommandId, EndMeasure, ExtendHold, Hold, LiftHold, Motion, Object, PublicText,
    Refusal, Review, Statement, Submission, Table, Vote, Withdraw, check_submission,
};
use comity_core::view::commitment;
use comity_core::{KeyId, Violations};

use crate::action::{Action, KeySignature};
use crate::error::{AppError, InternalError};
use crate::node::Node;
use crate::records::changed;
use crate::tabling::proposal_of;

/// A command that is ready to be signed.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// What is said.
    pub(crate) command: Command,
    /// The text beside it, where it tables one.
    pub(crate) text: Option<PublicText>,
    /// Signatures that came with it: of new keys, which prove that they are held.
    pub(crate) signatures: Vec<EnvelopeSignature>,
}

impl From<Command> for Prepared {
    fn from(command: Command) -> Self {
        Self { command, text: None, signatures: Vec::new() }
    }
}

impl Prepared {
    /// Signed with the decision key; then those that came with it, then people's.
    fn envelope(&self, key: &ed25519_dalek::SigningKey, people: Vec<EnvelopeSignature>) -> Envelope {
        let mut envelope = self.command.sign(key);
        for signature in self.signatures.iter().cloned().chain(people) {
            if envelope.signatures.iter().all(|other| other.keyid != signature.keyid) {
                envelope.signatures.push(signature);
            }
        }
        envelope
    }
}

impl Node {
    /// The command that an action comes to; nothing where it is done within this member.
    pub(crate) async fn prepare(&self, action: &Action) -> Result<Option<Prepared>, AppError> {
        let (federation, member) = (self.genesis.federation(), self.member());
        let command = match action.clone() {
            Action::Share { .. }
            | Action::Policy { .. }
            | Action::People { .. }
            | Action::Grant { .. }
            | Action::Recall { .. }
            | Action::HoldCopy { .. }
            | Action::CannotComply { .. }
            | Action::DeclareLoss { .. } => return Ok(None),
            Action::Table { proposal, version, amends, command_id, salt } => {
                let row = self.store.records().get(proposal).await.map_err(InternalError::Store)?;
                let row = row.ok_or(AppError::NotFound("record"))?;
                if row.version != version {
                    return Err(changed(proposal));
                }
                let mut views = self.store.outbox().views(&[proposal]).await.map_err(InternalError::Store)?;
                let views = views.remove(&proposal).filter(|views| views.version == version);
                let views = views.ok_or_else(|| changed(proposal))?;
                let text =
                    PublicText { salt, bytes: comity_core::canonical::to_vec(&proposal_of(&row)?.public_part()) };
                let motion = match amends {
                    None => Motion::List { proposal },
                    Some(entry) => Motion::Amend { entry, proposal },
                };
                let commitments = vec![
                    commitment(views.read_salt, &views.read),
                    commitment(views.read_sources_salt, &views.read_sources),
                ];
                return Ok(Some(self.tabling(motion, text, commitments, command_id)));
            }
            Action::Motion { motion, statement, command_id, salt } => {
                let text = PublicText { salt, bytes: comity_core::canonical::to_vec(&Statement { statement }) };
                return Ok(Some(self.tabling(motion, text, Vec::new(), command_id)));
            }
            Action::Keys { payload_type, payload, signatures } => {
                return key_command(&payload_type, &payload, &signatures).map(Some);
            }
            Action::Vote { ballot, choice, reason, replaces, command_id } => {
                Command::Vote(Vote { federation, command_id, member, ballot, choice, replaces, reason })
            }
            Action::Withdraw { ballot, command_id, .. } => {
                Command::Withdraw(Withdraw { federation, command_id, member, ballot })
            }
            Action::Hold { ballot, reason, command_id } => {
                Command::Hold(Hold { federation, command_id, member, ballot, reason })
            }
            Action::ExtendHold { ballot, holder, command_id } => {
                Command::ExtendHold(ExtendHold { federation, command_id, member, ballot, holder })
            }
            Action::LiftHold { ballot, command_id } => {
                Command::LiftHold(LiftHold { federation, command_id, member, ballot })
            }
            Action::Object { ballot, reason, command_id } => {
                Command::Object(Object { federation, command_id, member, ballot, reason })
            }
            Action::AttachMeasure { entry, measure, command_id } => {
                Command::AttachMeasure(AttachMeasure { federation, command_id, member, entry, measure: *measure })
            }
            Action::EndMeasure { entry, measure, ended, command_id } => {
                Command::EndMeasure(EndMeasure { federation, command_id, member, entry, measure, ended })
            }
            Action::Review { entry, command_id } => Command::Review(Review { federation, command_id, member, entry }),
        };
        Ok(Some(command.into()))
    }

    fn tabling(
        &self,
        motion: Motion,
        text: PublicText,
        commitments: Vec<comity_core::canonical::Hex32>,
        command_id: CommandId,
    ) -> Prepared {
        let command = Command::Table(Table {
            federation: self.genesis.federation(),
            command_id,
            member: self.member(),
            motion,
            public_part: text.digest(),
            commitments,
        });
        Prepared { command, text: Some(text), signatures: Vec::new() }
    }

    /// Refuses what every node would refuse for its form alone, before another person is asked.
    pub(crate) fn ensure_form(&self, prepared: &Prepared) -> Result<(), AppError> {
        let envelope = prepared.envelope(&self.keys.decision, Vec::new()).to_bytes();
        let submission = Submission { envelope, public_text: prepared.text.clone() };
        match check_submission(self.genesis.federation(), &submission) {
            Ok(_) => Ok(()),
            Err(Refusal::Field { field, problem }) => Err(Violations::one(field, problem).into()),
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Signs a command and hands it in; answers its leaf. A command that was accepted before, whoever's signatures it carried
    /// then, is not handed in again.
    pub(crate) async fn hand_in(&self, prepared: Prepared, people: Vec<EnvelopeSignature>) -> Result<u64, AppError> {
        if let Some(leaf) = self.accepted_before(&prepared.command).await? {
            return Ok(leaf);
        }
        self.ensure_decision_key()?;
        let envelope = prepared.envelope(&self.keys.decision, people).to_bytes();
        let submission = Submission { envelope, public_text: prepared.text };
        match self.consensus.submit(submission).await.map_err(AppError::from) {
            Ok(Accepted { leaf, .. }) => Ok(leaf),
            // The same command with other signatures got there first.
            Err(error @ AppError::Refused(Refusal::CommandIdSpent(_))) => {
                self.accepted_before(&prepared.command).await?.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// The leaf at which exactly this payload was accepted, if it was.
    async fn accepted_before(&self, command: &Command) -> Result<Option<u64>, AppError> {
        let id = command.id();
        let Some(leaf) = self.consensus.read(|list| list.accepted_at(id)) else { return Ok(None) };
        let envelope = self.consensus.envelope(leaf).await.map_err(InternalError::List)?;
        let same = envelope.and_then(|bytes| Envelope::from_bytes(&bytes).ok()).is_some_and(|envelope| {
            envelope.payload_type == command.payload_type() && envelope.payload == command.to_payload()
        });
        Ok(same.then_some(leaf))
    }

    /// After a rotation the node needs the new key before it can decide anything.
    fn ensure_decision_key(&self) -> Result<(), AppError> {
        let held = KeyId::of(&self.keys.decision.verifying_key());
        let expected = self.roster(|roster| roster.get(self.member()).map(|own| KeyId::of(&own.row.decision_key.0)));
        match expected {
            Some(expected) if expected != held => Err(AppError::Precondition {
                reason: "KEY_NOT_HERE",
                problem: format!(
                    "this node holds decision key {held}, the roster names {expected}: an administrator puts that key in \
                     place (keys.decision) and restarts the node"
                ),
            }),
            _ => Ok(()),
        }
    }
}

/// A command that was drawn up elsewhere: the very bytes that were signed.
pub(crate) fn key_command(
    payload_type: &str,
    payload: &str,
    signatures: &[KeySignature],
) -> Result<Prepared, AppError> {
    let known = Command::from_payload(payload_type, payload.as_bytes());
    let command = known.ok_or_else(|| Violations::one("command.payload_type", "is no command's"))?;
    let command = command.map_err(|e| Violations::one("command.payload", e.to_string()))?;
    if command.to_payload() != payload.as_bytes() {
        let problem = "is not in its one text form: compact JSON, fields in the order of the documents";
        return Err(Violations::one("command.payload", problem).into());
    }
    let read = |(i, signature): (usize, &KeySignature)| {
        let mut sig = [0; 64];
        let digits = hex::decode_to_slice(&signature.sig, &mut sig);
        digits.map_err(|_| Violations::one(format!("signatures[{i}].sig"), "expected 64 bytes"))?;
        Ok(EnvelopeSignature { keyid: signature.keyid, sig })
    };
    let signatures = signatures.iter().enumerate().map(read).collect::<Result<_, Violations>>()?;
    Ok(Prepared { command, text: None, signatures })
}

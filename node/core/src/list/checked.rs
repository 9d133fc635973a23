//! The part of checking a command that needs no state: form, federation, signature, public part.

use crate::canonical::Hex32;
use crate::dsse::{Envelope, InvalidEnvelope};
use crate::fault::{self, Fault};
use crate::genesis::Genesis;
use crate::list::command::{Command, PublicText, Submission};
use crate::list::refusal::Refusal;
use crate::merkle;
use crate::proposal::{Proposal, PublicPart};
use crate::subject::check_prose;
use crate::violation::Violations;

/// The most commitments beside a public part.
const MAX_COMMITMENTS: usize = 16;

/// A command whose form and signature hold for this federation. Only [`check_submission`] makes one.
#[derive(Debug, Clone)]
pub struct Checked {
    pub(crate) command: Command,
    pub(crate) leaf_hash: Hex32,
    pub(crate) payload_hash: Hex32,
}

impl Checked {
    /// The command.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// SHA-256 of its payload: the ballot's name, where it tables one.
    pub fn payload_hash(&self) -> Hex32 {
        self.payload_hash
    }

    /// The RFC 9162 leaf hash of its envelope.
    pub fn leaf_hash(&self) -> Hex32 {
        self.leaf_hash
    }
}

/// Checks everything that does not depend on what was decided before. Pure and stateless, so it can run in parallel.
///
/// # Errors
/// Why every node will refuse the command.
pub fn check_submission(genesis: &Genesis, submission: &Submission) -> Result<Checked, Refusal> {
    let envelope = Envelope::from_bytes(&submission.envelope).map_err(|e| Refusal::Envelope(e.to_string()))?;
    check_envelope(genesis, &envelope, &submission.envelope, Text::Beside(submission.public_text.as_ref()))
}

/// Checks a command that was accepted before, for replay: its public part may have been erased since.
///
/// # Errors
/// Why it cannot have been accepted.
pub fn check_accepted(genesis: &Genesis, bytes: &[u8]) -> Result<Checked, Refusal> {
    let envelope = Envelope::from_bytes(bytes).map_err(|e| Refusal::Envelope(e.to_string()))?;
    check_envelope(genesis, &envelope, bytes, Text::Erasable)
}

/// Where the public part is to be found when a command is checked.
enum Text<'a> {
    /// Beside the command: it must be there exactly for a tabling.
    Beside(Option<&'a PublicText>),
    /// Not asked for: an accepted command is replayed, whose text may have been erased.
    Erasable,
}

fn check_envelope(genesis: &Genesis, envelope: &Envelope, bytes: &[u8], text: Text<'_>) -> Result<Checked, Refusal> {
    let command = Command::from_envelope(envelope)
        .ok_or_else(|| Refusal::UnknownType(envelope.payload_type.chars().take(80).collect()))?
        .map_err(|e| Refusal::Payload(e.to_string()))?;
    if command.federation() != genesis.federation() {
        return Err(Refusal::OtherFederation { found: command.federation(), expected: genesis.federation() });
    }
    let member = command.member();
    let roster = genesis.member(member).filter(|m| m.voting).ok_or(Refusal::NotAMember(member))?;
    let key = if command.is_deciding() { roster.decision_key } else { roster.node_key };
    if !fault::is(Fault::SkipSignatureCheck) {
        envelope.verify(&key.0).map_err(|e| signature_problem(&command, e))?;
    }
    check_fields(&command)?;
    if let Text::Beside(text) = text {
        check_public_text(&command, text)?;
    }
    Ok(Checked { command, leaf_hash: merkle::leaf_hash(bytes), payload_hash: Hex32(crate::sha256(&envelope.payload)) })
}

fn signature_problem(command: &Command, error: InvalidEnvelope) -> Refusal {
    let which = if command.is_deciding() { "decision" } else { "node" };
    let problem = match error {
        InvalidEnvelope::OtherKey { expected } => format!("not signed with the {which} key {expected} of the roster"),
        InvalidEnvelope::BadSignature(key) => format!("bad signature by the {which} key {key}"),
        other => other.to_string(),
    };
    Refusal::Signature { member: command.member(), problem }
}

fn check_fields(command: &Command) -> Result<(), Refusal> {
    match command {
        Command::Table(table) => {
            if table.proposal.originator() != table.member {
                return Err(Refusal::NotTheOriginator(table.proposal.originator()));
            }
            if table.commitments.len() > MAX_COMMITMENTS {
                let problem = format!("{} items: at most {MAX_COMMITMENTS}", table.commitments.len());
                return Err(Refusal::Field { field: "commitments".into(), problem });
            }
        }
        Command::Vote(vote) => {
            if let Some(reason) = &vote.reason {
                let mut violations = Violations::default();
                check_prose(&mut violations, "reason", reason, Proposal::PROSE_MAX_CHARS / 10);
                if let Some(v) = violations.as_slice().first() {
                    return Err(Refusal::Field { field: v.field.clone(), problem: v.description.clone() });
                }
            }
        }
        Command::Withdraw(_) | Command::AttestTime(_) => {}
    }
    Ok(())
}

fn check_public_text(command: &Command, text: Option<&PublicText>) -> Result<(), Refusal> {
    match (command, text) {
        (Command::Table(_), None) => Err(Refusal::PublicPart("is missing beside the tabling command".into())),
        (Command::Table(table), Some(text)) => {
            if text.digest() != table.public_part {
                return Err(Refusal::PublicPart("does not hash to the digest that was signed".into()));
            }
            PublicPart::from_json(&text.bytes).map_err(|e| Refusal::PublicPart(e.to_string()))?;
            Ok(())
        }
        (_, Some(_)) => Err(Refusal::PublicPart("stands beside a command that tables nothing".into())),
        (_, None) => Ok(()),
    }
}

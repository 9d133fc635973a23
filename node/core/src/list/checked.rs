//! The part of checking a command that needs no state: form, federation, text. And its signatures, as far as their keys are
//! known: whether they are the right ones is decided when it is applied.

use crate::canonical::Hex32;
use crate::dsse::{Envelope, InvalidEnvelope, KeyId, PublicKey};
use crate::fault::{self, Fault};
use crate::genesis::{check_endpoint, check_roots};
use crate::list::command::{Command, Motion, PublicText, Statement, Submission};
use crate::list::refusal::Refusal;
use crate::member::MemberId;
use crate::merkle;
use crate::proposal::{Proposal, PublicPart};
use crate::roster::Keyring;
use crate::subject::check_prose;
use crate::violation::Violations;

/// The most commitments beside a public part.
const MAX_COMMITMENTS: usize = 16;
/// The longest reason of a vote, a hold or an objection.
const REASON_MAX_CHARS: usize = Proposal::PROSE_MAX_CHARS / 10;

/// A command whose form holds for this federation. Only [`check_submission`] and [`check_accepted`] make one.
#[derive(Debug, Clone)]
pub struct Checked {
    command: Command,
    envelope: Envelope,
    leaf_hash: Hex32,
    payload_hash: Hex32,
    verified: Verified,
}

/// Which of its signatures are known to be good.
#[derive(Debug, Clone)]
enum Verified {
    /// Those of these keys.
    By(Vec<PublicKey>),
    /// All of them: it was accepted by this very node before.
    All,
}

impl Checked {
    /// The command.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Its envelope.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// SHA-256 of its payload: the ballot's name, where it tables one.
    pub fn payload_hash(&self) -> Hex32 {
        self.payload_hash
    }

    /// The RFC 9162 leaf hash of its envelope.
    pub fn leaf_hash(&self) -> Hex32 {
        self.leaf_hash
    }

    /// The RFC 9162 leaf hash of its envelope with one key's signature alone: how publications name it, so that the keys of
    /// people stay with the members.
    pub fn public_hash(&self, key: &PublicKey) -> Hex32 {
        match self.envelope.signatures.len() {
            1 => self.leaf_hash,
            _ => merkle::leaf_hash(&self.envelope.reduced_to(KeyId::of(&key.0)).to_bytes()),
        }
    }

    /// Verifies the signatures whose keys stand in the keyring, and remembers that it did. A signature by a key that is not
    /// there is left alone: this node may be behind.
    ///
    /// # Errors
    /// A signature is bad, or is another member's: no node accepts the command, whatever it has applied.
    pub fn verify_with(mut self, keyring: &Keyring) -> Result<Self, Refusal> {
        let member = self.command.member();
        let mut good = Vec::with_capacity(self.envelope.signatures.len());
        for signature in self.envelope.signatures.iter().filter(|_| !fault::is(Fault::SkipSignatureCheck)) {
            let Some(known) = keyring.get(signature.keyid) else { continue };
            if known.member != member {
                let problem = format!("key {} is another member's", signature.keyid);
                return Err(Refusal::Signature { member, problem });
            }
            self.envelope.verify_among(&known.key.0).map_err(|e| signature_problem(member, &e))?;
            good.push(known.key);
        }
        self.verified = Verified::By(good);
        Ok(self)
    }

    /// Whether exactly this key signed it.
    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        match &self.verified {
            Verified::By(_) if fault::is(Fault::SkipSignatureCheck) => true,
            Verified::All => {
                let id = KeyId::of(&key.0);
                self.envelope.signatures.iter().any(|signature| signature.keyid == id)
            }
            Verified::By(keys) => keys.contains(key) || self.envelope.verify_among(&key.0).is_ok(),
        }
    }
}

fn signature_problem(member: MemberId, error: &InvalidEnvelope) -> Refusal {
    Refusal::Signature { member, problem: error.to_string() }
}

/// Checks everything that depends neither on what was decided before nor on the roster. Pure, so it can run in parallel.
///
/// # Errors
/// Why every node will refuse the command.
pub fn check_submission(federation: Hex32, submission: &Submission) -> Result<Checked, Refusal> {
    let checked = check_accepted(federation, &submission.envelope)?;
    check_public_text(&checked.command, submission.public_text.as_ref())?;
    Ok(checked)
}

/// Checks a command that was accepted before, for replay: its text may have been erased since.
///
/// # Errors
/// Why it cannot have been accepted.
pub fn check_accepted(federation: Hex32, bytes: &[u8]) -> Result<Checked, Refusal> {
    let envelope = Envelope::from_bytes(bytes).map_err(|e| Refusal::Envelope(e.to_string()))?;
    let command = Command::from_payload(&envelope.payload_type, &envelope.payload)
        .ok_or_else(|| Refusal::UnknownType(envelope.payload_type.chars().take(80).collect()))?
        .map_err(|e| Refusal::Payload(e.to_string()))?;
    if command.federation() != federation {
        return Err(Refusal::OtherFederation { found: command.federation(), expected: federation });
    }
    check_fields(&command)?;
    let payload_hash = Hex32(crate::sha256(&envelope.payload));
    let verified = Verified::By(Vec::new());
    Ok(Checked { command, leaf_hash: merkle::leaf_hash(bytes), payload_hash, envelope, verified })
}

/// Takes a command up again that this node itself accepted and kept on its own disk: its signatures were verified then.
///
/// # Errors
/// It is not what was kept: the disk was damaged or edited.
pub fn check_own(federation: Hex32, bytes: &[u8]) -> Result<Checked, Refusal> {
    check_accepted(federation, bytes).map(|checked| Checked { verified: Verified::All, ..checked })
}

fn check_fields(command: &Command) -> Result<(), Refusal> {
    let mut v = Violations::default();
    match command {
        Command::Table(table) => {
            check_motion(&table.motion, table.member, &mut v)?;
            if table.commitments.len() > MAX_COMMITMENTS {
                v.push("commitments", format!("{} items: at most {MAX_COMMITMENTS}", table.commitments.len()));
            }
        }
        Command::Vote(vote) => {
            if let Some(reason) = &vote.reason {
                check_prose(&mut v, "reason", reason, REASON_MAX_CHARS);
            }
        }
        Command::Hold(hold) => check_prose(&mut v, "reason", &hold.reason, REASON_MAX_CHARS),
        Command::Object(object) => check_prose(&mut v, "reason", &object.reason, REASON_MAX_CHARS),
        Command::AttachMeasure(attach) => attach.measure.check("measure", &mut v),
        Command::RotateKeys(rotate) => {
            if let Some(roots) = &rotate.roots_pem {
                check_roots(roots, "rotate", &mut v);
            }
            if let Some(endpoint) = &rotate.endpoint {
                check_endpoint(endpoint, "rotate", &mut v);
            }
            if [rotate.decision_key, rotate.node_key].iter().all(Option::is_none)
                && rotate.roots_pem.is_none()
                && rotate.endpoint.is_none()
            {
                v.push("decision_key", "nothing is rotated: name a key, roots_pem or endpoint");
            }
        }
        Command::RevokeKeys(revoke) if !revoke.decision && !revoke.node => {
            v.push("decision", "nothing is revoked: name the decision key, the node key or both");
        }
        _ => {}
    }
    match v.as_slice().first() {
        None => Ok(()),
        Some(v) => Err(Refusal::Field { field: v.field.clone(), problem: v.description.clone() }),
    }
}

fn check_motion(motion: &Motion, member: MemberId, v: &mut Violations) -> Result<(), Refusal> {
    if let Some(proposal) = motion.proposal()
        && proposal.originator() != member
    {
        return Err(Refusal::NotTheOriginator(proposal.originator()));
    }
    match motion {
        Motion::Merge { entry, into } if entry == into => v.push("motion.merge.into", "is the same entry"),
        Motion::Admit { member } => member.check("motion.admit.member", v),
        Motion::ReplaceKeys { keys, .. } => {
            check_roots(&keys.roots_pem, "motion.replace_keys", v);
            check_endpoint(&keys.endpoint, "motion.replace_keys", v);
        }
        Motion::ChangeRule { rule, .. } => rule.check("motion.change_rule.rule", v),
        _ => {}
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
            let read = match table.motion.has_subject() {
                true => PublicPart::from_json(&text.bytes).map(drop),
                false => Statement::from_json(&text.bytes).map(drop),
            };
            read.map_err(|e| Refusal::PublicPart(e.to_string()))
        }
        (_, Some(_)) => Err(Refusal::PublicPart("stands beside a command that tables nothing".into())),
        (_, None) => Ok(()),
    }
}

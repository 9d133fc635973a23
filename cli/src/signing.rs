//! People's own signatures. What a node asks to be signed is read here, field by field, before a key touches it: a stolen node
//! decides nothing.

use std::path::Path;

use comity_core::KeyId;
use comity_core::list::{Choice, Command, CommandId};
use comity_identity::SigningKeyFile;
use comity_proto::v1;

use crate::connection::Node;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::tabled::{self, Tabled};
use crate::wire::digits;

/// What a person signs, and what it is about.
#[derive(Debug, Clone)]
pub(crate) struct ToSign {
    pub(crate) command: Command,
    /// What it tables, or what the ballot that it acts on decides.
    pub(crate) tabled: Option<Tabled>,
}

impl ToSign {
    /// Whoever consents, or takes notice, has the text before them. To dissent none is needed.
    ///
    /// # Errors
    /// It is not there.
    pub(crate) fn ensure_text(&self) -> Result<(), Failure> {
        let needs_it = match &self.command {
            Command::Vote(vote) => vote.choice != Choice::No,
            command => matches!(command, Command::Table(_) | Command::Acknowledge(_)),
        };
        match (&self.tabled, tabled::ballot_of(&self.command)) {
            (Some(tabled), Some(ballot)) if needs_it => tabled.ensure_text(ballot),
            _ => Ok(()),
        }
    }

    /// In words, nothing of it left out that changes what it means.
    pub(crate) fn in_words(&self) -> String {
        let words = in_words(&self.command);
        match (&self.tabled, &self.command) {
            (Some(tabled), Command::Table(c)) => {
                format!("table for decision: {} (text {})", tabled.in_words(), digits(&c.public_part.to_string()))
            }
            (Some(tabled), _) => format!("{words}; it decides: {}", tabled.in_words()),
            (None, _) => words,
        }
    }
}

/// The command that a node asks to be signed: of this federation and this member, in its one text form; and what it is about,
/// as its own bytes have it.
pub(crate) fn read(node: &Node, to_sign: &v1::SignedCommand, tabled: Option<&v1::Tabled>) -> Result<ToSign, Failure> {
    let refused = |problem: String| {
        let message = format!("what the node asks to be signed {problem}; nothing was signed");
        Failure::new(Exit::VerificationFailed, message).next("comity node status")
    };
    let known = Command::from_payload(&to_sign.payload_type, &to_sign.payload);
    let command = known.ok_or_else(|| refused("is no command that this version knows".into()))?;
    let command = command.map_err(|e| refused(format!("is no command: {e}")))?;
    if command.to_payload() != to_sign.payload {
        return Err(refused("is not in its one text form".into()));
    }
    if command.federation() != node.genesis().federation() {
        return Err(refused(format!("is for another federation, {}", command.federation())));
    }
    if command.member() != node.member() {
        return Err(refused(format!("is a command of {}", command.member())));
    }
    let tabled = match tabled::ballot_of(&command) {
        Some(ballot) => Some(Tabled::read(node, ballot, tabled)?),
        None => None,
    };
    Ok(ToSign { command, tabled })
}

/// Reads a person's signing key.
pub(crate) fn load(path: &Path) -> Result<SigningKeyFile, Failure> {
    SigningKeyFile::load(path).map_err(|e| Failure::error(e).next("comity pki person --name NAME -O FILE"))
}

/// The id of a key, as signatures carry it.
pub(crate) fn key_id(key: &SigningKeyFile) -> KeyId {
    KeyId::of(&key.verifying_key())
}

/// One key's signature over a command.
pub(crate) fn sign(command: &Command, key: &SigningKeyFile) -> v1::PersonalSignature {
    let signature = command.sign(key.signing_key()).signatures.pop();
    // INVARIANT: an envelope that was just signed carries that one signature.
    let sig = signature.map(|signature| signature.sig.to_vec()).unwrap_or_default();
    v1::PersonalSignature { keyid: key_id(key).to_string(), sig }
}

/// A command's payload and type, as the wire carries them.
pub(crate) fn to_proto(command: &Command) -> v1::SignedCommand {
    v1::SignedCommand { payload_type: command.payload_type().to_owned(), payload: command.to_payload() }
}

/// A fresh command id.
pub(crate) fn command_id() -> Result<CommandId, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| Failure::error(format!("the system gave no random bytes: {e}")))?;
    Ok(CommandId::new(random))
}

/// What a command does, in words, nothing of it left out that changes what it means.
pub(crate) fn in_words(command: &Command) -> String {
    let ballot = command.ballot().map(|id| id.to_string()).unwrap_or_default();
    match command {
        Command::Table(c) => format!("table for decision: {} (text {})", c.motion, digits(&c.public_part.to_string())),
        Command::Vote(c) => {
            let correcting = c.replaces.map(|_| ", correcting the vote that stands").unwrap_or_default();
            let reason = c.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let word = match c.choice {
                Choice::Abstain => "abstain",
                Choice::Yes => "vote yes",
                Choice::No => "vote no",
            };
            format!("{word} on ballot {ballot}{correcting}{reason}")
        }
        Command::Withdraw(_) => format!("withdraw ballot {ballot}"),
        Command::AttestTime(c) => format!("attest that {} has passed", c.time),
        Command::Acknowledge(_) => format!("acknowledge notice of ballot {ballot}"),
        Command::Hold(c) => format!("hold ballot {ballot}: {}", c.reason),
        Command::ExtendHold(c) => format!("consent to the extension of {}'s hold on ballot {ballot}", c.holder),
        Command::LiftHold(_) => format!("lift the hold on ballot {ballot}"),
        Command::Object(c) => format!("object to ballot {ballot}: {}", c.reason),
        Command::AttachMeasure(c) => {
            let m = &c.measure;
            let imposes = m.imposes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let reference = m.reference.as_ref().map(|reference| format!(" ({reference})")).unwrap_or_default();
            let until = m.until.map(|until| format!(" until {until}")).unwrap_or_default();
            format!(
                "attach measure {} to {}: {}, {}{reference}, {imposes}, from {}{until}",
                m.id, c.entry, m.programme, m.legal_act, m.from
            )
        }
        Command::EndMeasure(c) => format!("end measure {} on {} as of {}", c.measure, c.entry, c.ended),
        Command::Review(c) => format!("record that {} was reviewed and is kept", c.entry),
        Command::RotateKeys(c) => {
            let mut parts = Vec::new();
            parts.extend(c.decision_key.map(|key| format!("decision key {}", KeyId::of(&key.0))));
            parts.extend(c.node_key.map(|key| format!("node key {}", KeyId::of(&key.0))));
            let authority = |roots: &Vec<String>| format!("authority {}", tabled::fingerprints(roots).join(" and "));
            parts.extend(c.roots_pem.as_ref().map(authority));
            parts.extend(c.endpoint.as_ref().map(|endpoint| format!("endpoint {endpoint}")));
            format!("from now on: {}", parts.join(", "))
        }
        Command::RevokeKeys(c) => match (c.decision, c.node) {
            (true, true) => "revoke the decision key and the node key".into(),
            (true, false) => "revoke the decision key".into(),
            _ => "revoke the node key".into(),
        },
        Command::EnrollPerson(c) => {
            format!("enrol {} as {} with key {}", c.person, c.role, KeyId::of(&c.key.0))
        }
        Command::RevokePerson(c) => format!("revoke the person's key {}", KeyId::of(&c.key.0)),
        Command::RequireSignatures(c) if c.required => "require two people's signatures from now on".into(),
        Command::RequireSignatures(_) => "require people's signatures no more".into(),
    }
}

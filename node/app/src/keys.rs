//! This member's own keys and people: commands that its administrator drew up where the keys are.

use comity_core::dsse::{Envelope, EnvelopeSignature};
use comity_core::list::{Command, Submission, check_submission};
use comity_core::{KeyId, MemberId, SpiffeId, Violations};

use crate::action::{Action, KeySignature};
use crate::approve::ApprovalView;
use crate::commands::key_command;
use crate::error::AppError;
use crate::node::Node;

impl Node {
    /// Asks that this member sign a command about its own keys or people.
    ///
    /// # Errors
    /// It is another kind of command or another member's, or a new key did not sign it.
    pub async fn ask_change_keys(
        &self,
        author: &SpiffeId,
        payload_type: String,
        payload: Vec<u8>,
        signatures: Vec<EnvelopeSignature>,
    ) -> Result<ApprovalView, AppError> {
        let payload = String::from_utf8(payload).map_err(|_| Violations::one("command.payload", "is no JSON"))?;
        let signatures: Vec<KeySignature> = signatures
            .iter()
            .map(|signature| KeySignature { keyid: signature.keyid, sig: hex::encode(signature.sig) })
            .collect();
        if signatures.len() > Envelope::MAX_SIGNATURES {
            let problem = format!("{}: at most {}", signatures.len(), Envelope::MAX_SIGNATURES);
            return Err(Violations::one("signatures", problem).into());
        }
        let prepared = key_command(&payload_type, &payload, &signatures)?;
        self.ensure_own(&prepared.command)?;
        if let Command::RequireSignatures(require) = &prepared.command {
            self.consensus.read(|list| list.may_require_signatures(require))?;
        }
        let (summary, new_keys) = about(&prepared.command, self.member())?;
        for (field, key) in new_keys {
            let envelope = Envelope {
                payload_type: payload_type.clone(),
                payload: payload.clone().into_bytes(),
                signatures: prepared.signatures.clone(),
            };
            if envelope.verify_among(&key.0).is_err() {
                let problem =
                    format!("the new {field} key {} must prove that it is held: sign with it", KeyId::of(&key.0));
                return Err(Violations::one("signatures", problem).into());
            }
        }
        self.ask(author, Action::Keys { payload_type, payload, signatures }, summary, None).await
    }

    /// Hands in a command that the recovery key signed; answers its leaf.
    ///
    /// # Errors
    /// It is another kind of command or another member's, or the rules refuse it.
    pub async fn submit_signed(&self, envelope: Vec<u8>) -> Result<u64, AppError> {
        let submission = Submission { envelope, public_text: None };
        let checked = check_submission(self.genesis.federation(), &submission)
            .map_err(|refusal| Violations::one("envelope", refusal.to_string()))?;
        let command = checked.command();
        if !matches!(command, Command::RevokeKeys(_)) {
            let problem = format!("is a command `{}`: only revoke-keys is handed in as it is", command.name());
            return Err(Violations::one("envelope", problem).into());
        }
        if command.member() != self.member() {
            let problem = format!("is a command of {}: each member revokes its own keys", command.member());
            return Err(Violations::one("envelope", problem).into());
        }
        Ok(self.consensus.submit(submission).await?.leaf)
    }

    fn ensure_own(&self, command: &Command) -> Result<(), AppError> {
        if command.federation() != self.genesis.federation() {
            let (found, expected) = (command.federation(), self.genesis.federation());
            let problem = format!("is for federation {found}; this is {expected}");
            return Err(Violations::one("command.payload.federation", problem).into());
        }
        if command.member() != self.member() {
            let problem = format!("is {}; this is a node of {}", command.member(), self.member());
            return Err(Violations::one("command.payload.member", problem).into());
        }
        Ok(())
    }
}

type NewKeys = Vec<(&'static str, comity_core::dsse::PublicKey)>;

/// What a command about keys or people comes to, in words, and which new keys sign it.
fn about(command: &Command, member: MemberId) -> Result<(String, NewKeys), AppError> {
    Ok(match command {
        Command::RotateKeys(rotate) => {
            let (mut what, mut keys) = (Vec::new(), NewKeys::new());
            for (name, key) in [("decision", rotate.decision_key), ("node", rotate.node_key)] {
                if let Some(key) = key {
                    what.push(format!("its {name} key by {}", KeyId::of(&key.0)));
                    keys.push((name, key));
                }
            }
            if let Some(roots) = &rotate.roots_pem {
                what.push(format!("its CA certificates by {} others", roots.len()));
            }
            if let Some(endpoint) = &rotate.endpoint {
                what.push(format!("its endpoint by {endpoint}"));
            }
            (format!("replace for {member}: {}", what.join("; ")), keys)
        }
        Command::EnrollPerson(enroll) => {
            let id = KeyId::of(&enroll.key.0);
            (format!("enrol key {id} of {} ({})", enroll.person, enroll.role), vec![("person's", enroll.key)])
        }
        Command::RevokePerson(revoke) => {
            (format!("revoke the key {} of one of its people", KeyId::of(&revoke.key.0)), NewKeys::new())
        }
        Command::RequireSignatures(require) if require.required => {
            (format!("require two people's signatures on what {member} decides"), NewKeys::new())
        }
        Command::RequireSignatures(_) => {
            (format!("require no people's signatures any more on what {member} decides"), NewKeys::new())
        }
        other => {
            let problem = format!(
                "is a command `{}`: expected rotate-keys, enroll-person, revoke-person or require-signatures",
                other.name()
            );
            return Err(Violations::one("command.payload_type", problem).into());
        }
    })
}

//! What a leaf says, read without the code that is under test: any JSON parser and any Ed25519 will do.

use comity_core::canonical::Hex32;
use comity_core::genesis::Genesis;
use comity_core::list::{Choice, CommandId};
use comity_core::{Envelope, MemberId, Timestamp};
use serde::Deserialize;

/// What a command says, as far as invariants ask.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Said {
    /// The command's name in its payload type.
    #[serde(skip)]
    pub(crate) kind: String,
    pub(crate) federation: Hex32,
    pub(crate) member: MemberId,
    pub(crate) ballot: Option<Hex32>,
    pub(crate) choice: Option<Choice>,
    pub(crate) replaces: Option<CommandId>,
    pub(crate) time: Option<Timestamp>,
}

impl Said {
    /// What an envelope says, whoever signed it.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Self, Envelope), String> {
        let envelope = Envelope::from_bytes(bytes).map_err(|e| e.to_string())?;
        let mut said: Self = serde_json::from_slice(&envelope.payload).map_err(|e| e.to_string())?;
        let kind = envelope.payload_type.strip_prefix("application/vnd.comity.list.").and_then(|k| k.split_once('.'));
        kind.map_or("", |(kind, _)| kind).clone_into(&mut said.kind);
        Ok((said, envelope))
    }

    /// Whether its member's key signed it.
    pub(crate) fn verify(&self, envelope: &Envelope, genesis: &Genesis) -> Result<(), String> {
        let member = self.member;
        if self.federation != genesis.federation() {
            return Err(format!("of federation {}", self.federation));
        }
        let row = genesis.member(member).ok_or_else(|| format!("{member} is no member"))?;
        let key = if self.kind == "attest-time" { row.node_key } else { row.decision_key };
        envelope.verify(&key.0).map_err(|problem| format!("not signed by {member}: {problem}"))
    }
}

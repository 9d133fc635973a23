//! Commands: what members say, each a DSSE envelope with a payload type of its own.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::canonical::{self, Hex32, InvalidJson};
use crate::dsse::Envelope;
use crate::member::MemberId;
use crate::record::RecordId;
use crate::timestamp::Timestamp;

/// Names a command: 16 random bytes that its author drew. Only acceptance spends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId([u8; 16]);

impl CommandId {
    /// An id from fresh random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(random)
    }
}

/// A text is no command id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a command id: 32 lower-case hexadecimal digits")]
pub struct InvalidCommandId;

impl FromStr for CommandId {
    type Err = InvalidCommandId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut out = [0; 16];
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(InvalidCommandId);
        }
        hex::decode_to_slice(text, &mut out).map_err(|_| InvalidCommandId)?;
        Ok(Self(out))
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl Serialize for CommandId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CommandId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        canonical::parse_str(d)
    }
}

/// Names a ballot: SHA-256 of the payload that tabled it, so that a vote binds to exactly what was tabled.
pub type BallotId = Hex32;

/// How a member votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// For.
    Yes,
    /// Against.
    No,
    /// Neither.
    Abstain,
}

impl Choice {
    /// As it stands in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Abstain => "abstain",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected yes, no or abstain")]
pub struct InvalidChoice;

impl FromStr for Choice {
    type Err = InvalidChoice;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Yes, Self::No, Self::Abstain].into_iter().find(|c| c.as_str() == text).ok_or(InvalidChoice)
    }
}

/// Lays a proposal's public part before all members. Signed with the decision key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableProposal {
    /// Which federation.
    pub federation: Hex32,
    /// This command.
    pub command_id: CommandId,
    /// Who tables: the proposal's originator.
    pub member: MemberId,
    /// Which proposal.
    pub proposal: RecordId,
    /// The salted digest of the public part, [`public_part_digest`].
    pub public_part: Hex32,
    /// Commitments to the parts that are not laid before the members.
    pub commitments: Vec<Hex32>,
}

/// A vote. Signed with the decision key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vote {
    /// Which federation.
    pub federation: Hex32,
    /// This command.
    pub command_id: CommandId,
    /// Who votes.
    pub member: MemberId,
    /// On what.
    pub ballot: BallotId,
    /// How.
    pub choice: Choice,
    /// The vote that this one corrects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<CommandId>,
    /// Why, for the other members and for publication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Takes a tabled proposal back. Signed with the decision key of the member that tabled it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawBallot {
    /// Which federation.
    pub federation: Hex32,
    /// This command.
    pub command_id: CommandId,
    /// Who withdraws.
    pub member: MemberId,
    /// What.
    pub ballot: BallotId,
}

/// Says that an instant has passed. Signed with the node key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestTime {
    /// Which federation.
    pub federation: Hex32,
    /// This command.
    pub command_id: CommandId,
    /// Whose node.
    pub member: MemberId,
    /// What has passed.
    pub time: Timestamp,
}

/// Any command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Lays a proposal before the members.
    Table(TableProposal),
    /// Votes.
    Vote(Vote),
    /// Takes a tabled proposal back.
    Withdraw(WithdrawBallot),
    /// Says that an instant has passed.
    AttestTime(AttestTime),
}

const TABLE: &str = "application/vnd.comity.list.table.v1+json";
const VOTE: &str = "application/vnd.comity.list.vote.v1+json";
const WITHDRAW: &str = "application/vnd.comity.list.withdraw.v1+json";
const ATTEST_TIME: &str = "application/vnd.comity.list.attest-time.v1+json";

impl Command {
    /// The media type of its payload.
    pub fn payload_type(&self) -> &'static str {
        match self {
            Self::Table(_) => TABLE,
            Self::Vote(_) => VOTE,
            Self::Withdraw(_) => WITHDRAW,
            Self::AttestTime(_) => ATTEST_TIME,
        }
    }

    /// Which federation it is for.
    pub fn federation(&self) -> Hex32 {
        match self {
            Self::Table(c) => c.federation,
            Self::Vote(c) => c.federation,
            Self::Withdraw(c) => c.federation,
            Self::AttestTime(c) => c.federation,
        }
    }

    /// Its id.
    pub fn id(&self) -> CommandId {
        match self {
            Self::Table(c) => c.command_id,
            Self::Vote(c) => c.command_id,
            Self::Withdraw(c) => c.command_id,
            Self::AttestTime(c) => c.command_id,
        }
    }

    /// Whose it is.
    pub fn member(&self) -> MemberId {
        match self {
            Self::Table(c) => c.member,
            Self::Vote(c) => c.member,
            Self::Withdraw(c) => c.member,
            Self::AttestTime(c) => c.member,
        }
    }

    /// Whether the decision key must sign; else the node key.
    pub fn is_deciding(&self) -> bool {
        !matches!(self, Self::AttestTime(_))
    }

    /// The exact bytes that are signed.
    pub fn to_payload(&self) -> Vec<u8> {
        match self {
            Self::Table(c) => canonical::to_vec(c),
            Self::Vote(c) => canonical::to_vec(c),
            Self::Withdraw(c) => canonical::to_vec(c),
            Self::AttestTime(c) => canonical::to_vec(c),
        }
    }

    /// Signs it.
    pub fn sign(&self, key: &SigningKey) -> Envelope {
        Envelope::sign(self.payload_type(), self.to_payload(), key)
    }

    /// Reads the payload of an envelope whose type is known; nothing where it is not.
    pub(crate) fn from_envelope(envelope: &Envelope) -> Option<Result<Self, InvalidJson>> {
        let payload = &envelope.payload;
        Some(match envelope.payload_type.as_str() {
            TABLE => canonical::from_slice(payload).map(Self::Table),
            VOTE => canonical::from_slice(payload).map(Self::Vote),
            WITHDRAW => canonical::from_slice(payload).map(Self::Withdraw),
            ATTEST_TIME => canonical::from_slice(payload).map(Self::AttestTime),
            _ => return None,
        })
    }
}

/// The salted digest by which a command names a public part:
/// `SHA-256("comity-public-part/1" 0x00 salt bytes)`. The salt is 32 random bytes, so that the digest of a text that was
/// erased cannot be guessed.
pub fn public_part_digest(salt: Hex32, bytes: &[u8]) -> Hex32 {
    let mut hasher = Sha256::new();
    hasher.update(b"comity-public-part/1\0");
    hasher.update(salt.0);
    hasher.update(bytes);
    Hex32(hasher.finalize().into())
}

/// The text that lies beside a tabling command: replicated with it, never in its leaf, so that it can be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicText {
    /// 32 random bytes.
    pub salt: Hex32,
    /// The public part, as JSON: its exact bytes.
    pub bytes: Vec<u8>,
}

impl PublicText {
    /// Its salted digest.
    pub fn digest(&self) -> Hex32 {
        public_part_digest(self.salt, &self.bytes)
    }
}

/// What is handed in: an envelope's exact text, and the public part where it tables one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// The envelope, in its one text form.
    pub envelope: Vec<u8>,
    /// The public part, beside a tabling command and no other.
    pub public_text: Option<PublicText>,
}

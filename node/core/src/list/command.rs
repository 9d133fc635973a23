//! Commands: what members say, each a DSSE envelope with a payload type of its own.

mod measure;
mod motion;
mod text;

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::measure::{InvalidMeasureId, Measure, MeasureId};
pub use self::motion::{Ground, InvalidGround, Motion, ReplacedKeys};
pub use self::text::{PublicText, Statement, public_part_digest};
use crate::canonical::{self, Hex32, InvalidJson};
use crate::dsse::{Envelope, PublicKey};
use crate::edtf::PartialDate;
use crate::list::EntryId;
use crate::member::MemberId;
use crate::roster::PersonName;
use crate::spiffe::Role;
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

/// A command: what every one names, and what is its own.
macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident($payload_type:literal) { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $name {
                /// Which federation.
                pub federation: Hex32,
                /// This command.
                pub command_id: CommandId,
                /// Whose it is.
                pub member: MemberId,
                $($(#[$field_doc])* pub $field: $type,)*
            }
        )*

        /// Any command.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[expect(clippy::large_enum_variant, reason = "some hundred bytes, held one at a time")]
        pub enum Command {
            $($(#[$doc])* $name($name),)*
        }

        impl Command {
            /// The media type of its payload.
            pub fn payload_type(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => concat!("application/vnd.comity.list.", $payload_type, ".v1+json"),)*
                }
            }

            /// What it is called: `table`, `vote`, ...
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $payload_type,)*
                }
            }

            /// Which federation it is for.
            pub fn federation(&self) -> Hex32 {
                match self {
                    $(Self::$name(c) => c.federation,)*
                }
            }

            /// Its id.
            pub fn id(&self) -> CommandId {
                match self {
                    $(Self::$name(c) => c.command_id,)*
                }
            }

            /// Whose it is.
            pub fn member(&self) -> MemberId {
                match self {
                    $(Self::$name(c) => c.member,)*
                }
            }

            /// The exact bytes that are signed.
            pub fn to_payload(&self) -> Vec<u8> {
                match self {
                    $(Self::$name(c) => canonical::to_vec(c),)*
                }
            }

            /// Reads a payload of a stated type; nothing where the type is not known.
            pub fn from_payload(payload_type: &str, payload: &[u8]) -> Option<Result<Self, InvalidJson>> {
                Some(match payload_type {
                    $(concat!("application/vnd.comity.list.", $payload_type, ".v1+json") => {
                        canonical::from_slice(payload).map(Self::$name)
                    })*
                    _ => return None,
                })
            }
        }

        /// What every command is called, in the order of the documents.
        pub const COMMAND_NAMES: &[&str] = &[$($payload_type),*];
    };
}

commands! {
    /// Lays a motion before the members.
    Table("table") {
        /// What is to be decided.
        motion: Motion,
        /// The salted digest of the text beside it, [`public_part_digest`].
        public_part: Hex32,
        /// Commitments to the parts that are not laid before the members.
        commitments: Vec<Hex32>,
    }
    /// Votes on a ballot.
    Vote("vote") {
        /// On what.
        ballot: BallotId,
        /// How.
        choice: Choice,
        /// The vote that this one corrects.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<CommandId>,
        /// Why, for the other members and for publication.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    }
    /// Takes a tabled motion back: the member that tabled it.
    Withdraw("withdraw") {
        /// What.
        ballot: BallotId,
    }
    /// Says that an instant has passed. Signed with the node key.
    AttestTime("attest-time") {
        /// What has passed.
        time: Timestamp,
        /// The highest rules version that the member's node can follow.
        supports: u32,
    }
    /// A person of the member has taken notice of a ballot.
    Acknowledge("acknowledge") {
        /// Of which.
        ballot: BallotId,
    }
    /// Stops silence from adopting a ballot, for a time.
    Hold("hold") {
        /// Which.
        ballot: BallotId,
        /// Why, for the other members.
        reason: String,
    }
    /// Consents to the extension of another member's hold.
    ExtendHold("extend-hold") {
        /// On which ballot.
        ballot: BallotId,
        /// Whose hold.
        holder: MemberId,
    }
    /// Ends the member's own hold.
    LiftHold("lift-hold") {
        /// On which ballot.
        ballot: BallotId,
    }
    /// Objects: silence does not adopt the ballot, which ends.
    Object("object") {
        /// To which ballot.
        ballot: BallotId,
        /// Why, for the other members.
        reason: String,
    }
    /// Attaches a national measure to an entry, on the member's own authority.
    AttachMeasure("attach-measure") {
        /// To which entry.
        entry: EntryId,
        /// What.
        measure: Measure,
    }
    /// Ends a national measure, on the member's own authority.
    EndMeasure("end-measure") {
        /// On which entry.
        entry: EntryId,
        /// Which.
        measure: MeasureId,
        /// When it ended. A claim of the member.
        ended: PartialDate,
    }
    /// The member has reviewed an entry and keeps it.
    Review("review") {
        /// Which.
        entry: EntryId,
    }
    /// The member rotates its own keys, roots or endpoint. Signed with the present decision key and with each new key.
    RotateKeys("rotate-keys") {
        /// The next decision key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        decision_key: Option<PublicKey>,
        /// The next node key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node_key: Option<PublicKey>,
        /// Its CA's certificates from now on, PEM: two overlap during a rotation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        roots_pem: Option<Vec<String>>,
        /// Where its node listens for peers from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
    }
    /// The member's recovery key revokes its other keys, at once.
    RevokeKeys("revoke-keys") {
        /// The decision key.
        decision: bool,
        /// The node key.
        node: bool,
    }
    /// The member enrols the key of one of its people. Signed with that key, too.
    EnrollPerson("enroll-person") {
        /// What the member calls it.
        person: PersonName,
        /// In which role.
        role: Role,
        /// What it signs with.
        key: PublicKey,
    }
    /// The member revokes the key of one of its people.
    RevokePerson("revoke-person") {
        /// The key.
        key: PublicKey,
    }
    /// From now on the member's deciding commands need two different enrolled people's signatures, or not any more.
    RequireSignatures("require-signatures") {
        /// Whether they do.
        required: bool,
    }
}

impl Command {
    /// Whether the decision key must sign; else the node key or the recovery key.
    pub fn is_deciding(&self) -> bool {
        !matches!(self, Self::AttestTime(_) | Self::RevokeKeys(_))
    }

    /// The ballot that it acts on, where that stands already.
    pub fn ballot(&self) -> Option<BallotId> {
        match self {
            Self::Vote(c) => Some(c.ballot),
            Self::Withdraw(c) => Some(c.ballot),
            Self::Acknowledge(c) => Some(c.ballot),
            Self::Hold(c) => Some(c.ballot),
            Self::ExtendHold(c) => Some(c.ballot),
            Self::LiftHold(c) => Some(c.ballot),
            Self::Object(c) => Some(c.ballot),
            _ => None,
        }
    }

    /// The salted digest of the text that lies beside it, where one does.
    pub fn public_part(&self) -> Option<Hex32> {
        match self {
            Self::Table(c) => Some(c.public_part),
            _ => None,
        }
    }

    /// Signs it with one key.
    pub fn sign(&self, key: &SigningKey) -> Envelope {
        Envelope::sign(self.payload_type(), self.to_payload(), key)
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

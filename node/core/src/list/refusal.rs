//! Why a command is not accepted. Every node refuses alike; a refusal changes nothing and leaves no leaf.

use serde::{Deserialize, Serialize};

use crate::canonical::Hex32;
use crate::list::EntryId;
use crate::list::command::CommandId;
use crate::member::MemberId;

/// Why a command is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    /// Not an envelope, or not signed as it must be.
    #[error("envelope: {0}")]
    Envelope(String),
    /// No such kind of command.
    #[error("payload type `{0}`: this node knows table, vote, withdraw and attest-time, version 1")]
    UnknownType(String),
    /// The payload is not the JSON that its type asks for.
    #[error("payload: {0}")]
    Payload(String),
    /// Signed for another federation.
    #[error("the command is for federation {found}; this is {expected}: check that both nodes have the same genesis")]
    OtherFederation {
        /// What it says.
        found: Hex32,
        /// This one.
        expected: Hex32,
    },
    /// Not in the roster, or without a vote.
    #[error("{0} is not a voting member of this federation")]
    NotAMember(MemberId),
    /// Signed with another key, or badly.
    #[error("{member}: {problem}")]
    Signature {
        /// Who is said to have signed.
        member: MemberId,
        /// What is wrong.
        problem: String,
    },
    /// The public part is missing, superfluous, or not what was signed.
    #[error("public part: {0}")]
    PublicPart(String),
    /// The id was spent by another command.
    #[error("command id {0} was spent by another command: draw a new one")]
    CommandIdSpent(CommandId),
    /// Only the originator tables a proposal.
    #[error("the proposal belongs to {0}, who alone tables it")]
    NotTheOriginator(MemberId),
    /// The proposal is before the members already.
    #[error("the proposal is tabled already, as ballot {0}")]
    AlreadyTabled(Hex32),
    /// Too many of this member's ballots are open.
    #[error("{member} has {limit} ballots open: wait until some are decided")]
    TooManyOpen {
        /// Whose.
        member: MemberId,
        /// How many may be.
        limit: usize,
    },
    /// There is no such ballot.
    #[error("there is no ballot {0}")]
    NoSuchBallot(Hex32),
    /// The ballot is decided.
    #[error("ballot {ballot} is closed: {state}")]
    BallotClosed {
        /// Which.
        ballot: Hex32,
        /// How it ended.
        state: String,
    },
    /// The member was not of the electorate when the ballot was tabled.
    #[error("{0} is not of this ballot's electorate")]
    NotInElectorate(MemberId),
    /// A vote stands already.
    #[error("{member} has voted {choice}, command {command}: a correction names the vote that it replaces")]
    AlreadyVoted {
        /// Who.
        member: MemberId,
        /// How.
        choice: String,
        /// By which command.
        command: CommandId,
    },
    /// A correction of a vote that does not stand.
    #[error("the vote {0} does not stand, so nothing can replace it")]
    NothingToReplace(CommandId),
    /// Only the proposer withdraws.
    #[error("ballot {ballot} was tabled by {proposer}, who alone withdraws it")]
    NotTheProposer {
        /// Which.
        ballot: Hex32,
        /// Who.
        proposer: MemberId,
    },
    /// Attested more often than is of use.
    #[error("{member} attested {last}: the next is at least {minimum_seconds} s later")]
    TooSoon {
        /// Who.
        member: MemberId,
        /// Its last attestation.
        last: crate::timestamp::Timestamp,
        /// How much later the next must be.
        minimum_seconds: u32,
    },
    /// A text is too long or holds what it must not.
    #[error("{field}: {problem}")]
    Field {
        /// Which.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// The year has had all its numbers.
    #[error("entry numbers of the year are spent: the last is {0}")]
    EntryNumbersSpent(EntryId),
}

impl Refusal {
    /// A stable upper-snake reason, for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Envelope(_) => "ENVELOPE_INVALID",
            Self::UnknownType(_) => "COMMAND_UNKNOWN",
            Self::Payload(_) => "PAYLOAD_INVALID",
            Self::OtherFederation { .. } => "OTHER_FEDERATION",
            Self::NotAMember(_) => "NOT_A_MEMBER",
            Self::Signature { .. } => "SIGNATURE_INVALID",
            Self::PublicPart(_) => "PUBLIC_PART_INVALID",
            Self::CommandIdSpent(_) => "COMMAND_ID_SPENT",
            Self::NotTheOriginator(_) => "NOT_THE_ORIGINATOR",
            Self::AlreadyTabled(_) => "ALREADY_TABLED",
            Self::TooManyOpen { .. } => "TOO_MANY_OPEN_BALLOTS",
            Self::NoSuchBallot(_) => "NO_SUCH_BALLOT",
            Self::BallotClosed { .. } => "BALLOT_CLOSED",
            Self::NotInElectorate(_) => "NOT_IN_ELECTORATE",
            Self::AlreadyVoted { .. } => "ALREADY_VOTED",
            Self::NothingToReplace(_) => "NOTHING_TO_REPLACE",
            Self::NotTheProposer { .. } => "NOT_THE_PROPOSER",
            Self::TooSoon { .. } => "TOO_SOON",
            Self::Field { .. } => "FIELD_INVALID",
            Self::EntryNumbersSpent(_) => "ENTRY_NUMBERS_SPENT",
        }
    }
}

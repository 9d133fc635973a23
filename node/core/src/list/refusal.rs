//! Why a command is not accepted. Every node refuses alike; a refusal changes nothing and leaves no leaf.

use crate::canonical::Hex32;
use crate::dsse::KeyId;
use crate::list::EntryId;
use crate::list::command::{CommandId, MeasureId};
use crate::member::MemberId;
use crate::spiffe::TrustDomain;
use crate::timestamp::Timestamp;

/// Why a command is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an envelope, or not signed as it must be.
    #[error("envelope: {0}")]
    Envelope(String),
    /// No such kind of command.
    #[error("payload type `{0}`: this node knows {known}, version 1", known = crate::list::COMMAND_NAMES.join(", "))]
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
    /// The members decide by newer rules than this software knows.
    #[error("the members raised the rules version to {found}, and this software follows {known}: install a newer one")]
    RulesTooNew {
        /// Theirs.
        found: u32,
        /// The latest that is known here.
        known: u32,
    },
    /// Not in the roster, or without a vote.
    #[error("{0} is not a voting member of this federation")]
    NotAMember(MemberId),
    /// Suspended members decide nothing.
    #[error("{0} is suspended: it decides nothing until it is readmitted")]
    Suspended(MemberId),
    /// Expelled members decide nothing.
    #[error("{0} was expelled: it decides nothing any more")]
    Expelled(MemberId),
    /// The recovery key has revoked the key that must sign.
    #[error("the {which} key of {member} was revoked by its recovery key: the members replace it by ballot")]
    KeyRevoked {
        /// Whose.
        member: MemberId,
        /// `decision` or `node`.
        which: &'static str,
    },
    /// People did not sign who must.
    #[error("{member} requires the signatures of {needed} different enrolled people: {found} signed")]
    PersonalSignatures {
        /// Whose command.
        member: MemberId,
        /// How many must sign.
        needed: usize,
        /// How many did.
        found: usize,
    },
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
    /// The same matter is before the members already, or was adopted.
    #[error("this is tabled already, as ballot {0}")]
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
        last: Timestamp,
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
    /// The text was tabled before.
    #[error("a text with this digest was tabled before: draw a new salt")]
    TextReused,
    /// There is no such entry.
    #[error("there is no entry {0}")]
    NoSuchEntry(EntryId),
    /// The entry is off the list.
    #[error("{entry} is {status}: nothing about it can change")]
    EntryOffTheList {
        /// Which.
        entry: EntryId,
        /// How it stands.
        status: String,
    },
    /// The member does not stand as it must for this.
    #[error("{member} is {found}; expected {expected}")]
    Standing {
        /// Whom it is about.
        member: MemberId,
        /// How it stands.
        found: String,
        /// How it must stand.
        expected: &'static str,
    },
    /// A key has an owner and a purpose already.
    #[error("{field}: key {key} stands in the roster, or once did: each key has one purpose and one owner for ever")]
    KeyInUse {
        /// Which field.
        field: &'static str,
        /// Which key.
        key: KeyId,
    },
    /// Another member's trust domain.
    #[error("the trust domain {0} is another member's")]
    TrustDomainTaken(TrustDomain),
    /// Not the node that counts, nor the next.
    #[error("incarnation {found}: expected {now}, or {next} where the machine was lost")]
    Incarnation {
        /// What it says.
        found: u32,
        /// The one that counts.
        now: u32,
        /// The next.
        next: u32,
    },
    /// Nobody could decide it.
    #[error("nobody would decide this: no voting member is left beside the one that it is about")]
    NoElectorate,
    /// The rules version cannot be raised to this.
    #[error("rules version {version}: {problem}")]
    RulesVersion {
        /// What was asked.
        version: u32,
        /// What stands in the way.
        problem: String,
    },
    /// The ballot is not decided by silence.
    #[error("ballot {0} is not decided by silence: vote on it")]
    NoSilence(Hex32),
    /// Notice was acknowledged before.
    #[error("{0} has acknowledged notice already")]
    Acknowledged(MemberId),
    /// The time for acknowledging notice is over.
    #[error("notice could be acknowledged until {0}: whoever has not is absent, and may still hold, object or vote")]
    NoticeOver(Timestamp),
    /// A member places one hold.
    #[error("{0} has placed its hold on this ballot already, and may object")]
    HoldSpent(MemberId),
    /// No hold of the member stands.
    #[error("no hold of {0} stands on this ballot")]
    NoHold(MemberId),
    /// The hold was extended, or the member has consented to it.
    #[error("{by}: {problem}")]
    Extension {
        /// Who consents.
        by: MemberId,
        /// What stands in the way.
        problem: &'static str,
    },
    /// The measure's name was used before.
    #[error("{member} has used the measure id `{id}` already: each names one measure for ever")]
    MeasureIdUsed {
        /// Whose.
        member: MemberId,
        /// Which.
        id: MeasureId,
    },
    /// No such measure is in force.
    #[error("no measure `{id}` of {member} is in force on this entry")]
    NoMeasure {
        /// Whose.
        member: MemberId,
        /// Which.
        id: MeasureId,
    },
    /// The entry, the ballot or the member has had its fill.
    #[error("{what}: at most {limit}")]
    Bound {
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// It is so already.
    #[error("nothing would change: {0}")]
    NoChange(&'static str),
    /// Too few people would be left to sign.
    #[error("{member} requires personal signatures: two different people must stay enrolled")]
    TooFewPeople {
        /// Whose people.
        member: MemberId,
    },
    /// The key is none of an enrolled person.
    #[error("no enrolled person of {0} has this key")]
    NoSuchPerson(MemberId),
}

impl Refusal {
    /// A stable upper-snake reason, for machines.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Envelope(_) => "ENVELOPE_INVALID",
            Self::UnknownType(_) => "COMMAND_UNKNOWN",
            Self::Payload(_) => "PAYLOAD_INVALID",
            Self::OtherFederation { .. } => "OTHER_FEDERATION",
            Self::RulesTooNew { .. } => "RULES_TOO_NEW",
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
            Self::Suspended(_) => "MEMBER_SUSPENDED",
            Self::Expelled(_) => "MEMBER_EXPELLED",
            Self::KeyRevoked { .. } => "KEY_REVOKED",
            Self::PersonalSignatures { .. } => "PERSONAL_SIGNATURES",
            Self::TextReused => "TEXT_REUSED",
            Self::NoSuchEntry(_) => "NO_SUCH_ENTRY",
            Self::EntryOffTheList { .. } => "ENTRY_OFF_THE_LIST",
            Self::Standing { .. } => "MEMBER_STANDING",
            Self::KeyInUse { .. } => "KEY_IN_USE",
            Self::TrustDomainTaken(_) => "TRUST_DOMAIN_TAKEN",
            Self::Incarnation { .. } => "INCARNATION",
            Self::NoElectorate => "NO_ELECTORATE",
            Self::RulesVersion { .. } => "RULES_VERSION",
            Self::NoSilence(_) => "NO_SILENCE",
            Self::Acknowledged(_) => "ALREADY_ACKNOWLEDGED",
            Self::NoticeOver(_) => "NOTICE_OVER",
            Self::HoldSpent(_) => "HOLD_SPENT",
            Self::NoHold(_) => "NO_HOLD",
            Self::Extension { .. } => "EXTENSION",
            Self::MeasureIdUsed { .. } => "MEASURE_ID_USED",
            Self::NoMeasure { .. } => "NO_MEASURE",
            Self::Bound { .. } => "BOUND_REACHED",
            Self::NoChange(_) => "NO_CHANGE",
            Self::TooFewPeople { .. } => "TOO_FEW_PEOPLE",
            Self::NoSuchPerson(_) => "NO_SUCH_PERSON",
        }
    }
}

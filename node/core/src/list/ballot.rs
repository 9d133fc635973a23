//! Ballots: the coalition's decisions, open and closed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::canonical::Hex32;
use crate::genesis::Rule;
use crate::list::EntryId;
use crate::list::command::{BallotId, Choice, CommandId};
use crate::member::MemberId;
use crate::record::RecordId;
use crate::timestamp::Timestamp;

/// How a ballot stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BallotState {
    /// Votes count.
    Open,
    /// Adopted, as this entry.
    Adopted(EntryId),
    /// The consents that the rule asks can no longer come together.
    Rejected,
    /// Taken back by the proposer.
    Withdrawn,
}

impl fmt::Display for BallotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Adopted(entry) => write!(f, "adopted as {entry}"),
            Self::Rejected => f.write_str("rejected"),
            Self::Withdrawn => f.write_str("withdrawn"),
        }
    }
}

/// A vote that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CastVote {
    /// The command.
    pub command: CommandId,
    /// How.
    pub choice: Choice,
    /// Why.
    pub reason: Option<String>,
    /// Its leaf in the command log.
    pub leaf: u64,
}

/// A decision of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ballot {
    /// Its name: SHA-256 of the tabling payload.
    pub id: BallotId,
    /// Who tabled it.
    pub proposer: MemberId,
    /// The proposal.
    pub proposal: RecordId,
    /// The salted digest of the text that was tabled.
    pub public_part: Hex32,
    /// Who may vote, fixed at tabling.
    pub electorate: BTreeSet<MemberId>,
    /// How it is decided, fixed at tabling.
    pub rule: Rule,
    /// When, in list time.
    pub tabled_at: Timestamp,
    /// The tabling command's leaf in the command log.
    pub leaf: u64,
    /// The votes that stand.
    pub votes: BTreeMap<MemberId, CastVote>,
    /// How it stands.
    pub state: BallotState,
}

impl Ballot {
    /// How many voted so.
    pub fn count(&self, choice: Choice) -> usize {
        self.votes.values().filter(|v| v.choice == choice).count()
    }

    /// How many `yes` adopt.
    pub fn needed(&self) -> usize {
        self.rule.needed(self.electorate.len())
    }

    /// Those of the electorate who have not voted.
    pub fn silent(&self) -> impl Iterator<Item = MemberId> {
        self.electorate.iter().copied().filter(|m| !self.votes.contains_key(m))
    }

    /// Whether enough consents can no longer come together, even if all the silent said yes. A vote may still be corrected,
    /// so this closes a ballot only because its electorate said so.
    pub(crate) fn is_lost(&self) -> bool {
        self.count(Choice::Yes) + self.silent().count() < self.needed()
    }
}

//! Ballots: the coalition's decisions, open and closed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use litemap::LiteMap;

use crate::canonical::Hex32;
use crate::fault::{self, Fault};
use crate::list::EntryId;
use crate::list::command::{BallotId, Choice, CommandId, Motion};
use crate::list::silence::SilenceState;
use crate::member::MemberId;
use crate::record::RecordId;
use crate::rule::Rule;
use crate::timestamp::Timestamp;

/// How a ballot stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BallotState {
    /// It can still be decided.
    Open,
    /// Adopted; a listing as this entry.
    Adopted(Option<EntryId>),
    /// Not adopted, because.
    Rejected(Rejection),
    /// Taken back by the proposer.
    Withdrawn,
}

/// Why a ballot was not adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The consents that the rule asks can no longer come together.
    Votes,
    /// A member objected.
    Objection(MemberId),
    /// Too few members were present.
    Absence,
    /// All other voting members voted to keep the entry.
    Kept,
    /// What it was to change had changed meanwhile.
    Moot(&'static str),
}

impl fmt::Display for BallotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Adopted(Some(entry)) => write!(f, "adopted as {entry}"),
            Self::Adopted(None) => f.write_str("adopted"),
            Self::Rejected(Rejection::Votes) => f.write_str("rejected by the votes"),
            Self::Rejected(Rejection::Objection(member)) => write!(f, "rejected: {member} objected"),
            Self::Rejected(Rejection::Absence) => f.write_str("rejected: too few members were present"),
            Self::Rejected(Rejection::Kept) => f.write_str("rejected: all others voted to keep the entry"),
            Self::Rejected(Rejection::Moot(why)) => write!(f, "rejected: {why}"),
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
    /// The leaf hash by which publications name it.
    pub public_hash: Hex32,
}

/// A vote that another one replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplacedVote {
    /// Whose.
    pub member: MemberId,
    /// The vote that was replaced.
    pub replaced: CommandId,
    /// The vote that replaced it.
    pub by: CommandId,
}

/// Two votes by which one member replaced the same vote: it spoke with two tongues. The first stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Equivocation {
    /// Who.
    pub member: MemberId,
    /// The vote that both replace.
    pub replaced: CommandId,
    /// The vote that stands, or stood.
    pub first: CommandId,
    /// The vote that came second, its leaf in the command log, and how it voted.
    pub second: (CommandId, u64, Choice),
}

/// How a ballot is decided, fixed at tabling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Procedure {
    /// By consents: unanimity or a quorum.
    Consents(Rule),
    /// By silence.
    Silence(Box<SilenceState>),
    /// Adopted at an instant, unless all other voting members vote to keep the entry.
    ReverseSilence {
        /// The period, in days.
        days: u32,
        /// When it ends, in list time.
        until: Timestamp,
    },
}

/// A decision of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ballot {
    /// Its name: SHA-256 of the tabling payload.
    pub id: BallotId,
    /// Its place in the order of tabling, from 0.
    pub number: u64,
    /// Who tabled it.
    pub proposer: MemberId,
    /// What is decided.
    pub motion: Motion,
    /// The salted digest of the text that was tabled.
    pub public_part: Hex32,
    /// Who decides: the voters at tabling without those suspended or expelled since.
    pub electorate: Arc<BTreeSet<MemberId>>,
    /// How it is decided, fixed at tabling.
    pub procedure: Procedure,
    /// When, in list time.
    pub tabled_at: Timestamp,
    /// The tabling command's leaf in the command log.
    pub leaf: u64,
    /// The leaf hash by which it is published.
    pub public_hash: Hex32,
    /// The votes that stand; few, and kept for ever.
    pub votes: LiteMap<MemberId, CastVote>,
    /// The votes that were replaced.
    pub replaced: Vec<ReplacedVote>,
    /// Who spoke with two tongues.
    pub equivocations: Vec<Equivocation>,
    /// How it stands.
    pub state: BallotState,
}

/// What a ballot has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not yet decided.
    Undecided,
    /// Adopted.
    Adopted,
    /// Not adopted.
    Rejected(Rejection),
}

impl Ballot {
    /// The proposal that it comes from, where it comes from one.
    pub fn proposal(&self) -> Option<RecordId> {
        self.motion.proposal()
    }

    /// Whether it can still be decided.
    pub fn is_open(&self) -> bool {
        self.state == BallotState::Open
    }

    /// How many voted so.
    pub fn count(&self, choice: Choice) -> usize {
        self.votes.values().filter(|v| v.choice == choice).count()
    }

    /// How many `yes` adopt; nothing where silence does.
    pub fn needed(&self) -> Option<usize> {
        match &self.procedure {
            Procedure::Consents(rule) => rule.needed(self.electorate.len()),
            Procedure::Silence(_) | Procedure::ReverseSilence { .. } => None,
        }
    }

    /// Those of the electorate who have not voted.
    pub fn silent(&self) -> impl Iterator<Item = MemberId> {
        self.electorate.iter().copied().filter(|m| !self.votes.contains_key(m))
    }

    /// The silence procedure's state, where it is decided so.
    pub fn silence(&self) -> Option<&SilenceState> {
        match &self.procedure {
            Procedure::Silence(silence) => Some(silence),
            _ => None,
        }
    }

    pub(crate) fn silence_mut(&mut self) -> Option<&mut SilenceState> {
        match &mut self.procedure {
            Procedure::Silence(silence) => Some(silence),
            _ => None,
        }
    }

    /// Somebody who left the electorate takes no part in its silence either.
    pub(crate) fn drop_out_of_silence(&mut self, member: MemberId, at: Timestamp) {
        if let Procedure::Silence(silence) = &mut self.procedure {
            silence.drop_out(member, at, &self.electorate);
        }
    }

    /// The next instant, in list time, at which something happens by itself.
    pub fn due(&self) -> Option<Timestamp> {
        if !self.is_open() {
            return None;
        }
        match &self.procedure {
            Procedure::Consents(_) => None,
            Procedure::Silence(silence) => silence.due(),
            Procedure::ReverseSilence { until, .. } => Some(*until),
        }
    }

    /// What the votes have come to, whatever the time. A vote may still be corrected, so this closes a ballot only because its
    /// electorate said so.
    pub(crate) fn verdict(&self) -> Verdict {
        match &self.procedure {
            Procedure::Consents(rule) => {
                let one_more = usize::from(fault::is(Fault::CountOneMore));
                let yes = self.count(Choice::Yes) + one_more;
                let needed = rule.needed(self.electorate.len()).unwrap_or(usize::MAX);
                // INVARIANT: nobody decides nothing: an electorate that has dropped out altogether adopts nothing.
                if yes > 0 && yes >= needed {
                    Verdict::Adopted
                } else if yes + self.silent().count() < needed.max(1) {
                    Verdict::Rejected(Rejection::Votes)
                } else {
                    Verdict::Undecided
                }
            }
            Procedure::Silence(_) => {
                let objector = self.votes.iter().find(|(_, vote)| vote.choice == Choice::No);
                match objector {
                    Some((member, _)) => Verdict::Rejected(Rejection::Objection(*member)),
                    None => Verdict::Undecided,
                }
            }
            Procedure::ReverseSilence { .. } => {
                let mut others = self.electorate.iter().filter(|member| **member != self.proposer).peekable();
                let somebody = others.peek().is_some();
                let keep = |member: &MemberId| self.votes.get(member).is_some_and(|vote| vote.choice == Choice::No);
                if somebody && others.all(keep) { Verdict::Rejected(Rejection::Kept) } else { Verdict::Undecided }
            }
        }
    }

    /// What time alone brings about by `now`.
    pub(crate) fn advance(&mut self, now: Timestamp) -> Verdict {
        match &mut self.procedure {
            Procedure::Consents(_) => Verdict::Undecided,
            Procedure::Silence(silence) => silence.advance(now, &self.electorate),
            Procedure::ReverseSilence { until, .. } if *until <= now => Verdict::Adopted,
            Procedure::ReverseSilence { .. } => Verdict::Undecided,
        }
    }
}

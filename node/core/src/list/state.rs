//! The state that every node holds alike.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::canonical::Hex32;
use crate::genesis::Genesis;
use crate::list::ballot::Ballot;
use crate::list::command::{BallotId, CommandId, MeasureId, Motion};
use crate::list::entry::{Entry, EntryId, EntryStatus};
use crate::list::publication::{Authority, Publication};
use crate::member::MemberId;
use crate::merkle::MerkleLog;
use crate::record::RecordId;
use crate::roster::Roster;
use crate::rule::BallotKind;
use crate::timestamp::Timestamp;

/// What an accepted command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A ballot was opened.
    Tabled(BallotId),
    /// A vote stands.
    Voted(BallotId, MemberId),
    /// A member replaced one vote by two: the second is kept as evidence and does not count.
    Equivocated(BallotId, MemberId),
    /// A member has taken notice of a ballot.
    Acknowledged(BallotId, MemberId),
    /// A hold stands.
    Held(BallotId, MemberId),
    /// A hold was extended.
    HoldExtended(BallotId, MemberId),
    /// A member lifted its hold.
    HoldLifted(BallotId, MemberId),
    /// A ballot was adopted and an entry listed.
    Listed(BallotId, EntryId),
    /// A ballot was adopted that listed nothing.
    Adopted(BallotId),
    /// A ballot was rejected.
    Rejected(BallotId),
    /// A ballot was withdrawn.
    Withdrawn(BallotId),
    /// A text has failed, or was annulled: every node erases what lies under this digest.
    TextErased(Hex32),
    /// A leaf was added to the public log.
    Published(u64),
    /// The roster has changed: members, keys, people or rules.
    RosterChanged,
    /// List time moved.
    TimeMoved(Timestamp),
}

/// That a command was accepted, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its leaf in the command log.
    pub leaf: u64,
    /// Which command.
    pub command: CommandId,
    /// What it did; empty where it was repeated.
    pub events: Vec<Event>,
    /// The same envelope was accepted before, at that leaf: nothing was done again.
    pub repeated: bool,
}

/// What an open ballot is about: one at a time about the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Matter {
    Proposal(RecordId),
    Entry(EntryId),
    Member(MemberId),
    Keys(MemberId),
    Rule(BallotKind),
    Version,
}

impl Matter {
    pub(crate) fn of(motion: &Motion) -> Self {
        match motion {
            Motion::List { proposal } => Self::Proposal(*proposal),
            Motion::Amend { entry, .. } | Motion::Delist { entry, .. } | Motion::Merge { entry, .. } => {
                Self::Entry(entry.clone())
            }
            Motion::Admit { member } => Self::Member(member.member),
            Motion::Suspend { target } | Motion::Readmit { target } | Motion::Expel { target } => Self::Member(*target),
            // A member has a say on its own keys: that must not stand in the way of its expulsion.
            Motion::ReplaceKeys { target, .. } => Self::Keys(*target),
            Motion::ChangeRule { kind, .. } => Self::Rule(*kind),
            Motion::RaiseVersion { .. } => Self::Version,
        }
    }
}

/// What a member's node has attested last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attestation {
    /// The instant that had passed.
    pub time: Timestamp,
    /// The highest rules version that the node can follow.
    pub supports: u32,
}

/// The commands that a publication stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The leaf of the tabling, beside which the text lies; nothing where one member acted on its own authority.
    pub tabling: Option<u64>,
    /// Leaves of the command log, and the leaf hash by which each is published.
    pub commands: Vec<(u64, Hex32)>,
}

/// The list, its ballots, the roster and both logs, as every node that applied the same commands holds them.
#[derive(Debug, Clone)]
pub struct ListState {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) roster: Roster,
    pub(crate) rules_version: u32,
    pub(crate) list_time: Timestamp,
    pub(crate) attested: BTreeMap<MemberId, Attestation>,
    pub(crate) ballots: BTreeMap<BallotId, Ballot>,
    /// The electorate of the ballot that was tabled last.
    pub(crate) electorate: Arc<BTreeSet<MemberId>>,
    /// Ballots in the order of their tabling.
    pub(crate) tabled: Vec<BallotId>,
    /// The ballots that are open, in the order of their tabling.
    pub(crate) open: BTreeMap<u64, BallotId>,
    /// How many ballots of each member are open.
    pub(crate) open_of: BTreeMap<MemberId, usize>,
    /// What the open ballots are about.
    pub(crate) matters: BTreeMap<Matter, BallotId>,
    /// When the open ballots are next due: instant, number, ballot.
    pub(crate) deadlines: BTreeSet<(Timestamp, u64, BallotId)>,
    /// The ballot by which a proposal was adopted.
    pub(crate) adopted: HashMap<RecordId, BallotId>,
    pub(crate) entries: BTreeMap<EntryId, Entry>,
    pub(crate) numbers: BTreeMap<i16, u32>,
    /// On which entry each measure stands.
    pub(crate) measures: HashMap<(MemberId, MeasureId), EntryId>,
    /// Digests of every text that was ever tabled.
    pub(crate) digests: HashSet<Hex32>,
    /// Accepted command ids and their leaves.
    pub(crate) spent: HashMap<CommandId, u64>,
    pub(crate) commands: MerkleLog,
    /// The leaf hash of each accepted command.
    pub(crate) leaves: Vec<Hex32>,
    pub(crate) public_log: MerkleLog,
    /// Each publication's exact bytes, and the command leaf that caused it.
    pub(crate) publications: Vec<(u64, Box<[u8]>)>,
}

impl ListState {
    /// The rules version that this software follows.
    pub const SUPPORTED_RULES: u32 = 1;

    /// The state before any command.
    pub fn new(genesis: Arc<Genesis>) -> Self {
        Self {
            roster: Roster::new(&genesis),
            rules_version: 1,
            list_time: genesis.document().created,
            genesis,
            attested: BTreeMap::new(),
            ballots: BTreeMap::new(),
            electorate: Arc::default(),
            tabled: Vec::new(),
            open: BTreeMap::new(),
            open_of: BTreeMap::new(),
            matters: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            adopted: HashMap::new(),
            entries: BTreeMap::new(),
            numbers: BTreeMap::new(),
            measures: HashMap::new(),
            digests: HashSet::new(),
            spent: HashMap::new(),
            commands: MerkleLog::default(),
            leaves: Vec::new(),
            public_log: MerkleLog::default(),
            publications: Vec::new(),
        }
    }

    /// The genesis that it stands on.
    pub fn genesis(&self) -> &Arc<Genesis> {
        &self.genesis
    }

    /// The roster as it stands.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The rules version that is in force.
    pub fn rules_version(&self) -> u32 {
        self.rules_version
    }

    /// The latest instant that a majority of the voting members have attested as past.
    pub fn list_time(&self) -> Timestamp {
        self.list_time
    }

    /// What a member's node has attested last.
    pub fn attested(&self, member: MemberId) -> Option<Attestation> {
        self.attested.get(&member).copied()
    }

    /// A ballot.
    pub fn ballot(&self, id: &BallotId) -> Option<&Ballot> {
        self.ballots.get(id)
    }

    /// Ballots in the order of their tabling.
    pub fn ballots(&self) -> impl DoubleEndedIterator<Item = &Ballot> {
        self.tabled.iter().filter_map(|id| self.ballots.get(id))
    }

    /// The ballots that are open, in the order of their tabling.
    pub fn open_ballots(&self) -> impl DoubleEndedIterator<Item = &Ballot> {
        self.open.values().filter_map(|id| self.ballots.get(id))
    }

    /// The ballots whose id begins with these hexadecimal digits; at most `limit`.
    pub fn ballots_with_prefix(&self, digits: &str, limit: usize) -> Vec<&Ballot> {
        self.ballots().filter(|b| b.id.to_string().starts_with(digits)).take(limit).collect()
    }

    /// The ballot that a proposal stands under: open, or the one that adopted it.
    pub fn ballot_of(&self, proposal: RecordId) -> Option<&Ballot> {
        let open = || self.open_ballots().find(|ballot| ballot.proposal() == Some(proposal));
        let listing = self.matters.get(&Matter::Proposal(proposal)).or_else(|| self.adopted.get(&proposal));
        listing.and_then(|id| self.ballots.get(id)).or_else(open)
    }

    /// The next instant, in list time, at which a ballot is decided or changes by time alone.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(at, _, _)| *at)
    }

    /// An entry, whatever its status.
    pub fn entry(&self, id: &EntryId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Whether an entry was annulled, or one that it was merged into: then its texts are erased.
    pub fn is_annulled(&self, id: &EntryId) -> bool {
        let mut at = id;
        // Redirects go one way.
        while let Some(EntryStatus::Merged { into, .. }) = self.entries.get(at).map(|entry| &entry.status) {
            at = into;
        }
        let status = self.entries.get(at).map(|entry| &entry.status);
        matches!(status, Some(EntryStatus::Delisted { ground, .. }) if ground.annuls())
    }

    /// Entries by number, after one, whatever their status.
    pub fn entries_after(&self, after: Option<&EntryId>) -> impl Iterator<Item = &Entry> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |id| Excluded(id.clone()));
        self.entries.range((from, Unbounded)).map(|(_, entry)| entry)
    }

    /// How many entries there ever were.
    pub fn entry_count(&self) -> usize {
        self.entries.len()
    }

    /// The command log.
    pub fn commands(&self) -> &MerkleLog {
        &self.commands
    }

    /// The leaf hash of an accepted command.
    pub fn command_leaf(&self, leaf: u64) -> Option<Hex32> {
        usize::try_from(leaf).ok().and_then(|n| self.leaves.get(n)).copied()
    }

    /// The public log.
    pub fn public_log(&self) -> &MerkleLog {
        &self.public_log
    }

    /// A leaf of the public log, exactly.
    pub fn publication(&self, leaf: u64) -> Option<&[u8]> {
        usize::try_from(leaf).ok().and_then(|n| self.publications.get(n)).map(|(_, bytes)| bytes.as_ref())
    }

    /// The leaf of the command log that caused a publication.
    pub fn cause_of(&self, publication: u64) -> Option<u64> {
        usize::try_from(publication).ok().and_then(|n| self.publications.get(n)).map(|(leaf, _)| *leaf)
    }

    /// The commands that a publication stands on, in the order in which an export shows them.
    pub fn evidence(&self, publication: u64) -> Option<Evidence> {
        let cause = self.cause_of(publication)?;
        let read = Publication::from_bytes(self.publication(publication)?).ok()?;
        Some(match read.by {
            Authority::Member(consent) => Evidence { tabling: None, commands: vec![(cause, consent.command)] },
            Authority::Ballot(decided) => {
                let ballot = self.ballots.get(&decided.ballot)?;
                let mut commands = vec![(ballot.leaf, ballot.public_hash)];
                for consent in &decided.consents {
                    commands.push((ballot.votes.get(&consent.member)?.leaf, consent.command));
                }
                for consent in &decided.silent {
                    commands.push((ballot.silence()?.acknowledged.get(&consent.member)?.leaf, consent.command));
                }
                Evidence { tabling: Some(ballot.leaf), commands }
            }
        })
    }

    /// How long the public log was when the command log had `commands` leaves.
    pub fn public_size_at(&self, commands: u64) -> u64 {
        self.publications.partition_point(|(leaf, _)| *leaf < commands) as u64
    }

    /// Where an accepted command stands.
    pub fn accepted_at(&self, command: CommandId) -> Option<u64> {
        self.spent.get(&command).copied()
    }
}

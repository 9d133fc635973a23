//! The state that every node holds alike.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::canonical::Hex32;
use crate::genesis::Genesis;
use crate::list::ballot::{Ballot, BallotState};
use crate::list::command::{BallotId, CommandId};
use crate::list::entry::{Entry, EntryId};
use crate::member::MemberId;
use crate::merkle::MerkleLog;
use crate::record::RecordId;
use crate::timestamp::Timestamp;

/// What an accepted command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A ballot was opened.
    Tabled(BallotId),
    /// A vote stands.
    Voted(BallotId, MemberId),
    /// A ballot was adopted and an entry listed.
    Listed(BallotId, EntryId),
    /// A ballot was rejected.
    Rejected(BallotId),
    /// A ballot was withdrawn.
    Withdrawn(BallotId),
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

/// The list, its ballots and both logs, as every node that applied the same commands holds them.
#[derive(Debug, Clone)]
pub struct ListState {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) list_time: Timestamp,
    pub(crate) attested: BTreeMap<MemberId, Timestamp>,
    pub(crate) ballots: BTreeMap<BallotId, Ballot>,
    /// Ballots in the order of their tabling.
    pub(crate) tabled: Vec<BallotId>,
    pub(crate) open: BTreeMap<MemberId, usize>,
    /// The ballot under which a proposal stands before the members, or was adopted.
    pub(crate) proposals: HashMap<RecordId, BallotId>,
    pub(crate) entries: BTreeMap<EntryId, Entry>,
    pub(crate) numbers: BTreeMap<i16, u32>,
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
    /// The state before any command.
    pub fn new(genesis: Arc<Genesis>) -> Self {
        Self {
            list_time: genesis.document().created,
            genesis,
            attested: BTreeMap::new(),
            ballots: BTreeMap::new(),
            tabled: Vec::new(),
            open: BTreeMap::new(),
            proposals: HashMap::new(),
            entries: BTreeMap::new(),
            numbers: BTreeMap::new(),
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

    /// The latest instant that a majority of the voting members have attested as past.
    pub fn list_time(&self) -> Timestamp {
        self.list_time
    }

    /// What a member's node has attested last.
    pub fn attested(&self, member: MemberId) -> Option<Timestamp> {
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
        self.ballots().filter(|b| b.state == BallotState::Open)
    }

    /// The ballots whose id begins with these hexadecimal digits; at most `limit`.
    pub fn ballots_with_prefix(&self, digits: &str, limit: usize) -> Vec<&Ballot> {
        self.ballots().filter(|b| b.id.to_string().starts_with(digits)).take(limit).collect()
    }

    /// The ballot that a proposal stands under.
    pub fn ballot_of(&self, proposal: RecordId) -> Option<&Ballot> {
        self.proposals.get(&proposal).and_then(|id| self.ballots.get(id))
    }

    /// An entry.
    pub fn entry(&self, id: &EntryId) -> Option<&Entry> {
        self.entries.get(id)
    }

    /// Entries by number, after one.
    pub fn entries_after(&self, after: Option<&EntryId>) -> impl Iterator<Item = &Entry> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |id| Excluded(id.clone()));
        self.entries.range((from, Unbounded)).map(|(_, entry)| entry)
    }

    /// How many entries.
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

    /// How long the public log was when the command log had `commands` leaves.
    pub fn public_size_at(&self, commands: u64) -> u64 {
        self.publications.partition_point(|(leaf, _)| *leaf < commands) as u64
    }

    /// Where an accepted command stands.
    pub fn accepted_at(&self, command: CommandId) -> Option<u64> {
        self.spent.get(&command).copied()
    }
}

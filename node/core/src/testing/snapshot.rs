//! Everything that a list state holds, comparable.

use std::collections::BTreeMap;

use crate::canonical::Hex32;
use crate::list::{Ballot, BallotId, CommandId, Entry, EntryId, ListState};
use crate::member::MemberId;
use crate::record::RecordId;
use crate::timestamp::Timestamp;

/// Everything that a list state holds: two states are the same exactly where their snapshots are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Size, root and leaf hashes of the command log.
    pub commands: (u64, Hex32, Vec<Hex32>),
    /// Size and root of the public log.
    pub public: (u64, Hex32),
    /// Each publication, and the command leaf that caused it.
    pub publications: Vec<(u64, Box<[u8]>)>,
    /// Every ballot.
    pub ballots: BTreeMap<BallotId, Ballot>,
    /// Their order.
    pub tabled: Vec<BallotId>,
    /// How many are open, of those members that have any.
    pub open: BTreeMap<MemberId, usize>,
    /// Which ballot a proposal stands under.
    pub proposals: BTreeMap<RecordId, BallotId>,
    /// Every entry.
    pub entries: BTreeMap<EntryId, Entry>,
    /// The last entry number of each year.
    pub numbers: BTreeMap<i16, u32>,
    /// Spent command ids.
    pub spent: BTreeMap<CommandId, u64>,
    /// Who attested what last.
    pub attested: BTreeMap<MemberId, Timestamp>,
    /// List time.
    pub list_time: Timestamp,
}

impl From<&ListState> for Snapshot {
    fn from(state: &ListState) -> Self {
        Self {
            commands: (state.commands.size(), state.commands.root(), state.leaves.clone()),
            public: (state.public_log.size(), state.public_log.root()),
            publications: state.publications.clone(),
            ballots: state.ballots.clone(),
            tabled: state.tabled.clone(),
            open: state.open.iter().filter(|(_, n)| **n > 0).map(|(m, n)| (*m, *n)).collect(),
            proposals: state.proposals.iter().map(|(p, b)| (*p, *b)).collect(),
            entries: state.entries.clone(),
            numbers: state.numbers.clone(),
            spent: state.spent.iter().map(|(id, leaf)| (*id, *leaf)).collect(),
            attested: state.attested.clone(),
            list_time: state.list_time,
        }
    }
}

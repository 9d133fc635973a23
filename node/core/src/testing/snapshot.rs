//! Everything that a list state holds, comparable.

use std::collections::{BTreeMap, BTreeSet};

use crate::canonical::Hex32;
use crate::list::{Attestation, Ballot, BallotId, CommandId, Entry, EntryId, ListState, MeasureId};
use crate::member::MemberId;
use crate::record::RecordId;
use crate::roster::Standing;
use crate::rule::Rules;
use crate::spiffe::TrustDomain;
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
    /// Which are open, by number.
    pub open: BTreeMap<u64, BallotId>,
    /// How many of each member are open, of those that have any.
    pub open_of: BTreeMap<MemberId, usize>,
    /// When they are next due.
    pub deadlines: BTreeSet<(Timestamp, u64, BallotId)>,
    /// By which ballot a proposal was adopted.
    pub adopted: BTreeMap<RecordId, BallotId>,
    /// Everybody in the roster.
    pub roster: Vec<Standing>,
    /// Every trust domain that there ever was.
    pub domains: BTreeMap<TrustDomain, MemberId>,
    /// The rules, their version, and how often the roster has changed.
    pub rules: (Rules, u32, u64),
    /// On which entry each measure stands.
    pub measures: BTreeMap<(MemberId, MeasureId), EntryId>,
    /// Digests of the texts that were tabled.
    pub digests: BTreeSet<Hex32>,
    /// Every entry.
    pub entries: BTreeMap<EntryId, Entry>,
    /// The last entry number of each year.
    pub numbers: BTreeMap<i16, u32>,
    /// Spent command ids.
    pub spent: BTreeMap<CommandId, u64>,
    /// Who attested what last.
    pub attested: BTreeMap<MemberId, Attestation>,
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
            open: state.open.clone(),
            open_of: state.open_of.iter().filter(|(_, n)| **n > 0).map(|(m, n)| (*m, *n)).collect(),
            deadlines: state.deadlines.clone(),
            adopted: state.adopted.iter().map(|(p, b)| (*p, *b)).collect(),
            roster: state.roster.iter().cloned().collect(),
            domains: state.roster.domains.clone(),
            rules: (*state.roster.rules(), state.rules_version, state.roster.version()),
            measures: state.measures.iter().map(|(key, entry)| (key.clone(), entry.clone())).collect(),
            digests: state.digests.iter().copied().collect(),
            entries: state.entries.clone(),
            numbers: state.numbers.clone(),
            spent: state.spent.iter().map(|(id, leaf)| (*id, *leaf)).collect(),
            attested: state.attested.clone(),
            list_time: state.list_time,
        }
    }
}

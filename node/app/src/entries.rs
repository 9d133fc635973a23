//! The agreed list: entries, and how far it is agreed.

use comity_consensus::cosign::Agreed;
use comity_core::genesis::Genesis;
use comity_core::list::{Entry, EntryId};
use comity_core::proposal::PublicPart;
use comity_core::{MemberId, Timestamp};

use crate::error::AppError;
use crate::node::Node;

/// How long ago a majority may have answered a leader that still counts as one, in milliseconds.
const QUORUM_AGE_MAX_MS: u64 = 5_000;

/// An entry, its text and whether it is agreed.
#[derive(Debug, Clone)]
pub struct EntryView {
    /// The entry.
    pub entry: Entry,
    /// Its text, exactly; empty where it was erased.
    pub text: Vec<u8>,
    /// Its text, read.
    pub public_part: Option<PublicPart>,
    /// Where silence listed it: who took notice and said nothing.
    pub silent: Vec<MemberId>,
    /// Where silence listed it: who had not taken notice, and was not counted.
    pub absent: Vec<MemberId>,
    /// Whether enough members have cosigned a position that holds it as it is now.
    pub agreed: bool,
}

/// How the list stands.
#[derive(Debug, Clone)]
pub struct ListView {
    /// Accepted commands that this node has applied.
    pub commands: u64,
    /// Publications that this node has applied.
    pub publications: u64,
    /// How many commands are agreed.
    pub agreed_commands: u64,
    /// How many publications are agreed.
    pub agreed_publications: u64,
    /// Who cosigned that position.
    pub cosigners: Vec<MemberId>,
    /// Those who voted at that position and did not.
    pub cosigners_missing: Vec<MemberId>,
    /// How many must.
    pub cosigners_needed: usize,
    /// List time.
    pub list_time: Timestamp,
    /// The rules version that is in force.
    pub rules_version: u32,
    /// Who leads.
    pub leader: Option<MemberId>,
    /// Raft's term.
    pub term: u64,
    /// Two roots of one size were seen.
    pub fork_alarm: bool,
}

impl Node {
    pub(crate) fn agreed(&self) -> Option<Agreed> {
        self.cosigner.agreed().borrow().clone()
    }

    /// How the list stands.
    pub fn list_view(&self) -> ListView {
        let agreed = self.agreed();
        let status = self.consensus.status();
        let agreed_commands = agreed.as_ref().map_or(0, |a| a.heads.commands.checkpoint.size);
        let (commands, publications, list_time, rules_version, alone, voters) = self.consensus.read(|list| {
            let voters = std::sync::Arc::clone(list.roster().voters_at(agreed_commands));
            let alone = list.roster().voters().len() == 1;
            let (commands, publications) = (list.commands().size(), list.public_log().size());
            (commands, publications, list.list_time(), list.rules_version(), alone, voters)
        });
        // A leader that is cut off goes on thinking that it leads: what counts is when a majority last answered it.
        let cut_off = status.quorum_age_ms.is_some_and(|age| age > QUORUM_AGE_MAX_MS) && !alone;
        let leader = status.leader.filter(|leader| *leader != self.member() || !cut_off);
        let cosigners = agreed.as_ref().map(|a| a.cosigners.clone()).unwrap_or_default();
        ListView {
            commands,
            publications,
            agreed_commands,
            agreed_publications: agreed.as_ref().map_or(0, |a| a.heads.public.checkpoint.size),
            cosigners_missing: voters.keys().copied().filter(|voter| !cosigners.contains(voter)).collect(),
            cosigners_needed: Genesis::cosigners_needed(voters.len()),
            cosigners,
            list_time,
            rules_version,
            leader,
            term: status.term,
            fork_alarm: self.cosigner.fork_alarm(),
        }
    }

    /// How many entries are on the list.
    pub fn listed_count(&self) -> u64 {
        self.consensus.read(|list| list.entries_after(None).filter(|entry| entry.is_listed()).count() as u64)
    }

    /// One entry.
    ///
    /// # Errors
    /// There is none.
    pub async fn entry(&self, id: &EntryId) -> Result<EntryView, AppError> {
        let entry = self.consensus.read(|list| list.entry(id).cloned()).ok_or(AppError::NotFound("entry"))?;
        self.entry_view(entry).await
    }

    /// Entries by number, after one; those that left the list among them, or not.
    ///
    /// # Errors
    /// The list's storage cannot be read.
    pub async fn entries(&self, after: Option<EntryId>, all: bool, limit: usize) -> Result<Vec<EntryView>, AppError> {
        let entries: Vec<Entry> = self.consensus.read(|list| {
            let entries = list.entries_after(after.as_ref()).filter(|entry| all || entry.is_listed());
            entries.take(limit).cloned().collect()
        });
        let mut views = Vec::with_capacity(entries.len());
        for entry in entries {
            views.push(self.entry_view(entry).await?);
        }
        Ok(views)
    }

    async fn entry_view(&self, entry: Entry) -> Result<EntryView, AppError> {
        let text = self.public_bytes(entry.public_part).await?;
        let last = entry.history.last().copied().unwrap_or(entry.public_leaf);
        // INVARIANT: an entry is shown as agreed only where a cosigned position holds it as it is shown.
        let agreed = last < self.agreed_publications();
        let (silent, absent) = self
            .consensus
            .read(|list| {
                let ballot = list.ballot(&entry.ballot);
                let silence = ballot.and_then(|ballot| Some((ballot.electorate.iter().copied(), ballot.silence()?)));
                let (electorate, silence) = silence?;
                let quiet = electorate.filter(|member| !entry.consents.contains(member));
                Some(quiet.partition(|member| silence.acknowledged.contains_key(member)))
            })
            .unwrap_or_default();
        Ok(EntryView { public_part: PublicPart::from_json(&text).ok(), text, silent, absent, agreed, entry })
    }
}

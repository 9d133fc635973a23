//! The agreed list: entries, how far it is agreed, and the export that proves itself.

use comity_consensus::cosign::Agreed;
use comity_core::export::{ExportedCommands, ExportedPublication, ExportedText, ListExport};
use comity_core::list::{Ballot, Choice, Entry, EntryId};
use comity_core::proposal::PublicPart;
use comity_core::{MemberId, Timestamp};

use crate::error::{AppError, InternalError};
use crate::node::Node;

/// How long ago a majority may have answered a leader that still counts as one, in milliseconds.
const QUORUM_AGE_MAX_MS: u64 = 5_000;

/// An entry, its text and whether it is agreed.
#[derive(Debug, Clone)]
pub struct EntryView {
    /// The entry.
    pub entry: Entry,
    /// Its text, exactly.
    pub text: Vec<u8>,
    /// Its text, read.
    pub public_part: Option<PublicPart>,
    /// Whether enough members have cosigned a position that holds it.
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
    /// How many must.
    pub cosigners_needed: usize,
    /// List time.
    pub list_time: Timestamp,
    /// Who leads.
    pub leader: Option<MemberId>,
    /// Raft's term.
    pub term: u64,
    /// Two roots of one size were seen.
    pub fork_alarm: bool,
}

impl Node {
    fn agreed(&self) -> Option<Agreed> {
        self.cosigner.agreed().borrow().clone()
    }

    /// How the list stands.
    pub fn list_view(&self) -> ListView {
        let agreed = self.agreed();
        let status = self.consensus.status();
        // A leader that is cut off goes on thinking that it leads: what counts is when a majority last answered it.
        let alone = self.genesis.voters().count() == 1;
        let cut_off = status.quorum_age_ms.is_some_and(|age| age > QUORUM_AGE_MAX_MS) && !alone;
        let leader = status.leader.filter(|leader| *leader != self.member() || !cut_off);
        let (commands, publications, list_time) =
            self.consensus.read(|list| (list.commands().size(), list.public_log().size(), list.list_time()));
        ListView {
            commands,
            publications,
            agreed_commands: agreed.as_ref().map_or(0, |a| a.heads.commands.checkpoint.size),
            agreed_publications: agreed.as_ref().map_or(0, |a| a.heads.public.checkpoint.size),
            cosigners: agreed.map(|a| a.cosigners).unwrap_or_default(),
            cosigners_needed: comity_core::genesis::Genesis::cosigners_needed(self.genesis.voters().count()),
            list_time,
            leader,
            term: status.term,
            fork_alarm: self.cosigner.fork_alarm(),
        }
    }

    /// One entry.
    ///
    /// # Errors
    /// There is none.
    pub async fn entry(&self, id: &EntryId) -> Result<EntryView, AppError> {
        let entry = self.consensus.read(|list| list.entry(id).cloned()).ok_or(AppError::NotFound("entry"))?;
        self.entry_view(entry).await
    }

    /// Entries by number, after one.
    ///
    /// # Errors
    /// The list's storage cannot be read.
    pub async fn entries(&self, after: Option<EntryId>, limit: usize) -> Result<Vec<EntryView>, AppError> {
        let entries: Vec<Entry> =
            self.consensus.read(|list| list.entries_after(after.as_ref()).take(limit).cloned().collect());
        let mut views = Vec::with_capacity(entries.len());
        for entry in entries {
            views.push(self.entry_view(entry).await?);
        }
        Ok(views)
    }

    async fn entry_view(&self, entry: Entry) -> Result<EntryView, AppError> {
        let text = self.public_bytes(entry.public_part).await?;
        // INVARIANT: an entry is shown as agreed only where a cosigned position holds it.
        let agreed = self.agreed().is_some_and(|a| entry.public_leaf < a.heads.public.checkpoint.size);
        Ok(EntryView { public_part: PublicPart::from_json(&text).ok(), text, agreed, entry })
    }

    /// The agreed list as a file that proves itself; with the whole command log at the members' depth.
    ///
    /// # Errors
    /// Nothing is agreed yet, or the list's storage cannot be read.
    pub async fn export_list(&self, include_commands: bool) -> Result<Vec<u8>, AppError> {
        let agreed = self.agreed().ok_or_else(|| AppError::Precondition {
            reason: "NOTHING_AGREED",
            problem: "no position of the list is agreed yet: see `comity list status`".into(),
        })?;
        let size = agreed.heads.public.checkpoint.size;
        let mut publications = Vec::new();
        for leaf in 0..size {
            publications.push(self.exported(leaf).await?);
        }
        let commands = if include_commands {
            let mut envelopes = Vec::new();
            for leaf in 0..agreed.heads.commands.checkpoint.size {
                envelopes.push(self.envelope(leaf).await?);
            }
            Some(ExportedCommands { checkpoint: note(&agreed.heads.commands.to_bytes()), envelopes })
        } else {
            None
        };
        let export = ListExport {
            format: ListExport::FORMAT.into(),
            federation: self.genesis.federation(),
            checkpoint: note(&agreed.heads.public.to_bytes()),
            publications,
            commands,
        };
        Ok(export.to_bytes())
    }

    async fn exported(&self, leaf: u64) -> Result<ExportedPublication, AppError> {
        let missing = |what| InternalError::Corrupt { what, problem: format!("publication {leaf} has none") };
        let (bytes, ballot): (Vec<u8>, Ballot) = self
            .consensus
            .read(|list| {
                let bytes = list.publication(leaf)?.to_vec();
                let publication: comity_core::list::Publication = comity_core::canonical::from_slice(&bytes).ok()?;
                Some((bytes, list.ballot(&publication.ballot)?.clone()))
            })
            .ok_or_else(|| missing("ballot"))?;
        let text = self.consensus.public_text(ballot.public_part).await.map_err(InternalError::List)?;
        let text = text.ok_or_else(|| missing("text"))?;
        let mut votes = Vec::new();
        for vote in ballot.votes.values().filter(|v| v.choice == Choice::Yes) {
            votes.push(self.envelope(vote.leaf).await?);
        }
        Ok(ExportedPublication {
            leaf: note(&bytes),
            public_part: ExportedText::from(&text),
            tabled_by: self.envelope(ballot.leaf).await?,
            votes,
        })
    }

    async fn envelope(&self, leaf: u64) -> Result<String, AppError> {
        let envelope = self.consensus.envelope(leaf).await.map_err(InternalError::List)?;
        let missing = || InternalError::Corrupt { what: "command", problem: format!("leaf {leaf} is missing") };
        Ok(note(&envelope.ok_or_else(missing)?))
    }
}

fn note(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

//! The list as a file that proves itself: `comity list export` writes it, anybody with the genesis verifies it offline.
//!
//! At the public depth it holds the public log, the texts, the tabling commands and the votes that consented, and a
//! checkpoint with its cosignatures. At the members' depth it holds the whole command log besides, to be replayed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::canonical::{self, Hex32, InvalidJson};
use crate::checkpoint::{InvalidCheckpoint, SignedCheckpoint};
use crate::genesis::Genesis;
use crate::list::{
    BallotId, Choice, Command, EntryId, ListState, PublicText, Publication, Refusal, check_accepted, public_part_digest,
};
use crate::member::MemberId;
use crate::merkle;
use crate::proposal::PublicPart;
use crate::timestamp::Timestamp;
use crate::violation::Violations;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListExport {
    /// [`ListExport::FORMAT`].
    pub format: String,
    /// Which federation.
    pub federation: Hex32,
    /// The public log's checkpoint, a signed note with the members' cosignatures.
    pub checkpoint: String,
    /// Every leaf of the public log up to the checkpoint.
    pub publications: Vec<ExportedPublication>,
    /// The command log, at the members' depth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<ExportedCommands>,
}

/// One leaf of the public log and what it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedPublication {
    /// The leaf, exactly.
    pub leaf: String,
    /// The entry's text.
    pub public_part: ExportedText,
    /// The envelope that tabled it.
    pub tabled_by: String,
    /// The envelopes of the votes that consented, in the order of the leaf's consents.
    pub votes: Vec<String>,
}

/// A text and the salt of its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedText {
    /// The salt.
    pub salt: Hex32,
    /// The public part, exactly.
    pub text: String,
}

impl From<&PublicText> for ExportedText {
    fn from(text: &PublicText) -> Self {
        Self { salt: text.salt, text: String::from_utf8_lossy(&text.bytes).into_owned() }
    }
}

/// The command log up to its own checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedCommands {
    /// The command log's checkpoint, with the members' cosignatures.
    pub checkpoint: String,
    /// Every accepted envelope, in order.
    pub envelopes: Vec<String>,
}

/// What an export proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedList {
    /// How long the public log is.
    pub size: u64,
    /// Its root.
    pub root: Hex32,
    /// Who cosigned it.
    pub cosigners: Vec<MemberId>,
    /// The latest time that a cosigner claims to have signed at, in seconds since the epoch.
    pub latest_cosignature_seconds: u64,
    /// How many commands were replayed; nothing at the public depth.
    pub replayed: Option<u64>,
    /// The entries.
    pub entries: Vec<VerifiedEntry>,
}

/// An entry that proved itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedEntry {
    /// Its number.
    pub id: EntryId,
    /// Who proposed it.
    pub proposer: MemberId,
    /// Who consented.
    pub consents: Vec<MemberId>,
    /// When, in list time.
    pub list_time: Timestamp,
    /// Its text.
    pub public_part: PublicPart,
}

/// Why an export does not prove what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnprovenExport {
    /// Not an export.
    #[error("not a list export: {0}")]
    Json(#[from] InvalidJson),
    /// Another version of the format.
    #[error("format `{0}`: this software reads {expected}", expected = ListExport::FORMAT)]
    Format(String),
    /// Another federation's.
    #[error("the export is of federation {found}; the genesis is {expected}")]
    OtherFederation {
        /// What it says.
        found: Hex32,
        /// What the genesis is.
        expected: Hex32,
    },
    /// The checkpoint is not as it must be.
    #[error("checkpoint: {0}")]
    Checkpoint(#[from] InvalidCheckpoint),
    /// Too few members cosigned.
    #[error(
        "{log} log: {found} of the members cosigned this checkpoint, {needed} are needed: the position is not agreed"
    )]
    NotAgreed {
        /// `public` or `command`.
        log: &'static str,
        /// How many did.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// The leaves are not those of the checkpoint.
    #[error("{log} log: the {leaves} leaves of the file have root {found}, the checkpoint says {size} and {expected}")]
    Root {
        /// `public` or `command`.
        log: &'static str,
        /// How many leaves the file has.
        leaves: u64,
        /// Their root.
        found: Hex32,
        /// The checkpoint's size.
        size: u64,
        /// The checkpoint's root.
        expected: Hex32,
    },
    /// A publication does not stand on what it names.
    #[error("publication {leaf}{entry}: {problem}", entry = .entry.as_ref().map(|e| format!(" ({e})")).unwrap_or_default())]
    Publication {
        /// Which leaf.
        leaf: u64,
        /// Which entry, where the leaf can be read.
        entry: Option<EntryId>,
        /// What is wrong.
        problem: String,
    },
    /// A command of the log is one that no node accepts.
    #[error("command {leaf}: {refusal}")]
    Command {
        /// Which leaf.
        leaf: u64,
        /// Why.
        refusal: Refusal,
    },
    /// The publications are not those that the commands lead to.
    #[error("the commands, replayed, do not lead to the publications of the file")]
    Replay,
}

impl ListExport {
    /// The format that this software writes and reads.
    pub const FORMAT: &'static str = "comity-list-export/1";

    /// Writes the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        canonical::to_vec(self)
    }

    /// Verifies a file against the genesis alone.
    ///
    /// # Errors
    /// The first thing that does not hold.
    pub fn verify(bytes: &[u8], genesis: &Arc<Genesis>) -> Result<VerifiedList, UnprovenExport> {
        let export: Self = canonical::from_slice(bytes)?;
        if export.format != Self::FORMAT {
            return Err(UnprovenExport::Format(export.format));
        }
        if export.federation != genesis.federation() {
            let (found, expected) = (export.federation, genesis.federation());
            return Err(UnprovenExport::OtherFederation { found, expected });
        }
        let origin = genesis.public_log_origin();
        let (note, cosigners, latest) = verify_note(&export.checkpoint, &origin, genesis, "public")?;
        let leaves = export.publications.iter().map(|p| Publication::leaf_hash(p.leaf.as_bytes()));
        check_root("public", leaves, &note)?;
        let mut entries = Vec::with_capacity(export.publications.len());
        let mut sequence = Sequence::new(genesis);
        for (exported, leaf) in export.publications.iter().zip(0..) {
            let (entry, ballot) = verify_publication(exported, leaf, genesis)?;
            if let Err(problem) = sequence.follow(&entry, ballot) {
                return Err(UnprovenExport::Publication { leaf, entry: Some(entry.id), problem });
            }
            entries.push(entry);
        }
        let replayed = export.commands.as_ref().map(|c| replay(c, &export, genesis)).transpose()?;
        Ok(VerifiedList {
            size: note.checkpoint.size,
            root: note.checkpoint.root,
            cosigners,
            latest_cosignature_seconds: latest,
            replayed,
            entries,
        })
    }
}

fn verify_note(
    text: &str,
    origin: &str,
    genesis: &Genesis,
    log: &'static str,
) -> Result<(SignedCheckpoint, Vec<MemberId>, u64), UnprovenExport> {
    let note = SignedCheckpoint::from_bytes(text.as_bytes())?;
    if note.checkpoint.origin != origin {
        let (found, expected) = (note.checkpoint.origin.clone(), origin.to_owned());
        return Err(InvalidCheckpoint::OtherOrigin { found, expected }.into());
    }
    let (cosigners, latest) = cosigners_of(&note, genesis)?;
    let needed = Genesis::cosigners_needed(genesis.voters().count());
    if cosigners.len() < needed {
        return Err(UnprovenExport::NotAgreed { log, found: cosigners.len(), needed });
    }
    Ok((note, cosigners, latest))
}

/// The voting members whose cosignatures a note carries, all verified, and the latest second that one of them claims.
///
/// # Errors
/// A cosignature under a member's name does not verify.
pub fn cosigners_of(note: &SignedCheckpoint, genesis: &Genesis) -> Result<(Vec<MemberId>, u64), InvalidCheckpoint> {
    let (mut cosigners, mut latest) = (Vec::new(), 0);
    for member in genesis.voters() {
        match note.verify_cosigner(&Genesis::cosigner_name(member), &member.node_key.0) {
            Ok(seconds) => {
                cosigners.push(member.member);
                latest = latest.max(seconds);
            }
            Err(InvalidCheckpoint::Unsigned(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((cosigners, latest))
}

fn check_root(
    log: &'static str,
    leaves: impl ExactSizeIterator<Item = Hex32>,
    note: &SignedCheckpoint,
) -> Result<(), UnprovenExport> {
    let count = leaves.len() as u64;
    let found = merkle::root_of(leaves);
    let (size, expected) = (note.checkpoint.size, note.checkpoint.root);
    if count == size && found == expected {
        Ok(())
    } else {
        Err(UnprovenExport::Root { log, leaves: count, found, size, expected })
    }
}

fn verify_publication(
    exported: &ExportedPublication,
    leaf: u64,
    genesis: &Genesis,
) -> Result<(VerifiedEntry, BallotId), UnprovenExport> {
    let publication: Publication = canonical::from_slice(exported.leaf.as_bytes())
        .map_err(|e| UnprovenExport::Publication { leaf, entry: None, problem: e.to_string() })?;
    let fail = |problem: String| UnprovenExport::Publication { leaf, entry: Some(publication.entry.clone()), problem };
    let text = &exported.public_part;
    if public_part_digest(text.salt, text.text.as_bytes()) != publication.public_part {
        return Err(fail("the text is not the one that was agreed".into()));
    }
    let public_part = PublicPart::from_json(text.text.as_bytes()).map_err(|e: Violations| fail(e.to_string()))?;
    let tabled = check_accepted(genesis, exported.tabled_by.as_bytes()).map_err(|e| fail(format!("tabling: {e}")))?;
    let Command::Table(table) = tabled.command() else {
        return Err(fail("it was not tabled by the command that it names".into()));
    };
    let names_it = tabled.payload_hash() == publication.ballot
        && table.public_part == publication.public_part
        && table.member == publication.proposer;
    if !names_it {
        return Err(fail("the tabling command is of another ballot or text".into()));
    }
    if exported.votes.len() != publication.consents.len() {
        return Err(fail(format!("{} votes for {} consents", exported.votes.len(), publication.consents.len())));
    }
    let mut consents = BTreeSet::new();
    for (envelope, consent) in exported.votes.iter().zip(&publication.consents) {
        let vote = check_accepted(genesis, envelope.as_bytes()).map_err(|e| fail(format!("vote: {e}")))?;
        let Command::Vote(cast) = vote.command() else {
            return Err(fail(format!("the consent of {} is no vote", consent.member)));
        };
        let stands = vote.leaf_hash() == consent.vote
            && cast.member == consent.member
            && cast.ballot == publication.ballot
            && cast.choice == Choice::Yes;
        if !stands || !consents.insert(cast.member) {
            return Err(fail(format!("the vote of {} is not a consent to this entry", consent.member)));
        }
    }
    let needed = genesis.document().listing_rule.needed(genesis.voters().count());
    if consents.len() < needed {
        return Err(fail(format!("{} consents, {needed} are needed", consents.len())));
    }
    let entry = VerifiedEntry {
        id: publication.entry,
        proposer: publication.proposer,
        consents: consents.into_iter().collect(),
        list_time: publication.list_time,
        public_part,
    };
    Ok((entry, publication.ballot))
}

/// What one publication must be after those before it: time does not go back, numbers of a year are dense, and a ballot
/// is published once.
struct Sequence<'a> {
    genesis: &'a Genesis,
    list_time: Timestamp,
    numbers: BTreeMap<i16, u32>,
    ballots: BTreeSet<BallotId>,
}

impl<'a> Sequence<'a> {
    fn new(genesis: &'a Genesis) -> Self {
        let list_time = genesis.document().created;
        Self { genesis, list_time, numbers: BTreeMap::new(), ballots: BTreeSet::new() }
    }

    fn follow(&mut self, entry: &VerifiedEntry, ballot: BallotId) -> Result<(), String> {
        if entry.list_time < self.list_time {
            return Err(format!("it is dated {}, before {}", entry.list_time, self.list_time));
        }
        if !self.ballots.insert(ballot) {
            return Err(format!("ballot {ballot} was published before"));
        }
        let year = entry.list_time.year();
        let number = self.numbers.entry(year).or_default();
        *number = number.saturating_add(1);
        let expected = EntryId::new(&self.genesis.document().entry_prefix, year, *number);
        if entry.id != expected {
            return Err(format!("the next number is {expected}"));
        }
        self.list_time = entry.list_time;
        Ok(())
    }
}

fn replay(commands: &ExportedCommands, export: &ListExport, genesis: &Arc<Genesis>) -> Result<u64, UnprovenExport> {
    let (note, _, _) = verify_note(&commands.checkpoint, &genesis.command_log_origin(), genesis, "command")?;
    let leaves = commands.envelopes.iter().map(|e| merkle::leaf_hash(e.as_bytes()));
    check_root("command", leaves, &note)?;
    let mut state = ListState::new(Arc::clone(genesis));
    for (envelope, leaf) in commands.envelopes.iter().zip(0..) {
        let accepted = check_accepted(genesis, envelope.as_bytes()).and_then(|checked| state.apply_checked(&checked));
        let accepted = accepted.map_err(|refusal| UnprovenExport::Command { leaf, refusal })?;
        if accepted.repeated {
            return Err(UnprovenExport::Command { leaf, refusal: Refusal::CommandIdSpent(accepted.command) });
        }
    }
    let same = state.public_log().size() == export.publications.len() as u64
        && (0..).zip(&export.publications).all(|(n, p)| state.publication(n) == Some(p.leaf.as_bytes()));
    if same { Ok(commands.envelopes.len() as u64) } else { Err(UnprovenExport::Replay) }
}

#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;

//! The list as a file that proves itself: `comity list export` writes it, anybody with the genesis verifies it offline.
//!
//! At the public depth it holds the public log, the texts, the commands that each publication stands on, and a checkpoint with
//! its cosignatures. At the members' depth it holds the whole command log besides, to be replayed.

mod authority;
mod entries;
mod public_roster;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::authority::Proof;
pub use self::entries::{PublicEntry, PublicList, PublishedStatus};
use self::public_roster::PublicRoster;
use crate::access::LogRoster;
use crate::canonical::{self, Hex32, InvalidJson};
use crate::checkpoint::{InvalidCheckpoint, SignedCheckpoint};
use crate::genesis::Genesis;
use crate::list::{EntryId, ListState, PublicText, Publication, Refusal, check_accepted};
use crate::member::MemberId;
use crate::merkle;
use crate::roster::Voters;

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
    /// The text that was decided on. Not there where one member acted on its own authority, nor where the listing was annulled
    /// since and its text erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<ExportedText>,
    /// The envelopes that it stands on, each with the member's own signature alone: the tabling, then the commands of the
    /// leaf's consents and of those who were silent, in the leaf's order; or the one command of a member that acted alone.
    pub evidence: Vec<String>,
}

/// A text and the salt of its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedText {
    /// The salt.
    pub salt: Hex32,
    /// The text, exactly: a public part, or a statement.
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
    /// The entries, and every publication about them.
    pub list: PublicList,
    /// Who votes at that position.
    pub voters: Vec<MemberId>,
    /// How many of them must cosign.
    pub cosigners_needed: usize,
    /// Who signs and cosigns access logs at that position.
    pub logs: LogRoster,
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
    /// A file without its commands leads to no state.
    #[error("the file holds no commands: export it with --commands")]
    PublicDepth,
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
        let note = read_note(&export.checkpoint, &genesis.public_log_origin())?;
        let leaves = export.publications.iter().map(|p| Publication::leaf_hash(p.leaf.as_bytes()));
        check_root("public", leaves, &note)?;
        let (list, roster) = follow(&export.publications, genesis)?;
        let voters = roster.voters();
        let (cosigners, latest) = agreed(&note, &voters, "public")?;
        let replayed = export.commands.as_ref().map(|c| replay(c, &export, genesis)).transpose()?;
        Ok(VerifiedList {
            size: note.checkpoint.size,
            root: note.checkpoint.root,
            cosigners,
            latest_cosignature_seconds: latest,
            replayed,
            list,
            cosigners_needed: Genesis::cosigners_needed(voters.len()),
            voters: voters.into_keys().collect(),
            logs: roster.logs(),
        })
    }

    /// The state that the command log of a file at the members' depth leads to, verified as [`ListExport::verify`] does: what
    /// a member that was away, or is new, begins with.
    ///
    /// # Errors
    /// As [`ListExport::verify`]; and a file at the public depth leads to no state.
    pub fn replay(bytes: &[u8], genesis: &Arc<Genesis>) -> Result<(ListState, Vec<String>), UnprovenExport> {
        Self::verify(bytes, genesis)?;
        let export: Self = canonical::from_slice(bytes)?;
        let commands = export.commands.ok_or(UnprovenExport::PublicDepth)?;
        Ok((replayed_state(&commands, genesis)?, commands.envelopes))
    }
}

/// Every publication stands on what it names and follows from those before it.
fn follow(
    publications: &[ExportedPublication],
    genesis: &Genesis,
) -> Result<(PublicList, PublicRoster), UnprovenExport> {
    let mut list = PublicList::new(genesis);
    let mut roster = PublicRoster::new(genesis);
    for (exported, leaf) in publications.iter().zip(0..) {
        let publication = Publication::from_bytes(exported.leaf.as_bytes())
            .map_err(|e| UnprovenExport::Publication { leaf, entry: None, problem: e.to_string() })?;
        let fail = |problem| UnprovenExport::Publication { leaf, entry: publication.event.entry().cloned(), problem };
        let proof = Proof { federation: genesis.federation(), roster: &roster, list: &list };
        proof.check(&publication, exported).map_err(fail)?;
        list.follow(leaf, &publication, exported.text.as_ref()).map_err(fail)?;
        roster.follow(&publication.event);
    }
    list.check_erased().map_err(|(leaf, entry)| UnprovenExport::Publication {
        leaf,
        entry: Some(entry),
        problem: "its text is missing, and the entry was not annulled".into(),
    })?;
    Ok((list, roster))
}

fn read_note(text: &str, origin: &str) -> Result<SignedCheckpoint, UnprovenExport> {
    let note = SignedCheckpoint::from_bytes(text.as_bytes())?;
    if note.checkpoint.origin != origin {
        let (found, expected) = (note.checkpoint.origin.clone(), origin.to_owned());
        return Err(InvalidCheckpoint::OtherOrigin { found, expected }.into());
    }
    Ok(note)
}

/// Whether enough of the voters cosigned; who, and the latest second that one of them claims.
fn agreed(note: &SignedCheckpoint, voters: &Voters, log: &'static str) -> Result<(Vec<MemberId>, u64), UnprovenExport> {
    let (cosigners, latest) = cosigners_of(note, voters)?;
    let needed = Genesis::cosigners_needed(voters.len());
    if cosigners.len() < needed {
        return Err(UnprovenExport::NotAgreed { log, found: cosigners.len(), needed });
    }
    Ok((cosigners, latest))
}

/// The voters whose cosignatures a note carries, all verified, and the latest second that one of them claims. The voters are
/// those of the position that the note is about.
///
/// # Errors
/// A cosignature under a member's name does not verify.
pub fn cosigners_of(note: &SignedCheckpoint, voters: &Voters) -> Result<(Vec<MemberId>, u64), InvalidCheckpoint> {
    let (mut cosigners, mut latest) = (Vec::new(), 0);
    for (member, voter) in voters {
        // A key that was revoked cosigns nothing.
        let Some(key) = voter.node_key else { continue };
        match note.verify_cosigner(&Genesis::cosigner_name(&voter.trust_domain), &key.0) {
            Ok(seconds) => {
                cosigners.push(*member);
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

fn replay(commands: &ExportedCommands, export: &ListExport, genesis: &Arc<Genesis>) -> Result<u64, UnprovenExport> {
    let note = read_note(&commands.checkpoint, &genesis.command_log_origin())?;
    let leaves = commands.envelopes.iter().map(|e| merkle::leaf_hash(e.as_bytes()));
    check_root("command", leaves, &note)?;
    let state = replayed_state(commands, genesis)?;
    agreed(&note, state.roster().voters(), "command")?;
    let same = state.public_log().size() == export.publications.len() as u64
        && (0..).zip(&export.publications).all(|(n, p)| state.publication(n) == Some(p.leaf.as_bytes()));
    if same { Ok(commands.envelopes.len() as u64) } else { Err(UnprovenExport::Replay) }
}

fn replayed_state(commands: &ExportedCommands, genesis: &Arc<Genesis>) -> Result<ListState, UnprovenExport> {
    let mut state = ListState::new(Arc::clone(genesis));
    for (envelope, leaf) in commands.envelopes.iter().zip(0..) {
        let checked = check_accepted(genesis.federation(), envelope.as_bytes());
        let accepted = checked.and_then(|checked| state.apply_checked(&checked));
        let accepted = accepted.map_err(|refusal| UnprovenExport::Command { leaf, refusal })?;
        if accepted.repeated {
            return Err(UnprovenExport::Command { leaf, refusal: Refusal::CommandIdSpent(accepted.command) });
        }
    }
    Ok(state)
}

#[cfg(test)]
mod every_event_tests;
#[cfg(test)]
#[path = "export_tests.rs"]
mod tests;

//! `comity audit verify`.

use std::path::{Path, PathBuf};

use comity_core::access::AccessLeaf;
use comity_core::canonical::Hex32;
use comity_core::checkpoint::SignedCheckpoint;
use comity_proto::v1;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::checkpoint::{Remembered, fetch, read};
use super::proof::{LogProof, Older, Tampering};
use super::trust::of_node;
use crate::connection::Node;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::Page;
use crate::refusal::Asked;
use crate::session::Session;

/// How many leaves are asked for at once.
const PAGE_LEAVES: i32 = 1_000;

pub(crate) async fn run(session: &mut Session<'_>, against: &[PathBuf], save: Option<&Path>) -> Result<(), Failure> {
    let node = session.node().await?;
    let remembered = Remembered::for_node(session, &node)?;
    // The files first: a checkpoint that cannot be read must not cost a walk over the whole log.
    let mut older = Vec::new();
    for path in against {
        older.push(older_from(path.display().to_string(), read(path, &node)?));
    }
    if let Some(note) = remembered.read(&node)? {
        older.push(older_from(format!("the checkpoint last verified here ({})", remembered.path().display()), note));
    }
    let (note, faults) = fetch(&node).await?;
    if let Some(other) = older.iter().find(|older| older.checkpoint.origin != note.checkpoint.origin) {
        let message = format!(
            "access log: NOT PROVEN: the node now signs for {}; {} is of {}: the log was begun anew, and what was lost is told by its \
             first leaf",
            note.checkpoint.origin, other.source, other.checkpoint.origin
        );
        return Err(Failure::new(Exit::VerificationFailed, message)
            .next("comity audit prove 0, and ask the node's administrator"));
    }
    let archived = prove(session, &node, &note, older.clone()).await.map_err(|unproven| match unproven {
        Unproven::Tampering(tampering) => tampered(tampering, !against.is_empty()),
        Unproven::Failure(failure) => failure,
    })?;
    // The leaves hold; what they are searched by may have been changed beside them, and then `audit log` hides things.
    if let Some(first) = faults.first() {
        let message = format!(
            "access log: NOT PROVEN: INDEX: the leaves are as signed, but {first}: searches miss or misplace records"
        );
        return Err(Failure::new(Exit::VerificationFailed, message).next("comity audit log, without filters"));
    }
    remembered.write(&note)?;
    if let Some(path) = save {
        session.write_new(path, &note.to_bytes(), false)?;
    }
    let attested = of_node(&node).roster.attest(&note).map_err(|problem| {
        Failure::new(Exit::VerificationFailed, format!("access log: NOT PROVEN: the node's checkpoint: {problem}"))
            .next("comity audit witnesses")
    })?;
    let view = VerifiedView {
        proven: true,
        origin: note.checkpoint.origin.clone(),
        size: note.checkpoint.size,
        archived,
        cosigners: attested.cosigners.iter().map(|(member, _)| member.to_string()).collect(),
        cosigners_needed: attested.needed,
        root: note.checkpoint.root.to_string(),
        against: older.iter().map(|o| AgainstView { source: o.source.clone(), size: o.checkpoint.size }).collect(),
    };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(match view.archived {
            0 => "PROVEN: the access log is whole and unchanged",
            _ => {
                "PROVEN as far as it is here: nothing was changed, and what is archived is to be verified in its files"
            }
        });
        page.field("log", &view.origin);
        page.field("leaves", format!("{}, each hashed here", view.size - view.archived));
        if view.archived > 0 {
            page.field(
                "archived",
                format!(
                    "{} more by their hashes alone: comity audit verify on the files that comity audit segments names",
                    view.archived
                ),
            );
        }
        page.field("root", &view.root);
        page.field("signed by", format!("the node key of {}", node.member()));
        let cosigners = if view.cosigners.is_empty() { "nobody yet".to_owned() } else { view.cosigners.join(", ") };
        page.field("cosigned by", format!("{cosigners} ({} are needed where it is exported)", view.cosigners_needed));
        page.fields("continues", view.against.iter().map(|o| format!("{} at {} leaves", o.source, o.size)));
        page.finish()
    })?;
    if older.is_empty() {
        session.output.note("this was the first time here: what happened before it is not covered against a rewrite. The checkpoint is remembered.");
    }
    Ok(())
}

fn older_from(source: String, note: SignedCheckpoint) -> Older {
    Older { source, checkpoint: note.checkpoint }
}

enum Unproven {
    Tampering(Tampering),
    Failure(Failure),
}

impl From<Tampering> for Unproven {
    fn from(tampering: Tampering) -> Self {
        Self::Tampering(tampering)
    }
}

impl From<Failure> for Unproven {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

async fn prove(
    session: &Session<'_>,
    node: &Node,
    note: &SignedCheckpoint,
    older: Vec<Older>,
) -> Result<u64, Unproven> {
    let mut proof = LogProof::new(note.checkpoint.clone(), older)?;
    let asked = Asked::about("access log", "comity node status");
    let mut client = node.audit();
    let bar = progress(session, note.checkpoint.size);
    while let Some(first) = proof.wanted() {
        let request = v1::ReadAccessLeavesRequest { first, limit: PAGE_LEAVES };
        let page = client.read_access_leaves(request).await.map_err(|s| asked.refused(s))?.into_inner();
        if page.leaves.is_empty() {
            break;
        }
        for leaf in page.leaves {
            // The log grows while it is read: what came after the checkpoint is not part of it.
            if leaf.leaf >= note.checkpoint.size && proof.wanted().is_none() {
                break;
            }
            if !leaf.archived_hash.is_empty() {
                let hash: [u8; 32] = leaf.archived_hash.as_slice().try_into().map_err(|_| {
                    let message = format!("access log: NOT PROVEN: the hash of archived leaf {} is none", leaf.leaf);
                    Failure::new(Exit::VerificationFailed, message).next("comity node status")
                })?;
                proof.push_archived(leaf.leaf, Hex32(hash))?;
                continue;
            }
            let salt: [u8; 32] = leaf.salt.as_slice().try_into().map_err(|_| {
                let message = format!(
                    "access log: NOT PROVEN: leaf {} has a salt of {} bytes, expected 32",
                    leaf.leaf,
                    leaf.salt.len()
                );
                Failure::new(Exit::VerificationFailed, message).next("comity node status")
            })?;
            proof.push(leaf.leaf, &AccessLeaf { salt: Hex32(salt), record: leaf.record, annex: leaf.annex })?;
        }
        bar.set_position(proof.wanted().unwrap_or(note.checkpoint.size));
    }
    bar.finish_and_clear();
    let archived = proof.archived();
    proof.finish()?;
    Ok(archived)
}

pub(crate) fn progress(session: &Session<'_>, leaves: u64) -> ProgressBar {
    if !session.output.can_draw_progress() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} leaves, {eta} to go");
    let bar = ProgressBar::with_draw_target(Some(leaves), ProgressDrawTarget::stderr());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn tampered(tampering: Tampering, has_older: bool) -> Failure {
    let next = match &tampering {
        Tampering::Edited { .. } if !has_older => {
            "comity audit verify --against an older checkpoint, which narrows down where; then tell the other members"
        }
        _ => "keep the checkpoints (comity audit checkpoint -O FILE) as evidence, and tell the other members",
    };
    Failure::new(Exit::VerificationFailed, format!("access log: NOT PROVEN: {tampering}")).next(next)
}

#[derive(Debug, Clone, Serialize)]
struct VerifiedView {
    proven: bool,
    origin: String,
    size: u64,
    /// How many of them lie in archives: their hashes hold, what they say is in the files.
    archived: u64,
    root: String,
    /// Other members whose cosignatures hold, by the keys that the context knows.
    cosigners: Vec<String>,
    cosigners_needed: usize,
    against: Vec<AgainstView>,
}

#[derive(Debug, Clone, Serialize)]
struct AgainstView {
    source: String,
    size: u64,
}

//! The signed head of the access log: fetched, checked, kept, remembered.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use comity_core::TrustDomain;
use comity_core::access::{self, Unattested};
use comity_core::canonical::Hex32;
use comity_core::checkpoint::{InvalidCheckpoint, SignedCheckpoint};
use comity_core::genesis::{Genesis, RosterMember};
use comity_proto::v1;

use crate::bundle::Trust;
use crate::connection::{Node, read_bounded};
use crate::contexts::write_whole;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::refusal::Asked;
use crate::session::Session;

/// The largest checkpoint that is read, in bytes.
pub(crate) const NOTE_MAX_BYTES: u64 = 64 * 1024;

pub(crate) async fn run(session: &mut Session<'_>, out: Option<&Path>) -> Result<(), Failure> {
    let node = session.node().await?;
    let (note, _) = fetch(&node).await?;
    match out {
        None => session.output.bytes(&note.to_bytes()),
        Some(path) => {
            session.write_new(path, &note.to_bytes(), false)?;
            let size = note.checkpoint.size;
            session.output.note(&format!("{}: the access log at {size} leaves, signature checked", path.display()));
            session.output.note(&format!("next:  comity audit verify --against {}", path.display()));
            Ok(())
        }
    }
}

/// The node's newest checkpoint, its signature checked, and what the node found wrong with its own indexes.
pub(crate) async fn fetch(node: &Node) -> Result<(SignedCheckpoint, Vec<String>), Failure> {
    let asked = Asked::about("access log", "comity node status");
    let request = v1::GetAccessCheckpointRequest {};
    let answer = node.audit().get_access_checkpoint(request).await.map_err(|s| asked.refused(s))?.into_inner();
    let checked = check(&answer.note, node.row()).map_err(|problem| {
        Failure::new(Exit::VerificationFailed, format!("access log: NOT PROVEN: the node's checkpoint: {problem}"))
            .next("comity node status")
    })?;
    Ok((checked, answer.faults))
}

/// A checkpoint that a person kept.
pub(crate) fn read(path: &Path, node: &Node) -> Result<SignedCheckpoint, Failure> {
    let note = read_bounded(path, NOTE_MAX_BYTES)?;
    check(&note, node.row()).map_err(|problem| {
        let message = format!("{}: no checkpoint of this node's access log: {problem}", path.display());
        Failure::new(Exit::VerificationFailed, message).next("comity audit checkpoint -O FILE")
    })
}

/// Of any incarnation of the member's log: which one it is shows in its origin.
fn check(note: &[u8], member: &RosterMember) -> Result<SignedCheckpoint, InvalidCheckpoint> {
    let signed = SignedCheckpoint::from_bytes(note)?;
    let incarnation = access::parse_log_origin(&signed.checkpoint.origin).map_or(1, |(_, incarnation)| incarnation);
    signed.verify(&access::log_origin(&member.trust_domain, incarnation), &member.node_key.0)?;
    Ok(signed)
}

/// The newest checkpoint that was verified on this machine. Kept for each federation and member, not for each context:
/// two auditors' contexts strengthen one another.
#[derive(Debug)]
pub(crate) struct Remembered {
    path: PathBuf,
}

impl Remembered {
    pub(crate) fn of(session: &Session<'_>, genesis: &Genesis, member: &RosterMember) -> Result<Self, Failure> {
        Self::named(session, genesis.federation(), &member.trust_domain)
    }

    fn named(session: &Session<'_>, federation: Hex32, trust_domain: &TrustDomain) -> Result<Self, Failure> {
        let federation: String = federation.to_string().chars().take(16).collect();
        let name = format!("{trust_domain}-{federation}.checkpoint");
        Ok(Self { path: session.state_folder()?.join("access-log").join(name) })
    }

    /// What was remembered of the logs of a federation, as far as a roster knows the keys that signed it.
    pub(crate) fn all(session: &Session<'_>, trust: &Trust) -> Result<Vec<(Self, SignedCheckpoint)>, Failure> {
        let mut found = Vec::new();
        for (_, party) in trust.roster.iter() {
            let remembered = Self::named(session, trust.federation, &party.trust_domain)?;
            if !remembered.path.exists() {
                continue;
            }
            let refused = |problem: String| {
                let message = format!("{}: not what was remembered: {problem}", remembered.path.display());
                Failure::new(Exit::VerificationFailed, message).next("comity audit verify --state ANOTHER-FOLDER")
            };
            let note = SignedCheckpoint::from_bytes(&read_bounded(&remembered.path, NOTE_MAX_BYTES)?);
            let note = note.map_err(|e| refused(e.to_string()))?;
            match trust.roster.attest(&note) {
                Ok(_) => found.push((remembered, note)),
                // Remembered by a list that is newer than this roster.
                Err(Unattested::Unsigned(_)) => {}
                Err(problem) => return Err(refused(problem.to_string())),
            }
        }
        Ok(found)
    }

    pub(crate) fn for_node(session: &Session<'_>, node: &Node) -> Result<Self, Failure> {
        Self::of(session, node.genesis(), node.row())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was remembered; nothing the first time.
    pub(crate) fn read(&self, node: &Node) -> Result<Option<SignedCheckpoint>, Failure> {
        match fs::metadata(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => read(&self.path, node).map(Some),
        }
    }

    pub(crate) fn write(&self, note: &SignedCheckpoint) -> Result<(), Failure> {
        write_whole(&self.path, &note.to_bytes()).map_err(|e| {
            Failure::error(format!(
                "{}: what was verified cannot be remembered: {e}; name another folder with --state",
                self.path.display()
            ))
        })
    }
}

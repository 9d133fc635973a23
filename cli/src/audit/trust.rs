//! By what a bundle is verified offline: the genesis, and an exported list where members or keys have changed since.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use comity_core::access::{Attested, LogParty, LogRoster};
use comity_core::checkpoint::{Checkpoint, SignedCheckpoint};
use comity_core::export::ListExport;

use super::checkpoint::{NOTE_MAX_BYTES, Remembered};
use super::proof::Tampering;
use crate::bundle::{Trust, Unverified, Verified};
use crate::connection::{Node, read_bounded, read_genesis};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::list::{FILE_MAX_BYTES, proven};
use crate::session::Session;

/// Whose signatures count.
#[derive(Debug, Clone, Args)]
pub(crate) struct TrustOptions {
    /// The genesis that bundles are verified against [default: that of the context]
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// An exported list, verified first: where members joined, left or changed keys since the genesis
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// Take a checkpoint that too few of the other members have cosigned: then its own node alone vouches for it
    #[arg(long)]
    accept_uncosigned: bool,
}

impl TrustOptions {
    /// Refuses options that are for bundles where there is none.
    pub(crate) fn expect_unused(&self) -> Result<(), Failure> {
        if self.genesis.is_none() && self.list.is_none() && !self.accept_uncosigned {
            return Ok(());
        }
        Err(Failure::usage("--genesis, --list and --accept-uncosigned are for a bundle: name one")
            .next("comity audit verify BUNDLE --genesis FILE"))
    }

    pub(crate) fn read(&self, session: &Session<'_>) -> Result<Trust, Failure> {
        let path = match &self.genesis {
            Some(path) => path.clone(),
            None => {
                let context = session.context();
                context.map_err(|failure| failure.next("comity audit verify BUNDLE --genesis FILE"))?.1.genesis
            }
        };
        let genesis = Arc::new(read_genesis(&path)?);
        let roster = match &self.list {
            None => LogRoster::of_genesis(&genesis),
            Some(list) => {
                let bytes = read_bounded(list, FILE_MAX_BYTES)?;
                proven(list, ListExport::verify(&bytes, &genesis))?.logs
            }
        };
        Ok(Trust { federation: genesis.federation(), roster })
    }

    /// Refuses what too few vouch for, unless that was accepted.
    pub(crate) fn expect_witnesses(&self, what: &str, attested: &Attested) -> Result<(), Failure> {
        if attested.is_witnessed() || self.accept_uncosigned {
            return Ok(());
        }
        let message = format!(
            "{what}: NOT PROVEN: {} of the {} other members cosigned this checkpoint, {} are needed: its own node alone could have \
             rewritten the log",
            attested.cosigners.len(),
            attested.others,
            attested.needed
        );
        Err(Failure::new(Exit::VerificationFailed, message)
            .next("comity audit export once more, when its peers have cosigned; or --accept-uncosigned"))
    }
}

/// By what an export is verified while it is written: the genesis of the context, and the member's own newest row.
pub(crate) fn of_node(node: &Node) -> Trust {
    let mut roster = LogRoster::of_genesis(node.genesis());
    let row = node.row();
    let party =
        LogParty { trust_domain: row.trust_domain.clone(), node_keys: vec![row.node_key], witnesses: row.voting };
    roster.put(row.member, party);
    Trust { federation: node.genesis().federation(), roster }
}

/// What is said of a bundle that does not hold.
pub(crate) fn unproven(what: &str, problem: &Unverified) -> Failure {
    match problem {
        Unverified::Read { .. } => Failure::error(problem),
        _ => {
            let failure = Failure::new(Exit::VerificationFailed, format!("{what}: NOT PROVEN: {problem}"));
            failure.next("keep the file as it is, and ask for the export once more")
        }
    }
}

/// An older head that a log must continue, and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct OlderNote {
    pub(crate) source: String,
    pub(crate) checkpoint: Checkpoint,
    /// Whether a person named it; else this machine remembers it.
    is_named: bool,
}

impl OlderNote {
    /// A checkpoint that a person kept: signed by a party of the roster.
    pub(crate) fn read(path: &Path, trust: &Trust) -> Result<Self, Failure> {
        let bytes = read_bounded(path, NOTE_MAX_BYTES)?;
        let refused = |problem: String| {
            let message = format!("{}: no checkpoint of an access log: {problem}", path.display());
            Failure::new(Exit::VerificationFailed, message).next("comity audit checkpoint -O FILE")
        };
        let note = SignedCheckpoint::from_bytes(&bytes).map_err(|e| refused(e.to_string()))?;
        trust.roster.attest(&note).map_err(|e| refused(e.to_string()))?;
        Ok(Self { source: path.display().to_string(), checkpoint: note.checkpoint, is_named: true })
    }

    pub(crate) fn remembered(remembered: &Remembered, note: SignedCheckpoint) -> Self {
        let source = format!("the checkpoint last verified here ({})", remembered.path().display());
        Self { source, checkpoint: note.checkpoint, is_named: false }
    }
}

/// How a verified bundle stands to an older head.
pub(crate) enum Continues {
    /// It is the same log, grown or not.
    Yes,
    /// The bundle does not tell.
    Untold,
}

/// Whether the log of a bundle continues an older head.
///
/// # Errors
/// It does not.
pub(crate) fn continues(verified: &Verified, older: &OlderNote, is_now: bool) -> Result<Continues, Failure> {
    let (now, then) = (&verified.proven.header.note.checkpoint, &older.checkpoint);
    if now.origin != then.origin {
        if !older.is_named && !is_now {
            return Ok(Continues::Untold);
        }
        let message =
            format!("NOT PROVEN: the bundle is of {}; {} is of another log, {}", now.origin, older.source, then.origin);
        return Err(Failure::new(Exit::VerificationFailed, message)
            .next("comity audit verify BUNDLE --against a checkpoint of that log"));
    }
    let source_name = older.source.clone();
    let tampering = match verified.proven.roots.get(&then.size) {
        Some(root) if *root == then.root => return Ok(Continues::Yes),
        Some(root) => Tampering::Rewritten { source_name, size: then.size, found: *root, expected: then.root },
        // An old bundle does not reach to what was remembered since; the log of now must.
        None if then.size > now.size && (older.is_named || is_now) => {
            Tampering::RolledBack { had: then.size, source_name, has: now.size }
        }
        None => return Ok(Continues::Untold),
    };
    let message = format!("access log: NOT PROVEN: {tampering}");
    Err(Failure::new(Exit::VerificationFailed, message).next("keep both files as evidence, and tell the other members"))
}

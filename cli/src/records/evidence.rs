//! `comity evidence`: references to material that stays where it is.

mod hashing;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use comity_core::canonical::{Hex32, SafeInt};
use comity_core::document::{CustodyEvent, Document, Evidence};
use comity_core::{RecordId, RecordKind};

use super::{ListOptions, ShareOptions, ensure_kind, get, only_checked};
use crate::draft_file;
use crate::failure::Failure;
use crate::session::Session;
use crate::when::When;

const KIND: RecordKind = RecordKind::Evidence;

/// The verbs of `comity evidence`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Register material: hash the file here, and store a reference to it on the node
    ///
    /// The file does not leave this machine: only its SHA-256 and size do, and what the description says.
    #[command(
        after_long_help = "Examples:\n  comity evidence add --example > tape.yaml\n  comity evidence add tape.wav -f tape.yaml\n  comity evidence add --sha256 3f79bb7b435b05321651daefd374cdc681dc06faa65e374e38337b88ca046dea -f tape.yaml"
    )]
    Add {
        /// The material; leave it out where it lies on another network
        #[arg(value_name = "MATERIAL", conflicts_with = "sha256")]
        material: Option<PathBuf>,
        /// SHA-256 of the material, computed where it lies: 64 hexadecimal digits
        #[arg(long, value_name = "HEX")]
        sha256: Option<Hex32>,
        /// The description, YAML or JSON; `-` reads stdin
        #[arg(short, long, value_name = "FILE", required_unless_present = "example")]
        file: Option<String>,
        /// Check it and send nothing
        #[arg(long)]
        dry_run: bool,
        /// Print an example description to start from
        #[arg(long, conflicts_with_all = ["file", "dry_run", "material", "sha256"])]
        example: bool,
        /// Makes a repeated command store one reference
        #[arg(long, value_name = "ID")]
        request_id: Option<String>,
    },
    /// Note that material went from one hand to another: events are only ever added
    #[command(
        after_long_help = "Examples:\n  comity evidence custody FR-E-8K3M9QXT2V4N6R7W --from 'The service' --to 'The court' --seal S-4472\n  comity evidence custody FR-E-8K3M9QXT2V4N6R7W --from 'The service' --to 'The court' --check tape.wav"
    )]
    Custody(Custody),
    /// Replace the description of an own reference; custody and hash stay as they are
    Edit {
        /// The reference
        id: RecordId,
        /// The new description, YAML or JSON; `-` reads stdin
        #[arg(short, long, value_name = "FILE")]
        file: String,
        /// Replace only this version [default: the current one]
        #[arg(long, value_name = "VERSION")]
        etag: Option<String>,
    },
    /// Check that a file is the material of a reference
    #[command(after_long_help = "Examples:\n  comity evidence check FR-E-8K3M9QXT2V4N6R7W tape.wav")]
    Check {
        /// The reference
        id: RecordId,
        /// The material
        material: PathBuf,
    },
    /// Show a reference: an own one, or a partner's as far as it was released
    Show {
        /// The reference
        id: RecordId,
    },
    /// List own references and released ones, newest first
    List(ListOptions),
    /// Ask that references be shared with partners; another person approves
    Share(ShareOptions),
    /// Withdraw a reference: partners lose it
    Withdraw {
        /// The reference
        id: RecordId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// From whom to whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Custody {
    /// The reference
    id: RecordId,
    /// Who gave it
    #[arg(long, value_name = "WHO")]
    from: String,
    /// Who took it
    #[arg(long, value_name = "WHO")]
    to: String,
    /// When [default: now]
    #[arg(long, value_name = "WHEN")]
    at: Option<When>,
    /// The number of the seal
    #[arg(long, value_name = "SEAL")]
    seal: Option<String>,
    /// Hash this file and note that it was checked; refused where it is other material
    #[arg(long, value_name = "MATERIAL")]
    check: Option<PathBuf>,
    /// What else is to be said
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

pub(crate) async fn run(command: EvidenceCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        EvidenceCommand::Add { example: true, .. } => session.output.line(draft_file::EVIDENCE_EXAMPLE),
        EvidenceCommand::Add { material, sha256, file, dry_run, request_id, .. } => {
            let described = draft_file::read_as(file.as_deref().unwrap_or("-"));
            let described = described.map_err(|e| Failure::error(e).next("comity evidence add --example"))?;
            // What the description says is checked together with the hash that it may speak of.
            let document = with_hash(session, described, material.as_deref(), sha256)?;
            if dry_run {
                return only_checked(session, &document);
            }
            super::create(session, &document, request_id).await
        }
        EvidenceCommand::Custody(custody) => hand_over(session, custody).await,
        EvidenceCommand::Edit { id, file, etag } => {
            let described: Box<Evidence> =
                draft_file::read_as(&file).map_err(|e| Failure::error(e).next("comity evidence add --example"))?;
            let (now, current) = own(session, id).await?;
            let document = checked(continued(described, &now))?;
            super::edit(session, id, Some(etag.unwrap_or(current)), &document).await
        }
        EvidenceCommand::Check { id, material } => check(session, id, &material).await,
        EvidenceCommand::Show { id } => super::show(session, KIND, id).await,
        EvidenceCommand::List(options) => super::list(session, KIND, None, &options).await,
        EvidenceCommand::Share(options) => super::share(session, KIND, options).await,
        EvidenceCommand::Withdraw { id, yes } => super::withdraw(session, KIND, id, yes).await,
    }
}

/// The description with the hash of the material: computed here, or as it was given.
fn with_hash(
    session: &mut Session<'_>,
    mut evidence: Box<Evidence>,
    material: Option<&Path>,
    given: Option<Hex32>,
) -> Result<Document, Failure> {
    let (digest, bytes) = match (material, given) {
        (None, None) => return checked(evidence),
        (Some(path), _) => {
            let hashed = hashing::hash(session, path)?;
            (hashed.sha256, SafeInt::new(hashed.bytes))
        }
        (None, Some(digest)) => (digest, evidence.bytes),
    };
    if evidence.sha256.is_some_and(|said| said != digest) {
        return Err(Failure::error(format!("the description says another sha256 than {digest}: other material"))
            .next("take sha256 out of the description, or look which of the two it is about"));
    }
    evidence.sha256 = Some(digest);
    evidence.bytes = bytes;
    checked(evidence)
}

/// A new description with what it leaves out of the material: hash, size and custody stay.
fn continued(mut described: Box<Evidence>, now: &Evidence) -> Box<Evidence> {
    if described.custody.is_empty() {
        described.custody.clone_from(&now.custody);
    }
    described.sha256 = described.sha256.or(now.sha256);
    described.bytes = described.bytes.or(now.bytes);
    described
}

fn checked(evidence: Box<Evidence>) -> Result<Document, Failure> {
    let document = Document::Evidence(evidence);
    document.check().map_err(|violations| {
        Failure::error("the description is not as it must be").fields(&violations).next("comity evidence add --example")
    })?;
    Ok(document)
}

/// The reference as its originator has it; a partner's does not do.
async fn own(session: &mut Session<'_>, id: RecordId) -> Result<(Box<Evidence>, String), Failure> {
    ensure_kind(KIND, id)?;
    let record = get(&session.node().await?, id).await?;
    match Document::from_json(KIND, &record.document) {
        Ok(Document::Evidence(evidence)) => Ok((evidence, record.etag)),
        _ => Err(Failure::error(format!("{id} is {}'s: only its originator keeps its custody", record.originator))
            .next(format!("comity evidence show {id}"))),
    }
}

async fn hand_over(session: &mut Session<'_>, custody: Custody) -> Result<(), Failure> {
    let (mut evidence, etag) = own(session, custody.id).await?;
    if let Some(path) = &custody.check {
        let found = hashing::hash(session, path)?.sha256;
        ensure_same(custody.id, path, evidence.sha256, found)?;
    }
    let at = custody.at.map_or_else(jiff::Timestamp::now, |when| when.0);
    evidence.custody.push(CustodyEvent {
        from: custody.from,
        to: custody.to,
        at: comity_core::Timestamp::from_jiff(at),
        seal: custody.seal,
        hash_checked: custody.check.is_some(),
        note: custody.note,
    });
    let document = Document::Evidence(evidence);
    document.check().map_err(|violations| Failure::error("not a custody event").fields(&violations))?;
    super::edit(session, custody.id, Some(etag), &document).await
}

async fn check(session: &mut Session<'_>, id: RecordId, material: &Path) -> Result<(), Failure> {
    let (evidence, _) = own(session, id).await?;
    let found = hashing::hash(session, material)?;
    ensure_same(id, material, evidence.sha256, found.sha256)?;
    session.output.line(&format!("{}  is the material of {id}: sha256 {}", material.display(), found.sha256))
}

fn ensure_same(id: RecordId, path: &Path, expected: Option<Hex32>, found: Hex32) -> Result<(), Failure> {
    let path = path.display();
    match expected {
        Some(expected) if expected == found => Ok(()),
        Some(expected) => {
            let message = format!("{path}: is not the material of {id}: sha256 {found}, expected {expected}");
            Err(Failure::new(crate::exit::Exit::VerificationFailed, message).next(format!("comity evidence show {id}")))
        }
        None => Err(Failure::error(format!("{id} has no sha256 to check {path} against"))
            .next(format!("comity evidence edit {id} -f FILE, with sha256: {found}"))),
    }
}

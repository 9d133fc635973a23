//! `comity list verify`: offline, from the exported file and the genesis alone.

use std::path::Path;
use std::sync::Arc;

use comity_core::canonical;
use comity_core::export::{ListExport, VerifiedList};
use serde::Serialize;
use serde_json::Value;

use crate::connection::{read_bounded, read_genesis};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::{Page, Style, clean, table};
use crate::session::Session;
use crate::{documents, when};

/// The largest export that is read or written, in bytes.
pub(crate) const FILE_MAX_BYTES: u64 = 1024 * 1024 * 1024;

pub(crate) fn run(session: &mut Session<'_>, file: &Path, genesis_path: &Path) -> Result<(), Failure> {
    let genesis = Arc::new(read_genesis(genesis_path)?);
    let bytes = read_bounded(file, FILE_MAX_BYTES)?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        return Err(Failure::error(format!("{}: larger than {FILE_MAX_BYTES} bytes", file.display())));
    }
    let verified = ListExport::verify(&bytes, &genesis).map_err(|unproven| {
        Failure::new(Exit::VerificationFailed, format!("{}: NOT PROVEN: {unproven}", file.display())).next(format!(
            "comity list export -O FILE from another member's node, then comity list verify FILE --genesis {}",
            genesis_path.display()
        ))
    })?;
    let view = VerifiedView::new(&verified, &genesis);
    session.output.show(&view, |style| page(style, &verified, &view))
}

fn page(style: &Style, verified: &VerifiedList, view: &VerifiedView) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("PROVEN: the list of {}", view.name));
    page.field("federation", &view.federation);
    page.field("publications", format!("{} under root {}", view.size, view.root));
    page.field("cosigned by", format!("{} ({} are needed)", view.cosigners.join(", "), view.cosigners_needed));
    let latest =
        i64::try_from(verified.latest_cosignature_seconds).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    page.field("last cosigned", latest.map(when::local_instant).unwrap_or_default());
    page.field("consents", "each entry stands on signed consents, all checked");
    page.field(
        "commands",
        match view.replayed_commands {
            Some(commands) => format!("{commands}, all replayed: they lead to these publications and no others"),
            None => "not in this file: the decisions were not replayed (comity list export --commands)".to_owned(),
        },
    );
    let rows = verified.entries.iter().map(|entry| {
        let consents = entry.consents.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let subject = &entry.public_part.subject;
        vec![
            entry.id.to_string(),
            subject.kind.as_str().to_owned(),
            entry.proposer.to_string(),
            consents,
            when::local_core(entry.list_time),
            clean(subject.primary_name()),
        ]
    });
    let mut text = page.finish();
    text.push('\n');
    text.push_str(&table(style, &["ENTRY", "KIND", "PROPOSER", "CONSENTS", "LISTED", "SUBJECT"], rows.collect()));
    for entry in &verified.entries {
        let mut page = Page::new(style);
        page.heading(&entry.id.to_string());
        documents::subject(&mut page, &entry.public_part.subject);
        text.push_str("\n\n");
        text.push_str(page.finish().trim_end());
    }
    text
}

/// What was proved, as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct VerifiedView {
    proven: bool,
    federation: String,
    name: String,
    size: u64,
    root: String,
    cosigners: Vec<String>,
    cosigners_needed: usize,
    latest_cosignature_seconds: u64,
    replayed_commands: Option<u64>,
    entries: Vec<EntryView>,
}

#[derive(Debug, Clone, Serialize)]
struct EntryView {
    id: String,
    proposer: String,
    consents: Vec<String>,
    list_time: String,
    subject: String,
    subject_kind: &'static str,
    public_part: Option<Value>,
}

impl VerifiedView {
    fn new(verified: &VerifiedList, genesis: &comity_core::genesis::Genesis) -> Self {
        let entries = verified.entries.iter().map(|entry| EntryView {
            id: entry.id.to_string(),
            proposer: entry.proposer.to_string(),
            consents: entry.consents.iter().map(ToString::to_string).collect(),
            list_time: entry.list_time.to_string(),
            subject: entry.public_part.subject.primary_name().to_owned(),
            subject_kind: entry.public_part.subject.kind.as_str(),
            public_part: crate::wire::embedded(&canonical::to_vec(&entry.public_part)),
        });
        Self {
            proven: true,
            federation: genesis.federation().to_string(),
            name: genesis.document().name.clone(),
            size: verified.size,
            root: verified.root.to_string(),
            cosigners: verified.cosigners.iter().map(ToString::to_string).collect(),
            cosigners_needed: comity_core::genesis::Genesis::cosigners_needed(genesis.voters().count()),
            latest_cosignature_seconds: verified.latest_cosignature_seconds,
            replayed_commands: verified.replayed,
            entries: entries.collect(),
        }
    }
}

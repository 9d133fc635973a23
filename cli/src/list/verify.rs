//! `comity list verify`: offline, from the exported file and the genesis alone.

use std::path::Path;
use std::sync::Arc;

use comity_core::export::{ListExport, PublicEntry, PublishedStatus, UnprovenExport, VerifiedList};
use comity_core::genesis::Genesis;
use comity_core::{MemberId, canonical};
use serde::Serialize;
use serde_json::Value;

use crate::connection::{read_bounded, read_genesis};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::measure::{MeasureView, in_one_line};
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
    let verified = proven(file, ListExport::verify(&bytes, &genesis))?;
    let view = VerifiedView::new(&verified, &genesis);
    session.output.show(&view, |style| page(style, &verified, &view))
}

/// What a file proves, or why it does not.
pub(crate) fn proven<T>(file: &Path, result: Result<T, UnprovenExport>) -> Result<T, Failure> {
    result.map_err(|unproven| {
        Failure::new(Exit::VerificationFailed, format!("{}: NOT PROVEN: {unproven}", file.display())).next(
            "comity list export -O FILE from another member's node, then comity list verify FILE --genesis GENESIS",
        )
    })
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
    page.field("voters", view.voters.join(", "));
    page.field("consents", "each publication stands on signed commands, all checked");
    page.field(
        "commands",
        match view.replayed_commands {
            Some(commands) => format!("{commands}, all replayed: they lead to these publications and no others"),
            None => "not in this file: the decisions were not replayed (comity list export --commands)".to_owned(),
        },
    );
    let rows = view.entries.iter().zip(verified.list.entries()).map(|(entry, proved)| {
        vec![
            entry.id.clone(),
            entry.standing(),
            entry.subject_kind.to_owned(),
            entry.proposer.clone(),
            entry.consented(),
            entry.measures.iter().filter(|measure| measure.is_in_force()).count().to_string(),
            when::local_core(proved.list_time),
            clean(&entry.subject),
        ]
    });
    let mut text = page.finish();
    text.push('\n');
    let headings = ["ENTRY", "STATUS", "KIND", "PROPOSER", "CONSENTS", "MEASURES", "LISTED", "SUBJECT"];
    text.push_str(&table(style, &headings, rows.collect()));
    for (entry, proved) in view.entries.iter().zip(verified.list.entries()) {
        let mut page = Page::new(style);
        page.heading(&entry.id);
        if entry.status == "listed" && !entry.measures.iter().any(MeasureView::is_in_force) {
            page.field("measures", "none is in force");
        }
        page.fields("measures", entry.measures.iter().map(in_one_line));
        if let Some(part) = &proved.public_part {
            documents::subject(&mut page, &part.subject);
        }
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
    voters: Vec<String>,
    latest_cosignature_seconds: u64,
    replayed_commands: Option<u64>,
    entries: Vec<EntryView>,
}

#[derive(Debug, Clone, Serialize)]
struct EntryView {
    id: String,
    /// `listed`, `delisted` or `merged`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ground: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_into: Option<String>,
    proposer: String,
    consents: Vec<String>,
    /// Who was present and said nothing, where silence adopted it.
    silent: Vec<String>,
    list_time: String,
    subject: String,
    subject_kind: &'static str,
    measures: Vec<MeasureView>,
    public_part: Option<Value>,
}

impl EntryView {
    fn new(entry: &PublicEntry) -> Self {
        let members = |members: &[MemberId]| members.iter().map(ToString::to_string).collect();
        let (status, ground, merged_into) = match &entry.status {
            PublishedStatus::Listed => ("listed", None, None),
            PublishedStatus::Delisted(ground) => ("delisted", Some(ground.as_str()), None),
            PublishedStatus::Merged(into) => ("merged", None, Some(into.to_string())),
        };
        let subject = entry.public_part.as_ref().map(|part| &part.subject);
        let measures = entry.measures.iter().map(|(member, measure, ended)| MeasureView::of(*member, measure, *ended));
        Self {
            id: entry.id.to_string(),
            status,
            ground,
            merged_into,
            proposer: entry.proposer.to_string(),
            consents: members(&entry.consents),
            silent: entry.silent.iter().filter(|m| !entry.consents.contains(m)).map(ToString::to_string).collect(),
            list_time: entry.list_time.to_string(),
            subject: subject.map_or_else(|| "(annulled and erased)".to_owned(), |s| s.primary_name().to_owned()),
            subject_kind: subject.map_or("-", |subject| subject.kind.as_str()),
            measures: measures.collect(),
            public_part: entry.public_part.as_ref().and_then(|part| crate::wire::embedded(&canonical::to_vec(part))),
        }
    }

    fn standing(&self) -> String {
        match (self.ground, &self.merged_into) {
            (Some(ground), _) => format!("delisted: {}", ground.replace('_', " ")),
            (None, Some(into)) => format!("merged into {into}"),
            (None, None) => self.status.to_owned(),
        }
    }

    /// Votes, and silence in brackets.
    fn consented(&self) -> String {
        match (self.consents.join(","), self.silent.join(",")) {
            (consents, silent) if silent.is_empty() => consents,
            (consents, silent) => format!("{consents}({silent})"),
        }
    }
}

impl VerifiedView {
    fn new(verified: &VerifiedList, genesis: &Genesis) -> Self {
        let members = |members: &[MemberId]| members.iter().map(ToString::to_string).collect();
        Self {
            proven: true,
            federation: genesis.federation().to_string(),
            name: genesis.document().name.clone(),
            size: verified.size,
            root: verified.root.to_string(),
            cosigners: members(&verified.cosigners),
            cosigners_needed: verified.cosigners_needed,
            voters: members(&verified.voters),
            latest_cosignature_seconds: verified.latest_cosignature_seconds,
            replayed_commands: verified.replayed,
            entries: verified.list.entries().map(EntryView::new).collect(),
        }
    }
}

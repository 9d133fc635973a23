//! `comity import`: subjects of official lists, as drafts.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use comity_core::document::Document;
use comity_core::marking::{Caveat, Compartment, Handling, Marking};
use comity_core::{MemberId, Tier};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::import::ofac::{self, Imported, OfacError};
use crate::output::Format;
use crate::page::Page;
use crate::session::Session;
use crate::{documents, records};

/// The verbs of `comity import`.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ImportCommand {
    /// Read one subject from the official OFAC CSV set: sdn, alt, add, comments
    ///
    /// Without --tier it is shown. With --tier it is printed as a draft, to be edited and stored with `comity proposal draft
    /// -f -`; with --draft it is stored at once. Everything that the list says lands in a field or in the notes; what
    /// wants a look is told on stderr.
    #[command(
        after_long_help = "Examples:\n  comity import ofac lists/us-ofac-sdn --uid 9352\n  comity import ofac lists/us-ofac-sdn --uid 9352 --tier confidential --releasable-to DE,CA > case.yaml\n  comity import ofac lists/us-ofac-sdn --uid 9352 --tier confidential --releasable-to DE,CA --draft"
    )]
    Ofac {
        /// The folder with the CSV files
        dir: PathBuf,
        /// The subject's number in the list
        #[arg(long, value_name = "N")]
        uid: u64,
        /// Store it on the node as a draft
        #[arg(long)]
        draft: bool,
        #[command(flatten)]
        marking: MarkingOptions,
    },
}

/// What restricts the draft. A record without a marking is refused.
#[derive(Debug, Clone, Args)]
pub(crate) struct MarkingOptions {
    /// How secret: public, official, restricted, confidential, secret or top_secret
    #[arg(long, value_name = "TIER")]
    tier: Option<Tier>,
    /// The parties that it may go to at all [default: nobody else]
    #[arg(long, value_name = "PARTY", value_delimiter = ',', requires = "tier")]
    releasable_to: Vec<MemberId>,
    /// No onward release without the originator's consent
    #[arg(long, requires = "tier")]
    orcon: bool,
    /// A need to know; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "tier")]
    compartment: Vec<Compartment>,
    /// The wording on the originator's own document
    #[arg(long, value_name = "TEXT", requires = "tier")]
    national: Option<String>,
}

impl MarkingOptions {
    fn marking(self) -> Option<Marking> {
        let caveats = if self.orcon { BTreeSet::from([Caveat::Orcon]) } else { BTreeSet::new() };
        Some(Marking {
            tier: self.tier?,
            caveats,
            releasable_to: self.releasable_to.into_iter().collect(),
            compartments: self.compartment.into_iter().collect(),
            handling: Handling::WithConsent,
            national: self.national,
        })
    }
}

pub(crate) async fn run(command: ImportCommand, session: &mut Session<'_>) -> Result<(), Failure> {
    let ImportCommand::Ofac { dir, uid, draft, marking } = command;
    let marking = marking.marking();
    if draft && marking.is_none() {
        return Err(Failure::usage("--tier: a record without a marking is refused; say how secret the draft is")
            .next(format!("comity import ofac {} --uid {uid} --draft --tier confidential", dir.display())));
    }
    let imported = ofac::read_subject(&dir, uid).map_err(|error| match error {
        OfacError::UnknownUid { .. } => Failure::new(Exit::NotFound, error),
        other => Failure::error(other),
    })?;
    for warning in &imported.warnings {
        session.output.note(&format!("look at: {}", crate::page::clean(warning)));
    }
    let Some(marking) = marking else { return show(session, &imported, uid) };
    let document = ofac::draft(&imported, marking);
    document
        .check()
        .map_err(|violations| Failure::error(format!("uid {uid}: does not fit a proposal")).fields(&violations))?;
    if !draft {
        return records::print_draft(session, &document);
    }
    records::create(session, &Document::Proposal(Box::new(document)), None).await
}

fn show(session: &mut Session<'_>, imported: &Imported, uid: u64) -> Result<(), Failure> {
    session.output.show(&imported.subject, |style| {
        let mut page = Page::new(style);
        documents::subject(&mut page, &imported.subject);
        page.finish()
    })?;
    if session.output.format() == Format::Table {
        session.output.note(&format!(
            "next:  the same with --tier TIER prints a draft of uid {uid}; with --draft too, stores it"
        ));
    }
    Ok(())
}

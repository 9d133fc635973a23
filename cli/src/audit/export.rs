//! `comity audit export` and `comity audit prove`: a part of the log as a file that proves itself, verified as it is written.

use std::path::{Path, PathBuf};

use clap::Args;
use comity_core::MemberId;
use comity_core::access::AccessRecord;
use comity_core::access::bundle::Shape;
use comity_proto::v1;
use indicatif::ProgressBar;
use serde::Serialize;

use super::checkpoint::Remembered;
use super::filter::Stretch;
use super::trust::{Continues, OlderNote, continues, of_node, unproven};
use super::verdict::{AccessView, BundleView};
use super::verify::progress;
use crate::bundle::{Checker, Trust, Verified};
use crate::failure::Failure;
use crate::page::Page;
use crate::part_file::PartFile;
use crate::refusal::Asked;
use crate::session::Session;
use crate::when::{Last, When};

/// The largest bundle that is written, in bytes.
const BUNDLE_MAX_BYTES: u64 = 1 << 40;
/// The most older checkpoints that may be named.
const AGAINST_MAX: usize = 15;

/// What is exported.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportOptions {
    #[command(flatten)]
    time: Stretch,
    /// Only the pages that went to this party or came from it, without what decided: so that it can be given them
    #[arg(long = "for", value_name = "PARTY")]
    party: Option<MemberId>,
    /// An older checkpoint that the bundle is to prove to continue; may be given several times
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// Where to
    #[arg(short = 'O', long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(session: &mut Session<'_>, options: ExportOptions) -> Result<(), Failure> {
    refuse_to_replace(&options.out, options.force, "comity audit export")?;
    if options.against.len() > AGAINST_MAX {
        return Err(Failure::usage(format!("--against: at most {AGAINST_MAX} checkpoints")));
    }
    let request = v1::ExportAccessLogRequest {
        since: options.time.since.map(When::to_proto),
        until: options.time.until.map(Last::to_proto),
        party: options.party.map(|party| party.to_string()).unwrap_or_default(),
        leaf: None,
        older: Vec::new(),
    };
    let fetched = fetch(session, request, &options.against, Some(&options.out)).await?;
    let view = BundleView::new(&fetched.verified, &fetched.continued);
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("written: {}", options.out.display()));
        view.fields(&mut page);
        page.finish()
    })?;
    if !fetched.verified.attested.is_witnessed() {
        session.output.note("too few of the other members have cosigned this checkpoint so far: verify asks for them");
    }
    session.output.note(&format!("next:  comity audit verify {}", options.out.display()));
    Ok(())
}

/// Shows one access, and proves that it is in the log.
pub(crate) async fn prove(
    session: &mut Session<'_>,
    leaf: u64,
    out: Option<&Path>,
    force: bool,
) -> Result<(), Failure> {
    if let Some(out) = out {
        refuse_to_replace(out, force, &format!("comity audit prove {leaf}"))?;
    }
    let request = v1::ExportAccessLogRequest { leaf: Some(leaf), ..Default::default() };
    let fetched = fetch(session, request, &[], out).await?;
    let Some((number, record)) = fetched.only.filter(|(number, _)| *number == leaf) else {
        return Err(
            Failure::error(format!("leaf {leaf}: the node answered with another one")).next("comity audit verify")
        );
    };
    let bundle = BundleView::new(&fetched.verified, &fetched.continued);
    let view = ProvenView { access: AccessView::new(number, &record), proof: bundle };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("PROVEN: leaf {leaf} is in the access log"));
        view.access.fields(&mut page);
        page.heading("proof");
        view.proof.fields(&mut page);
        page.finish()
    })?;
    if let Some(out) = out {
        session.output.note(&format!("next:  comity audit verify {}", out.display()));
    }
    Ok(())
}

#[derive(Debug, Serialize)]
struct ProvenView {
    access: AccessView,
    proof: BundleView,
}

fn refuse_to_replace(out: &Path, force: bool, command: &str) -> Result<(), Failure> {
    if out.exists() && !force {
        return Err(Failure::error(format!("{}: exists already and is left as it is", out.display()))
            .next(format!("{command} -O {} --force", out.display())));
    }
    Ok(())
}

struct Fetched {
    verified: Verified,
    /// What the log was found to continue.
    continued: Vec<OlderNote>,
    /// The leaf of a bundle that has but one.
    only: Option<(u64, AccessRecord)>,
}

/// Takes a bundle from the node and verifies it on the way; only one that holds is put in place.
async fn fetch(
    session: &Session<'_>,
    request: v1::ExportAccessLogRequest,
    against: &[PathBuf],
    out: Option<&Path>,
) -> Result<Fetched, Failure> {
    let node = session.node().await?;
    let trust = of_node(&node);
    let remembered = Remembered::for_node(session, &node)?;
    let mut older = against.iter().map(|path| OlderNote::read(path, &trust)).collect::<Result<Vec<_>, _>>()?;
    older.extend(remembered.read(&node)?.map(|note| OlderNote::remembered(&remembered, note)));
    let sizes: Vec<u64> = older.iter().map(|older| older.checkpoint.size).collect();
    let asked = Asked::about("access log", "comity audit log");
    let request = v1::ExportAccessLogRequest { older: sizes.clone(), ..request };
    let chunks = node.audit().export_access_log(request).await.map_err(|s| asked.refused(s))?.into_inner();
    let file = out.map(PartFile::create_private).transpose()?;
    let received = Receiving {
        session,
        trust: &trust,
        asked: &asked,
        what: out.map_or("access log".into(), |out| out.display().to_string()),
    };
    let (verified, only, file) = received.all(chunks, sizes, file).await?;
    let mut continued = Vec::new();
    for older in older {
        match continues(&verified, &older, true)? {
            Continues::Yes => continued.push(older),
            Continues::Untold => {
                let message = format!("access log: NOT PROVEN: the node left out how it continues {}", older.source);
                return Err(Failure::new(crate::exit::Exit::VerificationFailed, message).next("comity audit verify"));
            }
        }
    }
    if let Some(file) = file {
        file.finish()?;
    }
    Ok(Fetched { verified, continued, only })
}

struct Receiving<'a> {
    session: &'a Session<'a>,
    trust: &'a Trust,
    asked: &'a Asked,
    what: String,
}

impl Receiving<'_> {
    async fn all(
        &self,
        mut chunks: tonic::Streaming<v1::ExportAccessLogResponse>,
        sizes: Vec<u64>,
        mut file: Option<PartFile>,
    ) -> Result<(Verified, Option<(u64, AccessRecord)>, Option<PartFile>), Failure> {
        let mut checker = Checker::new(self.trust, sizes);
        let (mut bar, mut bytes, mut first): (Option<ProgressBar>, _, _) = (None, 0, None);
        while let Some(part) = chunks.message().await.map_err(|s| self.asked.refused(s))? {
            bytes += part.chunk.len() as u64;
            if bytes > BUNDLE_MAX_BYTES {
                return Err(Failure::error(format!("the bundle is larger than {BUNDLE_MAX_BYTES} bytes")));
            }
            let pushed = checker.push(&part.chunk, |leaf| {
                if first.is_none() {
                    first = Some((leaf.number, leaf.read()));
                }
            });
            pushed.map_err(|problem| unproven(&self.what, &problem))?;
            if let Some(header) = checker.header() {
                let bar = bar.get_or_insert_with(|| progress(self.session, header.count));
                bar.set_position(checker.taken());
            }
            if let Some(file) = &mut file {
                file.write(&part.chunk)?;
            }
        }
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let verified = checker.finish().map_err(|problem| unproven(&self.what, &problem))?;
        let is_only = verified.proven.header.shape == Shape::Selected && verified.proven.header.count == 1;
        let only = match first {
            Some((number, Ok(record))) if is_only => Some((number, record)),
            _ => None,
        };
        Ok((verified, only, file))
    }
}

//! `comity audit verify BUNDLE`: offline, from the file and a roster alone.

use std::path::{Path, PathBuf};

use comity_core::access::parse_log_origin;

use super::checkpoint::Remembered;
use super::trust::{Continues, OlderNote, TrustOptions, continues, unproven};
use super::verdict::BundleView;
use crate::bundle;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::Page;
use crate::session::Session;

pub(crate) fn run(
    session: &mut Session<'_>,
    file: &Path,
    trust_options: &TrustOptions,
    against: &[PathBuf],
    save: Option<&Path>,
) -> Result<(), Failure> {
    let trust = trust_options.read(session)?;
    let mut older = against.iter().map(|path| OlderNote::read(path, &trust)).collect::<Result<Vec<_>, _>>()?;
    let what = file.display().to_string();
    // What is remembered of every log of the federation: whose this one is shows only when it is read.
    let remembered = Remembered::all(session, &trust)?;
    older.extend(remembered.into_iter().map(|(remembered, note)| OlderNote::remembered(&remembered, note)));
    let sizes = older.iter().map(|older| older.checkpoint.size).collect();
    let verified = bundle::verify(file, &trust, sizes, |_| {}).map_err(|problem| unproven(&what, &problem))?;
    trust_options.expect_witnesses(&what, &verified.attested)?;
    let (named, mut continued) = (against.len(), Vec::new());
    for (n, older) in older.into_iter().enumerate() {
        match continues(&verified, &older, false)? {
            Continues::Yes => continued.push(older),
            Continues::Untold if n < named => {
                let size = older.checkpoint.size;
                let message = format!(
                    "{what}: NOT PROVEN: it holds, and does not tell what the log was at {size} leaves: whether it continues {} is open",
                    older.source
                );
                return Err(Failure::new(Exit::VerificationFailed, message)
                    .next(format!("comity audit export --against {} -O FILE", older.source)));
            }
            Continues::Untold => {}
        }
    }
    let note = &verified.proven.header.note;
    if let Some(save) = save {
        session.write_new(save, &note.to_bytes(), false)?;
    }
    let view = BundleView::new(&verified, &continued);
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("PROVEN: {what} is as it was logged"));
        view.fields(&mut page);
        page.finish()
    })?;
    if continued.is_empty() {
        let (domain, size) = (parse_log_origin(&note.checkpoint.origin), note.checkpoint.size);
        let whose = domain.map(|(domain, _)| domain.to_string()).unwrap_or_default();
        session.output.note(&format!(
            "held against no older checkpoint of {whose}: whether the {size} leaves continue one is not shown"
        ));
    }
    Ok(())
}

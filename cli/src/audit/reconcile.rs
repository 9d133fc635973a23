//! `comity audit reconcile`: two members' bundles held against each other, offline.

use std::path::Path;

use comity_core::MemberId;
use comity_core::access::bundle::InvalidBundle;
use comity_core::access::reconcile::{Direction, Irreconcilable, Item, Side, reconcile};
use serde::Serialize;

use super::trust::{TrustOptions, unproven};
use crate::bundle::{self, Trust, Verified};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::{Page, Style, table};
use crate::session::Session;
use crate::when;

/// The most items of one list that are shown to a person; data has them all.
const SHOWN_MAX: usize = 1_000;

pub(crate) fn run(
    session: &mut Session<'_>,
    ours: &Path,
    theirs: &Path,
    trust_options: &TrustOptions,
    exit_code: bool,
) -> Result<(), Failure> {
    let trust = trust_options.read(session)?;
    // Whose each is must be known before its leaves are read: the pages of third parties are passed over.
    let (our, their) = (owner(ours, &trust)?, owner(theirs, &trust)?);
    if our == their {
        let message =
            format!("{} and {} are both of {our}: two members' bundles are compared", ours.display(), theirs.display());
        return Err(Failure::usage(message).next("comity audit reconcile OURS THEIRS"));
    }
    let our_side = side(ours, &trust, trust_options, their)?;
    let their_side = side(theirs, &trust, trust_options, our)?;
    let directions = [(our, their, reconcile(&our_side, &their_side)), (their, our, reconcile(&their_side, &our_side))];
    let view = ReconciledView {
        agrees: directions.iter().all(|(_, _, found)| found.agrees()),
        directions: directions.iter().map(|(from, to, found)| DirectionView::new(*from, *to, found)).collect(),
    };
    session.output.show(&view, |style| page(style, &view))?;
    if exit_code && !view.agrees {
        return Err(Failure::new(Exit::Different, format!("the logs of {our} and {their} differ"))
            .next("comity audit prove LEAF, at whose log has it; and ask the other member"));
    }
    Ok(())
}

/// Whose log a bundle is of, by the beginning of the file. What that says is proved when the whole is read.
fn owner(path: &Path, trust: &Trust) -> Result<MemberId, Failure> {
    let what = path.display().to_string();
    let attested = bundle::peek(path, trust).map_err(|problem| unproven(&what, &problem))?;
    Ok(attested.member)
}

fn side(path: &Path, trust: &Trust, options: &TrustOptions, partner: MemberId) -> Result<Side, Failure> {
    let what = path.display().to_string();
    let (mut side, mut problem) = (Side::with(partner), None);
    let verified = bundle::verify(path, trust, Vec::new(), |leaf| {
        if problem.is_none() {
            problem = side.take(leaf).err();
        }
    });
    let verified: Verified = verified.map_err(|problem| unproven(&what, &problem))?;
    options.expect_witnesses(&what, &verified.attested)?;
    match problem {
        None => side.covers(&verified.proven),
        Some(Irreconcilable::Leaf(InvalidBundle::Record { leaf, problem })) => {
            let message = format!("{what}: leaf {leaf}, which was signed, is no access record: {problem}");
            return Err(Failure::new(Exit::VerificationFailed, message).next("comity audit verify BUNDLE"));
        }
        Some(problem) => {
            return Err(Failure::error(format!("{what}: {problem}")).next("comity audit export --since WHEN"));
        }
    }
    Ok(side)
}

fn page(style: &Style, view: &ReconciledView) -> String {
    let mut text = String::new();
    for direction in &view.directions {
        let mut page = Page::new(style);
        page.heading(&format!("from {} to {}", direction.from, direction.to));
        page.field("matched", format!("{} items, in the same pages on both sides", direction.matched));
        if direction.sent_again > 0 {
            page.field("sent again", format!("{}, received in a later page", direction.sent_again));
        }
        text.push_str(&page.finish());
        for (title, items) in direction.lists() {
            text.push_str(&list(style, &title, items));
        }
        text.push('\n');
    }
    let verdict = match view.agrees {
        true => "Each release has its receipt and each receipt its release, as far as both bundles reach.".to_owned(),
        false => {
            let count = |of: fn(&DirectionView) -> usize| view.directions.iter().map(of).sum::<usize>();
            format!(
                "THEY DIFFER: {} without a receipt, {} without a release, {} told differently",
                count(|d| d.no_receipt.len()),
                count(|d| d.no_release.len()),
                count(|d| d.differ.len()),
            )
        }
    };
    text.push_str(&verdict);
    text
}

fn list(style: &Style, title: &str, items: &[ItemView]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let mut page = Page::new(style);
    page.heading(&format!("{title}: {}", items.len()));
    let rows = items.iter().take(SHOWN_MAX).map(|item| {
        let root: String = item.page_root.chars().take(16).collect();
        vec![
            item.number.to_string(),
            item.record.clone(),
            item.view.clone(),
            item.leaf.to_string(),
            item.shown_time.clone(),
            root,
        ]
    });
    let rows = table(style, &["NUMBER", "RECORD", "VIEW", "LEAF", "TIME", "PAGE"], rows.collect());
    let more = items.len().saturating_sub(SHOWN_MAX);
    let more = if more > 0 { format!("\nand {more} more: -o json has them") } else { String::new() };
    format!("\n{}{rows}{more}\n", page.finish())
}

/// What came of it, as `-o json` writes it.
#[derive(Debug, Clone, Serialize)]
struct ReconciledView {
    agrees: bool,
    directions: Vec<DirectionView>,
}

#[derive(Debug, Clone, Serialize)]
struct DirectionView {
    from: String,
    to: String,
    matched: u64,
    sent_again: u64,
    superseded: Vec<ItemView>,
    no_receipt: Vec<ItemView>,
    no_release: Vec<ItemView>,
    differ: Vec<DifferView>,
    #[serde(skip)]
    differ_released: Vec<ItemView>,
    releases_not_covered: Vec<ItemView>,
    receipts_not_covered: Vec<ItemView>,
}

#[derive(Debug, Clone, Serialize)]
struct DifferView {
    released: ItemView,
    received: ItemView,
}

#[derive(Debug, Clone, Serialize)]
struct ItemView {
    number: u64,
    record: String,
    version: String,
    view: String,
    leaf: u64,
    time: String,
    page_root: String,
    #[serde(skip)]
    shown_time: String,
}

impl ItemView {
    fn new(item: &Item) -> Self {
        Self {
            number: item.number,
            record: item.record.clone(),
            version: item.version.as_ref().map(ToString::to_string).unwrap_or_default(),
            view: item.view.clone().unwrap_or_default(),
            leaf: item.leaf,
            time: item.at.to_string(),
            page_root: item.root.to_string(),
            shown_time: when::local_core(item.at),
        }
    }
}

impl DirectionView {
    fn new(from: MemberId, to: MemberId, found: &Direction) -> Self {
        let views = |items: &[Item]| items.iter().map(ItemView::new).collect();
        let differ = found.differ.iter().map(|(released, received)| DifferView {
            released: ItemView::new(released),
            received: ItemView::new(received),
        });
        Self {
            from: from.to_string(),
            to: to.to_string(),
            matched: found.matched,
            sent_again: found.sent_again,
            superseded: views(&found.superseded),
            no_receipt: views(&found.no_receipt),
            no_release: views(&found.no_release),
            differ: differ.collect(),
            differ_released: found.differ.iter().map(|(released, _)| ItemView::new(released)).collect(),
            releases_not_covered: views(&found.releases_not_covered),
            receipts_not_covered: views(&found.receipts_not_covered),
        }
    }

    /// What there is to be told of, by what it is.
    fn lists(&self) -> Vec<(String, &[ItemView])> {
        let (from, to) = (&self.from, &self.to);
        vec![
            (format!("RELEASED by {from}, NO RECEIPT at {to}"), &self.no_receipt),
            (format!("RECEIVED at {to}, NO RELEASE in the log of {from}"), &self.no_release),
            (format!("TOLD DIFFERENTLY by {to}, in the same page"), &self.differ_released),
            ("superseded, never received".to_owned(), &self.superseded),
            (format!("released, not covered by the bundle of {to}"), &self.releases_not_covered),
            (format!("received, not covered by the bundle of {from}"), &self.receipts_not_covered),
        ]
    }
}

//! `comity list diff`: the list at two positions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use comity_core::MemberId;
use comity_core::edtf::PartialDate;
use comity_core::export::{ListExport, PublicEntry, PublicList, PublishedStatus};
use comity_core::genesis::Genesis;
use comity_core::list::{EntryId, Measure, MeasureId};
use comity_proto::v1;
use serde::Serialize;

use crate::changes::changed_fields;
use crate::connection::{Node, read_bounded, read_genesis};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::list::publication::leaves;
use crate::list::verify::{FILE_MAX_BYTES, proven};
use crate::measure::MeasureView;
use crate::page::{Page, Style};
use crate::refusal::Asked;
use crate::session::Session;

pub(super) async fn run(
    session: &mut Session<'_>,
    a: &str,
    b: &str,
    genesis: Option<PathBuf>,
    exit_code: bool,
) -> Result<(), Failure> {
    let mut positions = Positions { genesis_path: genesis, genesis: None, node: None };
    let (older, newer) = (positions.read(session, a).await?, positions.read(session, b).await?);
    let view = compare(&older, &newer, a, b);
    session.output.show(&view, |style| page(style, &view))?;
    if exit_code && !view.is_empty() {
        return Err(
            Failure::new(Exit::Different, format!("{a} and {b} differ")).next(format!("comity list diff {a} {b}"))
        );
    }
    Ok(())
}

/// Where positions are taken from; a genesis is read and a node is called once, where one of them needs it.
struct Positions {
    genesis_path: Option<PathBuf>,
    genesis: Option<Arc<Genesis>>,
    node: Option<Node>,
}

impl Positions {
    async fn read(&mut self, session: &Session<'_>, position: &str) -> Result<PublicList, Failure> {
        match position.strip_prefix('@') {
            Some(at) => self.of_node(session, at).await,
            None => self.of_file(session, Path::new(position)),
        }
    }

    fn of_file(&mut self, session: &Session<'_>, path: &Path) -> Result<PublicList, Failure> {
        let genesis = match &self.genesis {
            Some(genesis) => Arc::clone(genesis),
            None => {
                let path = match &self.genesis_path {
                    Some(path) => path.clone(),
                    None => {
                        session
                            .context()
                            .map_err(|failure| failure.next("comity list diff A B --genesis FILE"))?
                            .1
                            .genesis
                    }
                };
                let genesis = Arc::new(read_genesis(&path)?);
                self.genesis = Some(Arc::clone(&genesis));
                genesis
            }
        };
        let bytes = read_bounded(path, FILE_MAX_BYTES)?;
        Ok(proven(path, ListExport::verify(&bytes, &genesis))?.list)
    }

    async fn of_node(&mut self, session: &Session<'_>, at: &str) -> Result<PublicList, Failure> {
        if self.node.is_none() {
            self.node = Some(session.node().await?);
        }
        let Some(node) = &self.node else { return Err(Failure::error("no node")) };
        let asked = Asked::about("list", "comity node status");
        let request = v1::GetListStatusRequest {};
        let status = node.list().get_list_status(request).await.map_err(|s| asked.refused(s))?.into_inner();
        let size = match at {
            "agreed" => status.agreed_publications,
            digits => digits.parse().map_err(|_| {
                Failure::usage(format!(
                    "`@{at}` is no position: expected @agreed, or a size of the public log such as @12"
                ))
            })?,
        };
        if size > status.publications {
            let message = format!("@{at}: the public log of this node has {} leaves", status.publications);
            return Err(Failure::new(Exit::NotFound, message).next("comity list status"));
        }
        let mut list = PublicList::new(node.genesis());
        for leaf in leaves(node, "", size).await? {
            list.follow(leaf.number, &leaf.publication, leaf.exported_text().as_ref()).map_err(|problem| {
                let message = format!("@{at}: publication {}: {problem}", leaf.number);
                Failure::new(Exit::VerificationFailed, message)
                    .next("comity list export --commands -O FILE, and verify it")
            })?;
        }
        Ok(list)
    }
}

/// A measure and when it ended, by whose and which.
type Measures<'a> = BTreeMap<(MemberId, MeasureId), (&'a Measure, Option<PartialDate>)>;

fn measures(list: &PublicList) -> Measures<'_> {
    let all = list.entries().flat_map(|entry| &entry.measures);
    all.map(|(member, measure, ended)| ((*member, measure.id.clone()), (measure, *ended))).collect()
}

fn compare(older: &PublicList, newer: &PublicList, a: &str, b: &str) -> DiffView {
    let mut view = DiffView { a: a.to_owned(), b: b.to_owned(), ..DiffView::default() };
    let ids: BTreeSet<&EntryId> = older.entries().chain(newer.entries()).map(|entry| &entry.id).collect();
    let known = measures(older);
    for id in ids {
        match (older.get(id), newer.get(id)) {
            (Some(_), None) => view.missing.push(id.to_string()),
            (before, Some(after)) => entry(&mut view, before, after, &known),
            (None, None) => {}
        }
    }
    view
}

fn entry(view: &mut DiffView, before: Option<&PublicEntry>, after: &PublicEntry, known: &Measures<'_>) {
    let id = after.id.to_string();
    let name = |entry: &PublicEntry| entry.public_part.as_ref().map(|part| part.subject.primary_name().to_owned());
    match before {
        None => {
            let subject = name(after).unwrap_or_else(|| "(annulled and erased)".into());
            view.added.push(Added { entry: id.clone(), subject, proposer: after.proposer.to_string() });
        }
        Some(before) if before.public_part != after.public_part && after.public_part.is_some() => {
            let json = |entry: &PublicEntry| serde_json::to_value(&entry.public_part).unwrap_or_default();
            let changed = changed_fields(&json(before), &json(after));
            view.amended.push(Amended { entry: id.clone(), changed });
        }
        Some(_) => {}
    }
    if before.is_none_or(|before| before.status != after.status) {
        match &after.status {
            PublishedStatus::Listed => {}
            PublishedStatus::Delisted(ground) => {
                view.delisted.push(Delisted { entry: id.clone(), ground: ground.as_str().to_owned() });
            }
            PublishedStatus::Merged(into) => view.merged.push(Merged { entry: id.clone(), into: into.to_string() }),
        }
    }
    for (member, measure, ended) in &after.measures {
        let changed = |measures: &mut Vec<MeasureChange>| {
            measures.push(MeasureChange { entry: id.clone(), measure: MeasureView::of(*member, measure, *ended) });
        };
        match known.get(&(*member, measure.id.clone())) {
            None => {
                changed(&mut view.measures_attached);
                if ended.is_some() {
                    changed(&mut view.measures_ended);
                }
            }
            Some((_, was_ended)) if was_ended != ended => changed(&mut view.measures_ended),
            Some(_) => {}
        }
    }
}

fn page(style: &Style, view: &DiffView) -> String {
    let mut page = Page::new(style);
    page.heading(&format!("{} to {}", view.a, view.b));
    if view.is_empty() {
        page.prose("The list is the same.");
    }
    page.fields("added", view.added.iter().map(|a| format!("{}  {}  {}", a.entry, a.proposer, a.subject)));
    for amended in &view.amended {
        page.field("amended", &amended.entry);
        page.fields("", &amended.changed);
    }
    page.fields("delisted", view.delisted.iter().map(|d| format!("{}  {}", d.entry, d.ground.replace('_', " "))));
    page.fields("merged", view.merged.iter().map(|m| format!("{}  into {}", m.entry, m.into)));
    let measure =
        |change: &MeasureChange| format!("{}  {}", change.entry, crate::measure::in_one_line(&change.measure));
    page.fields("measures", view.measures_attached.iter().map(measure));
    page.fields("measures ended", view.measures_ended.iter().map(measure));
    page.fields("missing", view.missing.iter().map(|id| format!("{id}  is in {} alone: is it the newer one?", view.a)));
    page.finish()
}

/// What differs, as `-o json` writes it.
#[derive(Debug, Clone, Default, Serialize)]
struct DiffView {
    a: String,
    b: String,
    added: Vec<Added>,
    amended: Vec<Amended>,
    delisted: Vec<Delisted>,
    merged: Vec<Merged>,
    measures_attached: Vec<MeasureChange>,
    measures_ended: Vec<MeasureChange>,
    /// Entries of the first position that the second lacks.
    missing: Vec<String>,
}

impl DiffView {
    fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.amended.is_empty()
            && self.delisted.is_empty()
            && self.merged.is_empty()
            && self.measures_attached.is_empty()
            && self.measures_ended.is_empty()
            && self.missing.is_empty()
    }
}

#[derive(Debug, Clone, Serialize)]
struct Added {
    entry: String,
    subject: String,
    proposer: String,
}

#[derive(Debug, Clone, Serialize)]
struct Amended {
    entry: String,
    changed: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Delisted {
    entry: String,
    ground: String,
}

#[derive(Debug, Clone, Serialize)]
struct Merged {
    entry: String,
    into: String,
}

#[derive(Debug, Clone, Serialize)]
struct MeasureChange {
    entry: String,
    #[serde(flatten)]
    measure: MeasureView,
}

//! The clearances of this member's own people.

use comity_core::clearance::People;
use comity_proto::v1;
use serde::Serialize;

use crate::failure::Failure;
use crate::page::{Page, table};
use crate::refusal::Asked;
use crate::session::Session;
use crate::{approve, draft_file, when};

/// Clearances to begin from.
pub(super) const EXAMPLE: &str = include_str!("people.yaml");

pub(super) async fn apply(session: &mut Session<'_>, file: &str) -> Result<(), Failure> {
    let people: People =
        draft_file::read_as(file).map_err(|e| Failure::error(e).next("comity policy people --example"))?;
    let node = session.node().await?;
    let request = v1::ApplyPeopleRequest { document: comity_core::canonical::to_vec(&people) };
    let asked = Asked::about("clearances", "comity policy people --example");
    let approval = node.policies().apply_people(request).await.map_err(|s| asked.refused(s))?.into_inner();
    approve::deferred(session, &node, approval, |_| false).await
}

pub(super) async fn show(session: &mut Session<'_>) -> Result<(), Failure> {
    let node = session.node().await?;
    let asked = Asked::about("clearances", "comity policy people --example");
    let found = node.policies().get_people(v1::GetPeopleRequest {}).await.map_err(|s| asked.refused(s))?.into_inner();
    let applied = when::local(found.apply_time.as_ref());
    let people = People::from_json(found.text.as_bytes())
        .map_err(|violations| Failure::error("the node's clearances cannot be read").fields(&violations))?;
    let view = PeopleView {
        version: found.version,
        author: found.author,
        approver: found.approver,
        apply_time: when::rfc3339(found.apply_time.as_ref()),
        people,
    };
    session.output.show(&view, |style| {
        let mut page = Page::new(style);
        page.heading(&format!("Clearances, version {}", view.version));
        page.field("applied", applied);
        page.field("author", &view.author);
        page.field("approver", &view.approver);
        let mut text = page.finish();
        let row = |name: &str, clearance: &comity_core::clearance::Clearance| {
            let compartments: Vec<&str> = clearance.compartments.iter().map(|c| c.as_str()).collect();
            let compartments = if compartments.is_empty() { "-".to_owned() } else { compartments.join(",") };
            vec![name.to_owned(), clearance.tier.to_string(), compartments]
        };
        let named = view.people.people.iter().map(|(name, clearance)| row(name, clearance));
        let rows = std::iter::once(row("everybody else", &view.people.default));
        text.push('\n');
        text.push_str(&table(style, &["PERSON", "CLEARED FOR", "COMPARTMENTS"], named.chain(rows).collect()));
        text
    })
}

#[derive(Debug, Clone, Serialize)]
struct PeopleView {
    version: i64,
    author: String,
    approver: String,
    apply_time: Option<String>,
    #[serde(flatten)]
    people: People,
}

//! `comity audit person`: what one person or node did.

use comity_core::access::Outcome;
use serde::Serialize;

use super::access::{Access, Seen, Tally, each};
use super::filter::{Filter, Person, Stretch};
use super::sections::Sections;
use crate::failure::Failure;
use crate::page::Style;
use crate::session::Session;

pub(super) async fn run(session: &mut Session<'_>, person: Person, time: Stretch) -> Result<(), Failure> {
    let node = session.node().await?;
    let id = person.at(&node)?;
    drop(node);
    let filter = Filter { person: Some(person), time, ..Filter::default() };
    let mut did = Did::default();
    each(session, &filter, |access| did.take(access)).await?;
    let view = did.view(id.to_string());
    session.output.show(&view, |style| view.page(style))?;
    let left_out = did.by_kind.left_out() + did.by_address.left_out();
    if left_out > 0 {
        session.output.note(&format!(
            "{left_out} accesses are left out: there are too many kinds of them; narrow it with --since and --until"
        ));
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Did {
    by_outcome: Tally<&'static str>,
    by_kind: Tally<Kind>,
    by_address: Tally<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    action: String,
    /// Empty where nothing was touched.
    resource: String,
    outcome: &'static str,
    reason: String,
}

impl Did {
    fn take(&mut self, access: &Access) {
        let record = &access.record;
        self.by_outcome.add(record.outcome.as_str(), access);
        self.by_address.add(host(&record.from).to_owned(), access);
        let mut resources: Vec<&str> = record.touched.iter().map(|touched| touched.resource.as_str()).collect();
        resources.sort_unstable();
        resources.dedup();
        if resources.is_empty() {
            resources.push("");
        }
        for resource in resources {
            let kind = Kind {
                action: record.action.clone(),
                resource: resource.to_owned(),
                outcome: record.outcome.as_str(),
                reason: record.reason.clone().unwrap_or_default(),
            };
            self.by_kind.add(kind, access);
        }
    }

    fn view(&self, person: String) -> DidView {
        let times = |outcome: Outcome| {
            self.by_outcome.rows().find(|(name, _)| **name == outcome.as_str()).map_or(0, |(_, seen)| seen.times)
        };
        DidView {
            person,
            allowed: times(Outcome::Allowed),
            denied: times(Outcome::Denied),
            failed: times(Outcome::Failed),
            addresses: self
                .by_address
                .rows()
                .map(|(from, seen)| AddressView { from: from.clone(), seen: *seen })
                .collect(),
            accesses: self.by_kind.rows().map(|(kind, seen)| KindView::new(kind, *seen)).collect(),
        }
    }
}

/// The address without its port, which says nothing of a person.
pub(super) fn host(from: &str) -> &str {
    match from.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => from,
    }
}

#[derive(Debug, Serialize)]
struct DidView {
    person: String,
    allowed: u64,
    denied: u64,
    failed: u64,
    addresses: Vec<AddressView>,
    accesses: Vec<KindView>,
}

#[derive(Debug, Serialize)]
struct AddressView {
    from: String,
    #[serde(flatten)]
    seen: Seen,
}

#[derive(Debug, Serialize)]
struct KindView {
    action: String,
    resource: String,
    outcome: &'static str,
    reason: String,
    #[serde(flatten)]
    seen: Seen,
}

impl KindView {
    fn new(kind: &Kind, seen: Seen) -> Self {
        let Kind { action, resource, outcome, reason } = kind.clone();
        Self { action, resource, outcome, reason, seen }
    }
}

impl DidView {
    fn page(&self, style: &Style) -> String {
        let mut page = Sections::new(style, &format!("What {} did", self.person));
        page.line(&format!("  {} allowed, {} denied, {} failed", self.allowed, self.denied, self.failed));
        let access = |row: &KindView| {
            let outcome = format!("{} {}", row.outcome, row.reason).trim_end().to_owned();
            let resource = if row.resource.is_empty() { "-".to_owned() } else { row.resource.clone() };
            let [times, first, last] = row.seen.cells();
            [row.action.clone(), resource, outcome, times, first, last]
        };
        page.table(
            "By action and what was touched",
            ["ACTION", "TOUCHED", "OUTCOME", "TIMES", "FIRST", "LAST"],
            self.accesses.iter().map(access).collect(),
        );
        let address = |row: &AddressView| {
            let [times, first, last] = row.seen.cells();
            [row.from.clone(), times, first, last]
        };
        let headings = ["ADDRESS", "TIMES", "FIRST", "LAST"];
        page.table("From where", headings, self.addresses.iter().map(address).collect());
        if self.accesses.is_empty() {
            page.line("");
            page.line("Nothing: this node's log has no access in that name.");
        }
        page.finish()
    }
}

#[cfg(test)]
mod tests {
    use comity_core::access::Touched;

    use super::super::access::tests::access;
    use super::*;

    #[test]
    fn accesses_are_counted_by_action_record_and_outcome() {
        let mut did = Did::default();
        let read = |leaf| {
            access(leaf, "operator/desk-1", "GetRecord", vec![Touched::resource("R-1"), Touched::resource("R-1")])
        };
        let mut denied = read(3);
        denied.record.outcome = Outcome::Denied;
        denied.record.from = "[::1]:99".into();
        [read(1), read(2), denied, access(4, "operator/desk-1", "Other", Vec::new())].iter().for_each(|a| did.take(a));
        let view = did.view("x".into());
        assert_eq!((view.allowed, view.denied, view.failed), (3, 1, 0));
        let times: Vec<_> = view.accesses.iter().map(|k| (k.action.as_str(), k.outcome, k.seen.times)).collect();
        assert_eq!(times, [("GetRecord", "allowed", 2), ("GetRecord", "denied", 1), ("Other", "allowed", 1)]);
        let from: Vec<_> = view.addresses.iter().map(|a| (a.from.as_str(), a.seen.times)).collect();
        assert_eq!(from, [("10.0.0.1", 3), ("[::1]", 1)]);
    }

    #[test]
    fn a_port_is_no_part_of_an_address() {
        let cases =
            [("10.0.0.1:5", "10.0.0.1"), ("this node", "this node"), ("a:b", "a:b"), (":", ":"), ("[::1]:4", "[::1]")];
        for (from, expected) in cases {
            assert_eq!(host(from), expected);
        }
    }
}

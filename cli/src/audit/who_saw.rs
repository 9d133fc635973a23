//! `comity audit who-saw`: everybody who saw a record, as far as this node's log knows.

use std::collections::BTreeSet;

use comity_core::access::{Outcome, PAGE_RECEIVED, PAGE_SENT, Touched};
use comity_core::{MemberId, RecordId, Role};
use serde::Serialize;

use super::access::{Access, Seen, Tally, each};
use super::filter::{Filter, Stretch};
use super::sections::Sections;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::page::Style;
use crate::session::Session;
use crate::wire;

/// What is said beside every such answer.
const NOT_SHOWN: &str =
    "Not shown: who saw a copy at the node of a party that has it. Each party's own log knows that.";

pub(super) async fn run(session: &mut Session<'_>, record: RecordId, time: Stretch) -> Result<(), Failure> {
    let filter = Filter { record: Some(record.to_string()), time, ..Filter::default() };
    let is_bounded = time.since.is_some() || time.until.is_some();
    let mut seen = WhoSaw::new(record);
    each(session, &filter, |access| seen.take(access)).await?;
    if seen.rows.is_empty() && !is_bounded {
        let message =
            format!("record {record}: nobody has looked at it, nor tried to: this node's log does not have it");
        return Err(Failure::new(Exit::NotFound, message).next("comity audit log"));
    }
    let view = seen.view();
    session.output.show(&view, |style| view.page(style))?;
    if seen.rows.left_out() > 0 {
        session.output.note(&format!(
            "{} accesses are left out: there are too many kinds of them; narrow it with --since and --until",
            seen.rows.left_out()
        ));
    }
    Ok(())
}

/// What became of an access, which decides where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Sent,
    TakenBack,
    Person,
    Received,
    Other,
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    part: Part,
    party: Option<MemberId>,
    /// The person, or the node where it is not a party's page.
    who: String,
    action: String,
    version: String,
    view: String,
    policies: BTreeSet<String>,
    reason: String,
}

#[derive(Debug)]
struct WhoSaw {
    record: RecordId,
    rows: Tally<Kind>,
}

impl WhoSaw {
    fn new(record: RecordId) -> Self {
        Self { record, rows: Tally::default() }
    }

    fn take(&mut self, access: &Access) {
        let id = self.record.to_string();
        let record = &access.record;
        // Named once with a version and once without in one leaf is one access.
        let touched: BTreeSet<_> = record.touched.iter().filter(|t| t.resource == id).map(key).collect();
        let has_version = touched.iter().any(|(version, ..)| !version.is_empty());
        for (version, view, policies) in touched {
            if has_version && version.is_empty() {
                continue;
            }
            let part = match (record.outcome, record.action.as_str(), &record.who) {
                (Outcome::Denied | Outcome::Failed, ..) => Part::Refused,
                (_, PAGE_SENT, _) if view == "retract" => Part::TakenBack,
                (_, PAGE_SENT, _) => Part::Sent,
                (_, PAGE_RECEIVED, _) => Part::Received,
                (.., Some(who)) if who.role() != Role::Node => Part::Person,
                _ => Part::Other,
            };
            let who = match (&record.who, part) {
                (_, Part::Sent | Part::TakenBack | Part::Received) => String::new(),
                (Some(who), _) => who.to_string(),
                (None, _) => record.from.clone(),
            };
            let kind = Kind {
                part,
                party: record.member,
                who,
                action: record.action.clone(),
                version,
                view,
                policies,
                reason: record.reason.clone().unwrap_or_default(),
            };
            self.rows.add(kind, access);
        }
    }

    fn view(&self) -> WhoSawView {
        let of = |part| -> Vec<Row> {
            self.rows.rows().filter(|(kind, _)| kind.part == part).map(|(kind, seen)| Row::new(kind, *seen)).collect()
        };
        WhoSawView {
            record: self.record.to_string(),
            sent: of(Part::Sent),
            taken_back: of(Part::TakenBack),
            people: of(Part::Person),
            received: of(Part::Received),
            other: of(Part::Other),
            refused: of(Part::Refused),
            not_shown: NOT_SHOWN,
        }
    }
}

fn key(touched: &Touched) -> (String, String, BTreeSet<String>) {
    let version = touched.version.map(|version| version.to_string()).unwrap_or_default();
    (version, touched.view.clone().unwrap_or_default(), touched.because.iter().cloned().collect())
}

#[derive(Debug, Serialize)]
struct WhoSawView {
    record: String,
    sent: Vec<Row>,
    taken_back: Vec<Row>,
    people: Vec<Row>,
    received: Vec<Row>,
    other: Vec<Row>,
    refused: Vec<Row>,
    not_shown: &'static str,
}

#[derive(Debug, Serialize)]
struct Row {
    party: String,
    who: String,
    action: String,
    version: String,
    view: String,
    policies: Vec<String>,
    reason: String,
    #[serde(flatten)]
    seen: Seen,
}

impl Row {
    fn new(kind: &Kind, seen: Seen) -> Self {
        Self {
            party: kind.party.map(|party| party.to_string()).unwrap_or_default(),
            who: kind.who.clone(),
            action: kind.action.clone(),
            version: kind.version.clone(),
            view: kind.view.clone(),
            policies: kind.policies.iter().cloned().collect(),
            reason: kind.reason.clone(),
            seen,
        }
    }

    fn who(&self) -> String {
        format!("{} {}", self.party, wire::short_id(&self.who)).trim().to_owned()
    }

    fn version(&self) -> String {
        or_dash(&wire::digits(&self.version))
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

impl WhoSawView {
    fn page(&self, style: &Style) -> String {
        let mut page = Sections::new(style, &format!("Who saw {}", self.record));
        let sent = |row: &Row| {
            let [times, first, last] = row.seen.cells();
            [row.party.clone(), or_dash(&row.view), row.version(), or_dash(&row.policies.join(" ")), times, first, last]
        };
        page.table(
            "Parties that it was sent to",
            ["PARTY", "VIEW", "VERSION", "POLICIES", "TIMES", "FIRST", "LAST"],
            self.sent.iter().map(sent).collect(),
        );
        let taken_back = |row: &Row| {
            let [times, first, last] = row.seen.cells();
            [row.party.clone(), or_dash(&row.policies.join(" ")), times, first, last]
        };
        page.table(
            "Parties that it was taken back from",
            ["PARTY", "BECAUSE", "TIMES", "FIRST", "LAST"],
            self.taken_back.iter().map(taken_back).collect(),
        );
        let person = |row: &Row| {
            let [times, first, last] = row.seen.cells();
            [row.who(), row.action.clone(), or_dash(&row.view), row.version(), times, first, last]
        };
        let headings = ["WHO", "ACTION", "VIEW", "VERSION", "TIMES", "FIRST", "LAST"];
        page.table("People of this member", headings, self.people.iter().map(person).collect());
        let received = |row: &Row| {
            let [times, first, last] = row.seen.cells();
            [row.party.clone(), or_dash(&row.view), row.version(), times, first, last]
        };
        page.table(
            "Copies that came from its originator",
            ["FROM", "VIEW", "VERSION", "TIMES", "FIRST", "LAST"],
            self.received.iter().map(received).collect(),
        );
        page.table("Other nodes, and this node itself", headings, self.other.iter().map(person).collect());
        let refused = |row: &Row| {
            let [times, first, last] = row.seen.cells();
            [row.who(), row.action.clone(), or_dash(&row.reason), or_dash(&row.policies.join(" ")), times, first, last]
        };
        page.table(
            "Refused, or failed",
            ["WHO", "ACTION", "REASON", "BECAUSE", "TIMES", "FIRST", "LAST"],
            self.refused.iter().map(refused).collect(),
        );
        page.line("");
        page.line(self.not_shown);
        page.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::access::tests::access;
    use super::*;

    const RECORD: &str = "FR-P-0000000000000000";

    #[test]
    fn parties_people_and_refusals_stand_apart() {
        let record: RecordId = RECORD.parse().unwrap();
        let touched = |view: &str, because: &[&str]| Touched {
            because: because.iter().map(|b| (*b).to_owned()).collect(),
            version: Some("00000000000000000000000000000001".parse().unwrap()),
            ..Touched::record(record, None).by(view)
        };
        let mut page = access(1, "", PAGE_SENT, vec![touched("read", &["reads"]), Touched::resource("FR-P-other")]);
        page.record.member = Some("DE".parse().unwrap());
        let mut back = page.clone();
        back.record.touched = vec![touched("retract", &["withdrawn"])];
        let own = access(
            3,
            "operator/desk-1",
            "RecordService/GetRecord",
            vec![Touched::record(record, None), touched("read", &[])],
        );
        let mut denied = access(4, "approver/desk-2", "RecordService/GetRecord", vec![Touched::record(record, None)]);
        denied.record.outcome = Outcome::Denied;
        let mut seen = WhoSaw::new(record);
        [&page, &page, &back, &own, &denied].into_iter().for_each(|access| seen.take(access));
        let view = seen.view();
        assert_eq!((view.sent.len(), view.sent[0].seen.times, view.sent[0].policies.join(" ")), (1, 2, "reads".into()));
        assert_eq!((view.taken_back.len(), view.people.len(), view.refused.len()), (1, 1, 1));
        assert_eq!(view.people[0].version, "00000000000000000000000000000001", "named once, with its version");
        let page = view.page(&Style { colour: false, is_terminal: false });
        assert!(page.contains("DE     read") && page.contains("FR operator/desk-1"), "{page}");
        assert!(page.contains(NOT_SHOWN), "{page}");
    }
}

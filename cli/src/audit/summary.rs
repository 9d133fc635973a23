//! `comity audit summary`: how much, by whom or of what, and on which days.

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use comfy_table::Table;
use comity_core::RecordId;
use comity_core::access::{AccessRecord, Outcome, Touched};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::access::{Access, each};
use super::filter::{Filter, Stretch};
use super::person::host;
use super::sections::Sections;
use crate::failure::Failure;
use crate::page::Style;
use crate::session::Session;
use crate::when::{Last, When};
use crate::wire;

/// So many keys are counted, and so many records of one of them; what goes beyond is said.
const KEYS_MAX: usize = 10_000;
/// So many keys are shown in a table; `-o json` has all.
const SHOWN: usize = 40;
/// How wide a bar is where no terminal says how much room there is, in characters.
const BAR_CHARS: usize = 30;
/// A bar is never narrower, in characters.
const BAR_MIN_CHARS: usize = 8;
/// The width of what stands beside a bar, in characters.
const BESIDE_CHARS: usize = 66;

/// By what accesses are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    /// The party whose person or node it was, or that a page went to
    Partner,
    /// The person or node; strangers by address
    Person,
    /// The policy or rule that decided
    Policy,
    /// The record, entry, ballot or approval
    Record,
    /// What was done
    Action,
}

pub(super) async fn run(session: &mut Session<'_>, by: By, time: Stretch) -> Result<(), Failure> {
    let filter = Filter { time, ..Filter::default() };
    let mut summary = Summary::new(by, TimeZone::system());
    each(session, &filter, |access| summary.take(access)).await?;
    let view = summary.view(time);
    session.output.show(&view, |style| view.page(style))?;
    if summary.left_out > 0 {
        session.output.note(&format!(
            "{} accesses are left out: there are more than {KEYS_MAX} to count them by; narrow it with --since and --until",
            summary.left_out
        ));
    }
    Ok(())
}

#[derive(Debug, Clone, Default)]
struct Count {
    allowed: u64,
    denied: u64,
    failed: u64,
    records: BTreeSet<RecordId>,
    records_are_more: bool,
}

impl Count {
    fn add(&mut self, record: &AccessRecord, touched: &[&Touched]) {
        let counter = match record.outcome {
            Outcome::Allowed => &mut self.allowed,
            Outcome::Denied => &mut self.denied,
            Outcome::Failed => &mut self.failed,
        };
        *counter = counter.saturating_add(record.count);
        for id in touched.iter().filter_map(|touched| touched.resource.parse().ok()) {
            if self.records.len() < KEYS_MAX {
                self.records.insert(id);
            } else if !self.records.contains(&id) {
                self.records_are_more = true;
            }
        }
    }

    fn all(&self) -> u64 {
        self.allowed.saturating_add(self.denied).saturating_add(self.failed)
    }
}

#[derive(Debug)]
struct Summary {
    by: By,
    zone: TimeZone,
    counts: BTreeMap<String, Count>,
    days: BTreeMap<Date, u64>,
    accesses: u64,
    left_out: u64,
}

impl Summary {
    fn new(by: By, zone: TimeZone) -> Self {
        Self { by, zone, counts: BTreeMap::new(), days: BTreeMap::new(), accesses: 0, left_out: 0 }
    }

    fn take(&mut self, access: &Access) {
        let record = &access.record;
        self.accesses = self.accesses.saturating_add(record.count);
        let day = record.at.to_jiff().to_zoned_datetime(self.zone.clone()).date();
        if self.days.len() < KEYS_MAX || self.days.contains_key(&day) {
            let count = self.days.entry(day).or_default();
            *count = count.saturating_add(record.count);
        }
        for (key, touched) in self.keys(access) {
            if self.counts.len() >= KEYS_MAX && !self.counts.contains_key(&key) {
                self.left_out = self.left_out.saturating_add(record.count);
                continue;
            }
            self.counts.entry(key).or_default().add(record, &touched);
        }
    }

    /// What an access counts for, each key once, and what was touched of it.
    fn keys<'a>(&self, access: &'a Access) -> BTreeMap<String, Vec<&'a Touched>> {
        let record = &access.record;
        let one = |key: String| BTreeMap::from([(key, record.touched.iter().collect())]);
        let mut several = BTreeMap::<String, Vec<&Touched>>::new();
        match self.by {
            By::Partner => one(record.member.map_or_else(|| "nobody known".to_owned(), |member| member.to_string())),
            By::Person => one(match &record.who {
                Some(who) => who.to_string(),
                None => host(&record.from).to_owned(),
            }),
            By::Policy => {
                for touched in &record.touched {
                    touched.because.iter().for_each(|id| several.entry(id.clone()).or_default().push(touched));
                }
                several
            }
            By::Record => {
                record.touched.iter().for_each(|t| several.entry(t.resource.clone()).or_default().push(t));
                several
            }
            By::Action => one(record.action.clone()),
        }
    }

    fn view(&self, time: Stretch) -> SummaryView {
        let mut rows: Vec<RowView> = self.counts.iter().map(|(key, count)| RowView::new(key, count)).collect();
        rows.sort_by(|a, b| b.accesses.cmp(&a.accesses).then_with(|| a.key.cmp(&b.key)));
        let by = self.by.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        SummaryView {
            by,
            since: time.since.map(|When(at)| at.to_string()),
            until: time.until.map(|Last(at)| at.to_string()),
            accesses: self.accesses,
            rows,
            zone: self.zone.iana_name().unwrap_or("the local zone").to_owned(),
            days: self
                .days
                .iter()
                .map(|(day, accesses)| DayView { day: day.to_string(), accesses: *accesses })
                .collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct SummaryView {
    by: String,
    since: Option<String>,
    until: Option<String>,
    accesses: u64,
    rows: Vec<RowView>,
    /// The zone in which a day is a day.
    zone: String,
    days: Vec<DayView>,
}

#[derive(Debug, Serialize)]
struct RowView {
    key: String,
    accesses: u64,
    allowed: u64,
    denied: u64,
    failed: u64,
    records: usize,
    /// Whether there were more records than are counted.
    records_are_more: bool,
}

impl RowView {
    fn new(key: &str, count: &Count) -> Self {
        Self {
            key: key.to_owned(),
            accesses: count.all(),
            allowed: count.allowed,
            denied: count.denied,
            failed: count.failed,
            records: count.records.len(),
            records_are_more: count.records_are_more,
        }
    }
}

#[derive(Debug, Serialize)]
struct DayView {
    day: String,
    accesses: u64,
}

impl SummaryView {
    fn page(&self, style: &Style) -> String {
        let mut page = Sections::new(style, &format!("{} accesses, by {}", self.accesses, self.by));
        let bars = Bars::new(style, self.rows.first().map_or(0, |row| row.accesses));
        let row = |row: &RowView| {
            let more = if row.records_are_more { "+" } else { "" };
            [
                wire::short_id(&row.key),
                row.allowed.to_string(),
                row.denied.to_string(),
                row.failed.to_string(),
                format!("{}{more}", row.records),
                bars.of(row.accesses),
            ]
        };
        let by = self.by.to_uppercase();
        page.table(
            "How many",
            [by.as_str(), "ALLOWED", "DENIED", "FAILED", "RECORDS", ""],
            self.rows.iter().take(SHOWN).map(row).collect(),
        );
        if self.rows.len() > SHOWN {
            page.line(&format!("  and {} more: -o json has all of them", self.rows.len() - SHOWN));
        }
        let bars = Bars::new(style, self.days.iter().map(|day| day.accesses).max().unwrap_or_default());
        let day = |day: &DayView| [day.day.clone(), day.accesses.to_string(), bars.of(day.accesses)];
        let shown = self.days.iter().skip(self.days.len().saturating_sub(SHOWN));
        page.table(&format!("Each day in {}", self.zone), ["DAY", "ACCESSES", ""], shown.map(day).collect());
        page.finish()
    }
}

/// Bars to one scale: blocks of an eighth on a terminal, `#` on paper.
#[derive(Debug, Clone, Copy)]
struct Bars {
    most: u64,
    chars: usize,
    is_terminal: bool,
}

impl Bars {
    fn new(style: &Style, most: u64) -> Self {
        let room = if style.is_terminal { Table::new().width().map(usize::from) } else { None };
        let chars = room.map_or(BAR_CHARS, |width| width.saturating_sub(BESIDE_CHARS).max(BAR_MIN_CHARS));
        Self { most, chars, is_terminal: style.is_terminal }
    }

    fn of(self, count: u64) -> String {
        const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
        let steps = if self.is_terminal { 8 } else { 1 };
        let whole = u128::from(count) * (self.chars * steps) as u128 / u128::from(self.most.max(1));
        // What is there at all is seen.
        let length = usize::try_from(whole).unwrap_or(usize::MAX).min(self.chars * steps).max(usize::from(count > 0));
        if self.is_terminal {
            format!("{}{}", "█".repeat(length / 8), EIGHTHS.get(length % 8).copied().unwrap_or_default())
        } else {
            "#".repeat(length)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::access::tests::access;
    use super::*;

    fn touched(resource: &str, because: &[&str]) -> Touched {
        Touched { because: because.iter().map(|b| (*b).to_owned()).collect(), ..Touched::resource(resource) }
    }

    fn counted(by: By) -> Vec<(String, u64, u64, usize)> {
        let mut summary = Summary::new(by, TimeZone::UTC);
        let (p, q) = ("FR-P-0000000000000000", "FR-P-0000000000000001");
        let mut denied = access(3, "", "handshake", Vec::new());
        denied.record.outcome = Outcome::Denied;
        denied.record.member = None;
        denied.record.count = 7;
        for access in [
            access(1, "operator/desk-1", "Get", vec![touched(p, &["a", "b"]), touched(q, &["a"])]),
            access(2, "operator/desk-1", "Get", vec![touched(p, &["b"])]),
            denied,
        ] {
            summary.take(&access);
        }
        let view = summary.view(Stretch::default());
        assert_eq!(view.days.iter().map(|day| day.accesses).sum::<u64>(), 9);
        view.rows.into_iter().map(|row| (wire::short_id(&row.key), row.accesses, row.denied, row.records)).collect()
    }

    #[test]
    fn each_access_counts_once_for_each_key() {
        let row = |key: &str, all, denied, records| (key.to_owned(), all, denied, records);
        assert_eq!(counted(By::Person), [row("10.0.0.1", 7, 7, 0), row("operator/desk-1", 2, 0, 2)]);
        assert_eq!(counted(By::Partner), [row("nobody known", 7, 7, 0), row("FR", 2, 0, 2)]);
        assert_eq!(counted(By::Policy), [row("b", 2, 0, 1), row("a", 1, 0, 2)]);
        assert_eq!(counted(By::Record), [row("FR-P-0000000000000000", 2, 0, 1), row("FR-P-0000000000000001", 1, 0, 1)]);
        assert_eq!(counted(By::Action), [row("handshake", 7, 7, 0), row("Get", 2, 0, 2)]);
    }

    #[test]
    fn bars_are_to_scale_and_never_too_long() {
        let paper = Bars { most: 60, chars: 30, is_terminal: false };
        assert_eq!((paper.of(0).len(), paper.of(1).len(), paper.of(30).len(), paper.of(60).len()), (0, 1, 15, 30));
        let screen = Bars { most: 16, chars: 2, ..paper };
        let screen = Bars { is_terminal: true, ..screen };
        assert_eq!([screen.of(16), screen.of(9), screen.of(1)], ["██", "█▏", "▏"]);
        let most = Bars { most: u64::MAX, chars: 500, is_terminal: true };
        assert_eq!(most.of(u64::MAX).chars().count(), 500);
    }
}

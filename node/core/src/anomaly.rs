//! What in an access log deserves a second look: rules with thresholds, run over its records in order. No clock: the records' own times
//! are all that counts.
//!
//! A finding is no accusation: it names the rule that fired, the numbers, and the leaves that show it. Memory is bounded: of the
//! identities of a rule the one that was quiet longest is forgotten, of a window its oldest accesses; [`Detector::forgotten`] says how
//! often.

mod change;
mod first_time;
mod track;

use std::fmt;

use crate::access::{AccessRecord, Outcome, PAGE_SENT};
use crate::member::MemberId;
use crate::record::RecordId;
use crate::spiffe::{Role, SpiffeId};
use crate::timestamp::Timestamp;

use self::change::Changes;
use self::first_time::Readers;
use self::track::{Episode, Measure, Tracks, Weight};

/// The most identities that a rule keeps at one time.
pub const IDENTITIES_MAX: usize = 10_000;
/// The most accesses in one window: no threshold is higher.
pub const WINDOW_MAX: usize = 10_000;
/// So many leaves are named as evidence.
pub const LEAVES_MAX: usize = 20;

/// The RPCs by which people read records.
const READS: [&str; 3] = ["RecordService/GetRecord", "RecordService/ListRecords", "ApprovalService/GetApproval"];

/// Which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Somebody reads who did not for long.
    FirstTimeReader,
    /// Many reads outside working hours.
    OutOfHours,
    /// Refused again and again.
    DenialRun,
    /// Many records in little time, by a person or to a partner.
    MassExport,
    /// A policy was changed, and much was read that never was before.
    PolicyChangeThenReads,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 5] =
        [Self::FirstTimeReader, Self::OutOfHours, Self::DenialRun, Self::MassExport, Self::PolicyChangeThenReads];

    /// As it stands in the file of thresholds.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstTimeReader => "first_time_reader",
            Self::OutOfHours => "out_of_hours",
            Self::DenialRun => "denial_run",
            Self::MassExport => "mass_export",
            Self::PolicyChangeThenReads => "policy_change_then_reads",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The thresholds. A rule that is not there is off. Spans are in microseconds.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// How long somebody was not seen reading.
    pub first_time_reader: Option<FirstTimeReader>,
    /// Reads outside hours.
    pub out_of_hours: Option<OutOfHours>,
    /// Denials in a row.
    pub denial_run: Option<DenialRun>,
    /// Many records at once.
    pub mass_export: Option<MassExport>,
    /// Reads after a change.
    pub policy_change_then_reads: Option<PolicyChangeThenReads>,
}

/// Whoever reads, and did not for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstTimeReader {
    /// How far back it is looked.
    pub baseline_micros: i64,
}

/// More than so many reads by one person outside hours within a window.
#[derive(Debug, Clone)]
pub struct OutOfHours {
    /// Whose hours they are.
    pub zone: jiff::tz::TimeZone,
    /// Working days.
    pub days: [bool; 7],
    /// When work begins and ends, as minutes of the day.
    pub from_minute: u16,
    /// The first minute that is no work any more.
    pub to_minute: u16,
    /// More than this.
    pub reads: u64,
    /// Within this.
    pub window_micros: i64,
}

/// So many denials in a row, or more, of one identity or source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenialRun {
    /// This or more.
    pub denials: u64,
    /// Within this.
    pub window_micros: i64,
}

/// More than so many distinct records within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MassExport {
    /// Read by one person: more than this.
    pub by_person: u64,
    /// Released to one partner: more than this.
    pub to_partner: u64,
    /// Within this.
    pub window_micros: i64,
}

/// After a policy for a party was applied, more than so many records sent to it that it never had; after clearances were, as many read by
/// one person that it never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyChangeThenReads {
    /// More than this.
    pub records: u64,
    /// Within this.
    pub window_micros: i64,
}

/// Who a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A person or node.
    Id(SpiffeId),
    /// A member or recipient.
    Party(MemberId),
    /// A stranger's address.
    Source(String),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Party(party) => write!(f, "{party}"),
            Self::Source(source) => f.write_str(source),
        }
    }
}

/// Something that deserves a second look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule that fired.
    pub rule: Rule,
    /// About whom.
    pub who: Identity,
    /// The first access of it.
    pub from: Timestamp,
    /// The last.
    pub to: Timestamp,
    /// How many there were at the most, in one window.
    pub count: u64,
    /// Against which threshold.
    pub threshold: u64,
    /// The leaves that show it: the first of them, at most [`LEAVES_MAX`].
    pub leaves: Vec<u64>,
    /// The last of them all.
    pub last_leaf: u64,
    /// What happened, in one sentence.
    pub sentence: String,
}

/// Runs the rules over an access log's records, which are given in order.
#[derive(Debug)]
pub struct Detector {
    rules: Rules,
    readers: Readers,
    out_of_hours: Tracks,
    denials: Tracks,
    by_person: Tracks,
    to_partner: Tracks,
    changes: Changes,
}

impl Detector {
    /// Before the first record.
    pub fn new(rules: Rules) -> Self {
        let window = |span: Option<i64>| span.unwrap_or_default();
        let out_of_hours = rules.out_of_hours.as_ref();
        Self {
            readers: Readers::default(),
            out_of_hours: Tracks::new(
                Measure::Sum,
                out_of_hours.map_or(u64::MAX, |rule| rule.reads),
                window(out_of_hours.map(|rule| rule.window_micros)),
            ),
            denials: Tracks::new(
                Measure::Sum,
                // "This or more" is more than one less.
                rules.denial_run.map_or(u64::MAX, |rule| rule.denials.saturating_sub(1)),
                window(rules.denial_run.map(|rule| rule.window_micros)),
            ),
            by_person: Tracks::new(
                Measure::Distinct,
                rules.mass_export.map_or(u64::MAX, |rule| rule.by_person),
                window(rules.mass_export.map(|rule| rule.window_micros)),
            ),
            to_partner: Tracks::new(
                Measure::Distinct,
                rules.mass_export.map_or(u64::MAX, |rule| rule.to_partner),
                window(rules.mass_export.map(|rule| rule.window_micros)),
            ),
            changes: Changes::default(),
            rules,
        }
    }

    /// Takes the next record; gives what came to its end with it.
    pub fn take(&mut self, leaf: u64, record: &AccessRecord) -> Vec<Finding> {
        let mut findings = Vec::new();
        let access = Access::of(leaf, record);
        if let (Some(rule), Some(who)) = (self.rules.first_time_reader, access.reader()) {
            findings.extend(self.readers.take(rule, who, leaf, record.at));
        } else {
            self.readers.begin(record.at);
        }
        if let (Some(rule), Some(person)) = (&self.rules.out_of_hours, access.reading_person())
            && !rule.is_at_work(record.at)
        {
            let ended = self.out_of_hours.push(&person, leaf, record.at, [Weight::Many(record.count)]);
            findings.extend(ended.into_iter().map(|(who, episode)| rule.finding(who, episode)));
        }
        if let Some(rule) = self.rules.denial_run {
            let who = access.anybody();
            let ended = match record.outcome {
                Outcome::Denied => self.denials.push(&who, leaf, record.at, [Weight::Many(record.count)]),
                // Only a row of denials is one: whatever was allowed between ends it.
                Outcome::Allowed => self.denials.cut(&who).into_iter().map(|episode| (who.clone(), episode)).collect(),
                Outcome::Failed => Vec::new(),
            };
            findings.extend(ended.into_iter().map(|(who, episode)| rule.finding(who, episode)));
        }
        if let Some(rule) = self.rules.mass_export {
            let records = || access.records.iter().copied().map(Weight::Record);
            if let Some(person) = access.reading_person() {
                let ended = self.by_person.push(&person, leaf, record.at, records());
                findings.extend(ended.into_iter().map(|(who, episode)| rule.finding(who, episode)));
            }
            if let Some(party) = access.sent_to.map(Identity::Party) {
                let ended = self.to_partner.push(&party, leaf, record.at, records());
                findings.extend(ended.into_iter().map(|(who, episode)| rule.finding(who, episode)));
            }
        }
        if let Some(rule) = self.rules.policy_change_then_reads {
            findings.extend(self.changes.take(rule, &access));
        }
        findings
    }

    /// Gives what had not come to an end.
    pub fn finish(mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(rule) = &self.rules.out_of_hours {
            findings.extend(self.out_of_hours.finish().map(|(who, episode)| rule.finding(who, episode)));
        }
        if let Some(rule) = self.rules.denial_run {
            findings.extend(self.denials.finish().map(|(who, episode)| rule.finding(who, episode)));
        }
        if let Some(rule) = self.rules.mass_export {
            findings.extend(self.by_person.finish().map(|(who, episode)| rule.finding(who, episode)));
            findings.extend(self.to_partner.finish().map(|(who, episode)| rule.finding(who, episode)));
        }
        if let Some(rule) = self.rules.policy_change_then_reads {
            findings.extend(self.changes.finish(rule));
        }
        findings
    }

    /// How often something was forgotten to stay within bounds: findings may be missing then, or too many be called new.
    pub fn forgotten(&self) -> u64 {
        let tracks = [&self.out_of_hours, &self.denials, &self.by_person, &self.to_partner];
        tracks.iter().map(|tracks| tracks.forgotten()).sum::<u64>()
            + self.readers.forgotten()
            + self.changes.forgotten()
    }
}

/// What the rules look at in a record.
#[derive(Debug)]
struct Access<'a> {
    leaf: u64,
    record: &'a AccessRecord,
    /// The records that were read or sent; of what was refused none.
    records: Vec<RecordId>,
    sent_to: Option<MemberId>,
}

impl<'a> Access<'a> {
    fn of(leaf: u64, record: &'a AccessRecord) -> Self {
        let allowed = record.outcome == Outcome::Allowed;
        let sent_to = if allowed && record.action == PAGE_SENT { record.member } else { None };
        let is_read = allowed && record.who.as_ref().is_some_and(|who| who.role() != Role::Node);
        let is_read = is_read && READS.contains(&record.action.as_str());
        let mut records = Vec::new();
        if sent_to.is_some() || is_read {
            let shown = record.touched.iter().filter(|touched| touched.view.as_deref() != Some("retract"));
            records.extend(shown.filter_map(|touched| touched.resource.parse::<RecordId>().ok()));
            records.sort_unstable();
            records.dedup();
        }
        Self { leaf, record, sent_to: sent_to.filter(|_| !records.is_empty()), records }
    }

    /// The person that read records.
    fn reading_person(&self) -> Option<Identity> {
        let who = self.record.who.as_ref().filter(|who| who.role() != Role::Node && !self.records.is_empty())?;
        Some(Identity::Id(who.clone()))
    }

    /// The person that read records, or the party that was sent some.
    fn reader(&self) -> Option<Identity> {
        self.sent_to.map(Identity::Party).or_else(|| self.reading_person())
    }

    fn anybody(&self) -> Identity {
        match &self.record.who {
            Some(who) => Identity::Id(who.clone()),
            // A port says nothing of who it is.
            None => Identity::Source(match self.record.from.rsplit_once(':') {
                Some((host, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
                _ => self.record.from.clone(),
            }),
        }
    }
}

impl OutOfHours {
    fn is_at_work(&self, at: Timestamp) -> bool {
        let local = at.to_jiff().to_zoned_datetime(self.zone.clone());
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or_default();
        let day = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or_default();
        self.days.get(day).copied().unwrap_or_default() && (self.from_minute..self.to_minute).contains(&minute)
    }

    fn finding(&self, who: Identity, episode: Episode) -> Finding {
        let sentence = format!(
            "{who} read {} times outside working hours within {}: more than {}",
            episode.count,
            span(self.window_micros),
            self.reads
        );
        episode.finding(Rule::OutOfHours, who, self.reads, sentence)
    }
}

impl DenialRun {
    fn finding(self, who: Identity, episode: Episode) -> Finding {
        let within = span(self.window_micros);
        let sentence =
            format!("{who} was refused {} times in a row within {within}: {} or more", episode.count, self.denials);
        episode.finding(Rule::DenialRun, who, self.denials, sentence)
    }
}

impl MassExport {
    fn finding(self, who: Identity, episode: Episode) -> Finding {
        let within = span(self.window_micros);
        let (threshold, sentence) = match who {
            Identity::Party(party) => {
                (self.to_partner, format!("{party} was sent {} records within {within}", episode.count))
            }
            _ => (self.by_person, format!("{who} read {} records within {within}", episode.count)),
        };
        episode.finding(Rule::MassExport, who, threshold, format!("{sentence}: more than {threshold}"))
    }
}

/// A span in its largest whole unit.
fn span(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        s if s != 0 && s % 86_400 == 0 => format!("{} days", s / 86_400),
        s if s != 0 && s % 3_600 == 0 => format!("{} hours", s / 3_600),
        s if s != 0 && s % 60 == 0 => format!("{} minutes", s / 60),
        s => format!("{s} seconds"),
    }
}

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;

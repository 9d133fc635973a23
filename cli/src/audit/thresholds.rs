//! The thresholds of `comity audit anomalies`, as their file says them.

use std::path::Path;

use comity_core::anomaly::{
    DenialRun, FirstTimeReader, MassExport, OutOfHours, PolicyChangeThenReads, Rules, WINDOW_MAX,
};
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::Deserialize;

use crate::connection::read_bounded;
use crate::failure::Failure;

/// Every key with its comment, at its default.
pub(super) const EXAMPLE: &str = include_str!("thresholds.toml");

/// The largest file of thresholds, in bytes.
const FILE_MAX_BYTES: u64 = 64 * 1024;
const MINUTE_MICROS: i64 = 60 * 1_000_000;
/// The longest window or baseline: ten years.
const DAYS_MAX: u32 = 3_660;

/// The rules of a file, or the defaults.
pub(super) fn rules(file: Option<&Path>) -> Result<Rules, Failure> {
    let Some(path) = file else { return parse("") };
    let bytes = read_bounded(path, FILE_MAX_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned());
    let problem = |problem: String| Failure::error(format!("{}: {problem}", path.display()));
    let next = "comity audit anomalies --example";
    text.map_err(problem)
        .and_then(|text| parse(&text).map_err(|e| problem(e.message().to_owned())))
        .map_err(|e| e.next(next))
}

fn parse(text: &str) -> Result<Rules, Failure> {
    let file: File = toml::from_str(text).map_err(|e| Failure::error(e.to_string().trim_end()))?;
    Ok(Rules {
        first_time_reader: file.first_time_reader.rule()?,
        out_of_hours: file.out_of_hours.rule()?,
        denial_run: file.denial_run.rule()?,
        mass_export: file.mass_export.rule()?,
        policy_change_then_reads: file.policy_change_then_reads.rule()?,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    first_time_reader: FirstTimeReaderSection,
    out_of_hours: OutOfHoursSection,
    denial_run: DenialRunSection,
    mass_export: MassExportSection,
    policy_change_then_reads: PolicyChangeSection,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FirstTimeReaderSection {
    enabled: bool,
    baseline_days: u32,
}

impl Default for FirstTimeReaderSection {
    fn default() -> Self {
        Self { enabled: true, baseline_days: 30 }
    }
}

impl FirstTimeReaderSection {
    fn rule(&self) -> Result<Option<FirstTimeReader>, Failure> {
        let days = within("first_time_reader.baseline_days", self.baseline_days, DAYS_MAX)?;
        let rule = FirstTimeReader { baseline_micros: i64::from(days) * 24 * 60 * MINUTE_MICROS };
        Ok(self.enabled.then_some(rule))
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OutOfHoursSection {
    enabled: bool,
    zone: String,
    days: Vec<Day>,
    from: String,
    to: String,
    reads: u32,
    window_minutes: u32,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Default for OutOfHoursSection {
    fn default() -> Self {
        Self {
            enabled: true,
            zone: "UTC".to_owned(),
            days: vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri],
            from: "07:00".to_owned(),
            to: "20:00".to_owned(),
            reads: 20,
            window_minutes: 60,
        }
    }
}

impl OutOfHoursSection {
    fn rule(&self) -> Result<Option<OutOfHours>, Failure> {
        let zone = TimeZone::get(&self.zone).map_err(|_| {
            let problem = "expected a zone of the IANA database that this machine knows, as Europe/Paris";
            Failure::error(format!("out_of_hours.zone: `{}`: {problem}", self.zone))
        })?;
        let (from_minute, to_minute) = (minute("from", &self.from)?, minute("to", &self.to)?);
        if from_minute >= to_minute {
            return Err(Failure::error("out_of_hours.to: expected a time after out_of_hours.from on the same day"));
        }
        let mut days = [false; 7];
        for day in &self.days {
            if let Some(works) = days.get_mut(*day as usize) {
                *works = true;
            }
        }
        let rule = OutOfHours {
            zone,
            days,
            from_minute,
            to_minute,
            reads: threshold("out_of_hours.reads", self.reads)?,
            window_micros: window("out_of_hours.window_minutes", self.window_minutes)?,
        };
        Ok(self.enabled.then_some(rule))
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DenialRunSection {
    enabled: bool,
    denials: u32,
    window_minutes: u32,
}

impl Default for DenialRunSection {
    fn default() -> Self {
        Self { enabled: true, denials: 5, window_minutes: 10 }
    }
}

impl DenialRunSection {
    fn rule(&self) -> Result<Option<DenialRun>, Failure> {
        let rule = DenialRun {
            denials: threshold("denial_run.denials", self.denials)?,
            window_micros: window("denial_run.window_minutes", self.window_minutes)?,
        };
        Ok(self.enabled.then_some(rule))
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MassExportSection {
    enabled: bool,
    records_by_person: u32,
    records_to_partner: u32,
    window_minutes: u32,
}

impl Default for MassExportSection {
    fn default() -> Self {
        Self { enabled: true, records_by_person: 100, records_to_partner: 500, window_minutes: 60 }
    }
}

impl MassExportSection {
    fn rule(&self) -> Result<Option<MassExport>, Failure> {
        let rule = MassExport {
            by_person: threshold("mass_export.records_by_person", self.records_by_person)?,
            to_partner: threshold("mass_export.records_to_partner", self.records_to_partner)?,
            window_micros: window("mass_export.window_minutes", self.window_minutes)?,
        };
        Ok(self.enabled.then_some(rule))
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PolicyChangeSection {
    enabled: bool,
    records: u32,
    window_minutes: u32,
}

impl Default for PolicyChangeSection {
    fn default() -> Self {
        Self { enabled: true, records: 10, window_minutes: 60 }
    }
}

impl PolicyChangeSection {
    fn rule(&self) -> Result<Option<PolicyChangeThenReads>, Failure> {
        let rule = PolicyChangeThenReads {
            records: threshold("policy_change_then_reads.records", self.records)?,
            window_micros: window("policy_change_then_reads.window_minutes", self.window_minutes)?,
        };
        Ok(self.enabled.then_some(rule))
    }
}

fn within(key: &str, value: u32, most: u32) -> Result<u32, Failure> {
    if (1..=most).contains(&value) { Ok(value) } else { Err(Failure::error(format!("{key}: expected 1 to {most}"))) }
}

fn threshold(key: &str, value: u32) -> Result<u64, Failure> {
    within(key, value, u32::try_from(WINDOW_MAX).unwrap_or(u32::MAX)).map(u64::from)
}

fn window(key: &str, minutes: u32) -> Result<i64, Failure> {
    Ok(i64::from(within(key, minutes, DAYS_MAX * 24 * 60)?) * MINUTE_MICROS)
}

/// A time of the day as its minute; 24:00 is the end of it.
fn minute(key: &str, text: &str) -> Result<u16, Failure> {
    if text == "24:00" {
        return Ok(24 * 60);
    }
    let problem = || Failure::error(format!("out_of_hours.{key}: `{text}`: expected a time of the day as 07:00"));
    let time: Time = text.parse().map_err(|_| problem())?;
    u16::try_from(i32::from(time.hour()) * 60 + i32::from(time.minute())).map_err(|_| problem())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_says_the_defaults_and_every_key() {
        let (example, none) = (parse(EXAMPLE).unwrap(), parse("").unwrap());
        assert_eq!(format!("{example:?}"), format!("{none:?}"));
        let file: toml::Table = EXAMPLE.parse().unwrap();
        let keys: usize = file.values().map(|section| section.as_table().unwrap().len()).sum();
        assert_eq!((file.len(), keys), (5, 2 + 7 + 3 + 4 + 3));
        // Each key has a comment before it.
        for line in EXAMPLE.lines().filter(|line| line.contains(" = ")) {
            assert!(line.starts_with("enabled") || !line.starts_with(' '), "{line}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            ("[denial_runs]", vec!["denial_runs", "expected"]),
            ("[denial_run]\nreads = 3", vec!["reads", "denials"]),
            ("[denial_run]\ndenials = 0", vec!["denial_run.denials", "1 to 10000"]),
            ("[mass_export]\nrecords_by_person = 10001", vec!["mass_export.records_by_person"]),
            ("[out_of_hours]\nzone = \"Mars/Base\"", vec!["out_of_hours.zone", "Mars/Base", "Europe/Paris"]),
            ("[out_of_hours]\nfrom = \"7\"", vec!["out_of_hours.from", "07:00"]),
            ("[out_of_hours]\nfrom = \"21:00\"", vec!["out_of_hours.to", "after"]),
            ("[out_of_hours]\ndays = [\"montag\"]", vec!["montag", "mon"]),
            ("[first_time_reader]\nbaseline_days = -1", vec!["baseline_days"]),
            ("not toml", vec!["not toml"]),
        ] {
            let failure = parse(text).unwrap_err();
            for word in words {
                assert!(failure.message().contains(word), "{text}: `{word}` in {}", failure.message());
            }
        }
    }

    #[test]
    fn a_rule_can_be_switched_off_and_a_threshold_moved() {
        let rules = parse("[denial_run]\nenabled = false\n[mass_export]\nrecords_by_person = 3").unwrap();
        assert!(rules.denial_run.is_none());
        assert_eq!(rules.mass_export.unwrap().by_person, 3);
        assert_eq!(rules.mass_export.unwrap().to_partner, 500);
    }
}

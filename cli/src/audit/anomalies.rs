//! `comity audit anomalies`: what in the log deserves a second look, each with the rule that fired.

use std::path::Path;

use comity_core::Timestamp;
use comity_core::anomaly::{Detector, Finding, Rules};
use jiff::SignedDuration;
use serde::Serialize;

use super::access::each;
use super::filter::{Filter, Stretch};
use super::sections::Sections;
use super::thresholds::{EXAMPLE, rules};
use crate::failure::Failure;
use crate::page::Style;
use crate::session::Session;
use crate::when::{self, Last, When};

/// So many findings are kept; further ones are counted.
const FINDINGS_MAX: usize = 10_000;

pub(super) async fn run(
    session: &mut Session<'_>,
    time: Stretch,
    file: Option<&Path>,
    example: bool,
) -> Result<(), Failure> {
    if example {
        return session.output.bytes(EXAMPLE.as_bytes());
    }
    let rules = rules(file)?;
    let since = time.since.map(|When(at)| Timestamp::from_jiff(at));
    let filter = Filter { time: Stretch { since: looked_at(&rules, time.since), ..time }, ..Filter::default() };
    let (mut detector, mut found) = (Detector::new(rules), Found::new(since));
    each(session, &filter, |access| found.take(detector.take(access.leaf, &access.record))).await?;
    let forgotten = detector.forgotten();
    found.take(detector.finish());
    let view = found.view(time, forgotten);
    session.output.show(&view, |style| view.page(style))?;
    if view.left_out > 0 {
        session.output.note(&format!(
            "{} findings are left out: raise the thresholds, or narrow it with --since and --until",
            view.left_out
        ));
    }
    if forgotten > 0 {
        session.output.note(&format!(
            "something was forgotten {forgotten} times to stay within bounds: findings may be missing, or too many be called new; \
             narrow it with --since and --until"
        ));
    }
    Ok(())
}

/// From when on the log is read, so that whoever read before is known: what is found there alone is not shown.
fn looked_at(rules: &Rules, since: Option<When>) -> Option<When> {
    let spans = [
        rules.first_time_reader.map(|rule| rule.baseline_micros),
        rules.out_of_hours.as_ref().map(|rule| rule.window_micros),
        rules.denial_run.map(|rule| rule.window_micros),
        rules.mass_export.map(|rule| rule.window_micros),
    ];
    // What somebody ever had before a change only the whole log knows.
    if rules.policy_change_then_reads.is_some() {
        return None;
    }
    let before = spans.into_iter().flatten().max().unwrap_or_default();
    since.and_then(|When(at)| at.checked_sub(SignedDuration::from_micros(before)).ok()).map(When)
}

/// What was found so far.
#[derive(Debug)]
struct Found {
    since: Option<Timestamp>,
    findings: Vec<Finding>,
    left_out: u64,
}

impl Found {
    fn new(since: Option<Timestamp>) -> Self {
        Self { since, findings: Vec::new(), left_out: 0 }
    }

    fn take(&mut self, findings: Vec<Finding>) {
        for finding in findings.into_iter().filter(|finding| self.since.is_none_or(|since| finding.to >= since)) {
            if self.findings.len() < FINDINGS_MAX {
                self.findings.push(finding);
            } else {
                self.left_out += 1;
            }
        }
    }

    fn view(mut self, time: Stretch, forgotten: u64) -> AnomaliesView {
        self.findings.sort_by_key(|finding| (finding.from, finding.rule, finding.last_leaf));
        AnomaliesView {
            since: time.since.map(|When(at)| at.to_string()),
            until: time.until.map(|Last(at)| at.to_string()),
            findings: self.findings.iter().map(FindingView::from).collect(),
            left_out: self.left_out,
            forgotten,
        }
    }
}

#[derive(Debug, Serialize)]
struct AnomaliesView {
    since: Option<String>,
    until: Option<String>,
    findings: Vec<FindingView>,
    left_out: u64,
    forgotten: u64,
}

#[derive(Debug, Serialize)]
struct FindingView {
    rule: &'static str,
    who: String,
    from: Timestamp,
    to: Timestamp,
    count: u64,
    threshold: u64,
    leaves: Vec<u64>,
    last_leaf: u64,
    sentence: String,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        Self {
            rule: finding.rule.as_str(),
            who: finding.who.to_string(),
            from: finding.from,
            to: finding.to,
            count: finding.count,
            threshold: finding.threshold,
            leaves: finding.leaves.clone(),
            last_leaf: finding.last_leaf,
            sentence: finding.sentence.clone(),
        }
    }
}

impl AnomaliesView {
    fn page(&self, style: &Style) -> String {
        let title = match self.findings.len() {
            0 => "Nothing deserves a second look".to_owned(),
            1 => "1 finding".to_owned(),
            many => format!("{many} findings"),
        };
        let mut page = Sections::new(style, &title);
        for finding in &self.findings {
            page.line("");
            page.line(&format!("{}  {}", finding.rule, finding.sentence));
            page.line(&format!("  from    {}", when::stated(finding.from.to_jiff())));
            page.line(&format!("  to      {}", when::stated(finding.to.to_jiff())));
            page.line(&format!("  leaves  {}", finding.leaves()));
        }
        if !self.findings.is_empty() {
            page.line("");
            page.line("A finding is no accusation. Each leaf: comity audit log --oldest-first, with the times above.");
        }
        page.finish()
    }
}

impl FindingView {
    fn leaves(&self) -> String {
        let named = self.leaves.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        if self.leaves.last().is_none_or(|last| *last == self.last_leaf) {
            named
        } else {
            format!("{named} ... {}", self.last_leaf)
        }
    }
}

#[cfg(test)]
mod tests {
    use comity_core::access::Outcome;

    use super::super::access::tests::access;
    use super::*;

    #[test]
    fn a_finding_names_its_rule_its_numbers_and_its_leaves() {
        let mut detector = Detector::new(rules(None).unwrap());
        let mut found = Found::new(None);
        for leaf in 0..40 {
            let mut denied = access(leaf, "operator/desk-1", "AuditService/ListAccessRecords", Vec::new());
            denied.record.outcome = Outcome::Denied;
            found.take(detector.take(denied.leaf, &denied.record));
        }
        found.take(detector.finish());
        let view = found.view(Stretch::default(), 0);
        let page = view.page(&Style { colour: false, is_terminal: false });
        assert!(
            page.starts_with("1 finding\n\ndenial_run  spiffe://fr.comity.example/operator/desk-1 was refused 40"),
            "{page}"
        );
        assert!(page.contains("leaves  0, 1, 2, ") && page.contains(", 19 ... 39"), "{page}");
    }

    #[test]
    fn what_was_found_before_is_not_shown() {
        let mut found = Found::new(Some("2027-01-15T08:00:10Z".parse().unwrap()));
        let mut detector = Detector::new(rules(None).unwrap());
        let denied = |leaf| {
            let mut denied = access(leaf, "operator/desk-1", "x", Vec::new());
            denied.record.outcome = Outcome::Denied;
            denied
        };
        for leaf in 0..8 {
            found.take(detector.take(leaf, &denied(leaf).record));
        }
        found.take(detector.finish());
        assert!(found.findings.is_empty());
    }

    #[test]
    fn the_log_is_read_from_before_the_stretch() {
        let mut rules = rules(None).unwrap();
        let since = When("2026-11-23T00:00:00Z".parse().unwrap());
        assert_eq!(looked_at(&rules, Some(since)), None, "what somebody ever had is in all of it");
        rules.policy_change_then_reads = None;
        assert_eq!(looked_at(&rules, Some(since)).unwrap().0.to_string(), "2026-10-24T00:00:00Z");
        assert_eq!(looked_at(&rules, None), None);
    }
}

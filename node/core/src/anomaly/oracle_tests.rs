//! Each rule against the plainest way to say it: every pair of accesses looked at, nothing kept between them.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::access::Touched;

/// What can be told of a finding, without its sentence.
type Told = (Rule, String, i64, i64, u64, u64, Vec<u64>, u64);

fn told(finding: &Finding) -> Told {
    let Finding { rule, who, from, to, count, threshold, leaves, last_leaf, .. } = finding.clone();
    (rule, who.to_string(), from.as_micros(), to.as_micros(), count, threshold, leaves, last_leaf)
}

const SECOND: i64 = 1_000_000;
const BASE: i64 = 1_800_000_000 * SECOND;

fn rules() -> Rules {
    Rules {
        first_time_reader: Some(FirstTimeReader { baseline_micros: 60 * SECOND }),
        out_of_hours: Some(OutOfHours {
            zone: jiff::tz::TimeZone::UTC,
            days: [true; 7],
            // The times below begin at 08:00: work ends after a minute.
            from_minute: 0,
            to_minute: 8 * 60 + 1,
            reads: 2,
            window_micros: 20 * SECOND,
        }),
        denial_run: Some(DenialRun { denials: 3, window_micros: 15 * SECOND }),
        mass_export: Some(MassExport { by_person: 2, to_partner: 3, window_micros: 20 * SECOND }),
        policy_change_then_reads: Some(PolicyChangeThenReads { records: 1, window_micros: 30 * SECOND }),
    }
}

fn record(n: usize) -> RecordId {
    format!("FR-P-000000000000000{n}").parse().unwrap()
}

/// One access of a small world: three people, two partners, five records, times that mostly go on.
fn access() -> impl Strategy<Value = (i64, AccessRecord)> {
    let touched = prop::collection::vec((0..5_usize, prop::bool::weighted(0.2)), 0..4);
    (-2..9_i64, 0..8_usize, 0..3_usize, touched, prop::bool::weighted(0.3), 1..3_u64).prop_map(
        |(step, kind, who, touched, denied, count)| {
            let person: SpiffeId = format!("spiffe://fr.comity.example/operator/desk-{who}").parse().unwrap();
            let party: MemberId = if who == 0 { "DE" } else { "CA" }.parse().unwrap();
            let touched = touched.into_iter().map(|(n, retracted)| {
                let view = retracted.then(|| "retract".to_owned());
                Touched { view, ..Touched::record(record(n), None) }
            });
            let mut access = AccessRecord {
                outcome: if denied { Outcome::Denied } else { Outcome::Allowed },
                touched: touched.collect(),
                ..AccessRecord::new(Timestamp::from_micros(BASE).unwrap(), format!("10.0.0.{who}:4000"), "handshake")
            };
            match kind {
                0..=2 => {
                    access.action = READS[kind].to_owned();
                    access.who = Some(person);
                }
                3 | 4 => {
                    access.action = PAGE_SENT.to_owned();
                    access.who = Some(format!("spiffe://{}.x/node/n", party.as_str().to_lowercase()).parse().unwrap());
                    access.member = Some(party);
                }
                5 => {
                    access.action = "ApprovalService/DecideApproval".to_owned();
                    let changed = if who == 2 { "people".to_owned() } else { format!("policy/{party}") };
                    access.touched = vec![Touched::resource(changed).by(if count == 1 { "done" } else { "refused" })];
                    access.who = Some(person);
                }
                6 => access.count = count,
                _ => access.outcome = Outcome::Failed,
            }
            (step, access)
        },
    )
}

fn log() -> impl Strategy<Value = Vec<AccessRecord>> {
    prop::collection::vec(access(), 0..120).prop_map(|accesses| {
        let mut at = BASE;
        let stamped = accesses.into_iter().map(|(step, access)| {
            at += step * SECOND;
            AccessRecord { at: Timestamp::from_micros(at).unwrap(), ..access }
        });
        stamped.collect()
    })
}

fn read_of(record: &AccessRecord) -> Option<(String, BTreeSet<RecordId>)> {
    if record.outcome != Outcome::Allowed {
        return None;
    }
    let shown: BTreeSet<RecordId> = record
        .touched
        .iter()
        .filter(|t| t.view.as_deref() != Some("retract"))
        .map(|t| t.resource.parse().ok())
        .collect::<Option<_>>()?;
    if shown.is_empty() {
        None
    } else if record.action == PAGE_SENT {
        Some((record.member?.to_string(), shown))
    } else if READS.contains(&record.action.as_str()) {
        Some((record.who.as_ref()?.to_string(), shown))
    } else {
        None
    }
}

fn is_party(who: &str) -> bool {
    who.len() == 2
}

/// An access as the rules with windows see it: whose, when, which leaf, and what it adds.
struct Seen {
    at: i64,
    leaf: u64,
    adds: BTreeSet<(u64, Option<RecordId>)>,
}

/// All stretches of one identity's accesses after each of which the window holds more than the threshold.
fn episodes(seen: &[Seen], threshold: u64, window: i64) -> Vec<(i64, i64, u64, Vec<u64>, u64)> {
    let time = |i: usize| seen[..=i].iter().map(|s| s.at).max().unwrap();
    let within = |i: usize| (0..=i).filter(move |j| time(*j) > time(i) - window).collect::<Vec<_>>();
    let count = |i: usize| {
        let all: BTreeSet<_> = within(i).into_iter().flat_map(|j| seen[j].adds.iter().copied()).collect();
        // Records are told apart by themselves, other accesses by their leaf.
        let records: BTreeSet<_> = all.iter().filter_map(|(_, record)| *record).collect();
        records.len() as u64 + all.iter().filter(|(_, record)| record.is_none()).map(|(n, _)| n % 100).sum::<u64>()
    };
    let hot: Vec<bool> = (0..seen.len()).map(|i| count(i) > threshold).collect();
    let begins = (0..seen.len()).filter(|i| hot[*i] && (*i == 0 || !hot[*i - 1]));
    begins
        .map(|first| {
            let last = (first..seen.len()).take_while(|i| hot[*i]).last().unwrap();
            let mut leaves: Vec<u64> =
                within(first).into_iter().chain(first + 1..=last).map(|i| seen[i].leaf).collect();
            leaves.dedup();
            leaves.truncate(LEAVES_MAX);
            let most = (first..=last).map(count).max().unwrap();
            (time(within(first)[0]), time(last), most, leaves, seen[last].leaf)
        })
        .collect()
}

fn windowed(
    rule: Rule,
    log: &[AccessRecord],
    threshold: impl Fn(&str) -> (u64, u64),
    window: i64,
    seen: impl Fn(u64, &AccessRecord) -> Option<(String, BTreeSet<(u64, Option<RecordId>)>)>,
    cuts: impl Fn(&AccessRecord) -> Option<String>,
) -> Vec<Told> {
    let all: Vec<_> = log.iter().zip(0..).filter_map(|(r, leaf)| Some((leaf, r, seen(leaf, r)?))).collect();
    let whos: BTreeSet<String> = all.iter().map(|(.., (who, _))| who.clone()).collect();
    let mut found = Vec::new();
    for who in whos {
        let cut: Vec<u64> =
            log.iter().zip(0..).filter(|(r, _)| cuts(r).as_ref() == Some(&who)).map(|(_, leaf)| leaf).collect();
        let bounds: Vec<u64> = [0].into_iter().chain(cut).chain([u64::MAX]).collect();
        for pair in bounds.windows(2) {
            let part: Vec<Seen> = all
                .iter()
                .filter(|(leaf, _, (w, _))| *w == who && (pair[0]..pair[1]).contains(leaf))
                .map(|(leaf, r, (_, adds))| Seen { at: r.at.as_micros(), leaf: *leaf, adds: adds.clone() })
                .collect();
            let (over, told) = threshold(&who);
            for (from, to, count, leaves, last) in episodes(&part, over, window) {
                found.push((rule, who.clone(), from, to, count, told, leaves, last));
            }
        }
    }
    found
}

fn naive(log: &[AccessRecord]) -> Vec<Told> {
    let rules = rules();
    let mut found = Vec::new();
    // Somebody reads, and no read of theirs lies in the baseline before it.
    let baseline = rules.first_time_reader.unwrap().baseline_micros;
    for (i, record) in log.iter().enumerate() {
        let Some((who, _)) = read_of(record) else { continue };
        let earlier = log[..i].iter().filter(|r| read_of(r).is_some_and(|(w, _)| w == who));
        let at = record.at.as_micros();
        if earlier.clone().all(|r| at - r.at.as_micros() > baseline) {
            found.push((Rule::FirstTimeReader, who, at, at, 1, 0, vec![i as u64], i as u64));
        }
    }
    // More than two reads after the first minute, which is work.
    let late = |leaf: u64, r: &AccessRecord| {
        let (who, _) = read_of(r).filter(|(who, _)| !is_party(who))?;
        let micros_of_day = r.at.as_micros().rem_euclid(86_400 * SECOND);
        (micros_of_day >= (8 * 3_600 + 60) * SECOND).then(|| (who, BTreeSet::from([(leaf * 100 + r.count, None)])))
    };
    found.extend(windowed(Rule::OutOfHours, log, |_| (2, 2), 20 * SECOND, late, |_| None));
    // Three denials or more, and nothing allowed between.
    let source =
        |r: &AccessRecord| r.who.as_ref().map_or(r.from.split(':').next().unwrap().to_owned(), |w| w.to_string());
    let denied = |leaf: u64, r: &AccessRecord| {
        (r.outcome == Outcome::Denied).then(|| (source(r), BTreeSet::from([(leaf * 100 + r.count, None)])))
    };
    let allowed = |r: &AccessRecord| (r.outcome == Outcome::Allowed).then(|| source(r));
    found.extend(windowed(Rule::DenialRun, log, |_| (2, 3), 15 * SECOND, denied, allowed));
    // More than so many records.
    let export = |leaf: u64, r: &AccessRecord| {
        read_of(r).map(|(who, records)| (who, records.into_iter().map(|record| (leaf, Some(record))).collect()))
    };
    let threshold = |who: &str| if is_party(who) { (3, 3) } else { (2, 2) };
    found.extend(windowed(Rule::MassExport, log, threshold, 20 * SECOND, export, |_| None));
    found.extend(after_changes(log, 30 * SECOND));
    found
}

/// Whatever came to somebody after the last change that concerns it, in time, and never before.
fn after_changes(log: &[AccessRecord], window: i64) -> Vec<Told> {
    let concerns = |r: &AccessRecord, who: &str| {
        r.action == "ApprovalService/DecideApproval"
            && r.outcome == Outcome::Allowed
            && r.touched.iter().any(|t| {
                let wanted = if is_party(who) { format!("policy/{who}") } else { "people".to_owned() };
                t.resource == wanted && t.view.as_deref() == Some("done")
            })
    };
    let whos: BTreeSet<String> = log.iter().filter_map(|r| read_of(r).map(|(who, _)| who)).collect();
    let mut found = Vec::new();
    for who in whos {
        let changes: Vec<usize> = (0..log.len()).filter(|i| concerns(&log[*i], &who)).collect();
        for (nth, change) in changes.iter().enumerate() {
            let end = changes.get(nth + 1).copied().unwrap_or(log.len());
            let mine = |i: &usize| read_of(&log[*i]).filter(|(w, _)| *w == who);
            // Once too late, later ones that claim an earlier time are a stretch of their own.
            let mut stretch: Vec<usize> = Vec::new();
            let mut stretches = Vec::new();
            for i in (*change..end).filter(|i| mine(i).is_some()) {
                if log[i].at.as_micros() - log[*change].at.as_micros() <= window {
                    stretch.push(i);
                } else {
                    stretches.push(std::mem::take(&mut stretch));
                }
            }
            stretches.push(stretch);
            for stretch in stretches {
                let new = |i: usize| {
                    let (_, records) = mine(&i).unwrap();
                    let had = |record: &RecordId| (0..i).any(|j| mine(&j).is_some_and(|(_, r)| r.contains(record)));
                    records.into_iter().filter(|record| !had(record)).count() as u64
                };
                let gained: Vec<usize> = stretch.into_iter().filter(|i| new(*i) > 0).collect();
                let count: u64 = gained.iter().map(|i| new(*i)).sum();
                if count > 1 {
                    let to = gained.iter().map(|i| log[*i].at.as_micros()).max().unwrap();
                    let mut leaves: Vec<u64> = [*change].iter().chain(&gained).map(|i| *i as u64).collect();
                    leaves.truncate(LEAVES_MAX);
                    let last = *gained.last().unwrap() as u64;
                    let from = log[*change].at.as_micros();
                    found.push((Rule::PolicyChangeThenReads, who.clone(), from, to, count, 1, leaves, last));
                }
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_rule_finds_what_the_plain_way_finds(log in log()) {
        let mut detector = Detector::new(rules());
        let mut findings = Vec::new();
        for (record, leaf) in log.iter().zip(0..) {
            findings.extend(detector.take(leaf, record));
        }
        prop_assert_eq!(detector.forgotten(), 0);
        findings.extend(detector.finish());
        let mut found: Vec<Told> = findings.iter().map(told).collect();
        let mut expected = naive(&log);
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn the_small_world_has_something_of_every_rule() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut fired = BTreeSet::new();
    for _ in 0..200 {
        let log = log().new_tree(&mut runner).unwrap().current();
        fired.extend(naive(&log).into_iter().map(|(rule, ..)| rule));
    }
    assert_eq!(fired, Rule::ALL.into_iter().collect());
}

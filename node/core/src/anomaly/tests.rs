use super::*;
use crate::access::Touched;

const MINUTE: i64 = 60 * 1_000_000;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn person(name: &str) -> SpiffeId {
    format!("spiffe://fr.comity.example/operator/{name}").parse().unwrap()
}

fn read(at: Timestamp, who: &str, n: u64) -> AccessRecord {
    AccessRecord {
        who: Some(person(who)),
        touched: vec![Touched::resource(format!("FR-P-{n:016}"))],
        ..AccessRecord::new(at, "10.0.0.1:1", READS[0])
    }
}

fn run(rules: Rules, records: &[AccessRecord]) -> (Vec<Finding>, u64) {
    let mut detector = Detector::new(rules);
    let mut findings = Vec::new();
    for (record, leaf) in records.iter().zip(100..) {
        findings.extend(detector.take(leaf, record));
    }
    let forgotten = detector.forgotten();
    findings.extend(detector.finish());
    (findings, forgotten)
}

fn later(from: &str, minutes: i64) -> Timestamp {
    Timestamp::from_micros(at(from).as_micros() + minutes * MINUTE).unwrap()
}

#[test]
fn hours_are_those_of_the_zone_and_a_weekend_is_none() {
    let rule = OutOfHours {
        zone: jiff::tz::TimeZone::fixed(jiff::tz::offset(2)),
        days: [true, true, true, true, true, false, false],
        from_minute: 7 * 60,
        to_minute: 20 * 60,
        reads: 0,
        window_micros: MINUTE,
    };
    for (time, is_at_work) in [
        ("2026-11-23T05:00:00Z", true),  // Monday, 07:00 there
        ("2026-11-23T04:59:59Z", false), // a second earlier
        ("2026-11-23T17:59:59Z", true),
        ("2026-11-23T18:00:00Z", false),
        ("2026-11-20T23:00:00Z", false), // Saturday there
        ("2026-11-22T10:00:00Z", false), // Sunday
    ] {
        assert_eq!(rule.is_at_work(at(time)), is_at_work, "{time}");
    }
}

#[test]
fn as_many_as_the_threshold_are_not_more() {
    let rules = || Rules {
        mass_export: Some(MassExport { by_person: 3, to_partner: 3, window_micros: 10 * MINUTE }),
        ..Rules::default()
    };
    let reads = |n: u64| (0..n).map(|n| read(later("2026-11-23T09:00:00Z", n as i64), "desk-1", n)).collect::<Vec<_>>();
    assert_eq!(run(rules(), &reads(3)).0, []);
    let (findings, _) = run(rules(), &reads(4));
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.count, finding.threshold), (4, 3));
    assert_eq!((finding.leaves.as_slice(), finding.last_leaf), ([100, 101, 102, 103].as_slice(), 103));
    assert!(finding.sentence.contains("read 4 records within 10 minutes: more than 3"), "{}", finding.sentence);
    // One record over and over is one.
    let same: Vec<_> = (0..9).map(|n| read(later("2026-11-23T09:00:00Z", n), "desk-1", 1)).collect();
    assert_eq!(run(rules(), &same).0, []);
}

#[test]
fn a_rule_that_is_off_finds_nothing() {
    let reads: Vec<_> = (0..50).map(|n| read(later("2026-11-22T02:00:00Z", 0), "desk-1", n)).collect();
    assert_eq!(run(Rules::default(), &reads).0, []);
}

#[test]
fn whoever_was_away_reads_for_the_first_time_again() {
    let rules = Rules {
        first_time_reader: Some(FirstTimeReader { baseline_micros: 30 * 24 * 60 * MINUTE }),
        ..Rules::default()
    };
    let records = [
        read(at("2026-01-01T09:00:00Z"), "desk-1", 1),
        read(at("2026-01-20T09:00:00Z"), "desk-1", 2),
        read(at("2026-03-01T09:00:00Z"), "desk-1", 2),
    ];
    let (findings, _) = run(rules, &records);
    assert_eq!(findings.iter().map(|f| f.last_leaf).collect::<Vec<_>>(), [100, 102]);
    assert!(findings[0].sentence.contains("before which nothing was looked at"), "{}", findings[0].sentence);
    assert!(findings[1].sentence.ends_with("for the first time in 30 days"), "{}", findings[1].sentence);
}

#[test]
fn strangers_are_known_by_their_address_and_count_as_often_as_they_came() {
    let rules = Rules { denial_run: Some(DenialRun { denials: 5, window_micros: 10 * MINUTE }), ..Rules::default() };
    let refused = |port: u16, count| AccessRecord {
        outcome: Outcome::Denied,
        count,
        ..AccessRecord::new(at("2026-11-23T09:00:00Z"), format!("192.0.2.7:{port}"), "handshake")
    };
    let (findings, _) = run(rules, &[refused(1, 2), refused(2, 3)]);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((findings[0].who.to_string().as_str(), findings[0].count), ("192.0.2.7", 5));
}

#[test]
fn memory_is_bounded_and_what_is_forgotten_is_counted() {
    let rules = Rules {
        denial_run: Some(DenialRun { denials: 2, window_micros: MINUTE }),
        first_time_reader: Some(FirstTimeReader { baseline_micros: MINUTE }),
        ..Rules::default()
    };
    let now = at("2026-11-23T09:00:00Z");
    let mut detector = Detector::new(rules);
    let mut found = 0;
    for n in 0..IDENTITIES_MAX as u64 * 2 {
        let source = format!("10.{}.{}.{}:1", n >> 16, n >> 8 & 255, n & 255);
        let denied = AccessRecord { outcome: Outcome::Denied, count: 2, ..AccessRecord::new(now, source, "handshake") };
        found += detector.take(n, &denied).len();
    }
    let forgotten = detector.forgotten();
    assert!(forgotten >= IDENTITIES_MAX as u64, "{forgotten}");
    assert!(detector.denials.len() <= IDENTITIES_MAX);
    // What was forgotten was told first.
    found += detector.finish().len();
    assert_eq!(found, IDENTITIES_MAX * 2);
}

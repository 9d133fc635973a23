use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::access::bundle::BundleVerifier;
use crate::access::{AccessRecord, ExchangedPage, Touched};
use crate::testing::{AccessLogOf, Federation, instant, member};

fn side(log: &AccessLogOf, partner: &str, first: u64) -> Side {
    let federation = Federation::new(3);
    let mut side = Side::with(member(partner));
    let mut verifier = BundleVerifier::new(Vec::new());
    let bytes = log.range(&federation, first, log.leaves.len() as u64, &[]);
    verifier.push(&bytes, |leaf| side.take(leaf).unwrap()).unwrap();
    side.covers(&verifier.finish().unwrap());
    side
}

fn numbers(items: &[Item]) -> Vec<u64> {
    items.iter().map(|item| item.number).collect()
}

/// France's log and Germany's; each begins with something else.
fn logs() -> (AccessLogOf, AccessLogOf) {
    let mut logs = (AccessLogOf::new(member("FR")), AccessLogOf::new(member("DE")));
    logs.0.push(AccessRecord::new(instant(0), "a", "start"));
    logs.1.push(AccessRecord::new(instant(0), "a", "start"));
    logs
}

/// Something later, so that the bundle reaches to there.
fn later(log: &mut AccessLogOf) {
    log.push(AccessRecord::new(instant(1_000), "a", "later"));
}

#[test]
fn what_was_released_and_received_agrees_both_ways() {
    let (mut fr, mut de) = logs();
    for (last, records) in [(2, vec![10, 11]), (3, vec![12]), (7, vec![13, 14, 15, 16])] {
        fr.page(PAGE_SENT, member("DE"), last, &records);
        fr.page(PAGE_SENT, member("CA"), last, &records);
        de.page(PAGE_RECEIVED, member("FR"), last, &records);
    }
    de.page(PAGE_SENT, member("FR"), 1, &[20]);
    fr.page(PAGE_RECEIVED, member("DE"), 1, &[20]);
    let (fr, de) = (side(&fr, "DE", 0), side(&de, "FR", 0));
    let (there, back) = (reconcile(&fr, &de), reconcile(&de, &fr));
    assert_eq!((there.matched, back.matched), (7, 1));
    assert_eq!(there, Direction { matched: 7, ..Direction::default() });
    assert!(there.agrees() && back.agrees());
}

#[test]
fn a_release_without_its_receipt_and_a_receipt_without_its_release_are_named() {
    let (mut fr, mut de) = logs();
    fr.page(PAGE_SENT, member("DE"), 2, &[10, 11]);
    fr.page(PAGE_SENT, member("DE"), 3, &[12]);
    fr.page(PAGE_SENT, member("DE"), 4, &[13]);
    later(&mut fr);
    // Germany's log knows nothing of number 3, and has one that France's does not.
    de.page(PAGE_RECEIVED, member("FR"), 2, &[10, 11]);
    de.page(PAGE_RECEIVED, member("FR"), 4, &[13]);
    de.page(PAGE_RECEIVED, member("FR"), 5, &[14]);
    later(&mut de);
    let found = reconcile(&side(&fr, "DE", 0), &side(&de, "FR", 0));
    assert_eq!((found.matched, numbers(&found.no_receipt), numbers(&found.no_release)), (3, vec![3], vec![5]));
    assert_eq!((found.no_receipt[0].leaf, found.no_release[0].leaf), (2, 3));
    assert!(!found.agrees());
}

#[test]
fn what_was_sent_again_after_a_cut_is_told_from_what_is_missing() {
    let (mut fr, mut de) = logs();
    // The page is lost; it goes again as the same, then one more as something else.
    fr.page_sealed(PAGE_SENT, member("DE"), 2, &[10, 11], 0);
    fr.page_sealed(PAGE_SENT, member("DE"), 2, &[10, 11], 1);
    fr.page_sealed(PAGE_SENT, member("DE"), 3, &[12], 0);
    fr.page_sealed(PAGE_SENT, member("DE"), 3, &[99], 1);
    de.page_sealed(PAGE_RECEIVED, member("FR"), 2, &[10, 11], 1);
    de.page_sealed(PAGE_RECEIVED, member("FR"), 3, &[99], 1);
    // Recorded, not stored, and recorded again.
    de.page_sealed(PAGE_RECEIVED, member("FR"), 3, &[99], 1);
    let found = reconcile(&side(&fr, "DE", 0), &side(&de, "FR", 0));
    assert_eq!((found.matched, found.sent_again, numbers(&found.superseded)), (3, 2, vec![3]));
    assert!(found.agrees());
}

#[test]
fn a_receipt_of_another_page_does_not_stand_for_a_release() {
    let (mut fr, mut de) = logs();
    fr.page_sealed(PAGE_SENT, member("DE"), 1, &[10], 0);
    de.page_sealed(PAGE_RECEIVED, member("FR"), 1, &[66], 0);
    later(&mut fr);
    later(&mut de);
    let found = reconcile(&side(&fr, "DE", 0), &side(&de, "FR", 0));
    assert_eq!((numbers(&found.no_receipt), numbers(&found.no_release)), (vec![1], vec![1]));
    // The same page, told differently.
    let page = |record: &str| AccessRecord {
        member: Some(member("DE")),
        page: Some(ExchangedPage { root: Hex32([4; 32]), last_number: 1 }),
        touched: vec![Touched::resource(record)],
        ..AccessRecord::new(instant(1), "a", PAGE_SENT)
    };
    let (mut fr, mut de) = logs();
    fr.push(page("FR-P-0000000000000001"));
    de.push(AccessRecord { member: Some(member("FR")), action: PAGE_RECEIVED.into(), ..page("FR-P-0000000000000002") });
    let found = reconcile(&side(&fr, "DE", 0), &side(&de, "FR", 0));
    assert_eq!((found.differ.len(), found.agrees()), (1, false));
}

#[test]
fn what_a_bundle_does_not_reach_to_is_not_held_against_anybody() {
    let (mut fr, mut de) = logs();
    fr.page(PAGE_SENT, member("DE"), 1, &[10]);
    de.page(PAGE_RECEIVED, member("FR"), 1, &[10]);
    // Released after Germany's checkpoint.
    later(&mut fr);
    fr.push(AccessRecord::new(instant(2_000), "a", "x"));
    let mut young = fr.clone();
    young.push(AccessRecord {
        member: Some(member("DE")),
        page: Some(ExchangedPage { root: Hex32([4; 32]), last_number: 2 }),
        touched: vec![Touched::resource("FR-P-0000000000000001")],
        ..AccessRecord::new(instant(3_000), "a", PAGE_SENT)
    });
    let found = reconcile(&side(&young, "DE", 0), &side(&de, "FR", 0));
    assert_eq!((found.matched, numbers(&found.releases_not_covered)), (1, vec![2]));
    assert!(found.agrees());
    // France's bundle begins after the release.
    let found = reconcile(&side(&fr, "DE", 2), &side(&de, "FR", 0));
    assert_eq!((found.matched, numbers(&found.receipts_not_covered)), (0, vec![1]));
    // Germany's begins after the receipt.
    later(&mut de);
    let found = reconcile(&side(&fr, "DE", 0), &side(&de, "FR", 2));
    assert_eq!(numbers(&found.releases_not_covered), [1]);
}

#[test]
fn numbers_that_no_page_has_are_refused() {
    let mut log = AccessLogOf::new(member("FR"));
    log.page(PAGE_SENT, member("DE"), 1, &[1, 2, 3]);
    let federation = Federation::new(3);
    let (mut side, mut verifier) = (Side::with(member("DE")), BundleVerifier::new(Vec::new()));
    let mut found = Ok(());
    verifier.push(&log.range(&federation, 0, 1, &[]), |leaf| found = side.take(leaf)).unwrap();
    assert!(matches!(found, Err(Irreconcilable::Numbers { leaf: 0, items: 3, last_number: 1 })));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The oracle: a page is one number here. Whatever was dropped on one side is what the comparison names, and nothing else.
    #[test]
    fn exactly_what_one_side_lacks_is_named(
        pages in 1_u64..40,
        unreceived in prop::collection::btree_set(1_u64..40, 0..6),
        unreleased in prop::collection::btree_set(1_u64..40, 0..6),
        again in prop::collection::btree_set(1_u64..40, 0..6),
    ) {
        let (mut fr, mut de) = logs();
        for number in 1..=pages {
            if !unreleased.contains(&number) {
                if again.contains(&number) {
                    fr.page_sealed(PAGE_SENT, member("DE"), number, &[number], 1);
                }
                fr.page(PAGE_SENT, member("DE"), number, &[number]);
            }
            if !unreceived.contains(&number) {
                de.page(PAGE_RECEIVED, member("FR"), number, &[number]);
            }
        }
        later(&mut fr);
        later(&mut de);
        let found = reconcile(&side(&fr, "DE", 0), &side(&de, "FR", 0));
        let all: BTreeSet<u64> = (1..=pages).collect();
        let (released, received): (BTreeSet<u64>, BTreeSet<u64>) = (&all - &unreleased, &all - &unreceived);
        prop_assert_eq!(numbers(&found.no_receipt), (&released - &received).into_iter().collect::<Vec<_>>());
        prop_assert_eq!(numbers(&found.no_release), (&received - &released).into_iter().collect::<Vec<_>>());
        let both = &released & &received;
        prop_assert_eq!(found.matched, both.len() as u64);
        prop_assert_eq!(found.sent_again, both.intersection(&again).count() as u64);
    }
}

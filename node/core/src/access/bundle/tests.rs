use proptest::prelude::*;

use super::*;
use crate::access::LogRoster;
use crate::checkpoint::SignedCheckpoint;
use crate::merkle;
use crate::testing::{AccessLogOf, Federation, member};

fn sample(leaves: u64) -> (Federation, AccessLogOf) {
    (Federation::new(4), AccessLogOf::sample(member("FR"), member("DE"), leaves))
}

/// Pushes a bundle in pieces of this size; gives what it proves and the numbers of its leaves.
fn read(bytes: &[u8], piece: usize, wanted: &[u64]) -> Result<(Proven, Vec<u64>), InvalidBundle> {
    let (mut verifier, mut numbers) = (BundleVerifier::new(wanted.to_vec()), Vec::new());
    for piece in bytes.chunks(piece) {
        verifier.push(piece, |leaf| numbers.push(leaf.number))?;
    }
    Ok((verifier.finish()?, numbers))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_range_of_every_log_is_proven_with_the_roots_that_it_passes(
        size in 1_u64..2_600, a in any::<u64>(), b in any::<u64>(), olds in prop::collection::btree_set(1_u64..2_600, 0..5),
        piece in prop_oneof![Just(1_usize), 2_usize..300, Just(1 << 20)],
    ) {
        let (federation, log) = sample(size);
        let (first, end) = (a % size, b % size);
        let (first, end) = (first.min(end), first.max(end) + 1);
        let olds: Vec<u64> = olds.into_iter().map(|old| old.min(size)).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        // Pieces of one byte are for short ones.
        let piece = if end - first > 60 { piece.max(64) } else { piece };
        let (proven, numbers) = read(&log.range(&federation, first, end, &olds), piece, &(0..=size).collect::<Vec<_>>()).unwrap();
        prop_assert_eq!(numbers, (first..end).collect::<Vec<_>>());
        // The oracle: the root over all of the leaves up to there.
        for (at, root) in &proven.roots {
            prop_assert_eq!(*root, merkle::root_of(log.leaves.iter().take(*at as usize).map(crate::access::AccessLeaf::hash)), "at {}", at);
        }
        for at in (first..=end).chain(olds.iter().copied()).chain([0, size]) {
            prop_assert!(proven.roots.contains_key(&at), "{}", at);
        }
        let at = |n: u64| log.leaves[n as usize].read().unwrap().at;
        prop_assert_eq!(proven.times, (at(first), at(end - 1)));
        prop_assert_eq!(LogRoster::of_genesis(&federation.genesis).attest(&proven.header.note).unwrap().cosigners.len(), 3);
    }

    #[test]
    fn every_selection_is_proven(size in 1_u64..300, picks in prop::collection::btree_set(any::<u64>(), 1..20), piece in 1_usize..2_000) {
        let (federation, log) = sample(size);
        let numbers: Vec<u64> = picks.into_iter().map(|n| n % size).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let (proven, found) = read(&log.selected(&federation, &numbers), piece, &[]).unwrap();
        prop_assert_eq!(&found, &numbers);
        let withheld = numbers.iter().filter(|n| *n % 7 == 3).count() as u64;
        prop_assert_eq!(proven.annexes_withheld, withheld);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1_u64..20, at in any::<usize>()) {
        prop_assert!(read(&bytes, 64, &[]).is_err());
        // After a good beginning, too.
        let (federation, log) = sample(size);
        let whole = log.range(&federation, 0, size, &[]);
        let mut bent = whole[..at % whole.len()].to_vec();
        bent.extend(&bytes);
        prop_assert!(read(&bent, 64, &[]).is_err() || bent == whole);
    }
}

/// A bundle whose header has one line replaced.
fn with_line(line: &str, other: &str) -> Result<(Proven, Vec<u64>), InvalidBundle> {
    let (federation, log) = sample(40);
    let bytes = log.range(&federation, 3, 30, &[20]);
    let at = bytes.windows(line.len()).position(|part| part == line.as_bytes()).unwrap();
    let bent = [&bytes[..at], other.as_bytes(), &bytes[at + line.len()..]].concat();
    read(&bent, 100, &[])
}

#[test]
fn a_header_has_each_line_once_in_one_order_and_one_spelling() {
    assert!(with_line("annex with\n", "annex with\n").is_ok());
    for (line, other) in [
        ("annex with\n", "annex without\n"),
        ("annex with\n", "annex with\nannex with\n"),
        ("annex with\n", "annex with\ncolour red\n"),
        ("annex with\n", ""),
        ("annex with\n", "annex with \n"),
        ("annex with\n", "annex with\r\n"),
        ("shape range", "shape selected"),
        ("shape range", "shape ranges"),
        ("leaves 3 30 27", "leaves 03 30 27"),
        ("leaves 3 30 27", "leaves +3 30 27"),
        ("leaves 3 30 27", "leaves 3 30 26"),
        ("leaves 3 30 27", "leaves 3 29 26"),
        ("leaves 3 30 27", "leaves 30 3 27"),
        ("leaves 3 30 27", "leaves 3 18446744073709551615 27"),
        ("leaves 3 30 27", "leaves 3 41 38"),
        ("leaves 3 30 27", "leaves 3 3 0"),
        ("asked - -", "asked -"),
        ("asked - -", "asked -  -"),
        ("asked - -", "asked 1e3 -"),
        ("older 20", "older 21"),
        ("older 20", "older 0"),
        ("checkpoint ", "checkpoint 0"),
        ("checkpoint ", "checkpoint 9"),
    ] {
        assert!(with_line(line, other).is_err(), "{line:?} as {other:?}");
    }
    let many: String = (0..=OLDER_MAX).map(|n| format!("older {n} {} 0\n", Hex32([0; 32]))).collect();
    assert!(matches!(with_line("checkpoint ", &format!("{many}checkpoint ")), Err(InvalidBundle::Header { .. })));
}

#[test]
fn what_is_huge_is_refused_before_it_is_kept() {
    let mut endless = BundleVerifier::new(Vec::new());
    let pushed = (0..10_000).try_for_each(|_| endless.push(format!("{FORMAT}\nfederation ").as_bytes(), |_| {}));
    assert!(pushed.is_err(), "a header without an end");

    let (federation, log) = sample(10);
    let bytes = log.range(&federation, 0, 10, &[]);
    let body = log.header(&federation, 0, 10, &[]).to_bytes().len();
    let mut long = bytes.clone();
    long[body + 40..body + 44].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(matches!(read(&long, 1 << 16, &[]), Err(InvalidBundle::Length { leaf: 0, .. })));
    let mut trailing = bytes.clone();
    trailing.push(0);
    assert_eq!(read(&trailing, 1 << 16, &[]).unwrap_err(), InvalidBundle::Trailing { last: 9 });
    assert!(read(&bytes, 1 << 16, &[]).is_ok());
}

#[test]
fn a_deeply_nested_record_is_refused_where_it_is_read() {
    let (federation, mut log) = sample(1);
    let record = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    // As a hostile node would sign it.
    log = log.with_raw(record.into_bytes());
    let found = read(&log.range(&federation, 0, 2, &[]), 1 << 16, &[]);
    assert!(matches!(found, Err(InvalidBundle::Record { leaf: 1, .. })), "{found:?}");
}

#[test]
fn a_smaller_checkpoint_does_not_fit_the_leaves() {
    let (federation, log) = sample(40);
    let header = Header { note: log.head(&federation, 20, &[]), ..log.header(&federation, 0, 40, &[]) };
    assert!(matches!(
        read(&log.bundle(&log.header(&federation, 0, 40, &[]), 0..40), 64, &[]).map(|(proven, _)| proven.header.end),
        Ok(40)
    ));
    let mut bytes = header.to_bytes();
    bytes.extend([0; 100]);
    assert!(matches!(read(&bytes, 64, &[]), Err(InvalidBundle::Size { size: 20, first: 0, last: 39 })));
    // Nor do the leaves of another log.
    let other = AccessLogOf::sample(member("DE"), member("FR"), 40);
    let header = Header { note: other.head(&federation, 40, &[]), ..log.header(&federation, 0, 40, &[]) };
    let found = read(&log.bundle(&header, 0..40), 64, &[]);
    assert_eq!(found.unwrap_err(), InvalidBundle::EditedAmong { first: 0, last: 39 });
}

#[test]
fn what_a_partner_is_given_names_no_policy() {
    let (federation, log) = sample(30);
    let bytes = log.selected(&federation, &[3, 5, 10]);
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("PeerService/Exchange page") && !text.contains("for-DE"));
    let whole = log.range(&federation, 3, 4, &[]);
    assert!(String::from_utf8_lossy(&whole).contains("for-DE"));
}

#[test]
fn a_note_is_read_as_any_other_verifier_reads_it() {
    let (federation, log) = sample(5);
    let header = log.header(&federation, 0, 5, &[]);
    let note = String::from_utf8(header.note.to_bytes()).unwrap();
    // A signature of a type that nobody knows is kept, and ignored.
    let note =
        SignedCheckpoint::from_bytes(format!("{note}\u{2014} fr.comity.example/access-log/1 AAAAAAEC\n").as_bytes());
    let bytes = log.bundle(&Header { note: note.unwrap(), ..header }, 0..5);
    let (proven, _) = read(&bytes, 64, &[]).unwrap();
    assert!(LogRoster::of_genesis(&federation.genesis).attest(&proven.header.note).unwrap().is_witnessed());
}

//! Whatever is done to a bundle is found, at a thousand random places, and where a leaf was changed that leaf is named; or what the
//! bundle proves is the same as before.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use super::*;
use crate::access::{AccessLeaf, Attested, LogRoster};
use crate::testing::{AccessLogOf, Federation, member};

/// Everything that a bundle proves: whose log, its head, its leaves. That fewer cosigned may have been made so.
struct Proof {
    attested: Attested,
    proven: Proven,
    leaves: Vec<(u64, AccessLeaf)>,
}

fn verify(federation: &Federation, bytes: &[u8]) -> Result<Proof, String> {
    let (mut verifier, mut leaves) = (BundleVerifier::new(Vec::new()), Vec::new());
    verifier.push(bytes, |leaf| leaves.push((leaf.number, leaf.to_leaf()))).map_err(named)?;
    let proven = verifier.finish().map_err(named)?;
    if proven.header.federation != federation.genesis.federation() {
        return Err("of another federation".into());
    }
    let attested = LogRoster::of_genesis(&federation.genesis).attest(&proven.header.note).map_err(|e| e.to_string())?;
    Ok(Proof { attested, proven, leaves })
}

fn named(error: InvalidBundle) -> String {
    format!("{:?} {error}", error.leaves())
}

/// Nothing that is proved has changed: a bundle that still verifies proves what it did.
fn assert_harmless(before: &Proof, after: &Proof) -> Result<(), TestCaseError> {
    prop_assert_eq!(&before.leaves, &after.leaves);
    prop_assert_eq!(&before.proven.header.note.checkpoint, &after.proven.header.note.checkpoint);
    prop_assert_eq!(before.attested.member, after.attested.member);
    prop_assert!(after.attested.cosigners.iter().all(|cosigner| before.attested.cosigners.contains(cosigner)));
    prop_assert_eq!(&before.proven.roots, &after.proven.roots);
    Ok(())
}

/// Where the block of each leaf is.
fn blocks(log: &AccessLogOf, header: &Header, numbers: &[u64]) -> Vec<(usize, usize)> {
    let size = header.note.checkpoint.size;
    let mut at = header.to_bytes().len() + 32 * hashes_before(header.shape, header.first).len();
    let mut found = Vec::new();
    for number in numbers {
        let mut block = Vec::new();
        leaf_block(*number, &log.leaves[*number as usize], header.with_annex, &mut block);
        found.push((at, at + block.len()));
        at += block.len();
        at += 32
            * match header.shape {
                Shape::Selected => crate::merkle::inclusion_path_len(*number, size),
                Shape::Range if number + 1 == run_end(*number, header.end) => hashes_after_run(number + 1, size).len(),
                Shape::Range => 0,
            };
    }
    found
}

#[derive(Debug, Clone, Copy)]
enum Tamper {
    Change(u8),
    Delete,
    Insert(u8),
    Truncate,
    /// Two leaves trade places.
    SwapLeaves,
    DeleteLeaf,
    RepeatLeaf,
    /// A checkpoint of the same log from before.
    RollBack,
}

fn tamper() -> impl Strategy<Value = Tamper> {
    prop_oneof![
        4 => (1_u8..).prop_map(Tamper::Change),
        2 => Just(Tamper::Delete),
        2 => any::<u8>().prop_map(Tamper::Insert),
        1 => Just(Tamper::Truncate),
        1 => Just(Tamper::SwapLeaves),
        1 => Just(Tamper::DeleteLeaf),
        1 => Just(Tamper::RepeatLeaf),
        1 => Just(Tamper::RollBack),
    ]
}

/// One bundle, and all that is needed to hurt it.
struct Victim {
    federation: Federation,
    log: AccessLogOf,
    header: Header,
    numbers: Vec<u64>,
    bytes: Vec<u8>,
    blocks: Vec<(usize, usize)>,
    proof: Proof,
}

impl Victim {
    fn new(shape: Shape) -> Self {
        let federation = Federation::new(4);
        let log = AccessLogOf::sample(member("FR"), member("DE"), 2_500);
        let (header, numbers): (Header, Vec<u64>) = match shape {
            Shape::Range => (log.header(&federation, 37, 2_400, &[20, 1_500, 2_500]), (37..2_400).collect()),
            Shape::Selected => {
                let numbers: Vec<u64> = (0..2_500).filter(|n| n % 41 == 3).collect();
                let header = log.header(&federation, 0, 2_500, &[20]);
                (Header { shape, count: numbers.len() as u64, ..header }, numbers)
            }
        };
        let bytes = log.bundle(&header, numbers.iter().copied());
        let blocks = blocks(&log, &header, &numbers);
        let proof = verify(&federation, &bytes).unwrap_or_else(|problem| panic!("{problem}"));
        Self { federation, log, header, numbers, bytes, blocks, proof }
    }

    /// The bundle after it was tampered with, and the leaf that this was about.
    fn tampered(&self, tamper: Tamper, place: usize) -> (Vec<u8>, Option<u64>) {
        let mut bytes = self.bytes.clone();
        let leaf = place % (self.blocks.len() - 1);
        let at = place % bytes.len();
        let within = |at: usize| {
            let found = self.blocks.iter().position(|(from, to)| (*from..*to).contains(&at));
            // The number itself: which leaf was meant cannot be told from a selected one.
            found.filter(|i| self.header.shape == Shape::Range || at >= self.blocks[*i].0 + 8).map(|i| self.numbers[i])
        };
        // With a selected leaf its proof goes.
        let end = |leaf: usize| self.blocks.get(leaf + 1).map_or(self.bytes.len(), |next| next.0);
        let piece = |leaf: usize| match self.header.shape {
            Shape::Range => self.blocks[leaf],
            Shape::Selected => (self.blocks[leaf].0, end(leaf)),
        };
        match tamper {
            Tamper::Change(by) => {
                bytes[at] ^= by;
                (bytes, within(at))
            }
            Tamper::Delete => {
                bytes.remove(at);
                (bytes, None)
            }
            Tamper::Insert(byte) => {
                bytes.insert(at, byte);
                (bytes, None)
            }
            Tamper::Truncate => {
                bytes.truncate(at);
                (bytes, within(at))
            }
            Tamper::DeleteLeaf => {
                let (from, to) = piece(leaf);
                bytes.drain(from..to);
                (bytes, (self.header.shape == Shape::Range).then(|| self.numbers[leaf]))
            }
            Tamper::RepeatLeaf => {
                let (from, to) = piece(leaf);
                let copy = self.bytes[from..to].to_vec();
                bytes.splice(to..to, copy);
                (bytes, None)
            }
            Tamper::SwapLeaves => {
                let ((a, b), (c, d)) = (piece(leaf), piece(leaf + 1));
                let swapped =
                    [&self.bytes[..a], &self.bytes[c..d], &self.bytes[b..c], &self.bytes[a..b], &self.bytes[d..]];
                (swapped.concat(), (self.header.shape == Shape::Range).then(|| self.numbers[leaf]))
            }
            Tamper::RollBack => {
                let size = 1 + place as u64 % 2_499;
                let note = self.log.head(&self.federation, size, &[member("DE"), member("CA"), member("AU")]);
                let rolled = Header { note, ..self.header.clone() }.to_bytes();
                bytes.splice(..self.header.to_bytes().len(), rolled);
                (bytes, None)
            }
        }
    }
}

fn a_thousand_places(shape: Shape) {
    let victim = Victim::new(shape);
    let config = Config { cases: 1_000, rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..Config::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let found = runner.run(&(tamper(), any::<usize>()), |(tamper, place)| {
        let (bytes, leaf) = victim.tampered(tamper, place);
        if bytes == victim.bytes {
            return Ok(());
        }
        match (verify(&victim.federation, &bytes), leaf) {
            // Withheld or claimed are only what the header says of time, and who besides signed.
            (Ok(after), leaf) => {
                prop_assert_eq!(leaf, None, "a changed leaf was taken");
                prop_assert!(
                    matches!(tamper, Tamper::Change(_) | Tamper::Delete | Tamper::Insert(_)),
                    "{:?} was not found",
                    tamper
                );
                prop_assert!(place % victim.bytes.len() < victim.header.to_bytes().len(), "in the body");
                assert_harmless(&victim.proof, &after)?;
            }
            (Err(problem), Some(leaf)) => {
                let names = problem.starts_with(&format!("Some(({leaf}, {leaf}))"));
                prop_assert!(names, "leaf {} is not named: {}", leaf, problem);
            }
            (Err(_), None) => {}
        }
        Ok(())
    });
    found.unwrap_or_else(|problem| panic!("{problem}"));
}

#[test]
fn a_range_that_was_tampered_with_at_a_thousand_places_is_found_out() {
    a_thousand_places(Shape::Range);
}

#[test]
fn a_selection_that_was_tampered_with_at_a_thousand_places_is_found_out() {
    a_thousand_places(Shape::Selected);
}

#[test]
fn every_byte_of_a_short_bundle_matters_or_is_harmless() {
    let federation = Federation::new(3);
    let log = AccessLogOf::sample(member("FR"), member("DE"), 12);
    for bytes in [log.range(&federation, 3, 11, &[5]), log.selected(&federation, &[3, 5, 8])] {
        let before = verify(&federation, &bytes).unwrap_or_else(|problem| panic!("{problem}"));
        let mut harmless = 0;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bent = bytes.clone();
                bent[at] ^= 1 << bit;
                if let Ok(after) = verify(&federation, &bent) {
                    assert_harmless(&before, &after)
                        .unwrap_or_else(|problem| panic!("byte {at}, bit {bit}: {problem}"));
                    harmless += 1;
                }
            }
        }
        // Names and key ids of cosignatures, and the digits of what is only claimed.
        assert!(harmless < 600, "{harmless} changes were taken");
    }
}

/// Who changes a leaf and sets right all that stands beside it is found by the root: the leaf is among those of one run.
#[test]
fn a_forger_who_sets_the_hashes_right_is_found_by_the_root() {
    let federation = Federation::new(3);
    let log = AccessLogOf::sample(member("FR"), member("DE"), 2_500);
    let header = log.header(&federation, 0, 2_500, &[]);
    for number in [0_u64, 1_023, 1_024, 2_047, 2_499] {
        let mut forged = log.clone();
        forged.leaves[number as usize].record = br#"{"at":"2026-11-23T09:00:00.000000Z","nobody":"looked"}"#.to_vec();
        forged.leaves[number as usize].annex.clear();
        let bytes = forged.bundle(&header, 0..2_500);
        let mut verifier = BundleVerifier::new(Vec::new());
        let found = verifier.push(&bytes, |_| {}).unwrap_err();
        match (number, &found) {
            // What is read on the way is read.
            (0, InvalidBundle::Record { leaf: 0, .. }) => {}
            (_, InvalidBundle::EditedAmong { first, last }) => {
                assert!((*first..=*last).contains(&number) && last - first < RUN_LEAVES, "{found}");
            }
            _ => panic!("{number}: {found}"),
        }
    }
}

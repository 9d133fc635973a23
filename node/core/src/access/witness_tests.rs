use proptest::prelude::*;

use super::*;
use crate::access::{AccessRecord, DeclaredLoss, LostRange, log_origin};
use crate::merkle::MerkleLog;
use crate::timestamp::Timestamp;

fn domain() -> TrustDomain {
    "fr.comity.example".parse().unwrap()
}

/// A log with its leaves' numbers for content, apart from those of another history from `fork` on.
struct Log {
    incarnation: u64,
    tree: MerkleLog,
    opening: Option<(u64, AccessLeaf)>,
}

impl Log {
    fn new(size: u64, fork: u64) -> Self {
        let mut log = Self { incarnation: 1, tree: MerkleLog::default(), opening: None };
        (0..size)
            .for_each(|n| log.tree.append(merkle::leaf_hash(&[&n.to_be_bytes()[..], &[u8::from(n >= fork)]].concat())));
        log
    }

    fn declare(&mut self, lost: Vec<LostRange>) {
        self.incarnation += 1;
        let person = |name: &str| format!("spiffe://fr.comity.example/{name}").parse().unwrap();
        let loss = DeclaredLoss {
            incarnation: self.incarnation,
            lost,
            declared_by: person("admin/ops-1"),
            approved_by: person("approver/desk-2"),
            reason: "the disk broke".into(),
        };
        let record = AccessRecord {
            loss: Some(Box::new(loss)),
            ..AccessRecord::new(Timestamp::from_micros(0).unwrap(), "a", "b")
        };
        let leaf = AccessLeaf::new(&record, [Hex32([1; 32]), Hex32([2; 32])]);
        self.opening = Some((self.tree.size(), leaf.clone()));
        self.tree.append(leaf.hash());
    }

    fn head(&self, size: u64) -> Checkpoint {
        let origin = log_origin(&domain(), self.incarnation);
        Checkpoint { origin, size, root: self.tree.root_at(size).unwrap() }
    }

    fn known(&self, size: u64) -> Known {
        Known { head: self.head(size), incarnation: self.incarnation }
    }

    fn offers(&self, size: u64, old_size: u64) -> Offered {
        Offered {
            head: self.head(size),
            incarnation: self.incarnation,
            old_size,
            consistency: self.tree.prove_consistency(size, old_size).unwrap_or_default(),
            opening: self.opening.as_ref().filter(|(n, _)| *n < size).map(|(n, leaf)| Opening {
                n: *n,
                leaf: leaf.clone(),
                inclusion: self.tree.prove_inclusion(size, *n).unwrap(),
            }),
        }
    }
}

proptest! {
    /// Whatever is offered, in whatever order: what a witness has cosigned is always one history.
    #[test]
    fn what_is_cosigned_is_one_history(
        fork in 0_u64..60,
        offers in proptest::collection::vec((any::<bool>(), 0_u64..60, 0_u64..60), 1..40),
    ) {
        let (honest, forged) = (Log::new(60, 60), Log::new(60, fork));
        let (mut known, mut cosigned) = (None::<Known>, Vec::<(bool, u64)>::new());
        for (is_forged, size, old_size) in offers {
            let log = if is_forged { &forged } else { &honest };
            let offered = log.offers(size, old_size);
            let judged = offered.judge(known.as_ref());
            // The oracle: the leaves themselves.
            let same_history = cosigned.iter().all(|(other, seen)| (*seen).min(size) <= fork || *other == is_forged);
            let goes_on = known.as_ref().is_none_or(|known| size >= known.head.size);
            match judged {
                Ok(()) => {
                    prop_assert!(same_history && goes_on);
                    cosigned.push((is_forged, size));
                    known = Some(log.known(size));
                }
                Err(why) if why.is_evidence() => prop_assert!(!same_history, "{why} is no evidence"),
                Err(Unwitnessed::WentBack) => prop_assert!(!goes_on),
                Err(why) => prop_assert!(known.as_ref().is_some_and(|known| known.head.size != old_size), "{why}"),
            }
        }
    }

    /// A restored log is cosigned again by those alone whose last head the declaration covers, or who lost nothing.
    #[test]
    fn a_loss_is_declared_to_whoever_saw_it(kept in 0_u64..40, seen in 0_u64..40, declared in 0_u64..40, more in 1_u64..5) {
        let before = Log::new(40, 40);
        let mut after = Log::new(kept, 40);
        let origin = log_origin(&domain(), 1);
        let lost = LostRange { origin, first: kept, end: declared, root: before.tree.root_at(declared).unwrap() };
        after.declare(vec![lost]);
        (0..more).for_each(|n| after.tree.append(merkle::leaf_hash(&n.to_be_bytes())));
        let size = after.tree.size();
        let judged = after.offers(size, seen.min(size)).judge(Some(&before.known(seen)));
        prop_assert_eq!(judged.is_ok(), declared >= seen || seen <= kept, "{:?}", judged);
        // And never again as the incarnation that it was.
        let back = before.offers(40, size.min(40)).judge(Some(&after.known(size)));
        prop_assert_eq!(back, Err(Unwitnessed::WentBack));
    }
}

#[test]
fn an_incarnation_is_opened_by_its_own_leaf_alone() {
    let mut log = Log::new(5, 5);
    log.declare(Vec::new());
    let good = log.offers(6, 0);
    assert_eq!(good.judge(None), Ok(()));
    let bent = |bend: &dyn Fn(&mut Offered)| {
        let mut offered = good.clone();
        bend(&mut offered);
        offered.judge(None)
    };
    assert_eq!(bent(&|o| o.opening = None), Err(Unwitnessed::NotDeclared));
    assert_eq!(bent(&|o| o.incarnation = 3), Err(Unwitnessed::NotDeclared));
    assert_eq!(bent(&|o| o.opening.as_mut().unwrap().n = 4), Err(Unwitnessed::NotDeclared));
    assert_eq!(bent(&|o| o.opening.as_mut().unwrap().leaf.salt = Hex32([9; 32])), Err(Unwitnessed::NotDeclared));
    assert_eq!(bent(&|o| o.opening.as_mut().unwrap().inclusion.clear()), Err(Unwitnessed::NotDeclared));
}

#[test]
fn origins_name_their_incarnation() {
    assert_eq!(incarnation_of("fr.comity.example/access-log/12", &domain()), Some(12));
    for other in
        ["fr.comity.example/access-log/0", "fr.comity.example/access-log/01", "de.comity.example/access-log/1", "x", ""]
    {
        assert_eq!(incarnation_of(other, &domain()), None, "{other}");
    }
}

#[test]
fn whoever_is_asked_knows_what_was_witnessed() {
    for others in 0..100 {
        assert!(others == 0 || witnesses_needed(others) + answers_needed(others) > others, "{others}");
        assert!(witnesses_needed(others) <= others && answers_needed(others) <= others, "{others}");
    }
}

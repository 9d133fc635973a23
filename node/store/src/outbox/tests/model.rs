//! Random lives of an outbox against the one thing that matters: what the partner holds in the end is exactly what it may.

use std::collections::{BTreeMap, BTreeSet};

use comity_core::release::Action;
use comity_core::{MemberId, RecordId, VersionId};
use proptest::prelude::*;

use super::super::*;
use crate::test_store::{TestStore, at, member, record, version};

const RECORDS: u8 = 4;
const PARTIES: [&str; 2] = ["DE", "CA"];

#[derive(Debug, Clone)]
enum Step {
    /// The originator writes another version.
    Revise(u8),
    /// A policy allows so much of a record to a party, or nothing.
    Allow(usize, u8, Option<Action>),
    /// A party pulls; its line may be cut before the page arrives.
    Pull { party: usize, limit: usize, arrives: bool },
    /// As a pull, but between decision and release the answer changes.
    Overtaken { party: usize, of: u8, level: Option<Action> },
    /// A party lost its line and asks for what it missed, some of which may be forbidden by now.
    Resend { party: usize, arrives: bool },
    /// A second stream asks from an older cursor for what the party has stored already.
    SecondStream { party: usize },
    /// A party restores yesterday's backup: it goes on from there.
    Restore { party: usize },
    /// A party takes its backup.
    Backup { party: usize },
}

fn level() -> impl Strategy<Value = Option<Action>> {
    prop_oneof![Just(None), Just(None), Just(Some(Action::Discover)), Just(Some(Action::Read))]
}

fn step() -> impl Strategy<Value = Step> {
    let (party, of) = (0..PARTIES.len(), 1..=RECORDS);
    prop_oneof![
        of.clone().prop_map(Step::Revise),
        (party.clone(), of.clone(), level()).prop_map(|(p, r, l)| Step::Allow(p, r, l)),
        (party.clone(), of.clone(), level()).prop_map(|(p, r, l)| Step::Allow(p, r, l)),
        (party.clone(), 1..3_usize, any::<bool>()).prop_map(|(party, limit, arrives)| Step::Pull {
            party,
            limit,
            arrives
        }),
        (party.clone(), of, level()).prop_map(|(party, of, level)| Step::Overtaken { party, of, level }),
        (party.clone(), any::<bool>()).prop_map(|(party, arrives)| Step::Resend { party, arrives }),
        party.clone().prop_map(|party| Step::SecondStream { party }),
        party.clone().prop_map(|party| Step::Restore { party }),
        party.prop_map(|party| Step::Backup { party }),
    ]
}

/// What a party has stored.
#[derive(Debug, Clone, Default)]
struct Receiver {
    last_number: u64,
    holds: BTreeMap<RecordId, (VersionId, Action)>,
}

impl Receiver {
    fn store(&mut self, items: &[Numbered]) {
        for item in items {
            if item.number <= self.last_number {
                continue;
            }
            assert_eq!(item.number, self.last_number + 1, "numbers are dense");
            self.last_number = item.number;
            match item.change {
                ReleasedChange::Upsert { version, level, .. } => self.holds.insert(item.record, (version, level)),
                ReleasedChange::Retract => self.holds.remove(&item.record),
            };
        }
    }
}

struct World<'a> {
    outbox: &'a Outbox,
    versions: BTreeMap<RecordId, u8>,
    allowed: BTreeMap<(MemberId, RecordId), Action>,
    ever_allowed: BTreeSet<(MemberId, RecordId)>,
    receivers: BTreeMap<MemberId, (Receiver, Receiver)>,
}

impl World<'_> {
    fn may(&self, party: MemberId, record: RecordId) -> (VersionId, Option<Action>) {
        (version(self.versions[&record]), self.allowed.get(&(party, record)).copied())
    }

    async fn allow(&mut self, party: MemberId, record: RecordId, level: Option<Action>) {
        match level {
            Some(level) => {
                self.ever_allowed.insert((party, record));
                self.allowed.insert((party, record), level)
            }
            None => self.allowed.remove(&(party, record)),
        };
        self.outbox.enqueue(party, record).await.unwrap();
    }

    async fn decide(&self, party: MemberId, limit: usize) -> Vec<Decided> {
        let queued = self.outbox.pending(party, None, limit).await.unwrap();
        let decided = queued.into_iter().map(|Candidate { record, ticket, .. }| {
            let (version, level) = self.may(party, record);
            let telling = level.map(|level| Telling { level, shown: None, until: None });
            Decided { record, ticket, version, telling }
        });
        decided.collect()
    }

    async fn release(&mut self, party: MemberId, decided: Vec<Decided>, arrives: bool) {
        let items = self.outbox.release(party, decided, usize::MAX, at(1)).await.unwrap();
        for item in &items {
            // Nothing that was never allowed is ever spoken of, be it by a retraction.
            assert!(self.ever_allowed.contains(&(party, item.record)));
            if let ReleasedChange::Upsert { version, level, .. } = item.change {
                assert_eq!((version, Some(level)), self.may(party, item.record));
            }
        }
        let (receiver, _) = self.receivers.get_mut(&party).unwrap();
        if arrives && items.first().is_some_and(|first| first.number == receiver.last_number + 1) {
            receiver.store(&items);
        }
    }

    async fn resend(&mut self, party: MemberId, from: u64, arrives: bool) {
        let mut items = self.outbox.released_after(party, from, 100).await.unwrap();
        for item in &mut items {
            let ReleasedChange::Upsert { version, level, .. } = item.change else { continue };
            if self.may(party, item.record) != (version, Some(level)) {
                *item = self.outbox.rewrite_as_retraction(party, item.number).await.unwrap();
            }
        }
        if arrives {
            self.receivers.get_mut(&party).unwrap().0.store(&items);
        }
    }

    async fn take(&mut self, step: Step) {
        let party_of = |n: usize| member(PARTIES[n]);
        match step {
            Step::Revise(of) => {
                *self.versions.get_mut(&record("FR", of)).unwrap() += 1;
                for party in PARTIES {
                    self.outbox.enqueue(member(party), record("FR", of)).await.unwrap();
                }
            }
            Step::Allow(party, of, level) => self.allow(party_of(party), record("FR", of), level).await,
            Step::Pull { party, limit, arrives } => {
                let decided = self.decide(party_of(party), limit).await;
                self.release(party_of(party), decided, arrives).await;
            }
            Step::Overtaken { party, of, level } => {
                let decided = self.decide(party_of(party), 100).await;
                self.allow(party_of(party), record("FR", of), level).await;
                self.release(party_of(party), decided, true).await;
            }
            Step::Resend { party, arrives } => {
                let from = self.receivers[&party_of(party)].0.last_number;
                self.resend(party_of(party), from, arrives).await;
            }
            Step::SecondStream { party } => {
                let older = self.receivers[&party_of(party)].1.last_number;
                self.resend(party_of(party), older, true).await;
            }
            Step::Restore { party } => {
                let (now, backup) = self.receivers.get_mut(&party_of(party)).unwrap();
                *now = backup.clone();
            }
            Step::Backup { party } => {
                let (now, backup) = self.receivers.get_mut(&party_of(party)).unwrap();
                *backup = now.clone();
            }
        }
    }

    /// The line is good again and everything is pulled.
    async fn settle(&mut self) {
        for party in PARTIES.map(member) {
            for _ in 0..3 {
                let from = self.receivers[&party].0.last_number;
                self.resend(party, from, true).await;
                let decided = self.decide(party, 100).await;
                self.release(party, decided, true).await;
            }
            assert!(self.outbox.pending(party, None, 1).await.unwrap().is_empty());
            let expected: BTreeMap<_, _> = (1..=RECORDS)
                .map(|of| record("FR", of))
                .filter_map(|record| match self.may(party, record) {
                    (version, Some(level)) => Some((record, (version, level))),
                    (_, None) => None,
                })
                .collect();
            let (receiver, _) = &self.receivers[&party];
            assert_eq!(receiver.holds, expected, "{party}");
            assert_eq!(receiver.last_number, self.outbox.last_number(party).await.unwrap());
            for (n, item) in (1..).zip(self.outbox.released_after(party, 0, 1000).await.unwrap()) {
                assert_eq!(item.number, n);
                assert!(self.ever_allowed.contains(&(party, item.record)));
            }
        }
    }
}

fn live(steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let test = TestStore::with_drafts(RECORDS).await;
        let mut world = World {
            outbox: test.store.outbox(),
            versions: (1..=RECORDS).map(|of| (record("FR", of), 1)).collect(),
            allowed: BTreeMap::new(),
            ever_allowed: BTreeSet::new(),
            receivers: PARTIES.map(|party| (member(party), Default::default())).into(),
        };
        for step in steps {
            world.take(step).await;
        }
        world.settle().await;
        test.store.close().await;
    });
}

/// Random lives come upon this one rarely: what was sent again as a retraction had arrived as an upsert before.
#[test]
fn a_rewritten_number_that_had_arrived_is_made_good() {
    for level in [None, Some(Action::Read), Some(Action::Discover)] {
        live(vec![
            Step::Allow(0, 1, Some(Action::Read)),
            Step::Pull { party: 0, limit: 1, arrives: true },
            Step::Allow(0, 1, None),
            Step::SecondStream { party: 0 },
            Step::Allow(0, 1, level),
        ]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn a_partner_holds_in_the_end_exactly_what_it_may(steps in proptest::collection::vec(step(), 1..40)) {
        live(steps);
    }
}

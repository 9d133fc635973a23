//! What people at different nodes are told about ballots, while nodes are cut off, stand still and are killed, is explained by
//! one order of what they did: it is linearizable. Each ballot is a history of its own, short enough to be checked.
//!
//! `COMITY_BALLOTS` says how many, `COMITY_SEED` draws a campaign again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(unreachable_pub, reason = "the modules of one test")]

mod desk;
mod model;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use comity_tests::commands::Authors;
use comity_tests::door::{Answer, Door};
use comity_tests::freeze::Frozen;
use comity_tests::proxy::Net;
use comity_tests::seed::{Dice, Seed};
use desk::Desk;
use model::{Ballot, History};
use support::{Field, PATIENCE};
use tokio::task::JoinSet;

/// Ballots where `COMITY_BALLOTS` does not say.
const BALLOTS: usize = 120;
/// Ballots at one time.
const STREAMS: usize = 3;
const MEMBERS: [&str; 3] = ["FR", "DE", "CA"];
/// Yes votes that adopt.
const NEEDED: usize = 2;
const READERS: usize = 2;
const LOOKS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn what_people_are_told_is_explained_by_one_order() {
    let ballots = std::env::var("COMITY_BALLOTS").map_or(BALLOTS, |n| n.parse().unwrap());
    let seed = Seed::take().unwrap();
    let mut field = Field::laid_out(&MEMBERS, "quorum(2/3)");
    let net = Net::lay(&field.federation).await.unwrap();
    (0..MEMBERS.len()).for_each(|seat| field.federation.spawn(seat).unwrap());
    net.know(&field.federation);
    field.federation.start(PATIENCE).await.unwrap();

    let office = Arc::new(Office {
        authors: Authors::of(&field.federation).unwrap(),
        doors: Door::to_all(&field.federation).unwrap(),
        desks: field.federation.seats.iter().map(|seat| Desk::of(&field.federation, seat)).collect(),
    });
    let mut streams = JoinSet::new();
    for stream in 0..STREAMS {
        let (office, dice) = (Arc::clone(&office), seed.dice(&format!("stream {stream}")));
        streams.spawn(office.decide_in_turn(ballots.div_ceil(STREAMS), dice));
    }
    let mut dice = seed.dice("faults");
    let mut known = 0;
    while !streams.is_empty() {
        tokio::select! {
            Some(done) = streams.join_next() => known += done.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(200 + dice.below(800) as u64)) => {
                trouble(&mut field, &net, &mut dice).await;
            }
        }
    }
    eprintln!("{ballots} ballots, {known} operations explained");
    assert!(known > ballots * NEEDED, "people were told little: {known}");
}

/// One fault, and its end.
async fn trouble(field: &mut Field, net: &Net, dice: &mut Dice) {
    let seat = dice.below(MEMBERS.len());
    let length = Duration::from_millis(500 + dice.below(2_000) as u64);
    match dice.below(3) {
        0 => {
            net.isolate(&[seat]);
            tokio::time::sleep(length).await;
            net.mend();
        }
        1 => {
            let frozen = Frozen::process(field.federation.process_id(seat).unwrap()).unwrap();
            tokio::time::sleep(length).await;
            drop(frozen);
        }
        _ => {
            field.federation.kill(seat);
            field.federation.spawn(seat).unwrap();
            net.know(&field.federation);
            field.federation.wait_serving(seat, PATIENCE).await.unwrap();
        }
    }
}

/// Everybody's desks.
struct Office {
    authors: Authors,
    doors: Vec<Door>,
    desks: Vec<Desk>,
}

impl Office {
    /// One ballot after another; returns how many operations were explained.
    async fn decide_in_turn(self: Arc<Self>, ballots: usize, mut dice: Dice) -> usize {
        let mut known = 0;
        for _ in 0..ballots {
            let ballot = self.table(&mut dice).await;
            let history = self.decide(&ballot, &mut dice).await;
            assert!(history.is_linearizable(Ballot::tabled(MEMBERS.len(), NEEDED)), "no order explains {history:?}");
            known += history.known();
        }
        known
    }

    /// Tables until it is acknowledged: only then the history begins.
    async fn table(&self, dice: &mut Dice) -> String {
        let table = self.authors.table(dice.below(MEMBERS.len()), dice).unwrap();
        loop {
            let door = &self.doors[dice.below(self.doors.len())];
            if let Ok(Answer::Committed) = door.hand_in(&table, Duration::from_secs(4)).await {
                return table.ballot.to_string();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All members vote at about the same time, others look meanwhile.
    async fn decide(&self, ballot: &str, dice: &mut Dice) -> Arc<History> {
        let history = Arc::new(History::default());
        let mut people = JoinSet::new();
        for desk in &self.desks {
            let (mut desk, ballot, history) = (desk.clone(), ballot.to_owned(), Arc::clone(&history));
            let (pause, yes) = (dice.below(100), !dice.once_in(4));
            people.spawn(async move {
                tokio::time::sleep(Duration::from_millis(pause as u64)).await;
                desk.vote(&ballot, yes, &history).await;
            });
        }
        for _ in 0..READERS {
            let (ballot, history, mut dice) = (ballot.to_owned(), Arc::clone(&history), Dice::new(dice.number()));
            let desks = self.desks.clone();
            people.spawn(async move {
                for _ in 0..LOOKS {
                    tokio::time::sleep(Duration::from_millis(dice.below(60) as u64)).await;
                    desks[dice.below(desks.len())].clone().look(&ballot, &history).await;
                }
            });
        }
        while let Some(done) = people.join_next().await {
            done.unwrap();
        }
        history
    }
}

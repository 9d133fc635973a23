//! Real nodes that are cut off from each other, and processes that stand still, while clients hand commands in: a minority
//! acknowledges nothing, a majority goes on, and once the lines are mended all nodes come to hold the same.
//!
//! `COMITY_FAULTS` says how many faults there are, `COMITY_SEED` draws a campaign again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::time::{Duration, Instant};

use comity_tests::agreement;
use comity_tests::commands::Authors;
use comity_tests::door::{Answer, Door, leader};
use comity_tests::freeze::Frozen;
use comity_tests::load::Load;
use comity_tests::proxy::Net;
use comity_tests::seed::{Dice, Seed};
use support::{Field, PATIENCE};

/// Faults where `COMITY_FAULTS` does not say.
const FAULTS: usize = 12;
const CLIENTS: usize = 6;
/// After each command of a client: enough for a log that is checked in seconds.
const PAUSE: Duration = Duration::from_millis(50);
/// After the last fault: all nodes hold the same, cosigned. The bound is for a busy machine.
const HEALED_WITHIN: Duration = Duration::from_secs(30);
/// While a majority is connected: clients get something done. The bound is for a busy machine.
const GOES_ON_WITHIN: Duration = Duration::from_secs(30);
/// Longer than an election takes.
const CUT_OFF: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_lines_are_cut_and_processes_stand_still() {
    let faults = std::env::var("COMITY_FAULTS").map_or(FAULTS, |n| n.parse().unwrap());
    let seed = Seed::take().unwrap();
    let mut dice = seed.dice("faults");
    let (field, net) = start(&["FR", "DE", "CA", "GB", "NL"], "quorum(2/5)").await;
    let load = Load::start(&field.federation, CLIENTS, PAUSE, &seed).unwrap();

    for _ in 0..faults {
        tokio::time::sleep(Duration::from_millis(200 + dice.below(800) as u64)).await;
        let frozen = happen(&field, &net, &mut dice);
        tokio::time::sleep(Duration::from_millis(500 + dice.below(3_000) as u64)).await;
        net.mend();
        drop(frozen);
    }
    let journal = load.end().await.unwrap();
    let agreement = agreement::reached(&field.federation, HEALED_WITHIN).await.unwrap();
    agreement.keeps(&journal).unwrap();
    eprintln!(
        "{faults} faults, {} commands acknowledged, {} unknown, {} entries, healed after {:.1} s",
        journal.acknowledged.len(),
        journal.unknown.len(),
        agreement.entries,
        agreement.healed_after.as_secs_f64()
    );
    assert!(journal.acknowledged.len() > faults, "clients got little done: {}", journal.acknowledged.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minority_acknowledges_nothing_and_a_majority_goes_on() {
    let seed = Seed::take().unwrap();
    let mut dice = seed.dice("lonely");
    let (field, net) = start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let federation = &field.federation;
    // The worst that can be cut off is the leader, which does not know it yet.
    let leader = leader(federation).await.unwrap();
    let seat = federation.seats.iter().position(|seat| seat.member == leader).unwrap();
    net.isolate(&[seat]);
    let lonely = Authors::of(federation).unwrap().table(0, &mut dice).unwrap();
    let door = Door::to(federation, leader).unwrap();
    let begin = Instant::now();
    while begin.elapsed() < CUT_OFF {
        let answer = door.hand_in(&lonely, CUT_OFF).await;
        assert!(!matches!(answer, Ok(Answer::Committed)), "a node that is alone acknowledged a command");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    let load = Load::start(federation, CLIENTS, PAUSE, &seed).unwrap();
    let begin = Instant::now();
    while load.acknowledged() < 30 {
        assert!(begin.elapsed() < GOES_ON_WITHIN, "the majority acknowledged {} commands", load.acknowledged());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut journal = load.end().await.unwrap();
    journal.unknown.insert(lonely.envelope);
    net.mend();
    let agreement = agreement::reached(federation, HEALED_WITHIN).await.unwrap();
    agreement.keeps(&journal).unwrap();
}

/// A federation that runs with a proxy before each of its nodes.
async fn start(members: &[&str], rule: &str) -> (Field, Net) {
    let mut field = Field::laid_out(members, rule);
    let net = Net::lay(&field.federation).await.unwrap();
    for seat in 0..members.len() {
        field.federation.spawn(seat).unwrap();
    }
    net.know(&field.federation);
    field.federation.start(PATIENCE).await.unwrap();
    (field, net)
}

/// One fault; always a majority stays that moves and is connected.
fn happen(field: &Field, net: &Net, dice: &mut Dice) -> Option<Frozen> {
    let seats = field.federation.seats.len();
    let one = dice.below(seats);
    let other = (one + 1 + dice.below(seats - 1)) % seats;
    match dice.below(5) {
        0 => net.isolate(&[one]),
        1 => net.isolate(&[one, other]),
        2 => net.cut(one, other),
        3 => net.cut_one_way(one, other),
        _ => return Some(Frozen::process(field.federation.process_id(one).unwrap()).unwrap()),
    }
    None
}

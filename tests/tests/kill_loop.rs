//! `kill -9` of real nodes while clients hand commands in: nothing acknowledged is lost, nothing invented, and all nodes come to
//! hold the same.
//!
//! `COMITY_KILLS` says how many processes are killed, `COMITY_SEED` draws a campaign again.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use comity_cli::demo::federation::Federation;
use comity_tests::agreement;
use comity_tests::load::Load;
use comity_tests::seed::{Dice, Seed};
use support::{Field, PATIENCE};

/// Processes that are killed where `COMITY_KILLS` does not say.
const KILLS: usize = 20;
const CLIENTS: usize = 6;
/// After each command of a client: enough for a log that is checked in seconds.
const PAUSE: Duration = Duration::from_millis(50);
/// After the last node was started again: all nodes hold the same, cosigned. The bound is for a busy machine.
const HEALED_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_nodes_are_killed() {
    let kills = std::env::var("COMITY_KILLS").map_or(KILLS, |n| n.parse().unwrap());
    let seed = Seed::take().unwrap();
    let mut dice = seed.dice("kills");
    let mut field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let load = Load::start(&field.federation, CLIENTS, PAUSE, &seed).unwrap();

    let mut killed = 0;
    while killed < kills {
        tokio::time::sleep(Duration::from_millis(100 + dice.below(900) as u64)).await;
        let victims = victims(field.federation.seats.len(), &mut dice);
        killed += victims.len();
        kill_and_start(&mut field.federation, &victims, &mut dice).await;
    }
    // A node that was killed while it started is started again.
    field.federation.start(PATIENCE).await.unwrap();
    let journal = load.end().await.unwrap();
    let agreement = agreement::reached(&field.federation, HEALED_WITHIN).await.unwrap();
    agreement.keeps(&journal).unwrap();
    eprintln!(
        "{killed} kills, {} commands acknowledged, {} unknown, {} entries, healed after {:.1} s",
        journal.acknowledged.len(),
        journal.unknown.len(),
        agreement.entries,
        agreement.healed_after.as_secs_f64()
    );
    assert!(journal.acknowledged.len() > kills, "clients got little done: {}", journal.acknowledged.len());
}

/// Mostly one, sometimes two, now and then all, as when the power fails everywhere.
fn victims(seats: usize, dice: &mut Dice) -> Vec<usize> {
    let first = dice.below(seats);
    let count = match dice.below(10) {
        0 => seats,
        1 | 2 => 2,
        _ => 1,
    };
    (0..count).map(|n| (first + n) % seats).collect()
}

async fn kill_and_start(federation: &mut Federation, victims: &[usize], dice: &mut Dice) {
    victims.iter().for_each(|seat| federation.kill(*seat));
    tokio::time::sleep(Duration::from_millis(dice.below(1_000) as u64)).await;
    victims.iter().for_each(|seat| federation.spawn(*seat).unwrap());
    // One time in four the next kill meets a node that is still starting.
    if !dice.once_in(4) {
        for seat in victims {
            federation.wait_serving(*seat, PATIENCE).await.unwrap();
        }
    }
}

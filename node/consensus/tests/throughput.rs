//! How many commands three nodes in one process decide a second. Run it by name: `cargo test -p comity-consensus --test
//! throughput -- --ignored --nocapture`; the project's benchmark measures processes of their own, in release.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use comity_core::list::Choice;
use comity_core::testing::{command_id, member};
use support::{World, until};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn commands_a_second() {
    let world = Arc::new(World::new(3));
    let mut nodes = Vec::new();
    for member in world.federation.voters() {
        nodes.push(world.start(member).await);
    }
    let (tabling, ballot) = world.federation.table(member("FR"), 1);
    nodes[0].consensus.submit(tabling).await.unwrap();
    let serial = Arc::new(AtomicU64::new(1_000));
    for clients in [1, 16, 64, 256] {
        // Everybody hands in at the node that leads.
        until("somebody leads", || nodes[0].consensus.status().leader.is_some()).await;
        let leader = nodes[0].consensus.status().leader.unwrap();
        let consensus = &nodes.iter().find(|node| node.consensus.member() == leader).unwrap().consensus;
        let until = Instant::now() + Duration::from_secs(5);
        let started = Instant::now();
        let mut tasks = Vec::new();
        for client in 0..clients {
            let (world, consensus, serial) = (Arc::clone(&world), consensus.clone(), Arc::clone(&serial));
            tasks.push(tokio::spawn(async move {
                let voter = world.federation.voters()[client % 3];
                let mut times = Vec::new();
                while Instant::now() < until {
                    // A correction of a vote that does not stand: signed, replicated, verified, and refused.
                    let n = serial.fetch_add(1, Ordering::Relaxed);
                    let vote =
                        world.federation.vote_command(voter, ballot, Choice::Abstain, Some(command_id(1 << 40)), n);
                    let submission = world.federation.sign(&vote, None);
                    let asked = Instant::now();
                    consensus.submit(submission).await.unwrap_err();
                    times.push(asked.elapsed());
                }
                times
            }));
        }
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.unwrap());
        }
        times.sort();
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{clients:>4} clients: {:>7.0} commands/s, p50 {:?}, p99 {:?}",
            times.len() as f64 / seconds,
            times[times.len() / 2],
            times[times.len() * 99 / 100],
        );
    }
}

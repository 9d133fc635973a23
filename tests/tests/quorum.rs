//! A minority reads, says how old it is, and cannot write; whoever retries does nothing twice.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::time::{Duration, Instant};

use comity_cli::Exit;
use comity_core::Role::{Approver, Operator};
use comity_tests::door::leader;
use serde_json::Value;
use support::{Field, PATIENCE};

const MEMBERS: [&str; 4] = ["FR", "DE", "CA", "AU"];

#[tokio::test(flavor = "multi_thread")]
async fn a_minority_reads_what_it_knew_and_writes_nothing() {
    let mut field = Field::start(&MEMBERS, "quorum(3/4)").await;
    let entry = field.listed("FR", &["FR", "DE", "CA"], "DOE, Ada").await;
    let proposal = field.draft_of("FR", "ROE, Rita", "The case for publication.").await;
    let asked = field.ok("FR", Operator, &["proposal", "table", &proposal]).await;
    for seat in 2..4 {
        field.federation.kill(seat);
    }
    // A leader that is cut off must find out first.
    let begin = Instant::now();
    let show = ["list", "show", &entry];
    while field.run("FR", Operator, &show).await.exit == Exit::Ok {
        assert!(begin.elapsed() < PATIENCE, "two of four go on as if they were the members");
    }
    let words = ["NO_QUORUM", "--stale-ok", "comity node status"];
    field.refused(Exit::NoQuorum, "FR", Operator, &show, &words).await;
    let stale = field.run("FR", Operator, &["--stale-ok", "list", "show", &entry]).await;
    assert_eq!(stale.exit, Exit::Ok, "{}", stale.err);
    assert!(stale.out.contains("DOE, Ada") && stale.err.contains("as this node knew it "), "{}", stale.err);
    // Whoever leads and whoever follows grow older alike: that they hear each other makes nothing current.
    for member in ["FR", "DE"] {
        let begin = Instant::now();
        loop {
            let told = field.run(member, Operator, &["--stale-ok", "list", "show", &entry]).await.err;
            let age = told.split_once("as this node knew it ").and_then(|(_, rest)| rest.split_once(" s ago"));
            if age.is_some_and(|(age, _)| age.parse::<u64>().unwrap() >= 5) {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "{member}: {told}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    let id = asked["id"].as_str().unwrap();
    field.refused(Exit::NoQuorum, "FR", Approver, &["approve", "yes", id], &["NO_QUORUM"]).await;
    // What was handed in may be committed yet: nobody is told that it was refused.
    let no = ["approve", "no", id, "--reason", "We changed our mind."];
    field.refused(Exit::Conflict, "FR", Approver, &no, &["APPROVAL_UNDERWAY", "may still take effect"]).await;

    // Back together: the approval still waits, and is carried out once.
    for seat in 2..4 {
        field.federation.spawn(seat).unwrap();
    }
    field.federation.wait_serving(2, PATIENCE).await.unwrap();
    let approver = field.context("FR", Approver);
    let begin = Instant::now();
    loop {
        let answer = field.desk.run(&approver, &["approve", "yes", id]).await;
        match answer.exit {
            // "Already": the first attempt was committed after all, once there were enough again.
            Exit::Ok | Exit::Conflict => break,
            _ => assert!(begin.elapsed() < PATIENCE, "{}", answer.err),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(ballots_of(&field, "DE", &proposal).await, 1);
    let fresh = field.run("FR", Operator, &show).await;
    assert!(fresh.exit == Exit::Ok && !fresh.err.contains("as this node knew it"), "{}", fresh.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_dies_costs_a_moment_and_nothing_is_done_twice() {
    let mut field = Field::start(&MEMBERS, "quorum(4/4)").await;
    for round in 0..3 {
        let proposal = field.draft_of("FR", &format!("DOE, Ada {round}"), "The case for publication.").await;
        let asked = field.ok("FR", Operator, &["proposal", "table", &proposal]).await;
        let id = asked["id"].as_str().unwrap();
        let led = leader(&field.federation).await.unwrap();
        let seat = field.seat_of(led.as_str());
        let approve = ["approve", "yes", id];
        if led.as_str() == "FR" {
            // Its own node leads: it hands leadership over and is back before it is asked.
            field.federation.stop(seat, Duration::from_secs(15)).await;
        } else {
            field.federation.kill(seat);
        }
        field.federation.spawn(seat).unwrap();
        if led.as_str() == "FR" {
            field.federation.wait_serving(seat, PATIENCE).await.unwrap();
        }
        // One attempt, whoever leads: the node finds the next leader itself.
        let answer = field.run("FR", Approver, &approve).await;
        assert_eq!(answer.exit, Exit::Ok, "led by {led}: {}", answer.err);
        field.federation.wait_serving(seat, PATIENCE).await.unwrap();
        assert_eq!(ballots_of(&field, "DE", &proposal).await, 1);
    }
}

/// How many ballots there are on a proposal, at a member's node.
async fn ballots_of(field: &Field, member: &str, proposal: &str) -> usize {
    let all = field.ok(member, Operator, &["ballot", "list"]).await;
    all["ballots"].as_array().unwrap().iter().filter(|b: &&Value| b["proposal"] == proposal).count()
}

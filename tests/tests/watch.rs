//! Following the public log, through restarts of the node and changes of the leader.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::process::Stdio;
use std::time::Duration;

use comity_core::Role::Operator;
use comity_tests::door::leader;
use serde_json::Value;
use support::{Field, PATIENCE};

const VOTERS: [&str; 2] = ["FR", "DE"];

#[tokio::test(flavor = "multi_thread")]
async fn every_leaf_is_told_once_whatever_happens_to_the_nodes() {
    let mut field = Field::start(&["FR", "DE", "CA", "AU"], "quorum(1/2)").await;
    field.listed("FR", &VOTERS, "DOE, Ada").await;
    let watch = ["list", "watch", "--agreed", "--limit", "6", "--patience-s", "60", "-o", "json"];
    let mut watch = field.process("CA", Operator, &watch);
    let watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    field.listed("DE", &VOTERS, "ROE, Rita").await;

    // The watched node ends in the middle of it, and comes back later.
    let ca = field.seat_of("CA");
    field.federation.kill(ca);
    field.listed("FR", &VOTERS, "POE, Paul").await;
    field.federation.spawn(ca).unwrap();
    field.federation.wait_serving(ca, PATIENCE).await.unwrap();
    field.listed("DE", &VOTERS, "COE, Carl").await;

    // Whoever leads ends, too, unless it is one of those that vote here: then the other one of the two leads on.
    let led = leader(&field.federation).await.unwrap();
    if !VOTERS.contains(&led.as_str()) {
        let seat = field.seat_of(led.as_str());
        field.federation.kill(seat);
        field.listed("FR", &VOTERS, "NOE, Nora").await;
        field.federation.spawn(seat).unwrap();
        field.federation.wait_serving(seat, PATIENCE).await.unwrap();
    } else {
        field.listed("FR", &VOTERS, "NOE, Nora").await;
    }
    field.listed("DE", &VOTERS, "LOE, Lars").await;

    let told = tokio::task::spawn_blocking(|| watch.wait_with_output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8(told.stdout).unwrap(), String::from_utf8(told.stderr).unwrap());
    assert!(told.status.success(), "{err}");
    let leaves: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let numbers: Vec<u64> = leaves.iter().map(|leaf| leaf["leaf"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5], "{err}");
    assert!(err.contains("connecting again from leaf "), "{err}");
    assert!(leaves.iter().all(|leaf| leaf["agreed"] == true));
    // From a leaf on, in lines for people.
    let rest = field.read("DE", Operator, &["list", "watch", "--from", "4", "--limit", "2"]).await;
    assert_eq!(rest.lines().count(), 2, "{rest}");
    assert!(rest.contains("CW-") && rest.contains("NOE, Nora") && rest.contains("LOE, Lars"), "{rest}");
}

//! Two nodes whose stores differ in what a partner may not learn of answer it alike, to the byte, over real TLS: pages, notices,
//! cursors, recalls, errors, and how long each message is. What is random or of the clock is named in one place, `wire.rs`.
//!
//! The size of the access log's checkpoint is the one stated exception, and no part of what is compared.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test that cannot go on fails")]
#![allow(unreachable_pub, reason = "the modules of one test")]

mod stores;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use comity_cli::Exit;
use comity_core::Role;
use comity_core::recall::{Answer, AnswerStatement, sign_answer};
use comity_core::{RecordId, Timestamp};
use stores::{Ids, put};
use support::{Field, PATIENCE};
use wire::{Exchange, Peer, Said};

/// A hidden thing that is done while the partner listens, and needs two people.
async fn hidden_changes(field: &Field, ids: &Ids) {
    let all = field.file("all.cedar", "permit (principal, action, resource);");
    field.approved("FR", Role::Policy, &["policy", "apply", "--party", "CA", &all]).await;
    for _ in 0..3 {
        let drafted = field.draft("FR", &["CA"]).await;
        field.approved("FR", Role::Operator, &["proposal", "share", &drafted, "--with", "CA"]).await;
        // For the partner, and above what its policy permits.
        let denied = field.file(
            "denied.yaml",
            "title: Denied\nmarking: {tier: secret, releasable_to: [DE]}\ndate: 2017-04-04\nplace: Nowhere\n",
        );
        let denied = field.ok("FR", Role::Operator, &["incident", "add", "-f", &denied]).await;
        let denied = denied["id"].as_str().unwrap().to_owned();
        field.approved("FR", Role::Operator, &["incident", "share", &denied, "--with", "DE"]).await;
        field.ok("FR", Role::Operator, &["incident", "withdraw", &denied, "--yes"]).await;
    }
    for id in ids.recalled_elsewhere.iter().take(2) {
        recall(field, id).await;
    }
}

async fn recall(field: &Field, id: &RecordId) {
    let start = ["recall", "start", &id.to_string(), "--reason", "A source is at risk.", "--yes"];
    field.approved("FR", Role::Operator, &start).await;
}

/// France's node runs alone: nobody says how far they saw its access log, so that a person has it start.
async fn start_alone(field: &Field) {
    let start = ["node", "start-unconfirmed", "--reason", "it runs alone in this test", "--yes"];
    let begin = std::time::Instant::now();
    while field.run("FR", Role::Admin, &start).await.exit != Exit::Ok {
        assert!(begin.elapsed() < PATIENCE, "the node of France does not start");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// All that Germany's node hears of France's in the course of everything that it can ask.
async fn heard(field: &mut Field, laden: bool) -> Vec<Said> {
    let ids = put(&field.federation, laden).await;
    field.federation.spawn(0).unwrap();
    start_alone(field).await;
    let de = Peer::of(field, "DE").await;
    if laden {
        // Canada has some of it, so that it can be recalled from there.
        let mut ca = Peer::of(field, "CA").await.open(&[]).await.unwrap();
        assert!(ca.all().await.iter().any(|said| said.is_page()), "Canada is given something");
    }
    let mut heard = Vec::new();

    // Everything from the beginning, in one stream.
    let mut stream = de.open(&[]).await.unwrap();
    heard.extend(stream.all().await);
    let middle = stream.cursors[0].clone();
    if laden {
        hidden_changes(field, &ids).await;
    }
    visible_change(field, &ids.later, &mut stream, &mut heard).await;
    // One that is recalled from it, before and after others are recalled elsewhere.
    recall(field, &ids.recalled).await;
    heard.extend(stream.until(|said| said.tells_recalls()).await);
    if laden {
        for id in ids.recalled_elsewhere.iter().skip(2) {
            recall(field, id).await;
        }
    }
    visible_change(field, &ids.last, &mut stream, &mut heard).await;

    // Resumed from the middle; a page that was sent before is made again.
    drop(stream);
    let mut stream = de.open(&middle).await.unwrap();
    heard.extend(stream.all().await);
    heard.extend(refusals(&de, &mut stream, &middle).await);
    heard.extend(recalls(&de, if laden { ids.recalled_elsewhere[0] } else { ids.absent }).await);
    field.federation.stop(0, std::time::Duration::from_secs(20)).await;
    heard
}

async fn visible_change(field: &Field, id: &RecordId, stream: &mut Exchange, heard: &mut Vec<Said>) {
    field.approved("FR", Role::Operator, &["incident", "share", &id.to_string(), "--with", "DE"]).await;
    heard.extend(stream.until(Said::is_page).await);
    heard.extend(stream.all().await);
}

/// What it is told where it asks for what it must not.
async fn refusals(de: &Peer, stream: &mut Exchange, cursor: &[u8]) -> Vec<Said> {
    let mut heard = Vec::new();
    let mut forged = cursor.to_vec();
    forged[7] ^= 1;
    for cursor in [forged, vec![0; 24], vec![1; 3]] {
        heard.push(Said::refused(de.open(&cursor).await.err()));
    }
    heard.push(Said::refused(de.open_in([9; 32]).await.err()));
    heard.push(Said::refused(de.receipt_first().await));
    // Signed, and for numbers that were not given: how many there are is what it might try to learn.
    for beyond in [1, 1_000_000] {
        stream.sign_for(stream.last + beyond).await;
        heard.extend(stream.all_to_the_end().await);
        *stream = de.open(cursor).await.unwrap();
        heard.extend(stream.all().await);
    }
    heard
}

/// What the door says that every member keeps.
async fn recalls(de: &Peer, other: RecordId) -> Vec<Said> {
    let mut heard = Vec::new();
    for after in [0, 1, 2, 1_000] {
        heard.push(de.fetch_recalls(after).await);
    }
    // An answer to a recall that it was never told of: there, or not there.
    let statement = AnswerStatement {
        federation: de.federation,
        from: "FR".parse().unwrap(),
        to: "DE".parse().unwrap(),
        recall: RecordId::new("FR".parse().unwrap(), comity_core::RecordKind::Recall, [3; 10]),
        record: other,
        answer: Answer::Destroyed,
        because: None,
        backup_days: 0,
        answered_at: "2026-11-24T09:00:00Z".parse::<Timestamp>().unwrap(),
    };
    heard.push(de.answer_recall(sign_answer(&statement, &de.key).to_bytes()).await);
    heard.push(de.answer_recall(b"{}".to_vec()).await);
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_changes_nothing_that_a_partner_hears() {
    let mut field = Field::laid_out(&["FR", "DE", "CA"], "quorum(2/3)");
    let bare = heard(&mut field, false).await;
    for gone in ["data", "policies", "store.key"] {
        let path = field.federation.seats[0].folder.join(gone);
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    let laden = heard(&mut field, true).await;
    let sizes = |heard: &[Said]| heard.iter().map(Said::size).collect::<Vec<_>>();
    assert_eq!(sizes(&bare), sizes(&laden), "what kind of messages, and how long, in what order");
    for (n, (bare, laden)) in bare.iter().zip(&laden).enumerate() {
        assert_eq!(bare, laden, "message {n}");
    }
    assert!(bare.len() > 20 && bare.iter().filter(|said| said.is_page()).count() > 5, "{:?}", sizes(&bare));
}

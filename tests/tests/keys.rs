//! A member's keys: rotated by itself, revoked by its recovery key at once, replaced by ballot.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use comity_cli::Exit;
use comity_core::Role::{Admin, Operator};
use comity_core::list::Choice;
use comity_tests::commands::Authors;
use comity_tests::door::{Answer, Door};
use comity_tests::seed::Dice;
use support::{Field, Joined, PATIENCE};

const MEMBERS: [&str; 3] = ["FR", "DE", "CA"];

/// The new key file of this purpose in a folder.
fn fresh_key(folder: &std::path::Path, purpose: &str) -> PathBuf {
    let begins = format!("signing-{purpose}-");
    let mut files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(&begins)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_and_the_old_ones_decide_nothing() {
    let mut field = Field::start(&MEMBERS, "quorum(2/3)").await;
    let authors = Authors::of(&field.federation).unwrap();
    let folder = field.federation.seat("FR").unwrap().folder.clone();
    let dir = folder.display().to_string();
    field.refused(Exit::Usage, "FR", Admin, &["member", "rotate-keys", "--dir", &dir], &["--decision"]).await;
    field.approved("FR", Admin, &["member", "rotate-keys", "--decision", "--node", "--dir", &dir]).await;

    // The new keys are put into the node's configuration.
    let seat = field.seat_of("FR");
    field.federation.stop(seat, Duration::from_secs(15)).await;
    let config = field.federation.seats[seat].config();
    let mut text = std::fs::read_to_string(&config).unwrap();
    for purpose in ["decision", "node"] {
        let name = fresh_key(&folder, purpose).file_name().unwrap().to_str().unwrap().to_owned();
        text = text.replace(&format!("signing-{purpose}.key"), &name);
    }
    std::fs::write(&config, text).unwrap();
    field.federation.spawn(seat).unwrap();
    field.federation.wait_serving(seat, PATIENCE).await.unwrap();

    let proposal = field.draft_of("DE", "DOE, Ada", "The case for publication.").await;
    let ballot = field.table("DE", &proposal).await;
    field.ballot("FR", &ballot, |_| true).await;
    // What the old decision key signs is refused by whoever leads.
    let old = authors.vote(0, ballot.parse().unwrap(), Choice::Yes, &mut Dice::fresh().unwrap()).unwrap();
    let mut refusals = Vec::new();
    for door in Door::to_all(&field.federation).unwrap() {
        match door.hand_in(&old, PATIENCE).await {
            Ok(Answer::NotLeader(_)) => {}
            Ok(Answer::Committed) => panic!("{} took it", door.member),
            Err(status) => refusals.push(status.message().to_owned()),
        }
    }
    assert!(refusals.iter().any(|refusal| refusal.contains("decision key")), "{refusals:?}");
    field.vote("FR", &ballot).await;
    field.vote("DE", &ballot).await;
    field.ballot("CA", &ballot, |b| b["state"] == "adopted").await;
    // Its new node key cosigns.
    let cosigns = |s: &serde_json::Value| s["cosigners"].as_array().unwrap().contains(&"FR".into());
    let ca = field.context("CA", Operator);
    field.desk.until("a cosignature by the new key", &ca, &["list", "status"], cosigns).await.unwrap();
    field.verified("CA").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stolen_keys_are_revoked_at_once_and_replaced_by_ballot() {
    let mut field = Field::start(&["FR", "DE", "CA", "AU"], "quorum(1/2)").await;
    let entry = field.listed("DE", &["DE", "FR"], "DOE, Ada").await;
    let de = field.federation.seat("DE").unwrap().clone();
    let recovery = de.folder.join("signing-recovery.key").display().to_string();
    let decision = de.folder.join("signing-decision.key").display().to_string();
    let revoke = |key: &str| {
        ["member", "revoke-keys", "--decision", "--node", "--yes", "--recovery-key", key].map(str::to_owned)
    };
    let as_str = |arguments: &[String]| -> Vec<String> { arguments.to_vec() };
    let wrong = as_str(&revoke(&decision));
    let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
    field.refused(Exit::Conflict, "DE", Admin, &wrong, &["SIGNATURE_INVALID"]).await;
    let right = as_str(&revoke(&recovery));
    let right: Vec<&str> = right.iter().map(String::as_str).collect();
    field.ok("DE", Admin, &right).await;
    let shown = field.read("FR", Operator, &["member", "show", "DE"]).await;
    assert_eq!(shown.matches("(revoked)").count(), 2, "{shown}");

    // From here on they sign nothing.
    let proposal = field.draft_of("FR", "ROE, Rita", "The case for publication.").await;
    let ballot = field.table("FR", &proposal).await;
    field.ballot("DE", &ballot, |_| true).await;
    let vote = ["ballot", "vote", &ballot, "yes"];
    field.not_carried_out(Exit::Conflict, "DE", Operator, &vote, &["KEY_REVOKED"]).await;

    // The machine is lost, too. Others keys, made elsewhere, by ballot; then it comes back as another node.
    let seat = field.seat_of("DE");
    field.federation.kill(seat);
    let folder = field.federation.folder.join("anew");
    let pki = ["pki", "init", "--member", "DE", "--endpoint", &de.peer, "--dir", folder.to_str().unwrap()];
    field.ok("FR", Admin, &pki).await;
    let row = folder.join("de").join("member.json").display().to_string();
    let replace = ["member", "replace-keys", "DE", &row, "--next-incarnation", "--statement", "Stolen, all of it."];
    let motion = field.moved("FR", &replace).await;
    for voter in ["FR", "CA"] {
        field.vote(voter, &motion).await;
    }
    field.ballot("FR", &motion, |b| b["state"] == "adopted").await;
    field.agreed("FR").await;
    let invite = field.federation.folder.join("invite.json").display().to_string();
    field.ok("FR", Admin, &["member", "invite", "-O", &invite]).await;
    let de = Joined::start(&field, "DE", &invite, "anew/de");
    let shown = de.until(&["list", "show", &entry], |e| e["agreed"] == true).await;
    assert_eq!(shown["proposer"], "DE");
    de.vote(&ballot).await;
    field.vote("FR", &ballot).await;
    field.ballot("CA", &ballot, |b| b["state"] == "adopted").await;
    field.verified("CA").await;
}

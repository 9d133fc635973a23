//! A member's keys: rotated by itself, revoked by its recovery key at once, replaced by ballot.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use comity_cli::Exit;
use comity_core::Role::{Admin, Auditor, Operator};
use comity_core::list::Choice;
use comity_tests::commands::{Authors, commit};
use comity_tests::federation::free_ports;
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
    let endpoint = format!("127.0.0.1:{}", free_ports(1).unwrap()[0]);
    let rotate = ["member", "rotate-keys", "--decision", "--node", "--endpoint", &endpoint, "--dir", &dir];
    field.approved("FR", Admin, &rotate).await;

    // The new keys and the new address are put into the node's configuration.
    let seat = field.seat_of("FR");
    field.federation.stop(seat, Duration::from_secs(15)).await;
    let config = field.federation.seats[seat].config();
    let mut text = std::fs::read_to_string(&config).unwrap();
    for purpose in ["decision", "node"] {
        let name = fresh_key(&folder, purpose).file_name().unwrap().to_str().unwrap().to_owned();
        text = text.replace(&format!("signing-{purpose}.key"), &name);
    }
    let before = std::mem::replace(&mut field.federation.seats[seat].peer, endpoint.clone());
    std::fs::write(&config, text.replace(&before, &endpoint)).unwrap();
    field.federation.spawn(seat).unwrap();
    field.federation.wait_serving(seat, PATIENCE).await.unwrap();

    let proposal = field.draft_of("DE", "DOE, Ada", "The case for publication.").await;
    let ballot = field.table("DE", &proposal).await;
    field.ballot("FR", &ballot, |_| true).await;
    // What the old decision key signs is put in order and then refused by every node: the vote that counts is still to come.
    let old = authors.vote(0, ballot.parse().unwrap(), Choice::No, &mut Dice::fresh().unwrap()).unwrap();
    commit(&field.federation, &old).await.unwrap();
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
    // The others have seen how far its access log had come, so that the loss of its machine is to be declared.
    field.ok("DE", Auditor, &["audit", "verify"]).await;
    let de = field.federation.seat("DE").unwrap().clone();
    let recovery = de.folder.join("signing-recovery.key").display().to_string();
    let decision = de.folder.join("signing-decision.key").display().to_string();
    let revoke = ["member", "revoke-keys", "--decision", "--node", "--yes", "--recovery-key"];
    let (wrong, right) = ([&revoke[..], &[&decision]].concat(), [&revoke[..], &[&recovery]].concat());
    field.refused(Exit::Conflict, "DE", Admin, &wrong, &["SIGNATURE_INVALID"]).await;
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
    let elsewhere = ["member", "join", &invite, "--member", "DE", "--endpoint", "127.0.0.1:9", "--dir"];
    let name = field.federation.genesis.federation().to_string();
    let anew = folder.join("de").display().to_string();
    let elsewhere = [&elsewhere[..], &[&anew, "--federation", &name]].concat();
    field.refused(Exit::Conflict, "FR", Admin, &elsewhere, &[&de.peer]).await;
    let de = Joined::start_at(&field, "DE", &invite, "anew/de", &de.peer);
    de.declare_loss().await;
    let shown = de.until(&["list", "show", &entry], |e| e["agreed"] == true).await;
    assert_eq!(shown["proposer"], "DE");
    de.vote(&ballot).await;
    field.vote("FR", &ballot).await;
    field.ballot("CA", &ballot, |b| b["state"] == "adopted").await;
    field.verified("CA").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_moves_to_another_authority_while_both_are_trusted() {
    let mut field = Field::start(&MEMBERS, "quorum(2/3)").await;
    let row = field.federation.genesis.member("FR".parse().unwrap()).unwrap().clone();
    let folder = field.federation.seat("FR").unwrap().folder.clone();
    let (old, next) = (folder.join("old-root.pem"), folder.join("next"));
    std::fs::write(&old, &row.roots_pem[0]).unwrap();
    let (old, dir) = (old.display().to_string(), next.display().to_string());
    let domain = row.trust_domain.to_string();
    field.ok("FR", Admin, &["pki", "init", "--member", "FR", "--trust-domain", &domain, "--dir", &dir]).await;
    let issue = ["pki", "issue", "--member", "FR", "--role", "node", "--name", "node-1", "--dir", &dir];
    field.ok("FR", Admin, &issue).await;
    let root = next.join("fr").join("ca.pem").display().to_string();

    field.approved("FR", Admin, &["member", "rotate-keys", "--root", &old, "--root", &root]).await;
    let shown = field.ok("DE", Operator, &["member", "show", "FR"]).await;
    assert_eq!(shown["roots"].as_array().map(Vec::len), Some(2), "{shown}");
    // The node takes the certificate of the next authority, and the others hear it.
    let seat = field.seat_of("FR");
    field.federation.stop(seat, Duration::from_secs(15)).await;
    for ending in ["pem", "key"] {
        let name = format!("node-node-1.{ending}");
        std::fs::copy(next.join("fr").join(&name), folder.join(&name)).unwrap();
    }
    field.federation.spawn(seat).unwrap();
    field.federation.wait_serving(seat, PATIENCE).await.unwrap();
    // Its own people are told so, and tell their CLI which authority their node has now.
    let unknown = ["--stale-ok", "list", "status"];
    field.refused(Exit::NotAuthenticated, "FR", Operator, &unknown, &["not signed by it", "--member FILE"]).await;
    let (contexts, named) = (field.federation.contexts(), next.join("fr").join("member.json").display().to_string());
    let text = std::fs::read_to_string(&contexts).unwrap();
    let with_member = |line: &str| match line.starts_with("[context.fr") {
        true => format!("{line}\nmember = \"{named}\"\n"),
        false => format!("{line}\n"),
    };
    std::fs::write(&contexts, text.lines().map(with_member).collect::<String>()).unwrap();
    let ca = field.seat_of("CA");
    // With one of three away FR is needed.
    field.federation.stop(ca, Duration::from_secs(15)).await;
    let proposal = field.draft_of("DE", "DOE, Ada", "The case for publication.").await;
    let ballot = field.table("DE", &proposal).await;
    field.ballot("FR", &ballot, |_| true).await;
    field.vote("FR", &ballot).await;
    field.vote("DE", &ballot).await;
    field.ballot("FR", &ballot, |b| b["state"] == "adopted").await;

    // Once the former one is left out, the node alone has moved: a certificate of the former authority opens nothing elsewhere.
    field.approved("FR", Admin, &["member", "rotate-keys", "--root", &root]).await;
    let shown = field.ok("DE", Operator, &["member", "show", "FR"]).await;
    assert_eq!(shown["roots"].as_array().map(Vec::len), Some(1), "{shown}");
}

//! A body that receives and has no vote: its node exchanges records, answers recalls, and has no part in the list.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::time::{Duration, Instant};

use comity_cli::Exit;
use comity_core::Role::{Admin, Auditor, Operator, Policy};
use serde_json::Value;
use support::{Field, Joined, PATIENCE};

const MEMBERS: [&str; 3] = ["FR", "DE", "CA"];
const READS: &str = r#"@id("reads") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 4 };"#;

async fn start() -> Field {
    Field::start_with_recipients(&MEMBERS, &["OPCW"], "quorum(2/3)").await
}

async fn policies(field: &Field, pairs: &[(&str, &str)]) {
    for (of, party) in pairs {
        let file = field.file(&format!("{of}-{party}.cedar"), READS);
        field.approved(of, Policy, &["policy", "apply", "--party", party, &file]).await;
    }
}

/// A proposal that is shared, and has arrived.
async fn shared(field: &Field, by: &str, with: &[&str]) -> String {
    let proposal = field.draft(by, with).await;
    field.approved(by, Operator, &["proposal", "share", &proposal, "--with", &with.join(",")]).await;
    for party in with {
        held(field, party, "proposal", &proposal).await;
    }
    proposal
}

async fn held(field: &Field, party: &str, noun: &str, id: &str) -> Value {
    let operator = field.context(party, Operator);
    field.desk.until("the record", &operator, &[noun, "show", id], |_| true).await.unwrap()
}

async fn until_gone(field: &Field, party: &str, noun: &str, id: &str) {
    let begin = Instant::now();
    while field.run(party, Operator, &[noun, "show", id]).await.exit != Exit::NotFound {
        assert!(begin.elapsed() < PATIENCE, "{party} sees {id} still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a party's people see of records of every kind.
async fn seen(field: &Field, party: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for noun in ["proposal", "incident", "evidence", "opinion"] {
        let listed = field.ok(party, Operator, &[noun, "list"]).await;
        ids.extend(listed["records"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap().to_owned()));
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_receives_what_members_release_and_gives_it_back() {
    let field = start().await;
    policies(&field, &[("FR", "OPCW"), ("FR", "DE"), ("FR", "CA"), ("DE", "FR"), ("DE", "OPCW"), ("OPCW", "FR")]).await;
    let proposal = shared(&field, "FR", &["OPCW"]).await;
    let material = field.file("sample.txt", "what the laboratory found");
    let description = field.file(
        "sample.yaml",
        &format!(
            "title: Sample 14\nmarking: {{tier: secret, releasable_to: [OPCW]}}\nmaterial: laboratory_report\n\
             description: Degradation products of sarin.\nholder: The quiet service\nlocator: vault/7/41\nlinks: [{proposal}]\n"
        ),
    );
    let evidence = field.ok("FR", Operator, &["evidence", "add", &material, "-f", &description]).await;
    let evidence = evidence["id"].as_str().unwrap().to_owned();
    field.approved("FR", Operator, &["evidence", "share", &evidence, "--with", "OPCW"]).await;
    let shown = held(&field, "OPCW", "evidence", &evidence).await.to_string();
    assert!(shown.contains("Degradation products") && shown.contains(&proposal), "{shown}");
    assert!(!shown.contains("quiet service") && !shown.contains("vault/7"), "{shown}");
    let log = field.ok("FR", Auditor, &["audit", "log", "--resource", &evidence, "--member", "OPCW"]).await;
    assert!(log.to_string().contains("reads"), "{log}");

    // A record of Germany's that France holds: France asks, Germany grants, Germany's node releases it.
    let german = shared(&field, "DE", &["FR"]).await;
    field.refused(Exit::NotFound, "OPCW", Operator, &["proposal", "show", &german], &[]).await;
    let request = ["release", "request", &german, "--to", "OPCW", "--purpose", "for its fact-finding mission"];
    field.approved("FR", Operator, &request).await;
    let asked = request_at(&field, "DE", "FR").await;
    field.approved("DE", Operator, &["release", "grant", &asked]).await;
    let shown = held(&field, "OPCW", "proposal", &german).await;
    assert_eq!((&shown["originator"], &shown["purpose"]), (&"DE".into(), &"for its fact-finding mission".into()));

    // Its own request reaches the originator, which a recipient cannot pass by.
    let share = ["proposal", "share", &proposal, "--with", "CA"];
    assert_ne!(field.run("OPCW", Operator, &share).await.exit, Exit::Ok);
    field
        .approved("OPCW", Operator, &["release", "request", &proposal, "--to", "CA", "--purpose", "it has a witness"])
        .await;
    let asked = request_at(&field, "FR", "OPCW").await;
    assert_eq!(seen(&field, "CA").await, Vec::<String>::new(), "who is not asked learns nothing");
    field.approved("FR", Operator, &["release", "grant", &asked]).await;
    held(&field, "CA", "proposal", &proposal).await;
    assert_eq!(seen(&field, "CA").await, [proposal.as_str()]);

    // It survives the loss of its process, and what was released meanwhile is there afterwards.
    let mut field = field;
    let seat = field.seat_of("OPCW");
    field.federation.kill(seat);
    let second = field.draft("FR", &["OPCW"]).await;
    field.approved("FR", Operator, &["proposal", "share", &second, "--with", "OPCW"]).await;
    field.federation.spawn(seat).unwrap();
    field.federation.wait_serving(seat, PATIENCE).await.unwrap();
    held(&field, "OPCW", "proposal", &second).await;
    held(&field, "OPCW", "evidence", &evidence).await;

    // What is withdrawn is gone, and what is recalled is given up, signed for.
    field.ok("FR", Operator, &["evidence", "withdraw", &evidence, "--yes"]).await;
    until_gone(&field, "OPCW", "evidence", &evidence).await;
    field.approved("FR", Operator, &["recall", "start", &proposal, "--reason", "A source is at risk.", "--yes"]).await;
    let fr = field.context("FR", Operator);
    let answered = |status: &Value| {
        let parties = status["parties"].as_array().unwrap();
        parties.len() == 2 && parties.iter().all(|party| party["standing"] == "destroyed")
    };
    let status = field.desk.until("the answers", &fr, &["recall", "status", &proposal], answered).await.unwrap();
    assert!(status["parties"].as_array().unwrap().iter().any(|party| party["party"] == "OPCW"), "{status}");
    until_gone(&field, "OPCW", "proposal", &proposal).await;
    held(&field, "OPCW", "proposal", &german).await;
}

/// The request of a party's that reached an originator.
async fn request_at(field: &Field, originator: &str, by: &str) -> String {
    let operator = field.context(originator, Operator);
    let of = |list: &Value| {
        let found = list["releases"].as_array()?.iter().find(|r| r["requested_by"] == by && r["state"] == "open")?;
        Some(found["request"].as_str()?.to_owned())
    };
    let list = field.desk.until("the request", &operator, &["release", "list"], |l| of(l).is_some()).await.unwrap();
    of(&list).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipients_people_decide_nothing_and_read_no_list() {
    let field = start().await;
    let entry = field.listed("FR", &["FR", "DE"], "DOE, Ada").await;
    let proposal = field.draft_of("FR", "ROE, Rita", "The case for publication.").await;
    let ballot = field.table("FR", &proposal).await;
    let own = field.draft("OPCW", &[]).await;
    let says = ["RECIPIENT_HOLDS_NO_LIST", "a recipient holds no list", "comity list verify"];
    for arguments in [
        ["ballot", "vote", &ballot, "yes"].as_slice(),
        &["ballot", "acknowledge", &ballot],
        &["ballot", "hold", &ballot, "--reason", "r"],
        &["ballot", "show", &ballot],
        &["ballot", "list"],
        &["--stale-ok", "ballot", "list"],
        &["proposal", "table", &own],
        &["list", "list"],
        &["list", "show", &entry],
        &["list", "status"],
        &["--stale-ok", "list", "list"],
        &["--stale-ok", "list", "status"],
        &["list", "history", &entry],
        &["list", "review", &entry],
        &["member", "list"],
    ] {
        field.refused(Exit::Conflict, "OPCW", Operator, arguments, &says).await;
    }
    let file = field.federation.folder.join("nothing.json").display().to_string();
    field.refused(Exit::Conflict, "OPCW", Operator, &["list", "export", "-O", &file], &says).await;
    field.refused(Exit::Conflict, "OPCW", Admin, &["member", "invite", "-O", &file], &says).await;
    let folder = field.federation.seat("OPCW").unwrap().folder.clone();
    let keys = folder.display().to_string();
    let rotate = ["member", "rotate-keys", "--endpoint", "opcw.example:1", "--dir", &keys];
    let rotated = field.run("OPCW", Admin, &rotate).await;
    assert_ne!(rotated.exit, Exit::Ok, "{}", rotated.out);

    // It knows whom it was founded with, and holds nothing of what they decide.
    let roster = field.ok("OPCW", Operator, &["--stale-ok", "member", "list"]).await;
    let members = roster["members"].as_array().unwrap();
    let codes: Vec<&str> = members.iter().map(|m| m["member"].as_str().unwrap()).collect();
    assert_eq!(codes, ["CA", "DE", "FR", "OPCW"]);
    assert!(!folder.join("data").join("consensus.db").exists());
    let status = field.ok("OPCW", Operator, &["node", "status"]).await;
    assert_eq!((&status["recipient"], &status["leader"], &status["commands"]), (&true.into(), &"".into(), &0.into()));
    let partners: Vec<&str> =
        status["peers"].as_array().unwrap().iter().map(|peer| peer["member"].as_str().unwrap()).collect();
    assert_eq!(partners, ["CA", "DE", "FR"]);
    let opcw = field.context("OPCW", Operator);
    let in_step = |s: &Value| s["peers"].as_array().unwrap().iter().all(|p| p["up_to_date"] == true);
    field.desk.until("everybody in step", &opcw, &["node", "status"], in_step).await.unwrap();
    let fr = field.context("FR", Operator);
    field.desk.until("everybody in step", &fr, &["node", "status"], in_step).await.unwrap();
    let text = field.read("OPCW", Operator, &["node", "status"]).await;
    assert!(text.contains("has no vote and holds no list") && text.contains("that of the genesis"), "{text}");
    assert!(!text.contains("none is known"), "{text}");

    // The members go on without its vote, its signature or its clock.
    field.vote("FR", &ballot).await;
    field.vote("CA", &ballot).await;
    field.ballot("DE", &ballot, |b| b["state"] == "adopted").await;
    let agreed = field.agreed("FR").await;
    assert!(!agreed.to_string().contains("OPCW"), "{agreed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_joins_by_invitation_and_receives() {
    let field = Field::start(&MEMBERS, "quorum(2/3)").await;
    field.listed("FR", &["FR", "DE"], "DOE, Ada").await;
    field.agreed("FR").await;
    let invite = field.federation.folder.join("invite.json").display().to_string();
    field.ok("FR", Admin, &["member", "invite", "-O", &invite]).await;
    let mut opcw = Joined::start_recipient(&field, "OPCW", &invite, "opcw");
    let row = opcw.row().await;
    let waits = opcw.until(&["node", "status"], |_| true).await;
    assert_eq!(waits["recipient"], true);
    assert!(waits["commands"].as_u64().unwrap() > 0, "its roster is that of the invitation: {waits}");

    let admit = ["member", "admit", row.as_str(), "--statement", "It investigates."];
    let ballot = field.moved("FR", &admit).await;
    for voter in ["FR", "DE"] {
        field.vote(voter, &ballot).await;
    }
    field.ballot("FR", &ballot, |b| b["state"] == "adopted").await;
    policies(&field, &[("FR", "OPCW")]).await;
    let proposal = field.draft("FR", &["OPCW"]).await;
    field.approved("FR", Operator, &["proposal", "share", &proposal, "--with", "OPCW"]).await;
    let shown = opcw.until(&["proposal", "show", &proposal], |_| true).await;
    assert_eq!(shown["originator"], "FR");
    let refused = opcw.run(Operator, &["ballot", "list"]).await;
    assert_eq!(refused.exit, Exit::Conflict, "{}", refused.err);
    assert!(!opcw.folder.join("data").join("consensus.db").exists());
}

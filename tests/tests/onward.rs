//! Onward release and recall: what another's record can and cannot do.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::time::Duration;

use comity_cli::Exit;
use comity_core::Role::{self, Operator};
use serde_json::Value;
use support::Field;

const READS: &str = r#"@id("reads") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 4 };"#;

async fn policies(field: &Field, pairs: &[(&str, &str)]) {
    for (of, party) in pairs {
        let file = field.file(&format!("{of}-{party}.cedar"), READS);
        field.approved(of, Role::Policy, &["policy", "apply", "--party", party, &file]).await;
    }
}

/// Waits until a member's people no longer see a record.
async fn until_gone(field: &Field, member: &str, id: &str) {
    let begin = std::time::Instant::now();
    while field.run(member, Role::Operator, &["proposal", "show", id]).await.exit != Exit::NotFound {
        assert!(begin.elapsed() < support::PATIENCE, "{member} sees {id} still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn held(field: &Field, member: &str, id: &str) -> Value {
    let operator = field.context(member, Role::Operator);
    field.desk.until("the record", &operator, &["proposal", "show", id], |_| true).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_goes_further_only_from_its_originator_and_until_its_end() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    policies(&field, &[("FR", "DE"), ("DE", "FR")]).await;
    let proposal = field.draft("FR", &["DE"]).await;
    field.approved("FR", Role::Operator, &["proposal", "share", &proposal, "--with", "DE"]).await;
    held(&field, "DE", &proposal).await;

    let request = ["release", "request", &proposal, "--to", "CA", "--purpose", "for its own listing"];
    field.refused(Exit::NotFound, "CA", Role::Operator, &request, &[]).await;
    field.approved("DE", Role::Operator, &request).await;
    let fr = field.context("FR", Role::Operator);
    let one = |l: &Value| l["releases"].as_array().is_some_and(|r| r.len() == 1);
    let listed = field.desk.until("the request", &fr, &["release", "list"], one).await.unwrap();
    let asked = listed["releases"][0]["request"].as_str().unwrap().to_owned();
    assert_eq!((&listed["releases"][0]["state"], &listed["releases"][0]["to"]), (&"open".into(), &"CA".into()));

    // What would keep it from going anywhere is said before another person is asked.
    field.refused(Exit::Conflict, "FR", Role::Operator, &["release", "grant", &asked], &["CA"]).await;
    policies(&field, &[("FR", "CA")]).await;
    let grant = ["release", "grant", &asked, "--until", "6s"];
    field.approved("FR", Role::Operator, &grant).await;
    let shown = held(&field, "CA", &proposal).await;
    assert_eq!((&shown["originator"], &shown["purpose"]), (&"FR".into(), &"for its own listing".into()));
    assert!(shown["until"].is_string(), "{shown}");
    let de = field.context("DE", Role::Operator);
    let granted = |l: &Value| l["releases"][0]["state"] == "granted" || l["releases"][0]["state"] == "ended";
    field.desk.until("the answer", &de, &["release", "list"], granted).await.unwrap();
    // The end takes it back, without anybody's doing anything.
    until_gone(&field, "CA", &proposal).await;
    held(&field, "DE", &proposal).await;
    // What CA's node ends by its own clock, FR's node takes back a moment later.
    let auditor = field.context("FR", Role::Auditor);
    let both = |l: &Value| l.to_string().contains("retract") && l.to_string().contains("reads");
    let log = ["audit", "log", "--resource", &proposal, "--member", "CA"];
    field.desk.until("the retraction in the log", &auditor, &log, both).await.unwrap();

    // A refusal reaches whoever asked, with its reason, and releases nothing.
    let again = ["release", "request", &proposal, "--to", "CA", "--purpose", "once more"];
    field.approved("DE", Role::Operator, &again).await;
    let open = |l: &Value| l["releases"].as_array().is_some_and(|r| r.iter().any(|r| r["state"] == "open"));
    let listed = field.desk.until("the second request", &fr, &["release", "list"], open).await.unwrap();
    let asked = listed["releases"].as_array().unwrap().iter().find(|r| r["state"] == "open").unwrap()["request"]
        .as_str()
        .unwrap();
    field.approved("FR", Role::Operator, &["release", "refuse", asked, "--because", "The source forbids it."]).await;
    let refused = |l: &Value| l.to_string().contains("The source forbids it.");
    field.desk.until("the refusal", &de, &["release", "list"], refused).await.unwrap();
    field.refused(Exit::NotFound, "CA", Role::Operator, &["proposal", "show", &proposal], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_ends_by_itself() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    policies(&field, &[("FR", "DE")]).await;
    let proposal = field.draft("FR", &["DE"]).await;
    field.approved("FR", Role::Operator, &["proposal", "share", &proposal, "--with", "DE", "--until", "5s"]).await;
    let shown = held(&field, "DE", &proposal).await;
    assert!(shown["until"].is_string(), "{shown}");
    until_gone(&field, "DE", &proposal).await;
}

fn standing<'a>(status: &'a Value, party: &str) -> &'a str {
    let parties = status["parties"].as_array().unwrap();
    parties.iter().find(|p| p["party"] == party).and_then(|p| p["standing"].as_str()).unwrap_or("-")
}

/// Nothing is sent with this recall that would tell its receiver: it lost the record before.
#[tokio::test(flavor = "multi_thread")]
async fn a_recall_reaches_whoever_lost_the_record_already() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    policies(&field, &[("FR", "DE")]).await;
    let fr = field.context("FR", Operator);
    for _ in 0..3 {
        let proposal = field.draft("FR", &["DE"]).await;
        field.approved("FR", Operator, &["proposal", "share", &proposal, "--with", "DE"]).await;
        held(&field, "DE", &proposal).await;
        field.ok("FR", Operator, &["proposal", "withdraw", &proposal, "--yes"]).await;
        until_gone(&field, "DE", &proposal).await;
        field.approved("FR", Operator, &["recall", "start", &proposal, "--reason", "Also on paper.", "--yes"]).await;
        let answered = |status: &Value| standing(status, "DE") == "destroyed";
        field.desk.until("the answer", &fr, &["recall", "status", &proposal], answered).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recall_reaches_everybody_who_ever_received_it() {
    let mut field = Field::start(&["FR", "DE", "CA", "AU", "GB"], "quorum(1/2)").await;
    policies(&field, &[("FR", "DE"), ("FR", "CA"), ("FR", "AU")]).await;
    let proposal = field.draft("FR", &["DE", "CA", "AU"]).await;
    field
        .refused(
            Exit::Conflict,
            "FR",
            Role::Operator,
            &["recall", "start", &proposal, "--reason", "r", "--yes"],
            &["never released"],
        )
        .await;
    field.approved("FR", Role::Operator, &["proposal", "share", &proposal, "--with", "DE,CA,AU"]).await;
    for member in ["DE", "CA", "AU"] {
        held(&field, member, &proposal).await;
    }
    // Germany may not give it up; Canada is suspended; Australia's node is down.
    let retain = ["recall", "retain", &proposal, "--because", "order of the district court"];
    field.approved("DE", Role::Operator, &retain).await;
    let ballot = field.moved("FR", &["member", "suspend", "CA", "--statement", "A breach."]).await;
    for voter in ["FR", "DE", "AU", "GB"] {
        let open = field.ballot(voter, &ballot, |_| true).await;
        if open["state"] == "open" {
            field.approved(voter, Role::Operator, &["ballot", "vote", &ballot, "yes"]).await;
        }
    }
    field.ballot("FR", &ballot, |b| b["state"] == "adopted").await;
    let australia = field.seat_of("AU");
    field.federation.kill(australia);

    field
        .approved("FR", Role::Operator, &["recall", "start", &proposal, "--reason", "A source is at risk.", "--yes"])
        .await;
    let fr = field.context("FR", Role::Operator);
    let status = ["recall", "status", &proposal];
    let two = |s: &Value| standing(s, "DE") == "retained" && standing(s, "CA") == "destroyed";
    let shown = field.desk.until("two answers", &fr, &status, two).await.unwrap();
    assert!(shown.to_string().contains("order of the district court"), "{shown}");
    assert!(!matches!(standing(&shown, "AU"), "destroyed" | "retained"), "{shown}");
    field.refused(Exit::NotFound, "CA", Role::Operator, &["--stale-ok", "proposal", "show", &proposal], &[]).await;
    // Kept, and shown to nobody any more.
    until_gone(&field, "DE", &proposal).await;
    // The reason stays at home.
    assert!(!field.ok("DE", Role::Operator, &["recall", "list"]).await.to_string().contains("source is at risk"));

    // Australia comes back and gives it up at once; Germany when it may.
    field.federation.spawn(australia).unwrap();
    field.federation.wait_serving(australia, support::PATIENCE).await.unwrap();
    field.desk.until("Australia's answer", &fr, &status, |s| standing(s, "AU") == "destroyed").await.unwrap();
    field.approved("DE", Role::Operator, &["recall", "give-up", &proposal]).await;
    let all =
        field.desk.until("Germany's second answer", &fr, &status, |s| standing(s, "DE") == "destroyed").await.unwrap();
    for party in all["parties"].as_array().unwrap() {
        assert_eq!(party["answer"]["payloadType"], "application/vnd.comity.recall-answer.v1+json", "{party}");
        assert_eq!(party["backup_days"], 30);
    }
    for member in ["DE", "CA", "AU"] {
        field
            .refused(Exit::NotFound, member, Role::Operator, &["--stale-ok", "proposal", "show", &proposal], &[])
            .await;
        let data = field.federation.seat(member).unwrap().folder.join("data");
        for name in ["national.db", "national.db-wal"] {
            let bytes = std::fs::read(data.join(name)).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&bytes).contains("quiet title"), "{member} {name}");
        }
    }
    let text = field.read("FR", Role::Operator, &status).await;
    assert!(text.contains("destroyed") && text.contains("30 d"), "{text}");
    field
        .refused(Exit::Conflict, "FR", Role::Operator, &["proposal", "share", &proposal, "--with", "DE"], &["recalled"])
        .await;
}

//! The silence procedure as operators go through it: notice, presence, holds, objection, and time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use comity_cli::Exit;
use comity_core::Role::Operator;
use comity_core::rule::BallotKind;
use serde_json::Value;
use support::Field;

const MEMBERS: [&str; 4] = ["FR", "DE", "CA", "AU"];
const SILENCE: &[(BallotKind, &str)] = &[(BallotKind::List, "no_objection(period=10,notice=5,presence=2/3)")];

async fn field() -> Field {
    Field::start_by(&MEMBERS, "quorum(3/4)", SILENCE).await
}

/// A member has laid a case before the others, and all nodes know it.
async fn tabled(field: &Field) -> String {
    let proposal = field.draft_of("FR", "DOE, Ada", "The case for publication.").await;
    let ballot = field.table("FR", &proposal).await;
    for member in MEMBERS {
        field.ballot(member, &ballot, |_| true).await;
    }
    ballot
}

/// An instant of a ballot, some days later.
fn later(instant: &Value, days: i64) -> String {
    let instant: jiff::Timestamp = instant.as_str().unwrap().parse().unwrap();
    (instant + jiff::SignedDuration::from_hours(24 * days)).to_string()
}

fn names(of: &Value) -> Vec<&str> {
    of.as_array().unwrap().iter().map(|name| name.as_str().or(name["member"].as_str()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_adopts_once_those_who_are_present_have_let_it_run() {
    let field = field().await;
    let ballot = tabled(&field).await;
    let shown = field.ok("DE", Operator, &["ballot", "show", &ballot]).await;
    assert_eq!(names(&shown["silence"]["acknowledged"]), ["FR"], "who tables has notice");
    assert_eq!(names(&shown["silence"]["absent"]), ["AU", "CA", "DE"]);
    assert_eq!(shown["silence"]["presence_needed"], 3);
    assert!(shown["next"].as_str().unwrap().starts_with("2 more must acknowledge notice by "), "{}", shown["next"]);
    let page = field.read("DE", Operator, &["ballot", "show", &ballot]).await;
    for line in [
        "  next            2 more must acknowledge",
        "  acknowledged    FR",
        "  not yet         AU, CA, DE",
        "DOE, Ada",
    ] {
        assert!(page.contains(line), "`{line}` in\n{page}");
    }

    // A person takes notice; twice is once. A vote is notice, too.
    field.ok("DE", Operator, &["ballot", "acknowledge", &ballot]).await;
    let again = field.ok("DE", Operator, &["ballot", "acknowledge", &ballot]).await;
    assert_eq!(names(&again["silence"]["acknowledged"]), ["DE", "FR"]);
    field.vote("CA", &ballot).await;
    let present = field.ballot("FR", &ballot, |b| names(&b["silence"]["acknowledged"]).len() == 3).await;
    assert!(present["next"].as_str().unwrap().starts_with("AU can acknowledge notice until "), "{}", present["next"]);

    // The time for notice is over: who has said nothing is absent, and too late. Nothing is adopted early.
    field.until(&later(&present["silence"]["notice_until"], 0)).await;
    let absent = field.ballot("AU", &ballot, |b| b["silence"]["notice_over"] == true).await;
    assert_eq!(names(&absent["silence"]["absent"]), ["AU"]);
    assert_eq!(absent["state"], "open");
    field.refused(Exit::Conflict, "AU", Operator, &["ballot", "acknowledge", &ballot], &["NOTICE_OVER"]).await;

    // A second before its end silence has not spoken; at its end it has.
    let end = absent["silence"]["complete_time"].as_str().unwrap();
    let just_before: jiff::Timestamp = end.parse::<jiff::Timestamp>().unwrap() - jiff::SignedDuration::from_secs(90);
    field.until(&just_before.to_string()).await;
    assert_eq!(field.ok("FR", Operator, &["ballot", "show", &ballot]).await["state"], "open");
    field.until(end).await;
    let adopted = field.ballot("FR", &ballot, |b| b["state"] == "adopted").await;
    let entry = adopted["entry"].as_str().unwrap();
    let history = field.read("DE", Operator, &["list", "history", entry]).await;
    for line in ["  consents        CA", "  silent          DE, FR", "  absent          AU", "no_objection"] {
        assert!(history.contains(line), "`{line}` in\n{history}");
    }
    let shown = field.ok("DE", Operator, &["list", "show", entry]).await;
    assert_eq!((names(&shown["silent"]), names(&shown["absent"])), (vec!["DE", "FR"], vec!["AU"]), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_stops_the_clock_until_it_is_lifted() {
    let field = field().await;
    let ballot = tabled(&field).await;
    for member in ["DE", "CA", "AU"] {
        field.ok(member, Operator, &["ballot", "acknowledge", &ballot]).await;
    }
    field.approved("DE", Operator, &["ballot", "hold", &ballot, "--reason", "The passport is being checked."]).await;
    let held = field.ballot("FR", &ballot, |b| b["silence"]["holds"][0]["member"] == "DE").await;
    assert_eq!(held["silence"]["complete_time"], Value::Null);
    let next = held["next"].as_str().unwrap();
    assert!(next.contains("held by DE until ") && next.contains("10 working days"), "{next}");
    field
        .refused(Exit::Conflict, "DE", Operator, &["ballot", "hold", &ballot, "--reason", "Again."], &["HOLD_SPENT"])
        .await;
    field
        .refused(Exit::Conflict, "DE", Operator, &["ballot", "extend-hold", &ballot, "--holder", "DE"], &["EXTENSION"])
        .await;
    field.refused(Exit::Conflict, "FR", Operator, &["ballot", "lift", &ballot], &["NO_HOLD"]).await;

    // The others may extend it once: more than half of them.
    for member in ["CA", "AU"] {
        field.approved(member, Operator, &["ballot", "extend-hold", &ballot, "--holder", "DE"]).await;
    }
    let extended = field.ballot("FR", &ballot, |b| b["silence"]["holds"][0]["extended"] == true).await;
    assert!(extended["silence"]["holds"][0]["until"].as_str() > held["silence"]["holds"][0]["until"].as_str());
    let page = field.read("CA", Operator, &["ballot", "show", &ballot]).await;
    for line in ["Hold of DE", "The passport is being checked.", "(extended)", "  extension by    AU, CA"] {
        assert!(page.contains(line), "`{line}` in\n{page}");
    }

    // A month passes: the clock stands.
    field.until(&later(&held["silence"]["notice_until"], 30)).await;
    assert_eq!(field.ok("FR", Operator, &["ballot", "show", &ballot]).await["state"], "open");
    field.approved("DE", Operator, &["ballot", "lift", &ballot]).await;
    let lifted = field.ballot("FR", &ballot, |b| b["silence"]["complete_time"] != Value::Null).await;
    assert_eq!(lifted["silence"]["holds"][0]["ended"], "lifted");
    field.until(&later(&lifted["silence"]["complete_time"], 0)).await;
    field.ballot("FR", &ballot, |b| b["state"] == "adopted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_nobody_lifts_lapses() {
    let field = field().await;
    let ballot = tabled(&field).await;
    for member in ["DE", "CA"] {
        field.ok(member, Operator, &["ballot", "acknowledge", &ballot]).await;
    }
    field.approved("CA", Operator, &["ballot", "hold", &ballot, "--reason", "One moment."]).await;
    let held = field.ballot("FR", &ballot, |b| b["silence"]["holds"][0]["until"] != Value::Null).await;
    field.until(&later(&held["silence"]["holds"][0]["until"], 0)).await;
    let lapsed = field.ballot("FR", &ballot, |b| b["silence"]["holds"][0]["ended"] == "lapsed").await;
    assert_eq!((lapsed["state"].as_str(), names(&lapsed["silence"]["absent"])), (Some("open"), vec!["AU"]));
    field.until(&later(&lapsed["silence"]["complete_time"], 0)).await;
    field.ballot("FR", &ballot, |b| b["state"] == "adopted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_objection_ends_it_and_its_text_is_erased() {
    let field = field().await;
    let ballot = tabled(&field).await;
    let object = ["ballot", "object", &ballot, "--reason", "It was another man."];
    // What cannot be undone is not done where nobody can be asked.
    field.refused(Exit::Usage, "CA", Operator, &object, &["--yes"]).await;
    field.approved("CA", Operator, &[object.as_slice(), &["--yes"]].concat()).await;
    for member in MEMBERS {
        let rejected = field.ballot(member, &ballot, |b| b["state"] == "rejected").await;
        assert!(rejected["outcome"].as_str().unwrap().contains("CA"), "{}", rejected["outcome"]);
        assert!(!rejected.to_string().contains("DOE, Ada"), "{rejected}");
    }
    field.refused(Exit::Conflict, "DE", Operator, &["ballot", "acknowledge", &ballot], &["BALLOT_CLOSED"]).await;
    let page = field.read("DE", Operator, &["ballot", "show", &ballot]).await;
    assert!(page.contains("It was another man."), "the others see why:\n{page}");
    // The log still verifies.
    field.verified("FR").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_adopted_where_too_few_took_notice() {
    let field = field().await;
    let ballot = tabled(&field).await;
    field.ok("DE", Operator, &["ballot", "acknowledge", &ballot]).await;
    let shown = field.ok("DE", Operator, &["ballot", "show", &ballot]).await;
    field.until(&later(&shown["silence"]["notice_until"], 0)).await;
    let rejected = field.ballot("FR", &ballot, |b| b["state"] == "rejected").await;
    assert!(rejected["outcome"].as_str().unwrap().contains("too few members were present"), "{}", rejected["outcome"]);
    field.verified("FR").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tabled_takes_back_and_votes_are_corrected() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let proposal = field.draft_of("FR", "DOE, Ada", "The case for publication.").await;
    let ballot = field.table("FR", &proposal).await;
    field.ballot("DE", &ballot, |_| true).await;
    field.approved("DE", Operator, &["ballot", "vote", &ballot, "no", "--reason", "Too thin."]).await;
    field.approved("DE", Operator, &["ballot", "vote", &ballot, "abstain", "--correct"]).await;
    let corrected = field.ballot("FR", &ballot, |b| b["votes"][0]["choice"] == "abstain").await;
    assert_eq!(corrected["votes"].as_array().unwrap().len(), 1);
    field.refused(Exit::Conflict, "DE", Operator, &["ballot", "acknowledge", &ballot], &["NO_SILENCE"]).await;
    field
        .refused(Exit::Conflict, "DE", Operator, &["ballot", "withdraw", &ballot, "--yes"], &["NOT_THE_PROPOSER"])
        .await;
    field.approved("FR", Operator, &["ballot", "withdraw", &ballot, "--yes"]).await;
    let withdrawn = field.ballot("CA", &ballot, |b| b["state"] == "withdrawn").await;
    assert!(!withdrawn.to_string().contains("DOE, Ada"), "{withdrawn}");
    field.verified("FR").await;
}

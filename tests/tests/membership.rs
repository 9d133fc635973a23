//! A state joins with one file and one command, takes part, is suspended and readmitted, and is expelled while it is away.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::time::{Duration, Instant};

use comity_cli::Exit;
use comity_core::Role::{Admin, Approver, Operator};
use comity_tests::federation::dial;
use serde_json::Value;
use support::{Field, Joined};
use tonic::Request;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

const MEMBERS: [&str; 3] = ["FR", "DE", "CA"];
/// Within this long after the decision the connections of who is suspended have ended.
const BOUND: Duration = Duration::from_secs(5);

/// The members decide a motion of FR's.
async fn decided(field: &Field, motion: &[&str], voters: &[&str]) {
    let ballot = field.moved("FR", motion).await;
    for voter in voters {
        field.vote(voter, &ballot).await;
    }
    field.ballot("FR", &ballot, |b| b["state"] == "adopted").await;
}

async fn invite(field: &Field) -> String {
    field.agreed("FR").await;
    let file = field.federation.folder.join("invite.json").display().to_string();
    field.ok("FR", Admin, &["member", "invite", "-O", &file, "--force"]).await;
    file
}

/// Whether a node still answers on a connection: a refusal with a reason of its own is an answer.
async fn is_answered(channel: &Channel) -> bool {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    if grpc.ready().await.is_err() {
        return false;
    }
    let mut request = Request::new(());
    request.set_timeout(Duration::from_secs(5));
    let path = "/comity.v1.CheckpointService/Cosign".parse().unwrap();
    match grpc.unary::<(), (), _>(request, path, tonic_prost::ProstCodec::default()).await {
        Ok(_) => true,
        Err(status) => status.get_details_error_info().is_some_and(|info| info.reason == "OTHER_FEDERATION"),
    }
}

fn member<'a>(members: &'a Value, code: &str) -> &'a Value {
    members["members"].as_array().unwrap().iter().find(|m| m["member"] == code).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_joins_takes_part_is_suspended_readmitted_and_expelled() {
    let field = Field::start(&MEMBERS, "quorum(2/3)").await;
    let entry = field.listed("FR", &["FR", "DE"], "DOE, Ada").await;

    // From nothing: the file, the command, the ballot.
    let mut jp = Joined::start(&field, "JP", &invite(&field).await, "jp");
    let row = jp.row().await;
    let waits = jp.until(&["--stale-ok", "node", "status"], |_| true).await;
    assert_eq!(waits["member"], "JP", "its node serves its people while it waits");
    let admit = ["member", "admit", row.as_str(), "--statement", "Japan has asked to take part."];
    decided(&field, &admit, &["FR", "DE"]).await;
    let shown = jp.until(&["list", "show", &entry], |e| e["agreed"] == true).await;
    assert_eq!(shown["public_part"]["subject"]["names"][0]["full"], "DOE, Ada");
    let members = field.read("CA", Operator, &["member", "list"]).await;
    assert!(members.lines().any(|line| line.starts_with("JP") && line.contains("active")), "{members}");

    // Its vote is the one that is needed; it cosigns; what it holds proves itself.
    let proposal = field.draft_of("FR", "ROE, Rita", "The case for publication.").await;
    let ballot = field.table("FR", &proposal).await;
    field.vote("FR", &ballot).await;
    field.vote("DE", &ballot).await;
    let open = field.ok("FR", Operator, &["ballot", "show", &ballot]).await;
    assert_eq!((&open["state"], open["needed"].as_i64()), (&"open".into(), Some(3)), "{open}");
    jp.vote(&ballot).await;
    field.ballot("CA", &ballot, |b| b["state"] == "adopted").await;
    jp.until(&["list", "status"], |s| s["cosigners"].as_array().unwrap().contains(&"JP".into())).await;
    let (file, genesis) = (jp.folder.join("export.json"), jp.folder.join("genesis.json"));
    let (file, genesis) = (file.display().to_string(), genesis.display().to_string());
    jp.until(&["list", "status"], |s| s["commands"] == s["agreed_commands"]).await;
    assert_eq!(jp.run(Operator, &["list", "export", "--commands", "-O", &file]).await.exit, Exit::Ok);
    let proven = jp.ok(Operator, &["list", "verify", &file, "--genesis", &genesis]).await;
    assert_eq!(proven["voters"], serde_json::json!(["CA", "DE", "FR", "JP"]));

    // Suspended: what its node has open ends within the bound, and its votes are none.
    let fr = field.federation.seat("FR").unwrap();
    let line = dial(&field.federation, &fr.peer, fr.member, &jp.folder.join("node-node-1")).await.unwrap();
    assert!(is_answered(&line).await);
    let proposal = field.draft_of("FR", "POE, Paul", "The case for publication.").await;
    let open = field.table("FR", &proposal).await;
    jp.until(&["ballot", "show", &open], |_| true).await;
    let suspend = ["member", "suspend", "JP", "--statement", "Its node was taken over."];
    decided(&field, &suspend, &["FR", "DE"]).await;
    let begin = Instant::now();
    while is_answered(&line).await {
        assert!(begin.elapsed() < BOUND, "it is answered {} s after its suspension", BOUND.as_secs());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let vote = jp.run(Operator, &["--stale-ok", "--timeout-ms", "8000", "ballot", "vote", &open, "yes"]).await;
    if vote.exit == Exit::Ok {
        let id = vote.out.split_whitespace().find(|word| word.starts_with("A-")).unwrap().trim_end_matches(':');
        let id = id.to_owned();
        let approved = jp.run(Approver, &["--timeout-ms", "8000", "approve", "yes", &id]).await;
        assert_ne!(approved.exit, Exit::Ok, "{}", approved.out);
    }
    let shown = field.ok("FR", Operator, &["ballot", "show", &open]).await;
    assert_eq!(shown["electorate"], serde_json::json!(["CA", "DE", "FR"]));

    // Readmitted: it takes part in what is tabled from now on.
    decided(&field, &["member", "readmit", "JP", "--statement", "It is its own again."], &["FR", "DE"]).await;
    let members = field.ok("FR", Operator, &["member", "list"]).await;
    assert_eq!(member(&members, "JP")["status"], "active");
    let proposal = field.draft_of("DE", "COE, Carl", "The case for publication.").await;
    let ballot = field.table("DE", &proposal).await;
    jp.vote(&ballot).await;
    field.ballot("DE", &ballot, |b| b["votes"].as_array().unwrap().iter().any(|v| v["member"] == "JP")).await;

    // Out of reach, it is expelled; the others go on, and what it voted before still proves itself.
    jp.kill();
    let expel = ["member", "expel", "JP", "--statement", "It left the partnership.", "--yes"];
    decided(&field, &expel, &["FR", "DE"]).await;
    field.listed("FR", &["FR", "DE"], "NOE, Nora").await;
    let members = field.ok("FR", Operator, &["member", "list"]).await;
    assert_eq!(member(&members, "JP")["status"], "expelled");
    let proven = field.verified("DE").await;
    assert_eq!(proven["voters"], serde_json::json!(["CA", "DE", "FR"]));
    let rita = proven["entries"].as_array().unwrap().iter().find(|e| e["subject"] == "ROE, Rita").unwrap();
    assert_eq!(rita["consents"], serde_json::json!(["DE", "FR", "JP"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_compared_and_proved_before_anything_is_made() {
    let field = Field::start(&MEMBERS, "quorum(2/3)").await;
    field.listed("FR", &["FR", "DE"], "DOE, Ada").await;
    let invite = invite(&field).await;
    let folder = field.federation.folder.join("jp").display().to_string();
    let join = |invite: &str, federation: &str| {
        let join = ["member", "join", invite, "--member", "JP", "--endpoint", "127.0.0.1:9", "--dir", &folder];
        join.map(str::to_owned)
            .into_iter()
            .chain(["--federation".to_owned(), federation.to_owned()])
            .collect::<Vec<_>>()
    };
    let name = field.federation.genesis.federation().to_string();
    let altered = std::fs::read_to_string(&invite).unwrap().replace("DOE, Ada", "DOE, Eve");
    let altered = field.file("altered.json", &altered);
    for (arguments, exit, words) in [
        (join(&invite, "0000000000"), Exit::VerificationFailed, "not to 0000000000"),
        (join(&invite, &name[..4]), Exit::VerificationFailed, "at least 8 digits"),
        (join(&altered, &name), Exit::VerificationFailed, "NOT PROVEN"),
        (join(&field.federation.contexts().display().to_string(), &name), Exit::Error, "not an invitation"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        field.refused(exit, "FR", Operator, &arguments, &[words, "next:"]).await;
        assert!(!std::path::Path::new(&folder).exists(), "{arguments:?} made something");
    }
    // A rule is changed, and the next ballot of that kind is decided by it.
    let change = ["member", "change-rule", "list", "unanimity", "--statement", "As agreed in plenary."];
    decided(&field, &change, &["FR", "DE"]).await;
    let proposal = field.draft_of("FR", "ROE, Rita", "The case for publication.").await;
    let ballot = field.table("FR", &proposal).await;
    let shown = field.ok("FR", Operator, &["ballot", "show", &ballot]).await;
    assert_eq!((&shown["rule"], shown["needed"].as_i64()), (&"unanimity".into(), Some(3)));
    let same = ["member", "change-rule", "list", "unanimity", "--statement", "Again."];
    field.refused(Exit::Conflict, "FR", Operator, &same, &["NO_CHANGE"]).await;
    let high = ["member", "raise-version", "9", "--statement", "Too far."];
    field.refused(Exit::Conflict, "FR", Operator, &high, &["RULES_VERSION"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federation_is_founded_with_a_rule_for_each_kind_of_ballot() {
    let field = Field::laid_out(&MEMBERS, "quorum(2/3)");
    let folder = field.federation.folder.join("found");
    let (dir, genesis) = (folder.display().to_string(), folder.join("genesis.json").display().to_string());
    let mut rows = Vec::new();
    for (member, endpoint) in [("NO", "127.0.0.1:7101"), ("SE", "127.0.0.1:7201")] {
        field.ok("FR", Operator, &["pki", "init", "--member", member, "--endpoint", endpoint, "--dir", &dir]).await;
        rows.push(folder.join(member.to_lowercase()).join("member.json").display().to_string());
    }
    let found = |rules: &[&str]| {
        let mut found = vec!["member", "genesis", &rows[0], &rows[1], "--name", "Northern Partnership", "-O", &genesis];
        found.extend(rules);
        found.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for (rules, words) in [
        (["--rule-for", "lists=unanimity"], "raise_version"),
        (["--rule-for", "list=quorum(3/2)"], "quorum(N/D)"),
        (["--rule", "no_objection(period=2,notice=5)"], "no_objection(period=10"),
    ] {
        let wrong = found(&rules);
        let wrong: Vec<&str> = wrong.iter().map(String::as_str).collect();
        field.refused(Exit::Usage, "FR", Operator, &wrong, &[words]).await;
    }
    let silence = "list=no_objection(period=7,notice=3)";
    let right = found(&["--rule", "unanimity", "--rule-for", silence, "--rule-for", "amend=quorum(1/2)"]);
    let right: Vec<&str> = right.iter().map(String::as_str).collect();
    field.ok("FR", Operator, &right).await;
    let shown = field.read("FR", Operator, &["member", "list", "--genesis", &genesis]).await;
    let shown = support::flat(&shown);
    for words in
        ["list no_objection(period=7,notice=3,presence=2/3", "amend quorum(1/2)", "expel unanimity", "NO", "SE"]
    {
        assert!(shown.contains(words), "`{words}` in\n{shown}");
    }
}

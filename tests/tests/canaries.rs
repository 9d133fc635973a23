//! Words planted in everything that is above public, looked for wherever they must not be: what nodes print at their most talkative,
//! what they say of their health, what partners and strangers are told, every file of every node. And what a recall leaves behind.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use comity_cli::Exit;
use comity_cli::demo::federation::{Federation, NodeProgram};
use comity_core::{MemberId, Role};
use comity_proto::v1;
use comity_proto::v1::peer_service_client::PeerServiceClient;
use comity_tests::canary::Canary;
use comity_tests::federation::{certificate, dial, plan};
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use support::{Field, PATIENCE, program};
use tonic::Status;

const READS: &str = r#"@id("reads") permit (principal, action, resource) when { resource.tier <= 4 };"#;
const MEMBERS: [&str; 4] = ["FR", "DE", "CA", "GB"];
const BRISK: &str = "[exchange]\nbackoff_max_ms = 500\n[access_log]\ncheckpoint_interval_s = 1\n";

/// Nodes that print all that they can.
async fn start() -> Field {
    let mut plan = plan(&MEMBERS, "quorum(1/2)").unwrap();
    plan.settings.push_str(BRISK);
    let talkative = NodeProgram {
        program: "env".into(),
        arguments: vec![
            "COMITY_LOG=trace".into(),
            "RUST_LOG=trace".into(),
            "RUST_BACKTRACE=full".into(),
            program().display().to_string(),
            comity_cli::NODE_PROCESS.to_owned(),
        ],
    };
    let mut field = Field::run_by(&plan, talkative);
    field.federation.start(PATIENCE).await.unwrap();
    field
}

/// The member's policy lets these read, and says so in a comment that names the canary of what is not secret.
async fn policies(field: &Field, pairs: &[(&str, &str)], known: &Canary) {
    for (of, party) in pairs {
        let text = format!("// {}\n{READS}", known.planted("policy"));
        let file = field.file(&format!("{of}-{party}.cedar"), &text);
        field.approved(of, Role::Policy, &["policy", "apply", "--party", party, &file]).await;
    }
}

fn id(record: &Value) -> String {
    record["id"].as_str().unwrap().to_owned()
}

/// Writes a description for a command to read.
fn described(field: &Field, name: &str, document: &Value) -> String {
    field.file(name, &document.to_string())
}

fn marking() -> Value {
    json!({ "tier": "secret", "caveats": ["orcon"], "releasable_to": ["DE"] })
}

/// A proposal with a canary in each of its texts.
fn proposal(secret: &Canary, title: &str) -> Value {
    let p = |place: &str| secret.planted(place);
    json!({
        "title": p(title), "marking": marking(),
        "subject": {
            "kind": "person", "names": [{ "full": p("name"), "kind": "primary" }, { "full": p("alias"), "kind": "alias" }],
            "notes": [p("note")], "identifiers": [{ "kind": "passport", "value": p("pass"), "country": "SY" }],
        },
        "statement_of_case": p("case"), "measures": [{ "kind": "asset_freeze", "note": p("measure") }],
        "incidents": [{ "date": "2017-04-04", "place": p("where"), "finding": p("finding") }],
        "assessment": p("assessment"),
        "sources": [{ "description": p("source"), "locator": p("source-locator") }],
    })
}

/// What FR has that is secret, planted everywhere: the ids of the proposal and of the evidence, both shared with DE.
async fn plant(field: &Field, secret: &Canary) -> (String, String) {
    let p = |place: &str| secret.planted(place);
    let operator = Role::Operator;
    let draft = described(field, "proposal.json", &proposal(secret, "first-title"));
    let drafted = id(&field.ok("FR", operator, &["proposal", "draft", "-f", &draft]).await);
    let revised = described(field, "revised.json", &proposal(secret, "title"));
    field.ok("FR", operator, &["proposal", "edit", &drafted, "-f", &revised]).await;

    let incident = json!({
        "title": p("incident"), "marking": marking(), "date": "2017-04-04", "place": p("place"), "description": p("what"),
        "attributions": [{ "by": p("by"), "to": p("to"), "finding": p("report") }],
        "sources": [{ "description": p("witness") }],
    });
    let incident = described(field, "incident.json", &incident);
    let incident = id(&field.ok("FR", operator, &["incident", "add", "-f", &incident]).await);

    let material = field.file("material.bin", &p("material"));
    let evidence = json!({
        "title": p("evidence"), "marking": marking(), "material": "audio", "description": p("shows"), "holder": p("holder"),
        "locator": p("locator"), "collected": { "date": "2017-04-05", "by": p("collector"), "place": p("collected-at") },
        "custody": [{ "from": p("giver"), "to": p("taker"), "at": "2017-04-05T10:00:00Z", "seal": p("seal"),
            "hash_checked": true, "note": p("custody") }],
        "links": [drafted, incident],
    });
    let evidence = described(field, "evidence.json", &evidence);
    let evidence = id(&field.ok("FR", operator, &["evidence", "add", &material, "-f", &evidence]).await);
    let (from, to) = (p("second-giver"), p("second-taker"));
    field.ok("FR", operator, &["evidence", "custody", &evidence, "--from", &from, "--to", &to]).await;

    field.approved("FR", operator, &["proposal", "share", &drafted, "--with", "DE"]).await;
    field.approved("FR", operator, &["incident", "share", &incident, "--with", "DE"]).await;
    field.approved("FR", operator, &["evidence", "share", &evidence, "--with", "DE"]).await;
    let waits = described(field, "waiting.json", &proposal(secret, "never-shared"));
    field.ok("FR", operator, &["proposal", "draft", "-f", &waits]).await;
    (drafted, evidence)
}

/// What follows: an opinion, requests, a grant and a refusal, each with words of its own; and what fails.
async fn correspond(field: &Field, secret: &Canary, proposal: &str, evidence: &str) {
    let p = |place: &str| secret.planted(place);
    let operator = Role::Operator;
    let context = |member: &str| field.context(member, operator);
    for (kind, record) in [("proposal", proposal), ("evidence", evidence)] {
        field.desk.until("a copy", &context("DE"), &[kind, "show", record], |_| true).await.unwrap();
    }
    let opinion = p("opinion");
    let give = ["opinion", "give", proposal, "--stance", "concern", "-m", opinion.as_str()];
    field.approved("DE", operator, &give).await;
    let one = |l: &Value| l["records"].as_array().is_some_and(|r| r.len() == 1);
    field.desk.until("the opinion", &context("FR"), &["opinion", "list", "--on", proposal], one).await.unwrap();

    for (record, purpose) in [(proposal, p("purpose")), (evidence, p("second-purpose"))] {
        field.approved("DE", operator, &["release", "request", record, "--to", "CA", "--purpose", &purpose]).await;
    }
    let open = |l: &Value| l["releases"].as_array().is_some_and(|r| r.len() == 2);
    let asked = field.desk.until("two requests", &context("FR"), &["release", "list"], open).await.unwrap();
    let request = |record: &str| {
        let found = asked["releases"].as_array().unwrap().iter().find(|r| r["record"] == record).unwrap();
        found["request"].as_str().unwrap().to_owned()
    };
    let (granted, because) = (p("granted-purpose"), p("because"));
    field.approved("FR", operator, &["release", "grant", &request(proposal), "--purpose", &granted]).await;
    field.approved("FR", operator, &["release", "refuse", &request(evidence), "--because", &because]).await;
    field.desk.until("the granted copy", &context("CA"), &["proposal", "show", proposal], |_| true).await.unwrap();
    let answered = |l: &Value| l.to_string().contains(&because);
    field.desk.until("the refusal", &context("DE"), &["release", "list"], answered).await.unwrap();

    // What is refused, and what another person has still to look at.
    let mut bad: Value =
        serde_json::from_str(&std::fs::read_to_string(field.file_at("revised.json")).unwrap()).unwrap();
    bad["marking"]["tier"] = "top_secret".into();
    let above = described(field, "above.json", &bad);
    field.refused(Exit::Error, "FR", operator, &["proposal", "draft", "-f", &above], &["accreditation"]).await;
    bad[p("unknown-field")] = p("unknown").into();
    bad["marking"]["tier"] = p("unknown-tier").into();
    let unknown = described(field, "unknown.json", &bad);
    field.run("FR", operator, &["proposal", "draft", "-f", &unknown]).await;
    field.ok("FR", operator, &["evidence", "share", evidence, "--with", "DE", "--until", "30d"]).await;
    let refused = field.ok("FR", operator, &["proposal", "share", proposal, "--with", "DE", "--until", "30d"]).await;
    field.ok("FR", Role::Approver, &["approve", "no", refused["id"].as_str().unwrap(), "--reason", &p("no")]).await;
    let again = p("again");
    field.run("GB", operator, &["release", "request", proposal, "--to", "CA", "--purpose", &again]).await;
    let stranger = p("stranger");
    field.run("CA", operator, &["release", "request", proposal, "--to", &stranger, "--purpose", &stranger]).await;
    field.run("FR", Role::Policy, &["policy", "explain", proposal, "--party", "DE"]).await;
    let narrow = field.file("narrow.cedar", r#"permit (principal, action, resource) when { resource.tier == 0 };"#);
    field.run("FR", Role::Policy, &["policy", "simulate", "--party", "DE", &narrow]).await;
}

/// What people who have no business with it are told, and what partners' nodes are.
async fn said(field: &Field, proposal: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut said = Vec::new();
    let log: [&[&str]; 3] = [&["audit", "log", "--limit", "1000"], &["audit", "verify"], &["audit", "checkpoint"]];
    for member in MEMBERS {
        for arguments in log {
            let answer = field.run(member, Role::Auditor, arguments).await;
            said.push((format!("{member} {arguments:?}").into(), (answer.out + &answer.err).into_bytes()));
        }
        for role in [Role::Operator, Role::Admin] {
            let answer = field.run(member, role, &["node", "status", "-o", "json"]).await;
            said.push((format!("{member} status").into(), (answer.out + &answer.err).into_bytes()));
        }
        said.push((format!("{member} health").into(), health(field, member).await));
    }
    let no_business: [&[&str]; 6] = [
        &["proposal", "show", proposal],
        &["proposal", "list"],
        &["opinion", "list"],
        &["release", "list"],
        &["recall", "list"],
        &["list", "status"],
    ];
    for arguments in no_business {
        let answer = field.run("GB", Role::Operator, arguments).await;
        said.push((format!("GB {arguments:?}").into(), (answer.out + &answer.err).into_bytes()));
    }
    let fr = field.federation.seat("FR").unwrap();
    for member in ["DE", "GB"] {
        let path = certificate(&field.federation, member, Role::Node, "node-1");
        let channel = dial(&field.federation, &fr.peer, fr.member, &path).await.unwrap();
        let mut peer = PeerServiceClient::new(channel);
        let federation = field.federation.genesis.federation().0.to_vec();
        let open = v1::ExchangeOpen { federation: federation.clone(), cursor: b"no cursor".to_vec() };
        let open = v1::ExchangeRequest { message: Some(v1::exchange_request::Message::Open(open)) };
        let statuses: [Option<Status>; 3] = [
            peer.exchange(tokio_stream::once(open)).await.err(),
            peer.answer_recall(v1::AnswerRecallRequest { federation, answer: b"{}".to_vec() }).await.err(),
            peer.fetch_recalls(v1::FetchRecallsRequest { federation: Vec::new(), after: 0 }).await.err(),
        ];
        for status in statuses {
            let status = status.unwrap();
            let text = format!("{status:?}").into_bytes();
            said.push((format!("to the node of {member}").into(), [text.as_slice(), status.details()].concat()));
        }
    }
    said
}

async fn health(field: &Field, member: &str) -> Vec<u8> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut line = tokio::net::TcpStream::connect(&field.federation.seat(member).unwrap().health).await.unwrap();
    // Whatever it says to one who asks for metrics as a browser does.
    line.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(2), line.read_to_end(&mut said)).await;
    said
}

/// Every file of every node, and what the command keeps of its own.
fn nowhere_in_files(field: &Field, secret: &Canary, when: &str) {
    let mut folders: Vec<PathBuf> = field.federation.seats.iter().map(|seat| seat.folder.clone()).collect();
    folders.push(field.federation.folder.join("state"));
    for folder in folders {
        let seen = secret.sightings_in(&folder).unwrap();
        assert!(seen.is_empty(), "{when}: {seen:#?}");
    }
}

async fn nowhere(field: &Field, secret: &Canary, proposal: &str, when: &str) {
    for (what, bytes) in said(field, proposal).await {
        let seen = secret.sightings(&what, &bytes);
        assert!(seen.is_empty(), "{when}: {seen:#?}");
    }
    nowhere_in_files(field, secret, when);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_turns_up_nowhere() {
    let mut field = start().await;
    let (secret, known) = (Canary::fresh().unwrap(), Canary::fresh().unwrap());
    policies(&field, &[("FR", "DE"), ("FR", "CA"), ("DE", "FR"), ("CA", "FR")], &known).await;
    let (proposal, evidence) = plant(&field, &secret).await;
    correspond(&field, &secret, &proposal, &evidence).await;
    // The search sees what there is to see: what people are shown, what they wrote for it, what is public.
    let shown = field.run("DE", Role::Operator, &["proposal", "show", &proposal, "-o", "json"]).await;
    assert!(!secret.sightings(Path::new("shown"), shown.out.as_bytes()).is_empty());
    assert!(secret.sightings_in(&field.federation.folder).unwrap().iter().any(|s| s.place.ends_with("evidence.json")));
    let ballot = publish(&field, &known).await;
    let places = known.sightings_in(&field.federation.folder).unwrap();
    for member in MEMBERS {
        let folder = field.federation.seat(member).unwrap().folder.clone();
        let seen = |name: &str| {
            places.iter().any(|s| s.place.starts_with(&folder) && s.place.to_string_lossy().contains(name))
        };
        assert!(seen("consensus.db"), "the public part of {ballot} is not seen at {member}: {places:#?}");
    }
    let applied = field.federation.seat("FR").unwrap().folder.clone();
    assert!(places.iter().any(|s| s.place.starts_with(&applied) && s.place.ends_with("DE.cedar")), "{places:#?}");
    let log = std::fs::read_to_string(field.federation.seat("FR").unwrap().log()).unwrap();
    assert!(log.contains("TRACE") && log.contains("sqlx"), "the nodes are not talkative");

    nowhere(&field, &secret, &proposal, "while all is shared").await;
    field.ok("FR", Role::Admin, &["node", "rotate-store-key"]).await;
    // Killed, a node leaves its write-ahead log as it is.
    for seat in 0..MEMBERS.len() {
        field.federation.kill(seat);
    }
    nowhere_in_files(&field, &secret, "once killed");
    field.federation.start(PATIENCE).await.unwrap();

    let reason = secret.planted("reason");
    field.approved("FR", Role::Operator, &["recall", "start", &proposal, "--reason", &reason, "--yes"]).await;
    let fr = field.context("FR", Role::Operator);
    let all = |s: &Value| s["parties"].as_array().unwrap().iter().all(|p| p["standing"] == "destroyed");
    field.desk.until("both answers", &fr, &["recall", "status", &proposal], all).await.unwrap();
    nowhere(&field, &secret, &proposal, "once recalled").await;
    for seat in 0..MEMBERS.len() {
        field.federation.stop(seat, Duration::from_secs(20)).await;
    }
    nowhere_in_files(&field, &secret, "once stopped");
}

/// Tables a proposal whose public part names the canary of what is not secret.
async fn publish(field: &Field, known: &Canary) -> String {
    let draft = json!({
        "title": "Public", "marking": { "tier": "official", "releasable_to": [] },
        "subject": { "kind": "person", "names": [{ "full": "DOE, Ada", "kind": "primary" }] },
        "statement_of_case": known.planted("case"),
    });
    let draft = described(field, "public.json", &draft);
    let drafted = id(&field.ok("FR", Role::Operator, &["proposal", "draft", "-f", &draft]).await);
    let ballot = field.table("FR", &drafted).await;
    for member in MEMBERS {
        field.ballot(member, &ballot, |_| true).await;
    }
    ballot
}

/// The wrapped key and the sealed text of a copy, as they are on disk.
async fn sealed(federation: &Federation, member: &str, record: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let path = federation.seat(member).unwrap().folder.join("data").join("national.db");
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path).read_only(true)).await.unwrap();
    let query = sqlx::query("SELECT seal_key, item FROM copy WHERE record = $1").bind(record.to_owned());
    let row = query.fetch_optional(&pool).await.unwrap();
    pool.close().await;
    row.map(|row| (row.get(0), row.get(1)))
}

/// Whether bytes stand in any file of a folder.
fn stands_in(folder: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        let (first, rest) = needle.split_first().unwrap();
        let mut at = bytes.as_slice();
        while let Some(next) = at.iter().position(|byte| byte == first) {
            at = &at[next + 1..];
            if at.starts_with(rest) {
                return true;
            }
        }
        false
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recall_leaves_neither_key_nor_text_behind() {
    let mut field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let known = Canary::fresh().unwrap();
    policies(&field, &[("FR", "DE")], &known).await;
    let mut records = Vec::new();
    for title in ["recalled", "kept"] {
        let draft = described(&field, "draft.json", &proposal(&known, title));
        let drafted = id(&field.ok("FR", Role::Operator, &["proposal", "draft", "-f", &draft]).await);
        field.approved("FR", Role::Operator, &["proposal", "share", &drafted, "--with", "DE"]).await;
        let context = field.context("DE", Role::Operator);
        field.desk.until("the copy", &context, &["proposal", "show", &drafted], |_| true).await.unwrap();
        records.push(drafted);
    }
    let data = field.federation.seat("DE").unwrap().folder.join("data");
    let mut before = Vec::new();
    for record in &records {
        let (key, text) = sealed(&field.federation, "DE", record).await.unwrap();
        // Of the sealed text one piece is enough, which one page of the database holds.
        let piece = text[200..232].to_vec();
        assert!(stands_in(&data, &key) && stands_in(&data, &piece), "the search sees what is there");
        before.push((key, piece));
    }
    let recalled = records[0].clone();
    field.approved("FR", Role::Operator, &["recall", "start", &recalled, "--reason", "A reason.", "--yes"]).await;
    let fr = field.context("FR", Role::Operator);
    let destroyed = |s: &Value| s["parties"][0]["standing"] == "destroyed";
    field.desk.until("the answer", &fr, &["recall", "status", &recalled], destroyed).await.unwrap();

    assert_eq!(sealed(&field.federation, "DE", &recalled).await, None);
    let (key, piece) = &before[0];
    let begin = Instant::now();
    // Whoever reads the database meanwhile keeps a little of its log; and answers when it is gone.
    while stands_in(&data, key) || stands_in(&data, piece) {
        assert!(begin.elapsed() < PATIENCE, "what was destroyed is on the disk still");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (key, piece) = &before[1];
    assert!(stands_in(&data, key) && stands_in(&data, piece), "what is kept is there still");
    // Nor does it come back, by itself or from a copy of the database that was made before.
    let de = field.seat_of("DE");
    field.federation.stop(de, Duration::from_secs(20)).await;
    assert!(!stands_in(&data, &before[0].0) && !stands_in(&data, &before[0].1));
    let store = comity_tests::stores::open(&field.federation, "DE".parse::<MemberId>().unwrap()).await.unwrap();
    assert!(store.copies().get(recalled.parse().unwrap()).await.unwrap().is_none());
    assert!(store.copies().get(records[1].parse().unwrap()).await.unwrap().is_some());
    store.close().await;
}

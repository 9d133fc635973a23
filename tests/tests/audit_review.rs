//! Reviewing the access log: who saw what, what somebody did, what deserves a second look; and that each look is in it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::process::Stdio;
use std::time::Duration;

use comity_cli::Exit;
use comity_core::Role::{Approver, Auditor, Operator, Policy};
use comity_core::{MemberId, Role};
use comity_proto::v1;
use comity_proto::v1::audit_service_client::AuditServiceClient;
use comity_proto::v1::record_service_client::RecordServiceClient;
use comity_tests::federation::{certificate, dial};
use comity_tests::staff::Staff;
use comity_tests::stock::incident;
use futures::TryStreamExt as _;
use serde_json::Value;
use support::{Field, PATIENCE};
use tonic::Code;
use tonic::transport::Channel;

/// All that France shares, up to secret, without its sources.
const READS: &str = r#"@id("reads") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 4 };"#;
const VOTES: &str = "quorum(2/3)";

fn member(code: &str) -> MemberId {
    code.parse().unwrap()
}

async fn apply(field: &Field, party: &str) {
    let file = field.file(&format!("{party}.cedar"), READS);
    field.approved("FR", Policy, &["policy", "apply", "--party", party, &file]).await;
}

/// France's proposal, shared with Germany, which has it.
async fn shared(field: &Field) -> String {
    let record = field.draft("FR", &["DE"]).await;
    field.approved("FR", Operator, &["proposal", "share", &record, "--with", "DE"]).await;
    let operator = field.context("DE", Operator);
    field.desk.until("the proposal", &operator, &["proposal", "show", &record], |_| true).await.unwrap();
    record
}

async fn channel(field: &Field, role: Role, name: &str) -> Channel {
    let seat = field.federation.seat("FR").unwrap();
    dial(&field.federation, &seat.operator, member("FR"), &certificate(&field.federation, "FR", role, name))
        .await
        .unwrap()
}

async fn log(field: &Field, arguments: &[&str]) -> Vec<Value> {
    let command = [&["audit", "log", "--limit", "1000"], arguments].concat();
    field.ok("FR", Auditor, &command).await["records"].as_array().unwrap().clone()
}

fn leaves(records: &[Value]) -> Vec<u64> {
    records.iter().map(|record| record["leaf"].as_u64().unwrap()).collect()
}

fn texts<'a>(rows: &'a Value, key: &str) -> Vec<&'a str> {
    rows.as_array().unwrap().iter().map(|row| row[key].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_saw_names_party_person_version_and_policy_and_each_look_is_in_the_log() {
    let field = Field::start(&["FR", "DE", "CA"], VOTES).await;
    apply(&field, "DE").await;
    let record = shared(&field).await;
    let version = field.ok("FR", Operator, &["proposal", "show", &record]).await["etag"].as_str().unwrap().to_owned();
    // An auditor reads the log and not what it is about.
    field.refused(Exit::RoleMayNot, "FR", Auditor, &["proposal", "show", &record], &["operator"]).await;

    let saw = field.ok("FR", Auditor, &["audit", "who-saw", &record]).await;
    assert_eq!((texts(&saw["sent"], "party"), texts(&saw["sent"], "view")), (vec!["DE"], vec!["read"]), "{saw}");
    assert_eq!(saw["sent"][0]["version"], version.as_str(), "{saw}");
    assert_eq!(saw["sent"][0]["policies"], serde_json::json!(["reads"]), "{saw}");
    let people = saw["people"].as_array().unwrap();
    let read = people.iter().find(|row| row["action"] == "RecordService/GetRecord").unwrap();
    assert_eq!(read["version"], version.as_str(), "{saw}");
    assert!(read["who"].as_str().unwrap().ends_with("/operator/desk-1"), "{saw}");
    // The approver saw it, too, where it was to be approved.
    let approver = people.iter().find(|row| row["action"] == "ApprovalService/GetApproval").unwrap();
    assert!(approver["who"].as_str().unwrap().ends_with("/approver/desk-2"), "{saw}");
    let page = field.read("FR", Auditor, &["audit", "who-saw", &record]).await;
    for words in ["DE     read", "reads", "FR operator/desk-1", "Not shown: who saw a copy"] {
        assert!(page.contains(words), "`{words}` in\n{page}");
    }
    // Germany's log says where its copy came from, and who read it there.
    let there = field.ok("DE", Auditor, &["audit", "who-saw", &record]).await;
    assert_eq!(texts(&there["received"], "party"), ["FR"], "{there}");
    assert!(texts(&there["people"], "who")[0].ends_with("/operator/desk-1"), "{there}");
    assert!(!there.to_string().contains("\"reads\""), "France's policy is no business of Germany's: {there}");
    let unknown = "FR-P-0000000000000000";
    field.refused(Exit::NotFound, "FR", Auditor, &["audit", "who-saw", unknown], &["nobody has looked at it"]).await;

    let did = field.ok("FR", Auditor, &["audit", "person", "operator/desk-1"]).await;
    assert!(texts(&did["accesses"], "resource").contains(&record.as_str()), "{did}");
    assert!(did["denied"] == 0 && did["addresses"][0]["from"] == "127.0.0.1", "{did}");
    let auditor = field.ok("FR", Auditor, &["audit", "person", "auditor/audit-1"]).await;
    assert!(texts(&auditor["accesses"], "reason").contains(&"ROLE_NOT_ALLOWED"), "{auditor}");
    field.read("FR", Auditor, &["audit", "person", "operator/desk-1"]).await;

    for (by, key) in [("partner", "DE"), ("policy", "reads"), ("record", record.as_str()), ("action", "receive page")] {
        let summary = field.ok("FR", Auditor, &["audit", "summary", "--by", by]).await;
        let found = texts(&summary["rows"], "key").contains(&key);
        assert!(found == (by != "action"), "{by}: {summary}");
        let text = field.read("FR", Auditor, &["audit", "summary", "--by", by]).await;
        assert!(text.contains("Each day in") && text.contains("#"), "{text}");
    }

    // Each look says what was looked for, when it began and when it ended, and how much was shown.
    let looks = log(&field, &["--action", "AuditService/WatchAccessRecords*", "--oldest-first"]).await;
    let first = looks.iter().find(|look| look["touched"][0]["view"] == format!("record={record}").as_str()).unwrap();
    assert_eq!((first["outcome"].as_str(), first["role"].as_str()), (Some("allowed"), Some("auditor")));
    let ends: Vec<&Value> = looks.iter().filter(|look| look["request_id"] == first["request_id"]).collect();
    let shown = ends[1]["touched"][0]["view"].as_str().unwrap();
    assert!(shown.starts_with("shown=") && !shown.starts_with("shown=0 ") && shown.ends_with(&record), "{ends:?}");
    let searched = log(&field, &["--record", "access-log", "--action", "AuditService/ListAccessRecords"]).await;
    assert!(searched.is_empty() || searched[0]["touched"][0]["resource"] == "access-log");
    log(&field, &["--partner", "DE", "--outcome", "denied", "--since", "1h"]).await;
    let last = &log(&field, &["--action", "AuditService/ListAccessRecords"]).await[0];
    let words = last["touched"][0]["view"].as_str().unwrap();
    assert!(words.starts_with("partner=DE outcome=denied since="), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_find_by_person_role_partner_action_outcome_and_time() {
    let field = Field::start(&["FR", "DE", "CA"], VOTES).await;
    apply(&field, "DE").await;
    let record = shared(&field).await;
    field.refused(Exit::RoleMayNot, "FR", Auditor, &["proposal", "show", &record], &[]).await;
    let all = |records: &[Value], key: &str, is: &str| {
        assert!(
            !records.is_empty() && records.iter().all(|r| r[key].as_str().unwrap().ends_with(is)),
            "{key} {records:?}"
        );
    };
    all(&log(&field, &["--person", "operator/desk-1"]).await, "who", "/operator/desk-1");
    all(&log(&field, &["--who", "spiffe://fr.comity.example/approver/desk-2"]).await, "who", "/approver/desk-2");
    all(&log(&field, &["--role", "policy"]).await, "role", "policy");
    all(&log(&field, &["--partner", "DE", "--role", "node"]).await, "member", "DE");
    all(&log(&field, &["--outcome", "denied"]).await, "outcome", "denied");
    let pages = log(&field, &["--action", "PeerService/Exchange p*", "--record", &record]).await;
    all(&pages, "action", "PeerService/Exchange page");
    // Both ends of a stretch belong to it.
    let instant = pages[0]["time"].as_str().unwrap();
    let found = log(&field, &["--since", instant, "--until", instant]).await;
    assert!(found.iter().any(|r| r["leaf"] == pages[0]["leaf"]), "{found:?}");
    assert!(found.iter().all(|r| r["time"] == instant), "{found:?}");
    let newest = leaves(&log(&field, &["--until", instant]).await);
    let mut oldest = leaves(&log(&field, &["--until", instant, "--oldest-first"]).await);
    oldest.reverse();
    assert_eq!(newest, oldest);
    // For people, the zone is stated.
    let text = field.read("FR", Auditor, &["audit", "log", "--limit", "3"]).await;
    let line = text.lines().nth(1).unwrap();
    assert!(line.contains("+00:00") || line.contains("-0") || line.contains("+0") || line.contains("+1"), "{text}");
    for (arguments, word) in
        [(["--person", "desk-1"], "operator/desk-7"), (["--role", "king"], "auditor"), (["--until", "soon"], "7d")]
    {
        let command = [["audit", "log"], arguments].concat();
        field.refused(Exit::Usage, "FR", Auditor, &command, &[word]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_is_shown_what_happens_later_once_each_through_a_restart() {
    let mut field = Field::start(&["FR", "DE", "CA"], VOTES).await;
    field.draft("FR", &[]).await;
    let command =
        ["audit", "log", "-f", "--action", "RecordService/*", "--limit", "6", "--patience-s", "60", "-o", "json"];
    let follower =
        field.process("FR", Auditor, &command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Its own record says that it has begun, and from then on nothing is left out.
    let auditor = field.context("FR", Auditor);
    let began = ["audit", "log", "--action", "AuditService/WatchAccessRecords"];
    let is_there = |found: &Value| !found["records"].as_array().unwrap().is_empty();
    field.desk.until("the follower", &auditor, &began, is_there).await.unwrap();
    for _ in 0..3 {
        field.draft("FR", &[]).await;
    }
    let fr = field.seat_of("FR");
    field.federation.kill(fr);
    field.federation.spawn(fr).unwrap();
    field.federation.wait_serving(fr, PATIENCE).await.unwrap();
    for _ in 0..3 {
        field.draft("FR", &[]).await;
    }
    let told = tokio::task::spawn_blocking(|| follower.wait_with_output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8(told.stdout).unwrap(), String::from_utf8(told.stderr).unwrap());
    assert!(told.status.success(), "{err}");
    assert!(err.contains("following from leaf ") && err.contains("connecting again from leaf "), "{err}");
    let followed: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let drafted = log(&field, &["--action", "RecordService/*", "--oldest-first"]).await;
    assert_eq!(drafted.len(), 7);
    assert_eq!(leaves(&followed), leaves(&drafted[1..]));
    // An orderly end is followed through, too; and what lasted is recorded with how much was shown.
    let command =
        ["audit", "log", "-f", "--since", "1d", "--action", "RecordService/*", "--limit", "8", "--patience-s", "60"];
    let follower =
        field.process("FR", Auditor, &command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = |found: &Value| {
        let mut views = found["records"].as_array().unwrap().iter().map(|r| r["touched"][0]["view"].to_string());
        views.any(|view| view.contains("since="))
    };
    field.desk.until("the second follower", &auditor, &began, begun).await.unwrap();
    field.federation.stop(fr, Duration::from_secs(20)).await;
    field.federation.spawn(fr).unwrap();
    field.federation.wait_serving(fr, PATIENCE).await.unwrap();
    field.draft("FR", &[]).await;
    let told = tokio::task::spawn_blocking(|| follower.wait_with_output()).await.unwrap().unwrap();
    let (out, err) = (String::from_utf8(told.stdout).unwrap(), String::from_utf8(told.stderr).unwrap());
    assert!(told.status.success() && out.lines().count() == 9, "{out}{err}");
    let ended = |found: &Value| {
        let views = found["records"].as_array().unwrap().iter().map(|r| r["touched"][0]["view"].to_string());
        views.filter(|view| view.starts_with("\"shown=7 ") && view.contains("since=")).count() == 1
    };
    let ends = ["audit", "log", "--action", "AuditService/WatchAccessRecords end"];
    field.desk.until("the record of its end", &auditor, &ends, ended).await.unwrap();
    field.ok("FR", Auditor, &["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_leaves_nothing_out_while_others_write() {
    let field = Field::start(&["FR", "DE", "CA"], VOTES).await;
    let staff = Staff::of(&field.federation, member("FR")).unwrap();
    let writers = tokio::spawn(async move {
        for _ in 0..300 {
            let words = incident(comity_core::Tier::Restricted, &[], "What happened.");
            staff.draft(v1::RecordKind::Incident, &words).await.unwrap();
        }
    });
    let mut audit = AuditServiceClient::new(channel(&field, Auditor, "audit-1").await);
    for _ in 0..3 {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::ListAccessRecordsRequest { page_size: 7, page_token, filter: None };
            let page = audit.list_access_records(request).await.unwrap().into_inner();
            all.extend(page.records.iter().map(|record| record.leaf));
            if page.next_page_token.is_empty() {
                break;
            }
            page_token = page.next_page_token;
        }
        let newest = all[0];
        assert_eq!(all, (0..=newest).rev().collect::<Vec<_>>());
        let stream = audit.watch_access_records(v1::WatchAccessRecordsRequest::default()).await.unwrap().into_inner();
        let batches: Vec<v1::WatchAccessRecordsResponse> = stream.try_collect().await.unwrap();
        let forward: Vec<u64> = batches.iter().flat_map(|batch| &batch.records).map(|record| record.leaf).collect();
        assert_eq!(forward, (0..forward.len() as u64).collect::<Vec<_>>());
        let last = batches.last().unwrap();
        assert!(last.done && last.next == forward.len() as u64 && last.next > newest, "{last:?}");
    }
    writers.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_words_are_one_record_each_and_drive_no_terminal() {
    let field = Field::start(&["FR", "DE", "CA"], VOTES).await;
    let hostile = "\u{1b}[2J\n99  2026-01-01 00:00:00+00:00  FR admin/ops-1\u{9b}\u{202e}";
    let large = hostile.repeat(20_000);
    assert!(large.len() > 1_000_000);
    let mut audit = AuditServiceClient::new(channel(&field, Auditor, "audit-1").await);
    let mut records = RecordServiceClient::new(channel(&field, Operator, "desk-1").await);
    let before = log(&field, &[]).await.len();
    let filter = |resource: &str, action: &str| {
        Some(v1::AccessRecordFilter { resource: resource.into(), action: action.into(), ..Default::default() })
    };
    let list = |filter| v1::ListAccessRecordsRequest { filter, ..Default::default() };
    audit.list_access_records(list(filter(hostile, hostile))).await.unwrap();
    let refused = audit.list_access_records(list(filter(&large, ""))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let refused = audit.list_access_records(list(filter("", &large))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let watch = v1::WatchAccessRecordsRequest { filter: filter(&large, hostile), ..Default::default() };
    assert_eq!(audit.watch_access_records(watch).await.unwrap_err().code(), Code::InvalidArgument);
    for id in [hostile, large.as_str()] {
        let refused = records.get_record(v1::GetRecordRequest { id: id.into() }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    // A call that there is none of, by a path that would say much.
    let path = format!("/comity.v1.Nothing/%1b[2J%0a{}", "x".repeat(4_000));
    let mut grpc = tonic::client::Grpc::new(channel(&field, Operator, "desk-1").await);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<v1::GetRecordRequest, v1::Record>::default();
    let request = tonic::Request::new(v1::GetRecordRequest::default());
    let refused = grpc.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused:?}");

    // One record for each of the seven, and one for the look before.
    let after = log(&field, &[]).await;
    assert_eq!(after.len(), before + 8);
    assert!(after.iter().all(|record| record.to_string().len() < 2_000), "{after:?}");
    let words = |record: &Value| record["touched"][0]["view"].as_str().unwrap_or_default().to_owned();
    assert!(after.iter().any(|record| words(record) == format!("record={hostile} action={hostile}")));
    assert_eq!(after.iter().filter(|record| words(record).contains("sha256")).count(), 3);
    // As many as there are: a follower would wait for more.
    let all = after.len().to_string();
    for arguments in [
        vec!["audit", "log", "--limit", "30"],
        vec!["audit", "log", "--limit", "30", "-o", "json"],
        vec!["audit", "log", "-f", "--since", "1d", "--limit", &all],
        vec!["audit", "person", "auditor/audit-1"],
        vec!["audit", "summary", "--by", "action"],
    ] {
        let said = field.run("FR", Auditor, &arguments).await;
        assert_eq!(said.exit, Exit::Ok, "{}", said.err);
        let drives = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!said.out.contains(drives), "{arguments:?}: {:?}", said.out);
        assert!(!said.out.lines().any(|line| line.starts_with("99 ")), "{arguments:?}: {}", said.out);
    }
    field.ok("FR", Auditor, &["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anomalies_that_were_planted_are_found_by_the_rules_that_are_meant_for_them() {
    let field = Field::start(&["FR", "DE", "CA"], VOTES).await;
    let mut drafts = Vec::new();
    for _ in 0..4 {
        drafts.push(field.draft("FR", &["DE"]).await);
    }
    for draft in &drafts {
        field.ok("FR", Operator, &["proposal", "show", draft]).await;
        field.refused(Exit::RoleMayNot, "FR", Auditor, &["proposal", "show", draft], &[]).await;
    }
    apply(&field, "DE").await;
    let share = [&["proposal", "share"], drafts.iter().map(String::as_str).collect::<Vec<_>>().as_slice()].concat();
    field.approved("FR", Operator, &[share.as_slice(), &["--with", "DE"]].concat()).await;
    for draft in &drafts {
        let operator = field.context("DE", Operator);
        field.desk.until("the proposal", &operator, &["proposal", "show", draft], |_| true).await.unwrap();
    }
    let rules = field.file(
        "thresholds.toml",
        "[out_of_hours]\ndays = []\nreads = 3\n[denial_run]\ndenials = 4\n[mass_export]\nrecords_by_person = 3\nrecords_to_partner = 3\n\
         [policy_change_then_reads]\nrecords = 3\n",
    );
    let found = field.ok("FR", Auditor, &["audit", "anomalies", "--rules", &rules]).await;
    let of = |rule: &str, who: &str| {
        let all = found["findings"].as_array().unwrap().iter();
        all.filter(|f| f["rule"] == rule && f["who"].as_str().unwrap().ends_with(who)).cloned().collect::<Vec<_>>()
    };
    for (rule, who, count) in [
        ("first_time_reader", "/operator/desk-1", 1),
        ("first_time_reader", "DE", 1),
        ("denial_run", "/auditor/audit-1", 4),
        ("mass_export", "/operator/desk-1", 4),
        ("mass_export", "DE", 4),
        ("policy_change_then_reads", "DE", 4),
    ] {
        let findings = of(rule, who);
        assert_eq!(findings.len(), 1, "{rule} {who}: {found}");
        assert_eq!(findings[0]["count"], count, "{rule} {who}: {found}");
        assert!(findings[0]["sentence"].as_str().unwrap().contains("DE") || who != "DE");
    }
    let late = of("out_of_hours", "/operator/desk-1");
    assert!(late.len() == 1 && late[0]["count"].as_u64() >= Some(4), "{found}");
    // The leaves that a finding names are those of the refusals.
    let denied = of("denial_run", "/auditor/audit-1");
    let mut refusals = leaves(&log(&field, &["--outcome", "denied", "--person", "auditor/audit-1"]).await);
    refusals.reverse();
    assert_eq!(denied[0]["leaves"], serde_json::json!(refusals));
    let page = field.read("FR", Auditor, &["audit", "anomalies", "--rules", &rules]).await;
    assert!(page.contains("denial_run  ") && page.contains("  leaves  "), "{page}");
    // Nobody but an auditor is told; and of rules that are off nothing is.
    field.refused(Exit::RoleMayNot, "FR", Approver, &["audit", "anomalies"], &["auditor"]).await;
    let off = ["first_time_reader", "out_of_hours", "denial_run", "mass_export", "policy_change_then_reads"];
    let off = field.file("off.toml", &off.map(|rule| format!("[{rule}]\nenabled = false\n")).concat());
    let none = field.ok("FR", Auditor, &["audit", "anomalies", "--rules", &off]).await;
    assert_eq!(none["findings"], serde_json::json!([]));
    let wrong = field.file("wrong.toml", "[denial_run]\ndenial = 3\n");
    let words = ["wrong.toml", "denial", "next:  comity audit anomalies --example"];
    field.refused(Exit::Error, "FR", Auditor, &["audit", "anomalies", "--rules", &wrong], &words).await;
    let example = field.run("FR", Auditor, &["audit", "anomalies", "--example"]).await.out;
    let example = field.file("example.toml", &example);
    field.ok("FR", Auditor, &["audit", "anomalies", "--rules", &example]).await;
}

//! What a member's own people could ask of their node that it must not do: each is refused and named, and nothing is half-written.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use comity_core::{MemberId, RecordId, RecordKind, Role, Tier};
use comity_proto::v1;
use comity_proto::v1::recall_service_client::RecallServiceClient;
use comity_proto::v1::release_service_client::ReleaseServiceClient;
use comity_tests::federation::{certificate, dial};
use comity_tests::staff::Staff;
use comity_tests::stock::incident;
use serde_json::{Value, json};
use support::Field;
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const READS: &str = r#"@id("reads") permit (principal, action in [Action::"discover", Action::"read"], resource)
    when { resource.tier <= 4 };"#;
/// Small records that are drafted at a stretch.
const MANY: usize = 2_000;
/// The most that one page of a list has.
const PAGE_MAX: usize = 200;

fn member(code: &str) -> MemberId {
    code.parse().unwrap()
}

fn violated(status: &Status) -> Vec<String> {
    let bad = status.get_error_details().bad_request().cloned();
    bad.into_iter().flat_map(|bad| bad.field_violations).map(|v| v.field).collect()
}

/// Every record that the operator is shown.
async fn listed(staff: &Staff) -> BTreeMap<String, v1::Record> {
    let (mut all, mut page_token) = (BTreeMap::new(), String::new());
    loop {
        let request = v1::ListRecordsRequest { page_size: PAGE_MAX as i32, page_token, ..Default::default() };
        let page = staff.records().list_records(request).await.unwrap().into_inner();
        assert!(page.records.len() <= PAGE_MAX);
        for record in page.records {
            assert!(all.insert(record.id.clone(), record).is_none(), "one record on two pages");
        }
        if page.next_page_token.is_empty() {
            return all;
        }
        page_token = page.next_page_token;
    }
}

async fn waiting(staff: &Staff) -> usize {
    let request = v1::ListApprovalsRequest { page_size: 0, page_token: String::new(), all: true };
    staff.approvals().list_approvals(request).await.unwrap().into_inner().approvals.len()
}

fn words() -> Value {
    serde_json::from_str(&incident(Tier::Restricted, &[member("DE")], "What happened.")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_not_as_it_must_be_is_refused_by_name_and_nothing_of_it_is_kept() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let staff = Staff::of(&field.federation, member("FR")).unwrap();
    let bent = |change: fn(&mut Value)| {
        let mut words = words();
        change(&mut words);
        words.to_string()
    };
    let good = words().to_string();
    let mut large = words();
    large["description"] = "w".repeat(5 << 20).into();
    let cases = [
        ("document", "at most 524288", large.to_string()),
        ("document", "marking", bent(|w| drop(w.as_object_mut().unwrap().remove("marking")))),
        ("marking.tier", "cosmic", bent(|w| w["marking"]["tier"] = "cosmic".into())),
        ("marking.tier", "accreditation", bent(|w| w["marking"]["tier"] = "top_secret".into())),
        ("marking.releasable_to", "JP", bent(|w| w["marking"]["releasable_to"] = json!(["DE", "JP"]))),
        ("marking.releasable_to[0]", "", bent(|w| w["marking"]["releasable_to"] = json!(["Germany"]))),
        ("marking.caveats[0]", "", bent(|w| w["marking"]["caveats"] = json!(["noone"]))),
        ("marking.handling", "", bent(|w| w["marking"]["handling"] = "sometimes".into())),
        ("marking.exempt", "unknown field", bent(|w| w["marking"]["exempt"] = true.into())),
        ("hurry", "unknown field", bent(|w| w["hurry"] = true.into())),
        ("title", "", bent(|w| w["title"] = 7.into())),
        ("document", "duplicate field", good.replacen('{', "{\"title\":\"Another\",", 1)),
        ("document", "", good[..good.len() - 1].to_owned()),
        ("document", "", format!("{good}{good}")),
        ("document", "", String::new()),
    ];
    for (field, word, document) in cases {
        let refused = staff.draft(v1::RecordKind::Incident, &document).await.unwrap_err();
        let shown = document.get(..300).unwrap_or(&document);
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}: {refused:?}");
        assert!(violated(&refused).iter().any(|f| f == field), "{field} in {refused:?} to {shown}");
        assert!(refused.message().contains(word), "{word} in {refused:?}");
    }
    // Larger than any message, and numbers of kinds that nobody knows.
    large["description"] = "w".repeat(9 << 20).into();
    let refused = staff.draft(v1::RecordKind::Incident, &large.to_string()).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    for kind in [0, 8, 99, -1, i32::MAX] {
        let create = v1::CreateRecordRequest { document: good.clone().into_bytes(), request_id: String::new(), kind };
        let refused = staff.records().create_record(create).await.unwrap_err();
        assert_eq!((refused.code(), violated(&refused)), (Code::InvalidArgument, vec!["kind".to_owned()]), "{kind}");
        let list = v1::ListRecordsRequest { kind, ..Default::default() };
        match staff.records().list_records(list).await {
            Ok(_) => assert_eq!(kind, 0),
            Err(refused) => assert_eq!(violated(&refused), ["kind"], "{kind}"),
        }
    }
    for kind in [v1::RecordKind::Grant, v1::RecordKind::Recall, v1::RecordKind::Proposal] {
        assert_eq!(staff.draft(kind, &good).await.unwrap_err().code(), Code::InvalidArgument, "{kind:?}");
    }
    assert!(listed(&staff).await.is_empty());

    // The same of a revision: the record stays as it was.
    let drafted = staff.draft(v1::RecordKind::Incident, &good).await.unwrap();
    large["description"] = "w".repeat(5 << 20).into();
    for document in [large.to_string(), bent(|w| w["hurry"] = true.into()), String::new()] {
        let refused = staff.revise(&drafted, &document).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    assert_eq!(listed(&staff).await.len(), 1);
    assert_eq!(staff.get(drafted.id.parse().unwrap()).await.unwrap(), drafted);
    field.ok("FR", Role::Auditor, &["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_small_records_are_listed_in_bounded_pages_each_once() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let staff = Staff::of(&field.federation, member("FR")).unwrap();
    let document = words().to_string();
    let mut drafting = JoinSet::new();
    for _ in 0..20 {
        let (staff, document) = (staff.clone(), document.clone());
        drafting.spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..MANY / 20 {
                ids.push(staff.draft(v1::RecordKind::Incident, &document).await.unwrap().id);
            }
            ids
        });
    }
    let drafted: BTreeSet<String> = drafting.join_all().await.into_iter().flatten().collect();
    assert_eq!(drafted.len(), MANY);
    let shown: BTreeSet<String> = listed(&staff).await.into_keys().collect();
    assert_eq!(shown, drafted);
    for page_size in [i32::MAX, 1_000_000, -1] {
        let request = v1::ListRecordsRequest { page_size, ..Default::default() };
        match staff.records().list_records(request).await {
            Ok(page) => assert!(page.into_inner().records.len() <= PAGE_MAX, "{page_size}"),
            Err(refused) => assert_eq!(violated(&refused), ["page_size"], "{page_size}"),
        }
    }
    // More than one decision may be about is none.
    let records = shown.iter().take(1_001).map(|id| v1::RecordVersion { id: id.clone(), etag: String::new() });
    let share = v1::ShareRecordsRequest { records: records.collect(), parties: vec!["DE".into()], until: None };
    assert_eq!(violated(&staff.records().share_records(share).await.unwrap_err()), ["records"]);
    assert_eq!(waiting(&staff).await, 0);
}

/// DE shares one record with FR, and keeps another to itself.
async fn with_foreign(field: &Field) -> (Staff, RecordId, RecordId) {
    let (fr, de) = (member("FR"), member("DE"));
    let (here, there) = (Staff::of(&field.federation, fr).unwrap(), Staff::of(&field.federation, de).unwrap());
    there.apply_policy(fr, READS).await.unwrap();
    let words = incident(Tier::Restricted, &[fr], "Of DE.");
    let mut ids = Vec::new();
    for _ in 0..2 {
        let drafted = there.draft(v1::RecordKind::Incident, &words).await.unwrap();
        ids.push(drafted.id.parse::<RecordId>().unwrap());
    }
    there.share(&ids[..1], fr).await.unwrap();
    let context = field.context("FR", Role::Operator);
    let id = ids[0].to_string();
    field.desk.until("the copy", &context, &["incident", "show", &id], |_| true).await.unwrap();
    (here, ids[0], ids[1])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_shared_whole_or_not_at_all() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let (staff, copy, hidden) = with_foreign(&field).await;
    staff.apply_policy(member("DE"), READS).await.unwrap();
    let before = waiting(&staff).await;
    let mut own = Vec::new();
    for _ in 0..3 {
        own.push(staff.draft(v1::RecordKind::Incident, &words().to_string()).await.unwrap());
    }
    let id = |n: usize| own[n].id.clone();
    let absent = RecordId::new(member("FR"), RecordKind::Incident, [1; 10]).to_string();
    let version = |id: String, etag: &str| v1::RecordVersion { id, etag: etag.to_owned() };
    for (what, stranger) in [
        ("a copy", version(copy.to_string(), "")),
        ("another's", version(hidden.to_string(), "")),
        ("none", version(absent, "")),
        ("no id", version("FR-X-1".into(), "")),
        ("another version", version(id(2), &own[0].etag)),
        ("no version", version(id(2), "latest")),
    ] {
        for at in 0..3 {
            let mut records = vec![version(id(0), ""), version(id(1), &own[1].etag)];
            records.insert(at, stranger.clone());
            let share = v1::ShareRecordsRequest { records, parties: vec!["DE".into()], until: None };
            staff.records().share_records(share).await.err().unwrap_or_else(|| panic!("{what} is shared"));
        }
    }
    assert_eq!(waiting(&staff).await, before, "something waits for approval");

    // One of them is withdrawn before another person says yes: none is shared.
    let records = (0..3).map(|n| version(id(n), "")).collect();
    let share = v1::ShareRecordsRequest { records, parties: vec!["DE".into()], until: None };
    let waits = staff.records().share_records(share).await.unwrap().into_inner();
    staff.withdraw(id(1).parse().unwrap()).await.unwrap();
    staff.approve(waits).await.unwrap_err();
    for n in [0, 2] {
        let found = staff.get(id(n).parse().unwrap()).await.unwrap();
        assert_eq!((found.state(), found.shares.len()), (v1::RecordState::Draft, 0), "{found:?}");
    }
    // What is whole is shared.
    staff.share(&[id(0).parse().unwrap(), id(2).parse().unwrap()], member("DE")).await.unwrap();
    assert_eq!(staff.get(id(2).parse().unwrap()).await.unwrap().shares.len(), 1);
}

/// What a caller can tell two answers apart by, but for the id that it gave itself.
fn told(answer: &Result<(), Status>, id: RecordId) -> (Code, String, String) {
    match answer {
        Ok(()) => (Code::Ok, String::new(), String::new()),
        Err(status) => {
            let blind = |text: String| text.replace(&id.to_string(), "ID");
            let details = blind(format!("{:?}", status.get_error_details()));
            (status.code(), blind(status.message().to_owned()), details)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_members_id_is_refused_wherever_one_is_taken_and_tells_nothing() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let (staff, copy, hidden) = with_foreign(&field).await;
    let before = waiting(&staff).await;
    let seat = field.federation.seat("FR").unwrap();
    let desk = certificate(&field.federation, "FR", Role::Operator, "desk-1");
    let channel = dial(&field.federation, &seat.operator, seat.member, &desk).await.unwrap();
    let (releases, recalls) = (ReleaseServiceClient::new(channel.clone()), RecallServiceClient::new(channel));
    let etag = "00".repeat(16);
    let reading = ["GetRecord", "ExplainRelease"];
    // What a copy may well be asked about, by those who see it.
    let of_copies = ["GetRecord", "RequestRelease", "HoldCopy"];
    let calls = [
        "GetRecord",
        "UpdateRecord",
        "ShareRecords",
        "GiveOpinion",
        "TableProposal",
        "WithdrawRecord",
        "RequestRelease",
        "AnswerRelease",
        "StartRecall",
        "GetRecall",
        "HoldCopy",
        "AnswerCannotComply",
        "ExplainRelease",
    ];
    let call = async |name: &str, id: RecordId| -> Result<(), Status> {
        let (id, etag) = (id.to_string(), etag.clone());
        let (mut records, mut releases, mut recalls) = (staff.records(), releases.clone(), recalls.clone());
        let document = words().to_string().into_bytes();
        match name {
            "GetRecord" => records.get_record(v1::GetRecordRequest { id }).await.map(drop),
            "UpdateRecord" => records.update_record(v1::UpdateRecordRequest { id, etag, document }).await.map(drop),
            "ShareRecords" => {
                let one = vec![v1::RecordVersion { id, etag: String::new() }];
                let share = v1::ShareRecordsRequest { records: one, parties: vec!["CA".into()], until: None };
                records.share_records(share).await.map(drop)
            }
            "GiveOpinion" => {
                let (stance, text) = ("support".into(), "Yes.".into());
                records.give_opinion(v1::GiveOpinionRequest { about: id, stance, text }).await.map(drop)
            }
            "TableProposal" => {
                let table = v1::TableProposalRequest { id, etag: String::new(), amends: String::new() };
                records.table_proposal(table).await.map(drop)
            }
            "WithdrawRecord" => {
                records.withdraw_record(v1::WithdrawRecordRequest { id, etag: String::new() }).await.map(drop)
            }
            "RequestRelease" => {
                let (to, purpose) = ("CA".into(), "A purpose.".into());
                releases
                    .request_release(v1::RequestReleaseRequest { record: id, to, purpose, until: None })
                    .await
                    .map(drop)
            }
            "AnswerRelease" => {
                let (to, purpose) = ("CA".into(), "A purpose.".into());
                let answer = v1::AnswerReleaseRequest { about: id, grant: true, to, purpose, until: None };
                releases.answer_release(answer).await.map(drop)
            }
            "StartRecall" => {
                recalls.start_recall(v1::StartRecallRequest { record: id, reason: "A reason.".into() }).await.map(drop)
            }
            "GetRecall" => recalls.get_recall(v1::GetRecallRequest { id }).await.map(drop),
            "HoldCopy" => {
                recalls.hold_copy(v1::HoldCopyRequest { record: id, because: "An order.".into() }).await.map(drop)
            }
            "AnswerCannotComply" => {
                let answer = v1::AnswerCannotComplyRequest { recall: id, because: "It cannot.".into() };
                recalls.answer_cannot_comply(answer).await.map(drop)
            }
            "ExplainRelease" => {
                let explain = v1::ExplainReleaseRequest { record: id, party: "CA".into() };
                staff.policies().explain_release(explain).await.map(drop)
            }
            _ => panic!("{name}"),
        }
    };
    let absent = RecordId::new(member("DE"), RecordKind::Incident, [1; 10]);
    for name in calls {
        // What DE keeps to itself, and what it never had.
        let (denied, missing) = (call(name, hidden).await, call(name, absent).await);
        assert!(denied.is_err(), "{name}");
        assert_eq!(told(&denied, hidden), told(&missing, absent), "{name}");
        if !of_copies.contains(&name) {
            assert!(call(name, copy).await.is_err(), "{name} of a copy");
        } else if !reading.contains(&name) {
            call(name, copy).await.unwrap();
        }
    }
    // Two calls were right, about the copy: they wait, and nothing else does.
    assert_eq!(waiting(&staff).await, before + 2);
    let there = Staff::of(&field.federation, member("DE")).unwrap();
    for id in [copy, hidden] {
        assert_eq!(there.get(id).await.unwrap().title, "An invented incident");
    }
    assert!(staff.get(copy).await.is_ok());
    for id in ["A-00000000", "A-", "everything"] {
        let get = staff.approvals().get_approval(v1::GetApprovalRequest { id: id.into() }).await.unwrap_err();
        let decide = v1::DecideApprovalRequest { id: id.into(), approve: true, ..Default::default() };
        let decide = staff.approvals().decide_approval(decide).await.unwrap_err();
        assert_eq!((get.code(), get.message()), (decide.code(), decide.message()), "{id}");
        assert!(matches!(get.code(), Code::NotFound | Code::InvalidArgument), "{id}: {get:?}");
    }
    for stance in ["", "veto", "SUPPORT", "support "] {
        let opinion = v1::GiveOpinionRequest { about: copy.to_string(), stance: stance.into(), text: String::new() };
        assert_eq!(violated(&staff.records().give_opinion(opinion).await.unwrap_err()), ["stance"]);
    }
}

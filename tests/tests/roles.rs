//! Each RPC as each role: the expected outcome is the table here, and an RPC that is missing in it fails.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeSet;

use comity_cli::demo::federation::Federation;
use comity_core::{MemberId, Role};
use comity_tests::federation::{certificate, dial};
use support::Field;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use Role::{Admin, Approver, Auditor, Operator, Policy};

/// Who may call what on the operator port.
const PEOPLE: &[(&str, &[Role])] = &[
    ("RecordService/CreateRecord", &[Operator]),
    ("RecordService/UpdateRecord", &[Operator]),
    ("RecordService/GetRecord", &[Operator, Approver]),
    ("RecordService/ListRecords", &[Operator, Approver]),
    ("RecordService/ShareRecords", &[Operator]),
    ("RecordService/GiveOpinion", &[Operator]),
    ("RecordService/TableProposal", &[Operator]),
    ("RecordService/WithdrawRecord", &[Operator]),
    ("ReleaseService/RequestRelease", &[Operator]),
    ("ReleaseService/AnswerRelease", &[Operator]),
    ("ReleaseService/ListReleases", &[Operator, Approver]),
    ("RecallService/StartRecall", &[Operator]),
    ("RecallService/GetRecall", &[Operator, Approver]),
    ("RecallService/ListRecalls", &[Operator, Approver]),
    ("RecallService/HoldCopy", &[Operator]),
    ("RecallService/AnswerCannotComply", &[Operator]),
    ("ApprovalService/ListApprovals", &[Operator, Approver, Policy, Admin]),
    ("ApprovalService/GetApproval", &[Operator, Approver, Policy, Admin]),
    ("ApprovalService/DecideApproval", &[Approver]),
    ("ApprovalService/SignApproval", &[Operator, Admin]),
    ("BallotService/ListBallots", &[Operator, Approver]),
    ("BallotService/GetBallot", &[Operator, Approver]),
    ("BallotService/CastVote", &[Operator]),
    ("BallotService/TableMotion", &[Operator]),
    ("BallotService/AcknowledgeBallot", &[Operator]),
    ("BallotService/PlaceHold", &[Operator]),
    ("BallotService/ExtendHold", &[Operator]),
    ("BallotService/LiftHold", &[Operator]),
    ("BallotService/Object", &[Operator]),
    ("BallotService/WithdrawBallot", &[Operator]),
    ("ListService/GetEntry", &[Operator, Approver, Policy, Auditor, Admin]),
    ("ListService/ListEntries", &[Operator, Approver, Policy, Auditor, Admin]),
    ("ListService/GetListStatus", &[Operator, Approver, Policy, Auditor, Admin]),
    ("ListService/ExportList", &[Operator, Approver, Policy, Auditor, Admin]),
    ("ListService/ListPublications", &[Operator, Approver, Policy, Auditor, Admin]),
    ("ListService/WatchList", &[Operator, Approver, Policy, Auditor, Admin]),
    ("ListService/AttachMeasure", &[Operator]),
    ("ListService/EndMeasure", &[Operator]),
    ("ListService/ReviewEntry", &[Operator]),
    ("MemberService/ListMembers", &[Operator, Approver, Policy, Auditor, Admin]),
    ("MemberService/Invite", &[Admin]),
    ("MemberService/ChangeKeys", &[Admin]),
    ("MemberService/SubmitSigned", &[Admin]),
    ("PolicyService/CheckPolicy", &[Policy]),
    ("PolicyService/TestPolicy", &[Policy]),
    ("PolicyService/ExplainRelease", &[Operator, Approver, Policy]),
    ("PolicyService/SimulatePolicy", &[Policy]),
    ("PolicyService/ApplyPolicy", &[Policy]),
    ("PolicyService/GetPolicy", &[Policy, Approver, Auditor]),
    ("PolicyService/ListPolicies", &[Policy, Approver, Auditor]),
    ("PolicyService/ListPolicyVersions", &[Policy, Approver, Auditor]),
    ("PolicyService/ApplyPeople", &[Policy]),
    ("PolicyService/GetPeople", &[Policy, Approver, Auditor]),
    ("AuditService/ListAccessRecords", &[Auditor]),
    ("AuditService/ReadAccessLeaves", &[Auditor]),
    ("AuditService/GetAccessCheckpoint", &[Auditor]),
    ("NodeService/GetNodeStatus", &[Operator, Approver, Policy, Auditor, Admin]),
    ("NodeService/RotateStoreKey", &[Admin]),
];

/// What only nodes call, on the peer port.
const NODES: &[&str] = &[
    "PeerService/Exchange",
    "PeerService/FetchRecalls",
    "PeerService/AnswerRecall",
    "CheckpointService/Cosign",
    "ConsensusService/AppendEntries",
    "ConsensusService/Vote",
    "ConsensusService/PreVote",
    "ConsensusService/TransferLeader",
    "ConsensusService/Submit",
    "ConsensusService/InstallSnapshot",
    "ConsensusService/ReadCommands",
    "ConsensusService/ReadIndex",
    "ConsensusService/Announce",
];

/// What is answered by a stream: whether a call is let in shows when it begins.
const STREAMS: &[&str] = &["ListService/ExportList", "ListService/WatchList", "MemberService/Invite"];

/// Calls any method with an empty message.
async fn call(channel: &Channel, method: &str) -> Status {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path = format!("/comity.v1.{method}").parse().unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let mut request = tonic::Request::new(());
    request.set_timeout(std::time::Duration::from_secs(20));
    let answered = if STREAMS.contains(&method) {
        grpc.server_streaming(request, path, codec).await.map(drop)
    } else {
        grpc.unary(request, path, codec).await.map(drop)
    };
    answered.err().unwrap_or_else(|| Status::ok(""))
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|i| i.reason.clone()).unwrap_or_default()
}

async fn connect(federation: &Federation, role: Role, name: &str, operator_port: bool) -> Result<Channel, String> {
    let fr: MemberId = "FR".parse().unwrap();
    let seat = federation.seat("FR").unwrap();
    let address = if operator_port { &seat.operator } else { &seat.peer };
    dial(federation, address, fr, &certificate(federation, "FR", role, name)).await.map_err(|e| e.to_string())
}

#[test]
fn the_tables_name_every_rpc_once() {
    let mut declared = BTreeSet::new();
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/comity/v1")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut service = "";
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("service ") {
                service = rest.split([' ', '{']).next().unwrap();
            } else if let Some(rest) = line.strip_prefix("rpc ") {
                declared.insert(format!("{service}/{}", rest.split('(').next().unwrap().trim()));
            }
        }
    }
    let listed: BTreeSet<String> =
        PEOPLE.iter().map(|(n, _)| *n).chain(NODES.iter().copied()).map(str::to_owned).collect();
    assert_eq!(listed, declared);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rpc_as_each_role() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    let people =
        [(Operator, "desk-1"), (Approver, "desk-2"), (Policy, "legal-1"), (Auditor, "audit-1"), (Admin, "ops-1")];
    let mut denied = 0;
    for (role, name) in people {
        let channel = connect(&field.federation, role, name, true).await.unwrap();
        for (method, roles) in PEOPLE {
            let status = call(&channel, method).await;
            if roles.contains(&role) {
                let passed =
                    !matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented);
                assert!(passed, "{method} as {role}: {status:?}");
            } else {
                assert_eq!(
                    (status.code(), reason(&status).as_str()),
                    (Code::PermissionDenied, "ROLE_NOT_ALLOWED"),
                    "{method} as {role}"
                );
                denied += 1;
            }
        }
        // What belongs to the other port, or to nobody, is not there.
        for method in NODES.iter().copied().chain(["ListService/Rewrite", "NoService/Nothing"]) {
            let status = call(&channel, method).await;
            assert_eq!(
                (status.code(), reason(&status).as_str()),
                (Code::Unimplemented, "METHOD_UNKNOWN"),
                "{method} as {role}"
            );
        }
    }
    // Each refusal is in the log, durable before it was answered.
    let log = field.ok("FR", Auditor, &["audit", "log", "--outcome", "denied", "--limit", "1000"]).await;
    let refused = log["records"].as_array().unwrap().iter().filter(|r| r["reason"] == "ROLE_NOT_ALLOWED").count();
    assert_eq!(refused, denied);
    field.ok("FR", Auditor, &["audit", "verify"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_port_admits_its_own_callers_alone() {
    let field = Field::start(&["FR", "DE", "CA"], "quorum(2/3)").await;
    // A node at the operator port, a person at the peer port: refused in the handshake, so that the first call fails.
    for (role, name, operator_port) in
        [(Role::Node, "node-1", true), (Operator, "desk-1", false), (Admin, "ops-1", false)]
    {
        let answered = match connect(&field.federation, role, name, operator_port).await {
            Ok(channel) => call(&channel, "NodeService/GetNodeStatus").await.code(),
            Err(_) => Code::Unavailable,
        };
        assert!(matches!(answered, Code::Unavailable | Code::Unknown | Code::Cancelled), "{role}: {answered:?}");
    }
    let nodes = {
        let path = certificate(&field.federation, "DE", Role::Node, "node-1");
        let seat = field.federation.seat("FR").unwrap();
        dial(&field.federation, &seat.peer, seat.member, &path).await.unwrap()
    };
    for (method, _) in PEOPLE {
        assert_eq!(call(&nodes, method).await.code(), Code::Unimplemented, "{method} on the peer port");
    }
    // A stranger to the federation's genesis is told so by every peer service that takes one.
    for method in ["PeerService/FetchRecalls", "PeerService/AnswerRecall", "CheckpointService/Cosign"] {
        let status = call(&nodes, method).await;
        assert_eq!(reason(&status), "OTHER_FEDERATION", "{method}: {status:?}");
    }
}

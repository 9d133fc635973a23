//! What each method is asked: real ids, real documents, real signatures, so that an outcome says something.

use comity_core::access::log_origin;
use comity_core::canonical::{self, Hex32};
use comity_core::checkpoint::{Checkpoint, SignedCheckpoint};
use comity_core::list::{AttestTime, Command, CommandId, Ground, ListState, Motion, RevokeKeys, RotateKeys};
use comity_core::recall::{Answer, AnswerStatement, sign_answer};
use comity_core::roster::node_id;
use comity_core::{MemberId, Role};
use comity_identity::SigningKeyFile;
use comity_proto::v1;
use ed25519_dalek::SigningKey;
use prost::Message as _;

use crate::stage::{GRANTED, OWN, Stage, Subject};

const POLICY: &str =
    r#"@id("reads") permit (principal, action == Action::"discover", resource) when { resource.tier <= 2 };"#;

/// Whoever asks.
pub struct Caller<'a> {
    pub stage: &'a Stage,
    pub member: MemberId,
    /// As whom: no two of a party's people hand in the very same command.
    pub role: Role,
}

impl Caller<'_> {
    fn key(&self, which: &str) -> SigningKey {
        let folder = &self.stage.field.federation.seat(self.member.as_str()).unwrap().folder;
        SigningKeyFile::load(&folder.join(format!("signing-{which}.key"))).unwrap().signing_key().clone()
    }

    fn federation(&self) -> Hex32 {
        self.stage.field.federation.genesis.federation()
    }

    fn command_id(&self, salt: u8) -> CommandId {
        let seed = format!("{}/{}/{salt}", self.member, self.role);
        let digest = comity_core::sha256(seed.as_bytes());
        CommandId::new(digest[..16].try_into().unwrap())
    }

    fn sender(&self) -> Option<v1::ConsensusSender> {
        Some(v1::ConsensusSender { federation: self.federation().0.to_vec(), node_id: node_id(self.member, 1) })
    }

    /// Of before there was any leader: whoever is let in is told that there is a later one.
    fn vote(&self, committed: bool) -> Option<v1::RaftVote> {
        Some(v1::RaftVote { term: 0, node_id: node_id(self.member, 1), committed })
    }

    fn log_id(&self) -> Option<v1::RaftLogId> {
        Some(v1::RaftLogId { term: 0, node_id: 0, index: 0 })
    }

    /// An attestation that comes too soon: ordered like any other command, and refused by every node when its turn comes.
    fn command(&self) -> v1::RaftCommand {
        let command = Command::AttestTime(AttestTime {
            federation: self.federation(),
            command_id: self.command_id(1),
            member: self.member,
            time: "2026-01-01T00:00:00Z".parse().unwrap(),
            supports: ListState::SUPPORTED_RULES,
        });
        v1::RaftCommand { envelope: command.sign(&self.key("node")).to_bytes(), public_text: None }
    }

    /// The party about which this one's officers ask.
    fn partner(&self) -> String {
        if self.member.as_str() == OWN { "DE".to_owned() } else { OWN.to_owned() }
    }

    /// A party to which the record could go, and which does not have it where the asker is not that party itself.
    fn third(&self) -> String {
        if self.member.as_str() == "CA" { "IIIM".to_owned() } else { "CA".to_owned() }
    }

    /// What a method is asked about this subject.
    pub fn asks(&self, method: &str, subject: &Subject) -> Vec<u8> {
        let Stage { entry, voted, silent, agreed, .. } = self.stage;
        let federation = self.federation().0.to_vec();
        let (record, partner) = (subject.record.clone(), self.partner());
        match method {
            "RecordService/CreateRecord" => v1::CreateRecordRequest {
                document: document("A draft", &[]),
                request_id: String::new(),
                kind: v1::RecordKind::Proposal.into(),
            }
            .encode_to_vec(),
            "RecordService/UpdateRecord" => v1::UpdateRecordRequest {
                id: record,
                etag: subject.etag.clone(),
                document: document("Another title", &GRANTED),
            }
            .encode_to_vec(),
            "RecordService/GetRecord" => v1::GetRecordRequest { id: record }.encode_to_vec(),
            "RecordService/ListRecords" => v1::ListRecordsRequest::default().encode_to_vec(),
            "RecordService/ShareRecords" => v1::ShareRecordsRequest {
                records: vec![v1::RecordVersion { id: record, etag: String::new() }],
                parties: vec![self.third()],
                until: None,
            }
            .encode_to_vec(),
            "RecordService/GiveOpinion" => {
                v1::GiveOpinionRequest { about: record, stance: "support".into(), text: "We agree.".into() }
                    .encode_to_vec()
            }
            "RecordService/TableProposal" => {
                v1::TableProposalRequest { id: record, etag: String::new(), amends: String::new() }.encode_to_vec()
            }
            "RecordService/WithdrawRecord" => {
                v1::WithdrawRecordRequest { id: record, etag: String::new() }.encode_to_vec()
            }
            "ReleaseService/RequestRelease" => v1::RequestReleaseRequest {
                record,
                to: self.third(),
                purpose: "for its own listing".to_owned(),
                until: None,
            }
            .encode_to_vec(),
            "ReleaseService/AnswerRelease" => v1::AnswerReleaseRequest {
                about: record,
                grant: true,
                to: self.third(),
                purpose: "for its own listing".to_owned(),
                until: None,
            }
            .encode_to_vec(),
            "ReleaseService/ListReleases" => v1::ListReleasesRequest {}.encode_to_vec(),
            "RecallService/StartRecall" => {
                v1::StartRecallRequest { record, reason: "A source is at risk.".into() }.encode_to_vec()
            }
            "RecallService/GetRecall" => v1::GetRecallRequest { id: subject.recall.clone() }.encode_to_vec(),
            "RecallService/ListRecalls" => v1::ListRecallsRequest {}.encode_to_vec(),
            "RecallService/HoldCopy" => {
                v1::HoldCopyRequest { record, because: "order of a court".into() }.encode_to_vec()
            }
            "RecallService/AnswerCannotComply" => {
                v1::AnswerCannotComplyRequest { recall: subject.recall.clone(), because: "it is on paper".into() }
                    .encode_to_vec()
            }
            "ApprovalService/ListApprovals" => {
                v1::ListApprovalsRequest { all: true, page_size: 100, ..Default::default() }.encode_to_vec()
            }
            "ApprovalService/GetApproval" => v1::GetApprovalRequest { id: subject.approval.clone() }.encode_to_vec(),
            "ApprovalService/DecideApproval" => v1::DecideApprovalRequest {
                id: subject.approval.clone(),
                approve: false,
                reason: "not now".into(),
                signature: None,
            }
            .encode_to_vec(),
            "ApprovalService/SignApproval" => {
                let signature = v1::PersonalSignature { keyid: "0".repeat(16), sig: vec![0; 64] };
                v1::SignApprovalRequest { id: subject.approval.clone(), signature: Some(signature) }.encode_to_vec()
            }
            "BallotService/ListBallots" => v1::ListBallotsRequest::default().encode_to_vec(),
            "BallotService/GetBallot" => v1::GetBallotRequest { id: voted.clone() }.encode_to_vec(),
            "BallotService/CastVote" => {
                v1::CastVoteRequest { ballot: voted.clone(), choice: v1::Choice::Yes.into(), ..Default::default() }
                    .encode_to_vec()
            }
            "BallotService/TableMotion" => {
                let motion = Motion::Delist { entry: entry.parse().unwrap(), ground: Ground::Other };
                v1::TableMotionRequest { motion_json: canonical::to_vec(&motion), statement: "It ends.".into() }
                    .encode_to_vec()
            }
            "BallotService/AcknowledgeBallot" => {
                v1::AcknowledgeBallotRequest { ballot: silent.clone(), ..Default::default() }.encode_to_vec()
            }
            "BallotService/PlaceHold" => {
                v1::PlaceHoldRequest { ballot: silent.clone(), reason: "We look into it.".into() }.encode_to_vec()
            }
            "BallotService/ExtendHold" => {
                v1::ExtendHoldRequest { ballot: silent.clone(), holder: "DE".into() }.encode_to_vec()
            }
            "BallotService/LiftHold" => v1::LiftHoldRequest { ballot: silent.clone() }.encode_to_vec(),
            "BallotService/Object" => {
                v1::ObjectRequest { ballot: silent.clone(), reason: "We do not agree.".into() }.encode_to_vec()
            }
            "BallotService/WithdrawBallot" => v1::WithdrawBallotRequest { ballot: voted.clone() }.encode_to_vec(),
            "ListService/GetEntry" => v1::GetEntryRequest { id: entry.clone() }.encode_to_vec(),
            "ListService/ListEntries" => v1::ListEntriesRequest::default().encode_to_vec(),
            "ListService/GetListStatus" => v1::GetListStatusRequest {}.encode_to_vec(),
            "ListService/ExportList" => v1::ExportListRequest { include_commands: true }.encode_to_vec(),
            "ListService/ListPublications" => {
                v1::ListPublicationsRequest { entry: entry.clone(), ..Default::default() }.encode_to_vec()
            }
            "ListService/WatchList" => v1::WatchListRequest { from: 0, agreed_only: false }.encode_to_vec(),
            "ListService/AttachMeasure" => {
                let measure = v1::Measure {
                    id: "m2".into(),
                    programme: "CW".into(),
                    legal_act: "Act 2".into(),
                    imposes: vec!["asset_freeze".into()],
                    from: "2026-02-01".into(),
                    ..Default::default()
                };
                v1::AttachMeasureRequest { entry: entry.clone(), measure: Some(measure) }.encode_to_vec()
            }
            "ListService/EndMeasure" => {
                v1::EndMeasureRequest { entry: entry.clone(), measure: "m1".into(), ended: "2026-02-01".into() }
                    .encode_to_vec()
            }
            "ListService/ReviewEntry" => v1::ReviewEntryRequest { entry: entry.clone() }.encode_to_vec(),
            "MemberService/ListMembers" => v1::ListMembersRequest {}.encode_to_vec(),
            "MemberService/Invite" => v1::InviteRequest {}.encode_to_vec(),
            "MemberService/ChangeKeys" => {
                let command = Command::RotateKeys(RotateKeys {
                    federation: self.federation(),
                    command_id: self.command_id(2),
                    member: self.member,
                    decision_key: None,
                    node_key: None,
                    roots_pem: None,
                    endpoint: Some(format!("node.{}.example:7101", self.member.to_lowercase())),
                });
                let command = v1::SignedCommand {
                    payload_type: command.payload_type().to_owned(),
                    payload: command.to_payload(),
                };
                v1::ChangeKeysRequest { command: Some(command), signatures: Vec::new() }.encode_to_vec()
            }
            // Signed by a key that cannot revoke: nobody's keys are to be lost here.
            "MemberService/SubmitSigned" => {
                let command = Command::RevokeKeys(RevokeKeys {
                    federation: self.federation(),
                    command_id: self.command_id(3),
                    member: self.member,
                    decision: true,
                    node: false,
                });
                v1::SubmitSignedRequest { envelope: command.sign(&self.key("decision")).to_bytes() }.encode_to_vec()
            }
            "PolicyService/CheckPolicy" => {
                v1::CheckPolicyRequest { party: partner, text: POLICY.into() }.encode_to_vec()
            }
            "PolicyService/TestPolicy" => {
                let record = serde_json::json!({ "kind": "proposal", "tier": "secret" });
                let case =
                    serde_json::json!({ "name": "a case", "party": partner, "record": record, "expect": "read" });
                let cases = serde_json::json!({ "cases": [case] }).to_string().into_bytes();
                v1::TestPolicyRequest { cases, ..Default::default() }.encode_to_vec()
            }
            "PolicyService/ExplainRelease" => v1::ExplainReleaseRequest { record, party: partner }.encode_to_vec(),
            "PolicyService/SimulatePolicy" => {
                v1::SimulatePolicyRequest { party: partner, text: POLICY.into() }.encode_to_vec()
            }
            "PolicyService/ApplyPolicy" => {
                v1::ApplyPolicyRequest { party: partner, text: POLICY.into() }.encode_to_vec()
            }
            "PolicyService/GetPolicy" => v1::GetPolicyRequest { party: partner, version: 0 }.encode_to_vec(),
            "PolicyService/ListPolicies" => v1::ListPoliciesRequest {}.encode_to_vec(),
            "PolicyService/ListPolicyVersions" => {
                v1::ListPolicyVersionsRequest { party: partner, ..Default::default() }.encode_to_vec()
            }
            "PolicyService/ApplyPeople" => {
                let document = serde_json::json!({ "default": { "tier": "restricted" } }).to_string().into_bytes();
                v1::ApplyPeopleRequest { document }.encode_to_vec()
            }
            "PolicyService/GetPeople" => v1::GetPeopleRequest {}.encode_to_vec(),
            "AuditService/ListAccessRecords" => {
                let filter = Some(sent_pages(record));
                v1::ListAccessRecordsRequest { filter, ..Default::default() }.encode_to_vec()
            }
            "AuditService/WatchAccessRecords" => {
                let filter = Some(sent_pages(record));
                v1::WatchAccessRecordsRequest { filter, ..Default::default() }.encode_to_vec()
            }
            "AuditService/ReadAccessLeaves" => v1::ReadAccessLeavesRequest { first: 0, limit: 1 }.encode_to_vec(),
            "AuditService/GetAccessCheckpoint" => v1::GetAccessCheckpointRequest {}.encode_to_vec(),
            "AuditService/ListArchivedSegments" => v1::ListArchivedSegmentsRequest { from: 0 }.encode_to_vec(),
            // Of before there was anything.
            "NodeService/ArchiveLog" => v1::ArchiveLogRequest { before: Some(Default::default()) }.encode_to_vec(),
            "AuditService/ListWitnessConflicts" => v1::ListWitnessConflictsRequest {}.encode_to_vec(),
            "NodeService/DeclareLoss" => v1::DeclareLossRequest { reason: "the disk broke".into() }.encode_to_vec(),
            "NodeService/StartUnconfirmed" => {
                v1::StartUnconfirmedRequest { reason: "the line is cut".into() }.encode_to_vec()
            }
            "WitnessService/AddCheckpoint" => {
                // The head of an empty log, behind whatever was cosigned already.
                let domain = format!("{}.comity.example", self.member.as_str().to_lowercase());
                let origin = log_origin(&domain.parse().unwrap(), 1);
                let root = comity_core::merkle::root_of([]);
                let mut note = SignedCheckpoint::unsigned(Checkpoint { origin, size: 0, root });
                note.sign(&self.key("node"));
                v1::AddCheckpointRequest { federation, note: note.to_bytes(), ..Default::default() }.encode_to_vec()
            }
            "WitnessService/GetWitnessed" => v1::GetWitnessedRequest { federation }.encode_to_vec(),
            "AuditService/ExportAccessLog" => {
                v1::ExportAccessLogRequest { leaf: Some(0), ..Default::default() }.encode_to_vec()
            }
            "NodeService/GetNodeStatus" => v1::GetNodeStatusRequest {}.encode_to_vec(),
            "NodeService/RotateStoreKey" => v1::RotateStoreKeyRequest {}.encode_to_vec(),
            "PeerService/Exchange" => {
                let open = v1::ExchangeOpen { federation, cursor: Vec::new() };
                v1::ExchangeRequest { message: Some(v1::exchange_request::Message::Open(open)) }.encode_to_vec()
            }
            "PeerService/FetchRecalls" => v1::FetchRecallsRequest { federation, after: 0 }.encode_to_vec(),
            "PeerService/AnswerRecall" => {
                let statement = AnswerStatement {
                    federation: self.federation(),
                    from: OWN.parse().unwrap(),
                    to: self.member,
                    recall: subject.recall.parse().unwrap(),
                    record: subject.recalled.parse().unwrap(),
                    answer: Answer::Destroyed,
                    because: None,
                    backup_days: 30,
                    answered_at: "2026-11-01T00:00:00Z".parse().unwrap(),
                };
                let answer = sign_answer(&statement, &self.key("node")).to_bytes();
                v1::AnswerRecallRequest { federation, answer }.encode_to_vec()
            }
            "CheckpointService/Cosign" => v1::CosignRequest {
                federation,
                commands: agreed.commands,
                command_note: agreed.command_note.clone(),
                public_note: agreed.public_note.clone(),
            }
            .encode_to_vec(),
            "ConsensusService/AppendEntries" => v1::AppendEntriesRequest {
                sender: self.sender(),
                vote: self.vote(true),
                prev_log_id: None,
                entries: Vec::new(),
                leader_commit: None,
                quorum_age_ms: Some(0),
            }
            .encode_to_vec(),
            "ConsensusService/Vote" | "ConsensusService/PreVote" => v1::VoteRequest {
                sender: self.sender(),
                vote: self.vote(false),
                last_log_id: self.log_id(),
                leadership_transfer: false,
            }
            .encode_to_vec(),
            "ConsensusService/TransferLeader" => v1::TransferLeaderRequest {
                sender: self.sender(),
                from_leader: self.vote(true),
                to_node_id: node_id(OWN.parse().unwrap(), 1),
                last_log_id: self.log_id(),
            }
            .encode_to_vec(),
            "ConsensusService/Submit" => {
                v1::SubmitRequest { sender: self.sender(), command: Some(self.command()) }.encode_to_vec()
            }
            "ConsensusService/InstallSnapshot" => {
                let genesis = &self.stage.field.federation.genesis;
                let nodes: Vec<_> = genesis.voters().map(|row| (node_id(row.member, 1), row.member)).collect();
                let voters = v1::RaftVoters { node_ids: nodes.iter().map(|(node, _)| *node).collect() };
                let named = |(node_id, member): (u64, MemberId)| v1::RaftNode { node_id, member: member.to_string() };
                v1::InstallSnapshotRequest {
                    sender: self.sender(),
                    vote: self.vote(true),
                    last_log_id: self.log_id(),
                    membership: Some(v1::RaftMembership {
                        configs: vec![voters],
                        nodes: nodes.into_iter().map(named).collect(),
                    }),
                    membership_log_id: self.log_id(),
                    commands: 0,
                    root: comity_core::sha256(b"").to_vec(),
                }
                .encode_to_vec()
            }
            "ConsensusService/ReadCommands" => {
                v1::ReadCommandsRequest { sender: self.sender(), first_leaf: 0, max: 1 }.encode_to_vec()
            }
            "ConsensusService/ReadIndex" => v1::ReadIndexRequest { sender: self.sender() }.encode_to_vec(),
            "ConsensusService/Announce" => {
                v1::AnnounceRequest { sender: self.sender(), commands: vec![self.command()] }.encode_to_vec()
            }
            other => panic!("{other}: say here what it is asked"),
        }
    }
}

fn document(title: &str, releasable: &[&str]) -> Vec<u8> {
    serde_json::json!({
        "title": title,
        "marking": { "tier": "confidential", "releasable_to": releasable },
        "subject": { "kind": "person", "names": [{ "full": "DOE, Ada", "kind": "primary" }] },
        "statement_of_case": "The case for publication.",
    })
    .to_string()
    .into_bytes()
}

/// Where a record went, not who asked for it in vain.
fn sent_pages(record: String) -> v1::AccessRecordFilter {
    v1::AccessRecordFilter { action: "PeerService/Exchange page".into(), resource: record, ..Default::default() }
}

//! A member's people, who work at their own node: what a campaign has them do over and over, without a command line each time.

use std::time::Duration;

use comity_cli::demo::federation::Federation;
use comity_core::{MemberId, RecordId, Role};
use comity_proto::v1;
use comity_proto::v1::approval_service_client::ApprovalServiceClient;
use comity_proto::v1::node_service_client::NodeServiceClient;
use comity_proto::v1::policy_service_client::PolicyServiceClient;
use comity_proto::v1::record_service_client::RecordServiceClient;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::Problem;
use crate::federation::{certificate, dial_lazily};

/// A call that got no answer is given up: whether it was carried out is not known then.
const PATIENCE: Duration = Duration::from_secs(10);

/// A member's operator, approver and policy officer. Connects when it is used, and again when the connection broke.
#[derive(Debug, Clone)]
pub struct Staff {
    records: RecordServiceClient<Channel>,
    approvals: ApprovalServiceClient<Channel>,
    policies: PolicyServiceClient<Channel>,
    node: NodeServiceClient<Channel>,
}

fn asked<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

impl Staff {
    /// The people of a member.
    ///
    /// # Errors
    /// There is no such member, or a certificate cannot be read.
    pub fn of(federation: &Federation, member: MemberId) -> Result<Self, Problem> {
        let seat = federation.seat(member.as_str()).ok_or("no seat")?;
        let channel = |role: Role, name: &str| {
            dial_lazily(federation, &seat.operator, member, &certificate(federation, member.as_str(), role, name))
        };
        let operator = channel(Role::Operator, "desk-1")?;
        Ok(Self {
            records: RecordServiceClient::new(operator.clone()),
            approvals: ApprovalServiceClient::new(channel(Role::Approver, "desk-2")?),
            policies: PolicyServiceClient::new(channel(Role::Policy, "legal-1")?),
            node: NodeServiceClient::new(operator),
        })
    }

    /// The operator's own calls.
    pub fn records(&self) -> RecordServiceClient<Channel> {
        self.records.clone()
    }

    /// The approver's own calls.
    pub fn approvals(&self) -> ApprovalServiceClient<Channel> {
        self.approvals.clone()
    }

    /// The policy officer's own calls.
    pub fn policies(&self) -> PolicyServiceClient<Channel> {
        self.policies.clone()
    }

    /// Drafts a record.
    ///
    /// # Errors
    /// What the node or the connection to it says.
    pub async fn draft(&self, kind: v1::RecordKind, document: &str) -> Result<v1::Record, Status> {
        let kind = kind.into();
        let message =
            v1::CreateRecordRequest { document: document.as_bytes().to_vec(), request_id: String::new(), kind };
        Ok(self.records.clone().create_record(asked(message)).await?.into_inner())
    }

    /// A record as it is now.
    ///
    /// # Errors
    /// What the node or the connection to it says.
    pub async fn get(&self, id: RecordId) -> Result<v1::Record, Status> {
        Ok(self.records.clone().get_record(asked(v1::GetRecordRequest { id: id.to_string() })).await?.into_inner())
    }

    /// Replaces what a record says.
    ///
    /// # Errors
    /// What the node or the connection to it says.
    pub async fn revise(&self, found: &v1::Record, document: &str) -> Result<v1::Record, Status> {
        let (id, etag) = (found.id.clone(), found.etag.clone());
        let message = v1::UpdateRecordRequest { id, etag, document: document.as_bytes().to_vec() };
        Ok(self.records.clone().update_record(asked(message)).await?.into_inner())
    }

    /// Takes a record back.
    ///
    /// # Errors
    /// What the node or the connection to it says.
    pub async fn withdraw(&self, id: RecordId) -> Result<(), Status> {
        let message = v1::WithdrawRecordRequest { id: id.to_string(), etag: String::new() };
        self.records.clone().withdraw_record(asked(message)).await.map(drop)
    }

    /// Shares records, as two people decide.
    ///
    /// # Errors
    /// What the node or the connection to it says.
    pub async fn share(&self, records: &[RecordId], with: MemberId) -> Result<(), Status> {
        let records = records.iter().map(|id| v1::RecordVersion { id: id.to_string(), etag: String::new() });
        let message =
            v1::ShareRecordsRequest { records: records.collect(), parties: vec![with.to_string()], until: None };
        let waits = self.records.clone().share_records(asked(message)).await?.into_inner();
        self.approve(waits).await
    }

    /// Puts a policy into force, as two people decide.
    ///
    /// # Errors
    /// What the node or the connection to it says.
    pub async fn apply_policy(&self, party: MemberId, text: &str) -> Result<(), Status> {
        let message = v1::ApplyPolicyRequest { party: party.to_string(), text: text.to_owned() };
        let waits = self.policies.clone().apply_policy(asked(message)).await?.into_inner();
        self.approve(waits).await
    }

    /// Says yes to what waits, as another person.
    ///
    /// # Errors
    /// What the node or the connection to it says, or what it is about came to nothing.
    pub async fn approve(&self, waits: v1::Approval) -> Result<(), Status> {
        let message = v1::DecideApprovalRequest { id: waits.id, approve: true, reason: String::new(), signature: None };
        let done = self.approvals.clone().decide_approval(asked(message)).await?.into_inner();
        if done.state() == v1::ApprovalState::Done { Ok(()) } else { Err(Status::unknown(done.outcome)) }
    }

    /// How the exchange with a partner goes.
    ///
    /// # Errors
    /// The node does not answer, or knows no such partner.
    pub async fn partner(&self, partner: MemberId) -> Result<v1::PeerStatus, Status> {
        let status = self.node.clone().get_node_status(asked(v1::GetNodeStatusRequest {})).await?.into_inner();
        let found = status.peers.into_iter().find(|peer| peer.member == partner.as_str());
        found.ok_or_else(|| Status::not_found("not a partner"))
    }
}

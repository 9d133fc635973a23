//! `NodeService`.

use comity_core::Timestamp;
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::services::service;
use crate::status;

service!(Nodes);

#[tonic::async_trait]
impl v1::node_service_server::NodeService for Nodes {
    async fn get_node_status(
        &self,
        request: Request<v1::GetNodeStatusRequest>,
    ) -> Result<Response<v1::NodeStatus>, Status> {
        let (caller, _) = context(&request)?;
        let now = jiff::Timestamp::now().as_second();
        let list = self.node.list_view();
        let copies = self.node.copies_held().await.map_err(status::of)?;
        let mut peers = Vec::new();
        for partner in self.node.partners() {
            let health = self.node.peer_health(partner.member);
            let lag = self.node.outbox_lag(partner.member).await.map_err(status::of)?;
            let ago = |at: Option<Timestamp>| at.map_or(-1, |at| (now - at.as_seconds()).max(0));
            let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            peers.push(v1::PeerStatus {
                last_heard_seconds: ago(health.last_heard),
                problem: health.problem.unwrap_or_default(),
                queued: count(lag.queued),
                unacknowledged: count(lag.last_number.saturating_sub(lag.receipted)),
                last_receipt_seconds: ago(lag.receipt_at),
                up_to_date: health.up_to_date,
                copies: count(copies.get(&partner.member).copied().unwrap_or(0)),
                member: partner.member.to_string(),
                endpoint: partner.endpoint,
            });
        }
        Ok(Response::new(v1::NodeStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            member: self.node.member().to_string(),
            federation: self.node.genesis().federation().to_string(),
            caller: caller.peer.id.to_string(),
            leader: list.leader.map(|m| m.to_string()).unwrap_or_default(),
            term: list.term,
            commands: list.commands,
            publications: list.publications,
            agreed_publications: list.agreed_publications,
            access_log_healthy: self.node.can_record(),
            access_log_size: self.node.access_log_size(),
            peers,
            recipient: self.node.consensus().observes(),
            uptime_seconds: (now - self.node.started().as_seconds()).max(0),
        }))
    }

    async fn rotate_store_key(
        &self,
        request: Request<v1::RotateStoreKeyRequest>,
    ) -> Result<Response<v1::RotateStoreKeyResponse>, Status> {
        context(&request)?;
        let wrapped = self.node.rotate_store_key().await.map_err(status::of)?;
        Ok(Response::new(v1::RotateStoreKeyResponse { wrapped }))
    }
}

//! `NodeService`.

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
        let mut peers = Vec::new();
        for partner in self.node.partners() {
            let health = self.node.peer_health(partner.member);
            let lag = self.node.outbox_lag(partner.member).await.map_err(status::of)?;
            peers.push(v1::PeerStatus {
                member: partner.member.to_string(),
                endpoint: partner.endpoint,
                last_pull_seconds: health.last_pull.map_or(-1, |at| (now - at.as_seconds()).max(0)),
                problem: health.problem.unwrap_or_default(),
                unacknowledged: i64::try_from(lag).unwrap_or(i64::MAX),
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
            uptime_seconds: (now - self.node.started().as_seconds()).max(0),
        }))
    }
}

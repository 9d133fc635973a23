//! `PeerService`: what one node gives another.

use std::time::Duration;

use comity_app::AppError;
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::services::service;
use crate::status;

service!(Peers);

/// The longest that a pull waits, in milliseconds.
const WAIT_MAX_MS: u32 = 30_000;

impl Peers {
    fn ensure_federation(&self, theirs: &[u8]) -> Result<(), Status> {
        ensure_federation(&self.node, theirs)
    }
}

/// A node with another genesis is told so before anything else.
pub(crate) fn ensure_federation(node: &comity_app::Node, theirs: &[u8]) -> Result<(), Status> {
    let ours = node.genesis().federation();
    if theirs == ours.0 {
        return Ok(());
    }
    Err(status::of(AppError::OtherFederation(format!(
        "this node belongs to federation {ours}, yours to another: both must have the same genesis file"
    ))))
}

#[tonic::async_trait]
impl v1::peer_service_server::PeerService for Peers {
    async fn pull(&self, request: Request<v1::PullRequest>) -> Result<Response<v1::PullResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        self.ensure_federation(&request.federation)?;
        let wait = Duration::from_millis(request.wait_ms.min(WAIT_MAX_MS).into());
        let page = self.node.pull(caller.peer.member, &request.cursor, wait).await.map_err(status::of)?;
        let Some(page) = page else {
            return Ok(Response::new(v1::PullResponse {
                page: Vec::new(),
                items: Vec::new(),
                next_cursor: request.cursor,
            }));
        };
        scope.touch_all(page.touched);
        let items = page.items.into_iter().map(|i| v1::SealedItem { salt: i.salt.0.to_vec(), item: i.bytes }).collect();
        Ok(Response::new(v1::PullResponse { page: page.envelope, items, next_cursor: page.next_cursor }))
    }

    async fn acknowledge(
        &self,
        request: Request<v1::AcknowledgeRequest>,
    ) -> Result<Response<v1::AcknowledgeResponse>, Status> {
        let (caller, _) = context(&request)?;
        let request = request.into_inner();
        self.ensure_federation(&request.federation)?;
        self.node.acknowledge(caller.peer.member, &request.receipt).await.map_err(status::of)?;
        Ok(Response::new(v1::AcknowledgeResponse {}))
    }
}

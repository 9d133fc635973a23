//! `NodeService`.

use comity_app::Standing;
use comity_core::Timestamp;
use comity_core::access::Touched;
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert;
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
        let seconds = |at: Option<Timestamp>| at.map_or(-1, |at| (now - at.as_seconds()).max(0));
        let witnesses = self.node.witnesses().into_keys().map(|member| {
            let health = self.node.witness_health(member);
            v1::WitnessStatus {
                member: member.to_string(),
                size: health.size.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX)),
                cosigned_seconds: seconds(health.at),
                problem: health.problem.unwrap_or_default(),
            }
        });
        let witnesses: Vec<_> = witnesses.collect();
        let witnessed = self.node.witnessed_logs().await.map_err(status::of)?;
        let witnessed = witnessed.into_iter().map(|log| v1::WitnessedLog {
            member: log.member.to_string(),
            incarnation: log.incarnation,
            size: log.note.checkpoint.size,
            cosigned_seconds: seconds(Some(log.at)),
        });
        let standing = self.node.standing();
        let small = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (heard, asked) = match standing {
            Standing::Waiting { heard, needed } => (small(heard), small(needed)),
            _ => (0, 0),
        };
        let lost = match &standing {
            Standing::Behind { lost, .. } => lost.as_slice(),
            _ => &[],
        };
        let lost =
            lost.iter().map(|lost| v1::LostRange { origin: lost.origin.clone(), first: lost.first, end: lost.end });
        let cosigned = self.node.witnessed_checkpoint().await.map_err(status::of)?;
        Ok(Response::new(v1::NodeStatus {
            standing: standing.as_str().to_owned(),
            witnesses_heard: heard,
            witnesses_asked: asked,
            lost: lost.collect(),
            witnesses,
            witnesses_needed: small(self.node.witnesses_needed()),
            access_log_witnessed: cosigned.map_or(0, |note| note.checkpoint.size),
            access_log_incarnation: self.node.access_log_incarnation(),
            checkpoint_interval_seconds: u32::try_from(self.node.checkpoint_interval().as_secs()).unwrap_or(u32::MAX),
            witnessed: witnessed.collect(),
            witness_conflicts: self.node.witness_conflict_count().await.map_err(status::of)?,
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

    async fn declare_loss(&self, request: Request<v1::DeclareLossRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        scope.touch(Touched::resource("access-log"));
        let asked = self.node.ask_declare_loss(&caller.peer.id, request.into_inner().reason).await;
        let asked = asked.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, Timestamp::from_jiff(jiff::Timestamp::now()))))
    }

    async fn archive_log(
        &self,
        request: Request<v1::ArchiveLogRequest>,
    ) -> Result<Response<v1::ArchiveLogResponse>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource("access-log").by("archive"));
        let before = convert::from_time("before", request.into_inner().before)?;
        let before = before.ok_or_else(|| status::field("before", "is missing: leaves from before when?"))?;
        let done = self.node.archive_before(before).await.map_err(status::of)?;
        let segment = done.segment.map(|segment| convert::segment(segment, true));
        Ok(Response::new(v1::ArchiveLogResponse { segment, remaining: done.remaining }))
    }

    async fn start_unconfirmed(
        &self,
        request: Request<v1::StartUnconfirmedRequest>,
    ) -> Result<Response<v1::StartUnconfirmedResponse>, Status> {
        let (caller, scope) = context(&request)?;
        scope.touch(Touched::resource("access-log"));
        let reason = request.into_inner().reason;
        self.node.start_unconfirmed(&caller.peer.id, &reason).await.map_err(status::of)?;
        Ok(Response::new(v1::StartUnconfirmedResponse {}))
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

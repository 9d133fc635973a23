//! `AuditService`.

use comity_app::AccessExport;
use comity_core::access::{Outcome, Touched};
use comity_core::{MemberId, SpiffeId};
use comity_proto::v1;
use comity_store::access_log::AccessFilter;
use futures::TryStreamExt as _;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert::{self, parse_optional};
use crate::services::chunks::{Answers, chunks, within};
use crate::services::service;
use crate::status;

service!(Audits);

/// The most leaves of one answer.
const LEAVES_MAX: usize = 1_000;

fn outcome(text: &str) -> Result<Option<Outcome>, Status> {
    match text {
        "" => Ok(None),
        "allowed" => Ok(Some(Outcome::Allowed)),
        "denied" => Ok(Some(Outcome::Denied)),
        "failed" => Ok(Some(Outcome::Failed)),
        _ => Err(status::field("outcome", "expected allowed, denied or failed")),
    }
}

#[tonic::async_trait]
impl v1::audit_service_server::AuditService for Audits {
    async fn list_access_records(
        &self,
        request: Request<v1::ListAccessRecordsRequest>,
    ) -> Result<Response<v1::ListAccessRecordsResponse>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource("access-log"));
        let request = request.into_inner();
        let size = convert::page_size(request.page_size)?;
        let before = parse_optional::<u64>("page_token", &request.page_token)?;
        let text = |t: String| Some(t).filter(|t| !t.is_empty());
        let filter = AccessFilter {
            who: parse_optional::<SpiffeId>("who", &request.who)?,
            member: parse_optional::<MemberId>("member", &request.member)?,
            action: text(request.action),
            outcome: outcome(&request.outcome)?,
            resource: text(request.resource),
            since: convert::from_time("since", request.since)?,
            until: convert::from_time("until", request.until)?,
        };
        let (found, more) = self.node.access_records(&filter, before, size).await.map_err(status::of)?;
        let next_page_token = more.map(|before| before.to_string()).unwrap_or_default();
        let records = found.into_iter().map(|(leaf, record)| convert::access_record(leaf, record)).collect();
        Ok(Response::new(v1::ListAccessRecordsResponse { records, next_page_token }))
    }

    async fn read_access_leaves(
        &self,
        request: Request<v1::ReadAccessLeavesRequest>,
    ) -> Result<Response<v1::ReadAccessLeavesResponse>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource("access-log"));
        let v1::ReadAccessLeavesRequest { first, limit } = request.into_inner();
        let limit = usize::try_from(limit).ok().filter(|l| *l > 0).unwrap_or(LEAVES_MAX).min(LEAVES_MAX);
        let found = self.node.access_leaves(first, limit).await.map_err(status::of)?;
        let leaves = found
            .into_iter()
            .map(|(leaf, l)| v1::AccessLeaf { leaf, salt: l.salt.0.to_vec(), record: l.record, annex: l.annex })
            .collect();
        Ok(Response::new(v1::ReadAccessLeavesResponse { leaves }))
    }

    async fn get_access_checkpoint(
        &self,
        request: Request<v1::GetAccessCheckpointRequest>,
    ) -> Result<Response<v1::AccessCheckpoint>, Status> {
        let (_, scope) = context(&request)?;
        scope.touch(Touched::resource("access-log"));
        let note = self.node.access_checkpoint().await.map_err(status::of)?;
        let faults = self.node.access_log_faults().await.map_err(status::of)?;
        Ok(Response::new(v1::AccessCheckpoint { note: note.to_bytes(), faults }))
    }

    type ExportAccessLogStream = Answers<v1::ExportAccessLogResponse>;

    async fn export_access_log(
        &self,
        request: Request<v1::ExportAccessLogRequest>,
    ) -> Result<Response<Self::ExportAccessLogStream>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let asked = AccessExport {
            since: convert::from_time("since", request.since)?,
            until: convert::from_time("until", request.until)?,
            party: parse_optional::<MemberId>("party", &request.party)?,
            leaf: request.leaf,
            older: request.older,
        };
        if asked.leaf.is_some() && (asked.since.is_some() || asked.until.is_some() || asked.party.is_some()) {
            return Err(status::field("leaf", "goes with neither since, until nor party"));
        }
        // Noted before anything is read: what somebody wanted to take away is known, whether it was there or not.
        scope.touch(Touched::resource("access-log").by(asked.to_string()));
        let pieces = self.node.export_access_log(asked).await.map_err(status::of)?;
        let answers = chunks(pieces).map_ok(|chunk| v1::ExportAccessLogResponse { chunk });
        Ok(Response::new(within(caller.lifetime, answers)))
    }
}

//! `ReleaseService`.

use comity_app::NewGrant;
use comity_core::Timestamp;
use comity_core::access::Touched;
use comity_core::document::GrantDecision;
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert::{self, parse, parse_optional};
use crate::services::records::record_id;
use crate::services::service;
use crate::status;

service!(Releases);

fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

#[tonic::async_trait]
impl v1::release_service_server::ReleaseService for Releases {
    async fn request_release(
        &self,
        request: Request<v1::RequestReleaseRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let record = record_id("record", &request.record, &scope)?;
        let to = parse("to", &request.to)?;
        let until = convert::from_time("until", request.until)?;
        let asked = self.node.ask_request(&caller.peer.id, record, to, request.purpose, until).await;
        let asked = asked.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        scope.touch(Touched::resource(&asked.approval.resource));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn answer_release(
        &self,
        request: Request<v1::AnswerReleaseRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let new = NewGrant {
            about: record_id("about", &request.about, &scope)?,
            to: parse_optional("to", &request.to)?,
            purpose: Some(request.purpose).filter(|purpose| !purpose.is_empty()),
            until: convert::from_time("until", request.until)?,
            decision: if request.grant { GrantDecision::Granted } else { GrantDecision::Refused },
        };
        let asked = self.node.ask_grant(&caller.peer.id, new).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn list_releases(
        &self,
        request: Request<v1::ListReleasesRequest>,
    ) -> Result<Response<v1::ListReleasesResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let found = self.node.onward_releases(&caller.peer.id).await.map_err(status::of)?;
        let ids = found.iter().filter_map(|view| view.request.or(view.grant));
        scope.touch_all(ids.map(|id| Touched::record(id, None)));
        let releases = found.into_iter().map(convert::onward_release).collect();
        Ok(Response::new(v1::ListReleasesResponse { releases }))
    }
}

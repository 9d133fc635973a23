//! `BallotService`.

use comity_core::Timestamp;
use comity_core::access::Touched;
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert;
use crate::services::service;
use crate::status;

service!(Ballots);

#[tonic::async_trait]
impl v1::ballot_service_server::BallotService for Ballots {
    async fn list_ballots(
        &self,
        request: Request<v1::ListBallotsRequest>,
    ) -> Result<Response<v1::ListBallotsResponse>, Status> {
        let (_, scope) = context(&request)?;
        let request = request.into_inner();
        let size = convert::page_size(request.page_size)?;
        let skip = convert::parse_optional::<usize>("page_token", &request.page_token)?.unwrap_or(0);
        let found = self.node.ballots(request.open_only, skip, size).await.map_err(status::of)?;
        let next_page_token = if found.len() >= size { (skip + size).to_string() } else { String::new() };
        scope.touch_all(found.iter().map(|b| Touched::resource(b.ballot.id.to_string())));
        let ballots = found.into_iter().map(|b| convert::ballot(b, false)).collect();
        Ok(Response::new(v1::ListBallotsResponse { ballots, next_page_token }))
    }

    async fn get_ballot(&self, request: Request<v1::GetBallotRequest>) -> Result<Response<v1::Ballot>, Status> {
        let (_, scope) = context(&request)?;
        let found = self.node.ballot_view(&request.into_inner().id).await.map_err(status::of)?;
        scope.touch(Touched::resource(found.ballot.id.to_string()));
        Ok(Response::new(convert::ballot(found, true)))
    }

    async fn cast_vote(&self, request: Request<v1::CastVoteRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let v1::CastVoteRequest { ballot, choice, reason, correct } = request.into_inner();
        let choice = convert::from_choice("choice", choice)?;
        let reason = Some(reason).filter(|r| !r.is_empty());
        let asked = self.node.ask_vote(&caller.peer.id, &ballot, choice, reason, correct).await.map_err(status::of)?;
        scope.touch(Touched::resource(asked.action.resource()));
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, Timestamp::from_jiff(jiff::Timestamp::now()))))
    }
}

//! `BallotService`.

use comity_app::ApprovalView;
use comity_core::access::Touched;
use comity_core::{MemberId, Timestamp};
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::AccessScope;
use crate::caller::context;
use crate::convert;
use crate::services::service;
use crate::status;

service!(Ballots);

/// What was asked for, and that it was touched.
fn asked(view: ApprovalView, scope: &AccessScope) -> Response<v1::Approval> {
    scope.touch(Touched::resource(view.action.resource()));
    scope.touch(Touched::resource(&view.approval.id));
    Response::new(convert::approval(view, true, Timestamp::from_jiff(jiff::Timestamp::now())))
}

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
        let next_page_token = if found.len() >= size { skip.saturating_add(size).to_string() } else { String::new() };
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
        let view = self.node.ask_vote(&caller.peer.id, &ballot, choice, reason, correct).await.map_err(status::of)?;
        Ok(asked(view, &scope))
    }

    async fn table_motion(&self, request: Request<v1::TableMotionRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let v1::TableMotionRequest { motion_json, statement } = request.into_inner();
        let view = self.node.ask_motion(&caller.peer.id, &motion_json, statement).await.map_err(status::of)?;
        Ok(asked(view, &scope))
    }

    async fn acknowledge_ballot(
        &self,
        request: Request<v1::AcknowledgeBallotRequest>,
    ) -> Result<Response<v1::Ballot>, Status> {
        let (caller, scope) = context(&request)?;
        let v1::AcknowledgeBallotRequest { ballot, command_id, signature } = request.into_inner();
        let signed = match signature {
            None => None,
            Some(signature) => {
                Some((convert::parse("command_id", &command_id)?, convert::signature("signature", signature)?))
            }
        };
        let found = self.node.acknowledge_ballot(&caller.peer.id, &ballot, signed).await.map_err(status::of)?;
        scope.touch(Touched::resource(found.ballot.id.to_string()));
        Ok(Response::new(convert::ballot(found, true)))
    }

    async fn place_hold(&self, request: Request<v1::PlaceHoldRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let v1::PlaceHoldRequest { ballot, reason } = request.into_inner();
        let view = self.node.ask_hold(&caller.peer.id, &ballot, reason).await.map_err(status::of)?;
        Ok(asked(view, &scope))
    }

    async fn extend_hold(&self, request: Request<v1::ExtendHoldRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let v1::ExtendHoldRequest { ballot, holder } = request.into_inner();
        let holder: MemberId = convert::parse("holder", &holder)?;
        let view = self.node.ask_extend_hold(&caller.peer.id, &ballot, holder).await.map_err(status::of)?;
        Ok(asked(view, &scope))
    }

    async fn lift_hold(&self, request: Request<v1::LiftHoldRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let view = self.node.ask_lift_hold(&caller.peer.id, &request.into_inner().ballot).await.map_err(status::of)?;
        Ok(asked(view, &scope))
    }

    async fn object(&self, request: Request<v1::ObjectRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let v1::ObjectRequest { ballot, reason } = request.into_inner();
        let view = self.node.ask_object(&caller.peer.id, &ballot, reason).await.map_err(status::of)?;
        Ok(asked(view, &scope))
    }

    async fn withdraw_ballot(
        &self,
        request: Request<v1::WithdrawBallotRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let view = self.node.ask_withdraw(&caller.peer.id, &request.into_inner().ballot).await.map_err(status::of)?;
        Ok(asked(view, &scope))
    }
}

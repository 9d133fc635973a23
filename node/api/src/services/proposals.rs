//! `ProposalService`.

use comity_app::Withdrawal;
use comity_core::access::Touched;
use comity_core::{MemberId, RecordId, Timestamp, VersionId};
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert::{self, parse, parse_optional};
use crate::services::service;
use crate::status;

service!(Proposals);

/// Notes a record by the id that was asked for, whether it is there or not.
fn record_id(text: &str, scope: &crate::AccessScope) -> Result<RecordId, Status> {
    let id: RecordId = parse("id", text)?;
    scope.touch(Touched::record(id, None));
    Ok(id)
}

fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

#[tonic::async_trait]
impl v1::proposal_service_server::ProposalService for Proposals {
    async fn create_proposal(
        &self,
        request: Request<v1::CreateProposalRequest>,
    ) -> Result<Response<v1::Proposal>, Status> {
        let (caller, scope) = context(&request)?;
        let v1::CreateProposalRequest { document, request_id } = request.into_inner();
        let request_id = Some(request_id).filter(|id| !id.is_empty());
        let own = self.node.create_proposal(&caller.peer.id, &document, request_id).await.map_err(status::of)?;
        scope.touch(Touched::record(own.row.id, Some(own.row.version)));
        Ok(Response::new(convert::own_proposal(own, true)))
    }

    async fn update_proposal(
        &self,
        request: Request<v1::UpdateProposalRequest>,
    ) -> Result<Response<v1::Proposal>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let id = record_id(&request.id, &scope)?;
        let expected: VersionId = parse("etag", &request.etag)?;
        let own = self.node.update_proposal(&caller.peer.id, id, expected, &request.document).await;
        let own = own.map_err(status::of)?;
        scope.touch(Touched::record(id, Some(own.row.version)));
        Ok(Response::new(convert::own_proposal(own, true)))
    }

    async fn get_proposal(&self, request: Request<v1::GetProposalRequest>) -> Result<Response<v1::Proposal>, Status> {
        let (caller, scope) = context(&request)?;
        let id = record_id(&request.into_inner().id, &scope)?;
        let view = self.node.proposal(caller.peer.role(), id).await.map_err(status::of)?;
        Ok(Response::new(convert::proposal(view)))
    }

    async fn list_proposals(
        &self,
        request: Request<v1::ListProposalsRequest>,
    ) -> Result<Response<v1::ListProposalsResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let size = convert::page_size(request.page_size)?;
        // Own ones first, then received ones; the token says where in which.
        let (own_after, received_after) = match request.page_token.split_once(':') {
            None if request.page_token.is_empty() => (Some(None), None),
            Some(("own", id)) => (Some(Some(parse::<RecordId>("page_token", id)?)), None),
            Some(("received", "")) => (None, None),
            Some(("received", position)) => (None, Some(parse::<u64>("page_token", position)?)),
            _ => return Err(status::field("page_token", "is not one that this service gave")),
        };
        let mut proposals = Vec::new();
        let mut next_page_token = String::new();
        if let Some(after) = own_after {
            let own = self.node.own_proposals(after, size).await.map_err(status::of)?;
            next_page_token = match own.last() {
                Some(last) if own.len() >= size => format!("own:{}", last.row.id),
                _ => "received:".to_owned(),
            };
            proposals.extend(own.into_iter().map(|own| convert::own_proposal(own, false)));
        }
        let room = size.saturating_sub(proposals.len());
        if room > 0 {
            let received = self.node.received_proposals(caller.peer.role(), received_after, room).await;
            let (received, next) = received.map_err(status::of)?;
            next_page_token = next.map(|position| format!("received:{position}")).unwrap_or_default();
            proposals.extend(received.into_iter().map(|copy| convert::received_proposal(copy, false)));
        }
        scope.touch_all(proposals.iter().map(|p| Touched::resource(&p.id)));
        Ok(Response::new(v1::ListProposalsResponse { proposals, next_page_token }))
    }

    async fn share_proposal(
        &self,
        request: Request<v1::ShareProposalRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let id = record_id(&request.id, &scope)?;
        let expected = parse_optional("etag", &request.etag)?;
        let parties = request
            .parties
            .iter()
            .enumerate()
            .map(|(i, party)| parse::<MemberId>(&format!("parties[{i}]"), party))
            .collect::<Result<_, _>>()?;
        let asked = self.node.ask_share(&caller.peer.id, id, expected, parties).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn table_proposal(
        &self,
        request: Request<v1::TableProposalRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let id = record_id(&request.id, &scope)?;
        let expected = parse_optional("etag", &request.etag)?;
        let amends = parse_optional("amends", &request.amends)?;
        let asked = self.node.ask_table(&caller.peer.id, id, expected, amends).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, now())))
    }

    async fn withdraw_proposal(
        &self,
        request: Request<v1::WithdrawProposalRequest>,
    ) -> Result<Response<v1::WithdrawProposalResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let id = record_id(&request.id, &scope)?;
        let expected = parse_optional("etag", &request.etag)?;
        let done = self.node.withdraw_proposal(&caller.peer.id, id, expected).await.map_err(status::of)?;
        use v1::withdraw_proposal_response::Result as Answer;
        let result = match done {
            Withdrawal::Done(own) => Answer::Proposal(convert::own_proposal(*own, true)),
            Withdrawal::Waits(asked) => {
                scope.touch(Touched::resource(&asked.approval.id));
                Answer::Approval(convert::approval(*asked, true, now()))
            }
        };
        Ok(Response::new(v1::WithdrawProposalResponse { result: Some(result) }))
    }
}

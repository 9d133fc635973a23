//! `ApprovalService`.

use comity_app::{Decided, Standing};
use comity_core::Timestamp;
use comity_core::access::Touched;
use comity_proto::v1;
use comity_store::approvals::ApprovalKind;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert;
use crate::services::service;
use crate::status;
use crate::table::Listener;

service!(Approvals);

fn approval_id(text: &str, scope: &crate::AccessScope) -> Result<String, Status> {
    let fits = (3..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !fits {
        return Err(status::field("id", "expected an approval such as A-7K3M9QXT"));
    }
    let id = text.to_ascii_uppercase();
    scope.touch(Touched::resource(&id));
    Ok(id)
}

fn now() -> Timestamp {
    Timestamp::from_jiff(jiff::Timestamp::now())
}

#[tonic::async_trait]
impl v1::approval_service_server::ApprovalService for Approvals {
    async fn list_approvals(
        &self,
        request: Request<v1::ListApprovalsRequest>,
    ) -> Result<Response<v1::ListApprovalsResponse>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let size = convert::page_size(request.page_size)?;
        let found = self.node.approvals(&caller.peer.id, request.all, &request.page_token, size).await;
        let (found, next_page_token) = found.map_err(status::of)?;
        scope.touch_all(found.iter().map(|a| Touched::resource(&a.approval.id)));
        let approvals = found.into_iter().map(|a| convert::approval(a, false, now())).collect();
        Ok(Response::new(v1::ListApprovalsResponse { approvals, next_page_token }))
    }

    async fn get_approval(&self, request: Request<v1::GetApprovalRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let id = approval_id(&request.into_inner().id, &scope)?;
        let found = self.node.approval(&caller.peer.id, &id).await.map_err(status::of)?;
        let details = self.node.approval_details(&caller.peer.id, &found.action).await.map_err(status::of)?;
        // The documents that it is about are shown whole.
        scope.touch_all(found.action.records().into_iter().map(|id| Touched::record(id, None).by("approval")));
        let mut answer = convert::approval(found, true, now());
        answer.details = details;
        Ok(Response::new(answer))
    }

    async fn decide_approval(
        &self,
        request: Request<v1::DecideApprovalRequest>,
    ) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let id = approval_id(&request.id, &scope)?;
        let decided = if request.approve {
            Decided::Yes(request.signature.map(|s| convert::signature("signature", s)).transpose()?)
        } else {
            Decided::No(request.reason)
        };
        // A node that is held restores its access log and does nothing else.
        let standing = self.node.standing();
        if standing != Standing::Serving {
            let waiting = self.node.approval(&caller.peer.id, &id).await.map_err(status::of)?;
            if waiting.approval.kind != ApprovalKind::Restore {
                return Err(status::held(&standing, Listener::Operator));
            }
        }
        let done = self.node.decide(&caller.peer.id, &id, decided).await.map_err(status::of)?;
        // How it was decided, too: a policy that was refused changes nothing.
        scope.touch(Touched::resource(&done.approval.resource).by(done.approval.state.as_str()));
        Ok(Response::new(convert::approval(done, true, now())))
    }

    async fn sign_approval(&self, request: Request<v1::SignApprovalRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let id = approval_id(&request.id, &scope)?;
        let missing = || status::field("signature", "is missing: sign `to_sign` with your own key");
        let signature = convert::signature("signature", request.signature.ok_or_else(missing)?)?;
        let signed = self.node.sign_approval(&caller.peer.id, &id, &signature).await.map_err(status::of)?;
        Ok(Response::new(convert::approval(signed, true, now())))
    }
}

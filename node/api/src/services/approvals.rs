//! `ApprovalService`.

use comity_app::{Action, Decided};
use comity_core::access::Touched;
use comity_core::{Role, Timestamp};
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert;
use crate::services::service;
use crate::status;

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

/// A policy officer reads no bodies, so only policies of what waits: the others' summaries name subjects. An administrator
/// sees what is about keys.
fn may_see(role: Role, action: &Action) -> bool {
    match role {
        Role::Policy => matches!(action, Action::Policy { .. }),
        Role::Admin => matches!(action, Action::Keys { .. }),
        _ => true,
    }
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
        let before = convert::parse_optional::<u64>("page_token", &request.page_token)?;
        let found = self.node.approvals(request.all, before, size).await.map_err(status::of)?;
        let next_page_token = match found.last() {
            Some(last) if found.len() >= size => last.approval.position.to_string(),
            _ => String::new(),
        };
        let found: Vec<_> = found.into_iter().filter(|a| may_see(caller.peer.role(), &a.action)).collect();
        scope.touch_all(found.iter().map(|a| Touched::resource(&a.approval.id)));
        let approvals = found.into_iter().map(|a| convert::approval(a, false, now())).collect();
        Ok(Response::new(v1::ListApprovalsResponse { approvals, next_page_token }))
    }

    async fn get_approval(&self, request: Request<v1::GetApprovalRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let id = approval_id(&request.into_inner().id, &scope)?;
        let found = self.node.approval(&id).await.map_err(status::of)?;
        if !may_see(caller.peer.role(), &found.action) {
            return Err(status::of(comity_app::AppError::NotFound("approval")));
        }
        let details = self.node.approval_details(&found.action).await.map_err(status::of)?;
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
        let done = self.node.decide(&caller.peer.id, &id, decided).await.map_err(status::of)?;
        scope.touch(Touched::resource(&done.approval.resource));
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

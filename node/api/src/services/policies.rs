//! `PolicyService`.

use comity_core::access::Touched;
use comity_core::{MemberId, Timestamp};
use comity_proto::v1;
use tonic::{Request, Response, Status};

use crate::caller::context;
use crate::convert::{self, parse};
use crate::services::service;
use crate::status;

service!(Policies);

fn party(text: &str, scope: &crate::AccessScope) -> Result<MemberId, Status> {
    let party: MemberId = parse("party", text)?;
    scope.touch(Touched::resource(format!("policy/{party}")));
    Ok(party)
}

#[tonic::async_trait]
impl v1::policy_service_server::PolicyService for Policies {
    async fn check_policy(
        &self,
        request: Request<v1::CheckPolicyRequest>,
    ) -> Result<Response<v1::CheckPolicyResponse>, Status> {
        let (_, scope) = context(&request)?;
        let request = request.into_inner();
        let party = party(&request.party, &scope)?;
        let answer = match self.node.check_policy(party, &request.text).map_err(status::of)? {
            Ok(policy) => v1::CheckPolicyResponse {
                valid: true,
                problems: Vec::new(),
                warnings: policy.warnings().iter().map(ToString::to_string).collect(),
                policy_ids: policy.ids().iter().map(|id| id.as_str().to_owned()).collect(),
            },
            Err(invalid) => v1::CheckPolicyResponse {
                valid: false,
                problems: invalid.problems.iter().map(ToString::to_string).collect(),
                warnings: Vec::new(),
                policy_ids: Vec::new(),
            },
        };
        Ok(Response::new(answer))
    }

    async fn apply_policy(&self, request: Request<v1::ApplyPolicyRequest>) -> Result<Response<v1::Approval>, Status> {
        let (caller, scope) = context(&request)?;
        let request = request.into_inner();
        let party = party(&request.party, &scope)?;
        let asked = self.node.ask_policy(&caller.peer.id, party, request.text).await.map_err(status::of)?;
        scope.touch(Touched::resource(&asked.approval.id));
        Ok(Response::new(convert::approval(asked, true, Timestamp::from_jiff(jiff::Timestamp::now()))))
    }

    async fn get_policy(&self, request: Request<v1::GetPolicyRequest>) -> Result<Response<v1::Policy>, Status> {
        let (_, scope) = context(&request)?;
        let party = party(&request.into_inner().party, &scope)?;
        let view = self.node.policy(party).await.map_err(status::of)?;
        Ok(Response::new(convert::policy(view, true)))
    }

    async fn list_policies(
        &self,
        request: Request<v1::ListPoliciesRequest>,
    ) -> Result<Response<v1::ListPoliciesResponse>, Status> {
        let (_, scope) = context(&request)?;
        let all = self.node.policies().await.map_err(status::of)?;
        scope.touch_all(all.iter().map(|p| Touched::resource(format!("policy/{}", p.applied.party))));
        let policies = all.into_iter().map(|p| convert::policy(p, false)).collect();
        Ok(Response::new(v1::ListPoliciesResponse { policies }))
    }
}
